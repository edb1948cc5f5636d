//! A restart never goes back: neither client ids nor nonces.

use crate::model::{Action, Command};

pub const NAME: &str = "restart never loosens id or nonce";

#[derive(Debug, Default)]
pub struct Restart {
    cid_last: u64,
    nonce_last: u64,
}

impl Restart {
    pub fn decided(&mut self, command: &Command) -> Result<(), String> {
        let cid = match &command.action {
            Action::New(new) | Action::Replace { new, .. } => new.cid.0,
            _ => return Ok(()),
        };
        if cid <= self.cid_last {
            return Err(format!("client id {cid} is not above {}", self.cid_last));
        }
        self.cid_last = cid;
        Ok(())
    }
    pub fn nonce(&mut self, nonce: u64) -> Result<(), String> {
        if nonce <= self.nonce_last {
            return Err(format!("nonce {nonce} is not above {}", self.nonce_last));
        }
        self.nonce_last = nonce;
        Ok(())
    }
}
