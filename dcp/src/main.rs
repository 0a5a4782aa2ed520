//! dcp: copies files and trees, on many nodes at once.

mod args;

use std::process::ExitCode;

use common::run::{clean, copy};
use common::surface::session;

fn main() -> ExitCode {
    session::run("dcp", |session, args: args::Args| match args.clean_request() {
        Some(request) => clean::run(session, &request, &args.common),
        None => copy::run(session, &args.request(), &args.completed()),
    })
}
