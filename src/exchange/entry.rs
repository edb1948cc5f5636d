//! Order entry: the account's input messages, and the notifications that answer them.

use super::core::Core;
use super::hub::{Auth, Class};
use super::json::Json;
use super::login::Pass;
use super::number::push_number;
use super::order::{Form, Order, Request, type_text};
use super::tape::push_list;
use super::wire::{NoteTime, push_note};
use crate::base::units::Side;

const ERR_UNAUTH: u32 = 10_200;
/// What a key without the right is told.
pub const NOT_PERMITTED: &str = "api_key: permission invalid";

/// Where a request came from; decides the form of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Socket,
    Rest,
}

impl Core {
    /// `[0,TYPE,ID,BODY]`.
    pub(super) fn hear_input(&mut self, conn: u64, message: &Json<'_>) {
        let Some(session) = self.hub.session(conn) else { return };
        let Some(pass) = session.auth.as_ref().map(Auth::pass) else {
            self.send_error(conn, &Json::Null, "auth: required", ERR_UNAUTH, None);
            return;
        };
        let items = message.items();
        let (Some(kind), Some(body)) = (items.get(1).and_then(Json::text), items.get(3)) else {
            self.stats.garbage += 1;
            return;
        };
        match kind {
            "ox_multi" => self.operate_many(pass, body),
            "calc" => self.calculate(conn, pass, body),
            "hb" | "n" => {}
            kind => {
                self.operate(pass, kind, body, Via::Socket);
            }
        }
    }
    /// Operations in their order, each with its own notifications. Too many of them are refused as
    /// a whole.
    fn operate_many(&mut self, pass: Pass, body: &Json<'_>) {
        let operations = body.items();
        if operations.is_empty() || operations.len() > self.config.limits.operations {
            let request = Request::default();
            self.refuse(pass.account, "ox_multi-req", &request, "ops: invalid");
            return;
        }
        for operation in operations {
            if let [Json::Text(kind), body] = operation.items() {
                self.operate(pass, kind, body, Via::Socket);
            } else {
                self.stats.garbage += 1;
            }
        }
    }
    /// One operation of order entry. Returns the notification's fields and tells sockets about it.
    pub(super) fn operate(
        &mut self,
        pass: Pass,
        kind: &str,
        body: &Json<'_>,
        via: Via,
    ) -> Option<(Vec<u8>, bool)> {
        let account = pass.account;
        let request = Request::read(body);
        let note_kind = match kind {
            "on" => "on-req",
            "ou" => "ou-req",
            "oc" => "oc-req",
            "oc_multi" => "oc_multi-req",
            _ => {
                self.stats.garbage += 1;
                return None;
            }
        };
        if !pass.permissions.orders_write {
            return Some(self.refuse(account, note_kind, &request, NOT_PERMITTED));
        }
        // Cancels are always taken.
        if let Some(why) = self.closed_because().filter(|_| matches!(kind, "on" | "ou")) {
            return Some(self.refuse(account, note_kind, &request, why));
        }
        match kind {
            "on" => Some(match self.accept_order(account, &request) {
                Ok(new) => {
                    let mut data = Vec::new();
                    let order = &new.order;
                    order.push_array(&mut data, self.symbol_name(order.symbol), Form::Fresh);
                    let text = self.order_text("Submitting", order);
                    let note = self.note(account, via, note_kind, &data, Ok(&text));
                    self.place_order(new);
                    note
                }
                Err(text) => self.refuse(account, note_kind, &request, &text),
            }),
            "ou" => Some(match self.accept_amend(account, &request) {
                Ok(order) => {
                    let mut data = Vec::new();
                    order.push_array(&mut data, self.symbol_name(order.symbol), Form::Known);
                    let text = self.order_text("Submitting update to", &order);
                    let note = self.note(account, via, note_kind, &data, Ok(&text));
                    self.amend_order(order);
                    note
                }
                Err(text) => self.refuse(account, note_kind, &request, &text),
            }),
            "oc" => Some(match self.find_order(account, &request) {
                Ok(id) => {
                    let mut data = Vec::new();
                    if let Some(order) = self.orders.get(&id) {
                        order.push_array(&mut data, self.symbol_name(order.symbol), Form::Known);
                    }
                    let text =
                        format!("Submitted for cancellation; waiting for confirmation (ID: {id}).");
                    let note = self.note(account, via, note_kind, &data, Ok(&text));
                    self.cancel_order(id);
                    note
                }
                Err(text) => self.refuse(account, note_kind, &request, &text),
            }),
            "oc_multi" => Some(match self.find_orders(account, body) {
                Ok(found) => {
                    let mut data = Vec::new();
                    let orders = found.iter().filter_map(|id| self.orders.get(id));
                    push_list(&mut data, orders, |out, order| {
                        order.push_array(out, self.symbol_name(order.symbol), Form::Known);
                    });
                    let text = format!("Submitting {} order cancellations.", found.len());
                    let note = self.note(account, via, note_kind, &data, Ok(&text));
                    for id in found {
                        self.cancel_order(id);
                    }
                    note
                }
                Err(text) => self.refuse(account, note_kind, &request, &text),
            }),
            _ => None,
        }
    }
    fn refuse(
        &mut self,
        account: u32,
        kind: &str,
        request: &Request,
        text: &str,
    ) -> (Vec<u8>, bool) {
        self.stats.refused += 1;
        let mut data = Vec::new();
        request.push_echo(&mut data);
        self.note(account, Via::Socket, kind, &data, Err(text))
    }
    /// Tells the account's sockets of a request's fate, and returns the notification in the form of
    /// the asker and whether it is a success. A new order's time is in seconds: with a fraction on
    /// sockets, without over REST, where its array stands in a list.
    fn note(
        &mut self,
        account: u32,
        via: Via,
        kind: &str,
        data: &[u8],
        text: Result<&str, &str>,
    ) -> (Vec<u8>, bool) {
        let is_success = text.is_ok();
        let (Ok(text) | Err(text)) = text;
        let ms = self.now_ms();
        let is_new = kind == "on-req" && is_success;
        let at = if is_new { NoteTime::FractionalSeconds(ms) } else { NoteTime::Ms(ms) };
        let mut note = b"\"n\",".to_vec();
        note.reserve(data.len() + 128);
        let start = note.len();
        push_note(&mut note, at, kind, data, is_success, text);
        let class = if is_success { Class::Granted } else { Class::Refused };
        self.hub.send_private(account, class, &note, self.now);
        if via == Via::Rest && is_new {
            let data = [b"[", data, b"]"].concat();
            note.clear();
            push_note(&mut note, NoteTime::Seconds(ms), kind, &data, true, text);
            return (note, true);
        }
        (note.split_off(start), is_success)
    }
    /// A notification that answers no request of order entry.
    pub(super) fn tell_note(&mut self, account: u32, kind: &str, text: &str) {
        let mut note = b"\"n\",".to_vec();
        push_note(&mut note, NoteTime::Ms(self.now_ms()), kind, b"", true, text);
        self.hub.send_private(account, Class::Notify, &note, self.now);
    }
    /// `Submitting exchange limit buy order for 0.1 BTC.`
    fn order_text(&self, verb: &str, order: &Order) -> String {
        let side = if order.side == Side::Buy { "buy" } else { "sell" };
        let kind = type_text(order.kind, order.wallet).to_lowercase();
        let mut qty = Vec::new();
        push_number(&mut qty, order.side.sign() * order.left);
        let qty = String::from_utf8_lossy(&qty).into_owned();
        format!("{verb} {kind} {side} order for {qty} {}.", self.listing(order.symbol).base)
    }
}
