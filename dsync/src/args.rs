//! The command line of dsync.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Parser;
use common::run::sync::SyncRequest;
use common::surface::cli::{CommonArgs, after_long_help};
use common::surface::copy_args::CopyArgs;
use common::surface::session::ToolArgs;
use ops::compare::options::Evidence;
use ops::copy::options::{Judge, SyncOptions};
use serde::{Deserialize, Serialize};
use store::opening::Symlinks;
use types::attributes::keep::Keep;

/// Make the contents of directory TARGET equal those of SOURCE, in parallel over all ranks of an
/// MPI job; or a file equal another one.
///
/// What is new or differs in size or time of change is copied; where only owner, group, permissions,
/// times, extended attributes or access control lists differ, those are set; what is equal is not
/// touched. A trailing "/" does not matter. A SOURCE that is no directory goes into TARGET where that is one,
/// and becomes TARGET otherwise. A file's old content stays in place until its new one is complete.
#[derive(Debug, Parser, Serialize, Deserialize)]
#[command(name = "dsync", mut_arg("buffer", |arg| arg.short(None::<char>)), after_help = EXAMPLES,
    after_long_help = after_long_help(EXAMPLES, ENVIRONMENT, EXIT_CODES), max_term_width = 100)]
pub struct Args {
    /// What should be
    ///
    /// A symbolic link that is named stands for what it leads to, be that a directory or a file; one that leads nowhere is
    /// copied as a link.
    #[arg(value_name = "SOURCE")]
    source: OsString,

    /// What is to become equal
    #[arg(value_name = "TARGET")]
    target: OsString,

    /// Compare files by content, not by size and modification time
    ///
    /// Byte by byte; objects in S3 by the checksum that the service keeps.
    #[arg(short, long, visible_alias = "checksum", conflicts_with = "size_only")]
    contents: bool,

    /// With -c: compare objects byte by byte, too, by downloading them
    #[arg(long, requires = "contents")]
    download: bool,

    /// Compare files by size alone
    #[arg(long)]
    size_only: bool,

    /// Delete what only TARGET has, once all of SOURCE was read without an error
    #[arg(short = 'D', long, conflicts_with_all = ["input", "files_from"])]
    delete: bool,

    /// Delete nothing where it would be more than N entries (exit code 25)
    #[arg(long, value_name = "N", requires = "delete")]
    max_delete: Option<u64>,

    /// Leave files alone that are newer in TARGET
    #[arg(short, long)]
    update: bool,

    /// Take the time when a service stored an object for that of its last change, instead of asking each
    /// object for the one kept with it: of use only with --update, for which it saves a request per object
    #[arg(long, requires = "update")]
    use_server_modtime: bool,

    /// Leave alone what is in TARGET already; copy only what is missing
    #[arg(long, conflicts_with = "existing")]
    ignore_existing: bool,

    /// Copy nothing that is missing in TARGET
    #[arg(long)]
    existing: bool,

    /// Make files that are the same in DIR links to those, instead of copying them
    ///
    /// As with rsync, a relative DIR is taken from TARGET on: with --link-dest=../monday, /backup/tuesday is linked to
    /// /backup/monday. Where there is none, and DIR is in the current directory, that is taken, and a line says so.
    #[arg(long, value_name = "DIR")]
    link_dest: Option<OsString>,

    #[command(flatten)]
    copy: CopyArgs,

    #[command(flatten)]
    pub common: CommonArgs,
}

const EXAMPLES: &str = "\
Examples:
  mpiexec -n 64 dsync -D /lustre/project /daos/project   a mirror
  dsync -nD src dst                                      what would be done
  dsync --link-dest /backup/monday /data /backup/tuesday hard links to what is unchanged";

const ENVIRONMENT: &str = "DSYNC_DELETE=true";

const EXIT_CODES: &str = "\
0 equal now, 2 usage, 3 source or target unusable, 20 stopped by a signal, 23 some
entries failed, 24 some sources vanished, 25 delete limit, 70 bug, 74 results could not be written";

impl ToolArgs for Args {
    const SHORT_HELP: &'static [&'static str] = &[
        "delete",
        "contents",
        "archive",
        "no-preserve",
        "hard-links",
        "update",
        "link-dest",
        "dry-run",
        "files-from",
        "verify",
        "resume",
        "chunksize",
    ];

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

impl Args {
    /// What all tools take, as the other arguments complete it.
    pub fn completed(&self) -> CommonArgs {
        self.copy.complete(&self.common)
    }

    /// What these arguments ask for.
    pub fn request(&self) -> SyncRequest {
        SyncRequest {
            source: self.source.clone().into_vec(),
            target: self.target.clone().into_vec(),
            delete_max: self.max_delete,
            wishes: self.copy.wishes(&Keep::all(), Symlinks::Keep, Some(self.sync())),
        }
    }

    fn sync(&self) -> SyncOptions {
        let judge = match (self.contents, self.size_only) {
            (true, _) => Judge::Content,
            (false, true) => Judge::SizeOnly,
            (false, false) => Judge::SizeAndTime,
        };
        SyncOptions {
            judge,
            evidence: if self.download { Evidence::Bytes } else { Evidence::Checksums },
            update: self.update,
            use_server_modtime: self.use_server_modtime,
            ignore_existing: self.ignore_existing,
            existing: self.existing,
            delete: self.delete,
            link_dest: self.link_dest.clone().map(OsStringExt::into_vec),
        }
    }
}
