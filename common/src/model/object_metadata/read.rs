//! Attributes from the user metadata of an object that any of the known tools has written.

use super::mode::{self, Writer};
use super::{
    ATIME, FILE_ATIME, FILE_GROUP, FILE_MTIME, FILE_OWNER, FILE_PERMISSIONS, GID, MODE, MTIME, UID,
    time,
};
use crate::model::entry::{Kind, Time};

/// What an object's user metadata says of the entry it was. What is absent or makes no sense is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoredAttributes {
    /// What it was.
    pub kind: Option<Kind>,
    /// Permission bits with set-id and sticky bits. As foreign as the object: whoever may write to the
    /// bucket chooses them.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last access.
    pub atime: Option<Time>,
    /// Last change of content.
    pub mtime: Option<Time>,
}

/// Reads user metadata; `value` gives the value of a key.
///
/// Where both kinds of keys are there and differ, the plain ones (`mode`, `mtime`, …) are the younger: rclone
/// and s3fs change theirs and keep all others, while FSx drops what it does not know.
pub fn read<'a>(value: impl Fn(&str) -> Option<&'a str>) -> StoredAttributes {
    let permissions = value(FILE_PERMISSIONS).and_then(mode::from_aws);
    let plain = value(MODE).and_then(|text| mode::from_plain(text, writer(&value), permissions));
    let id = |plain, aws| value(plain).and_then(id).or_else(|| value(aws).and_then(id));
    let time = |plain, aws| {
        let plain = value(plain).and_then(time::from_plain);
        plain.or_else(|| value(aws).and_then(time::from_aws))
    };
    StoredAttributes {
        kind: plain.and_then(|(kind, _)| kind).or(permissions.and_then(|(kind, _)| kind)),
        mode: plain.or(permissions).map(|(_, mode)| mode),
        uid: id(UID, FILE_OWNER),
        gid: id(GID, FILE_GROUP),
        atime: time(ATIME, FILE_ATIME),
        mtime: time(MTIME, FILE_MTIME),
    }
}

/// Who wrote the plain keys, by the times beside them: rclone always writes `atime` in RFC 3339, s3fs
/// `ctime` and `atime` as numbers.
fn writer<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Writer {
    let times = || [ATIME, "btime", MTIME].into_iter().filter_map(&value);
    if times().any(time::is_rfc3339) {
        Writer::Rclone
    } else if value("ctime").is_some() || value(ATIME).is_some() {
        Writer::S3fs
    } else {
        Writer::Unknown
    }
}

/// A user or group. The highest number is none: to chown(2) it says "leave as it is".
fn id(text: &str) -> Option<u32> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok())?.filter(|id| *id != u32::MAX)
}
