//! POSIX attributes as user metadata of S3 objects, in the ways other tools understand.
//!
//! There is no standard. AWS's own file services (DataSync, FSx for Lustre, S3 Files) share one schema, with
//! keys that begin with `file-`; rclone has another, s3fs-fuse and geesefs further ones. Two are written and
//! all of them read ([`read`]). Keys are here without the `x-amz-meta-` that they have as headers, and in
//! lower case.

mod mode;
mod read;
mod time;

use std::ffi::CString;

use crate::entry::{Kind, Metadata, Time};
use crate::object::header_text;
use crate::path::Name;

pub use read::{StoredAttributes, read};

/// Sum of the bytes of all keys and values that S3 takes (Amazon S3 User Guide, "user-defined object
/// metadata"; keys count without their prefix).
pub const USER_METADATA_BYTES_MAX: usize = 2048;

/// What rclone appends to a link's key; the object's content is the link's target (rclone's `--links`).
pub const RCLONE_LINK_SUFFIX: &str = ".rclonelink";

/// In which way attributes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Schema {
    /// `file-permissions`, `file-owner`, …: with nanoseconds, directories and links.
    #[default]
    Aws,
    /// `mode`, `uid`, …, as `rclone --metadata` does.
    Rclone,
    /// Both of them.
    Both,
    /// No metadata at all.
    None,
}

/// How a symbolic link is an object. Its content is the target in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkForm {
    /// It has the link's own key, and the file type in `file-permissions` says that it is a link.
    FileType,
    /// Its key has [`RCLONE_LINK_SUFFIX`] at the end.
    Suffix,
}

impl LinkForm {
    /// The name that the object of a link has below its prefix.
    pub fn name_of(self, link: &Name) -> CString {
        let mut name = link.to_bytes().to_vec();
        if self == Self::Suffix {
            name.extend_from_slice(RCLONE_LINK_SUFFIX.as_bytes());
        }
        CString::new(name).expect("neither part contains a NUL")
    }
}

impl Schema {
    /// The schema that a command line names so.
    ///
    /// # Errors
    /// One line that shows the right words.
    pub fn parse(word: &str) -> Result<Self, String> {
        let all = [Self::Aws, Self::Rclone, Self::Both, Self::None];
        let known = all.into_iter().find(|schema| schema.word() == word);
        known.ok_or_else(|| format!("\"{word}\" is none of aws, rclone, both and none"))
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Rclone => "rclone",
            Self::Both => "both",
            Self::None => "none",
        }
    }

    /// How links are written. What needs no metadata is rclone's suffix.
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

/// What an object is to tell of the entry it was.
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

/// Which of the facts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The time of modification, without which no later run can tell what has changed; and that a link
    /// is one.
    Needed,
    /// Owner, mode and times too (`-p`).
    Attributes,
}

/// Keys and values.
pub type UserMetadata = Vec<(String, String)>;

/// The user metadata for an entry.
///
/// `mtime` has rclone's form in every schema but [`Schema::None`], so that rclone sees the time. Times
/// outside the years 1 to 9999 cannot be written and are left out; so is the mode of a device.
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
/// As s3fs writes it.
const CTIME: &str = "ctime";
/// All that s3cmd keeps, as `mode:33184/mtime:1700000000/uid:0` with more of the kind, numbers in decimal.
const S3CMD: &str = "s3cmd-attrs";
/// As gsutil keeps them with `-P`, and the time of change always.
const GSUTIL_MTIME: &str = "goog-reserved-file-mtime";
const GSUTIL_ATIME: &str = "goog-reserved-file-atime";
const GSUTIL_MODE: &str = "goog-reserved-posix-mode";
const GSUTIL_UID: &str = "goog-reserved-posix-uid";
const GSUTIL_GID: &str = "goog-reserved-posix-gid";

/// What is given up for lack of room, the least important first: times of access; what `file-` keys
/// say too; keys of others; then what could not be known without.
const LEAST_FIRST: [&str; 5] = [ATIME, FILE_ATIME, MODE, UID, GID];
const LAST: [&str; 5] = [FILE_MTIME, FILE_GROUP, FILE_OWNER, MTIME, FILE_PERMISSIONS];

/// Attributes in ways that are only read.
const OF_OTHERS: [&str; 7] =
    [CTIME, S3CMD, GSUTIL_MTIME, GSUTIL_ATIME, GSUTIL_MODE, GSUTIL_UID, GSUTIL_GID];

/// Which of an object's older metadata the attributes that are written now make void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voids {
    /// All that tells attributes, in any way.
    Attributes,
    /// What tells the time of modification.
    Time,
    /// None.
    Nothing,
}

/// Older metadata, of others too, with what is written now.
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

/// User metadata that S3 takes, and what had to be left out for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    /// What fits.
    pub kept: UserMetadata,
    /// The keys that were dropped, the least important first.
    pub dropped: Vec<String>,
}

/// Bytes of keys and values as headers have them: S3 counts no more than these.
pub fn size_bytes(pairs: &[(String, String)]) -> usize {
    pairs.iter().map(|(key, value)| key.len() + header_text::encode(value).len()).sum()
}

/// Drops the least important pairs until the rest are no more than [`USER_METADATA_BYTES_MAX`]. The order of
/// the others stays.
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
