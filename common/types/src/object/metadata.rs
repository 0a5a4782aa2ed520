//! POSIX attributes as user metadata of S3 objects, in the ways other tools understand.
//!
//! There is no standard. AWS's own file services (DataSync, FSx for Lustre, S3 Files) share one
//! schema, with keys that begin with `file-`; rclone has another, s3fs-fuse and geesefs further
//! ones. Two are written and all of them read ([`read()`]). Keys are here without the `x-amz-meta-`
//! that they have as headers, and in lower case.

mod mode;
mod read;
mod time;

use std::ffi::CString;

use crate::entry::{Kind, Metadata, Time};
use crate::object::header_text;
use crate::path::Name;

pub use read::{StoredAttributes, read};

/// Sum of the bytes of all keys and values that S3 takes (Amazon S3 User Guide, "user-defined
/// object metadata"; keys count without their prefix).
pub const USER_METADATA_BYTES_MAX: usize = 2048;

/// Suffix that rclone appends to a symbolic link's key; the object's content is the link's target
/// (rclone's `--links`).
pub const RCLONE_LINK_SUFFIX: &str = ".rclonelink";

/// Schema in which attributes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Schema {
    /// Keys of AWS's file services: `file-permissions`, `file-owner`, …, with nanoseconds,
    /// directories and symbolic links.
    #[default]
    Aws,
    /// Keys of `rclone --metadata`: `mode`, `uid`, …
    Rclone,
    /// The schemas of AWS and rclone together.
    Both,
    /// No metadata at all.
    None,
}

/// Form in which a symbolic link is stored as an object. Its content is the link's target in either
/// case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkForm {
    /// An object under the link's own key, with the file type of a link in `file-permissions`.
    FileType,
    /// An object under the link's key with [`RCLONE_LINK_SUFFIX`] appended.
    Suffix,
}

impl LinkForm {
    /// Returns the name that the object of a link has below its prefix.
    pub fn name_of(self, link: &Name) -> CString {
        let mut name = link.to_bytes().to_vec();
        if self == Self::Suffix {
            name.extend_from_slice(RCLONE_LINK_SUFFIX.as_bytes());
        }
        CString::new(name).expect("neither part contains a NUL")
    }
}

/// Name that no schema has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid schema \"{0}\"; expected one of aws, rclone, both, none")]
pub struct UnknownSchema(String);

impl Schema {
    /// Returns the schema of that name on the command line.
    ///
    /// # Errors
    /// Fails for any other name, and lists the valid ones.
    pub fn parse(word: &str) -> Result<Self, UnknownSchema> {
        let all = [Self::Aws, Self::Rclone, Self::Both, Self::None];
        let known = all.into_iter().find(|schema| schema.word() == word);
        known.ok_or_else(|| UnknownSchema(word.to_owned()))
    }

    /// Returns the schema's name on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Rclone => "rclone",
            Self::Both => "both",
            Self::None => "none",
        }
    }

    /// Returns the form in which links are stored. Rclone's suffix is the one that needs no
    /// metadata.
    pub fn link_form(self) -> LinkForm {
        if self.has_aws() { LinkForm::FileType } else { LinkForm::Suffix }
    }

    fn has_aws(self) -> bool {
        matches!(self, Self::Aws | Self::Both)
    }

    fn has_rclone(self) -> bool {
        matches!(self, Self::Rclone | Self::Both)
    }
}

/// Attributes of an entry that its object's metadata may record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in Metadata")]
pub struct Facts {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub atime: Time,
    pub mtime: Time,
}

impl From<&Metadata> for Facts {
    fn from(metadata: &Metadata) -> Self {
        let Metadata { kind, mode, uid, gid, atime, mtime, .. } = *metadata;
        Self { kind, mode, uid, gid, atime, mtime }
    }
}

/// Subset of the attributes that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The modification time, without which no later run can tell what has changed, and the file
    /// type of a link.
    Needed,
    /// Owner, mode and access time as well (`-p`).
    Attributes,
}

/// Keys and values of user metadata.
pub type UserMetadata = Vec<(String, String)>;

/// Returns the user metadata for an entry.
///
/// `mtime` has rclone's form in every schema but [`Schema::None`], so that rclone sees the time.
/// Times outside the years 1 to 9999 cannot be written and are omitted; so is the mode of a device.
pub fn write(schema: Schema, facts: &Facts, scope: Scope) -> UserMetadata {
    if schema == Schema::None {
        return Vec::new();
    }
    let is_all = scope == Scope::Attributes;
    let is_marked_link = facts.kind == Kind::Symlink && schema.link_form() == LinkForm::FileType;
    let mut pairs = Vec::new();
    let mut push = |key: &str, value: Option<String>| {
        pairs.extend(value.map(|value| (key.to_owned(), value)));
    };
    push(MTIME, time::decimal_seconds(facts.mtime));
    if is_marked_link || is_all && schema.has_aws() {
        push(FILE_PERMISSIONS, mode::aws(facts.kind, facts.mode));
    }
    if is_all && schema.has_aws() {
        push(FILE_OWNER, Some(facts.uid.to_string()));
        push(FILE_GROUP, Some(facts.gid.to_string()));
        push(FILE_ATIME, time::nanoseconds(facts.atime));
        push(FILE_MTIME, time::nanoseconds(facts.mtime));
    }
    if is_all && schema.has_rclone() {
        push(MODE, mode::rclone(facts.kind, facts.mode));
        push(UID, Some(facts.uid.to_string()));
        push(GID, Some(facts.gid.to_string()));
        push(ATIME, time::rfc3339(facts.atime));
    }
    pairs
}

