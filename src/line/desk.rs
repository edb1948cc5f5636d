//! The second way to the venue for the day the line hangs, is dead or is not heard: what is asked
//! by REST, in what order, and what follows from the answers. No thread and no transport: `cmd` makes
//! the calls on a thread of its own, the world makes them in virtual time.
//!
//! Own orders (those with the engine's group id) are cancelled, positions closed reduce-only at
//! prices that give way step by step, and the venue is asked until it is flat or the rounds are
//! used up. Orders of others are reported, not touched.

use super::kill_rules as rules;
use crate::base::ids::{Cid, OrderId, SymbolId};
use crate::base::time::{DAY_NS, MonoNs, SpanNs, WallNs};
use crate::base::units::{Px, Qty, Quote};
use crate::model::{
    Body, Fill, Instrument, NewOrder, OrderFlags, OrderKind, OrderUpdate, PositionUpdate, Rank,
    Ticker, WalletKind, WalletUpdate,
};
use crate::venue::rest::{HIST_LIMIT_MAX, RestCall, RestSink};
use crate::venue::symbols::SymbolTable;
use serde::Serialize;

/// Rounds of cancel, close and ask before it says what is left.
pub const ROUNDS_MAX: u32 = 40;
/// Between two rounds.
const ROUND_EVERY: SpanNs = SpanNs::from_ms(250);
/// A venue that has not answered for so long is told as one that cannot be asked; whoever watches
/// the kill tries again later.
const UNHEARD_MAX: SpanNs = SpanNs::from_s(20);
/// After a kill that the line has ended, the venue's word is asked for again and again for so long:
/// one that refuses for the rate does so for a minute.
const WORD_ASKED_FOR: SpanNs = SpanNs::from_s(90);
const WORD_EVERY: SpanNs = SpanNs::from_s(1);
/// Orders of one cancel.
const CANCELS_MAX: usize = 16;

/// What to do about a kill that was pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillStep {
    /// The line is at it.
    Wait,
    /// The line has ended it: the venue's word is asked for.
    Ended,
    /// Past the line.
    Direct,
}

/// What to do about a kill, pulled at `pulled_at` and last taken to the venue directly at
/// `helped_at`; `rank` as the line tells it, if it tells anything.
pub fn kill_step(
    pulled_at: MonoNs,
    helped_at: Option<MonoNs>,
    rank: Option<Rank>,
    now: MonoNs,
) -> KillStep {
    if rank == Some(Rank::Halted) {
        return KillStep::Ended;
    }
    let since = now - helped_at.unwrap_or(pulled_at);
    match rules::is_help_due(rank, since.0, helped_at.is_some()) {
        true => KillStep::Direct,
        false => KillStep::Wait,
    }
}

/// Something that a kill could not end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leftover {
    pub symbol: String,
    /// `position`, `order`, or `balance` in a spot wallet.
    pub kind: &'static str,
    pub id: u64,
    pub qty: String,
    pub reason: String,
}

/// What it came to, by the venue's own word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeskRecord {
    pub flat: bool,
    pub cancels: u32,
    pub closes: u32,
    /// From the beginning to the first cancel's call.
    pub first_cancel: Option<SpanNs>,
    pub leftovers: Vec<Leftover>,
    /// Orders of others on the account.
    pub foreign_orders: u64,
    /// What went wrong on the way.
    pub troubles: Vec<String>,
    /// Paid against the middles at the beginning; negative = gained. Words where it is not known.
    pub slippage: Option<Result<Quote, Failed>>,
}

/// A call that brought nothing, or a close that could not be made, in the words of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed(pub String);
impl From<&str> for Failed {
    fn from(words: &str) -> Self {
        Failed(words.to_owned())
    }
}

/// What a reply says of an account.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub orders: Vec<OrderUpdate>,
    pub positions: Vec<PositionUpdate>,
    pub fills: Vec<Fill>,
    pub ticker: Option<Ticker>,
    pub wallets: Vec<WalletUpdate>,
}
impl RestSink for Account {
    fn body(&mut self, body: Body) {
        match body {
            Body::Order(order) => self.orders.push(order),
            Body::Position(position) => self.positions.push(position),
            Body::Fill(fill) => self.fills.push(fill),
            Body::Wallet(wallet) => self.wallets.push(wallet),
            _ => {}
        }
    }
    fn ticker(&mut self, ticker: Ticker) {
        self.ticker = Some(ticker);
    }
}

