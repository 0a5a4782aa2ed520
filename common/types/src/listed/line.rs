//! Entries as lines of a list: text for people, NDJSON for programs.

use base64::Engine;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::entry::{Metadata, Time};
use crate::listed::json_record::JsonRecord;
use crate::listed::json_text::{self, EVENTS_VERSION};
use crate::listed::mfu_text;
use crate::listed::record::Record;
use crate::outcome::difference::Fields;
use crate::path;

/// Format in which entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LineFormat {
    /// Text as ls(1) writes it: mode, owner, group, size in bytes, modification time, path; unusual
    /// bytes of a path are escaped.
    Text,
    /// NDJSON: one JSON object per line.
    Ndjson,
    /// Text in the columns of mpiFileUtils' dwalk.
    MfuText,
}

impl LineFormat {
    /// Returns the format for a file of that name, by its extension.
    pub fn of_file(name: &[u8]) -> Self {
        let endings: [&[u8]; 3] = [b".ndjson", b".jsonl", b".json"];
        if endings.iter().any(|ending| name.ends_with(ending)) { Self::Ndjson } else { Self::Text }
    }
}

/// Endings of names of lists as text. A name without an ending is that of a text, too.
const TEXT_ENDINGS: [&str; 6] = [".txt", ".text", ".list", ".lst", ".log", ".out"];

/// Checks that a name of a list as lines does not end as if it were of another format. `others` are
/// endings that the tool knows besides those of lines.
///
/// # Errors
/// Fails for an unknown ending, and names the known ones.
pub fn check_ending(name: &[u8], others: &[&str]) -> Result<(), UnknownEnding> {
    let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let Some(dot) = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0) else {
        return Ok(());
    };
    let ending = String::from_utf8_lossy(&name[dot..]);
    let is_word = ending.len() > 1 && ending[1..].bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_text = TEXT_ENDINGS.contains(&&*ending);
    if !is_word || is_text || LineFormat::of_file(name) == LineFormat::Ndjson {
        return Ok(());
    }
    let known = [&[".ndjson"], others, &[".txt"]].concat().join(", ");
    Err(UnknownEnding { name: name.to_vec(), ending: ending.into_owned(), known })
}

/// Name of a list that ends as if it were of a format that no list has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{}\": no list ends in {ending}: known are {known}; --text writes text into any file",
    path::escaped(name)
)]
pub struct UnknownEnding {
    name: Vec<u8>,
    ending: String,
    known: String,
}

/// Returns a path in JSON: `{"text":…}` where it is UTF-8, `{"bytes":…}` with base64 where it is
/// not.
pub fn json_path(path: &[u8]) -> Value {
    match std::str::from_utf8(path) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "bytes": base64::engine::general_purpose::STANDARD.encode(path) }),
    }
}

/// Appends a line of a plan: the operation and the path that it would be applied to.
pub fn write_plan(format: LineFormat, action: &str, path: &[u8], lines: &mut Vec<u8>) {
    match format {
        LineFormat::Text | LineFormat::MfuText => {
            lines.extend_from_slice(format!("{action} {}\n", path::escaped(path)).as_bytes());
        }
        LineFormat::Ndjson => {
            let path = json_path(path);
            let event = json!({ "json_version": EVENTS_VERSION, "event": "plan", "action": action, "path": path });
            json_text::write_line(&event, lines);
        }
    }
}

/// Appends a line that says how two entries of one path compare: `=` equal, `*` different, `+` only
/// in the source, `-` only in the target, `!` not comparable. Text is `SYMBOL PATH[TAB FIELD,…]`,
/// where the path `.` is the root of the tree.
pub fn write_difference(
    format: LineFormat,
    symbol: char,
    path: &[u8],
    differing: Fields,
    lines: &mut Vec<u8>,
) {
    let fields: Vec<&str> = differing.names().collect();
    write_fields(format, symbol, path, &fields, lines);
}

/// Appends such a line for a path that is a hard link of another path's file on one side only.
pub fn write_regrouped(format: LineFormat, path: &[u8], lines: &mut Vec<u8>) {
    write_fields(format, '*', path, &["HARDLINK"], lines);
}

fn write_fields(
    format: LineFormat,
    symbol: char,
    path: &[u8],
    fields: &[&str],
    lines: &mut Vec<u8>,
) {
    let path = if path.is_empty() { b"." } else { path };
    match format {
        LineFormat::Text | LineFormat::MfuText => {
            let tab = if fields.is_empty() { "" } else { "\t" };
            let line = format!("{symbol} {}{tab}{}\n", path::escaped(path), fields.join(","));
            lines.extend_from_slice(line.as_bytes());
        }
        LineFormat::Ndjson => {
            let state = match symbol {
                '=' => "same",
                '*' => "different",
                '+' => "only_in_source",
                '-' => "only_in_target",
                _ => "error",
            };
            let path = json_path(path);
            let event = json!({
                "json_version": EVENTS_VERSION,
                "event": "difference",
                "state": state,
                "path": path,
                "fields": fields,
            });
            json_text::write_line(&event, lines);
        }
    }
}

