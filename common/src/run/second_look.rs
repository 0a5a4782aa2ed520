//! The second look: after a walk all ranks look once more at the directories that were listed, and list those again
//! that have changed meanwhile. What does not come to rest is said.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::copying::{Copying, Phase, is_stopped};
use crate::base::error::Side;
use crate::comm::collective::{broadcast, gather};
use crate::copy::CopyTask;
use crate::copy::leftovers::Leftovers;
use crate::copy::second_look::SecondLook;
use crate::model::entry::{Time, Times};
use crate::sched::engine;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::walk::WalkTask;
use crate::walk::listed::{Changed, CheckJob, CheckedRoot, Found, Listed, Verdict};
use crate::walk::packed::RootedPath;
use crate::walk::place::Place;

/// Phases of second looks have numbers of their own: there are fewer sources than that.
const PHASES: usize = 1 << 22;

/// What all ranks have found together.
#[derive(Serialize, Deserialize)]
struct News {
    began: Time,
    pause: Duration,
    directories: Vec<RootedPath>,
}

/// Deals with what has come while the walk of a phase went on, which began then, and adds to what that has left and
/// counted. All ranks call it.
pub(super) fn take(
    session: &mut Session<'_, '_>,
    (copying, number, began): (&Copying<'_>, usize, Time),
    leftovers: &mut Leftovers,
    phase: &mut Phase,
    reporter: &mut Reporter,
) {
    let listed = std::mem::take(&mut leftovers.listed);
    let any = gather(session.mail, &!listed.is_empty());
    if !broadcast(session.mail, any.map(|any| any.contains(&true))) || is_stopped(session, &phase.0)
    {
        return;
    }
    let found = check(session, copying, listed, Verdict::Again, phase, reporter);
    let news = news_of_all(session, &found, began);
    if news.directories.is_empty() {
        return;
    }
    // From then on a change shows.
    std::thread::sleep(news.pause);
    leftovers.listed = found.listed;
    list_again(session, (copying, number), (news, found.changed), leftovers, phase, reporter);
    let listed = std::mem::take(&mut leftovers.listed);
    if !is_stopped(session, &phase.0) {
        check(session, copying, listed, Verdict::Moving, phase, reporter);
    }
}

fn check(
    session: &mut Session<'_, '_>,
    copying: &Copying<'_>,
    listed: Listed,
    verdict: Verdict,
    phase: &mut Phase,
    reporter: &mut Reporter,
) -> Found {
    let roots = copying.roots.iter().map(|root| CheckedRoot {
        store: &*root.source,
        shown: &root.shown_source,
        side: Side::Source,
    });
    let job = CheckJob::new(roots.collect(), copying.selection, verdict);
    let settings = session.settings(copying.threads_max);
    let counters = engine::run(&job, listed.into_tasks(), reporter, session.mail, settings);
    reporter.phase_ended();
    phase.0.add(&job.tally());
    phase.1.add(&counters);
    job.into_found()
}

fn news_of_all(session: &mut Session<'_, '_>, found: &Found, began: Time) -> News {
    let directories = found.changed.iter().map(|changed| changed.directory.clone()).collect();
    let here = News { began, pause: found.pause, directories };
    let all = gather(session.mail, &here).map(|all| {
        let joined = all.into_iter().reduce(|mut joined, more| {
            joined.began = joined.began.min(more.began);
            joined.pause = joined.pause.max(more.pause);
            joined.directories.extend(more.directories);
            joined
        });
        joined.unwrap_or(here)
    });
    broadcast(session.mail, all)
}

/// Lists the directories that have changed again, this rank those that it has found.
fn list_again(
    session: &mut Session<'_, '_>,
    (copying, number): (&Copying<'_>, usize),
    (news, changed): (News, Vec<Changed>),
    leftovers: &mut Leftovers,
    phase: &mut Phase,
    reporter: &mut Reporter,
) {
    let directories: HashSet<RootedPath> = news.directories.into_iter().collect();
    let known = gather(session.mail, &leftovers.listed.known_in(&directories));
    let known: Vec<u64> = broadcast(session.mail, known.map(|all| all.concat()));
    leftovers.forget_extras_of(&directories);
    // What is there is looked at as it is listed, so these are remembered anew.
    leftovers.listed.forget(&directories);
    let second_look = SecondLook::new(news.began, known.into_iter().collect());
    let job = copying.job(session, None).in_phase(PHASES + number).looking_again(second_look);
    let seeds = changed.into_iter().map(again).collect();
    let settings = session.settings(copying.threads_max);
    let counters = engine::run(&job, seeds, reporter, session.mail, settings);
    reporter.phase_ended();
    let times = gather(session.mail, &job.take_new_times());
    let times: Vec<(RootedPath, Times)> = broadcast(session.mail, times.map(|all| all.concat()));
    phase.0.add(&job.tally());
    phase.1.add(&counters);
    leftovers.add_second(job.into_leftovers(), &times.into_iter().collect::<HashMap<_, _>>());
}

fn again(changed: Changed) -> CopyTask {
    let (root, path) = changed.directory;
    let place = Place::of_bytes(root, &path);
    if changed.is_another { WalkTask::List(place).into() } else { WalkTask::Again(place).into() }
}
