//! Throttle of this rank: its share of the rates to which the whole job is limited. Threads take
//! tokens before they work; the main thread gets the share from rank 0.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use types::limits::{
    RATE_BLOCK, RATE_BLOCK_BYTES_MAX, RATE_BLOCK_BYTES_MIN, RATE_REQUEST_WAIT_MAX, RATE_WAIT_MAX,
};
use types::rate::{Bucket, Demand, KINDS, Rates, Work};

use crate::interrupt;

/// Share of a rank: work of each kind in a second, and whether nothing is to begin.
pub type Share = ([Option<f64>; KINDS], bool);

/// Throttle of one rank. Its clock is that of its caller.
pub struct Throttle {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Limits of the whole job, as rank 0 knows them.
    rates: Rates,
    is_paused: bool,
    kinds: [Kind; KINDS],
    asked: Duration,
}

#[derive(Clone, Copy)]
struct Kind {
    bucket: Option<Bucket>,
    used: u64,
    /// Work of the whole job on this rank.
    total: u64,
    has_waited: bool,
    waiting: u32,
}

impl Throttle {
    /// Creates a throttle that limits nothing.
    pub const fn new() -> Self {
        let kind = Kind { bucket: None, used: 0, total: 0, has_waited: false, waiting: 0 };
        let (rates, kinds) = (Rates::NONE, [kind; KINDS]);
        let state = State { rates, is_paused: false, kinds, asked: Duration::ZERO };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins with limits of a job of that many ranks, of which this one gets an equal share.
    pub fn begin(&self, rates: Rates, ranks: u32, now: Duration) {
        let part = |rate: u64| rate as f64 / f64::from(ranks.max(1));
        self.limit(rates);
        self.set((rates.per_second.map(|rate| rate.map(part)), rates.is_paused), now);
    }

    /// Changes the limits of the whole job, on rank 0, which divides them.
    pub fn limit(&self, rates: Rates) {
        self.lock().rates = rates;
    }

    /// Returns the limits of the whole job, on rank 0.
    pub fn rates(&self) -> Rates {
        self.lock().rates
    }

    /// Sets the share of this rank.
    pub fn set(&self, (rates, is_paused): Share, now: Duration) {
        let mut state = self.lock();
        state.is_paused = is_paused;
        for (kind, rate) in state.kinds.iter_mut().zip(rates) {
            match (&mut kind.bucket, rate) {
                (Some(bucket), Some(rate)) => bucket.set_rate(rate, now),
                (bucket, rate) => *bucket = rate.map(|rate| Bucket::new(rate, now)),
            }
        }
        self.changed.notify_all();
    }

    /// Takes tokens for some work that is to begin.
    ///
    /// # Errors
    /// Returns how long to wait before asking again, where there are none.
    pub fn try_take(&self, work: Work, amount: u64, now: Duration) -> Result<(), Duration> {
        self.lock().take(work, amount, now)
    }

    /// Waits for tokens, as long as the job goes on.
    fn take(&self, work: Work, amount: u64, goes_on: impl Fn() -> bool) {
        let mut state = self.lock();
        while let Err(wait) = state.take(work, amount, now()) {
            if !goes_on() {
                state.kinds[work as usize].total += amount;
                return;
            }
            state.kinds[work as usize].waiting += 1;
            let waited = self.changed.wait_timeout(state, wait.min(RATE_WAIT_MAX));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.kinds[work as usize].waiting -= 1;
        }
    }

    /// Counts work that was done before its amount was known; what comes next waits for it.
    pub fn add(&self, work: Work, amount: u64) {
        let kind = &mut self.lock().kinds[work as usize];
        kind.used += amount;
        kind.total += amount;
        if let Some(bucket) = &mut kind.bucket {
            bucket.owe(amount);
        }
    }

    /// Gives back tokens that were taken for more work than there was.
    fn give_back(&self, work: Work, amount: u64) {
        let kind = &mut self.lock().kinds[work as usize];
        // What was taken before the last demand has been told already.
        kind.used = kind.used.saturating_sub(amount);
        kind.total = kind.total.saturating_sub(amount);
        if let Some(bucket) = &mut kind.bucket {
            bucket.give_back(amount);
        }
    }

    /// Returns the bytes that one block should have; `None` where bytes are not limited.
    pub fn block_bytes(&self) -> Option<usize> {
        let state = self.lock();
        let (_operations, of_bytes) = state.kinds.split_last()?;
        let rates = of_bytes.iter().filter_map(|kind| kind.bucket.map(|bucket| bucket.rate()));
        let bytes = rates.reduce(f64::min)? * RATE_BLOCK.as_secs_f64();
        let bytes = (bytes as usize).clamp(RATE_BLOCK_BYTES_MIN, RATE_BLOCK_BYTES_MAX);
        // Aligned, for I/O that bypasses the page cache.
        Some(bytes - bytes % RATE_BLOCK_BYTES_MIN)
    }

    /// Takes tokens for a request that is about to be sent, as part of an operation that has begun:
    /// a pause does not keep it.
    ///
    /// # Errors
    /// Returns how long to wait before asking again, where there are none.
    fn try_request(&self, now: Duration, goes_on: impl Fn() -> bool) -> Result<(), Duration> {
        let mut state = self.lock();
        let may_wait = !state.is_paused && goes_on();
        match state.take(Work::Operations, 1, now) {
            Err(wait) if may_wait => Err(wait.min(RATE_REQUEST_WAIT_MAX)),
            Err(_) => {
                drop(state);
                self.add(Work::Operations, 1);
                Ok(())
            }
            taken => taken,
        }
    }

    /// Returns the work of each kind that this rank did, in the order of [`Work`].
    pub fn totals(&self) -> [u64; KINDS] {
        self.lock().kinds.map(|kind| kind.total)
    }

    /// Returns what this rank did since the last call.
    pub fn demand(&self, now: Duration) -> [Demand; KINDS] {
        let mut state = self.lock();
        let seconds = now.saturating_sub(state.asked).as_secs_f64();
        state.asked = now;
        state.kinds.each_mut().map(|kind| {
            let waited = kind.has_waited || kind.waiting > 0;
            let demand = Demand { amount: kind.used, seconds, waited };
            (kind.used, kind.has_waited) = (0, false);
            demand
        })
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn take(&mut self, work: Work, amount: u64, now: Duration) -> Result<(), Duration> {
        if self.is_paused {
            return Err(RATE_WAIT_MAX);
        }
        let kind = &mut self.kinds[work as usize];
        let taken = kind.bucket.as_mut().map_or(Ok(()), |bucket| bucket.take(amount, now));
        match taken {
            Ok(()) => {
                kind.used += amount;
                kind.total += amount;
            }
            Err(_) => kind.has_waited = true,
        }
        taken
    }
}

/// The throttle of this process.
static OWN: Throttle = Throttle::new();
/// True where the job may be limited: nothing is counted otherwise.
static IS_ON: AtomicBool = AtomicBool::new(false);
/// True while I/O threads run. Without a main thread that gets shares, nobody is made to wait.
static IS_WORKING: AtomicBool = AtomicBool::new(false);
/// True where the job is stopped, wherever that was decided: what is left of it is not limited.
static IS_STOPPED: AtomicBool = AtomicBool::new(false);
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the time on the clock of the throttle of this process.
pub fn now() -> Duration {
    BEGAN.elapsed()
}

/// Returns the throttle of this process, where the job may be limited.
pub fn own() -> Option<&'static Throttle> {
    IS_ON.load(Ordering::Relaxed).then_some(&OWN)
}

/// Limits the job of that many ranks from now on.
pub fn begin(rates: Rates, ranks: u32) {
    OWN.begin(rates, ranks, now());
    IS_ON.store(true, Ordering::Relaxed);
}

/// Guard of a time in which I/O threads run.
pub struct Working(());

/// Makes threads wait for tokens from now on, until the guard is dropped.
pub fn work_begins() -> Working {
    IS_WORKING.store(true, Ordering::Relaxed);
    Working(())
}

impl Drop for Working {
    fn drop(&mut self) {
        IS_WORKING.store(false, Ordering::Relaxed);
    }
}

/// Stops limiting, since the job is stopped, and wakes the threads that wait for tokens.
pub fn let_go() {
    IS_STOPPED.store(true, Ordering::Relaxed);
    OWN.changed.notify_all();
}

fn is_limited_now() -> bool {
    let is_stopped = IS_STOPPED.load(Ordering::Relaxed) || interrupt::is_wanted();
    IS_WORKING.load(Ordering::Relaxed) && !is_stopped
}

/// Waits until some work may begin; not where the job is being stopped, which is to end soon.
pub fn take(work: Work, amount: u64) {
    if let Some(own) = own() {
        own.take(work, amount, is_limited_now);
    }
}

/// Takes tokens for a request that is about to be sent.
///
/// # Errors
/// Returns how long to wait before asking again, where there are none.
pub fn try_request() -> Result<(), Duration> {
    own().map_or(Ok(()), |own| own.try_request(now(), is_limited_now))
}

/// Gives back tokens that were taken for more work than there was.
pub fn give_back(work: Work, amount: u64) {
    if let Some(own) = own() {
        own.give_back(work, amount);
    }
}

/// Counts work that was done before its amount was known.
pub fn add(work: Work, amount: u64) {
    if let Some(own) = own() {
        own.add(work, amount);
    }
}
