//! The collector of entries that a walk meets or a list holds. It counts them, adds them to the
//! statistics, lists them, or stores them for sorting, as requested.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::checksums::{self, Checksum};
use crate::sort::key::SortKeys;
use crate::sort::sort_buffer::SortBuffer;
use crate::usage::options::UsageOptions;
use crate::usage::{Usage, Use};
use crate::walk::account::{Account, Gathered};
use lists::mfu;
use lists::ndjson;
use lists::part::PartWriter;
use lists::rows::Rows;
use lists::shared_part::SharedPart;
use sched::context::TaskContext;
use sched::job::Job;
use types::entry::Metadata;
use types::error::Failure;
use types::listed::line::{LineFormat, UnknownEnding, check_ending, write_record};
use types::listed::names::Names;
use types::listed::record::{Record, trimmed};
use types::lustre::layout::Layout;
use types::outcome::difference::Fields;
use types::outcome::event::Event;

/// The format of a list of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listing {
    /// Entries are not listed.
    None,
    /// Lines, which are sent to rank 0.
    Lines(LineFormat),
    /// Files alone with their checksums, as lines that are sent to rank 0.
    Checksums(Checksum),
    /// A directory of Parquet files, one for each rank.
    Parquet,
    /// The binary format of mpiFileUtils, whose entries are sent to rank 0.
    Mfu,
}

impl Listing {
    /// Checks that the ending of a file name does not stand for a format that no list has.
    ///
    /// # Errors
    /// Fails for an unknown ending, and names the known ones.
    pub fn check_name(name: &[u8]) -> Result<(), UnknownEnding> {
        let name = trimmed(name);
        match Self::of_file(name) {
            Self::Lines(LineFormat::Text) => check_ending(name, &[".parquet", ".mfu"]),
            _ => Ok(()),
        }
    }

    /// Returns the format of a list by its file name.
    pub fn of_file(name: &[u8]) -> Self {
        if trimmed(name).ends_with(b".parquet") {
            Self::Parquet
        } else if name.ends_with(b".mfu") {
            Self::Mfu
        } else {
            Self::Lines(LineFormat::of_file(name))
        }
    }

    /// Appends an entry to the lines of a list, if the format has a line for it.
    pub fn write(self, record: &Record<'_>, lines: &mut Vec<u8>) {
        match self {
            Self::Lines(format) => write_record(format, record, lines),
            Self::Checksums(_) => checksums::write_record(record, lines),
            Self::Mfu => mfu::write::encode(record, lines),
            Self::None | Self::Parquet => {}
        }
    }

    /// Returns the last line of a list, if the format needs one to mark an empty list, or one that
    /// lacks `failed` entries.
    pub fn end_line(self, is_empty: bool, failed: u64) -> Option<String> {
        match self {
            Self::Lines(LineFormat::Ndjson) => ndjson::end_line(is_empty, failed),
            Self::Checksums(checksum) => checksum.end_line(failed),
            Self::None | Self::Lines(_) | Self::Parquet | Self::Mfu => None,
        }
    }

    /// Returns the algorithm of the checksums in the list, if it has any.
    pub fn checksum(self) -> Option<Checksum> {
        match self {
            Self::Checksums(checksum) => Some(checksum),
            Self::None | Self::Lines(_) | Self::Parquet | Self::Mfu => None,
        }
    }
}

/// The processing of entries beyond counting them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorOptions {
    /// The format of the list.
    pub listing: Listing,
    /// The statistics to gather.
    pub usage: UsageOptions,
    /// The order of the list. A sorted list is written when all entries are known.
    pub sort: Option<SortKeys>,
}

impl CollectorOptions {
    fn wants_names(&self) -> bool {
        self.wants_targets() || self.listing == Listing::Mfu || self.usage.owners
    }

    /// Returns whether the list contains the destinations of symbolic links.
    pub fn wants_targets(&self) -> bool {
        matches!(self.listing, Listing::Lines(_) | Listing::Parquet)
    }
}

/// The data that one rank collects.
pub struct ListCollector {
    options: CollectorOptions,
    /// The counts and failures.
    pub account: Account,
    wants_records: bool,
    usage: Mutex<Usage>,
    part: SharedPart,
    sort_buffer: Mutex<SortBuffer>,
}

/// The data that one thread collects.
pub struct CollectorWorker {
    /// The counts and lines.
    pub gathered: Gathered,
    names: Names,
    usage: Usage,
    usage_waits: bool,
    rows: Rows,
    sort_buffer: SortBuffer,
    key: Vec<u8>,
    /// The buffer for reading content.
    pub buffer: Vec<u8>,
}

