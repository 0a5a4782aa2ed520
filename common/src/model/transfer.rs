//! How content is moved: what the operator wants, and what that means for one file.

use serde::{Deserialize, Serialize};

use super::entry::Metadata;

/// What the operator wants of moving content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transfer {
    /// What becomes of holes.
    pub sparse: Sparse,
}

/// What becomes of holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Sparse {
    /// Holes of the source stay holes.
    #[default]
    Auto,
    /// Blocks of zeros become holes, too.
    Always,
    /// Every byte is written.
    Never,
}

/// What becomes of the holes of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holes {
    /// There are none, or they are filled.
    None,
    /// They stay holes.
    Kept,
    /// They stay holes, and blocks of zeros become some.
    Made,
}

/// Whether the kernel may move content from file to file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InKernel {
    /// It may, and the two may share it.
    Allowed,
    /// Content is read and written.
    Forbidden,
}

/// How the content of one file is moved, by whatever rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manner {
    /// What becomes of holes.
    pub holes: Holes,
    /// Whether the kernel may do it: nobody knows what it makes of holes and zeros.
    pub in_kernel: InKernel,
}

impl Manner {
    /// Whatever is fastest, all bytes.
    pub const PLAIN: Self = Self { holes: Holes::None, in_kernel: InKernel::Allowed };
}

impl Transfer {
    /// How a file of these attributes is moved. One that takes as much room as it has bytes has no holes
    /// worth looking for, which saves two calls for each file.
    pub fn manner(&self, metadata: &Metadata) -> Manner {
        let has_holes = metadata.allocated_bytes < metadata.size_bytes;
        let (holes, in_kernel) = match self.sparse {
            Sparse::Auto if has_holes => (Holes::Kept, InKernel::Allowed),
            Sparse::Auto => (Holes::None, InKernel::Allowed),
            Sparse::Always => (Holes::Made, InKernel::Forbidden),
            Sparse::Never => (Holes::None, InKernel::Forbidden),
        };
        Manner { holes, in_kernel }
    }
}
