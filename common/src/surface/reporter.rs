//! Rank 0's ear and mouth: prints failures, lines and progress as they come in.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use serde_json::json;

use super::cli::CommonArgs;
use super::console::{self, Console};
use super::list_file::{ListFile, NotRegular};
use super::mfu_words::{Mfu, OutputStyle};
use super::progress::{self, Progress};
use super::record::{Record, RecordError};
use super::record_args::RecordRequest;
use super::{json, summary::Summary};
use comm::Rank;
use lists::appended::AppendedFile;
use lists::staged::StagedFile;
use ops::resolver::Endpoint;
use ops::walk::list::collector::Listing;
use sched::job::{Finding, Job, Listener};
use types::error::{Cause, Failure, Op};
use types::exit::Exit;
use types::limits::FAILURE_LINES_PRINTED_MAX;
use types::outcome::event::Event;
use types::outcome::tally::Tally;
use types::path;
use types::size::human_count;

/// Output of rank 0 while the job runs.
pub struct Reporter {
    tool: &'static str,
    quiet: bool,
    verbose: bool,
    json: bool,
    console: Console,
    /// The first line of the header was printed, where it is.
    is_announced: bool,
    /// Standard output is for a list alone.
    with_list_alone: bool,
    progress: Progress,
    /// Words of mpiFileUtils instead of this suite's own.
    theirs: Option<Mfu>,
    /// A bar instead of lines.
    with_bar: bool,
    tick_at: Duration,
    /// File for the lines of a list; standard output where there is none.
    list: Option<ListFile>,
    /// Record of what the job changes.
    record: Option<Record>,
    /// Lists besides that one.
    outputs: BTreeMap<u16, ListFile>,
    differences_shown: u64,
    /// Other results could not be written.
    unwritten: bool,
    shown: BTreeMap<(Op, String), u64>,
    /// Failures that have a line on the screen.
    failures_shown: u64,
    latest: Vec<Tally>,
    /// Services of the job, which failures at one of them name.
    endpoints: Vec<Endpoint>,
    /// Counts of the phases before this one.
    earlier: Tally,
}

impl Reporter {
    /// Creates the reporter of a job of so many ranks.
    pub fn new(tool: &'static str, verb: &'static str, args: &CommonArgs, ranks: u32) -> Self {
        let is_shown = !args.quiet && args.progress > 0;
        let is_theirs = args.output_style == OutputStyle::Mfu;
        let with_bar = is_shown && !args.json && !is_theirs && console::is_watched();
        let interval = Duration::from_secs(if is_shown { args.progress } else { 0 });
        Self {
            tool,
            quiet: args.quiet,
            verbose: args.verbose > 0,
            json: args.json,
            console: Console::default(),
            is_announced: false,
            with_list_alone: false,
            with_bar,
            progress: Progress::new(tool, verb, interval, ranks),
            theirs: is_theirs.then(|| Mfu::new(verb)),
            tick_at: TICK,
            list: None,
            record: None,
            outputs: BTreeMap::new(),
            differences_shown: 0,
            unwritten: false,
            shown: BTreeMap::new(),
            failures_shown: 0,
            latest: vec![Tally::default(); ranks as usize],
            endpoints: Vec::new(),
            earlier: Tally::default(),
        }
    }

    /// The services of the job.
    pub fn know(&mut self, endpoints: Vec<Endpoint>) {
        self.endpoints = endpoints;
    }

    /// The service that has failed, where one has.
    fn endpoint_of(&self, failure: &Failure) -> Option<&str> {
        let is_there = |endpoint: &&Endpoint| {
            endpoint.side == failure.side && failure.path.starts_with(endpoint.begins.as_bytes())
        };
        let endpoint = self.endpoints.iter().find(is_there)?;
        let is_of_service =
            matches!(failure.error.cause, Cause::Service(_)) || failure.error.details.is_some();
        is_of_service.then_some(endpoint.shown.as_str())
    }

