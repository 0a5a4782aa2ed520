//! The command line of dcp.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Parser;
use common::base::limits;
use common::base::size::parse_positive_bytes;
use common::copy::options::{CopyOptions, JobFacts};
use common::model::line::LineFormat;
use common::run::copy::CopyRequest;
use common::store::posix::Symlinks;
use common::surface::cli::CommonArgs;
use common::surface::session::ToolArgs;
use serde::{Deserialize, Serialize};

/// Copy files and directory trees, in parallel over all ranks of an MPI job.
///
/// An existing directory as TARGET receives each SOURCE under its own name; a TARGET that does not
/// exist becomes the copy. A SOURCE that ends in "/" stands for its contents. Files appear at the
/// target when they are complete.
#[derive(Debug, Parser, Serialize, Deserialize)]
#[command(name = "dcp", after_help = EXAMPLES, max_term_width = 100)]
pub struct Args {
    /// What to copy: files, directories, symbolic links
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<OsString>,

    /// Where to
    #[arg(required = true, value_name = "TARGET")]
    target: OsString,

    /// Keep mode, owner, group and times (to the nanosecond)
    #[arg(short, long)]
    preserve: bool,

    /// Copy what symbolic links in SOURCE point to
    #[arg(short = 'L', long, overrides_with = "no_dereference")]
    dereference: bool,

    /// Copy symbolic links as links (the default)
    #[arg(short = 'P', long)]
    no_dereference: bool,

    /// Change nothing; print what would be done
    #[arg(short = 'n', long, alias = "dryrun")]
    dry_run: bool,

    /// Cut files larger than SIZE into chunks of that size, copied by many ranks
    #[arg(
        short = 'k', long = "chunksize", value_name = "SIZE", help_heading = "Tuning",
        default_value_t = limits::CHUNK_BYTES.to_string(), hide_default_value = true,
        help = format!(
            "Cut files larger than SIZE into chunks of that size, copied by many ranks [default: {}]",
            common::base::size::human_bytes(limits::CHUNK_BYTES)
        ),
        value_parser = checked_chunk
    )]
    chunk: String,

    /// I/O buffer of each thread
    #[arg(
        short = 'b', long = "bufsize", value_name = "SIZE", help_heading = "Tuning",
        default_value_t = limits::BUFFER_BYTES.to_string(), hide_default_value = true,
        help = format!(
            "I/O buffer of each thread [default: {}]",
            common::base::size::human_bytes(limits::BUFFER_BYTES)
        ),
        value_parser = checked_buffer
    )]
    buffer: String,

    #[command(flatten)]
    pub common: CommonArgs,
}

const EXAMPLES: &str = "\
Examples:
  mpiexec -n 64 dcp -p /lustre/project /daos/project    4 nodes x 16 ranks: a tree, all attributes
  dcp big.h5 /scratch/                                  one rank, many threads, no MPI needed
  mpiexec -n 8 dcp run1/ run2/ /archive/all             contents of two trees into one directory

Every option can be given by the environment: DCP_CHUNKSIZE=64MiB, DCP_PRESERVE=true.
Exit codes: 0 all copied, 2 usage, 3 source or target unusable, 23 some failed,
24 some sources vanished, 70 bug, 74 results could not be written.";

fn checked_chunk(text: &str) -> Result<String, String> {
    parse_positive_bytes(text).map(|_| text.to_owned())
}

fn checked_buffer(text: &str) -> Result<String, String> {
    match parse_positive_bytes(text)? {
        bytes if bytes > limits::BUFFER_BYTES_MAX => {
            let most = common::base::size::human_bytes(limits::BUFFER_BYTES_MAX);
            Err(format!("a buffer of that size for each thread is too much; at most {most}"))
        }
        _ => Ok(text.to_owned()),
    }
}

impl ToolArgs for Args {
    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

impl Args {
    /// What these arguments ask for.
    pub fn request(&self) -> CopyRequest {
        CopyRequest {
            sources: self.sources.iter().map(|path| path.clone().into_vec()).collect(),
            target: self.target.clone().into_vec(),
            options: CopyOptions {
                symlinks: if self.dereference { Symlinks::Follow } else { Symlinks::Keep },
                preserve: self.preserve,
                chunk_bytes: parse_positive_bytes(&self.chunk).unwrap_or(limits::CHUNK_BYTES),
                buffer_bytes: parse_positive_bytes(&self.buffer).unwrap_or(limits::BUFFER_BYTES),
                dry_run: self.dry_run,
                plan_as: LineFormat::Text,
                job: JobFacts::here(),
            },
        }
    }
}