/// On whose account, and how.
#[derive(Clone, Debug)]
pub struct DeskConfig {
    pub instruments: Vec<Instrument>,
    pub wallet: WalletKind,
    pub leverage: u16,
    /// Group id of the engine's orders.
    pub gid: u64,
    pub rounds_max: u32,
    /// Last client id that was used by anybody of this account.
    pub cid_last: u64,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Make this call and tell its answer by `on_answer` before anything else.
    Call(RestCall),
    /// Nothing before this time.
    Until(MonoNs),
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Orders,
    Positions,
    Cancel,
    Ticker,
    Submit(NewOrder),
    LeftOrders,
    LeftPositions,
    LeftBalances,
    Slippage,
    Done,
}

/// One kill by REST, from its first question to its record.
pub struct Desk {
    config: DeskConfig,
    table: SymbolTable,
    step: Step,
    /// False: only what is left is asked for, somebody else has killed.
    acts: bool,
    round: u32,
    not_before: MonoNs,
    begun: MonoNs,
    begun_wall: WallNs,
    heard_at: MonoNs,
    cid_first: u64,
    cid: u64,
    /// By symbol, when it was first looked at.
    middles: Vec<Option<Px>>,
    own: Vec<OrderId>,
    orders: Vec<OrderUpdate>,
    /// Still to be closed in this round, last first.
    positions: Vec<PositionUpdate>,
    why: String,
    record: DeskRecord,
}

impl Desk {
    /// Cancels and closes until the venue says flat, or the rounds are used up.
    pub fn kill(config: DeskConfig, now: MonoNs, wall: WallNs) -> Desk {
        Desk::new(config, Step::Orders, "the rounds are used up", (now, wall))
    }
    /// Asks what is left, and why.
    pub fn leftovers(config: DeskConfig, why: &str, now: MonoNs, wall: WallNs) -> Desk {
        let mut desk = Desk::new(config, Step::LeftOrders, why, (now, wall));
        desk.acts = false;
        desk
    }
    fn new(config: DeskConfig, step: Step, why: &str, (now, wall): (MonoNs, WallNs)) -> Desk {
        Desk {
            table: SymbolTable::new(&config.instruments),
            middles: vec![None; config.instruments.len()],
            cid_first: config.cid_last,
            cid: config.cid_last,
            config,
            step,
            acts: true,
            round: 0,
            not_before: now,
            begun: now,
            begun_wall: wall,
            heard_at: now,
            own: Vec::new(),
            orders: Vec::new(),
            positions: Vec::new(),
            why: why.to_owned(),
            record: DeskRecord::default(),
        }
    }
    pub fn table(&self) -> &SymbolTable {
        &self.table
    }
    /// Last client id used.
    pub fn cid_last(&self) -> u64 {
        self.cid
    }
    pub fn into_record(mut self) -> DeskRecord {
        self.record.troubles.dedup();
        self.record
    }

    pub fn next(&mut self, now: MonoNs) -> Next {
        if self.not_before > now {
            return Next::Until(self.not_before);
        }
        Next::Call(match self.step {
            Step::Orders | Step::LeftOrders => RestCall::Orders,
            Step::Positions | Step::LeftPositions => RestCall::Positions,
            Step::Cancel => {
                let mut ids = [OrderId::NONE; CANCELS_MAX];
                let count = self.own.len().min(CANCELS_MAX);
                ids[..count].copy_from_slice(&self.own[..count]);
                self.own.drain(..count);
                self.record.cancels += 1;
                self.record.first_cancel.get_or_insert(now - self.begun);
                RestCall::CancelMulti { ids }
            }
            Step::Ticker => match self.positions.last() {
                Some(position) => RestCall::Ticker(position.symbol),
                None => return Next::Done,
            },
            Step::Submit(order) => match self.positions.last() {
                Some(position) => RestCall::Submit { symbol: position.symbol, order, gid: None },
                None => return Next::Done,
            },
            Step::LeftBalances => RestCall::Wallets,
            // The venue's clock may be behind ours.
            Step::Slippage => RestCall::TradesHist {
                start: self.begun_wall + SpanNs::from_s(-60),
                limit: HIST_LIMIT_MAX,
            },
            Step::Done => return Next::Done,
        })
    }

