//! dcp: copies files and trees, on many nodes at once.

mod args;

use std::process::ExitCode;

use common::run::{agent, clean, copy};
use common::surface::session;

/// A request to S3 is hundreds of small allocations, freed on the thread that made them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(exit) = agent::run_if_requested(std::env::args_os()) {
        return exit;
    }
    session::run("dcp", |session, args: args::Args| match (args.clean_request(), args.request()) {
        (Some(request), _) => clean::run(session, &request, &args.common),
        (None, Some(request)) => copy::run(session, &request, &args.completed()),
        (None, None) => session.refuse("a TARGET is missing; name SOURCE and TARGET"),
    })
}
