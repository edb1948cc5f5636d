//! The end of the line: a command becomes a write-ahead record and then bytes, or is refused at the
//! door.

use crate::base::ids::{Cid, OrderId};
use crate::base::rng::Rng;
use crate::base::time::WallNs;
use crate::base::units::{Px, Qty};
use crate::engine::send::{DecisionHash, Gate};
use crate::model::{Action, Class, Command, NewOrder, SendOutcome};
use crate::venue::encode;
use crate::venue::symbols::SymbolTable;
use crate::venue::ws::{Opcode, PAYLOAD_AT, frame_in_place};

/// Bytes of one write-ahead record: fixed, so that a torn tail is found by its checksum alone.
pub const WAL_RECORD_SIZE: usize = 128;
/// Longest order-entry text: an `ox_multi` of one cancel and one order, an `oc_multi` of sixteen
/// ids.
pub const ORDER_TEXT_MAX: usize = 640;
/// Longest order-entry frame: text, header and mask.
pub const ORDER_FRAME_MAX: usize = PAYLOAD_AT + ORDER_TEXT_MAX;

/// Keeps a record where `kill -9` cannot reach it, before its bytes leave.
pub trait WriteAhead {
    /// False where it could not be kept; the command does not leave then.
    fn keep(&mut self, record: &[u8; WAL_RECORD_SIZE]) -> bool;
}

/// For replay and tests: kept nowhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWal;
impl WriteAhead for NoWal {
    #[inline(always)]
    fn keep(&mut self, _: &[u8; WAL_RECORD_SIZE]) -> bool {
        true
    }
}

/// What holds at the door just now.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// The latch, read just before.
    pub rank: u8,
    /// The socket is authenticated and takes bytes.
    pub ready: bool,
    /// Nanoseconds since the frame that caused the command was received.
    pub age_ns: u64,
}

pub struct SendLine {
    gate: Gate,
    hash: DecisionHash,
    table: SymbolTable,
    /// Group id of this run's orders, so that they can be told from foreign ones.
    gid: Option<u64>,
    mask: Rng,
    sent: u64,
    /// Commands without a wire form: a broken invariant upstream; must stay 0.
    unspeakable: u64,
}

impl SendLine {
    pub fn new(gate: Gate, table: SymbolTable, gid: Option<u64>, mask_seed: u64) -> Self {
        Self {
            gate,
            hash: DecisionHash::default(),
            table,
            gid,
            mask: Rng::new(mask_seed),
            sent: 0,
            unspeakable: 0,
        }
    }

    /// Hash over every command so far, in order, whether it left or not: decisions, not luck.
    pub fn decision_hash(&self) -> u64 {
        self.hash.value()
    }
    /// Commands that became bytes.
    pub fn sent(&self) -> u64 {
        self.sent
    }
    /// Commands that have no wire form; above 0 is a fault of ours.
    pub fn unspeakable(&self) -> u64 {
        self.unspeakable
    }
    /// Commands hashed, sent or not.
    pub fn commands(&self) -> u64 {
        self.hash.commands()
    }
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Length of the websocket frame now in `frame`, ready to write. `frame` is `ORDER_FRAME_MAX`
    /// bytes long and need not be cleared: what was there is written over.
    ///
    /// # Errors
    /// Why nothing may leave.
    #[inline]
    pub fn on_command(
        &mut self,
        command: &Command,
        door: Door,
        wal: &mut impl WriteAhead,
        frame: &mut [u8],
    ) -> Result<usize, SendOutcome> {
        self.hash.update(command);
        if !door.ready {
            return Err(SendOutcome::LinkDown);
        }
        self.gate.check(command, door.rank, door.age_ns)?;
        // The text is written where it will leave from.
        let end = frame.len().min(ORDER_FRAME_MAX);
        let text = frame.get_mut(PAYLOAD_AT..end).unwrap_or_default();
        let Ok(len) = encode::command(command, &self.table, self.gid, text) else {
            self.unspeakable += 1;
            return Err(SendOutcome::LinkDown); // nothing left: as if there were no socket
        };
        // A cancel leaves without its record, too: said twice it does no harm, kept back it may.
        if !wal.keep(&wal_record(command)) && command.class != Class::Cancel {
            return Err(SendOutcome::JournalFull);
        }
        let mask = (self.mask.next_u64() as u32).to_le_bytes();
        let Some(len) = frame_in_place(Opcode::Text, frame, len, mask) else {
            self.unspeakable += 1;
            return Err(SendOutcome::LinkDown);
        };
        self.sent += 1;
        Ok(len)
    }
}

