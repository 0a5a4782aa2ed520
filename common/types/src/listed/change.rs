//! Lines of the record of a job: one for each entry that was copied, changed, linked or deleted, or
//! that failed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::entry::{Kind, Metadata};
use crate::error::Failure;
use crate::listed::event_clock::EventClock;
use crate::listed::json_record::JsonBytes;
use crate::listed::json_text::{self, EVENTS_VERSION};
use crate::outcome::difference::Fields;
use crate::path;

/// Format of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordFormat {
    /// NDJSON: one JSON object per line.
    Ndjson,
    /// The lines of `rsync --itemize-changes`.
    Itemize,
}

/// Changes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Copy of the entry, which may replace its counterpart.
    Copy,
    /// Change of its attributes alone.
    SetAttributes,
    /// Hard link to another copy of this job.
    HardLink,
    /// Hard link to an unchanged file of `--link-dest`.
    LinkDest,
    /// Deletion because the source does not have it.
    Delete,
    /// Deletion because it was requested.
    Remove,
    /// Removal from the source after it was copied.
    RemoveSource,
}

/// Reason for which an entry is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reason {
    /// True if the target did not have the entry.
    pub is_new: bool,
    /// Fields in which the target's entry differed.
    pub fields: Fields,
    /// Bytes of its content.
    pub bytes: u64,
}

/// An entry with its change.
#[derive(Debug, Clone, Copy)]
pub struct Change<'c> {
    /// The change.
    pub action: Action,
    /// Type of the entry.
    pub kind: Kind,
    /// Reason of the change.
    pub reason: Reason,
    /// Root of the target, as the operator named it.
    pub root: &'c [u8],
    /// Path of the entry below the root.
    pub below: &'c [u8],
}

impl Reason {
    /// Returns the reason to copy an entry to where the target has that one.
    pub fn of(source: &Metadata, target: Option<&Metadata>) -> Self {
        let bytes = if source.kind == Kind::File { source.size_bytes } else { 0 };
        let Some(target) = target else {
            return Self { is_new: true, fields: Fields::NONE, bytes };
        };
        let mut fields = Fields::NONE;
        let differing = [
            (source.kind != target.kind, Fields::TYPE),
            (source.size_bytes != target.size_bytes, Fields::SIZE),
            (source.mtime != target.mtime, Fields::MTIME),
            (source.mode != target.mode, Fields::PERM),
            (source.uid != target.uid, Fields::UID),
            (source.gid != target.gid, Fields::GID),
        ];
        for (_, field) in differing.into_iter().filter(|(differs, _)| *differs) {
            fields.insert(field);
        }
        Self { is_new: false, fields: fields.intersection(target.known), bytes }
    }

    /// Adds what differs where nothing that a listing shows does.
    fn explained(self, action: Action) -> Self {
        let is_unexplained = !self.is_new && self.fields.is_empty();
        let fields = match action {
            Action::Copy if is_unexplained => Fields::CONTENT,
            Action::SetAttributes if is_unexplained => Fields::XATTR,
            _ => self.fields,
        };
        Self { fields, ..self }
    }
}

impl Action {
    fn word(self, reason: Reason, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::Copy, Kind::Directory) => "create directory",
            (Self::Copy, Kind::Symlink) => "create symbolic link",
            (Self::Copy, Kind::File) if reason.is_new => "copy",
            (Self::Copy, Kind::File) => "update",
            (Self::Copy, _) => "create special file",
            (Self::SetAttributes, _) => "set attributes",
            (Self::HardLink, _) => "create hard link",
            (Self::LinkDest, _) => "create hard link to --link-dest",
            (Self::Delete | Self::Remove, _) => "delete",
            (Self::RemoveSource, _) => "remove source",
        }
    }
}

/// A line of NDJSON, whose keys have the order of those of all events.
#[derive(Serialize)]
struct Line<'l> {
    action: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    event: &'l str,
    json_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    path: JsonBytes<'l>,
    rank: u32,
    reason: &'l [&'l str],
    time: &'l str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'l str>,
}

impl<'l> Line<'l> {
    fn new(action: &'l str, path: &'l [u8], rank: u32, time: &'l str) -> Self {
        Self {
            action,
            bytes: None,
            event: "change",
            json_version: EVENTS_VERSION,
            message: None,
            path: JsonBytes::of(path),
            rank,
            reason: &[],
            time,
            kind: None,
        }
    }
}

/// Writer of the lines of one thread.
#[derive(Debug, Default)]
pub struct ChangeWriter {
    clock: EventClock,
    frame: Option<Frame>,
}

