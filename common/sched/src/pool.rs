//! The I/O threads of one rank and the tasks they share.
//!
//! Each thread has a deque: it takes its own newest task (depth first keeps queues short), others
//! take its oldest (the largest subtrees). Threads without work sleep on a condition variable, as
//! do those that are more than may work at the same time.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use crossbeam_deque::{Injector, Steal, Stealer, Worker};

use super::frame::Frame;
use super::offers::{Offer, Offers};
use comm::Rank;
use types::limits;

/// A message for the main thread to send.
type Posted = (Rank, Frame);

/// Pool of the tasks that the threads of a rank share.
pub(super) struct Pool<T> {
    /// Tasks from outside the threads: seeds, and tasks of other ranks.
    injector: Injector<T>,
    /// Tasks that only this rank can run.
    pinned: Injector<T>,
    deques: Vec<Stealer<T>>,
    /// Tasks that only other ranks can take.
    offers: Offers<T>,
    /// Number of queued tasks without the pinned and the offered ones.
    queued: AtomicI64,
    /// Number of tasks that are queued or running, and of everything else that keeps this rank from
    /// being passive.
    pending: AtomicI64,
    sleepers: AtomicU32,
    /// Number of threads that may work at the same time.
    level: AtomicU32,
    /// Number of threads that work. It changes only under the lock, except that threads start.
    working: AtomicU32,
    /// Number of threads that pause within a task.
    pausing: AtomicU32,
    sleep: Mutex<()>,
    wake: Condvar,
    resume: Condvar,
    /// True where an idle thread or rank found no task: running tasks should be divided.
    wanted: AtomicBool,
    stop_wanted: AtomicBool,
    stopped: AtomicBool,
    ended: AtomicBool,
    panicked: AtomicBool,
    main: Thread,
    outbox: (Sender<Posted>, Receiver<Posted>),
    posted: AtomicU64,
    pub tasks_run: AtomicU64,
    pub finding_begun: AtomicU64,
    pub finding_ended: AtomicU64,
    pub idle_ns: AtomicU64,
}

impl<T> Pool<T> {
    /// Creates a pool for up to `threads_max` threads; the caller is the main thread. Also returns
    /// the threads' own ends of the deques.
    pub fn new(threads_max: u32) -> (Self, Vec<Worker<T>>) {
        let workers: Vec<Worker<T>> = (0..threads_max).map(|_| Worker::new_lifo()).collect();
        let pool = Self {
            injector: Injector::new(),
            pinned: Injector::new(),
            deques: workers.iter().map(Worker::stealer).collect(),
            offers: Offers::new(),
            queued: AtomicI64::new(0),
            pending: AtomicI64::new(0),
            sleepers: AtomicU32::new(0),
            level: AtomicU32::new(0),
            working: AtomicU32::new(0),
            pausing: AtomicU32::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            resume: Condvar::new(),
            wanted: AtomicBool::new(false),
            stop_wanted: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            main: std::thread::current(),
            outbox: crossbeam_channel::unbounded(),
            posted: AtomicU64::new(0),
            tasks_run: AtomicU64::new(0),
            finding_begun: AtomicU64::new(0),
            finding_ended: AtomicU64::new(0),
            idle_ns: AtomicU64::new(0),
        };
        (pool, workers)
    }

    /// Returns the number of threads, at most.
    pub fn threads_max(&self) -> u32 {
        self.deques.len() as u32
    }

    /// Queues a task on the thread's own deque, or for any thread.
    pub fn push(&self, task: T, own: Option<&Worker<T>>) {
        self.hold();
        match own {
            Some(worker) => worker.push(task),
            None => self.injector.push(task),
        }
        self.queued.fetch_add(1, Ordering::SeqCst);
        if self.wanted.load(Ordering::Relaxed) {
            self.wanted.store(false, Ordering::Relaxed);
        }
        self.wake_one();
    }

    /// Queues a task that no other rank may take.
    pub fn push_pinned(&self, task: T) {
        self.hold();
        self.pinned.push(task);
        self.wake_one();
    }

    /// Offers a task to other ranks.
    pub fn offer(&self, task: T) -> Offer {
        self.hold();
        self.offers.put(task)
    }

    /// Takes back an offered task, which keeps this rank from being passive until
    /// [`Pool::release`].
    pub fn take_back(&self, offer: Offer) -> Option<T> {
        self.offers.take_back(offer)
    }

    /// Takes an offered task for another rank.
    pub fn give_offer(&self) -> Option<T> {
        self.offers.take().inspect(|_| self.release())
    }

    /// Returns true where a task should be offered to other ranks.
    pub fn is_offer_wanted(&self) -> bool {
        self.offers.is_wanted()
    }

