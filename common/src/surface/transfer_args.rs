//! Command-line options that say how content is moved.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::model::transfer::{Sparse, Transfer};

/// Options of the tools that move content.
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "How content is moved")]
pub struct TransferArgs {
    /// Holes in files
    ///
    /// auto: holes stay holes. always: blocks of zeros become holes, too. never: every byte is written.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    sparse: When,
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
                When::Auto => Sparse::Auto,
                When::Always => Sparse::Always,
                When::Never => Sparse::Never,
            },
        }
    }
}
