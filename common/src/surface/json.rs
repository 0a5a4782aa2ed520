//! Events of `--json`, one object a line. `docs/json.md` lists them all.

use serde_json::{Value, json};

use super::summary::{compare, sync};
use ops::compare::options::Evidence;
use ops::copy::options::{ChangeTest, SyncOptions, Unchanged};
use types::attributes::keep::{Chown, Keep, XattrChoice};
use types::entry::Proof;
use types::error::Failure;
use types::listed::json_text::{self, EVENTS_VERSION};
use types::listed::line::json_path;
use types::outcome::tally::{Kinds, Tally};

/// One event as a line.
pub fn event(name: &str, mut fields: Value) -> Vec<u8> {
    if let Value::Object(map) = &mut fields {
        map.insert("json_version".into(), EVENTS_VERSION.into());
        map.insert("event".into(), name.into());
        map.insert("time".into(), format!("{:.3}", jiff::Timestamp::now()).into());
    }
    let mut line = Vec::new();
    json_text::write_line(&fields, &mut line);
    line
}

/// A failure as a line, with the service that has failed, where one has.
pub fn failure(name: &str, failure: &Failure, endpoint: Option<&str>) -> Vec<u8> {
    let mut fields = json!({
        "path": json_path(&failure.path),
        "side": failure.side.word(),
        "operation": failure.error.op.to_string(),
        "error_code": failure.error.cause.code(),
        "message": failure.to_string(),
    });
    if let Some(endpoint) = endpoint {
        fields["endpoint"] = endpoint.into();
    }
    if let Some(details) = &failure.error.details {
        fields["service"] = json!(details);
    }
    event(name, fields)
}

/// Counts of a thread, a rank or a job.
pub fn tally(tally: &Tally) -> Value {
    json!({
        "found": kinds(&tally.found),
        "found_bytes": tally.found_bytes,
        "found_allocated_bytes": tally.found_allocated_bytes,
        "examined": tally.examined,
        "listed": tally.listed,
        "copied": kinds(&tally.copied),
        "copied_bytes": tally.copied_bytes,
        "resumed_bytes": tally.resumed_bytes,
        "needed_bytes": tally.needed_bytes,
        "completed_before_bytes": tally.completed_before_bytes,
        "temporary_files_skipped": tally.temporary_files_skipped,
        "chunks": tally.chunks,
        "hard_linked": tally.hard_linked,
        "hard_links_not_preserved": tally.hard_links_not_preserved,
        "special_files_skipped": tally.special_files_skipped,
        "owner_not_preserved": tally.owner_not_preserved,
        "xattrs_not_preserved": tally.xattrs_not_preserved,
        "attributes_not_preserved": tally.attributes_not_preserved,
        "object_properties_not_preserved": tally.object_properties_not_preserved,
        "timestamps_truncated": tally.timestamps_truncated,
        "layouts_not_set": tally.layouts_not_set,
        "directories_not_preserved": tally.directories_not_preserved,
        "sent_files_by_check": by_check(&tally.sent_files_by_check),
        "failed": tally.failed,
        "vanished": tally.vanished,
        "unstable_directories": tally.unstable_directories,
        "unread_directories": tally.unread_directories,
        "throttled_requests": tally.throttled_requests,
        "journal_records_not_written": tally.journal_records_not_written,
        "verified_files": tally.verified_files,
        "verified_bytes": tally.verified_bytes,
        "not_verified": tally.not_verified,
        "cancelled_tasks": tally.cancelled_tasks,
        "unresponsive_services": tally.unresponsive_services,
        "interrupted_ranks": tally.interrupted_ranks,
        "synced": sync::to_json(&tally.synced),
        "leftovers": tally.leftovers,
        "compared": compare::to_json(&tally.compared),
    })
}

/// Counts of sent files by the check that has proven their content, where there are any.
fn by_check(counts: &[u64; Proof::ALL.len()]) -> Value {
    let words = Proof::ALL.iter().map(|(_, word, _)| (*word).to_owned());
    words
        .zip(counts)
        .filter(|(_, count)| **count > 0)
        .map(|(word, count)| (word, json!(count)))
        .collect()
}

/// Counts by kind of entry.
pub(super) fn kinds(kinds: &Kinds) -> Value {
    json!({
        "files": kinds.files,
        "directories": kinds.directories,
        "symlinks": kinds.symlinks,
        "special_files": kinds.special_files,
    })
}

/// Attributes that copies get, for the first event.
pub fn preserve(keep: &Keep) -> Value {
    let xattrs = match keep.xattrs {
        XattrChoice::None => "none",
        XattrChoice::User => "user",
        XattrChoice::Own => "user-and-capabilities",
        XattrChoice::NonLustre => "non-lustre",
        XattrChoice::All => "all",
    };
    let Chown { uid, gid } = keep.chown;
    json!({
        "mode": keep.mode,
        "acls": keep.acls,
        "owner": keep.owner,
        "timestamps": keep.times,
        "xattrs": xattrs,
        "special_files": keep.specials,
        "devices": keep.devices,
        "chown": { "uid": uid, "gid": gid },
        "chmod": keep.chmod.is_some(),
    })
}

fn old_copy(sync: &SyncOptions, unchanged: Unchanged) -> Option<Value> {
    let old = sync.old_copy.as_ref().filter(|old| old.unchanged == unchanged);
    old.map(|old| json_path(&old.path))
}

/// Criteria by which a tool decides what to do with an entry, for the first event.
pub fn criteria(sync: &SyncOptions) -> Value {
    let compare = match sync.change_test {
        ChangeTest::SizeAndTime => "size-and-mtime",
        ChangeTest::SizeOnly => "size",
        ChangeTest::Content if sync.evidence == Evidence::Checksums => "checksums",
        ChangeTest::Content => "bytes",
    };
    json!({
        "compare": compare,
        "update": sync.update,
        "use_server_modtime": sync.use_server_modtime,
        "existing": sync.existing,
        "ignore_existing": sync.ignore_existing,
        "delete": sync.delete,
        "link_dest": old_copy(sync, Unchanged::Linked),
        "compare_dest": old_copy(sync, Unchanged::LeftOut),
        "modify_window_seconds": sync.modify_window.as_secs_f64(),
    })
}
