//! What an operation gives the engine to run.

use serde::{Serialize, de::DeserializeOwned};

use super::crew::Crew;
use comm::Rank;

/// An operation as tasks that any thread of any rank may run.
///
/// One value per rank, shared by its threads.
pub trait Job: Sync {
    /// A piece of work, small and self-contained; it may be sent to another rank.
    type Task: Serialize + DeserializeOwned + Send;
    /// A message from one rank's part of the operation to another's.
    type Letter: Serialize + DeserializeOwned;
    /// Something rank 0 should hear of: a failure, lines of a list.
    type Notice: Serialize + DeserializeOwned;
    /// How far this rank is.
    type Snapshot: Serialize + DeserializeOwned;
    /// What one thread keeps for itself between tasks: buffers, counts.
    type Hand;

    /// A thread starts.
    fn hand(&self) -> Self::Hand;

    /// Runs a task, on an I/O thread; more tasks may be pushed to `crew`.
    fn run(&self, task: Self::Task, hand: &mut Self::Hand, crew: &Crew<'_, Self>);

    /// The job was stopped: gives a task up instead of running it.
    fn discard(&self, task: Self::Task, hand: &mut Self::Hand, crew: &Crew<'_, Self>);

    /// Nothing is queued for this thread, or it ends: hands over what it had gathered.
    fn flush(&self, hand: &mut Self::Hand, crew: &Crew<'_, Self>);

    /// A letter has arrived. Runs on the main thread, so it must not do I/O: it pushes a task.
    fn letter(&self, from: Rank, letter: Self::Letter, crew: &Crew<'_, Self>);

    /// How far this rank is now.
    fn snapshot(&self) -> Self::Snapshot;
}

/// Rank 0's ear: what it does with what the ranks report. Runs on the main thread.
pub trait Listener<J: Job + ?Sized> {
    /// A rank reports something.
    fn notice(&mut self, from: Rank, notice: J::Notice);

    /// A rank tells how far it is.
    fn progress(&mut self, from: Rank, snapshot: J::Snapshot);

    /// Some time has passed.
    fn tick(&mut self);
}