/// Parts of a line around its number of bytes and its path. In one tick of its clock most lines of
/// a thread differ in these alone.
#[derive(Debug)]
struct Frame {
    /// Values on which the parts depend.
    key: (Action, Kind, Reason, i64),
    before_bytes: Vec<u8>,
    before_path: Vec<u8>,
    behind_path: Vec<u8>,
}

impl ChangeWriter {
    /// Returns the milliseconds since 1970 at which the last line was written.
    pub fn millisecond(&self) -> i64 {
        self.clock.millisecond()
    }

    /// Appends the line of a change that a rank has made.
    pub fn write_change(
        &mut self,
        format: RecordFormat,
        change: &Change<'_>,
        rank: u32,
        lines: &mut Vec<u8>,
    ) {
        let Change { action, kind, root, below, .. } = *change;
        let reason = change.reason.explained(action);
        let time = self.clock.now();
        if format == RecordFormat::Itemize {
            return write_item(action, kind, reason, below, lines);
        }
        if !(is_plain(root) && is_plain(below)) {
            return json_line(action, kind, reason, &path::join(root, below), (rank, time), lines);
        }
        let key = (action, kind, Reason { bytes: 0, ..reason }, self.clock.millisecond());
        let frame = match self.frame.take().filter(|frame| frame.key == key) {
            Some(frame) => frame,
            None => Frame::new(key, (rank, self.clock.last())),
        };
        frame.write(bytes_of(action, reason), (root, below), lines);
        self.frame = Some(frame);
    }

    /// Appends the line of a failure.
    pub fn write_failure(
        &mut self,
        format: RecordFormat,
        failure: &Failure,
        rank: u32,
        lines: &mut Vec<u8>,
    ) {
        let time = self.clock.now();
        if format == RecordFormat::Itemize {
            return lines.extend_from_slice(format!("*failed     {failure}\n").as_bytes());
        }
        let line = Line {
            reason: &[&failure.error.cause.code()],
            message: Some(failure.to_string()),
            ..Line::new("fail", &failure.path, rank, time)
        };
        json_text::write_line(&line, lines);
    }
}

impl Frame {
    fn new(key: (Action, Kind, Reason, i64), at: (u32, &str)) -> Self {
        let (action, kind, reason, _) = key;
        let mut line = Vec::new();
        json_line(action, kind, reason, b"", at, &mut line);
        let behind = |key: &[u8]| {
            let found = line.windows(key.len()).position(|window| window == key);
            found.map_or(line.len(), |at| at + key.len())
        };
        let (bytes, path) = (behind(b"\"bytes\":"), behind(b"\"text\":\""));
        Self {
            key,
            before_bytes: line[..bytes].to_vec(),
            before_path: line[bytes + b"0".len()..path].to_vec(),
            behind_path: line[path..].to_vec(),
        }
    }

    fn write(&self, bytes: u64, (root, below): (&[u8], &[u8]), lines: &mut Vec<u8>) {
        lines.extend_from_slice(&self.before_bytes);
        lines.extend_from_slice(itoa::Buffer::new().format(bytes).as_bytes());
        lines.extend_from_slice(&self.before_path);
        path::append(root, below, lines);
        lines.extend_from_slice(&self.behind_path);
    }
}

/// Returns true for a path that is text, and the same in JSON.
fn is_plain(path: &[u8]) -> bool {
    path.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
}

fn bytes_of(action: Action, reason: Reason) -> u64 {
    if action == Action::Copy { reason.bytes } else { 0 }
}

fn json_line(
    action: Action,
    kind: Kind,
    reason: Reason,
    path: &[u8],
    (rank, time): (u32, &str),
    lines: &mut Vec<u8>,
) {
    let words: Vec<&str> = match (action, reason.is_new) {
        (Action::Delete, _) => vec!["not in source"],
        (Action::Remove, _) => vec!["requested"],
        (Action::RemoveSource, _) => vec!["copied"],
        (_, true) => vec!["new"],
        (_, false) => reason.fields.names().collect(),
    };
    let line = Line {
        bytes: Some(bytes_of(action, reason)),
        reason: &words,
        kind: Some(kind.word()),
        ..Line::new(action.word(reason, kind), path, rank, time)
    };
    json_text::write_line(&line, lines);
}

fn write_item(action: Action, kind: Kind, reason: Reason, below: &[u8], lines: &mut Vec<u8>) {
    lines.extend_from_slice(item(action, kind, reason).as_bytes());
    lines.push(b' ');
    match below {
        b"" => lines.push(b'.'),
        plain if is_plain(plain) => lines.extend_from_slice(plain),
        other => lines.extend_from_slice(path::escaped(other).as_bytes()),
    }
    lines.extend_from_slice(if kind == Kind::Directory { b"/\n" } else { b"\n" });
}

