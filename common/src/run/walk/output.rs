//! Outputs of a walk: the list, as lines through rank 0 or as one Parquet file a rank; statistics;
//! the report.

use std::collections::BTreeMap;
use std::io::Write;

use serde::{Deserialize, Serialize};

use super::WalkRequest;
use crate::run::outputs;
use crate::run::outputs::OutputError;
use crate::run::parts::PartLists;
use crate::surface::cli::CommonArgs;
use crate::surface::report::{self, About};
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::surface::summary::{Summary, UsageSummary};
use comm::Rank;
use comm::collective::{broadcast, reduce};
use comm::mailbox::{Channel, Mailbox};
use lists;
use lists::labels::PartOf;
use lists::part::PartWriter;
use lists::rows::Rows;
use lists::staged::{StagedDirectory, StagedFile};
use ops::sort::exchange;
use ops::sort::sort_buffer::SortBuffer;
use ops::usage::Usage;
use ops::walk::list::collector::{ListCollector, Listing};
use types::error::{Failure, Op};
use types::exit::Exit;
use types::limits::{LINES_BLOCK_BYTES, SORT_BLOCK_BYTES, SORT_BLOCKS_ASKED};
use types::listed::record::OwnedRecord;
use types::outcome::tally::Tally;

/// Outputs of a walk.
pub struct Outputs {
    lists: PartLists,
    /// The page, on rank 0.
    report: Option<StagedFile>,
    /// Temporary names and inodes of all of them, on all ranks.
    pub own_entries: Vec<(Vec<u8>, u64)>,
}

/// Makes the files and the directory that results go to: better now than after hours.
///
/// # Errors
/// The exit code, on all ranks, where one cannot be made; rank 0 has said why.
pub fn open(
    session: &mut Session<'_, '_>,
    request: &WalkRequest,
    args: &CommonArgs,
    reporter: &mut Reporter,
) -> Result<Outputs, Exit> {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let (mut report, mut own_entries) = (None, Vec::new());
    let made = is_root.then(|| {
        let list = try_open((request, args), (&mut report, &mut own_entries), reporter)?;
        Ok(vec![list])
    });
    let mut lists = PartLists::open(session, made, args.assume_shared, reporter)?;
    if let Some(part) = lists.only() {
        part.sorted = request.collector.sort.as_ref().map(|keys| keys.text.clone());
        part.roots = request.input.is_none().then_some(request.paths.len() as u32);
    }
    let own_entries = broadcast(session.mail, is_root.then_some(own_entries));
    Ok(Outputs { lists, report, own_entries })
}

fn try_open(
    (request, args): (&WalkRequest, &CommonArgs),
    (report, own): (&mut Option<StagedFile>, &mut Vec<(Vec<u8>, u64)>),
    reporter: &mut Reporter,
) -> Result<Option<StagedDirectory>, OutputError> {
    let WalkRequest { list, report: page, input, named, filters, .. } = request;
    let written: Vec<&[u8]> = list.iter().chain(page).map(Vec::as_slice).collect();
    let read: Vec<Vec<u8>> =
        input.iter().cloned().chain(outputs::inputs(named, filters, args)).collect();
    outputs::check(&written, &read)?;
    let create = |path: &Vec<u8>| StagedFile::create(path);
    *report = page.as_ref().map(create).transpose()?;
    own.extend(report.iter().filter_map(StagedFile::own_entry));
    let Some(list) = list else { return Ok(None) };
    match request.collector.listing {
        Listing::Parquet => {
            let made = StagedDirectory::create(list)?;
            own.push(made.own_entry());
            return Ok(Some(made));
        }
        listing @ (Listing::Lines(_) | Listing::Checksums(_) | Listing::Mfu) => {
            let file = create(list)?;
            own.extend(file.own_entry());
            // A checksum of the list that is replaced would be wrong when this one is there.
            own.extend(listing.checksum().and_then(|_| file.replaced_entry()));
            reporter.list_to(file, listing)?;
        }
        Listing::None => {}
    }
    Ok(None)
}

impl Outputs {
    /// Opens this rank's file of a list that is written as entries are found.
    ///
    /// # Errors
    /// The exit code, on all ranks, where it cannot be made; rank 0 has said why.
    pub fn first_part(
        &self,
        session: &mut Session<'_, '_>,
        request: &WalkRequest,
        reporter: &mut Reporter,
    ) -> Result<Option<PartWriter>, Exit> {
        if request.collector.sort.is_some() {
            return Ok(None);
        }
        Ok(self.lists.create(session, reporter)?.pop().flatten())
    }