impl SendLine {
    /// The same for a command that leaves by REST because there is no socket: the gate is asked and
    /// the record made; whoever makes the call writes its text. `door.ready` is not asked.
    ///
    /// # Errors
    /// Why nothing may leave.
    pub fn on_command_by_rest(
        &mut self,
        command: &Command,
        door: Door,
        wal: &mut impl WriteAhead,
    ) -> Result<(), SendOutcome> {
        self.hash.update(command);
        self.gate.check(command, door.rank, door.age_ns)?;
        if !wal.keep(&wal_record(command)) && command.class != Class::Cancel {
            return Err(SendOutcome::JournalFull);
        }
        self.sent += 1;
        Ok(())
    }
}

/// Little-endian writer over the fixed record.
struct Put<'a> {
    bytes: &'a mut [u8; WAL_RECORD_SIZE],
    at: usize,
}
impl Put<'_> {
    fn u8(&mut self, value: u8) {
        self.bytes[self.at] = value;
        self.at += 1;
    }
    fn u16(&mut self, value: u16) {
        self.bytes[self.at..self.at + 2].copy_from_slice(&value.to_le_bytes());
        self.at += 2;
    }
    fn u32(&mut self, value: u32) {
        self.bytes[self.at..self.at + 4].copy_from_slice(&value.to_le_bytes());
        self.at += 4;
    }
    fn u64(&mut self, value: u64) {
        self.bytes[self.at..self.at + 8].copy_from_slice(&value.to_le_bytes());
        self.at += 8;
    }
    fn i64(&mut self, value: i64) {
        self.u64(value as u64);
    }
    fn order(&mut self, new: &NewOrder) {
        self.u64(new.cid.0);
        self.i64(new.cid_day.0);
        self.u8(new.kind as u8);
        self.u8(new.wallet as u8);
        self.i64(new.qty.raw());
        self.i64(new.px.raw());
        self.i64(new.px_aux.raw());
        self.u32(new.flags.0);
        self.u16(new.leverage);
    }
}

/// Version, kind, sequence number of the cause, symbol, and what was asked. Layout 1.
pub fn wal_record(command: &Command) -> [u8; WAL_RECORD_SIZE] {
    let mut bytes = [0; WAL_RECORD_SIZE];
    let mut put = Put { bytes: &mut bytes, at: 0 };
    put.u8(1);
    put.u8(match command.action {
        Action::New(_) => 1,
        Action::Amend { .. } => 2,
        Action::Cancel { .. } => 3,
        Action::Replace { .. } => 4,
        Action::CancelMulti { .. } => 5,
    });
    put.u8(command.class as u8);
    put.u8(command.reason as u8);
    put.u8(command.strategy.0);
    put.u16(command.symbol.0);
    put.u64(command.stamp.seq);
    put.i64(command.stamp.wall.0);
    match command.action {
        Action::New(new) => put.order(&new),
        Action::Replace { id, cid, cid_day, new } => {
            put.order(&new);
            put.u64(id.0);
            put.u64(cid.0);
            put.i64(cid_day.0);
        }
        Action::Amend { id, cid, px, qty } => {
            put.u64(cid.0);
            put.u64(id.0);
            put.i64(px.raw());
            put.i64(qty.raw());
        }
        Action::Cancel { id, cid, cid_day } => {
            put.u64(cid.0);
            put.u64(id.0);
            put.i64(cid_day.0);
        }
        // The ids of a group cancel do not fit and need no record: a cancel repeated does no harm.
        Action::CancelMulti { ids } => put.u8(ids.iter().filter(|id| !id.is_none()).count() as u8),
    }
    bytes
}

/// What a write-ahead record says, for people and for the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalCommand {
    /// `new`, `amend`, `cancel`, `replace`, `cancel_multi`.
    pub what: &'static str,
    pub class: &'static str,
    /// Number of the `Reason`.
    pub reason: u8,
    pub strategy: u8,
    pub symbol: u16,
    pub seq: u64,
    pub wall: WallNs,
    /// Of the order that is made, changed or cancelled; `NONE` for a group.
    pub cid: Cid,
    pub cid_day: WallNs,
    /// Of the order that is changed, replaced or cancelled.
    pub id: OrderId,
    /// Signed; zero where nothing is asked for.
    pub qty: Qty,
    pub px: Px,
}
impl WalCommand {
    /// A new client id leaves with it.
    pub fn makes_an_order(&self) -> bool {
        matches!(self.what, "new" | "replace")
    }
}

