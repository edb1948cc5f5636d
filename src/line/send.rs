//! The end of the line: a command becomes a write-ahead record and then bytes, or is refused at the
//! door.

use crate::base::rng::Rng;
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
