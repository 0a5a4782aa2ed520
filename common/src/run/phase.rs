//! The end of a phase on each rank and on all of them.

use crate::surface::session::Session;
use comm::collective::{broadcast, gather};
use sched::counters::Counters;
use types::outcome::tally::Tally;

/// Counts of a phase on this rank.
pub(super) type Phase = (Tally, Counters);

/// Returns true if some rank was interrupted before all was done. All ranks call it.
pub(super) fn is_stopped(session: &mut Session<'_, '_>, tally: &Tally) -> bool {
    let all = gather(session.mail, &(tally.cancelled_tasks > 0));
    broadcast(session.mail, all.map(|all| all.contains(&true)))
}
