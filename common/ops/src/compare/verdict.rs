//! The verdict on each entry, which is counted, listed and printed.

use super::content::Buffers;
use super::options::CompareOptions;
use super::{CompareJob, Fields, Findings, Presence};
use crate::walk::account::Gathered;
use crate::walk::list::harvest::Listing;
use crate::walk::place::Place;
use lists::rows::Rows;
use sched::crew::Crew;
use types::entry::{Kind, Metadata};
use types::error::Side;
use types::limits::LINES_BLOCK_BYTES;
use types::listed::line::write_difference;
use types::listed::names::Names;
use types::listed::record::Record;
use types::outcome::notice::Notice;
use types::path::{self, Name};
use types::select::expression::Expression;

/// The state of one worker thread.
pub struct CompareHand {
    pub(super) gathered: Gathered,
    pub(super) buffers: Buffers,
    /// The lines for each of the lists.
    outputs: Vec<Output>,
    names: Names,
    /// The lines about single differences.
    told: Vec<u8>,
}

#[derive(Default)]
struct Output {
    lines: Vec<u8>,
    rows: Rows,
}

impl CompareHand {
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
    pub(super) fn send(&mut self, crew: &Crew<'_, CompareJob<'_>>, all: bool) {
        let enough = if all { 1 } else { LINES_BLOCK_BYTES };
        self.gathered.send_lines(crew, all);
        for (output, number) in self.outputs.iter_mut().zip(0..) {
            if output.lines.len() >= enough {
                crew.report(&Notice::Output(number, std::mem::take(&mut output.lines)));
            }
        }
        if self.told.len() >= enough {
            crew.report(&Notice::Differences(std::mem::take(&mut self.told)));
        }
    }
}

/// The metadata of both sides of an entry, as far as they exist.
pub(super) type Sides<'m> = (Option<&'m Metadata>, Option<&'m Metadata>);

impl CompareJob<'_> {
    /// Gives the verdict on an entry. A directory itself has an empty name.
    pub(super) fn judge(
        &self,
        place: &Place,
        name: &Name,
        sides: Sides<'_>,
        findings: Findings,
        hand: &mut CompareHand,
        crew: &Crew<'_, Self>,
    ) {
        let counted = self.options.counted;
        hand.gathered.tally.compared.count(findings, counted);
        if findings.presence == Presence::OnlyTarget {
            hand.gathered.tally.examined += 1;
        }
        let differing = findings.counted(counted);
        let symbol = match findings.presence {
            Presence::OnlySource => '+',
            Presence::OnlyTarget => '-',
            Presence::Both if differing.is_empty() => '=',
            Presence::Both => '*',
        };
        self.combined_line(symbol, place, name.to_bytes(), differing, hand, crew);
        if let Some(format) = self.options.tell
            && symbol != '='
        {
            let below = path::join(place.path().as_bytes(), name.to_bytes());
            write_difference(format, symbol, &below, differing, &mut hand.told);
        }
        self.list(place, name, sides, findings, hand);
        hand.send(crew, false);
    }

    /// Adds a line to the stream that names every entry.
    pub(super) fn combined_line(
        &self,
        symbol: char,
        place: &Place,
        name: &[u8],
        differing: Fields,
        hand: &mut CompareHand,
        crew: &Crew<'_, Self>,
    ) {
        if let Some(format) = self.options.combined {
            let below = path::join(place.path().as_bytes(), name);
            let lines = &mut hand.gathered.lines;
            write_difference(format, symbol, &below, differing, lines);
            hand.gathered.send_lines(crew, false);
        }
    }

    fn list(
        &self,
        place: &Place,
        name: &Name,
        sides: Sides<'_>,
        findings: Findings,
        hand: &mut CompareHand,
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
        let below = path::join(place.path().as_bytes(), name.to_bytes());
        let is_link = metadata.kind == Kind::Symlink;
        let target = is_link.then(|| self.target_of(place, name, side)).flatten();
        let (user, group) = (hand.names.user(metadata.uid), hand.names.group(metadata.gid));
        let record = Record {
            path: &path::join(self.root.shown(side), &below),
            depth: place.path().depth() as u32 + u32::from(!name.is_empty()),
            metadata,
            target: target.as_deref(),
            user: user.as_deref(),
            group: group.as_deref(),
            crc64: None,
            digest: None,
        };
        for (option, output) in self.options.outputs.iter().zip(&mut hand.outputs) {
            match option.1 {
                _ if !wanted(option) => {}
                Listing::Parquet => output.rows.push(&record),
                listing => listing.write(&record, &mut output.lines),
            }
        }
        self.settle_rows(hand, false);
    }

    /// Hands over rows of Parquet lists when there are enough of them, or in any case if `all` is
    /// set.
    pub(super) fn settle_rows(&self, hand: &mut CompareHand, all: bool) {
        for (part, output) in self.parts.iter().zip(&mut hand.outputs) {
            if output.rows.are_enough() || (all && !output.rows.is_empty()) {
                part.append(&mut output.rows);
            }
        }
    }

    /// Returns the destination of a symbolic link for a list, or `None` if it can no longer be
    /// read.
    fn target_of(&self, place: &Place, name: &Name, side: Side) -> Option<Vec<u8>> {
        let dir = match side {
            Side::Source => place.source_dir(&*self.root.source),
            Side::Target => place.target_dir(&*self.root.target),
        };
        dir.and_then(|dir| dir.read_link(name)).ok()
    }
}
