//! Command-line options that say how content is moved.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use types::content::transfer::{
    Atime, Caching, Durable, Reflink, Rewriting, Sparse, Sums, Transfer,
};
use types::lustre::stripe_policy::StripePolicy;

/// Options of the tools that move content.
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Transfer")]
pub struct TransferArgs {
    /// Handling of holes in files
    ///
    /// auto: holes are preserved. always: blocks of zeros become holes, too. never: every byte is
    /// written.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    sparse: When,

    /// Turn blocks of zeros into holes; the same as --sparse=always
    #[arg(short = 'S', long = "make-sparse", hide = true)]
    makes_sparse: bool,

    /// Clone files (reflink) where source and target are in one file system that supports it
    /// (btrfs, xfs)
    ///
    /// auto: where possible, else the content is copied. always: a file that cannot be cloned is an
    /// error. never: content is read and written.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    reflink: When,

    /// Do not update access times by reading (O_NOATIME); other users' files are updated all the
    /// same
    #[arg(long)]
    open_noatime: bool,

    /// fsync each file before it gets its name, and all of TARGET before the job ends
    #[arg(long)]
    fsync: bool,

    /// Bypass the page cache (O_DIRECT), where the file system can; unaligned parts (4 KiB), such
    /// as the ends of files, go through it
    #[arg(short = 's', long, alias = "synchronous")]
    direct: bool,

    /// Write into existing files of TARGET, instead of replacing them when their new content is
    /// complete
    ///
    /// Files with several hard links are replaced nevertheless. An interrupted file is left partly
    /// written, which dsync --update then takes for newer, and --size-only for done.
    #[arg(long)]
    inplace: bool,

    /// Striping of new files on Lustre: auto, keep, default, or COUNT,SIZE (COUNT may be all)
    ///
    /// auto: files of 1 GiB and more get more stripes the larger they are, unless the directory's
    /// default is a composite layout (PFL), which grows with the file. keep: as in SOURCE, where
    /// that is on Lustre, too. default: the directory's default. Ignored by other file systems.
    /// [default: auto]
    #[arg(long, value_name = "LAYOUT", allow_hyphen_values = true)]
    stripe: Option<StripePolicy>,
}

/// Values of `--sparse` and `--reflink`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
enum When {
    #[default]
    Auto,
    Always,
    Never,
}

impl TransferArgs {
    /// Options that these arguments give.
    pub fn transfer(&self) -> Transfer {
        Transfer {
            sparse: match self.sparse {
                When::Auto if self.makes_sparse => Sparse::Always,
                When::Auto => Sparse::Auto,
                When::Always => Sparse::Always,
                When::Never => Sparse::Never,
            },
            reflink: match self.reflink {
                When::Auto => Reflink::Auto,
                When::Always => Reflink::Always,
                When::Never => Reflink::Never,
            },
            atime: if self.open_noatime { Atime::Preserved } else { Atime::Set },
            caching: if self.direct { Caching::Past } else { Caching::Through },
            rewriting: if self.inplace { Rewriting::InPlace } else { Rewriting::Beside },
            stripe: self.stripe,
            sums: Sums::AsKept,
            durable: if self.fsync { Durable::Now } else { Durable::Later },
        }
    }
}
