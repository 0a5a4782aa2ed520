//! What ranks say to each other while a job runs.

use serde::{Deserialize, Serialize};

/// One message of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Asks for work: of what the victim has queued beyond `queued`, what the thief has left itself.
    Ask {
        /// Tasks the thief has queued; 0 is "I have nothing to do".
        queued: u32,
    },
    /// The answer: tasks, or none.
    Give(Parcel),
    /// The termination wave of that number reaches this rank from above.
    Wave(u64),
    /// A rank and all below it are passive; what they have sent and received.
    Report {
        /// Number of the wave.
        wave: u64,
        /// Work-carrying messages sent by the ranks of this subtree.
        sent: u64,
        /// Work-carrying messages they received.
        received: u64,
    },
    /// All work is done.
    Done,
    /// Give up what has not begun.
    Stop,
    /// From one rank's part of the operation to another's.
    Letter(Vec<u8>),
    /// Something for rank 0's ear.
    Notice(Vec<u8>),
    /// How far a rank is. Not work-carrying: may be lost.
    Progress(Vec<u8>),
}

/// Serialised tasks on their way from one rank to another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Parcel {
    /// How many tasks; 0 is a refusal.
    pub count: u32,
    /// The tasks, one after the other.
    pub bytes: Vec<u8>,
}

impl Message {
    /// The message as bytes.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain values in memory always serialise")
    }

    /// Reads a message.
    ///
    /// # Errors
    /// For bytes that this build did not write.
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
            let _ = Message::decode(&bytes);
        }
        let whole = Message::Give(Parcel { count: 3, bytes: vec![1, 2, 3] }).encode();
        for end in 0..whole.len() {
            assert!(Message::decode(&whole[..end]).is_err());
        }
    }
}
