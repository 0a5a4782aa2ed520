//! The command line of dcmp.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Parser;
use common::run::compare::CompareRequest;
use common::surface::cli::{CommonArgs, TuningArgs, after_long_help};
use common::surface::filter_args::FilterArgs;
use common::surface::keep_args::WhichXattrs;
use common::surface::local_path::local_path;
use common::surface::named_args::NamedArgs;
use common::surface::session::ToolArgs;
use ops::compare::options::{COUNTED_BY_DEFAULT, CompareOptions, Evidence};
use ops::walk::list::collector::Listing;
use serde::{Deserialize, Serialize};
use store::opening::Symlinks;
use types::attributes::keep::XattrChoice;
use types::content::transfer::Atime;
use types::listed::line::{LineFormat, UnknownEnding};
use types::operand::location::{NotLocal, checked_local};
use types::outcome::difference::Fields;
use types::select::expression::{Expression, ExpressionError, parse_output};

/// Compare two directory trees, or two files, in parallel over all ranks of an MPI job.
///
/// Every entry is compared by type, size, owner, group, permissions, modification time, extended
/// attributes and access control lists, target of a symbolic link, and content: byte by byte, or
/// for objects in S3 by the checksum that the service stores. Attributes that a location cannot
/// store are not compared, and the summary says so. An entry that could not be read, or that
/// changed during the job, is an error and never counts as equal.
#[derive(Debug, Parser, Serialize, Deserialize)]
#[command(name = "dcmp", mut_arg("buffer", |arg| arg.short(None::<char>)), after_help = EXAMPLES,
    after_long_help = after_long_help(EXAMPLES, ENVIRONMENT, EXIT_CODES), max_term_width = 100)]
pub struct Args {
    /// Reference tree, or file
    ///
    /// A symbolic link on the command line, here or as TARGET, stands for what it points to, a
    /// directory or a file, as with diff; a dangling link is compared as a link.
    #[arg(value_name = "SOURCE", required = true)]
    first: OsString,

    /// Tree, or file, to check; with --manifest the only location
    #[arg(
        value_name = "TARGET",
        required_unless_present = "manifest",
        conflicts_with = "manifest"
    )]
    second: Option<OsString>,

    /// Check the files of the location against a manifest written by dcp --manifest
    ///
    /// Compares size, modification time and checksum, and, without --one-way, reports files that
    /// the manifest does not have.
    #[arg(
        long,
        value_name = "FILE",
        value_parser = local_path(),
        conflicts_with_all = ["input", "files_from", "download"]
    )]
    manifest: Option<OsString>,

    /// Compare size and modification time instead of content, which is not read
    ///
    /// Files of equal size and time count as equal, whatever they contain.
    #[arg(short, long)]
    lite: bool,

    /// Fields whose differences are ignored, separated by commas: type size uid gid mtime perm acl
    /// xattr link content
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = checked_field)]
    ignore: Vec<String>,

    /// Additional fields to compare: atime, ctime, and acl with --xattrs none
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = checked_field)]
    also: Vec<String>,

    /// Extended attributes to compare: none, those of users, all but those of Lustre, or all;
    /// layouts of files never are. By default those of users and file capabilities, as dcp -p
    /// preserves them
    ///
    /// Access control lists are compared besides, unless --ignore acl; with none, only where --also
    /// acl is given. With non-lustre and all, those of symbolic links are compared, too.
    #[arg(long, value_name = "WHICH", value_enum)]
    xattrs: Option<WhichXattrs>,

    /// Download objects and compare them byte by byte, even where the service stores a checksum
    ///
    /// By default the CRC-64/NVME that a service stores of a whole object stands for its content.
    #[arg(long, conflicts_with = "lite")]
    download: bool,

    /// Compare hard links, too: which names are the same file
    #[arg(short = 'H', long, conflicts_with = "manifest")]
    hard_links: bool,

    /// Ignore entries that are only in TARGET
    #[arg(long)]
    one_way: bool,

    /// Read from storage, not from the page cache: drop cached pages of a file before reading it
    #[arg(short = 's', long)]
    direct: bool,

    /// Do not update access times by reading (O_NOATIME); other users' files are updated all the
    /// same
    #[arg(long)]
    open_noatime: bool,

    /// Write the entries that match EXPR to FILE: EXIST=ONLY_SRC, TYPE=DIFFER@SIZE=COMMON, …
    ///
    /// FILE.ndjson has one JSON object a line, FILE.parquet is a directory with one Parquet file a
    /// rank, FILE.mfu is a binary list of mpiFileUtils, FILE.txt, or a name without ending, is
    /// text, and - is standard output. May be repeated.
    #[arg(short, long = "output", value_name = "EXPR:FILE", value_parser = checked_output)]
    outputs: Vec<String>,

    /// Write the lists of --output as text, whatever their names
    #[arg(short, long)]
    text: bool,

    /// Write a line for every entry to FILE, or - for standard output
    ///
    /// "= PATH" equal, "* PATH" different (with the fields), "+ PATH" only in SOURCE, "- PATH" only
    /// in TARGET, "! PATH" error.
    #[arg(long, value_name = "FILE", value_parser = local_path())]
    combined: Option<OsString>,

    #[command(flatten)]
    filters: FilterArgs,

    /// Ignore directories that are empty, and those that contain only such ones
    ///
    /// A directory is compared if filters leave any entry in it or below it that is no directory,
    /// in SOURCE or in TARGET.
    #[arg(short = 'm', long, help_heading = "Filters", conflicts_with = "manifest")]
    prune_empty_dirs: bool,

    #[command(flatten)]
    named: NamedArgs,

    #[command(flatten)]
    tuning: TuningArgs,

    #[command(flatten)]
    pub common: CommonArgs,
}

