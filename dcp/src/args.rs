//! The command line of dcp.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Parser;
use common::run::clean::CleanRequest;
use common::run::copy::CopyRequest;
use common::surface::change_args::ChangeArgs;
use common::surface::cli::{CommonArgs, after_long_help};
use common::surface::copy_args::CopyArgs;
use common::surface::keep_args::SingleKeepArgs;
use common::surface::session::ToolArgs;
use common::surface::symlink_args::SymlinkArgs;
use serde::{Deserialize, Serialize};
use types::attributes::keep::Keep;

/// Copy files and directory trees, in parallel over all ranks of an MPI job.
///
/// An existing directory as TARGET receives each SOURCE under its own name; a TARGET that does not
/// exist becomes the copy. A SOURCE that ends in "/" stands for its contents. A file appears in
/// TARGET when it is complete.
#[derive(Debug, Parser, Serialize, Deserialize)]
#[command(
    name = "dcp",
    override_usage = "dcp [OPTIONS] SOURCE... TARGET\n       dcp --clean [OPTIONS] LOCATION...\n       dcp --agent [--root DIR] [--read-only]",
    after_help = EXAMPLES,
    after_long_help = after_long_help(EXAMPLES, ENVIRONMENT, EXIT_CODES),
    max_term_width = 100
)]
pub struct Args {
    /// Files and directories to copy, and last the destination
    ///
    /// Files, directories, symbolic links, and with -a special files. A symbolic link on the
    /// command line, to a file or to a directory, is copied as a link, as with cp -R and rsync -l,
    /// unless -L is given; with a trailing "/" it stands for the directory that it points to. A
    /// TARGET that is a link to a directory is that directory; another link is replaced.
    #[arg(
        value_names = ["SOURCE", "TARGET"],
        num_args = 1..,
        required = true
    )]
    paths: Vec<OsString>,

    /// Remove what interrupted jobs have left in LOCATION
    ///
    /// Removes temporary files, and in S3 incomplete multipart uploads, that were last modified, or
    /// begun, at least --min-age ago (by default a day).
    #[arg(long)]
    clean: bool,

    /// Delete each source when its copy is complete: a move
    ///
    /// A file, link or special file is deleted when its copy has its name and its attributes, was
    /// verified as requested and is on the storage, and the source is unchanged since. Entries that
    /// were equal in TARGET before are deleted, too; those that options skip stay. Directories are
    /// deleted at the end if they are empty, and with them SOURCE, but not SOURCE/.
    #[arg(long, visible_alias = "remove-source-files")]
    remove_source: bool,

    #[command(flatten)]
    symlinks: SymlinkArgs,

    #[command(flatten)]
    changes: ChangeArgs,

    #[command(flatten)]
    singly: SingleKeepArgs,

    #[command(flatten)]
    copy: CopyArgs,

    #[command(flatten)]
    pub common: CommonArgs,
}

const EXAMPLES: &str = "\
Examples:
  mpiexec -n 64 dcp -p /lustre/project /daos/project    4 nodes x 16 ranks: a tree, all attributes
  dcp big.h5 /scratch/                                  one rank, many threads, no MPI needed
  mpiexec -n 8 dcp run1/ run2/ /archive/all             contents of two trees into one directory
  mpiexec -n 64 dcp -p /scratch/run s3://bucket/        a tree into a bucket
  mpiexec -n 64 dcp -p /scratch/run daos://pool/cont/   a tree into a container of DAOS
  mpiexec -n 64 dcp -p --resume SRC DST                 resume after the walltime
  dcp --clean s3://bucket                               remove what killed jobs have left there";

const ENVIRONMENT: &str = "DCP_CHUNKSIZE=64MiB, DCP_PRESERVE=true";

const EXIT_CODES: &str = "\
0 all copied, 2 usage, 3 source or target unusable, 20 interrupted, 23 some
failed, 24 some sources vanished, 70 bug, 74 results could not be written";

impl ToolArgs for Args {
    const SHORT_HELP: &'static [&'static str] = &[
        "preserve",
        "archive",
        "hard-links",
        "dereference",
        "update",
        "dry-run",
        "files-from",
        "verify",
        "resume",
        "clean",
        "chunksize",
    ];

    fn common(&self) -> &CommonArgs {
        &self.common
    }

    fn bwlimit(&self) -> Option<&str> {
        self.copy.bwlimit()
    }
}

impl Args {
    /// Request for cleaning, if these arguments are one.
    pub fn clean_request(&self) -> Option<CleanRequest> {
        let (locations, dry_run) = (self.paths(), self.copy.dry_run);
        let min_age = self.copy.filters.min_age;
        self.clean.then_some(CleanRequest { locations, min_age, dry_run })
    }

    /// Common arguments, as the other arguments complete them.
    pub fn completed(&self) -> CommonArgs {
        self.copy.complete(&self.common)
    }

    fn paths(&self) -> Vec<Vec<u8>> {
        self.paths.iter().map(|path| path.clone().into_vec()).collect()
    }

    /// Request of these arguments; `None` where only one of SOURCE and TARGET is named.
    pub fn request(&self) -> Option<CopyRequest> {
        let mut sources = self.paths();
        let target = sources.pop().filter(|_| !sources.is_empty())?;
        let symlinks = self.symlinks.symlinks();
        let requested = self.copy.requested(
            &Keep::default(),
            self.singly,
            symlinks,
            self.changes.criteria_if_any(),
        );
        let requested = if self.remove_source { requested.moving() } else { requested };
        Some(CopyRequest { sources, target, requested })
    }
}