const FILE_PERMISSIONS: &str = "file-permissions";
const FILE_OWNER: &str = "file-owner";
const FILE_GROUP: &str = "file-group";
const FILE_ATIME: &str = "file-atime";
const FILE_MTIME: &str = "file-mtime";
const MODE: &str = "mode";
const UID: &str = "uid";
const GID: &str = "gid";
const ATIME: &str = "atime";
const MTIME: &str = "mtime";
/// Change time as s3fs writes it.
const CTIME: &str = "ctime";
/// All attributes that s3cmd stores, as `mode:33184/mtime:1700000000/uid:0` with more of the kind,
/// numbers in decimal.
const S3CMD: &str = "s3cmd-attrs";
/// Attributes as gsutil stores them with `-P`; the modification time is always stored.
const GSUTIL_MTIME: &str = "goog-reserved-file-mtime";
const GSUTIL_ATIME: &str = "goog-reserved-file-atime";
const GSUTIL_MODE: &str = "goog-reserved-posix-mode";
const GSUTIL_UID: &str = "goog-reserved-posix-uid";
const GSUTIL_GID: &str = "goog-reserved-posix-gid";

/// Keys that are dropped for lack of room, the least important first: access times; attributes that
/// `file-` keys have, too; keys of other tools; then those that cannot be recovered otherwise.
const LEAST_FIRST: [&str; 5] = [ATIME, FILE_ATIME, MODE, UID, GID];
const LAST: [&str; 5] = [FILE_MTIME, FILE_GROUP, FILE_OWNER, MTIME, FILE_PERMISSIONS];

/// Keys of attributes that are read and never written.
const OF_OTHERS: [&str; 7] =
    [CTIME, S3CMD, GSUTIL_MTIME, GSUTIL_ATIME, GSUTIL_MODE, GSUTIL_UID, GSUTIL_GID];

/// Keys of an object's older metadata that the attributes written now replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voids {
    /// All keys of attributes, in any schema.
    Attributes,
    /// Keys of the modification time.
    Time,
    /// No keys.
    Nothing,
}

/// Merges older metadata, of other tools too, with the metadata that is written now.
pub fn merge(old: &[(String, String)], new: UserMetadata, voids: Voids) -> UserMetadata {
    let is_void = |key: &str| match voids {
        Voids::Attributes => {
            LEAST_FIRST.contains(&key) || LAST.contains(&key) || OF_OTHERS.contains(&key)
        }
        Voids::Time => [MTIME, GSUTIL_MTIME].contains(&key),
        Voids::Nothing => false,
    };
    let is_new = |key: &str| new.iter().any(|(own, _)| own == key);
    let kept = old.iter().filter(|(key, _)| !is_void(key) && !is_new(key)).cloned();
    let mut merged: UserMetadata = kept.collect();
    merged.extend(new);
    merged
}

/// User metadata within S3's limit, and the keys that had to be dropped for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    /// Metadata that fits.
    pub kept: UserMetadata,
    /// The keys that were dropped, the least important first.
    pub dropped: Vec<String>,
}

/// Returns the size in bytes of keys and values as headers have them, which is no less than S3
/// counts.
pub fn size_bytes(pairs: &[(String, String)]) -> usize {
    pairs.iter().map(|(key, value)| key.len() + header_text::encode(value).len()).sum()
}

/// Drops the least important pairs until the rest are no more than [`USER_METADATA_BYTES_MAX`]. The
/// others keep their order.
pub fn fit(pairs: UserMetadata) -> Fitted {
    let mut fitted = Fitted { kept: pairs, dropped: Vec::new() };
    while size_bytes(&fitted.kept) > USER_METADATA_BYTES_MAX {
        let least = fitted.kept.iter().enumerate().min_by_key(|(_, (key, _))| importance(key));
        let (index, _) = least.expect("no pairs have no bytes");
        fitted.dropped.push(fitted.kept.remove(index).0);
    }
    fitted
}

fn importance(key: &str) -> usize {
    let place = |keys: &[&str]| keys.iter().position(|known| *known == key);
    let of_others = LEAST_FIRST.len();
    place(&LEAST_FIRST).or(place(&LAST).map(|place| of_others + 1 + place)).unwrap_or(of_others)
}

#[cfg(test)]
mod tests;
