//! Interface of an operation that the engine runs.

use serde::{Serialize, de::DeserializeOwned};

use super::crew::Crew;
use comm::Rank;

/// An operation as tasks that any thread of any rank may run.
///
/// One value per rank, shared by its threads.
pub trait Job: Sync {
    /// Unit of work, small and self-contained; it may be sent to another rank.
    type Task: Serialize + DeserializeOwned + Send;
    /// Message from one rank's part of the operation to another's.
    type Letter: Serialize + DeserializeOwned;
    /// Event for rank 0, such as a failure or lines of a list.
    type Notice: Serialize + DeserializeOwned;
    /// Progress of this rank.
    type Snapshot: Serialize + DeserializeOwned;
    /// Worker state that one thread keeps between tasks: buffers, counts.
    type Hand;

    /// Creates the worker state of a thread.
    fn hand(&self) -> Self::Hand;

    /// Runs a task on an I/O thread; more tasks may be queued through `crew`.
    fn run(&self, task: Self::Task, hand: &mut Self::Hand, crew: &Crew<'_, Self>);

    /// Cancels a task instead of running it, since the job was stopped.
    fn discard(&self, task: Self::Task, hand: &mut Self::Hand, crew: &Crew<'_, Self>);

    /// Delivers what a thread has gathered, when no task is queued for it or it ends.
    fn flush(&self, hand: &mut Self::Hand, crew: &Crew<'_, Self>);

    /// Receives a message. Runs on the main thread, so it must not do I/O: it queues a task.
    fn letter(&self, from: Rank, letter: Self::Letter, crew: &Crew<'_, Self>);

    /// Returns the progress of this rank.
    fn snapshot(&self) -> Self::Snapshot;
}

/// Receiver of all ranks' events, on rank 0. Runs on the main thread.
pub trait Listener<J: Job + ?Sized> {
    /// Receives an event from a rank.
    fn notice(&mut self, from: Rank, notice: J::Notice);

    /// Receives the progress of a rank.
    fn progress(&mut self, from: Rank, snapshot: J::Snapshot);

    /// Runs now and then, for anything that depends on time.
    fn tick(&mut self);
}
