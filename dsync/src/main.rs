//! dsync: makes one tree equal another, on many nodes at once.

mod args;

use std::process::ExitCode;

use common::run::sync;
use common::surface::session;

fn main() -> ExitCode {
    session::run("dsync", |session, args: args::Args| {
        sync::run(session, &args.request(), &args.completed())
    })
}