    /// Keeps this rank from being passive until [`Pool::release`].
    pub fn hold(&self) {
        self.pending.fetch_add(1, Ordering::SeqCst);
    }

    /// Ends one [`Pool::hold`], or a task.
    pub fn release(&self) {
        if self.pending.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.main.unpark();
        }
    }

    fn wake_one(&self) {
        // Pairs with the sleeper, which counts itself before it looks for work.
        fence(Ordering::SeqCst);
        if self.idle() > 0 {
            drop(self.lock());
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the number of threads that may work at the same time.
    pub fn set_level(&self, threads: u32) {
        let guard = self.lock();
        let before = self.level.swap(threads, Ordering::SeqCst);
        drop(guard);
        if threads > before {
            self.wake.notify_all();
            self.resume.notify_all();
        }
    }

    /// Counts a thread that starts.
    pub fn starts_to_work(&self) {
        self.working.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns true where one more thread may work.
    fn has_room(&self) -> bool {
        self.working.load(Ordering::SeqCst) < self.level.load(Ordering::SeqCst)
    }

    /// Returns true where more threads work than may.
    pub fn is_crowded(&self) -> bool {
        self.working.load(Ordering::Relaxed) > self.level.load(Ordering::Relaxed)
    }

    /// Pauses the calling thread while enough others work. It may be within a task, but must hold
    /// nothing for which another thread waits. Threads that find no work let it go on.
    pub fn pause_if_crowded(&self) {
        if !self.is_crowded() {
            return;
        }
        let mut guard = self.lock();
        if !self.is_crowded() {
            return;
        }
        self.working.fetch_sub(1, Ordering::SeqCst);
        self.pausing.fetch_add(1, Ordering::SeqCst);
        while !self.has_room() && !self.is_stopped() && !self.ended.load(Ordering::SeqCst) {
            guard = self.resume.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.pausing.fetch_sub(1, Ordering::SeqCst);
        self.working.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns the next task for a thread: one that only this rank can run, else the thread's own
    /// newest, else this rank's oldest.
    pub fn find(&self, own: &Worker<T>) -> Option<T> {
        // A pinned task ends something that holds files open.
        if !self.pinned.is_empty()
            && let Some(task) = until_settled(|| self.pinned.steal())
        {
            return Some(task);
        }
        if let Some(task) = own.pop() {
            self.queued.fetch_sub(1, Ordering::SeqCst);
            return Some(task);
        }
        self.take_oldest()
    }

    /// Takes the oldest task that is queued on this rank, pinned ones excepted.
    fn take_oldest(&self) -> Option<T> {
        if self.queued.load(Ordering::SeqCst) <= 0 {
            return None;
        }
        let task = until_settled(|| self.injector.steal())
            .or_else(|| self.deques.iter().find_map(|deque| until_settled(|| deque.steal())))?;
        self.queued.fetch_sub(1, Ordering::SeqCst);
        Some(task)
    }

    /// Takes up to `tasks` queued tasks for another rank, until `accept` returns false. Called by
    /// the main thread only: until the message with them is counted as posted, this rank may seem
    /// passive, and only that thread reports whether it is.
    pub fn give(&self, tasks: u32, mut accept: impl FnMut(T) -> bool) {
        self.wanted.store(false, Ordering::Relaxed);
        for _ in 0..tasks {
            let Some(task) = self.take_oldest() else { return };
            let enough = !accept(task);
            self.release();
            if enough {
                return;
            }
        }
    }

    /// Returns true where running tasks should be divided: others are idle and no task is queued
    /// for them.
    pub fn is_hungry(&self) -> bool {
        self.queued.load(Ordering::Relaxed) <= 0
            && (self.idle() > 0 || self.wanted.load(Ordering::Relaxed))
    }

    /// Asks running tasks to divide.
    pub fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Sleeps until there may be work, and the thread may do it; false when the job has ended.
    pub fn sleep_until_work(&self) -> bool {
        let began = Instant::now();
        let mut guard = self.lock();
        let is_surplus = self.is_crowded();
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        self.working.fetch_sub(1, Ordering::SeqCst);
        self.main.unpark();
        if self.pausing.load(Ordering::SeqCst) > 0 {
            self.resume.notify_one();
        }
        while !self.ended.load(Ordering::SeqCst) && (!self.has_work() || !self.has_room()) {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.working.fetch_add(1, Ordering::SeqCst);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        drop(guard);
        if !is_surplus {
            let idle_ns = began.elapsed().as_nanos() as u64;
            self.idle_ns.fetch_add(idle_ns, Ordering::Relaxed);
        }
        !self.ended.load(Ordering::SeqCst)
    }

    fn has_work(&self) -> bool {
        self.queued.load(Ordering::SeqCst) > 0 || !self.pinned.is_empty()
    }

    /// Ends all threads, since there is no work left.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(self.lock());
        self.wake.notify_all();
        self.resume.notify_all();
    }

    /// Posts a message for the main thread to send; waits while too many are posted already.
    pub fn post(&self, to: Rank, frame: Frame) {
        while self.outbox.0.len() >= limits::OUTBOX_LETTERS_MAX && !self.is_main_thread() {
            std::thread::sleep(Duration::from_micros(200));
        }
        self.posted.fetch_add(1, Ordering::SeqCst);
        // The receiver lives as long as the pool.
        let _ = self.outbox.0.send((to, frame));
        self.main.unpark();
    }

    fn is_main_thread(&self) -> bool {
        std::thread::current().id() == self.main.id()
    }

    /// Returns the next message that a thread has posted.
    pub fn next_posted(&self) -> Option<(Rank, Frame)> {
        self.outbox.1.try_recv().ok()
    }

    /// Returns the number of messages that were posted so far.
    pub fn posted(&self) -> u64 {
        self.posted.load(Ordering::SeqCst)
    }

    /// Returns true where no task is queued or running, and nothing is held.
    pub fn is_passive(&self) -> bool {
        self.pending.load(Ordering::SeqCst) == 0
    }

    /// Returns the number of queued tasks.
    pub fn queued(&self) -> i64 {
        self.queued.load(Ordering::SeqCst)
    }

    /// Returns the number of threads that may work and sleep for want of it.
    pub fn idle(&self) -> u32 {
        let sleepers = self.sleepers.load(Ordering::SeqCst);
        if sleepers == 0 {
            return 0;
        }
        let level = self.level.load(Ordering::SeqCst);
        sleepers.min(level.saturating_sub(self.working.load(Ordering::SeqCst)))
    }

    /// Requests the stop of the whole job. This rank cancels its tasks at once: the cause that made
    /// one fail would make each of them fail before other ranks learn of it.
    pub fn want_stop(&self) {
        self.stop_wanted.store(true, Ordering::SeqCst);
        self.stop();
        self.main.unpark();
    }

    /// Returns true after [`Pool::want_stop`].
    pub fn is_stop_wanted(&self) -> bool {
        self.stop_wanted.load(Ordering::SeqCst)
    }

    /// Cancels tasks from now on.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(self.lock());
        self.resume.notify_all();
    }

    /// Returns true after [`Pool::stop`].
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Records that a thread has panicked, so that the main thread ends the job.
    pub fn tell_of_panic(&self) {
        self.panicked.store(true, Ordering::SeqCst);
        self.main.unpark();
    }

    /// Returns true after [`Pool::tell_of_panic`].
    pub fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::SeqCst)
    }
}

/// Repeats a steal that lost a race.
fn until_settled<T>(mut steal: impl FnMut() -> Steal<T>) -> Option<T> {
    loop {
        match steal() {
            Steal::Success(task) => return Some(task),
            Steal::Empty => return None,
            Steal::Retry => std::hint::spin_loop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_pauses_within_a_task_goes_on_when_others_have_no_work() {
        let (pool, _workers) = Pool::<()>::new(2);
        pool.set_level(1);
        pool.starts_to_work();
        pool.starts_to_work();
        assert!(pool.is_crowded());
        std::thread::scope(|scope| {
            let pauses = scope.spawn(|| pool.pause_if_crowded());
            while pool.pausing.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            assert!(!pool.is_crowded() && !pauses.is_finished());
            let sleeps = scope.spawn(|| pool.sleep_until_work());
            pauses.join().unwrap();
            assert_eq!((pool.idle(), pool.pausing.load(Ordering::SeqCst)), (0, 0));
            pool.end();
            assert!(!sleeps.join().unwrap(), "there was never any work");
        });
    }

    #[test]
    fn threads_above_the_level_are_not_idle_and_an_interrupted_job_lets_them_go_on() {
        let (pool, _workers) = Pool::<()>::new(2);
        pool.set_level(1);
        pool.starts_to_work();
        pool.starts_to_work();
        std::thread::scope(|scope| {
            let sleeps = scope.spawn(|| pool.sleep_until_work());
            while pool.sleepers.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            assert_eq!(pool.idle(), 0, "one works, and no more may");
            pool.set_level(2);
            assert_eq!(pool.idle(), 1);
            pool.set_level(0);
            let pauses = scope.spawn(|| pool.pause_if_crowded());
            pool.stop();
            pauses.join().unwrap();
            pool.end();
            assert!(!sleeps.join().unwrap());
        });
    }
}
