//! The part of the summary that is about making a target equal.

use std::fmt::Write;

use types::outcome::tally::{Synced, Tally};
use types::size::human_count;

const STORED_LATER: &str =
    "of them are objects without a modification time: uploaded after the last change of the file";

const COME_BACK: &str = "not deleted: they have reappeared in the source since it was listed; run it again to copy them";

pub(super) fn write_text(text: &mut String, synced: &Synced, is_dry_run: bool) {
    let words = |plan: &'static str, past: &'static str| if is_dry_run { plan } else { past };
    let rows = [
        (synced.unchanged, "unchanged", ""),
        (
            synced.attributes_set,
            "attributes",
            words(
                "would be set, content unchanged",
                "set, \
            content unchanged",
            ),
        ),
        (
            synced.hard_linked_to_link_dest,
            "hard links",
            words("would be made to the --link-dest copy", "to the --link-dest copy"),
        ),
        (synced.skipped, "skipped", "not changed, as requested"),
        (synced.deleted.total(), "deleted", words("would be, from the target", "from the target")),
        (synced.non_empty_directories, "not deleted", "directories that are not empty"),
        (synced.unchanged_by_upload_time, "newer uploads", STORED_LATER),
        (synced.reappeared, "reappeared", COME_BACK),
        (
            synced.type_mismatches,
            "type mismatch",
            "special files skipped, of whose names the target has another type",
        ),
    ];
    for (count, name, words) in rows {
        if count > 0 || name == "unchanged" {
            let row = format!("{name:<15}{:>16}   {words}", human_count(count));
            let _ = writeln!(text, "{}", row.trim_end());
        }
    }
}

/// The last line's words, where all went well.
pub(super) fn verdict(totals: &Tally, is_dry_run: bool) -> String {
    let synced = &totals.synced;
    let done = totals.copied.total()
        + totals.hard_linked
        + synced.attributes_set
        + synced.hard_linked_to_link_dest
        + synced.deleted.total();
    let left = totals.special_files_skipped
        + synced.skipped
        + synced.non_empty_directories
        + synced.type_mismatches;
    match (done, is_dry_run) {
        (0, _) if left > 0 => "nothing to do, except for what was skipped".to_owned(),
        (0, _) if totals.is_limited() => {
            "nothing to do, no differences in what the target can store".to_owned()
        }
        (0, _) => "nothing to do, no differences".to_owned(),
        (_, true) => "dry run, nothing was changed".to_owned(),
        (_, false) => "done, 0 errors".to_owned(),
    }
}
