//! The command line of dsync.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Parser;
use common::run::sync::SyncRequest;
use common::surface::change_args::ChangeArgs;
use common::surface::cli::{CommonArgs, after_long_help};
use common::surface::copy_args::CopyArgs;
use common::surface::keep_args::SingleKeepArgs;
use common::surface::session::ToolArgs;
use common::surface::symlink_args::SymlinkArgs;
use ops::copy::options::{OldCopy, SyncOptions, Unchanged};
use serde::{Deserialize, Serialize};
use types::attributes::keep::Keep;

/// Make the contents of directory TARGET equal to those of SOURCE, in parallel over all ranks of an
/// MPI job; or one file equal to another.
///
/// Entries that are missing, or that differ in size or modification time, are copied; where only
/// owner, group, permissions, timestamps, extended attributes or access control lists differ, those
/// are set; entries that are equal are not touched. A trailing "/" does not matter. A SOURCE that
/// is not a directory goes into TARGET where that is one, and becomes TARGET otherwise. The old
/// content of a file stays in place until the new one is complete.
#[derive(Debug, Parser, Serialize, Deserialize)]
#[command(name = "dsync", mut_arg("buffer", |arg| arg.short(None::<char>)), after_help = EXAMPLES,
    after_long_help = after_long_help(EXAMPLES, ENVIRONMENT, EXIT_CODES), max_term_width = 100)]
pub struct Args {
    /// Tree, or file, to mirror
    ///
    /// A symbolic link on the command line stands for what it points to, a directory or a file; a
    /// dangling link is copied as a link.
    #[arg(value_name = "SOURCE")]
    source: OsString,

    /// Tree, or file, to make equal to SOURCE
    #[arg(value_name = "TARGET")]
    target: OsString,

    /// Delete extraneous entries from TARGET, after all of SOURCE was read without an error
    #[arg(short = 'D', long, conflicts_with_all = ["input", "files_from"],
        aliases = ["del", "delete-after", "delete-delay", "delete-during"])]
    delete: bool,

    /// Delete nothing if more than N entries would be deleted (exit code 25)
    #[arg(long, value_name = "N", requires = "delete")]
    max_delete: Option<u64>,

    /// Hard-link files to DIR where they are unchanged, instead of copying them
    ///
    /// As with rsync, a relative DIR is relative to TARGET: with --link-dest=../monday,
    /// /backup/tuesday is linked to /backup/monday. If it does not exist there, but in the current
    /// directory, that one is used, with a warning.
    #[arg(long, value_name = "DIR", conflicts_with = "compare_dest")]
    link_dest: Option<OsString>,

    #[command(flatten)]
    symlinks: SymlinkArgs,

    #[command(flatten)]
    changes: ChangeArgs,

    #[command(flatten)]
    copy: CopyArgs,

    #[command(flatten)]
    pub common: CommonArgs,
}

const EXAMPLES: &str = "\
Examples:
  mpiexec -n 64 dsync -D /lustre/project /daos/project   a mirror
  dsync -nD src dst                                      what would be done
  dsync --link-dest /backup/monday /data /backup/tuesday hard links to unchanged files";

const ENVIRONMENT: &str = "DSYNC_DELETE=true";

const EXIT_CODES: &str = "\
0 equal now, 2 usage, 3 source or target unusable, 20 interrupted, 23 some
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

    fn bwlimit(&self) -> Option<&str> {
        self.copy.bwlimit()
    }
}

impl Args {
    /// Common arguments, as the other arguments complete them.
    pub fn completed(&self) -> CommonArgs {
        self.copy.complete(&self.common)
    }

    /// Request of these arguments.
    pub fn request(&self) -> SyncRequest {
        SyncRequest {
            source: self.source.clone().into_vec(),
            target: self.target.clone().into_vec(),
            delete_max: self.max_delete,
            requested: self.copy.requested(
                &Keep::all(),
                SingleKeepArgs::default(),
                self.symlinks.symlinks(),
                Some(self.sync()),
            ),
        }
    }

    fn sync(&self) -> SyncOptions {
        let criteria = self.changes.criteria();
        let linked = |dir| OldCopy { path: OsString::into_vec(dir), unchanged: Unchanged::Linked };
        SyncOptions {
            delete: self.delete,
            mirrors: true,
            old_copy: self.link_dest.clone().map(linked).or(criteria.old_copy),
            ..criteria
        }
    }
}
