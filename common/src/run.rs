//! A tool's whole run on all ranks: what to do, doing it, telling what was done.

pub mod copy;
pub mod walk;

use std::time::Duration;

use crate::base::exit::Exit;
use crate::base::limits;
use crate::base::process::descriptors_max;
use crate::comm::collective::gather;
use crate::model::tally::Tally;
use crate::sched::counters::Counters;
use crate::sched::engine::Settings;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::surface::summary::{RankReport, Summary};

impl Session<'_, '_> {
    fn settings(&self, threads_max: u32) -> Settings {
        let affordable = limits::threads_for_descriptors(descriptors_max());
        Settings { threads_max: threads_max.min(affordable), cpu_share: self.team.cpu_share() }
    }

    /// Gathers what the ranks did into a summary, on rank 0.
    fn summarise(&mut self, tally: Tally, counters: Counters) -> Option<Summary> {
        let report = RankReport::new(&self.team.host, tally, counters);
        let ranks = gather(self.mail, &report)?;
        Some(Summary {
            tool: self.tool,
            is_copy: false,
            is_dry_run: false,
            elapsed: Duration::from_nanos(counters.wall_ns),
            nodes: self.team.nodes.len(),
            ranks,
            exit: Exit::Ok,
            usage: None,
        })
    }
}

/// The exit code that the counts ask for.
fn exit_of(totals: &Tally) -> Exit {
    if totals.failed > 0 || totals.given_up > 0 {
        Exit::Partial
    } else if totals.vanished > 0 {
        Exit::Vanished
    } else {
        Exit::Ok
    }
}

/// Prints the summary on rank 0; the code is the worst of the work's and of the printing's.
fn close(reporter: &mut Reporter, summary: Option<Summary>) -> Exit {
    match summary {
        Some(summary) => reporter.close(&summary).worst(summary.exit),
        None => Exit::Ok,
    }
}
