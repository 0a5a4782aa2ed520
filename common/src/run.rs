//! A tool's whole run on all ranks: what to do, doing it, telling what was done.

pub mod agent;
mod buckets;
pub mod clean;
pub mod compare;
mod containers;
pub mod copy;
mod copying;
mod criteria;
mod ending;
mod found_journal;
mod links;
mod list_root;
mod manifest;
mod moving;
pub mod named;
mod node_errors;
mod old_copy;
mod outputs;
mod parts;
mod phase;
mod record;
pub mod remove;
mod repeats;
mod resume;
mod same_command;
mod second_look;
mod shared_roots;
pub mod sync;
mod syncing;
mod transfer;
mod verify;
pub mod walk;

use std::fmt::Display;
use std::time::Duration;

use crate::surface::cli::CommonArgs;
use crate::surface::filter_args::FilterArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::surface::summary::{Operation, RankReport, Summary, describe_topology};
use comm::Rank;
use comm::collective::{broadcast, gather};
use host::interrupt;
use host::process::descriptors_max;
use host::throttle;
use ops::resolver::{self, Kept, Reach, StoreResolver};
use ops::walk::selection::{Selection, SelectionOptions};
use sched::counters::Counters;
use sched::engine::Settings;
use sched::growth::Threads;
use types::entry::Time;
use types::error::Side;
use types::exit::Exit;
use types::limits;
use types::outcome::tally::{LimitedWork, Tally};

impl Session<'_, '_> {
    fn settings(&self, threads: Threads) -> Settings {
        let affordable = limits::threads_for_descriptors(descriptors_max());
        Settings { threads: threads.at_most(affordable), cpu_share: self.topology.cpu_share() }
    }

    /// The rank that reads again what this one has written: on another node, where ranks fill node
    /// by node.
    fn verifier(&self) -> Rank {
        let ranks = self.topology.ranks;
        let of_node = ranks.div_ceil(self.topology.nodes.len().max(1) as u32);
        let step = if of_node < ranks { of_node } else { 1 };
        Rank((self.mail.comm().rank().0 + step) % ranks)
    }

    /// Gathers what the ranks did, and how the services took it, into a summary, on rank 0.
    fn summarise(
        &mut self,
        tally: &Tally,
        resolver: &StoreResolver,
        counters: Counters,
    ) -> Option<Summary> {
        let tally = Tally {
            throttled_requests: resolver.throttled_requests(),
            interrupted_ranks: u64::from(interrupt::is_wanted()),
            limited: throttle::own().map_or(tally.limited, |own| LimitedWork::of(own.totals())),
            ..*tally
        };
        let report = RankReport::new(&self.topology.host, &tally, counters);
        let ranks = gather(self.mail, &report)?;
        Some(Summary {
            tool: self.tool,
            operation: Operation::Walk,
            is_dry_run: false,
            there_bytes: None,
            elapsed: Duration::from_nanos(counters.wall_ns),
            nodes: self.topology.nodes.len(),
            ranks,
            exit: Exit::Ok,
            again: None,
            usage: None,
        })
    }
}

/// Makes rank 0's filters those of all ranks; `None` on all of them where they contradict each
/// other.
fn select(
    session: &mut Session<'_, '_>,
    filters: &FilterArgs,
    reporter: &mut Reporter,
) -> Option<Selection> {
    let options = (session.mail.comm().rank() == Rank::ROOT).then(|| {
        let options = filters
            .options(Time::now())
            .map(|filter| SelectionOptions { filter, one_file_system: filters.one_file_system });
        options.map_err(|refusal| reporter.refuse(refusal)).ok()
    });
    let options = broadcast(session.mail, options)?;
    // What rank 0 has accepted is the same text here.
    Selection::new(&options).ok()
}

/// Says how many of the paths on the command line the filters leave out.
fn left_out(count: usize, reporter: &mut Reporter) {
    match count {
        0 => {}
        1 => reporter.warn("the filters leave out one of the named paths"),
        _ => reporter.warn(&format!("the filters leave out {count} of the named paths")),
    }
}

