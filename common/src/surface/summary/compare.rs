//! The part of the summary that is about a comparison.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::base::size::{human_bytes, human_count};
use crate::model::difference::Fields;
use crate::model::expression::{CAPTION_PREFIX, SUMMARY};
use crate::model::tally::Compared;

/// How the comparison was made, as far as the reader must know to trust it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Size and time of change stood for the content.
    pub lite: bool,
    /// Content was looked at.
    pub content: bool,
    /// What was cached of it was dropped first.
    pub bypass_cache: bool,
}

impl Method {
    /// For the header and the summary.
    pub fn words(self) -> &'static str {
        match self {
            Self { lite: true, .. } => "size and time of change stand for the content",
            Self { content: false, .. } => "content was not compared",
            Self { bypass_cache: true, .. } => "byte by byte, cached pages dropped before reading",
            _ => "byte by byte, from memory where the system had it cached",
        }
    }
}

/// The counts of a comparison, in the words of mpiFileUtils' dcmp.
pub(super) fn write_text(text: &mut String, compared: &Compared, method: Method) {
    let (both, only_source, only_target) =
        (compared.both(), compared.only_source, compared.only_target);
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
    let bytes = human_bytes(compared.bytes);
    let _ = writeln!(text, "{:<15}{bytes:>16}   {}", "compared", method.words());
}

/// The last line's words.
pub(super) fn verdict(compared: &Compared) -> String {
    let count =
        |number, words: &str| (number > 0).then(|| format!("{} {words}", human_count(number)));
    let parts: Vec<String> = [
        count(compared.different, "differ"),
        count(compared.only_source, "only in source"),
        count(compared.only_target, "only in target"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        format!("identical, {} items", human_count(compared.same))
    } else {
        parts.join(", ")
    }
}

/// The counts as JSON.
pub(in crate::surface) fn to_json(compared: &Compared) -> Value {
    let differing: Map<String, Value> = Fields::ALL
        .iter()
        .map(|field| (field.names().collect(), compared.differing_in(field).into()))
        .collect();
    json!({
        "same": compared.same,
        "different": compared.different,
        "only_source": compared.only_source,
        "only_target": compared.only_target,
        "differing": differing,
        "bytes": compared.bytes,
    })
}