    /// What the call of `next` has brought.
    pub fn on_answer(&mut self, answer: Result<Account, Failed>, now: MonoNs, wall: WallNs) {
        match self.step {
            Step::Orders | Step::Positions => self.on_account(answer, now),
            Step::Cancel => {
                if let Err(Failed(words)) = answer {
                    self.record.troubles.push(words);
                }
                self.go_on(now);
            }
            Step::Ticker => match answer.and_then(|account| self.price(&account, wall)) {
                Ok(order) => self.step = Step::Submit(order),
                Err(failed) => self.closed(Err(failed), now),
            },
            Step::Submit(_) => self.closed(answer.map(drop), now),
            Step::LeftOrders => match answer {
                Ok(account) => {
                    self.orders = account.orders;
                    match self.config.wallet {
                        WalletKind::Exchange => self.list(&[]),
                        _ => self.step = Step::LeftPositions,
                    }
                }
                Err(Failed(words)) => self.cannot_be_asked(words, now),
            },
            Step::LeftPositions => match answer {
                Ok(account) => self.list(&account.positions),
                Err(Failed(words)) => self.cannot_be_asked(words, now),
            },
            Step::LeftBalances => self.on_balances(answer),
            Step::Slippage => {
                self.record.slippage = Some(answer.map(|account| self.paid(&account.fills)));
                self.step = Step::Done;
            }
            Step::Done => {}
        }
    }

    fn on_account(&mut self, answer: Result<Account, Failed>, now: MonoNs) {
        let account = match answer {
            Ok(account) => account,
            Err(Failed(words)) => {
                self.why.clone_from(&words);
                self.record.troubles.push(words);
                match now - self.heard_at > UNHEARD_MAX {
                    true => self.step = Step::LeftOrders,
                    false => self.next_round(now),
                }
                return;
            }
        };
        if self.step == Step::Orders {
            self.orders = account.orders;
            if self.config.wallet != WalletKind::Exchange {
                self.step = Step::Positions;
                return;
            }
        }
        self.heard_at = now;
        let gid = self.config.gid;
        self.own =
            self.orders.iter().filter(|order| order.gid == gid).map(|order| order.id).collect();
        let closable = |row: &&PositionUpdate| {
            let instrument = self.table.try_get(row.symbol);
            instrument.is_some_and(|of| !row.qty.is_zero() && rules::is_closable(row.qty, of))
        };
        self.positions = account.positions.iter().rev().filter(closable).copied().collect();
        if self.own.is_empty() && self.positions.is_empty() {
            "it cannot be closed by an order".clone_into(&mut self.why);
            self.step = Step::LeftOrders;
        } else {
            self.go_on(now);
        }
    }
    /// What is next in this round.
    fn go_on(&mut self, now: MonoNs) {
        if !self.own.is_empty() {
            self.step = Step::Cancel;
        } else if self.positions.is_empty() {
            self.next_round(now);
        } else {
            self.step = Step::Ticker;
        }
    }
    fn next_round(&mut self, now: MonoNs) {
        self.round += 1;
        self.step = Step::Orders;
        if self.round >= self.config.rounds_max {
            self.step = Step::LeftOrders;
        } else {
            self.not_before = now + ROUND_EVERY;
        }
    }
    /// A close was sent, or could not be.
    fn closed(&mut self, result: Result<(), Failed>, now: MonoNs) {
        self.positions.pop();
        match result {
            Ok(()) => self.record.closes += 1,
            Err(Failed(words)) => {
                self.why.clone_from(&words);
                self.record.troubles.push(words);
            }
        }
        self.go_on(now);
    }
    /// The order that closes the position which is next.
    fn price(&mut self, account: &Account, wall: WallNs) -> Result<NewOrder, Failed> {
        let position = self.positions.last().copied().ok_or("no position")?;
        let symbol = position.symbol;
        let instrument = self.table.try_get(symbol).ok_or("a symbol that is not known")?;
        let ticker = account.ticker.ok_or("the ticker has no price")?;
        self.middles[symbol.index()].get_or_insert(rules::middle(&ticker));
        let (qty, px) = rules::close_of(position.qty, &ticker, instrument, self.round);
        self.cid += 1;
        Ok(NewOrder {
            cid: Cid(self.cid),
            cid_day: WallNs(wall.utc_day() * DAY_NS),
            kind: OrderKind::Ioc,
            wallet: self.config.wallet,
            qty,
            px,
            px_aux: Px::ZERO,
            flags: OrderFlags::REDUCE_ONLY,
            leverage: self.config.leverage,
        })
    }