/// Rank 0 finds out how the services among these places are reached.
///
/// # Errors
/// The exit code, on all ranks, where that is not clear; rank 0 has said why.
fn find_stores(
    session: &mut Session<'_, '_>,
    (places, is_one_file_system): (&[(Side, &[u8])], bool),
    args: &CommonArgs,
    reporter: &mut Reporter,
) -> Result<StoreResolver, Exit> {
    let is_few = session.mail.comm().size() <= limits::REMOTE_RANKS_AT_ONCE;
    let hosts = args.ssh.options();
    let mut kept = if is_few { Kept::begin(places, &hosts) } else { Kept::default() };
    let reach = (session.mail.comm().rank() == Rank::ROOT).then(|| {
        let begun = std::mem::take(&mut kept);
        let found = resolver::find(places, &args.s3.options(), &hosts, begun);
        let (reach, hosts) = found.map_err(|why| {
            reporter.refuse(&why);
            why.exit()
        })?;
        kept = hosts;
        let mut refused = |why: &dyn Display| {
            reporter.refuse(why);
            Exit::Usage
        };
        check_limits(&reach).map_err(|why| refused(&why))?;
        if is_one_file_system && reach.has_sftp() {
            return Err(refused(&MountsAreUnknown));
        }
        Ok(reach)
    });
    let resolver = StoreResolver::new(broadcast(session.mail, reach)?, kept);
    reporter.know(resolver.endpoints());
    // The service may not answer.
    if resolver.has_objects() && session.mail.comm().rank() == Rank::ROOT {
        announce(session, args, reporter);
    }
    let containers = resolver::containers(places);
    if containers.is_empty() {
        return Ok(resolver);
    }
    containers::mount(session, resolver, containers, reporter).ok_or(Exit::Unusable)
}

/// Error of a limit of transfers to and from services where there are none.
#[derive(Debug, thiserror::Error)]
#[error(
    "--bwlimit UP:DOWN limits transfers to and from S3 and other hosts, and all paths are here; \
     write --bwlimit RATE"
)]
struct NothingLimited;

/// Error of a job that is to stay on one file system, where those are not told apart.
#[derive(Debug, thiserror::Error)]
#[error(
    "--one-file-system (-x): an SFTP server does not tell where another file system begins; exclude \
     mount points, or use HOST:PATH, where dcp is installed there"
)]
struct MountsAreUnknown;

/// Refuses a limit of transfers to and from services where there are none.
fn check_limits(reach: &Reach) -> Result<(), NothingLimited> {
    let is_of_services = throttle::own().is_some_and(|own| own.rates().are_of_services());
    if reach.is_local() && is_of_services { Err(NothingLimited) } else { Ok(()) }
}

/// Prints the first line of the header, with the version and the ranks, unless it was printed
/// before.
fn announce(session: &Session<'_, '_>, args: &CommonArgs, reporter: &mut Reporter) {
    let topology = describe_topology(&session.topology, args.threads);
    reporter.announce(&format!("{} {}, {topology}", session.tool, env!("CARGO_PKG_VERSION")));
}

/// Returns the I/O threads of a rank: where a service is asked, more requests are under way than a
/// file system would gain from; a line to another host is filled at once; and memory gains from no
/// more threads than there are processors.
fn threads_of_rank(
    session: &Session<'_, '_>,
    resolver: &StoreResolver,
    args: &CommonArgs,
) -> Threads {
    if resolver.has_hosts() {
        let of_line = limits::threads_of_line(session.topology.ranks);
        return Threads::Exactly(of_line.min(args.threads));
    }
    if resolver.is_in_memory() {
        let fed = session.topology.cpu_share().ceil() as u32;
        return Threads::Exactly(fed.clamp(1, args.threads));
    }
    if !resolver.has_objects() {
        return Threads::UpTo(args.threads);
    }
    let ranks_of_node = session.topology.ranks.div_ceil(session.topology.nodes.len().max(1) as u32);
    let share = limits::S3_REQUESTS_OF_NODE / ranks_of_node.max(1);
    Threads::UpTo(resolver.requests_max().unwrap_or_else(|| share.max(args.threads)))
}

/// The exit code that the counts ask for.
fn exit_of(totals: &Tally) -> Exit {
    if totals.is_cut_short() {
        Exit::Interrupted
    } else if totals.failed > 0 || totals.cancelled_tasks > 0 {
        Exit::Partial
    } else if totals.vanished + totals.unstable_directories + totals.synced.reappeared > 0 {
        Exit::Vanished
    } else if totals.compared.is_different() {
        Exit::Different
    } else {
        Exit::Ok
    }
}

/// The exit code that the counts ask for, as far as the operator wants to know.
fn exit_for(totals: &Tally, args: &CommonArgs) -> Exit {
    let vanished = if args.ignore_vanished { 0 } else { totals.vanished };
    exit_of(&Tally { vanished, ..*totals })
}

/// Prints the summary on rank 0; the code is the worst of the work's and of the printing's.
fn close(reporter: &mut Reporter, summary: Option<Summary>) -> Exit {
    match summary {
        Some(summary) => reporter.close(&summary).worst(summary.exit),
        None => Exit::Ok,
    }
}
