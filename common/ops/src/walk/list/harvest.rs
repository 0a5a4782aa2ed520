//! What is done with each entry that a walk meets or a list holds: counting, statistics, listing,
//! keeping it for sorting. Only what was asked for is done.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::checksums::{self, Checksum};
use crate::sort::key::SortKeys;
use crate::sort::shelf::Shelf;
use crate::usage::options::UsageOptions;
use crate::usage::{Usage, Use};
use crate::walk::account::{Account, Gathered};
use lists::ndjson;
use lists::part::PartWriter;
use lists::rows::Rows;
use lists::shared_part::SharedPart;
use sched::crew::Crew;
use sched::job::Job;
use types::entry::Metadata;
use types::error::Failure;
use types::listed::line::{LineFormat, write_record};
use types::listed::names::Names;
use types::listed::record::{Record, trimmed};
use types::lustre::layout::Layout;
use types::outcome::difference::Fields;
use types::outcome::notice::Notice;

/// How entries are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listing {
    /// Not at all.
    None,
    /// As lines, which go to rank 0.
    Lines(LineFormat),
    /// Files alone, with their checksums, as lines, which go to rank 0.
    Checksums(Checksum),
    /// As a Parquet directory, of which each rank writes a part.
    Parquet,
}

impl Listing {
    /// What the name of a list asks for.
    pub fn of_file(name: &[u8]) -> Self {
        if trimmed(name).ends_with(b".parquet") {
            Self::Parquet
        } else {
            Self::Lines(LineFormat::of_file(name))
        }
    }

    /// Appends an entry, where it has a line.
    pub fn write(self, record: &Record<'_>, lines: &mut Vec<u8>) {
        match self {
            Self::Lines(format) => write_record(format, record, lines),
            Self::Checksums(_) => checksums::write_record(record, lines),
            Self::None | Self::Parquet => {}
        }
    }

    /// The last line of a list of lines, where it needs one: it is empty, or lacks `failed` entries.
    pub fn end_line(self, is_empty: bool, failed: u64) -> Option<String> {
        match self {
            Self::Lines(LineFormat::Ndjson) => ndjson::end_line(is_empty, failed),
            Self::Checksums(checksum) => checksum.end_line(failed),
            Self::None | Self::Lines(LineFormat::Text) | Self::Parquet => None,
        }
    }

    /// Checksum of files that it has.
    pub fn checksum(self) -> Option<Checksum> {
        match self {
            Self::Checksums(checksum) => Some(checksum),
            Self::None | Self::Lines(_) | Self::Parquet => None,
        }
    }
}

/// What is wanted of the entries besides their number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HarvestOptions {
    /// A list.
    pub listing: Listing,
    /// Statistics.
    pub usage: UsageOptions,
    /// The list in this order: then it is written when everything is known.
    pub sort: Option<SortKeys>,
}

impl HarvestOptions {
    fn wants_names(&self) -> bool {
        self.wants_targets() || self.usage.owners
    }

    /// Where symbolic links point is needed.
    pub fn wants_targets(&self) -> bool {
        matches!(self.listing, Listing::Lines(_) | Listing::Parquet)
    }
}

/// What one rank gathers.
pub struct Harvest {
    options: HarvestOptions,
    /// Counts and failures.
    pub account: Account,
    wants_records: bool,
    usage: Mutex<Usage>,
    part: SharedPart,
    shelf: Mutex<Shelf>,
}