/// `None` where the record is of another layout.
pub fn read_wal_record(bytes: &[u8]) -> Option<WalCommand> {
    let bytes: &[u8; WAL_RECORD_SIZE] = bytes.try_into().ok()?;
    let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let u64_at = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(word)
    };
    let i64_at = |at: usize| u64_at(at) as i64;
    if bytes[0] != 1 {
        return None;
    }
    let mut command = WalCommand {
        what: ["new", "amend", "cancel", "replace", "cancel_multi"]
            .get(usize::from(bytes[1]).checked_sub(1)?)?,
        class: ["entry", "close", "cancel"].get(usize::from(bytes[2]))?,
        reason: bytes[3],
        strategy: bytes[4],
        symbol: u16_at(5),
        seq: u64_at(7),
        wall: WallNs(i64_at(15)),
        cid: Cid::NONE,
        cid_day: WallNs(0),
        id: OrderId::NONE,
        qty: Qty::ZERO,
        px: Px::ZERO,
    };
    match command.what {
        "new" | "replace" => {
            command.cid = Cid(u64_at(23));
            command.cid_day = WallNs(i64_at(31));
            command.qty = Qty::from_raw(i64_at(41));
            command.px = Px::from_raw(i64_at(49));
            if command.what == "replace" {
                command.id = OrderId(u64_at(71));
            }
        }
        "amend" => {
            (command.cid, command.id) = (Cid(u64_at(23)), OrderId(u64_at(31)));
            (command.px, command.qty) = (Px::from_raw(i64_at(39)), Qty::from_raw(i64_at(47)));
        }
        "cancel" => {
            (command.cid, command.id) = (Cid(u64_at(23)), OrderId(u64_at(31)));
            command.cid_day = WallNs(i64_at(39));
        }
        _ => {}
    }
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{StrategyId, SymbolId};
    use crate::model::{OrderFlags, OrderKind, Reason, Stamp, Trace, WalletKind};

    #[test]
    fn a_record_says_what_was_asked() {
        let new = NewOrder {
            cid: Cid(77),
            cid_day: WallNs(5),
            kind: OrderKind::Limit,
            wallet: WalletKind::Margin,
            qty: Qty::from_raw(-12),
            px: Px::from_raw(34),
            px_aux: Px::from_raw(9),
            flags: OrderFlags::POST_ONLY,
            leverage: 3,
        };
        let (id, cid, day) = (OrderId(8), Cid(6), WallNs(4));
        for (action, what, expected) in [
            (Action::New(new), "new", (77, 0, -12, 34)),
            (Action::Replace { id, cid, cid_day: day, new }, "replace", (77, 8, -12, 34)),
            (
                Action::Amend { id, cid, px: Px::from_raw(3), qty: Qty::from_raw(2) },
                "amend",
                (6, 8, 2, 3),
            ),
            (Action::Cancel { id, cid, cid_day: day }, "cancel", (6, 8, 0, 0)),
            (Action::CancelMulti { ids: [id; 16] }, "cancel_multi", (0, 0, 0, 0)),
        ] {
            let command = Command {
                stamp: Stamp { seq: 21, recv: Default::default(), wall: WallNs(99) },
                trace: Trace::default(),
                strategy: StrategyId(2),
                symbol: SymbolId(513),
                class: Class::Close,
                reason: Reason::Killed,
                action,
            };
            let mut bytes = wal_record(&command);
            let told = read_wal_record(&bytes).unwrap();
            let got = (told.cid.0, told.id.0, told.qty.raw(), told.px.raw());
            assert_eq!((told.what, got), (what, expected));
            assert_eq!((told.class, told.symbol, told.strategy), ("close", 513, 2));
            assert_eq!((told.seq, told.wall, told.reason), (21, WallNs(99), Reason::Killed as u8));
            bytes[0] = 2;
            assert_eq!(read_wal_record(&bytes), None);
        }
        assert_eq!(read_wal_record(&[1; 5]), None);
    }
}
