//! How a copy ends: its manifest and journal, its summary, and the comparison of all where that is
//! requested.

use super::manifest::Manifest;
use super::phase::Phase;
use super::resume::ResumeState;
use super::verify::{self, Part};
use super::{close, exit_for};
use crate::surface::cli::CommonArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::surface::summary::Operation;
use ops::copy::options::CopyOptions;
use ops::copy::plan::CopyPlan;
use ops::copy::root::CopyRoot;
use ops::journal::Journal;
use ops::resolver::StoreResolver;
use types::exit::Exit;

/// Last steps, when everything is copied.
pub(super) struct Ending<'r> {
    pub operation: Operation,
    pub resolver: &'r StoreResolver,
    pub plan: &'r CopyPlan,
    pub roots: &'r [CopyRoot],
    pub options: &'r CopyOptions,
    pub part: &'r Part,
    pub manifest: Manifest,
    pub resume_state: ResumeState,
    /// Command that does what this job leaves undone.
    pub again: String,
    /// Exit code that the counts do not imply.
    pub verdict: Exit,
}

impl Ending<'_> {
    /// Ends the job on all ranks.
    pub fn conclude(
        self,
        session: &mut Session<'_, '_>,
        (mut tally, counters): Phase,
        args: &CommonArgs,
        reporter: &mut Reporter,
    ) -> Exit {
        let (done, how) = ((&tally, self.verdict), (self.roots, self.options));
        tally.failed += self.resume_state.remove_unused(session, how, done, reporter);
        self.manifest.end(session, &tally, reporter);
        tally.journal_records_not_written +=
            self.resume_state.journal.as_ref().map_or(0, Journal::unwritten);
        let summary = session.summarise(&tally, self.resolver, counters).map(|mut summary| {
            summary.operation = self.operation;
            summary.is_dry_run = self.options.dry_run;
            summary.there_bytes = self.resume_state.there_bytes;
            summary.again = Some(self.again.clone());
            summary.exit = exit_for(&summary.totals(), args).worst(self.verdict);
            summary
        });
        let exit = close(reporter, summary);
        let plans = &self.plan.roots;
        let compared = verify::compare_all(session, plans, self.options, self.part, args);
        let exit = match compared {
            // What is missing there was said.
            Exit::Unusable if exit != Exit::Ok => exit,
            compared => exit.worst(compared),
        };
        let differs = matches!(compared, Exit::Different | Exit::Partial | Exit::Vanished);
        // What is not compared to its end is gone on with, too.
        self.resume_state.end(session, self.roots, (exit, differs), reporter);
        exit
    }
}