    /// Writes what has to wait until everything is known, and names a Parquet list. The tally is
    /// that of this rank. Returns the page's file.
    pub fn finish_list(
        mut self,
        session: &mut Session<'_, '_>,
        request: &WalkRequest,
        collector: &ListCollector,
        tally: &Tally,
        reporter: &mut Reporter,
    ) -> Option<StagedFile> {
        let mut written = collector.finish_part(tally.failed);
        if request.collector.sort.is_some() && request.collector.listing != Listing::None {
            if session.mail.comm().rank() == Rank::ROOT {
                reporter.phase("sort");
            }
            let sorted = exchange::sort(collector.take_sort_buffer(), session.mail);
            match (request.collector.listing, self.lists.only()) {
                (Listing::Parquet, Some(part)) => {
                    written = write_part(&sorted, part, tally.failed);
                }
                (listing, _) => print_in_order(&sorted, listing, session.mail, reporter),
            }
        }
        let written: Vec<_> = written.err().into_iter().collect();
        self.lists.end(session, &written, tally, reporter);
        self.report
    }
}

fn records(sort_buffer: &SortBuffer) -> impl Iterator<Item = OwnedRecord> {
    let decode = |value| postcard::from_bytes(value).expect("it was packed by this build");
    sort_buffer.entries().map(move |(_, value)| decode(value))
}

fn write_part(sort_buffer: &SortBuffer, of: &PartOf, failed: u64) -> Result<(), Failure> {
    let mut part = PartWriter::create(of)?;
    let mut rows = Rows::default();
    for record in records(sort_buffer) {
        rows.push(&record.view());
        if rows.path_bytes() >= LINES_BLOCK_BYTES {
            part.append(&mut rows)?;
        }
    }
    part.append(&mut rows)?;
    part.finish(failed)
}

/// The ranks in a row give rank 0 their lines, in blocks and only when asked: it need not hold
/// them.
fn print_in_order(
    sort_buffer: &SortBuffer,
    listing: Listing,
    mail: &mut Mailbox<'_>,
    reporter: &mut Reporter,
) {
    let channel = mail.open();
    if mail.comm().rank() != Rank::ROOT {
        return answer(sort_buffer, listing, channel, mail);
    }
    for_each_block(sort_buffer, listing, |lines| reporter.lines(lines));
    for rank in (1..mail.comm().size()).map(Rank) {
        for _ in 0..SORT_BLOCKS_ASKED {
            mail.send(channel, rank, b"");
        }
        print_of(rank, channel, mail, reporter);
    }
}

/// Prints the blocks of a rank by their numbers: one may overtake another. The last one is empty.
fn print_of(rank: Rank, channel: Channel, mail: &mut Mailbox<'_>, reporter: &mut Reporter) {
    let (mut early, mut next) = (BTreeMap::new(), 0_u32);
    loop {
        while let Some(Block { lines, .. }) = early.remove(&next) {
            next += 1;
            if lines.is_empty() {
                return;
            }
            // More is under way while this is written.
            mail.send(channel, rank, b"");
            reporter.lines(&lines);
        }
        let (_, bytes) = mail.recv(channel);
        let block: Block = postcard::from_bytes(&bytes).unwrap_or_else(|error| {
            tracing::error!(%error, "message from a different build");
            mail.comm().abort(Exit::Bug)
        });
        early.insert(block.number, block);
    }
}

/// Lines on their way to rank 0.
#[derive(Serialize, Deserialize)]
struct Block {
    number: u32,
    lines: Vec<u8>,
}

fn answer(sort_buffer: &SortBuffer, listing: Listing, channel: Channel, mail: &mut Mailbox<'_>) {
    let mut number = 0;
    let mut send = |lines: &[u8]| {
        mail.recv(channel);
        let block = Block { number, lines: lines.to_vec() };
        let bytes = postcard::to_stdvec(&block).expect("plain values always serialise");
        mail.send(channel, Rank::ROOT, &bytes);
        number += 1;
    };
    for_each_block(sort_buffer, listing, &mut send);
    send(b"");
}

fn for_each_block(sort_buffer: &SortBuffer, listing: Listing, mut use_lines: impl FnMut(&[u8])) {
    let mut lines = Vec::new();
    for record in records(sort_buffer) {
        listing.write(&record.view(), &mut lines);
        if lines.len() >= SORT_BLOCK_BYTES {
            use_lines(&lines);
            lines.clear();
        }
    }
    if !lines.is_empty() {
        use_lines(&lines);
    }
}

/// The statistics of all ranks, on rank 0.
pub fn gather_usage(
    session: &mut Session<'_, '_>,
    collector: &ListCollector,
) -> Option<UsageSummary> {
    if !collector.options().usage.is_any() {
        return None;
    }
    let usage = reduce(session.mail, collector.take_usage(), Usage::merge)?;
    let below = usage.directories.below();
    Some(UsageSummary { usage, below })
}

/// Writes the page.
pub fn write_report(
    mut file: StagedFile,
    about: &About<'_>,
    summary: &Summary,
    reporter: &mut Reporter,
) {
    let Some(usage) = &summary.usage else { return };
    let page = report::page(about, summary, &usage.usage, &usage.below);
    let target = lists::as_path(file.target()).to_owned();
    let written = file
        .write_all(page.as_bytes())
        .map_err(|error| lists::io_failure(&target, Op::Write, &error))
        .and_then(|()| file.commit());
    if let Err(failure) = written {
        reporter.unwritten(failure);
    }
}
