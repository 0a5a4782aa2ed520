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
    /// Holes in files
    ///
    /// auto: holes stay holes. always: blocks of zeros become holes, too. never: every byte is written.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    sparse: When,

    /// Make holes of blocks of zeros; the same as --sparse=always
    #[arg(short = 'S', long = "make-sparse", hide = true)]
    makes_sparse: bool,

    /// Let files share their content with SOURCE, where both are in one file system that can do that
    /// (btrfs, xfs)
    ///
    /// auto: where it is possible; what cannot is copied. always: what cannot is an error. never: content
    /// is read and written.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    reflink: When,

    /// Do not let reading files change their times of access; those of others change all the same
    #[arg(long)]
    open_noatime: bool,

    /// Each file is on storage before it gets its name, and all of TARGET before the job ends
    #[arg(long)]
    fsync: bool,

    /// Read and write past the system's cache (O_DIRECT), where the file system can; what is not aligned
    /// to 4 KiB, as the ends of files, goes through it
    #[arg(short = 's', long, alias = "synchronous")]
    direct: bool,

    /// Write into files that are in TARGET already, instead of replacing them when their new content is
    /// complete
    ///
    /// Their other names get the new content, too. What is interrupted leaves part of it,
    /// which dsync --update then takes for newer, and --size-only for done.
    #[arg(long)]
    inplace: bool,

    /// How new files are striped on Lustre: auto, keep, default, or COUNT,SIZE (COUNT may be all)
    ///
    /// auto: files of 1 GiB and more get more stripes the larger they are, where the directory's default is
    /// not a composite layout (PFL), which grows with a file as it is. keep: as in SOURCE, where that is
    /// on Lustre, too. default: what the directory says. Other file systems have no such thing. [default: auto]
    #[arg(long, value_name = "LAYOUT", allow_hyphen_values = true)]
    stripe: Option<StripePolicy>,
}

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
enum When {
    #[default]
    Auto,
    Always,
    Never,
}

impl TransferArgs {
    /// What these arguments say.
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
            atime: if self.open_noatime { Atime::Kept } else { Atime::Set },
            caching: if self.direct { Caching::Past } else { Caching::Through },
            rewriting: if self.inplace { Rewriting::InPlace } else { Rewriting::Beside },
            stripe: self.stripe,
            sums: Sums::AsKept,
            durable: if self.fsync { Durable::Now } else { Durable::Later },
        }
    }
}