/// What one thread gathers.
pub struct HarvestHand {
    /// Counts and lines.
    pub gathered: Gathered,
    names: Names,
    usage: Usage,
    usage_waits: bool,
    rows: Rows,
    shelf: Shelf,
    key: Vec<u8>,
    /// For content that is read.
    pub buffer: Vec<u8>,
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Harvest {
    /// Nothing yet. `part` is where a Parquet list goes that is not sorted.
    pub fn new(options: &HarvestOptions, part: Option<PartWriter>) -> Self {
        Self {
            options: options.clone(),
            account: Account::default(),
            wants_records: options.listing != Listing::None || options.usage.is_any(),
            usage: Mutex::new(Usage::new(&options.usage)),
            part: SharedPart::new(part),
            shelf: Mutex::default(),
        }
    }

    /// Whether anything but the attributes of entries is needed.
    pub fn wants_records(&self) -> bool {
        self.wants_records
    }

    /// What was asked for.
    pub fn options(&self) -> &HarvestOptions {
        &self.options
    }

    /// For one thread.
    pub fn hand(&self) -> HarvestHand {
        HarvestHand {
            gathered: Gathered::default(),
            names: Names::default(),
            usage: Usage::new(&self.options.usage),
            usage_waits: false,
            rows: Rows::default(),
            shelf: Shelf::default(),
            key: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Takes an entry in, counted or not yet.
    pub fn meet<J: Job<Notice = Notice> + ?Sized>(
        &self,
        record: &Record<'_>,
        hand: &mut HarvestHand,
        crew: &Crew<'_, J>,
    ) {
        hand.gathered.meet(record.metadata);
        if !self.wants_records {
            return;
        }
        let (mut user, mut group) = (None, None);
        if self.options.wants_names() {
            let metadata = record.metadata;
            let unnamed = |name: Option<&str>, id| name.is_none() && metadata.known.contains(id);
            if unnamed(record.user, Fields::UID) {
                user = hand.names.user(metadata.uid);
            }
            if unnamed(record.group, Fields::GID) {
                group = hand.names.group(metadata.gid);
            }
        }
        let record = Record {
            user: record.user.or(user.as_deref()),
            group: record.group.or(group.as_deref()),
            ..*record
        };
        if self.options.usage.is_any() {
            hand.usage.meet(&record);
            hand.usage_waits = true;
            if hand.usage.directories.is_full() {
                self.settle_usage(hand);
            }
        }
        self.list(&record, hand, crew);
    }

    /// Takes in how a file is striped.
    pub fn meet_layout(metadata: &Metadata, layout: Option<&Layout>, hand: &mut HarvestHand) {
        hand.usage.striped.count(layout, &Use::of(metadata));
        hand.usage_waits = true;
    }

    fn list<J: Job<Notice = Notice> + ?Sized>(
        &self,
        record: &Record<'_>,
        hand: &mut HarvestHand,
        crew: &Crew<'_, J>,
    ) {
        match (&self.options.sort, self.options.listing) {
            (_, Listing::None) => {}
            (Some(keys), _) => {
                hand.key.clear();
                keys.write(record, &mut hand.key);
                let value =
                    postcard::to_stdvec(&record.to_owned()).expect("plain values always serialise");
                hand.shelf.push(&hand.key, &value);
                if hand.shelf.is_block() {
                    lock(&self.shelf).append(std::mem::take(&mut hand.shelf));
                }
            }
            (None, listing @ (Listing::Lines(_) | Listing::Checksums(_))) => {
                listing.write(record, &mut hand.gathered.lines);
                hand.gathered.send_lines(crew, false);
            }
            (None, Listing::Parquet) => {
                hand.rows.push(record);
                if hand.rows.are_enough() {
                    self.part.append(&mut hand.rows);
                }
            }
        }
    }

    fn settle_usage(&self, hand: &mut HarvestHand) {
        if std::mem::take(&mut hand.usage_waits) {
            let gathered = std::mem::replace(&mut hand.usage, Usage::new(&self.options.usage));
            lock(&self.usage).merge(gathered);
        }
    }

    /// Hands over what a thread has gathered.
    pub fn flush<J: Job<Notice = Notice> + ?Sized>(
        &self,
        hand: &mut HarvestHand,
        crew: &Crew<'_, J>,
    ) {
        self.account.settle(&mut hand.gathered);
        hand.gathered.send_lines(crew, true);
        self.settle_usage(hand);
        if !hand.rows.is_empty() {
            self.part.append(&mut hand.rows);
        }
        if !hand.shelf.is_empty() {
            lock(&self.shelf).append(std::mem::take(&mut hand.shelf));
        }
    }

    /// Ends this rank's part of the list, which lacks so many entries.
    ///
    /// # Errors
    /// Why not all of it was written.
    pub fn finish_part(&self, failed: u64) -> Result<(), Failure> {
        self.part.finish(failed)
    }

    /// This rank's statistics.
    pub fn take_usage(&self) -> Usage {
        std::mem::replace(&mut *lock(&self.usage), Usage::new(&UsageOptions::default()))
    }

    /// What this rank has kept to be sorted.
    pub fn take_shelf(&self) -> Shelf {
        std::mem::take(&mut *lock(&self.shelf))
    }
}