impl AsMut<Gathered> for CollectorWorker {
    fn as_mut(&mut self) -> &mut Gathered {
        &mut self.gathered
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ListCollector {
    /// Creates an empty collector. `part` receives a Parquet list that is not sorted.
    pub fn new(options: &CollectorOptions, part: Option<PartWriter>) -> Self {
        Self {
            options: options.clone(),
            account: Account::default(),
            wants_records: options.listing != Listing::None || options.usage.is_any(),
            usage: Mutex::new(Usage::new(&options.usage)),
            part: SharedPart::new(part),
            sort_buffer: Mutex::default(),
        }
    }

    /// Returns whether entries are needed beyond counting them.
    pub fn wants_records(&self) -> bool {
        self.wants_records
    }

    /// Returns the options.
    pub fn options(&self) -> &CollectorOptions {
        &self.options
    }

    /// Creates the data of one thread.
    pub fn worker(&self) -> CollectorWorker {
        CollectorWorker {
            gathered: Gathered::default(),
            names: Names::default(),
            usage: Usage::new(&self.options.usage),
            usage_waits: false,
            rows: Rows::default(),
            sort_buffer: SortBuffer::default(),
            key: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Adds an entry to everything that was requested.
    pub fn meet<J: Job<Event = Event> + ?Sized>(
        &self,
        record: &Record<'_>,
        worker: &mut CollectorWorker,
        context: &TaskContext<'_, J>,
    ) {
        worker.gathered.meet(record.metadata);
        if !self.wants_records {
            return;
        }
        let (mut user, mut group) = (None, None);
        if self.options.wants_names() {
            let metadata = record.metadata;
            let unnamed = |name: Option<&str>, id| name.is_none() && metadata.known.contains(id);
            if unnamed(record.user, Fields::UID) {
                user = worker.names.user(metadata.uid);
            }
            if unnamed(record.group, Fields::GID) {
                group = worker.names.group(metadata.gid);
            }
        }
        let record = Record {
            user: record.user.or(user.as_deref()),
            group: record.group.or(group.as_deref()),
            ..*record
        };
        if self.options.usage.is_any() {
            worker.usage.meet(&record);
            worker.usage_waits = true;
            if worker.usage.directories.is_full() {
                self.settle_usage(worker);
            }
        }
        self.list(&record, worker, context);
    }

    /// Adds the layout of a file on Lustre to the statistics.
    pub fn meet_layout(metadata: &Metadata, layout: Option<&Layout>, worker: &mut CollectorWorker) {
        worker.usage.striped.count(layout, &Use::of(metadata));
        worker.usage_waits = true;
    }

    /// Adds an entry to the list: to the sort buffer, the lines, or the rows.
    fn list<J: Job<Event = Event> + ?Sized>(
        &self,
        record: &Record<'_>,
        worker: &mut CollectorWorker,
        context: &TaskContext<'_, J>,
    ) {
        match (&self.options.sort, self.options.listing) {
            (_, Listing::None) => {}
            (Some(keys), _) => {
                worker.key.clear();
                keys.write(record, &mut worker.key);
                let value =
                    postcard::to_stdvec(&record.to_owned()).expect("plain values always serialise");
                worker.sort_buffer.push(&worker.key, &value);
                if worker.sort_buffer.is_block() {
                    lock(&self.sort_buffer).append(std::mem::take(&mut worker.sort_buffer));
                }
            }
            (None, listing @ (Listing::Lines(_) | Listing::Checksums(_) | Listing::Mfu)) => {
                listing.write(record, &mut worker.gathered.lines);
                worker.gathered.send_lines(context, false);
            }
            (None, Listing::Parquet) => {
                worker.rows.push(record);
                if worker.rows.are_enough() {
                    self.part.append(&mut worker.rows);
                }
            }
        }
    }

    fn settle_usage(&self, worker: &mut CollectorWorker) {
        if std::mem::take(&mut worker.usage_waits) {
            let gathered = std::mem::replace(&mut worker.usage, Usage::new(&self.options.usage));
            lock(&self.usage).merge(gathered);
        }
    }

    /// Reports a list, or a part of it, that cannot be read.
    pub fn list_failed<J: Job<Event = Event> + ?Sized>(
        &self,
        failure: Failure,
        worker: &mut CollectorWorker,
        context: &TaskContext<'_, J>,
    ) {
        worker.gathered.tally.unread_directories += 1;
        self.account.fail(failure, &mut worker.gathered, context);
    }

    /// Hands over what a thread has collected.
    pub fn flush<J: Job<Event = Event> + ?Sized>(
        &self,
        worker: &mut CollectorWorker,
        context: &TaskContext<'_, J>,
    ) {
        self.account.flush(&mut worker.gathered, context);
        self.settle_usage(worker);
        if !worker.rows.is_empty() {
            self.part.append(&mut worker.rows);
        }
        if !worker.sort_buffer.is_empty() {
            lock(&self.sort_buffer).append(std::mem::take(&mut worker.sort_buffer));
        }
    }

    /// Completes this rank's part of a Parquet list, which lacks `failed` entries.
    ///
    /// # Errors
    /// Returns the reason why not everything was written.
    pub fn finish_part(&self, failed: u64) -> Result<(), Failure> {
        self.part.finish(failed)
    }

    /// Returns this rank's statistics, and resets them.
    pub fn take_usage(&self) -> Usage {
        std::mem::replace(&mut *lock(&self.usage), Usage::new(&UsageOptions::default()))
    }

    /// Returns the entries that this rank has stored for sorting.
    pub fn take_sort_buffer(&self) -> SortBuffer {
        std::mem::take(&mut *lock(&self.sort_buffer))
    }
}
