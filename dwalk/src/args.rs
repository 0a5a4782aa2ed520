//! The command line of dwalk.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{Parser, ValueEnum};
use common::model::line::LineFormat;
use common::run::walk::WalkRequest;
use common::store::posix::Symlinks;
use common::surface::cli::CommonArgs;
use common::surface::filter_args::FilterArgs;
use common::surface::session::ToolArgs;
use common::walk::list::ListOptions;
use serde::{Deserialize, Serialize};

/// Count, and list, what is in directory trees, in parallel over all ranks of an MPI job.
#[derive(Debug, Parser, Serialize, Deserialize)]
#[command(name = "dwalk", after_help = EXAMPLES, max_term_width = 100)]
pub struct Args {
    /// What to walk
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<OsString>,

    /// List the entries on standard output
    #[arg(short, long, conflicts_with = "output")]
    print: bool,

    /// List the entries to FILE
    #[arg(short, long, value_name = "FILE")]
    output: Option<OsString>,

    /// How to list: text, or ndjson (one JSON object a line; the default for FILE.ndjson and --json)
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,

    /// List as text; the same as --format=text
    #[arg(short, long, conflicts_with = "format")]
    text: bool,

    /// Walk what symbolic links point to
    #[arg(short = 'L', long)]
    dereference: bool,

    #[command(flatten)]
    filters: FilterArgs,

    #[command(flatten)]
    pub common: CommonArgs,
}

/// See `LineFormat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum Format {
    Text,
    Ndjson,
}

const EXAMPLES: &str = "\
Examples:
  mpiexec -n 64 dwalk /lustre/project                   how many entries, how many bytes
  dwalk -p src                                          list them
  mpiexec -n 64 dwalk -o files.ndjson /lustre/project   a list for other programs

Every option can be given by the environment: DWALK_THREADS=16.
Exit codes: 0 all read, 2 usage, 3 nothing could be walked, 23 some could not be read,
24 some vanished, 70 bug, 74 results could not be written.";

impl ToolArgs for Args {
    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

impl Args {
    /// What these arguments ask for.
    pub fn request(&self) -> WalkRequest {
        let wants_list = self.print || self.output.is_some();
        WalkRequest {
            paths: self.paths.iter().map(|path| path.clone().into_vec()).collect(),
            options: ListOptions {
                lines: wants_list.then(|| self.line_format()),
                symlinks: if self.dereference { Symlinks::Follow } else { Symlinks::Keep },
            },
            list: self.output.clone().map(OsStringExt::into_vec),
            filters: self.filters.clone(),
        }
    }

    fn line_format(&self) -> LineFormat {
        let is_named_json = self
            .output
            .as_ref()
            .is_some_and(|path| LineFormat::of_file(path.as_encoded_bytes()) == LineFormat::Ndjson);
        match self.format {
            Some(Format::Ndjson) => LineFormat::Ndjson,
            None if !self.text && (is_named_json || self.common.json) => LineFormat::Ndjson,
            Some(Format::Text) | None => LineFormat::Text,
        }
    }
}
