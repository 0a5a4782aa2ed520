//! The second look: after a walk all ranks look once more at the directories that were listed, and
//! list those again that have changed meanwhile. What does not come to rest is said.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::phase::{Phase, is_stopped};
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::collective::{broadcast, gather};
use ops::walk::WalkTask;
use ops::walk::dir_ref::{DirRef, Trees};
use ops::walk::listed::{Changed, CheckJob, CheckedTree, Found, Listed, Verdict};
use ops::walk::packed::RootedPath;
use ops::walk::selection::Selection;
use ops::walk::watch::{Known, Watch, of_tree, tree_of};
use sched::engine;
use sched::growth::Threads;
use store::opening::Symlinks;
use types::entry::Time;
use types::error::Side;

/// A walk whose directories are looked at once more.
pub(super) struct Watched<'w> {
    /// The trees that were walked, in the order of [`tree_of`].
    pub trees: Vec<CheckedTree<'w>>,
    /// Filters of the walk.
    pub selection: &'w Selection,
    /// I/O threads of a rank, at most.
    pub threads: Threads,
}

/// Directories that are listed again.
pub(super) struct Again<'a> {
    /// All of them, and their counterparts.
    pub directories: &'a HashSet<RootedPath>,
    /// Tasks that this rank begins with.
    pub seeds: Vec<WalkTask>,
}

/// Findings of a rank, or of all of them together.
#[derive(Debug, Default, Serialize, Deserialize)]
struct News {
    pause: Duration,
    directories: Vec<Changed>,
}

/// The watch over a walk that begins now. All ranks call it.
pub(super) fn watch(session: &mut Session<'_, '_>, symlinks: Symlinks) -> Watch {
    let began = Time::of_last_tick();
    let all = gather(session.mail, &began);
    let first = all.map(|all| all.into_iter().min().unwrap_or(began));
    Watch::new(broadcast(session.mail, first), symlinks)
}

/// Deals with what has come while a walk went on that was watched like that. `list_again` lists
/// directories that have changed, under another watch, and returns the directories that were
/// listed. All ranks call it.
pub(super) fn take(
    session: &mut Session<'_, '_>,
    (walk, mut watch): (&Watched<'_>, Watch),
    phase: &mut Phase,
    reporter: &mut Reporter,
    list_again: impl FnOnce(
        &mut Session<'_, '_>,
        (Watch, Again<'_>),
        &mut Phase,
        &mut Reporter,
    ) -> Listed,
) {
    let listed = watch.take_listed();
    let any = gather(session.mail, &!listed.is_empty());
    if !broadcast(session.mail, any.map(|any| any.contains(&true))) || is_stopped(session, &phase.0)
    {
        return;
    }
    let mut found = check(session, walk, listed, Verdict::Again, phase, reporter);
    let news = news_of_all(session, &found);
    if news.directories.is_empty() {
        return;
    }
    // From then on a change shows.
    std::thread::sleep(news.pause);
    let directories = with_counterparts(&news.directories);
    let known = gather(session.mail, &watch.known_in(&directories, &found.listed));
    let known: Vec<u64> = broadcast(session.mail, known.map(|all| all.concat()));
    let known = Known::new(known, &news.directories);
    let seeds = seeds(session, &news.directories, &found.listed, &known);
    // What is there is looked at as it is listed, so these are remembered anew.
    found.listed.forget(&directories);
    let (watch, again) = (watch.again(known), Again { directories: &directories, seeds });
    found.listed.append(list_again(session, (watch, again), phase, reporter));
    if !is_stopped(session, &phase.0) {
        check(session, walk, found.listed, Verdict::Moving, phase, reporter);
    }
}

fn check(
    session: &mut Session<'_, '_>,
    walk: &Watched<'_>,
    listed: Listed,
    verdict: Verdict,
    phase: &mut Phase,
    reporter: &mut Reporter,
) -> Found {
    let job = CheckJob::new(walk.trees.clone(), walk.selection, verdict);
    let settings = session.settings(walk.threads);
    let counters = engine::run(&job, listed.into_tasks(), reporter, session.mail, settings);
    reporter.phase_ended();
    phase.0.add(&job.tally());
    phase.1.add(&counters);
    job.into_found()
}

fn news_of_all(session: &mut Session<'_, '_>, found: &Found) -> News {
    let here = News { pause: found.pause, directories: found.changed.clone() };
    let all = gather(session.mail, &here).map(|all| {
        all.into_iter().fold(News::default(), |mut joined, more| {
            joined.pause = joined.pause.max(more.pause);
            joined.directories.extend(more.directories);
            joined
        })
    });
    broadcast(session.mail, all)
}

/// Adds the counterparts of the directories in the other tree.
fn with_counterparts(changed: &[Changed]) -> HashSet<RootedPath> {
    let in_both = |Changed { directory: (tree, path), .. }: &Changed| {
        let (root, _) = of_tree(*tree);
        [Side::Source, Side::Target].map(|side| (tree_of(root, side), path.clone()))
    };
    changed.iter().flat_map(in_both).collect()
}

/// The tasks that list those directories again, all of them rank 0's. One that has changed in both
/// trees, or is in both, is listed once.
fn seeds(
    session: &mut Session<'_, '_>,
    changed: &[Changed],
    listed: &Listed,
    known: &Known,
) -> Vec<WalkTask> {
    let in_source =
        |(tree, path): &RootedPath| (tree_of(of_tree(*tree).0, Side::Source), path.clone());
    let of_targets = |it: &&Changed| of_tree(it.directory.0).1 == Side::Target;
    let asked = changed.iter().filter(of_targets).map(|it| in_source(&it.directory)).collect();
    let in_both = gather(session.mail, &listed.among(&asked)).map(|all| all.concat());
    let Some(in_both) = in_both else { return Vec::new() };
    let in_both: HashSet<RootedPath> = in_both.into_iter().collect();
    let mut seen = HashSet::new();
    let mut again = |it: &Changed| {
        let above = in_source(&it.directory);
        let directory = if in_both.contains(&above) { above } else { it.directory.clone() };
        let is_other = it.is_another && directory == it.directory;
        let is_first = !known.is_shut(&directory) && seen.insert(directory.clone());
        is_first.then(|| task(directory, is_other))
    };
    changed.iter().filter_map(&mut again).collect()
}

fn task((tree, path): RootedPath, is_another: bool) -> WalkTask {
    let (root, side) = of_tree(tree);
    let dir_ref = DirRef::of_bytes(root, &path);
    if side == Side::Target {
        dir_ref.set_trees(Trees::TargetOnly);
    }
    if is_another { WalkTask::List(dir_ref) } else { WalkTask::Again(dir_ref) }
}