/// Appends an entry as one line.
pub fn write_record(format: LineFormat, record: &Record<'_>, lines: &mut Vec<u8>) {
    match format {
        LineFormat::Text => write_text(record, lines),
        LineFormat::MfuText => mfu_text::write(record, lines),
        LineFormat::Ndjson => json_text::write_line(&JsonRecord::of(record), lines),
    }
}

fn write_text(record: &Record<'_>, lines: &mut Vec<u8>) {
    let Metadata { uid, gid, size_bytes, mtime, .. } = *record.metadata;
    let owner = |name: Option<&str>, id: u32, field| match name {
        // A list may come from another system.
        Some(name) => path::escaped(name.as_bytes()),
        None if record.metadata.known.contains(field) => id.to_string(),
        None => "?".to_owned(),
    };
    let user = owner(record.user, uid, Fields::UID);
    let group = owner(record.group, gid, Fields::GID);
    let line = format!(
        "{} {user} {group} {size_bytes:>12} {} {}",
        mode_text(record.metadata),
        time_text(mtime),
        path::escaped(record.path),
    );
    lines.extend_from_slice(line.as_bytes());
    if let Some(target) = record.target {
        lines.extend_from_slice(format!(" -> {}", path::escaped(target)).as_bytes());
    }
    lines.push(b'\n');
}

/// Formats file type and mode as ls(1) does, `-rwsr-xr-x`, with question marks for an unknown mode.
fn mode_text(metadata: &Metadata) -> String {
    let mode = metadata.mode;
    if !metadata.known.contains(Fields::PERM) {
        return format!("{}?????????", metadata.kind.letter());
    }
    let mut text = String::with_capacity(10);
    text.push(metadata.kind.letter());
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// Formats a time as `2026-11-21T06:00:00Z`; as seconds since 1970 where the calendar does not
/// reach.
fn time_text(time: Time) -> String {
    match jiff::Timestamp::new(time.seconds, 0) {
        Ok(stamp) => stamp.to_string(),
        Err(_) => format!("@{}", time.seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Kind;

    fn metadata(mode: u32) -> Metadata {
        let time = Time { seconds: 1_700_000_000, nanoseconds: 5 };
        Metadata {
            mode,
            uid: 4_000_000_000,
            size_bytes: 12,
            allocated_bytes: 512,
            device: 1,
            inode: 2,
            known: Fields::ALL,
            ..Metadata::of_kind(Kind::File).with_times(time)
        }
    }

    fn line(format: LineFormat, path: &[u8]) -> String {
        written(format, path, &metadata(0o4755), Some("root"))
    }

    fn written(
        format: LineFormat,
        path: &[u8],
        metadata: &Metadata,
        group: Option<&str>,
    ) -> String {
        let mut lines = Vec::new();
        let record = Record { group, ..Record::new(path, 1, metadata) };
        write_record(format, &record, &mut lines);
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn text_reads_like_ls_and_stays_one_line() {
        let text = line(LineFormat::Text, b"a\n\xff");
        assert_eq!(
            text,
            "-rwsr-xr-x 4000000000 root           12 2023-11-14T22:13:20Z a\\n\\xff\n"
        );
    }

    #[test]
    fn endings_of_other_formats_are_refused() {
        for name in
            ["list", "/a.b/list", "l.txt", "l.json", ".hidden", "list.2026", "l.", "a/b.log"]
        {
            assert_eq!(check_ending(name.as_bytes(), &[]), Ok(()), "{name}");
        }
        let why = check_ending(b"a/l.csv", &[".mfu"]).unwrap_err().to_string();
        assert!(why.contains("\"l.csv\"") && why.contains(".ndjson, .mfu, .txt"), "{why}");
        assert!(check_ending(b"l.mfu", &[]).is_err());
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let known = Fields::TYPE.union(Fields::SIZE).union(Fields::MTIME);
        let metadata = Metadata { known, ..metadata(0o644) };
        let text = written(LineFormat::Text, b"a", &metadata, None);
        assert_eq!(text, "-????????? ? ?           12 2023-11-14T22:13:20Z a\n");
    }

    #[test]
    fn json_keeps_names_that_are_not_utf8() {
        let parsed: serde_json::Value =
            serde_json::from_str(&line(LineFormat::Ndjson, b"a\xff")).unwrap();
        assert_eq!(parsed["path"]["bytes"], "Yf8=");
        let parsed: serde_json::Value =
            serde_json::from_str(&line(LineFormat::Ndjson, "ä\n".as_bytes())).unwrap();
        assert_eq!(parsed["path"]["text"], "ä\n");
        assert_eq!(parsed["size"], 12);
    }

    #[test]
    fn special_bits_show_where_ls_shows_them() {
        assert_eq!(mode_text(&metadata(0o7000)), "---S--S--T");
        assert_eq!(mode_text(&metadata(0o1777)), "-rwxrwxrwt");
        let of = |kind| mode_text(&Metadata { kind, ..metadata(0o600) });
        assert_eq!(of(Kind::CharDevice), "crw-------");
        assert_eq!(of(Kind::BlockDevice), "brw-------");
    }
}
