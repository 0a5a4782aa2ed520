//! A copy as a job of the engine, on ranks that are threads of this process.

use std::sync::Arc;

use comm::mailbox::Mailbox;
use comm::{Comm, Rank, threads};
use ops::copy::options::CopyOptions;
use ops::copy::root::CopyRoot;
use ops::copy::{CopyJob, CopyTask};
use ops::walk::WalkTask;
use ops::walk::dir_ref::DirRef;
use ops::walk::selection::Selection;
use sched::engine::{self, Settings};
use sched::growth::Threads;
use sched::job::Listener;
use store::Store;
use types::error::Failure;
use types::outcome::event::Event;
use types::outcome::tally::Tally;

#[derive(Default)]
struct Ear(Vec<Failure>);

impl Listener<CopyJob<'_>> for Ear {
    fn event(&mut self, _from: Rank, event: Event) {
        if let Event::Failure(failure) = event {
            self.0.push(failure);
        }
    }

    fn progress(&mut self, _from: Rank, _snapshot: Tally) {}

    fn tick(&mut self) {}
}

/// Copies on that many ranks; returns the counts and events of each.
pub fn job_outcomes(
    ranks: u32,
    source: &(impl Fn() -> Box<dyn Store> + Sync),
    target: &(impl Fn() -> Box<dyn Store> + Sync),
    options: &CopyOptions,
) -> Vec<(Tally, Vec<Failure>)> {
    threads::run(ranks, |comm| {
        let rank = comm.rank();
        let roots = [CopyRoot::of(source(), target())];
        let selection = Selection::all();
        let next = Rank((rank.0 + 1) % ranks);
        let job = CopyJob::new(&roots, options, &selection, None, rank).verified_by(next);
        let first: CopyTask = WalkTask::List(Arc::new(DirRef::root_of(0))).into();
        let seeds = if rank == Rank::ROOT { vec![first] } else { Vec::new() };
        let settings = Settings { threads: Threads::UpTo(3), cpu_share: 3.0 };
        let mut ear = Ear::default();
        engine::run(&job, seeds, &mut ear, &mut Mailbox::new(comm), settings);
        (job.tally(), ear.0)
    })
}
