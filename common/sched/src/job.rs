//! Interface of an operation that the engine runs.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::context::TaskContext;
use comm::Rank;

/// An operation as tasks that any thread of any rank may run.
///
/// One value per rank, shared by its threads.
pub trait Job: Sync {
    /// Unit of work, small and self-contained; it may be sent to another rank.
    type Task: Serialize + DeserializeOwned + Send;
    /// Message from one rank's part of the operation to another's.
    type Message: Serialize + DeserializeOwned;
    /// Event for rank 0, such as a failure or lines of a list.
    type Event: Serialize + DeserializeOwned;
    /// Progress of this rank.
    type Snapshot: Serialize + DeserializeOwned;
    /// Worker state that one thread keeps between tasks: buffers, counts.
    type Worker;

    /// Creates the worker state of a thread.
    fn worker(&self) -> Self::Worker;

    /// Runs a task on an I/O thread; more tasks may be queued through `context`.
    fn run(&self, task: Self::Task, worker: &mut Self::Worker, context: &TaskContext<'_, Self>);

    /// Cancels a task instead of running it, since the job was stopped.
    fn discard(&self, task: Self::Task, worker: &mut Self::Worker, context: &TaskContext<'_, Self>);

    /// Delivers what a thread has gathered, when no task is queued for it or it ends.
    fn flush(&self, worker: &mut Self::Worker, context: &TaskContext<'_, Self>);

    /// Delivers what threads have put together for rank 0, however little it is. The main thread
    /// calls it now and then, so that rank 0 knows what happened if the job is killed.
    fn deliver(&self, _context: &TaskContext<'_, Self>) {}

    /// Receives a message, where the operation sends any. Runs on the main thread, so it must not
    /// do I/O: it queues a task.
    fn message(&self, _from: Rank, _message: Self::Message, _context: &TaskContext<'_, Self>) {}

    /// Returns the progress of this rank.
    fn snapshot(&self) -> Self::Snapshot;

    /// Returns true for a task that may find more work, so that what is known is not all there is.
    fn finds(_task: &Self::Task) -> bool {
        false
    }
}

/// Number of tasks that find work, ever queued on a rank and ever ended there. While a task of the
/// job is open on any rank, the sums over all ranks differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Finding {
    /// Tasks that were queued where they were made; stolen ones count once.
    pub begun: u64,
    /// Tasks that have ended.
    pub ended: u64,
}

/// Receiver of all ranks' events, on rank 0. Runs on the main thread.
pub trait Listener<J: Job + ?Sized> {
    /// Receives an event from a rank.
    fn event(&mut self, from: Rank, event: J::Event);

    /// Receives the progress of a rank.
    fn progress(&mut self, from: Rank, snapshot: J::Snapshot);

    /// Receives how many tasks that find work a rank has begun and ended.
    fn finding(&mut self, _from: Rank, _finding: Finding) {}

    /// Runs now and then, for anything that depends on time.
    fn tick(&mut self);
}
