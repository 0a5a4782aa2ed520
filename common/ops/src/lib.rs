//! Operations on trees: walk, copy, compare, delete, clean and sort, with their statistics and
//! journals.
//!
//! An operation is a job of the engine in `sched`, and uses files through the traits of `store`.
//! Only [`resolver`] knows which stores exist.
//!
//! Uses: `comm`, `host`, `lists`, `posix`, `remote`, `s3`, `sched`, `sftp`, `store`, `types`.

pub mod chunked;
pub mod clean;
pub mod compare;
pub mod copy;
pub mod delete;
pub mod journal;
pub mod limited;
pub mod remove;
pub mod resolver;
pub mod sort;
pub mod usage;
pub mod walk;