    /// A failure with all that is known of it.
    pub fn words(&self, failure: &Failure) -> String {
        let endpoint = self.endpoint_of(failure);
        let at = endpoint.map_or_else(String::new, |shown| format!(" (endpoint {shown})"));
        format!("{failure}{at}")
    }

    /// Standard output is for a list alone: the summary goes where messages go.
    pub fn keep_output_for_list(&mut self) {
        self.with_list_alone = true;
    }

    /// Lines of a list go to that file from now on.
    ///
    /// # Errors
    /// Fails for a file that cannot be a list of that format.
    pub fn list_to(&mut self, file: StagedFile, listing: Listing) -> Result<(), NotRegular> {
        self.list = Some(ListFile::new(file, listing)?);
        Ok(())
    }

    /// Changes of the job are recorded from now on.
    ///
    /// # Errors
    /// Fails where they cannot be written.
    pub fn record(
        &mut self,
        request: &RecordRequest,
        file: Option<AppendedFile>,
        is_dry_run: bool,
    ) -> Result<(), RecordError> {
        self.record = Some(Record::begin(request, file, (self.tool, is_dry_run))?);
        Ok(())
    }

    /// Prints what went wrong with a list.
    fn talk_of(&self, side_error: Option<impl Display>) {
        if let Some(side_error) = side_error {
            self.console.talk(&format!("{}: {side_error}", self.tool));
        }
    }

    fn changes(&mut self, lines: &[u8]) {
        if let Some(record) = &mut self.record {
            let failed = record.write(lines, &mut self.console);
            self.talk_of(failed);
        }
    }

    /// Writes the lines of the record that came in.
    fn flush_record(&mut self) {
        let failed = self.record.as_mut().and_then(Record::flush);
        self.talk_of(failed);
    }

    /// Ends the record.
    fn close_record(&mut self, summary: &Summary) {
        let is_interrupted = summary.totals().cancelled_tasks > 0;
        if let Some(record) = self.record.take()
            && let Err(why) = record.end(is_interrupted, summary.exit)
        {
            self.unwritten(why);
        }
    }

    /// The list of that number goes to that file, not to standard output.
    ///
    /// # Errors
    /// Fails for a file that cannot be a list of that format.
    pub fn add_output(
        &mut self,
        number: u16,
        file: StagedFile,
        listing: Listing,
    ) -> Result<(), NotRegular> {
        self.outputs.insert(number, ListFile::new(file, listing)?);
        Ok(())
    }

    /// A list that keeps its earlier content, or is not there, because the job ended before all of
    /// it was known.
    pub fn withheld(&mut self, list: &[u8]) {
        let list = path::escaped(list);
        self.console.talk(&format!(
            "{}: \"{list}\" is not written: the job ended before the list was complete",
            self.tool
        ));
    }

    /// Results that could not be written, though the work was done.
    pub fn unwritten(&mut self, text: impl Display) {
        self.unwritten = true;
        self.console.talk(&format!("{}: {text}", self.tool));
    }

    /// Prints the first line of the header, once.
    pub fn announce(&mut self, line: &str) {
        if !(self.json || self.quiet || self.is_announced || self.theirs.is_some()) {
            self.console.talk(line);
        }
        self.is_announced = true;
    }

    /// Prints the rest of the header, when the locations are known.
    pub fn header(&mut self, lines: &[String], fields: serde_json::Value) {
        if self.json {
            self.console.result(&json::event("start", fields));
        } else if !self.quiet && self.theirs.is_none() {
            for line in lines {
                self.console.talk(line);
            }
        }
    }

    /// Prints the current phase, where it may take long.
    pub fn phase(&mut self, text: &str) {
        if !self.json && !self.quiet {
            self.console.talk(&format!(
                "{} {} {text}",
                self.tool,
                progress::clock(self.progress.elapsed())
            ));
        }
    }

    /// Why nothing can be done.
    pub fn refuse(&mut self, text: impl Display) {
        if self.json {
            self.console.result(&json::event("error", json!({ "message": text.to_string() })));
        }
        self.console.talk(&format!("{}: {text}", self.tool));
    }

