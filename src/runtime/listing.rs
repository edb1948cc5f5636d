//! The registry over the plane and on disk: fetched by one call, kept as the last good copy.

use super::plane::{PlaneCall, PlaneError, RestPlane};
use crate::base::time::{SpanNs, WallNs};
use crate::io::files::write_atomic;
use crate::line::Now;
use crate::line::registry::{RegistryError, RegistryKeeper, SavedError, Update};
use crate::line::rest::Reason;
use crate::line::rest::flight::Ask;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Longest saved copy that is read, bytes: 2,048 pairs at some 300 bytes, with room.
const SAVED_SIZE_MAX: u64 = 8 << 20;

/// What was found of the last good copy.
#[derive(Debug)]
pub enum SavedCopy {
    Absent,
    Loaded {
        age: SpanNs,
    },
    /// It is fetched anew.
    Unusable(SavedError),
    Unreadable(io::Error),
}
impl fmt::Display for SavedCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SavedCopy::Absent => f.write_str("there is no saved list of pairs"),
            SavedCopy::Loaded { age } => {
                write!(f, "the saved list of pairs is {} s old", age.as_ms() / 1_000)
            }
            SavedCopy::Unusable(error) => write!(f, "the saved list of pairs: {error}"),
            SavedCopy::Unreadable(error) => {
                write!(f, "the saved list of pairs cannot be read ({error}); it is fetched anew")
            }
        }
    }
}

/// Why a fetch brought nothing; what was loaded before stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListingError {
    Call(PlaneError),
    Reply(RegistryError),
    /// Fetched moments ago.
    TooSoon,
}
impl fmt::Display for ListingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListingError::Call(error) => write!(f, "the venue's pairs could not be read: {error}"),
            ListingError::Reply(error) => write!(f, "{error}"),
            ListingError::TooSoon => f.write_str("the venue's pairs were read moments ago"),
        }
    }
}

/// Takes over the last good copy, if there is one.
pub fn load_saved(keeper: &mut RegistryKeeper, path: &Path, wall: WallNs) -> SavedCopy {
    let size = match std::fs::metadata(path) {
        Ok(facts) => facts.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return SavedCopy::Absent,
        Err(error) => return SavedCopy::Unreadable(error),
    };
    if size > SAVED_SIZE_MAX {
        return SavedCopy::Unusable(SavedError::NotOurs);
    }
    match std::fs::read(path) {
        Ok(bytes) => match keeper.load_saved(&bytes, wall) {
            Ok(age) => SavedCopy::Loaded { age },
            Err(error) => SavedCopy::Unusable(error),
        },
        Err(error) => SavedCopy::Unreadable(error),
    }
}

/// Keeps the last good copy; the file is the old one or the new one, whole.
///
/// # Errors
/// What the file system says.
pub fn save(keeper: &RegistryKeeper, path: &Path) -> io::Result<()> {
    let Some(bytes) = keeper.to_saved() else { return Ok(()) };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)?;
    }
    write_atomic(path, &bytes)
}

/// Asks the venue, unless the list is fresh; waits for the answer. `now` gives the time, asked
/// before and after.
///
/// # Errors
/// See `ListingError`.
pub fn refresh(
    keeper: &mut RegistryKeeper,
    plane: &RestPlane,
    fresh_for: Duration,
    now: impl Fn() -> Now,
) -> Result<Update, ListingError> {
    match keeper.ask(now()) {
        Ask::Fetch => {}
        Ask::Fresh { .. } => return Ok(Update::Same),
        Ask::Join | Ask::Later(_) => return Err(ListingError::TooSoon),
    }
    let mut call = PlaneCall::public(&keeper.path(), Reason::Registry, fresh_for);
    call.if_none_match = keeper.if_none_match().map(str::to_owned);
    match plane.call(call) {
        Ok(reply) => keeper
            .on_reply(reply.status, &reply.etag, &reply.body, now())
            .map_err(ListingError::Reply),
        Err(error) => {
            keeper.on_failure();
            Err(ListingError::Call(error))
        }
    }
}
