//! Where results go: the list, as lines through rank 0 or as one Parquet file a rank; statistics; the
//! report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Start, WalkRequest};
use crate::base::error::{Failure, Op};
use crate::base::exit::Exit;
use crate::base::limits::{LINES_BLOCK_BYTES, SORT_BLOCK_BYTES, SORT_BLOCKS_ASKED};
use crate::base::path;
use crate::comm::Rank;
use crate::comm::collective::{gather, reduce};
use crate::comm::mailbox::{Channel, Mailbox};
use crate::lists;
use crate::lists::part::{PartOf, PartWriter};
use crate::lists::rows::Rows;
use crate::model::line::{LineFormat, write_record};
use crate::model::record::OwnedRecord;
use crate::run::create;
use crate::sort::exchange;
use crate::sort::shelf::Shelf;
use crate::surface::report::{self, About};
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::surface::summary::{Summary, UsageSummary};
use crate::usage::Usage;
use crate::walk::list::harvest::{Harvest, Listing};

/// Makes, on rank 0, the files and the directory that results go to: better now than after hours.
pub fn open(request: &WalkRequest, reporter: &mut Reporter) -> bool {
    let opened = open_list(request, reporter).and_then(|()| match &request.report {
        Some(report) => create(report).map(drop),
        None => Ok(()),
    });
    if let Err(text) = &opened {
        reporter.refuse(text);
    }
    opened.is_ok()
}

fn open_list(request: &WalkRequest, reporter: &mut Reporter) -> Result<(), String> {
    let Some(list) = &request.list else { return Ok(()) };
    let real = |path: &[u8]| std::fs::canonicalize(lists::as_path(path)).ok();
    if request
        .input
        .as_ref()
        .is_some_and(|input| real(input).is_some_and(|it| real(list) == Some(it)))
    {
        return Err(format!(
            "\"{}\" is both the list to read and the one to write",
            path::escaped(list)
        ));
    }
    match request.harvest.listing {
        Listing::Parquet => lists::make_directory(list).map_err(|failure| failure.to_string()),
        _ => create(list).map(|file| reporter.list_to(list, file)),
    }
}

fn part_of(session: &Session<'_, '_>, request: &WalkRequest, start: &Start) -> PartOf {
    PartOf {
        list: request.list.clone().unwrap_or_default(),
        id: start.list_id.clone(),
        part: session.mail.comm().rank().0,
        parts: session.mail.comm().size(),
        sorted: request.harvest.sort.as_ref().map(|keys| keys.text.clone()),
    }
}

/// This rank's file of a list that is written as entries are met.
pub fn first_part(
    session: &mut Session<'_, '_>,
    request: &WalkRequest,
    start: &Start,
    reporter: &mut Reporter,
) -> Result<Option<PartWriter>, Exit> {
    if request.harvest.listing != Listing::Parquet || request.harvest.sort.is_some() {
        return Ok(None);
    }
    let created = PartWriter::create(&part_of(session, request, start));
    let troubles = gather(session.mail, &created.as_ref().err().cloned());
    let first = troubles.map(|troubles| troubles.into_iter().flatten().next());
    if let Some(Some(failure)) = &first {
        reporter.refuse(&failure.to_string());
    }
    let is_open = crate::comm::collective::broadcast(session.mail, first.map(|it| it.is_none()));
    if is_open { Ok(created.ok()) } else { Err(Exit::Unusable) }
}

/// Writes what has to wait until everything is known.
pub fn finish_list(
    session: &mut Session<'_, '_>,
    request: &WalkRequest,
    harvest: &Harvest,
    start: &Start,
    reporter: &mut Reporter,
) {
    let mut written = harvest.finish_part();
    if request.harvest.sort.is_some() && request.harvest.listing != Listing::None {
        if session.mail.comm().rank() == Rank::ROOT {
            reporter.phase("sort");
        }
        let shelf = exchange::sort(harvest.take_shelf(), session.mail);
        match request.harvest.listing {
            Listing::Lines(format) => print_in_order(&shelf, format, session.mail, reporter),
            _ => written = write_part(&shelf, &part_of(session, request, start)),
        }
    }
    let troubles = gather(session.mail, &written.err());
    for failure in troubles.into_iter().flatten().flatten() {
        reporter.unwritten(&failure.to_string());
    }
}

fn records(shelf: &Shelf) -> impl Iterator<Item = OwnedRecord> {
    let decode = |value| postcard::from_bytes(value).expect("it was packed by this build");
    shelf.entries().map(move |(_, value)| decode(value))
}

fn write_part(shelf: &Shelf, of: &PartOf) -> Result<(), Failure> {
    let mut part = PartWriter::create(of)?;
    let mut rows = Rows::default();
    for record in records(shelf) {
        rows.push(&record.view());
        if rows.path_bytes() >= LINES_BLOCK_BYTES {
            part.append(&mut rows)?;
        }
    }
    part.append(&mut rows)?;
    part.finish()
}

/// The ranks in a row give rank 0 their lines, in blocks and only when asked: it need not hold them.
fn print_in_order(
    shelf: &Shelf,
    format: LineFormat,
    mail: &mut Mailbox<'_>,
    reporter: &mut Reporter,
) {
    let channel = mail.open();
    if mail.comm().rank() != Rank::ROOT {
        return answer(shelf, format, channel, mail);
    }
    for_each_block(shelf, format, |lines| reporter.lines(lines));
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
            tracing::error!(%error, "message that this build did not write");
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

fn answer(shelf: &Shelf, format: LineFormat, channel: Channel, mail: &mut Mailbox<'_>) {
    let mut number = 0;
    let mut send = |lines: &[u8]| {
        mail.recv(channel);
        let block = Block { number, lines: lines.to_vec() };
        let bytes = postcard::to_stdvec(&block).expect("plain values always serialise");
        mail.send(channel, Rank::ROOT, &bytes);
        number += 1;
    };
    for_each_block(shelf, format, &mut send);
    send(b"");
}

fn for_each_block(shelf: &Shelf, format: LineFormat, mut use_lines: impl FnMut(&[u8])) {
    let mut lines = Vec::new();
    for record in records(shelf) {
        write_record(format, &record.view(), &mut lines);
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
pub fn gather_usage(session: &mut Session<'_, '_>, harvest: &Harvest) -> Option<UsageSummary> {
    if !harvest.options().usage.is_any() {
        return None;
    }
    let usage = reduce(session.mail, harvest.take_usage(), Usage::merge)?;
    let below = usage.directories.below();
    Some(UsageSummary { usage, below })
}

/// Writes the page.
pub fn write_report(
    request: &WalkRequest,
    shown: &[Vec<u8>],
    start: &Start,
    summary: &Summary,
    reporter: &mut Reporter,
) {
    let (Some(path), Some(usage)) = (&request.report, &summary.usage) else { return };
    let about =
        About { roots: shown, is_list: request.input.is_some(), now_seconds: start.now_seconds };
    let page = report::page(&about, summary, &usage.usage, &usage.below);
    if let Err(error) = std::fs::write(lists::as_path(path), page) {
        reporter.unwritten(&lists::io_failure(lists::as_path(path), Op::Write, &error).to_string());
    }
}
