//! The exchange sees each client id of ours at most once.

use std::collections::BTreeSet;

pub const NAME: &str = "client id at most once";

#[derive(Debug, Default)]
pub struct Cids {
    seen: BTreeSet<u64>,
}

impl Cids {
    /// The highest so far.
    pub fn last(&self) -> Option<u64> {
        self.seen.last().copied()
    }
    /// A new order arrives at the exchange.
    pub fn arrived(&mut self, cid: u64) -> Result<(), String> {
        if self.seen.insert(cid) {
            return Ok(());
        }
        Err(format!("client id {cid} arrived at the exchange a second time"))
    }
}
