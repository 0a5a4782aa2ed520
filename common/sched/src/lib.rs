//! Distributed work stealing: every rank has I/O threads that share their tasks, and ranks without
//! work ask random others for the older half of theirs.
//!
//! [`reactor`] decides, as a pure state machine over messages; `pool` holds the threads;
//! [`engine`] joins the two and is all that an operation sees, through [`job::Job`].
//!
//! Uses: `comm`, `host`, `types`.

pub mod context;
pub mod counters;
pub mod engine;
pub mod frame;
pub mod growth;
pub mod job;
pub mod offers;
mod pool;
pub mod rates;
pub mod reactor;
mod termination;
mod thief;
