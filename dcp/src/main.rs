//! dcp: copies files and trees, on many nodes at once.

mod args;

use std::process::ExitCode;

use common::run::copy;
use common::surface::session;

fn main() -> ExitCode {
    session::run("dcp", |session, args: args::Args| {
        copy::run(session, args.request(), &args.common)
    })
}
