//! Messages between ranks while a job runs.

use host::throttle::Share;
use serde::{Deserialize, Serialize};
use types::rate::{Demand, KINDS};

/// One message of the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Frame {
    /// Steal request: asks for a share of the tasks that the victim has queued beyond those of the
    /// thief.
    Ask {
        /// Number of tasks that the thief has queued; 0 where it is idle.
        queued: u32,
        /// True where no thread of the thief has anything to do, and several victims had nothing.
        is_starved: bool,
    },
    /// Answer to a steal request: tasks, or none.
    Give(Parcel),
    /// Termination wave of that number, from the parent rank.
    Wave(u64),
    /// Report that a rank and all below it are passive, with their message counts.
    Report {
        /// Number of the wave.
        wave: u64,
        /// Number of work-carrying messages sent by the ranks of this subtree.
        sent: u64,
        /// Number of work-carrying messages received by the ranks of this subtree.
        received: u64,
    },
    /// Announcement that all work is done.
    Done,
    /// Order to cancel tasks that have not begun.
    Stop,
    /// Message from one rank's part of the operation to another's, serialised.
    Message(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Event for rank 0, serialised.
    Event(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Progress of a rank, serialised. Not work-carrying: it may be lost.
    Progress(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Report of the work that a rank did whose rate is limited. Not work-carrying.
    Demand([Demand; KINDS]),
    /// Share of a rank in the rates to which the job is limited. Not work-carrying.
    Share(Share),
}

/// Serialises a value.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain values in memory always serialise")
}

/// Serialised tasks on their way from one rank to another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Parcel {
    /// Number of tasks; 0 is a refusal.
    pub count: u32,
    /// Serialised tasks, one after the other.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

impl Frame {
    /// Serialises the message.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Deserialises a message.
    ///
    /// # Errors
    /// Fails for a message from a different build.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_bytes_are_an_error_not_a_panic() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..random.usize(0..40)).map(|_| random.u8(..)).collect();
            let _ = Frame::decode(&bytes);
        }
        let whole = Frame::Give(Parcel { count: 3, bytes: vec![1, 2, 3] }).encode();
        for end in 0..whole.len() {
            assert!(Frame::decode(&whole[..end]).is_err());
        }
    }
}