    // ---- what is left ----

    fn name(&self, symbol: SymbolId) -> String {
        self.table.try_get(symbol).map_or("?", |row| row.name.as_str()).to_owned()
    }
    fn cannot_be_asked(&mut self, words: String, now: MonoNs) {
        if !self.acts && now - self.begun < WORD_ASKED_FOR {
            self.step = Step::LeftOrders;
            self.not_before = now + WORD_EVERY;
            return;
        }
        self.record.troubles.push(format!("the venue could not be asked: {words}"));
        self.unknown("position", words);
        self.step = if self.acts { Step::Slippage } else { Step::Done };
    }
    fn unknown(&mut self, kind: &'static str, reason: String) {
        let (symbol, qty) = ("?".to_owned(), "unknown".to_owned());
        self.record.leftovers.push(Leftover { symbol, kind, id: 0, qty, reason });
    }
    /// Own orders and positions, by the venue's word.
    fn list(&mut self, positions: &[PositionUpdate]) {
        let gid = self.config.gid;
        let own = |order: &&OrderUpdate| order.gid == gid;
        self.record.foreign_orders = self.orders.iter().filter(|o| !own(o)).count() as u64;
        let mut rows: Vec<Leftover> = Vec::new();
        for order in self.orders.iter().filter(own) {
            rows.push(Leftover {
                symbol: self.name(order.symbol),
                kind: "order",
                id: order.id.0,
                qty: order.remaining.to_string(),
                reason: self.why.clone(),
            });
        }
        for position in positions.iter().filter(|row| !row.qty.is_zero()) {
            let reason = match self.table.try_get(position.symbol) {
                None => "not of this run's symbols".to_owned(),
                Some(row) if !rules::is_closable(position.qty, row) => {
                    format!("below the venue's smallest order, {}", row.qty_min)
                }
                Some(_) => self.why.clone(),
            };
            rows.push(Leftover {
                symbol: self.name(position.symbol),
                kind: "position",
                id: 0,
                qty: position.qty.to_string(),
                reason,
            });
        }
        self.record.leftovers.append(&mut rows);
        self.step = match (self.acts, self.config.wallet) {
            (true, WalletKind::Exchange) => Step::LeftBalances,
            (true, _) => Step::Slippage,
            (false, _) => Step::Done,
        };
        self.record.flat = self.record.leftovers.is_empty();
    }
    /// In a spot wallet a position is a balance, and what of it the engine has bought only the
    /// engine knows. Without it nothing is sold, which might be somebody's own; it is written down.
    fn on_balances(&mut self, answer: Result<Account, Failed>) {
        match answer {
            Ok(account) => {
                for row in &self.config.instruments {
                    let of_base = |wallet: &&WalletUpdate| {
                        wallet.kind == Some(WalletKind::Exchange)
                            && wallet.currency == row.base
                            && wallet.balance >= row.qty_min.raw()
                    };
                    if let Some(wallet) = account.wallets.iter().find(of_base) {
                        self.record.leftovers.push(Leftover {
                            symbol: row.name.as_str().to_owned(),
                            kind: "balance",
                            id: 0,
                            qty: Qty::from_raw(wallet.balance).to_string(),
                            reason: "what of it the engine bought is not known without the \
                                     engine: sell it by hand, or start the engine and `genesis \
                                     kill`"
                                .to_owned(),
                        });
                    }
                }
            }
            Err(Failed(words)) => {
                self.record.troubles.push(words.clone());
                self.unknown("balance", words);
            }
        }
        self.record.flat = self.record.leftovers.is_empty();
        self.step = Step::Slippage;
    }
    /// Paid against the middles at the beginning, by own trades of these client ids.
    fn paid(&self, fills: &[Fill]) -> Quote {
        let own = self.cid_first..self.cid + 1;
        Quote::from_raw(rules::paid(fills, &own, &self.middles))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> MonoNs {
        MonoNs(0) + SpanNs::from_s(s)
    }

    #[test]
    fn a_deaf_line_is_passed_by_after_two_seconds_and_a_slow_one_after_fifteen() {
        for (helped, rank, s, step) in [
            (None, None, 2, KillStep::Wait),
            (None, None, 3, KillStep::Direct),
            (None, Some(Rank::Running), 3, KillStep::Direct),
            (None, Some(Rank::ReduceOnly), 3, KillStep::Wait),
            (None, Some(Rank::ReduceOnly), 16, KillStep::Direct),
            (None, Some(Rank::Halted), 1, KillStep::Ended),
            (Some(at(3)), None, 18, KillStep::Wait),
            (Some(at(3)), None, 19, KillStep::Direct),
        ] {
            assert_eq!(kill_step(at(0), helped, rank, at(s)), step, "{helped:?} {rank:?} {s}");
        }
    }

    fn desk(rounds_max: u32) -> Desk {
        let config = DeskConfig {
            instruments: Vec::new(),
            wallet: WalletKind::Margin,
            leverage: 1,
            gid: 7,
            rounds_max,
            cid_last: 40,
        };
        Desk::kill(config, at(0), WallNs(0))
    }

    #[test]
    fn a_venue_that_is_silent_is_asked_so_often_and_then_told() {
        let mut desk = desk(3);
        let (mut now, mut calls) = (at(0), Vec::new());
        loop {
            match desk.next(now) {
                Next::Call(call) => {
                    calls.push(call.endpoint());
                    desk.on_answer(Err("silence".into()), now, WallNs(0));
                }
                Next::Until(then) => now = then,
                Next::Done => break,
            }
        }
        let orders = RestCall::Orders.endpoint();
        assert_eq!(calls, [orders, orders, orders, orders, "auth/r/trades/hist"]);
        let record = desk.into_record();
        assert!(!record.flat && record.leftovers[0].qty == "unknown", "{record:?}");
        assert_eq!(record.slippage, Some(Err("silence".into())));
    }

    #[test]
    fn the_last_word_is_asked_for_again_while_the_venue_refuses() {
        let config = desk(1).config;
        let mut desk = Desk::leftovers(config, "used up", at(0), WallNs(0));
        let (mut now, mut calls) = (at(0), 0);
        loop {
            match desk.next(now) {
                Next::Call(_) => {
                    calls += 1;
                    let answer =
                        if calls <= 5 { Err("429".into()) } else { Ok(Account::default()) };
                    desk.on_answer(answer, now, WallNs(0));
                }
                Next::Until(then) => now = then,
                Next::Done => break,
            }
        }
        assert_eq!((now, calls), (at(5), 7));
        assert!(desk.into_record().flat);
        // For ever is not asked.
        let config = self::desk(1).config;
        let mut desk = Desk::leftovers(config, "used up", at(0), WallNs(0));
        let mut now = at(0);
        loop {
            match desk.next(now) {
                Next::Call(_) => desk.on_answer(Err("429".into()), now, WallNs(0)),
                Next::Until(then) => now = then,
                Next::Done => break,
            }
        }
        assert_eq!(now, at(90));
        assert_eq!(desk.into_record().leftovers[0].reason, "429");
    }

    #[test]
    fn an_empty_account_is_flat_by_the_venues_word() {
        let mut desk = desk(3);
        while let Next::Call(_) = desk.next(at(0)) {
            desk.on_answer(Ok(Account::default()), at(0), WallNs(0));
        }
        assert_eq!(desk.cid_last(), 40);
        let record = desk.into_record();
        assert!(record.flat && record.leftovers.is_empty() && record.cancels == 0, "{record:?}");
        assert_eq!(record.slippage, Some(Ok(Quote::ZERO)));
    }
}
