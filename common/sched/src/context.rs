//! Task context: a running task's access to the engine, by which it queues more tasks and sends
//! messages and events.

use std::sync::atomic::Ordering;

use crossbeam_deque::Worker;

use super::frame::{Frame, encode};
use super::job::Job;
use super::offers::Offer;
use super::pool::Pool;
use comm::Rank;
use types::limits;

/// Access of one thread to its rank's pool.
pub struct TaskContext<'p, J: Job + ?Sized> {
    pub(super) pool: &'p Pool<J::Task>,
    pub(super) own: Option<&'p Worker<J::Task>>,
    pub(super) rank: Rank,
}

impl<J: Job + ?Sized> TaskContext<'_, J> {
    /// Returns this rank.
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// Queues a task, which any thread of any rank may run.
    pub fn push(&self, task: J::Task) {
        self.count_finding(&task);
        self.pool.push(task, self.own);
    }

    /// Queues a task behind all that this thread has queued, for any idle thread.
    pub fn push_behind(&self, task: J::Task) {
        self.count_finding(&task);
        self.pool.push(task, None);
    }

    /// Counts a task that finds work, before anybody can end it.
    pub(super) fn count_finding(&self, task: &J::Task) {
        self.pool.finding_begun.fetch_add(u64::from(J::finds(task)), Ordering::SeqCst);
    }

    /// Queues a task that only this rank can run, because of something that it holds open.
    pub fn push_pinned(&self, task: J::Task) {
        self.pool.push_pinned(task);
    }

    /// Offers a task to ranks that have nothing to do. The thread must take it back at the end of
    /// its own part.
    pub fn offer(&self, task: J::Task) -> Offer {
        self.count_finding(&task);
        self.pool.offer(task)
    }

    /// Returns true where a rank has nothing to do and could get nothing: a running task should
    /// offer part of its work.
    pub fn is_offer_wanted(&self) -> bool {
        self.pool.is_offer_wanted()
    }

    /// Keeps the job from ending until [`TaskContext::release`], since this rank awaits messages.
    pub fn hold(&self) {
        self.pool.hold();
    }

    /// Ends one [`TaskContext::hold`].
    pub fn release(&self) {
        self.pool.release();
    }

    /// Returns true where other threads are idle: a running task should queue part of its work.
    pub fn is_hungry(&self) -> bool {
        self.pool.is_hungry()
    }

    /// Pauses a thread that was taken away, until it is wanted again, after it has delivered what
    /// it gathered. To be called between the operations of a long task, with nothing held for which
    /// another thread waits.
    pub fn pause_if_crowded(&self, flush: impl FnOnce()) {
        if self.pool.is_crowded() {
            flush();
            self.pool.pause_if_crowded();
        }
    }

    /// Returns true where enough tasks are queued: a running task should do its work itself instead
    /// of queuing more.
    pub fn is_full(&self) -> bool {
        self.pool.queued() >= limits::QUEUED_TASKS_MAX as i64
    }

    /// Returns the number of threads that this rank may have, at most.
    pub fn threads_max(&self) -> u32 {
        self.pool.threads_max()
    }

    /// Sends a message to another rank's part of the operation.
    pub fn write_to(&self, to: Rank, message: &J::Message) {
        self.pool.post(to, Frame::Message(encode(message)));
    }

    /// Sends an event to rank 0.
    pub fn report(&self, event: &J::Event) {
        self.pool.post(Rank::ROOT, Frame::Event(encode(event)));
    }

    /// Stops the whole job: tasks that have not begun are cancelled.
    pub fn stop_job(&self) {
        self.pool.want_stop();
    }

    /// Returns true where the job is being stopped.
    pub fn is_stopped(&self) -> bool {
        self.pool.is_stopped()
    }
}

impl<J: Job> TaskContext<'_, J> {
    /// Takes an offered task back and runs it, unless a rank has taken it.
    pub fn take_back(&self, job: &J, offer: Offer, worker: &mut J::Worker) {
        if let Some(task) = self.pool.take_back(offer) {
            self.run(job, task, worker);
        }
    }

    /// Runs a task that keeps the rank from being passive, or cancels it where the job was stopped.
    pub(super) fn run(&self, job: &J, task: J::Task, worker: &mut J::Worker) {
        let finds = J::finds(&task);
        if self.is_stopped() {
            job.discard(task, worker, self);
        } else {
            job.run(task, worker, self);
        }
        self.pool.tasks_run.fetch_add(1, Ordering::Relaxed);
        self.pool.finding_ended.fetch_add(u64::from(finds), Ordering::SeqCst);
        self.pool.release();
    }
}
