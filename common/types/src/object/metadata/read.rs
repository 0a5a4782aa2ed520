//! Attributes from the user metadata of an object that any of the known tools has written.

use super::mode::{self, Writer};
use super::{
    ATIME, FILE_ATIME, FILE_GROUP, FILE_MTIME, FILE_OWNER, FILE_PERMISSIONS, GID, GSUTIL_ATIME,
    GSUTIL_GID, GSUTIL_MODE, GSUTIL_MTIME, GSUTIL_UID, MODE, MTIME, S3CMD, UID, time,
};
use crate::entry::{Kind, Time};

/// Attributes of an entry from the user metadata of its object; `None` for one that is absent or
/// makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoredAttributes {
    /// File type.
    pub kind: Option<Kind>,
    /// Permission bits with set-id and sticky bits. They are as untrusted as the object: everybody
    /// who may write to the bucket chooses them.
    pub mode: Option<u32>,
    /// User ID of the owner.
    pub uid: Option<u32>,
    /// Group ID.
    pub gid: Option<u32>,
    /// Access time.
    pub atime: Option<Time>,
    /// Modification time.
    pub mtime: Option<Time>,
}

/// Reads user metadata; `value` gives the value of a key.
///
/// Where both kinds of keys exist and differ, the plain ones (`mode`, `mtime`, …) are the newer
/// ones: rclone and s3fs change theirs and preserve all others, while FSx drops keys that it does
/// not know. s3cmd and gsutil store the whole object again, so their keys exist beside others only
/// where another tool has written later.
pub fn read<'a>(value: impl Fn(&str) -> Option<&'a str>) -> StoredAttributes {
    let permissions = value(FILE_PERMISSIONS).and_then(mode::from_aws);
    let plain = value(MODE).and_then(|text| mode::from_plain(text, writer(&value), permissions));
    let of_s3cmd = |key| s3cmd_value(value(S3CMD)?, key);
    let other_mode = || {
        let of_s3cmd = of_s3cmd(MODE).and_then(|text| mode::from_plain(text, Writer::S3fs, None));
        of_s3cmd.or_else(|| value(GSUTIL_MODE).and_then(mode::from_aws))
    };
    let id = |plain, aws, gsutil| {
        let known = [value(plain), value(aws), of_s3cmd(plain), value(gsutil)];
        known.into_iter().flatten().find_map(id)
    };
    let time = |plain, aws, gsutil| {
        let first = value(plain).and_then(time::from_plain);
        let first = first.or_else(|| value(aws).and_then(time::from_aws));
        let others = [of_s3cmd(plain), value(gsutil)];
        first.or_else(|| others.into_iter().flatten().find_map(time::from_plain))
    };
    StoredAttributes {
        kind: plain.and_then(|(kind, _)| kind).or(permissions.and_then(|(kind, _)| kind)),
        mode: plain.or(permissions).or_else(other_mode).map(|(_, mode)| mode),
        uid: id(UID, FILE_OWNER, GSUTIL_UID),
        gid: id(GID, FILE_GROUP, GSUTIL_GID),
        atime: time(ATIME, FILE_ATIME, GSUTIL_ATIME),
        mtime: time(MTIME, FILE_MTIME, GSUTIL_MTIME),
    }
}

/// Returns one of the attributes that s3cmd stores together.
fn s3cmd_value<'a>(attributes: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = attributes.split('/').filter_map(|pair| pair.split_once(':'));
    pairs.find(|(own, _)| *own == key).map(|(_, value)| value)
}

/// Recognises the tool that has written the plain keys by the times beside them: rclone always
/// writes `atime` in RFC 3339, s3fs `ctime` and `atime` as numbers.
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

/// Parses a user or group ID. The highest number is refused: to chown(2) it means "unchanged".
fn id(text: &str) -> Option<u32> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok())?.filter(|id| *id != u32::MAX)
}
