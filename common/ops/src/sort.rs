//! Sorting of entries over all ranks. Each rank holds its share in memory; samples of the keys
//! divide the key space into one range for each rank, and entries are sent to the rank of their
//! range.

pub mod exchange;
pub mod key;
mod numbers;
mod processors;
pub mod sort_buffer;
pub mod twice;

pub use processors::use_processors;
