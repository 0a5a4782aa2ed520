//! The list of the buckets of a service, for a location that names no bucket.

use serde_json::json;

use crate::surface::cli::CommonArgs;
use crate::surface::json;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use comm::collective::broadcast;
use ops::resolver::{self, NoBuckets};
use ops::walk::account;
use types::error::Side;
use types::exit::Exit;
use types::object::bucket::ListedBucket;
use types::operand::location;

/// Lists the buckets of the service that the paths name, on rank 0. Returns the exit code on all
/// ranks; `None` where they name no service as a whole.
pub(super) fn list(
    session: &mut Session<'_, '_>,
    paths: &[Vec<u8>],
    args: &CommonArgs,
    reporter: &mut Reporter,
) -> Option<Exit> {
    let [path] = paths else { return None };
    // Rank 0 alone knows the remotes, and is asked only where one may be meant.
    location::service_alone(path, &|_| true)?;
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let exit = is_root.then(|| listed(path, args, reporter));
    broadcast(session.mail, exit)
}

fn listed(path: &[u8], args: &CommonArgs, reporter: &mut Reporter) -> Option<Exit> {
    Some(match resolver::buckets(path, &args.s3.options())? {
        Ok(buckets) => {
            for bucket in &buckets {
                reporter.lines(&line(bucket, args.json));
            }
            Exit::Ok
        }
        Err(NoBuckets::Settings(error)) => {
            reporter.refuse(&error);
            Exit::Unusable
        }
        Err(NoBuckets::Request(error)) => {
            let failure = account::failure(Side::Source, path, b"", error);
            let words = reporter.words(&failure);
            reporter.refuse(&words);
            Exit::Unusable
        }
    })
}

fn line(bucket: &ListedBucket, is_json: bool) -> Vec<u8> {
    if is_json {
        return json::event("bucket", json!({ "name": bucket.name, "created": bucket.created() }));
    }
    let created = bucket.created().unwrap_or_else(|| "-".to_owned());
    format!("{created:20} {}\n", types::path::escaped(bucket.name.as_bytes())).into_bytes()
}
