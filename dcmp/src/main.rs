//! dcmp: compares two trees, on many nodes at once.

mod args;

use std::process::ExitCode;

use common::run::compare;
use common::surface::session;

fn main() -> ExitCode {
    session::run("dcmp", |session, args: args::Args| {
        compare::run(session, &args.request(), &args.common)
    })
}
