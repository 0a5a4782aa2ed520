//! Events as JSON, one object a line, for programs: `"v":1` in each.

use serde_json::{Value, json};

use super::summary::{compare, sync};
use types::entry::Proof;
use types::error::Failure;
use types::listed::json_text;
use types::listed::line::json_path;
use types::outcome::tally::{Kinds, Tally};

/// Version of the events.
const VERSION: u32 = 1;

/// One event as a line.
pub fn event(name: &str, mut fields: Value) -> Vec<u8> {
    if let Value::Object(map) = &mut fields {
        map.insert("v".into(), VERSION.into());
        map.insert("event".into(), name.into());
    }
    let mut line = Vec::new();
    json_text::write_line(&fields, &mut line);
    line
}

/// A failure as a line, with the service that has failed, where one has.
pub fn failure(name: &str, failure: &Failure, endpoint: Option<&str>) -> Vec<u8> {
    let mut fields = json!({
        "path": json_path(&failure.path),
        "side": failure.side,
        "op": failure.error.op.to_string(),
        "cause": failure.error.cause.code(),
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

/// Counts.
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
        "passed_over": tally.passed_over,
        "chunks": tally.chunks,
        "hard_linked": tally.hard_linked,
        "links_not_kept": tally.links_not_kept,
        "skipped": tally.skipped,
        "owner_not_kept": tally.owner_not_kept,
        "xattrs_not_kept": tally.xattrs_not_kept,
        "attributes_not_kept": tally.attributes_not_kept,
        "properties_not_kept": tally.properties_not_kept,
        "times_cut": tally.times_cut,
        "layouts_not_set": tally.layouts_not_set,
        "directories_not_kept": tally.directories_not_kept,
        "proven": proven(&tally.proven),
        "failed": tally.failed,
        "vanished": tally.vanished,
        "moving": tally.moving,
        "unread_directories": tally.unread_directories,
        "refused_requests": tally.refused_requests,
        "unjournaled": tally.unjournaled,
        "verified_files": tally.verified_files,
        "verified_bytes": tally.verified_bytes,
        "not_verified": tally.not_verified,
        "given_up": tally.given_up,
        "silent_services": tally.silent_services,
        "interrupted": tally.interrupted,
        "synced": sync::to_json(&tally.synced),
        "leftovers": tally.leftovers,
        "compared": compare::to_json(&tally.compared),
    })
}

/// Files by what shows that they arrived, where there are any.
fn proven(counts: &[u64; Proof::ALL.len()]) -> Value {
    let words = Proof::ALL.iter().map(|(_, word, _)| (*word).to_owned());
    words
        .zip(counts)
        .filter(|(_, count)| **count > 0)
        .map(|(word, count)| (word, json!(count)))
        .collect()
}

fn kinds(kinds: &Kinds) -> Value {
    json!({
        "files": kinds.files,
        "directories": kinds.directories,
        "symlinks": kinds.symlinks,
        "others": kinds.others,
    })
}
