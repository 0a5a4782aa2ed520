//! The part of the summary that is about what was deleted.

use std::fmt::Write;

use types::outcome::tally::Tally;
use types::size::{human_bytes, human_count};

pub(super) fn write_text(text: &mut String, totals: &Tally, is_dry_run: bool) {
    let header = if is_dry_run { "would delete" } else { "deleted" };
    let _ = writeln!(text, "{:<15}{:>16}{header:>16}", "", "found");
    let (found, deleted) = (&totals.found, &totals.synced.deleted);
    let rows = [
        ("files", found.files, deleted.files),
        ("directories", found.directories, deleted.directories),
        ("symlinks", found.symlinks, deleted.symlinks),
        ("special files", found.special_files, deleted.special_files),
        ("items", found.total(), deleted.total()),
    ];
    for (name, found, deleted) in rows {
        let _ = writeln!(text, "{name:<15}{:>16}{:>16}", human_count(found), human_count(deleted));
    }
    // Files are not looked at to know how large they are.
    if totals.found_bytes > 0 {
        let _ = writeln!(text, "{:<15}{:>16}", "data", human_bytes(totals.found_bytes));
    }
    if totals.synced.non_empty_directories > 0 {
        let count = human_count(totals.synced.non_empty_directories);
        let _ = writeln!(
            text,
            "{:<15}{count:>16}   directories in which something stays",
            "not removed"
        );
    }
}