const EXAMPLES: &str = "\
Examples:
  mpiexec -n 64 dcmp /lustre/project /daos/project      after dcp -p: is all of it there?
  dcmp --ignore uid,gid,mtime,perm src dst              after dcp without -p
  dcmp -o EXIST=ONLY_SRC:missing.txt src dst            list what is not there
  mpiexec -n 64 dcmp /lustre/project s3://bucket/project   nothing is downloaded";

const ENVIRONMENT: &str = "DCMP_LITE=true";

const EXIT_CODES: &str = "\
0 identical, 1 different, 2 usage, 3 source or target unusable, 23 some entries could
not be compared, 24 some vanished, 70 bug, 74 results could not be written";

fn checked_field(text: &str) -> Result<String, String> {
    let upper = text.to_uppercase();
    if Fields::from_name(&upper).is_some() {
        return Ok(upper);
    }
    let right: Vec<&str> = Fields::ALL.names().collect();
    Err(format!("no such field; expected one of {}", right.join(", ").to_lowercase()))
}

fn checked_output(text: &str) -> Result<String, OutputError> {
    match parse_output(text.as_bytes())? {
        (_, Some(file)) => Ok(checked_local(&file).map(|()| text.to_owned())?),
        (_, None) => Err(OutputError::NoFile(text.to_owned())),
    }
}

/// Reason why a text is no expression with a file.
#[derive(Debug, thiserror::Error)]
enum OutputError {
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    #[error(transparent)]
    File(#[from] NotLocal),
    #[error("name a file: {0}:FILE")]
    NoFile(String),
}

impl ToolArgs for Args {
    const SHORT_HELP: &'static [&'static str] = &[
        "lite",
        "ignore",
        "hard-links",
        "one-way",
        "output",
        "combined",
        "manifest",
        "files-from",
    ];

    fn common(&self) -> &CommonArgs {
        &self.common
    }

    fn bwlimit(&self) -> Option<&str> {
        self.tuning.bwlimit.as_deref()
    }
}