    /// Tells an operator who wants details that directories are inspected in order, since that file
    /// system prefetches attributes then.
    pub fn order(&mut self, prefetched_by: Option<&str>) {
        if let Some(system) = prefetched_by.filter(|_| self.verbose) {
            self.console.talk(&format!(
                "{}: {system} prefetches attributes: one thread inspects the names of a directory, in their order",
                self.tool
            ));
        }
    }

    /// Prints a warning about the whole job.
    pub fn warn(&mut self, text: &str) {
        if self.json {
            self.console.result(&json::event("warning", json!({ "message": text })));
        }
        self.console.talk(&format!("{}: {text}", self.tool));
    }

    /// One entry that failed. On the screen at most so many of a kind; the rest is only counted.
    pub fn failure(&mut self, failure: &Failure) {
        self.failures_shown += u64::from(self.tell("failure", failure));
    }

    /// True where it has a line of its own on the screen.
    fn tell(&mut self, event: &str, failure: &Failure) -> bool {
        if self.json {
            let endpoint = self.endpoint_of(failure);
            self.console.result(&json::failure(event, failure, endpoint));
        }
        let kind = (failure.error.op, failure.error.cause.code());
        let of_kind = self.shown.entry(kind).or_insert(0);
        *of_kind += 1;
        let of_kind = *of_kind;
        if of_kind <= FAILURE_LINES_PRINTED_MAX {
            self.console.talk(&format!("{}: {}", self.tool, self.words(failure)));
        } else if of_kind == FAILURE_LINES_PRINTED_MAX + 1 {
            let (op, cause) = (failure.error.op, failure.error.cause);
            let line = format!("{}: more of \"{op} …: {cause}\" are only counted", self.tool);
            self.console.talk(&line);
        }
        of_kind <= FAILURE_LINES_PRINTED_MAX
    }

    /// How many failures have no line: more of a kind than the screen is to hold, or than their
    /// ranks tell of.
    fn count_unshown(&mut self, totals: &Tally) {
        let unshown = (totals.failed + totals.vanished + totals.unstable_directories)
            .saturating_sub(self.failures_shown);
        if unshown > 0 {
            let count = human_count(unshown);
            self.console.talk(&format!("{}: {count} more failures are not shown", self.tool));
        }
    }

    /// Whole lines of a list or of a plan.
    pub fn lines(&mut self, lines: &[u8]) {
        // The plan of a dry run has the same entries in other words.
        if self.list.is_none() && self.record.as_ref().is_some_and(Record::is_printed) {
            return;
        }
        match &mut self.list {
            None => self.console.result(lines),
            Some(list) => {
                if let Some(side_error) = list.write(lines) {
                    self.console.talk(&format!("{}: {side_error}", self.tool));
                }
            }
        }
    }

    fn output(&mut self, number: u16, lines: &[u8]) {
        match self.outputs.get_mut(&number) {
            None => self.console.result(lines),
            Some(list) => {
                if let Some(side_error) = list.write(lines) {
                    self.console.talk(&format!("{}: {side_error}", self.tool));
                }
            }
        }
    }

