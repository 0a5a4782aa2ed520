//! Overlap of a source and a target in one bucket that are reached in different ways: by two
//! endpoints of a service, or with two accounts.

use crate::list::pages::From;
use crate::objects::ObjectStore;
use crate::read::head::Head;
use types::entry::Kind;
use types::error::{Cause, Result};
use types::operand::staged_name::probe_name;

impl ObjectStore {
    /// Returns why objects of `source` must not be copied to this store, if both turn out to be the
    /// same, or one inside the other, although they are reached in different ways. Stores of one
    /// service and account are compared by device and inode instead.
    ///
    /// Only buckets of one name are suspected, and only if both have the same object at the time of
    /// its upload. Replicas have that, too: an object that is made here for a moment, and looked
    /// for there, tells them apart. With `changes_nothing` none is made, and there is no answer.
    pub fn overlap_with(&self, source: &Self, kind: Kind, changes_nothing: bool) -> Option<Cause> {
        if changes_nothing {
            return None;
        }
        let is_tree = kind == Kind::Directory;
        let cause = self.nesting(source).filter(|it| is_tree || *it == Cause::SameFile)?;
        // What cannot be read tells nothing.
        let is_suspected = self.has_object_of(source).unwrap_or(true);
        (is_suspected && self.shows_itself_in(source)).then_some(cause)
    }

    /// Returns how the keys of both stores overlap, if their buckets have one name.
    fn nesting(&self, source: &Self) -> Option<Cause> {
        let is_one_service = self.bucket.device() == source.bucket.device();
        if is_one_service || self.bucket.name != source.bucket.name {
            None
        } else if self.prefix == source.prefix {
            Some(Cause::SameFile)
        } else if self.prefix.starts_with(&source.prefix) {
            Some(Cause::TargetInside)
        } else {
            source.prefix.starts_with(&self.prefix).then_some(Cause::SourceInside)
        }
    }

    /// Returns whether the first object of the source is the same in both buckets.
    fn has_object_of(&self, source: &Self) -> Result<bool> {
        let page = source.bucket.key_page(&source.prefix, From::Start)?;
        let key = match page.keys.first() {
            Some((below, _)) => format!("{}{below}", source.prefix),
            None if page.marker.is_some() => source.prefix.clone(),
            None => source.key().to_owned(),
        };
        if key.is_empty() {
            // There is nothing to lose in an empty bucket.
            return Ok(false);
        }
        let seen = |head: Head| (head.etag, head.metadata.ctime);
        match self.bucket.head(&key) {
            Err(error) if error.cause.is_vanished() => Ok(false),
            head => Ok(seen(head?) == seen(source.bucket.head(&key)?)),
        }
    }

    /// Returns whether an object that is made in this store for a moment is in the bucket of the
    /// source.
    fn shows_itself_in(&self, source: &Self) -> bool {
        let key = format!("{}{}", self.prefix, probe_name(fastrand::u64(..)));
        let is_made = self.bucket.put_empty(&key).is_ok();
        let is_shown = is_made && source.bucket.head(&key).is_ok();
        if let Err(error) = self.bucket.remove(&key) {
            tracing::debug!(%error, key, "a probe of the target is left");
        }
        is_shown
    }
}
