//! The part of the summary that is about making a target equal.

use std::fmt::Write;

use serde_json::{Value, json};

use types::outcome::tally::{Synced, Tally};
use types::size::human_count;

const STORED_LATER: &str =
    "of them are objects without a time of change: stored after the last change of the file";

const COME_BACK: &str =
    "not deleted: the source has got them since it was listed; run it again to copy them";

pub(super) fn write_text(text: &mut String, synced: &Synced, is_dry_run: bool) {
    let words = |plan: &'static str, past: &'static str| if is_dry_run { plan } else { past };
    let rows = [
        (synced.unchanged, "unchanged", ""),
        (synced.repaired, "attributes", words("would be set, content kept", "set, content kept")),
        (synced.linked, "linked", words("would be linked to the older copy", "to the older copy")),
        (synced.kept_back, "kept back", "left as they are, as asked"),
        (synced.deleted.total(), "deleted", words("would be, from the target", "from the target")),
        (synced.protected, "not removed", "directories in which something stays"),
        (synced.stored_later, "stored later", STORED_LATER),
        (synced.come_back, "came back", COME_BACK),
        (synced.unlike, "unlike", "left out, and the target has something else of that name"),
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
        + synced.repaired
        + synced.linked
        + synced.deleted.total();
    let left = totals.skipped + synced.kept_back + synced.protected + synced.unlike;
    match (done, is_dry_run) {
        (0, _) if left > 0 => "nothing to do but for what is left out".to_owned(),
        (0, _) if totals.is_limited() => {
            "nothing to do, the target is equal in what it keeps".to_owned()
        }
        (0, _) => "nothing to do, the target is equal".to_owned(),
        (_, true) => "dry run, nothing was changed".to_owned(),
        (_, false) => "done, 0 errors".to_owned(),
    }
}

/// The counts as JSON.
pub(in crate::surface) fn to_json(synced: &Synced) -> Value {
    json!({
        "unchanged": synced.unchanged,
        "repaired": synced.repaired,
        "linked": synced.linked,
        "kept_back": synced.kept_back,
        "deleted": synced.deleted,
        "protected": synced.protected,
        "unlike": synced.unlike,
        "stored_later": synced.stored_later,
    })
}
