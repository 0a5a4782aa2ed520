//! Backslashes in keys, which some services take for slashes: SeaweedFS stores the object `a\b` as
//! `a/b`, where it replaces another one.

use bytes::Bytes;

use crate::list::pages::NONSENSE;
use crate::read::object::Bucket;
use crate::write::fields::{Like, NewObject};
use types::entry::{Attributes, Kind};
use types::error::Result;
use types::operand::staged_name::probe_name;

impl Bucket {
    /// Returns whether the service keeps backslashes in keys. An object that is made for a moment
    /// tells, once for a service.
    pub fn keeps_backslashes(&self, prefix: &str) -> bool {
        let known = &self.service.capabilities.backslashes;
        *known.get_or_init(|| {
            let key = format!("{prefix}{}\\k", probe_name(fastrand::u64(..)));
            // A service that stores nothing here fails for the object itself, too.
            let is_kept = self.put_empty(&key).is_err() || self.shows(&key);
            if let Err(error) = self.remove(&key) {
                tracing::debug!(%error, key, "a probe of the target is left");
            }
            is_kept
        })
    }

    /// Returns whether a listing has a key that was stored. One that may not be read tells nothing.
    fn shows(&self, key: &str) -> bool {
        self.has_key(key).unwrap_or_else(|error| error.cause != NONSENSE)
    }

    /// Stores an empty object.
    pub fn put_empty(&self, key: &str) -> Result<()> {
        let (what, attributes) = ((Kind::File, 0), &Attributes::NONE);
        let object = NewObject::new(self, key.to_owned(), what, None, attributes, Like::Nothing);
        self.put_whole(&object, &Bytes::new()).map(|_| ())
    }
}
