//! Keys by role, and where their nonces come from.

use crate::io::nonce::{CallGate, NonceError, NonceStore};
use crate::line::nonce::NonceAllocator;
use crate::line::rest::{KeyPlan, KeyRole};
use crate::venue::sign::ApiKey;
use std::path::PathBuf;
use std::sync::Arc;

/// Nonces of one key; the private socket of the same key must ask the same source.
#[derive(Clone, Debug)]
pub enum NonceSource {
    /// Of this process alone.
    Memory(NonceAllocator),
    /// Shared by processes, kept across restarts. The path is that of its file.
    Store(Arc<NonceStore>, PathBuf),
}
impl NonceSource {
    /// A nonce larger than any before.
    ///
    /// # Errors
    /// There is none that could be used.
    pub fn next(&self, now_us: u64) -> Result<u64, NonceError> {
        match self {
            NonceSource::Memory(allocator) => Ok(allocator.next(now_us)),
            NonceSource::Store(store, _) => store.next(now_us),
        }
    }
    /// The venue called one small: the next is far enough ahead of whoever else uses the key.
    pub fn step_past(&self) {
        match self {
            NonceSource::Memory(allocator) => allocator.step_past(),
            NonceSource::Store(store, path) => {
                if let Err(error) = store.step_past() {
                    log::error!("{}: {error}", path.display());
                }
            }
        }
    }
    /// Does the slow part of the next few seconds' nonces ahead of time: for a thread that must not
    /// wait for a disk.
    pub fn prepare(&self, now_us: u64) {
        if let NonceSource::Store(store, path) = self
            && let Err(error) = store.prepare(now_us)
        {
            log::error!("{}: {error}", path.display());
        }
    }
}

/// A key and its nonces.
#[derive(Clone, Debug)]
pub struct PlaneKey {
    pub key: ApiKey,
    pub nonces: NonceSource,
}

/// One number for each different key id.
pub(super) fn plan(keys: &[Option<PlaneKey>; KeyRole::ALL.len()]) -> KeyPlan {
    let mut plan = KeyPlan::APART;
    for (role, key) in keys.iter().enumerate() {
        let Some(key) = key else { continue };
        let same = |other: &Option<PlaneKey>| {
            other.as_ref().is_some_and(|other| other.key.id() == key.key.id())
        };
        plan.0[role] = keys.iter().position(same).unwrap_or(role) as u8;
    }
    plan
}

/// A lane's doors to the calls of its keys, by role.
pub(super) type Gates = [Option<CallGate>; KeyRole::ALL.len()];
pub(super) fn gates(keys: &[Option<PlaneKey>; KeyRole::ALL.len()]) -> Result<Gates, NonceError> {
    let mut gates: Gates = [None, None, None];
    for (gate, key) in gates.iter_mut().zip(keys) {
        if let Some(PlaneKey { nonces: NonceSource::Store(_, path), .. }) = key {
            *gate = Some(CallGate::open(path)?);
        }
    }
    Ok(gates)
}
