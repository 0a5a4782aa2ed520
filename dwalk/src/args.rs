//! The command line of dwalk.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{Parser, ValueEnum};
use common::run::walk::WalkRequest;
use common::surface::cli::{CommonArgs, after_long_help};
use common::surface::filter_args::FilterArgs;
use common::surface::limit_args::bandwidth;
use common::surface::local_path::local_path;
use common::surface::named_args::{FilesFromArgs, NamedArgs};
use common::surface::session::ToolArgs;
use ops::sort::key::SortKeys;
use ops::usage::options::{Distribution, UsageOptions};
use ops::walk::list::ObjectFacts;
use ops::walk::list::checksums::Checksum;
use ops::walk::list::collector::{CollectorOptions, Listing};
use serde::{Deserialize, Serialize};
use store::opening::Symlinks;
use types::limits;
use types::listed::line::{LineFormat, UnknownEnding};
use types::listed::record;

/// Count, and list, what is in directory trees, in parallel over all ranks of an MPI job.
#[derive(Debug, Parser, Serialize, Deserialize)]
#[command(name = "dwalk", after_help = EXAMPLES,
    after_long_help = after_long_help(EXAMPLES, ENVIRONMENT, EXIT_CODES), max_term_width = 100)]
pub struct Args {
    /// Directories or files to walk; the current directory if none is named
    ///
    /// A symbolic link on the command line stands for what it points to, a directory or a file; a
    /// dangling link is an entry itself, but with -L an error.
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,

    /// List the entries on standard output
    #[arg(short, long, conflicts_with = "output")]
    print: bool,

    /// Write the list to FILE, or - for standard output
    ///
    /// FILE.ndjson is one JSON object a line, FILE.parquet a directory with one Parquet file a
    /// rank, for DuckDB, pandas and Polars; FILE.mfu is a binary list of mpiFileUtils; FILE.txt, or
    /// a name without ending, is text.
    #[arg(short, long, value_name = "FILE", value_parser = local_path())]
    output: Option<OsString>,

    /// Read LIST, written by dwalk -o, instead of walking
    #[arg(short, long, value_name = "LIST", value_parser = local_path(), conflicts_with = "paths")]
    input: Option<OsString>,

    /// Format of the list: text, ndjson (the default for FILE.ndjson and with --json), parquet (the
    /// default for FILE.parquet), mfu (for FILE.mfu), or mfu-text, the columns of mpiFileUtils'
    /// dwalk
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,

    /// List as text; the same as --format=text
    #[arg(short, long, conflicts_with = "format")]
    text: bool,

    /// Sort the list by these fields, over all ranks: -size,name
    ///
    /// name, user, group, uid, gid, atime, mtime, ctime, size; a leading "-" sorts in descending
    /// order. Each rank keeps its share in memory.
    #[arg(short, long, value_name = "[-]FIELD,…", allow_hyphen_values = true)]
    sort: Option<SortKeys>,

    /// List checksums of files instead, in the format of sha256sum, b3sum, md5sum and rclone
    ///
    /// Writes a line for each regular file, with its path relative to the one PATH: check with (cd
    /// COPY && sha256sum -c FILE), or rclone check --checkfile sha256 FILE COPY. Files are
    /// distributed over ranks and threads; each file is read by one thread. Objects that have a
    /// SHA-256 stored with them are not read.
    #[arg(long, value_name = "WHICH", value_enum, conflicts_with_all = ["input", "format", "text"])]
    checksum: Option<WhichChecksum>,

    /// Follow symbolic links
    #[arg(short = 'L', long)]
    dereference: bool,

    /// Count items by size: empty, up to 1 KiB, 1 MiB, … and the largest one
    #[arg(short, long = "file_histogram", alias = "file-histogram", help_heading = "Statistics")]
    file_histogram: bool,

    /// Count items by size or age: size:0,4K,1M or age:1d,30d,1y
    ///
    /// Each bin includes its upper separator; the last one is open. The age is the time since
    /// mtime; "age" alone has the usual steps. May be repeated.
    #[arg(short, long, value_name = "FIELD:SEPARATORS", help_heading = "Statistics")]
    distribution: Vec<Distribution>,

    /// Sum up usage by user, group, depth and directory
    #[arg(short, long, help_heading = "Statistics")]
    usage: bool,

