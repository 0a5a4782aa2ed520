//! The part of the summary that is about a comparison.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use types::outcome::difference::Fields;
use types::outcome::tally::{Compared, Volume};
use types::select::expression::{CAPTION_PREFIX, SUMMARY};
use types::size::{human_bytes, human_count};

/// How the comparison was made, as far as the reader must know to trust it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Size and time of change stood for the content.
    pub lite: bool,
    /// Content was looked at.
    pub content: bool,
    /// Cached pages were dropped before reading.
    pub bypass_cache: bool,
    /// Checksums that a service keeps of objects stand for their content.
    pub checksums: bool,
    /// Checksums that each side computes of its files stand for their content.
    pub computed: bool,
}

impl Method {
    /// Words for the header and the summary.
    pub fn words(self) -> &'static str {
        match self {
            Self { lite: true, .. } => "size and modification time stand for the content",
            Self { content: false, .. } => "content was not compared",
            Self { computed: true, .. } => "content by the CRC-64 that each side computes",
            Self { checksums: true, .. } => {
                "objects by the checksums that the service stores, all else byte by byte"
            }
            _ => self.reading(),
        }
    }

    /// How bytes are read.
    fn reading(self) -> &'static str {
        match self {
            Self { bypass_cache: true, .. } => "byte by byte, cached pages dropped before reading",
            _ => "byte by byte, from the page cache where it was cached",
        }
    }
}

/// The counts of a comparison, in the words of mpiFileUtils' dcmp.
pub(in crate::surface) fn write_text(text: &mut String, compared: &Compared, method: Method) {
    let (both, only_source, only_target) =
        (compared.both(), compared.only_in_source, compared.only_in_target);
    let different_type = compared.differing_in(Fields::TYPE);
    let different_content = compared.differing_in(Fields::CONTENT);
    let counts = [
        (both, both),
        (only_source, only_target),
        (both - different_type, both - different_type),
        (different_type, different_type),
        (both - different_content, both - different_content),
        (different_content, different_content),
    ];
    let looks_at_content = |caption: &str| caption.contains("content");
    for (line, (source, target)) in SUMMARY.iter().zip(counts) {
        if looks_at_content(line.caption) && !method.content && !method.lite {
            continue;
        }
        let sum = if source == target { source.to_string() } else { "N/A".to_owned() };
        let caption = line.caption;
        let _ = writeln!(text, "{CAPTION_PREFIX}{caption}: {sum} (Src: {source} Dest: {target})");
    }
    for field in Fields::ALL.iter().filter(|field| compared.differing_in(*field) > 0) {
        let name: String = field.names().collect();
        let count = human_count(compared.differing_in(field));
        let _ = writeln!(text, "{:<15}{count:>16}", format!("  by {}", name.to_lowercase()));
    }
    write_content(text, compared, method);
    write_not_compared(text, compared);
}

/// How much content was compared in which way.
fn write_content(text: &mut String, compared: &Compared, method: Method) {
    let ways = [compared.checksum, compared.etag, compared.downloaded];
    if ways.iter().all(|way| way.files == 0) {
        let bytes = human_bytes(compared.bytes());
        let _ = writeln!(text, "{:<15}{bytes:>16}   {}", "compared", method.words());
        return;
    }
    write_objects(text, compared);
    write_volume(text, compared.read, method.reading());
}

/// How much content of objects was compared in which way.
pub(super) fn write_objects(text: &mut String, compared: &Compared) {
    write_volume(text, compared.checksum, "by CRC-64/NVME");
    write_volume(text, compared.etag, "by MD5, which is the service's ETag");
    write_volume(text, compared.downloaded, "by downloading");
}

fn write_volume(text: &mut String, volume: Volume, words: &str) {
    if volume.files > 0 {
        let plural = if volume.files == 1 { "" } else { "s" };
        let (files, bytes) = (human_count(volume.files), human_bytes(volume.bytes));
        let _ = writeln!(
            text,
            "{:<15}{bytes:>16}   content of {files} file{plural}, {words}",
            "compared"
        );
    }
}

/// Writes the attributes that were not compared.
fn write_not_compared(text: &mut String, compared: &Compared) {
    let mut rows: Vec<(u64, Vec<String>)> = Vec::new();
    for (field, count) in compared.not_compared() {
        let name = field.names().collect::<String>().to_lowercase();
        match rows.iter_mut().find(|(known, _)| *known == count) {
            Some((_, names)) => names.push(name),
            None => rows.push((count, vec![name])),
        }
    }
    let mut row = |count: u64, words: &str| {
        let _ = writeln!(text, "{:<15}{:>16}   {words}", "not compared", human_count(count));
    };
    for (count, names) in rows {
        row(count, &format!("{}: one of the two locations does not store it", names.join(" ")));
    }
    if compared.hard_links_not_compared > 0 {
        row(
            compared.hard_links_not_compared,
            "hard links: one of the two locations does not tell them",
        );
    }
    if compared.directories_not_compared > 0 {
        row(
            compared.directories_not_compared,
            "directories: the other location stores only objects",
        );
    }
}

/// The last line's words.
pub(super) fn verdict(compared: &Compared) -> String {
    let count =
        |number, words: &str| (number > 0).then(|| format!("{} {words}", human_count(number)));
    let parts: Vec<String> = [
        count(compared.different, "differ"),
        count(compared.only_in_source, "only in source"),
        count(compared.only_in_target, "only in target"),
        count(compared.hard_links_only_in_source, "are hard links only in source"),
        count(compared.hard_links_only_in_target, "are hard links only in target"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        let limit = if compared.is_limited() { " in what both locations store" } else { "" };
        format!("identical{limit}, {} items", human_count(compared.same))
    } else {
        parts.join(", ")
    }
}

/// The counts as JSON.
pub(in crate::surface) fn to_json(compared: &Compared) -> Value {
    let named = |(field, count): (Fields, u64)| (field.names().collect::<String>(), json!(count));
    let differing = Fields::ALL.iter().map(|field| (field, compared.differing_in(field)));
    let (bytes, not_compared) = (compared.bytes(), compared.not_compared().map(named));
    // The pattern names every field, so that a counter that is not in the JSON does not compile.
    let Compared {
        same,
        different,
        only_in_source,
        only_in_target,
        different_by_field: _,
        read,
        downloaded,
        checksum,
        etag,
        unknown: _,
        hard_links_only_in_source,
        hard_links_only_in_target,
        hard_links_not_compared,
        directories_not_compared,
    } = compared;
    json!({
        "same": same,
        "different": different,
        "only_in_source": only_in_source,
        "only_in_target": only_in_target,
        "hard_links_only_in_source": hard_links_only_in_source,
        "hard_links_only_in_target": hard_links_only_in_target,
        "hard_links_not_compared": hard_links_not_compared,
        "different_by_field": differing.map(named).collect::<Map<_, _>>(),
        "bytes": bytes,
        "content": { "read": read, "downloaded": downloaded, "checksum": checksum, "etag": etag },
        "not_compared": not_compared.collect::<Map<_, _>>(),
        "directories_not_compared": directories_not_compared,
    })
}