    /// Differences one by one; on the screen at most so many.
    pub fn differences(&mut self, lines: &[u8]) {
        if self.json {
            return self.console.result(lines);
        }
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.differences_shown += 1;
            if self.differences_shown <= FAILURE_LINES_PRINTED_MAX {
                self.console.result(line);
            } else if self.differences_shown == FAILURE_LINES_PRINTED_MAX + 1 {
                let more = "more differences are only counted; --combined FILE lists all";
                self.console.talk(&format!("{}: {more}", self.tool));
            }
        }
    }

    /// The next phase's counts add to those of this one.
    pub fn phase_ended(&mut self) {
        self.progress.phase_ended();
        self.flush_record();
        self.earlier = self.totals();
        self.latest.fill(Tally::default());
    }

    fn totals(&self) -> Tally {
        let mut totals = self.earlier;
        self.latest.iter().for_each(|tally| totals.add(tally));
        totals
    }

    /// The closing table, and whether all could be said.
    pub fn close(&mut self, summary: &Summary) -> Exit {
        if let Some(bar) = self.console.bar.take() {
            bar.finish_and_clear();
        }
        self.count_unshown(&summary.totals());
        if self.json {
            self.console.result(&json::event("summary", summary.to_json()));
        } else if !self.quiet
            && let Some(theirs) = &self.theirs
        {
            let text = theirs.summary(summary);
            self.say_theirs(&text);
            // Their tools have no words for how a job has ended.
            let own = summary.to_text(false);
            if let Some(verdict) = own.lines().last().filter(|_| summary.exit != Exit::Ok) {
                self.console.talk(verdict);
            }
        } else if !self.quiet && self.with_list_alone {
            self.console.talk(summary.to_text(self.verbose).trim_end());
        } else if !self.quiet {
            self.console.result(summary.to_text(self.verbose).as_bytes());
        }
        self.close_lists(&summary.totals());
        self.close_record(summary);
        if self.unwritten || self.console.output_failed { Exit::Reporting } else { Exit::Ok }
    }

    /// Gives complete lists their names.
    fn close_lists(&mut self, totals: &Tally) {
        let outputs = std::mem::take(&mut self.outputs).into_values();
        for list in self.list.take().into_iter().chain(outputs) {
            if totals.cancelled_tasks > 0 {
                self.withheld(list.target());
            } else if let Err(side_error) = list.commit(totals.failed) {
                self.unwritten(side_error);
            }
        }
    }

    /// Says something in words of mpiFileUtils, where its tools do.
    fn say_theirs(&mut self, text: &str) {
        if self.with_list_alone {
            self.console.talk(text.trim_end());
        } else {
            self.console.result(text.as_bytes());
        }
    }

    fn show_line(&mut self, totals: &Tally, errors: u64) {
        if self.json {
            let mut fields = self.progress.to_json(totals);
            fields["totals"] = json::tally(totals);
            self.console.result(&json::event("progress", fields));
        } else if let Some(theirs) = &self.theirs {
            let line = theirs.line(&self.progress, totals);
            self.say_theirs(&line);
        } else {
            self.console.talk(&self.progress.line(totals, errors));
        }
    }

    fn show_bar(&mut self, totals: &Tally, errors: u64) {
        let bar = self.console.bar.get_or_insert_with(|| progress::bar(self.tool));
        bar.set_position(self.progress.percent(totals).unwrap_or(0));
        bar.set_message(self.progress.body(totals, errors));
    }
}

/// Time between two looks at the progress.
const TICK: Duration = Duration::from_millis(250);

impl<J: Job<Event = Event, Snapshot = Tally> + ?Sized> Listener<J> for Reporter {
    fn event(&mut self, _from: Rank, event: Event) {
        match event {
            Event::Failure(failure) => self.failure(&failure),
            Event::LeftOut(entry) => drop(self.tell("skipped", &entry)),
            Event::Lines(lines) => self.lines(&lines),
            Event::Output(number, lines) => self.output(number, &lines),
            Event::Record(lines) => self.changes(&lines),
            Event::Differences(lines) => self.differences(&lines),
        }
    }

    fn progress(&mut self, from: Rank, snapshot: Tally) {
        if let Some(latest) = self.latest.get_mut(from.index()) {
            *latest = snapshot;
        }
    }

    fn finding(&mut self, from: Rank, finding: Finding) {
        self.progress.found(from, finding);
    }

    fn tick(&mut self) {
        let now = self.progress.elapsed();
        if now < self.tick_at {
            return;
        }
        self.tick_at = now + TICK;
        self.flush_record();
        let totals = self.totals();
        self.progress.note(&totals);
        if self.with_bar {
            self.show_bar(&totals, totals.failed + totals.vanished);
        } else if self.progress.is_due() {
            self.show_line(&totals, totals.failed + totals.vanished);
        }
    }
}
