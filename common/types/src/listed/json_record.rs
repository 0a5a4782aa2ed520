//! An entry as a JSON object: what a line of an NDJSON list holds, for its writer and its reader.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::content::crc64::Crc64;
use crate::entry::{Kind, Metadata, Time};
use crate::listed::record::{OwnedRecord, Record};
use crate::outcome::difference::Fields;

/// Version of the lines: a reader refuses others.
pub const VERSION: u32 = 1;

/// Bytes in JSON: `{"text":…}` for UTF-8, `{"bytes":…}` with base64 for anything else.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JsonBytes<'r> {
    /// UTF-8 text as it is.
    Text(Cow<'r, str>),
    /// Other bytes in base64.
    Bytes(String),
}

impl<'r> JsonBytes<'r> {
    /// Converts bytes, such as those of a path.
    pub fn of(bytes: &'r [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(Cow::Borrowed(text)),
            Err(_) => Self::Bytes(BASE64.encode(bytes)),
        }
    }

    fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.into_owned().into_bytes()),
            Self::Bytes(text) => BASE64.decode(text).ok(),
        }
    }
}

/// A line of an NDJSON list.
#[derive(Debug, Serialize, Deserialize)]
pub struct JsonRecord<'r> {
    v: u32,
    event: Cow<'r, str>,
    path: JsonBytes<'r>,
    depth: u32,
    kind: Cow<'r, str>,
    size: u64,
    allocated: u64,
    /// Octal, as for chmod(1).
    mode: String,
    uid: u32,
    gid: u32,
    user: Option<Cow<'r, str>>,
    group: Option<Cow<'r, str>>,
    atime: (i64, u32),
    mtime: (i64, u32),
    ctime: (i64, u32),
    nlink: u64,
    dev: u64,
    inode: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<JsonBytes<'r>>,
    /// Hexadecimal digits: programs that read JSON may take numbers for floating-point ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crc64: Option<String>,
}

impl<'r> JsonRecord<'r> {
    /// Converts an entry.
    pub fn of(record: &Record<'r>) -> Self {
        let metadata = record.metadata;
        let time = |time: Time| (time.seconds, time.nanoseconds);
        Self {
            v: VERSION,
            event: "entry".into(),
            path: JsonBytes::of(record.path),
            depth: record.depth,
            kind: metadata.kind.word().into(),
            size: metadata.size_bytes,
            allocated: metadata.allocated_bytes,
            mode: format!("{:04o}", metadata.mode),
            uid: metadata.uid,
            gid: metadata.gid,
            user: record.user.map(Cow::Borrowed),
            group: record.group.map(Cow::Borrowed),
            atime: time(metadata.atime),
            mtime: time(metadata.mtime),
            ctime: time(metadata.ctime),
            nlink: metadata.links,
            dev: metadata.device,
            inode: metadata.inode,
            target: record.target.map(JsonBytes::of),
            crc64: record.crc64.map(|sum| format!("{:016x}", sum.0)),
        }
    }

    /// Returns true for an entry in a format that this version knows.
    pub fn is_entry(&self) -> bool {
        self.v == VERSION && self.event == "entry"
    }

    /// Converts a line back to an entry; `None` where a value makes no sense.
    pub fn into_record(self) -> Option<OwnedRecord> {
        let time = |(seconds, nanoseconds): (i64, u32)| Time { seconds, nanoseconds };
        let metadata = Metadata {
            kind: Kind::from_word(&self.kind)?,
            mode: u32::from_str_radix(&self.mode, 8).ok()?,
            uid: self.uid,
            gid: self.gid,
            size_bytes: self.size,
            allocated_bytes: self.allocated,
            atime: time(self.atime),
            mtime: time(self.mtime),
            ctime: time(self.ctime),
            links: self.nlink,
            device: self.dev,
            inode: self.inode,
            known: Fields::ALL,
        };
        let target = match self.target {
            Some(target) => Some(target.into_bytes()?),
            None => None,
        };
        let crc64 = match self.crc64 {
            Some(sum) => Some(Crc64(u64::from_str_radix(&sum, 16).ok()?)),
            None => None,
        };
        let record = OwnedRecord {
            path: self.path.into_bytes()?,
            depth: self.depth,
            metadata,
            target,
            user: self.user.map(Cow::into_owned),
            group: self.group.map(Cow::into_owned),
            crc64,
            digest: None,
        };
        record.is_sound().then_some(record)
    }
}
