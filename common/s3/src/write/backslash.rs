//! Backslashes in keys, which some services take for slashes: SeaweedFS stores the object `a\b` as
//! `a/b`, where it replaces another one.

use bytes::Bytes;

use crate::client::fault::is_refusal;
use crate::read::object::Bucket;
use crate::write::fields::{Like, NewObject};
use types::entry::{Attributes, Kind};
use types::error::{Cause, Result};
use types::operand::staged_name::probe_name;
use types::service::ServiceFault;

impl Bucket {
    /// Returns whether the service keeps backslashes in keys. An object that is made for a moment
    /// tells, once for a service.
    pub fn keeps_backslashes(&self, prefix: &str) -> bool {
        let known = &self.service.capabilities.backslashes;
        if let Some(is_kept) = known.get() {
            return *is_kept;
        }
        let probe = format!("{prefix}{}", probe_name(fastrand::u64(..)));
        let key = format!("{probe}\\k");
        // Where the probe is refused, the object itself is, too.
        let found = self.put_empty(&key).map(|()| self.head(&format!("{probe}/k")).map(drop));
        if let Err(error) = self.remove(&key) {
            tracing::debug!(%error, key, "a probe of the target is left");
        }
        match found {
            Ok(Ok(())) => {
                // Such a service still lists the directory in which it kept the object.
                let _ = self.remove(&format!("{probe}/"));
                *known.get_or_init(|| false)
            }
            Ok(Err(error)) if error.cause.is_vanished() => *known.get_or_init(|| true),
            // Not known, so the next key asks again.
            _ => true,
        }
    }

    /// Returns whether an answer about this key is about an object of that key, and not about one
    /// with a slash instead of a backslash. A listing tells, until the service has kept one.
    ///
    /// # Errors
    /// Returns the error of the listing.
    pub fn is_itself(&self, key: &str) -> Result<bool> {
        let known = &self.service.capabilities.backslashes;
        if !key.contains('\\') || known.get() == Some(&true) {
            return Ok(true);
        }
        match self.first_page(key, 2) {
            Ok(Some(page)) if page.has_keys_within() => {
                known.get_or_init(|| true);
                Ok(true)
            }
            // The key that is listed has a slash, too, or the object is gone.
            Ok(_) => Ok(false),
            // An account that may only read learns no more.
            Err(error) if tells_nothing(error.cause) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Stores an empty object.
    pub fn put_empty(&self, key: &str) -> Result<()> {
        let (what, attributes) = ((Kind::File, 0), &Attributes::NONE);
        let object = NewObject::new(self, key.to_owned(), what, None, attributes, Like::Nothing);
        self.put_whole(&object, &Bytes::new()).map(|_| ())
    }
}

/// Returns whether a service refuses listings, though it answers requests for objects.
fn tells_nothing(cause: Cause) -> bool {
    let is_missing = cause == Cause::Service(ServiceFault::NoBucket);
    is_missing || cause == Cause::System(libc::EACCES) || is_refusal(cause)
}
