//! Events of `--json`, one object a line. `docs/json.md` lists them all.

use serde_json::{Value, json};

use super::summary::compare;
use ops::compare::options::Evidence;
use ops::copy::options::{ChangeTest, SyncOptions, Unchanged};
use types::attributes::keep::{Chown, Keep, XattrChoice};
use types::entry::Proof;
use types::error::Failure;
use types::listed::json_text::{self, EVENTS_VERSION};
use types::listed::line::json_path;
use types::outcome::tally::Tally;

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

/// Counts of a thread, a rank or a job: each under the name of its field, so that none is
/// forgotten. The exceptions replace what a field holds by what a reader can use.
pub fn tally(tally: &Tally) -> Value {
    let mut counts = json!(tally);
    counts["sent_files_by_check"] = by_check(&tally.sent_files_by_check);
    counts["compared"] = compare::to_json(&tally.compared);
    if let Value::Object(counts) = &mut counts {
        // No count: the failures that it stands for are events.
        counts.remove("fatal_errno");
    }
    counts
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
