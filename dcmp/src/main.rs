//! dcmp: compares two trees, on many nodes at once.

mod args;

use std::process::ExitCode;

use common::run::compare;
use common::surface::session;

/// A request to S3 is hundreds of small allocations, freed on the thread that made them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    session::run("dcmp", |session, args: args::Args| match args.request() {
        Ok(request) => compare::run(session, &request, &args.common),
        Err(why) => session.refuse(why),
    })
}
