//! The part of the summary that is about uploads that were given up.

use std::fmt::Write;

use crate::base::size::human_count;
use crate::model::tally::Uploads;

pub(super) fn write_text(text: &mut String, uploads: &Uploads, is_dry_run: bool) {
    let done = if is_dry_run { "would be given up" } else { "given up" };
    let rows = [
        (uploads.found, "uploads", "not completed"),
        (uploads.given_up, "", done),
        (uploads.left_alone, "", "left alone: begun too short a time ago (--min-age)"),
    ];
    for (count, name, words) in rows {
        let _ = writeln!(text, "{name:<15}{:>16}   {words}", human_count(count));
    }
}
