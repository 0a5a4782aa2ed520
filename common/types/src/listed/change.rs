//! Lines of the record of a job: one for each entry that was copied, changed, linked or deleted, or
//! that failed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::entry::{Kind, Metadata};
use crate::error::Failure;
use crate::listed::json_text::{self, EVENTS_VERSION};
use crate::listed::line::json_path;
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
        }
    }
}

/// Appends the line of a change that a rank has made.
pub fn write_change(format: RecordFormat, change: &Change<'_>, rank: u32, lines: &mut Vec<u8>) {
    let Change { action, kind, root, below, .. } = *change;
    let reason = change.reason.explained(action);
    match format {
        RecordFormat::Itemize => {
            let slash = if kind == Kind::Directory { "/" } else { "" };
            let shown = if below.is_empty() { ".".into() } else { path::escaped(below) };
            let line = format!("{} {shown}{slash}\n", item(action, kind, reason));
            lines.extend_from_slice(line.as_bytes());
        }
        RecordFormat::Ndjson => {
            let words: Vec<&str> = match (action, reason.is_new) {
                (Action::Delete, _) => vec!["not in source"],
                (Action::Remove, _) => vec!["requested"],
                (_, true) => vec!["new"],
                (_, false) => reason.fields.names().collect(),
            };
            write_event(
                "change",
                json!({
                    "action": action.word(reason, kind),
                    "path": json_path(&path::join(root, below)),
                    "type": kind.word(),
                    "bytes": if action == Action::Copy { reason.bytes } else { 0 },
                    "reason": words,
                    "rank": rank,
                }),
                lines,
            );
        }
    }
}

/// Appends the line of a failure.
pub fn write_failure(format: RecordFormat, failure: &Failure, rank: u32, lines: &mut Vec<u8>) {
    match format {
        RecordFormat::Itemize => {
            lines.extend_from_slice(format!("*failed     {failure}\n").as_bytes());
        }
        RecordFormat::Ndjson => write_event(
            "change",
            json!({
                "action": "fail",
                "path": json_path(&failure.path),
                "reason": [failure.error.cause.code()],
                "message": failure.to_string(),
                "rank": rank,
            }),
            lines,
        ),
    }
}

/// Appends an event with its time.
pub fn write_event(name: &str, mut fields: serde_json::Value, lines: &mut Vec<u8>) {
    fields["json_version"] = EVENTS_VERSION.into();
    fields["event"] = name.into();
    fields["time"] = format!("{:.3}", Timestamp::now()).into();
    json_text::write_line(&fields, lines);
}

/// Returns the eleven characters of `rsync --itemize-changes`, or its word for a deletion.
fn item(action: Action, kind: Kind, reason: Reason) -> String {
    if matches!(action, Action::Delete | Action::Remove) {
        return "*deleting  ".to_owned();
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
        (Action::SetAttributes | Action::Delete | Action::Remove, _) => '.',
    };
    if reason.is_new {
        return format!("{how}{what}+++++++++");
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
    [how, what].into_iter().chain(letters.map(letter)).collect()
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
}
