//! The part of the summary that is about what stopped jobs have left.

use std::fmt::Write;

use types::outcome::tally::Leftovers;
use types::size::human_count;

pub(super) fn write_text(text: &mut String, leftovers: &Leftovers, is_dry_run: bool) {
    let done = if is_dry_run { "would be removed" } else { "removed" };
    let rows = [
        (leftovers.found, "leftovers", "incomplete uploads and temporary files"),
        (leftovers.removed, "", done),
        (leftovers.too_recent, "", "skipped: begun or changed too recently (--min-age)"),
    ];
    for (count, name, words) in rows {
        let _ = writeln!(text, "{name:<15}{:>16}   {words}", human_count(count));
    }
}