/// Appends an event with its time.
pub fn write_event(name: &str, mut fields: serde_json::Value, lines: &mut Vec<u8>) {
    fields["json_version"] = EVENTS_VERSION.into();
    fields["event"] = name.into();
    fields["time"] = EventClock::default().now().into();
    json_text::write_line(&fields, lines);
}

/// Returns the eleven characters of `rsync --itemize-changes`, or its word for a deletion.
fn item(action: Action, kind: Kind, reason: Reason) -> Cow<'static, str> {
    match action {
        Action::Delete | Action::Remove => return "*deleting  ".into(),
        Action::RemoveSource => return "*removed   ".into(),
        _ => {}
    }
    let what = match kind {
        Kind::File => 'f',
        Kind::Directory => 'd',
        Kind::Symlink => 'L',
        Kind::BlockDevice | Kind::CharDevice => 'D',
        Kind::Fifo | Kind::Socket => 'S',
    };
    let how = match (action, kind) {
        (Action::Copy, Kind::File) => '>',
        (Action::Copy, _) => 'c',
        (Action::HardLink | Action::LinkDest, _) => 'h',
        (Action::SetAttributes | Action::Delete | Action::Remove | Action::RemoveSource, _) => '.',
    };
    if reason.is_new {
        return format!("{how}{what}+++++++++").into();
    }
    let letters = [
        (Fields::CONTENT, 'c'),
        (Fields::SIZE, 's'),
        (Fields::MTIME, 't'),
        (Fields::PERM, 'p'),
        (Fields::UID, 'o'),
        (Fields::GID, 'g'),
        (Fields::NONE, 'u'),
        (Fields::ACL, 'a'),
        (Fields::XATTR, 'x'),
    ];
    let letter = |(field, letter): (Fields, char)| {
        if reason.fields.contains(field) && field != Fields::NONE { letter } else { '.' }
    };
    [how, what].into_iter().chain(letters.map(letter)).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_those_of_rsync() {
        let new = Reason { is_new: true, ..Reason::default() };
        let of = |fields: &[Fields]| {
            let mut reason = Reason::default();
            for field in fields {
                reason.fields.insert(*field);
            }
            reason
        };
        let changed = of(&[Fields::SIZE, Fields::MTIME]);
        for (action, kind, reason, expected) in [
            (Action::Copy, Kind::File, new, ">f+++++++++"),
            (Action::Copy, Kind::Directory, new, "cd+++++++++"),
            (Action::Copy, Kind::Symlink, new, "cL+++++++++"),
            (Action::Copy, Kind::File, changed, ">f.st......"),
            (Action::SetAttributes, Kind::File, of(&[Fields::PERM, Fields::GID]), ".f...p.g..."),
            (Action::HardLink, Kind::File, new, "hf+++++++++"),
            (Action::Delete, Kind::File, Reason::default(), "*deleting  "),
        ] {
            assert_eq!(item(action, kind, reason), expected);
        }
    }

    #[test]
    fn lines_that_follow_others_are_those_that_stand_alone() {
        let new = Reason { is_new: true, ..Reason::default() };
        let mut differs = Reason { bytes: 9, ..Reason::default() };
        differs.fields.insert(Fields::SIZE);
        let mut writer = ChangeWriter::default();
        for (action, kind, reason, root, below) in [
            (Action::Copy, Kind::File, Reason { bytes: 1_234_567, ..new }, &b"t"[..], &b"a"[..]),
            (Action::Copy, Kind::File, Reason { bytes: 0, ..new }, b"t/", b"b/c"),
            (Action::Copy, Kind::File, differs, b"t", b""),
            (Action::Copy, Kind::Directory, new, b"/", b"d"),
            (Action::Remove, Kind::File, Reason::default(), b"", b"\"bytes\":7"),
            (Action::Remove, Kind::File, Reason::default(), b"t", b"line\nfeed \xff"),
            (Action::Remove, Kind::File, Reason::default(), b"t", b"back\\slash"),
            (Action::Remove, Kind::File, Reason::default(), b"t", b"plain"),
            (Action::RemoveSource, Kind::File, Reason::default(), b"t", b"moved"),
        ] {
            let (mut lines, mut alone) = (Vec::new(), Vec::new());
            let change = Change { action, kind, reason, root, below };
            writer.write_change(RecordFormat::Ndjson, &change, 3, &mut lines);
            let (path, time) = (path::join(root, below), writer.clock.last());
            json_line(action, kind, reason, &path, (3, time), &mut alone);
            assert_eq!(String::from_utf8(lines).unwrap(), String::from_utf8(alone).unwrap());
        }
    }
}
