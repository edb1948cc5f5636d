//! Facts of the account, closed bars and changes of sync are never lost between the front and the
//! stages, however full the rings are.

use crate::model::Body;
use crate::world::engine::{FrontTap, is_private};

pub const NAME: &str = "control events never lost";

#[derive(Debug, Default)]
pub struct Control {
    private: u64,
    control: u64,
}

impl Control {
    pub fn delivered(&mut self, body: &Body) {
        self.private += u64::from(is_private(body));
        self.control += u64::from(matches!(body, Body::Bar(_) | Body::Sync(_)));
    }
    /// Nothing waits any more: what was decoded has arrived.
    pub fn idle(&self, tap: &FrontTap) -> Result<(), String> {
        if self.private != tap.private {
            let (got, sent) = (self.private, tap.private);
            return Err(format!("{sent} facts of the account were decoded, {got} arrived"));
        }
        if self.control != tap.control {
            let (got, sent) = (self.control, tap.control);
            return Err(format!("{sent} bars and syncs were made, {got} arrived"));
        }
        Ok(())
    }
}
