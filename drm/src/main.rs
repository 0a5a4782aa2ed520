//! drm: deletes files and directory trees, on many nodes at once.

mod args;

use std::process::ExitCode;

use common::run::remove;
use common::surface::session;

/// Allocator of the process. A request to S3 is hundreds of small allocations, freed on the thread
/// that made them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    session::run("drm", |session, args: args::Args| match args.request() {
        Ok(request) => remove::run(session, &request, &args.common),
        Err(refusal) => session.refuse(refusal),
    })
}