    /// Report the N largest files, and the N largest directories with their contents
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::TOP_MAX)),
        help_heading = "Statistics"
    )]
    top: Option<u32>,

    /// Count files by stripe count and pool, on Lustre; one request per file
    #[arg(long, conflicts_with = "input", help_heading = "Statistics")]
    striping: bool,

    /// Write all statistics to FILE as one HTML page with charts
    #[arg(long, value_name = "FILE.html", value_parser = local_path(), help_heading = "Statistics")]
    report: Option<OsString>,

    /// Read mode, owner and timestamps from each object's metadata, one request per object. By
    /// default objects have the size and time of their listing, and symbolic links in AWS's form
    /// are files
    #[arg(long, help_heading = "S3")]
    s3_stored_attributes: bool,

    #[command(flatten)]
    filters: FilterArgs,

    #[command(flatten)]
    files: FilesFromArgs,

    #[command(flatten)]
    pub common: CommonArgs,

    /// Limit the bytes per second that the whole job reads for --checksum, such as 50M
    ///
    /// The ranks that have work share the limit. A number without a unit is in KiB.
    #[arg(long, value_name = "RATE", value_parser = bandwidth, help_heading = "Tuning")]
    bwlimit: Option<String>,
}

/// See `Checksum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum WhichChecksum {
    Sha256,
    Blake3,
    Md5,
}

impl From<WhichChecksum> for Checksum {
    fn from(which: WhichChecksum) -> Self {
        match which {
            WhichChecksum::Sha256 => Self::Sha256,
            WhichChecksum::Blake3 => Self::Blake3,
            WhichChecksum::Md5 => Self::Md5,
        }
    }
}

/// See `Listing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum Format {
    Text,
    Ndjson,
    Parquet,
    Mfu,
    MfuText,
}

const EXAMPLES: &str = "\
Examples:
  mpiexec -n 64 dwalk /lustre/project                   how many entries, how many bytes
  dwalk -p src                                          list them
  mpiexec -n 64 dwalk -o list.parquet /lustre/project   a list for DuckDB, pandas, Polars
  mpiexec -n 8 dwalk -i list.parquet -f --top 20        statistics of that list, later
  mpiexec -n 64 dwalk --report usage.html /lustre       where the space has gone, as a page
  dwalk -p --sort -size,name src                        the largest first
  mpiexec -n 8 dwalk --checksum sha256 -o SUMS src      for (cd COPY && sha256sum -c SUMS)";

const ENVIRONMENT: &str = "DWALK_THREADS=16";

const EXIT_CODES: &str = "\
0 all read, 2 usage, 3 nothing could be walked, 23 some could not be read,
24 some vanished, 70 bug, 74 results could not be written";

impl ToolArgs for Args {
    const SHORT_HELP: &'static [&'static str] = &[
        "print",
        "output",
        "input",
        "sort",
        "dereference",
        "distribution",
        "usage",
        "top",
        "report",
    ];

    fn common(&self) -> &CommonArgs {
        &self.common
    }

    fn bwlimit(&self) -> Option<&str> {
        self.bwlimit.as_deref()
    }
}

