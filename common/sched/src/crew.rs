//! What a running task sees of the engine: where it leaves more tasks, letters and notices.

use crossbeam_deque::Worker;

use super::job::Job;
use super::message::Message;
use super::pool::Pool;
use comm::Rank;
use types::limits;

/// One thread's access to its rank's pool.
pub struct Crew<'p, J: Job + ?Sized> {
    pub(super) pool: &'p Pool<J::Task>,
    pub(super) own: Option<&'p Worker<J::Task>>,
    pub(super) rank: Rank,
}

impl<J: Job + ?Sized> Crew<'_, J> {
    /// This rank.
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// Queues a task; any thread of any rank may run it.
    pub fn push(&self, task: J::Task) {
        self.pool.push(task, self.own);
    }

    /// Queues a task behind all that this thread has queued, for any thread that is free.
    pub fn push_behind(&self, task: J::Task) {
        self.pool.push(task, None);
    }

    /// Queues a task that only this rank can run, because of something it holds open.
    pub fn push_pinned(&self, task: J::Task) {
        self.pool.push_pinned(task);
    }

    /// Keeps the job from ending until [`Crew::release`]: this rank waits for letters.
    pub fn hold(&self) {
        self.pool.hold();
    }

    /// Ends one [`Crew::hold`].
    pub fn release(&self) {
        self.pool.release();
    }

    /// Others have nothing to do: a running task should queue part of what it has.
    pub fn is_hungry(&self) -> bool {
        self.pool.is_hungry()
    }

    /// Enough tasks wait: a running task should do its work itself rather than queue more.
    pub fn is_full(&self) -> bool {
        self.pool.queued() >= limits::QUEUED_TASKS_MAX as i64
    }

    /// Sends a letter to another rank's part of the operation.
    pub fn write_to(&self, to: Rank, letter: &J::Letter) {
        self.pool.post(to, Message::Letter(encode(letter)));
    }

    /// Tells rank 0 something.
    pub fn report(&self, notice: &J::Notice) {
        self.pool.post(Rank::ROOT, Message::Notice(encode(notice)));
    }

    /// Stops the whole job: what has not begun is given up.
    pub fn stop_job(&self) {
        self.pool.want_stop();
    }

    /// The job is being stopped.
    pub fn is_stopped(&self) -> bool {
        self.pool.is_stopped()
    }
}

pub(super) fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain values in memory always serialise")
}