/// Name of a list that stands for no format.
#[derive(Debug, thiserror::Error)]
pub enum ListName {
    #[error(transparent)]
    Ending(#[from] UnknownEnding),
    #[error("--combined writes text, or JSON to FILE.ndjson: use another name")]
    Combined,
}

impl Args {
    /// Request of these arguments.
    ///
    /// # Errors
    /// Returns which name of a list stands for no format.
    pub fn request(&self) -> Result<CompareRequest, ListName> {
        let outputs = self.outputs();
        self.check_names(&outputs)?;
        let manifest = self.manifest.clone().map(OsStringExt::into_vec);
        let tell = self.common.line_format();
        let to_stdout = self.combined.as_ref().is_some_and(|file| file == "-");
        let lists_to_stdout = outputs.iter().any(|(_, file)| file == b"-");
        let listing = |file: &[u8]| match file {
            b"-" => Listing::Lines(tell),
            _ if self.text => Listing::Lines(LineFormat::Text),
            file => Listing::of_file(file),
        };
        Ok(CompareRequest {
            source: manifest.clone().unwrap_or_else(|| self.first.clone().into_vec()),
            target: self.second.clone().unwrap_or_else(|| self.first.clone()).into_vec(),
            own: None,
            symlinks: Symlinks::Follow,
            options: CompareOptions {
                counted: self.counted(),
                xattrs: self.xattrs.map_or(XattrChoice::Own, XattrChoice::from),
                lite: self.lite,
                evidence: if self.download { Evidence::Bytes } else { Evidence::Checksums },
                hard_links: self.hard_links,
                one_way: self.one_way,
                prune_empty_dirs: self.prune_empty_dirs,
                chosen_by_source: false,
                bypass_cache: self.direct,
                atime: if self.open_noatime { Atime::Preserved } else { Atime::Set },
                chunk_bytes: self.tuning.chunk_bytes(),
                buffer_bytes: self.tuning.buffer_bytes(),
                combined: self.combined.as_ref().map(|file| {
                    if to_stdout { tell } else { LineFormat::of_file(file.as_encoded_bytes()) }
                }),
                tell: (!to_stdout && !lists_to_stdout && !self.common.quiet).then_some(tell),
                outputs: outputs
                    .iter()
                    .map(|(expression, file)| (expression.clone(), listing(file)))
                    .collect(),
            },
            filters: self.filters.clone(),
            named: manifest.map_or_else(|| self.named.clone(), NamedArgs::of_manifest),
            combined: self.combined.clone().map(OsStringExt::into_vec),
            outputs: outputs.into_iter().map(|(_, file)| file).collect(),
        })
    }

    fn check_names(&self, outputs: &[(Expression, Vec<u8>)]) -> Result<(), ListName> {
        if !self.text {
            outputs.iter().try_for_each(|(_, file)| Listing::check_name(file))?;
        }
        match self.combined.as_ref().map(|file| Listing::of_file(file.as_encoded_bytes())) {
            Some(Listing::Parquet | Listing::Mfu) => Err(ListName::Combined),
            _ => Ok(()),
        }
    }

    fn counted(&self) -> Fields {
        let named = |names: &[String]| -> Fields {
            names.iter().filter_map(|name| Fields::from_name(name)).collect()
        };
        let mut ignored = named(&self.ignore);
        let also = named(&self.also);
        if self.xattrs == Some(WhichXattrs::None) {
            ignored.insert(Fields::XATTR);
            ignored.insert(if also.contains(Fields::ACL) { Fields::NONE } else { Fields::ACL });
        }
        let all = COUNTED_BY_DEFAULT.into_iter().collect::<Fields>().union(also);
        let recorded = [Fields::TYPE, Fields::SIZE, Fields::MTIME, Fields::CONTENT];
        // What was asked for by name is counted in the summary where it cannot be compared.
        let is_asked = |field: Fields| {
            let is_xattrs = field == Fields::XATTR && self.xattrs.is_some();
            is_xattrs || also.contains(field)
        };
        let is_told = |field: &Fields| {
            self.manifest.is_none() || recorded.contains(field) || is_asked(*field)
        };
        all.iter().filter(|field| !ignored.contains(*field) && is_told(field)).collect()
    }

    fn outputs(&self) -> Vec<(Expression, Vec<u8>)> {
        let parsed = self.outputs.iter().filter_map(|text| parse_output(text.as_bytes()).ok());
        parsed.filter_map(|(expression, file)| Some((expression, file?))).collect()
    }
}
