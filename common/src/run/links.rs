//! Files with several names: dealt with when the walk has found all of those.

use super::copying::Copying;
use super::phase::Phase;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::collective::{broadcast, gather};
use ops::copy::leftovers::Leftovers;
use ops::copy::linked::LinkRecords;
use sched::counters::Counters;
use sched::engine;
use types::outcome::tally::Tally;

/// Copies the files whose names the walk has remembered in `leftovers`, adds what that leaves to
/// them, and to the phase what it counts. Where the walk was stopped it gives them up.
pub(super) fn copy(
    session: &mut Session<'_, '_>,
    copying: Copying<'_>,
    leftovers: &mut Leftovers,
    phase: &mut Phase,
    reporter: &mut Reporter,
) {
    let links = std::mem::take(&mut leftovers.links);
    let here = (!links.is_empty(), phase.0.cancelled_tasks > 0);
    let all = gather(session.mail, &here);
    let any = all.map(|all| {
        all.into_iter().fold((false, false), |any, here| (any.0 || here.0, any.1 || here.1))
    });
    let (any_names, is_stopped) = broadcast(session.mail, any);
    if is_stopped {
        phase.0.cancelled_tasks += links.len() as u64;
    } else if any_names {
        let (more, (tally, counters)) = copy_files(session, copying, links, reporter);
        phase.0.add(&tally);
        phase.1.add(&counters);
        leftovers.add(more);
    }
}

fn copy_files(
    session: &mut Session<'_, '_>,
    copying: Copying<'_>,
    links: LinkRecords,
    reporter: &mut Reporter,
) -> (Leftovers, (Tally, Counters)) {
    reporter.phase_ended();
    let (files, parted) = links.by_file(session.mail);
    let mut options = copying.options.clone();
    // Temporary names of its own.
    options.job.id = options.job.id.wrapping_add(2);
    let job = Copying { options: &options, ..copying }.job(session, None).after_walk();
    let settings = session.settings(copying.threads);
    let seeds = files.into_iter().map(Into::into).collect();
    let counters = engine::run(&job, seeds, reporter, session.mail, settings);
    reporter.phase_ended();
    let tally = Tally {
        hard_links_not_preserved: job.tally().hard_links_not_preserved + parted,
        ..job.tally()
    };
    (job.into_leftovers(), (tally, counters))
}