/// Arguments that do not go together.
#[derive(Debug, thiserror::Error)]
pub enum Conflict {
    #[error("a Parquet list needs a name: -o LIST.parquet")]
    ParquetPrinted,
    #[error("a list of mpiFileUtils needs a name: -o LIST.mfu")]
    MfuPrinted,
    #[error(transparent)]
    Ending(#[from] UnknownEnding),
    #[error("--sort is for a list: add --print or --output FILE")]
    SortWithoutList,
    #[error("--files-from names entries of one PATH; name one")]
    SeveralPaths,
    #[error("--checksum makes a list: add --print or --output FILE")]
    ChecksumWithoutList,
    #[error("--checksum counts paths from one PATH; name one")]
    ChecksumOfSeveral,
    #[error("--json prints events, and --checksum lines for other tools: add --output FILE")]
    ChecksumAndJson,
    #[error("--checksum writes lines for other tools, neither Parquet nor JSON: use another name")]
    ChecksumInTable,
}

impl Args {
    /// Request of these arguments.
    ///
    /// # Errors
    /// Returns which of them do not go together.
    pub fn request(&self) -> Result<WalkRequest, Conflict> {
        let listing = self.listing();
        let is_printed = self.output.as_ref().is_none_or(|file| file == "-");
        match (listing, &self.output) {
            (Listing::Parquet, _) if is_printed => {
                return Err(Conflict::ParquetPrinted);
            }
            (Listing::Mfu, _) if is_printed => {
                return Err(Conflict::MfuPrinted);
            }
            (Listing::Lines(LineFormat::Text), Some(file))
                if self.format.is_none() && !self.text =>
            {
                Listing::check_name(file.as_encoded_bytes())?;
            }
            _ => {}
        }
        if self.checksum.is_some() {
            self.check_checksums(listing)?;
        }
        if self.sort.is_some() && listing == Listing::None {
            return Err(Conflict::SortWithoutList);
        }
        let named = NamedArgs::from(self.files.clone());
        if !named.is_empty() && self.paths().len() != 1 {
            return Err(Conflict::SeveralPaths);
        }
        let bytes = |path: &Option<OsString>| path.clone().map(OsStringExt::into_vec);
        Ok(WalkRequest {
            paths: self.paths(),
            input: bytes(&self.input),
            symlinks: if self.dereference { Symlinks::Follow } else { Symlinks::Keep },
            facts: if self.s3_stored_attributes {
                ObjectFacts::Stored
            } else {
                ObjectFacts::Listed
            },
            collector: CollectorOptions {
                listing,
                usage: self.statistics(),
                sort: self.sort.clone(),
            },
            list: bytes(&self.output).filter(|file| file != b"-"),
            report: bytes(&self.report),
            filters: self.filters.clone(),
            named,
        })
    }

    fn paths(&self) -> Vec<Vec<u8>> {
        if self.paths.is_empty() && self.input.is_none() {
            return vec![b".".to_vec()];
        }
        self.paths.iter().map(|path| path.clone().into_vec()).collect()
    }

    fn check_checksums(&self, listing: Listing) -> Result<(), Conflict> {
        let is_printed = self.output.as_ref().is_none_or(|file| file == "-");
        if listing == Listing::None {
            Err(Conflict::ChecksumWithoutList)
        } else if self.paths().len() != 1 {
            Err(Conflict::ChecksumOfSeveral)
        } else if self.common.json && is_printed {
            Err(Conflict::ChecksumAndJson)
        } else if self.output.as_ref().is_some_and(|file| is_of_lists(file.as_encoded_bytes())) {
            Err(Conflict::ChecksumInTable)
        } else {
            Ok(())
        }
    }

    fn statistics(&self) -> UsageOptions {
        let all = self.report.is_some();
        UsageOptions {
            sizes: self.file_histogram || all,
            distributions: self.distribution.clone(),
            ages: all,
            owners: self.usage || all,
            directories: self.usage || all || self.top.is_some(),
            top: self.top.unwrap_or(if all { limits::TABLE_ROWS_MAX as u32 } else { 0 }),
            striping: self.striping,
            now_seconds: 0,
        }
    }

    fn listing(&self) -> Listing {
        let ends = |ending: &[u8]| {
            let path = self.output.as_ref().map(|path| path.as_encoded_bytes());
            path.is_some_and(|path| record::trimmed(path).ends_with(ending))
        };
        let is_json = ends(b".ndjson") || ends(b".jsonl") || ends(b".json");
        if !self.print && self.output.is_none() {
            return Listing::None;
        }
        if let Some(which) = self.checksum {
            return Listing::Checksums(which.into());
        }
        match self.format {
            Some(Format::Parquet) => Listing::Parquet,
            None if !self.text && ends(b".parquet") => Listing::Parquet,
            Some(Format::Mfu) => Listing::Mfu,
            None if !self.text && ends(b".mfu") => Listing::Mfu,
            Some(Format::MfuText) => Listing::Lines(LineFormat::MfuText),
            Some(Format::Ndjson) => Listing::Lines(LineFormat::Ndjson),
            None if !self.text && (is_json || self.common.json) => {
                Listing::Lines(LineFormat::Ndjson)
            }
            Some(Format::Text) | None => Listing::Lines(LineFormat::Text),
        }
    }
}

/// The name of a list for programs.
fn is_of_lists(file: &[u8]) -> bool {
    Listing::of_file(file) != Listing::Lines(LineFormat::Text)
}
