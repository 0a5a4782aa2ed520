//! Command-line options for symbolic links in SOURCE: for the tools that copy.

use clap::Args;
use serde::{Deserialize, Serialize};

use store::opening::Symlinks;

/// Options for symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
pub struct SymlinkArgs {
    /// Follow symbolic links in SOURCE
    #[arg(short = 'L', long, aliases = ["copy-links", "follow-symlinks"], overrides_with = "no_dereference")]
    dereference: bool,

    /// Copy symbolic links as links (the default)
    #[arg(short = 'P', long)]
    no_dereference: bool,
}

impl SymlinkArgs {
    /// Treatment of symbolic links in SOURCE.
    pub fn symlinks(self) -> Symlinks {
        if self.dereference { Symlinks::Follow } else { Symlinks::Keep }
    }
}
