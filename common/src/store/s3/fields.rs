//! What a new object is given besides its content.

use std::collections::HashMap;

use super::object::Bucket;
use crate::model::content_type;
use crate::model::entry::{Attributes, Kept, Kind, Owner, Time, Times};
use crate::model::object_metadata::{Facts, Scope, fit, write};

/// An object to be made.
#[derive(Debug, Clone)]
pub(super) struct NewObject {
    pub key: String,
    pub size_bytes: u64,
    pub user: HashMap<String, String>,
    pub content_type: &'static str,
    /// What goes when it is there: it was the same entry under another key.
    pub replaces: Option<String>,
}

impl NewObject {
    /// An object of that kind, with these attributes as far as the operator's schema takes them.
    pub fn new(
        bucket: &Bucket,
        key: String,
        (kind, size_bytes): (Kind, u64),
        mtime: Option<Time>,
        attributes: &Attributes,
    ) -> Self {
        let name = key.rsplit('/').next().unwrap_or_default();
        let content_type = match kind {
            Kind::File => content_type::of_name(name.as_bytes()),
            _ => content_type::UNKNOWN,
        };
        let (facts, scope) = facts(kind, mtime, attributes);
        let fitted = fit(write(bucket.service.settings.metadata, &facts, scope));
        Self {
            size_bytes,
            user: fitted.kept.into_iter().collect(),
            content_type,
            key,
            replaces: None,
        }
    }
}

/// What becomes of these attributes: user metadata has no room for extended ones.
pub(super) fn kept_of(attributes: &Attributes) -> Kept {
    let xattrs_lost = attributes.xattrs.as_ref().is_some_and(|xattrs| !xattrs.is_empty());
    Kept { xattrs_lost, ..Kept::ALL }
}

/// All that is known of an entry, or what is needed in any case.
fn facts(kind: Kind, mtime: Option<Time>, attributes: &Attributes) -> (Facts, Scope) {
    let needed = mtime.or(attributes.times.map(|times| times.mtime)).unwrap_or_else(Time::now);
    let mode = attributes.mode.or((kind == Kind::Symlink).then_some(0o777));
    if let (Some(Owner { uid, gid }), Some(mode), Some(Times { atime, mtime })) =
        (attributes.owner, mode, attributes.times)
    {
        return (Facts { kind, mode, uid, gid, atime, mtime }, Scope::Attributes);
    }
    let facts = Facts { kind, mode: 0o777, uid: 0, gid: 0, atime: needed, mtime: needed };
    (facts, Scope::Needed)
}
