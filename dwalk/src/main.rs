//! dwalk: counts and lists what is in a tree, on many nodes at once.

mod args;

use std::process::ExitCode;

use common::run::walk;
use common::surface::session;

/// A request to S3 is hundreds of small allocations, freed on the thread that made them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    session::run("dwalk", |session, args: args::Args| match args.request() {
        Ok(request) => walk::run(session, &request, &args.common),
        Err(refusal) => session.refuse(refusal),
    })
}
