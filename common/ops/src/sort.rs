//! Sorting entries over all ranks: each keeps its share in memory, samples of the keys decide who gets
//! which range, and what belongs elsewhere is sent there.

pub mod exchange;
pub mod key;
mod processors;
pub mod shelf;

pub use processors::use_processors;
