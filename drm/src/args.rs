//! Command line of drm.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Parser;
use clap::builder::{OsStringValueParser, TypedValueParser};
use common::run::remove::RemoveRequest;
use common::surface::cli::{CommonArgs, after_long_help};
use common::surface::filter_args::FilterArgs;
use common::surface::local_path::local_path;
use common::surface::named_args::NamedArgs;
use common::surface::record_args::RecordArgs;
use common::surface::session::ToolArgs;
use serde::{Deserialize, Serialize};
use types::listed::line::{LineFormat, UnknownEnding, check_ending};
use types::select::regex::{self, MatchOptions};

/// Delete files and directory trees, in parallel over all ranks of an MPI job.
#[derive(Debug, Parser, Serialize, Deserialize)]
#[command(name = "drm", after_help = EXAMPLES,
    after_long_help = after_long_help(EXAMPLES, ENVIRONMENT, EXIT_CODES), max_term_width = 100)]
pub struct Args {
    /// Files and directories to delete, with all their contents
    ///
    /// A symbolic link on the command line is deleted itself, never what it points to. "/", "." and
    /// "..", mount points and whole buckets are refused. With --input, PATH may be left out: it is
    /// the directory that the list was made of.
    #[arg(required_unless_present = "input", value_name = "PATH")]
    paths: Vec<OsString>,

    /// Delete nothing; print what would be deleted
    #[arg(short = 'n', long, alias = "dryrun")]
    dry_run: bool,

    /// List the entries that were deleted, or would be, to FILE
    ///
    /// One line for each entry; FILE.ndjson is one JSON object a line.
    #[arg(short, long, value_name = "FILE", value_parser = local_path())]
    output: Option<OsString>,

    /// List to FILE as text, whatever its name
    #[arg(short, long)]
    text: bool,

    /// Restore the timestamps of directories that stay
    #[arg(short = 'T', long)]
    traceless: bool,

    /// Delete only entries whose whole path matches REGEX
    ///
    /// A basic regular expression (regex(7)), as in mpiFileUtils. A directory that does not match
    /// stays, and is walked.
    #[arg(long = "match", value_name = "REGEX", value_parser = expression(), help_heading = "Filters")]
    matching: Option<OsString>,

    /// Delete no entry whose whole path matches REGEX; --exclude takes a GLOB
    #[arg(long, value_name = "REGEX", value_parser = expression(), help_heading = "Filters")]
    exclude_regex: Option<OsString>,

    /// Compare --match and --exclude-regex with names, not with whole paths
    #[arg(long, help_heading = "Filters")]
    name: bool,

    #[command(flatten)]
    filters: FilterArgs,

    #[command(flatten)]
    named: NamedArgs,

    #[command(flatten)]
    record: RecordArgs,

    #[command(flatten)]
    pub common: CommonArgs,
}

fn expression() -> impl TypedValueParser<Value = OsString> {
    OsStringValueParser::new()
        .try_map(|text: OsString| regex::compile(text.as_encoded_bytes()).map(|_| text))
}

const EXAMPLES: &str = "\
Examples:
  mpiexec -n 64 drm /lustre/old                         a tree with all that is in it
  drm -n --match '\\.core$' run                          what would be deleted of core files
  mpiexec -n 64 drm --min-age 90d /scratch/project      what nobody has changed for 90 days
  dwalk -o list.parquet run; drm -i list.parquet run    what is in a list, and nothing that came later
  mpiexec -n 64 drm s3://bucket/runs/old                objects, a thousand in a request";

const ENVIRONMENT: &str = "DRM_THREADS=16";

const EXIT_CODES: &str = "\
0 all deleted, 2 usage, 3 nothing could be deleted, 20 interrupted by a signal,
23 some could not be deleted, 70 bug, 74 results could not be written";

impl ToolArgs for Args {
    const SHORT_HELP: &'static [&'static str] =
        &["dry-run", "output", "traceless", "match", "exclude-regex", "name", "input", "min-age"];

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

/// Arguments that do not go together.
#[derive(Debug, thiserror::Error)]
pub enum Conflict {
    #[error("--name is for --match and --exclude-regex: add one of them")]
    NameAlone,
    #[error("--input and --files-from name entries of one PATH; name one")]
    SeveralPaths,
    #[error(
        "--include and --exclude take a GLOB, and \"{0}\" looks like a regular expression: write \
         --match or --exclude-regex"
    )]
    Expression(String),
    #[error(transparent)]
    Ending(#[from] UnknownEnding),
}

impl Args {
    /// Request of these arguments.
    ///
    /// # Errors
    /// Returns which of them do not go together.
    pub fn request(&self) -> Result<RemoveRequest, Conflict> {
        let bytes = |text: &Option<OsString>| text.clone().map(OsStringExt::into_vec);
        if self.name && self.matching.is_none() && self.exclude_regex.is_none() {
            return Err(Conflict::NameAlone);
        }
        if !self.named.is_empty() && self.paths.len() > 1 {
            return Err(Conflict::SeveralPaths);
        }
        self.filters.rules.list.iter().try_for_each(|rule| refuse_expression(&rule.pattern))?;
        let list = bytes(&self.output).filter(|file| file != b"-");
        if let Some(file) = list.as_ref().filter(|_| !self.text) {
            check_ending(file, &[])?;
        }
        let list_as = match &list {
            Some(file) if !self.text => LineFormat::of_file(file),
            None if self.common.json => LineFormat::Ndjson,
            _ => LineFormat::Text,
        };
        Ok(RemoveRequest {
            paths: self.paths.iter().map(|path| path.clone().into_vec()).collect(),
            dry_run: self.dry_run,
            is_listed: self.output.is_some(),
            list,
            list_as,
            traceless: self.traceless,
            record: self.record.request(),
            matching: MatchOptions {
                matching: bytes(&self.matching),
                excluded: bytes(&self.exclude_regex),
                of_names: self.name,
            },
            filters: self.filters.clone(),
            named: self.named.clone(),
        })
    }
}

/// Refuses a pattern that looks like a regular expression. The drm of mpiFileUtils takes regular
/// expressions where all tools here take globs: one that is meant to protect entries must not be
/// taken for a glob that matches nothing.
fn refuse_expression(pattern: &[u8]) -> Result<(), Conflict> {
    let shown = String::from_utf8_lossy(pattern);
    let is_expression = shown.starts_with('^')
        || shown.ends_with('$')
        || ["\\.", "\\(", "\\|"].iter().any(|sign| shown.contains(sign));
    if is_expression { Err(Conflict::Expression(shown.into_owned())) } else { Ok(()) }
}
