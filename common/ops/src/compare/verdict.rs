//! The verdict on each entry, which is counted, listed and printed.

use super::buffers::Buffers;
use super::options::CompareOptions;
use super::prune::{HeldVerdict, Pruning};
use super::{CompareJob, Fields, Findings, Presence, Sides};
use crate::walk::account::Gathered;
use crate::walk::dir_ref::DirRef;
use crate::walk::list::collector::Listing;
use lists::rows::Rows;
use sched::context::TaskContext;
use types::entry::Kind;
use types::error::Side;
use types::limits::LINES_BLOCK_BYTES;
use types::listed::line::write_difference;
use types::listed::names::Names;
use types::listed::record::Record;
use types::outcome::event::Event;
use types::path::{self, Name};
use types::select::expression::Expression;

/// The state of one worker thread.
pub struct CompareWorker {
    pub(super) gathered: Gathered,
    pub(super) buffers: Buffers,
    /// The lines for each of the lists.
    outputs: Vec<Output>,
    names: Names,
    /// The lines about single differences.
    told: Vec<u8>,
}

impl AsMut<Gathered> for CompareWorker {
    fn as_mut(&mut self) -> &mut Gathered {
        &mut self.gathered
    }
}

#[derive(Default)]
struct Output {
    lines: Vec<u8>,
    rows: Rows,
}

impl CompareWorker {
    pub(super) fn new(options: &CompareOptions) -> Self {
        Self {
            gathered: Gathered::default(),
            buffers: Buffers::new(options.buffer_bytes),
            outputs: options.outputs.iter().map(|_| Output::default()).collect(),
            names: Names::default(),
            told: Vec::new(),
        }
    }

    /// Sends the lines to rank 0 when there are enough of them, or in any case if `all` is set.
    pub(super) fn send(&mut self, context: &TaskContext<'_, CompareJob<'_>>, all: bool) {
        let enough = if all { 1 } else { LINES_BLOCK_BYTES };
        self.gathered.send_lines(context, all);
        for (output, number) in self.outputs.iter_mut().zip(0..) {
            if output.lines.len() >= enough {
                context.report(&Event::Output(number, std::mem::take(&mut output.lines)));
            }
        }
        if self.told.len() >= enough {
            context.report(&Event::Differences(std::mem::take(&mut self.told)));
        }
    }
}

impl CompareJob<'_> {
    /// Gives the verdict on an entry, or holds it until it is known whether a directory counts. A
    /// directory itself has an empty name.
    pub(super) fn give_or_hold(
        &self,
        dir_ref: &DirRef,
        name: &Name,
        sides: Sides<'_>,
        findings: Findings,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) {
        let holds = |pruning: &Pruning| pruning.holds((dir_ref, name), sides, findings);
        if !self.pruning.as_ref().is_some_and(holds) {
            self.give(dir_ref, name, sides, findings, worker, context);
        }
    }

    /// Gives a verdict.
    pub(super) fn give(
        &self,
        dir_ref: &DirRef,
        name: &Name,
        sides: Sides<'_>,
        findings: Findings,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) {
        let counted = self.options.counted;
        worker.gathered.tally.compared.count(findings, counted);
        if findings.presence == Presence::OnlyTarget {
            worker.gathered.tally.examined += 1;
        }
        let differing = findings.counted(counted);
        let symbol = match findings.presence {
            Presence::OnlySource => '+',
            Presence::OnlyTarget => '-',
            Presence::Both if differing.is_empty() => '=',
            Presence::Both => '*',
        };
        self.combined_line(symbol, dir_ref, name.to_bytes(), differing, worker, context);
        if let Some(format) = self.options.tell
            && symbol != '='
        {
            let below = path::join(dir_ref.path().as_bytes(), name.to_bytes());
            write_difference(format, symbol, &below, differing, &mut worker.told);
        }
        self.list(dir_ref, name, sides, findings, worker);
        worker.send(context, false);
    }

    /// Gives the verdicts on directories with content.
    pub(super) fn give_held(
        &self,
        verdicts: &[HeldVerdict],
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) {
        for HeldVerdict { dir_ref, source, target, findings } in verdicts {
            let sides = (source.as_ref(), target.as_ref());
            self.give(dir_ref, c"", sides, *findings, worker, context);
        }
    }

    /// Adds a line to the stream that names every entry.
    pub(super) fn combined_line(
        &self,
        symbol: char,
        dir_ref: &DirRef,
        name: &[u8],
        differing: Fields,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) {
        if let Some(format) = self.options.combined {
            let below = path::join(dir_ref.path().as_bytes(), name);
            let lines = &mut worker.gathered.lines;
            write_difference(format, symbol, &below, differing, lines);
            worker.gathered.send_lines(context, false);
        }
    }

    fn list(
        &self,
        dir_ref: &DirRef,
        name: &Name,
        sides: Sides<'_>,
        findings: Findings,
        worker: &mut CompareWorker,
    ) {
        let (metadata, side) = match sides {
            (Some(source), _) => (source, Side::Source),
            (None, Some(target)) => (target, Side::Target),
            (None, None) => return,
        };
        let wanted = |(expression, _): &(Expression, _)| expression.holds(&findings);
        if !self.options.outputs.iter().any(wanted) {
            return;
        }
        let below = path::join(dir_ref.path().as_bytes(), name.to_bytes());
        let is_link = metadata.kind == Kind::Symlink;
        let target = is_link.then(|| self.target_of(dir_ref, name, side)).flatten();
        let (user, group) = (worker.names.user(metadata.uid), worker.names.group(metadata.gid));
        let path = path::join(self.root.shown(side), &below);
        let depth = dir_ref.path().depth() as u32 + u32::from(!name.is_empty());
        let record = Record {
            target: target.as_deref(),
            user: user.as_deref(),
            group: group.as_deref(),
            ..Record::new(&path, depth, metadata)
        };
        for (option, output) in self.options.outputs.iter().zip(&mut worker.outputs) {
            match option.1 {
                _ if !wanted(option) => {}
                Listing::Parquet => output.rows.push(&record),
                listing => listing.write(&record, &mut output.lines),
            }
        }
        self.settle_rows(worker, false);
    }

    /// Hands over rows of Parquet lists when there are enough of them, or in any case if `all` is
    /// set.
    pub(super) fn settle_rows(&self, worker: &mut CompareWorker, all: bool) {
        for (part, output) in self.parts.iter().zip(&mut worker.outputs) {
            if output.rows.are_enough() || (all && !output.rows.is_empty()) {
                part.append(&mut output.rows);
            }
        }
    }

    /// Returns the destination of a symbolic link for a list, or `None` if it can no longer be
    /// read.
    fn target_of(&self, dir_ref: &DirRef, name: &Name, side: Side) -> Option<Vec<u8>> {
        let dir = match side {
            Side::Source => dir_ref.source_dir(&*self.root.source),
            Side::Target => dir_ref.target_dir(&*self.root.target),
        };
        dir.and_then(|dir| dir.read_link(name)).ok()
    }
}
