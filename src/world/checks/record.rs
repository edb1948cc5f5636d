//! No order arrives at the exchange whose write-ahead record does not exist.

use crate::base::ids::Cid;
use crate::world::disk::Disk;

pub const NAME: &str = "record before bytes";

/// Records looked through, from the newest: more than can be under way.
const AMONG: usize = 4_096;

pub fn arrived(cid: u64, disk: &Disk) -> Result<(), String> {
    if disk.has_order(Cid(cid), AMONG) {
        return Ok(());
    }
    Err(format!("order {cid} arrived at the exchange without a write-ahead record"))
}
