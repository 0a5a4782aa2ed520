//! The headers and user metadata of a new object, from the attributes of a file or from another
//! object.

use std::collections::HashMap;

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};

use crate::config::settings::ObjectOptions;
use crate::read::object::Bucket;
use crate::write::content_type;
use crate::write::tags_and_grants::{Grants, Tags};
use types::entry::{Attributes, Kind, Owner, Preserved, Time, Times};
use types::object::header_text;
use types::object::headers::{ObjectHeaders, Storage};
use types::object::metadata::{Facts, Schema, Scope, UserMetadata, Voids, fit, merge, write};

/// An object to be created.
#[derive(Debug, Clone)]
pub(crate) struct NewObject {
    pub key: String,
    pub size_bytes: u64,
    /// The user metadata, encoded as header values.
    pub user: HashMap<String, String>,
    pub content_type: String,
    /// The other standard headers, as the object has them of which this one is a copy.
    pub headers: ObjectHeaders,
    /// The record of which requested attributes the object preserves.
    pub preserved: Preserved,
    /// The tags, where the object is a copy.
    pub tags: Tags,
    /// The grants of the access control list, where the object replaces itself.
    pub grants: Grants,
    /// The key of an object to remove afterwards, because it is the same entry in another form.
    pub replaces: Option<String>,
}

/// The object whose headers a new one takes over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Like<'h> {
    /// A new object takes over no headers.
    Nothing,
    /// A different object, which is copied.
    Another(&'h ObjectHeaders),
    /// The object itself, which gets other attributes.
    Itself(&'h ObjectHeaders),
}

impl NewObject {
    /// Describes an object of that type, with the attributes that the operator's metadata schema
    /// stores.
    pub fn new(
        bucket: &Bucket,
        key: String,
        (kind, size_bytes): (Kind, u64),
        mtime: Option<Time>,
        attributes: &Attributes,
        like: Like<'_>,
    ) -> Self {
        let headers = match like {
            Like::Nothing => ObjectHeaders::default(),
            Like::Another(headers) => {
                ObjectHeaders { storage: Storage::default(), ..headers.clone() }
            }
            Like::Itself(headers) => headers.clone(),
        };
        let (facts, scope) = facts(kind, mtime, attributes);
        let schema = bucket.service.settings.metadata;
        let voids = match (schema, scope, like) {
            (Schema::None, _, Like::Another(_)) => Voids::Nothing,
            (Schema::None, _, _) | (_, Scope::Attributes, _) => Voids::Attributes,
            (_, Scope::Needed, _) => Voids::Time,
        };
        // Metadata that exceeds the service's limit of 2 KiB is dropped attribute by attribute, and
        // the loss is reported.
        let fitted = fit(merge(&headers.user, write(schema, &facts, scope), voids));
        let is_asked = scope == Scope::Attributes;
        let preserved = Preserved {
            xattrs_lost: has_xattrs(attributes),
            attributes_lost: is_asked && schema == Schema::None || !fitted.dropped.is_empty(),
            is_unstored: !is_asked || schema == Schema::None || !fitted.dropped.is_empty(),
            ..Preserved::ALL
        };
        let guessed = || {
            let name = key.rsplit('/').next().unwrap_or_default();
            match kind {
                Kind::File => content_type::of_name(name.as_bytes()).to_owned(),
                _ => content_type::UNKNOWN.to_owned(),
            }
        };
        let content_type = headers.content_type.clone().unwrap_or_else(guessed);
        Self {
            size_bytes,
            user: as_headers(fitted.kept),
            content_type,
            headers,
            key,
            preserved,
            tags: Tags::default(),
            grants: Grants::default(),
            replaces: None,
        }
    }

    /// Returns the storage class: the operator's, or that of the object itself.
    pub fn storage_class(&self, options: &ObjectOptions) -> Option<StorageClass> {
        let own = self.headers.storage.class.as_ref();
        options.storage_class.as_ref().or(own).map(|class| class.as_str().into())
    }

    /// Returns the encryption and the key for it: the operator's, or those of the object itself.
    pub fn encryption(
        &self,
        options: &ObjectOptions,
    ) -> (Option<ServerSideEncryption>, Option<String>) {
        let own = &self.headers.storage;
        let (sse, key) = match &options.sse {
            Some(sse) => (Some(sse), &options.sse_kms_key_id),
            None => (own.sse.as_ref(), &own.sse_kms_key_id),
        };
        (sse.map(|sse| sse.as_str().into()), key.clone())
    }

    /// Returns the Expires header, unless its value is no valid time.
    pub fn expires(&self) -> Option<DateTime> {
        DateTime::from_str(self.headers.expires.as_deref()?, DateTimeFormat::HttpDate).ok()
    }
}

/// Encodes user metadata as header values.
pub(crate) fn as_headers(user: UserMetadata) -> HashMap<String, String> {
    user.into_iter().map(|(key, value)| (key, header_text::encode(&value))).collect()
}

/// Returns whether there are extended attributes, which objects cannot hold.
pub(crate) fn has_xattrs(attributes: &Attributes) -> bool {
    attributes.xattrs.as_ref().is_some_and(|xattrs| !xattrs.is_empty())
}

/// Returns the facts to store: all attributes if they are complete, otherwise only those that an
/// object needs in any case, such as the modification time.
fn facts(kind: Kind, mtime: Option<Time>, attributes: &Attributes) -> (Facts, Scope) {
    let needed = mtime.or(attributes.times.map(|times| times.mtime)).unwrap_or_else(Time::now);
    let mode = attributes.mode.or((kind == Kind::Symlink).then_some(0o777));
    if let (Some(Owner { uid, gid }), Some(mode), Some(Times { atime, mtime })) =
        (attributes.owner.filter(Owner::is_whole), mode, attributes.times)
    {
        return (Facts { kind, mode, uid, gid, atime, mtime }, Scope::Attributes);
    }
    let facts = Facts { kind, mode: 0o777, uid: 0, gid: 0, atime: needed, mtime: needed };
    (facts, Scope::Needed)
}

/// Adds the standard headers and the user metadata to a request that creates an object.
macro_rules! with_headers {
    ($request:expr, $new:expr) => {
        $request
            .set_metadata(Some($new.user.clone()))
            .content_type($new.content_type.clone())
            .set_content_encoding($new.headers.own_encoding())
            .set_content_disposition($new.headers.content_disposition.clone())
            .set_content_language($new.headers.content_language.clone())
            .set_cache_control($new.headers.cache_control.clone())
            .set_expires($new.expires())
            .set_website_redirect_location($new.headers.website_redirect.clone())
    };
}
pub(crate) use with_headers;
