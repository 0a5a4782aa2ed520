//! A limiter of this rank's concurrent requests to a service that throttles.
//!
//! The limit follows TCP's congestion avoidance (RFC 5681): a throttled request halves the limit,
//! at most once for all requests that were sent before the last halving took effect, and answers
//! raise it by one for each full round of requests. Until the service throttles for the first time,
//! only the operator's limit applies.
//!
//! Each rank reacts to its own answers, and thereby the whole job slows down: a busy service
//! throttles requests of all ranks, mostly of those that send most, so that their shares converge
//! (Chiu and Jain 1989, "Analysis of the Increase and Decrease Algorithms"). No rank needs to know
//! the number of ranks, no message is exchanged, and jobs of other users get their share too.
//!
//! A request holds a permit while it waits for the head of its answer. It holds none during the
//! pauses between attempts, nor while its body is read: a thread that reads one object may have to
//! request another before it can go on, and would wait for itself.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The window of concurrent requests: the algorithm alone, without threads or clocks, so that it
/// can be tested exactly.
#[derive(Debug, Clone)]
struct Window {
    /// The number of concurrent requests allowed; the fraction is the growth since the last whole
    /// request.
    size: f64,
    size_max: f64,
    under_way: u32,
    /// The number of attempts begun so far.
    begun: u64,
    /// The value of `begun` when the window was last halved.
    begun_when_halved: u64,
    /// The number of throttled attempts.
    refused: u64,
}

/// One attempt of a request.
#[derive(Debug, Clone, Copy)]
struct Try {
    number: u64,
    /// The number of concurrent attempts when this one began, including itself.
    beside: u32,
}

/// The service's response to an attempt, as far as its load is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The service handles its load.
    Good,
    /// The service throttles.
    Busy,
    /// An answer is missing, or says nothing of the load.
    Other,
}

impl Window {
    fn new(size_max: u32) -> Self {
        let size_max = f64::from(size_max.max(1));
        Self { size: size_max, size_max, under_way: 0, begun: 0, begun_when_halved: 0, refused: 0 }
    }

    fn has_room(&self) -> bool {
        f64::from(self.under_way) + 1.0 <= self.size
    }

    /// Begins an attempt if the window has room.
    fn begin(&mut self) -> Option<Try> {
        self.has_room().then(|| {
            self.begun += 1;
            self.under_way += 1;
            Try { number: self.begun, beside: self.under_way }
        })
    }

    /// Ends an attempt, and adapts the window to its answer.
    fn end(&mut self, ended: Try, answer: Answer) {
        let beside = self.under_way.max(ended.beside);
        // An attempt that was sent before the last halving met the old number of requests, so its
        // answer must not halve the window once more.
        let is_news = ended.number > self.begun_when_halved;
        match answer {
            Answer::Busy => {
                self.refused += 1;
                if is_news {
                    self.size = (f64::from(beside) / 2.0).min(self.size).max(1.0);
                    self.begun_when_halved = self.begun;
                }
            }
            // A window that is not used up gives no evidence that the service would sustain a
            // larger one.
            Answer::Good if is_news && f64::from(beside) + 1.0 > self.size => {
                self.size = (self.size + 1.0 / self.size).min(self.size_max);
            }
            Answer::Good | Answer::Other => {}
        }
        self.under_way -= 1;
    }
}

/// The limiter of a service, shared by all threads of a rank.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimiter {
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug)]
struct State {
    window: Window,
    waiting: u32,
}

/// A permit for one concurrent request, which is returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limiter: Arc<ConcurrencyLimiter>,
    attempt: Try,
    answer: Answer,
}

impl ConcurrencyLimiter {
    /// Creates a limiter with the operator's limit, which is never exceeded.
    pub fn new(requests_max: u32) -> Self {
        let state = State { window: Window::new(requests_max), waiting: 0 };
        Self { state: Mutex::new(state), freed: Condvar::new() }
    }

    /// Waits for a permit.
    pub fn wait(self: &Arc<Self>) -> Permit {
        let mut state = self.lock();
        let attempt = loop {
            if let Some(attempt) = state.window.begin() {
                break attempt;
            }
            state.waiting += 1;
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        };
        // The window may have grown by more than one since the last thread was woken.
        self.wake_one(&state);
        Permit { limiter: Arc::clone(self), attempt, answer: Answer::Other }
    }

    /// Returns the number of requests that the service has throttled so far.
    pub fn refused(&self) -> u64 {
        self.lock().window.refused
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one waiting thread if the window has room. Each woken thread wakes the next, so that
    /// no notification is lost or wasted.
    fn wake_one(&self, state: &State) {
        if state.waiting > 0 && state.window.has_room() {
            self.freed.notify_one();
        }
    }
}

impl Permit {
    /// Returns the permit together with the service's response. A permit that is merely dropped
    /// counts as an attempt without an answer.
    pub fn answered(mut self, answer: Answer) {
        self.answer = answer;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limiter.lock();
        state.window.end(self.attempt, self.answer);
        self.limiter.wake_one(&state);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Feeds answers to the window of a rank that always has something to send.
    fn answers(window: &mut Window, count: u32, answer: Answer) {
        let mut under_way: VecDeque<_> = std::iter::from_fn(|| window.begin()).collect();
        for _ in 0..count {
            window.end(under_way.pop_front().unwrap(), answer);
            under_way.extend(std::iter::from_fn(|| window.begin()));
        }
        for attempt in under_way {
            window.end(attempt, Answer::Other);
        }
        assert_eq!(window.under_way, 0);
    }

    /// Simulates ranks with much to send, in rounds, and a service that throttles what exceeds its
    /// capacity in a round. Returns the number of throttled attempts, and that of all attempts.
    fn refusals(ranks: usize, service_bears: usize, rounds: u32) -> (u64, u64) {
        let mut windows = vec![Window::new(256); ranks];
        let mut answered = 0;
        for _ in 0..rounds {
            let mut under_way = Vec::new();
            loop {
                let before = under_way.len();
                for (rank, window) in windows.iter_mut().enumerate() {
                    under_way.extend(window.begin().map(|attempt| (rank, attempt)));
                }
                if under_way.len() == before {
                    break;
                }
            }
            for (at, (rank, attempt)) in under_way.into_iter().enumerate() {
                let answer = if at < service_bears { Answer::Good } else { Answer::Busy };
                answered += u64::from(answer == Answer::Good);
                windows[rank].end(attempt, answer);
            }
        }
        let refused = windows.iter().map(|window| window.refused).sum();
        (refused, answered + refused)
    }

    #[test]
    fn a_refusal_costs_half_and_a_round_of_answers_gives_one_more() {
        let mut window = Window::new(100);
        let tries: Vec<_> = std::iter::from_fn(|| window.begin()).take(9).collect();
        window.end(tries[3], Answer::Busy);
        assert_eq!((window.size, window.under_way), (4.5, 8));
        for attempt in &tries[4..] {
            window.end(*attempt, Answer::Busy);
        }
        assert_eq!((window.size, window.refused), (4.5, 6), "all of them were sent before");
        for attempt in &tries[..3] {
            window.end(*attempt, Answer::Good);
        }
        assert_eq!((window.size, window.under_way), (4.5, 0));
        answers(&mut window, 5, Answer::Good);
        assert!(window.size > 5.3 && window.size <= 5.6, "{window:?}");
        answers(&mut window, 5, Answer::Other);
        assert!(window.size > 5.3 && window.size <= 5.6, "{window:?}");
    }

    #[test]
    fn there_is_always_room_for_one_and_never_for_more_than_the_operator_allows() {
        let mut window = Window::new(3);
        for _ in 0..20 {
            let attempt = window.begin().unwrap();
            window.end(attempt, Answer::Busy);
        }
        assert!(window.size <= 1.0 && window.has_room(), "{window:?}");
        answers(&mut window, 20, Answer::Good);
        assert!(window.size > 2.9 && window.size <= 3.0, "{window:?}");
        window.size = 2.0;
        for _ in 0..20 {
            let attempt = window.begin().unwrap();
            window.end(attempt, Answer::Good);
        }
        assert!(window.size <= 2.0, "what is not used does not grow: {window:?}");
    }

    /// Verifies the rate of throttling. Between two halvings a rank's window grows by one each
    /// round, from half of its share to just above it, so about 3/8 of the square of the share is
    /// answered before the next one or two attempts are throttled.
    #[test]
    fn few_requests_are_turned_away_however_many_ranks_there_are() {
        for (ranks, bears) in [(1, 8), (1, 64), (4, 64), (16, 256)] {
            let (refused, sent) = refusals(ranks, bears, 10_000);
            let (share, first_burst) = ((bears / ranks) as u64, (256 * ranks - bears) as u64);
            let later = refused - first_burst;
            assert!(later > 10, "no window has grown again");
            assert!(later < 512 + sent * 6 / (share * share), "{ranks} {bears}: {later} of {sent}");
            assert!(sent > 10_000 * bears as u64 / 2, "not even half of what it bears");
        }
    }

    #[test]
    fn threads_wait_for_a_place_and_all_get_one() {
        let limiter = Arc::new(ConcurrencyLimiter::new(2));
        limiter.wait().answered(Answer::Busy);
        let inside = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (limiter, inside) = (Arc::clone(&limiter), Arc::clone(&inside));
                std::thread::spawn(move || {
                    for _ in 0..200 {
                        let place = limiter.wait();
                        let beside = inside.fetch_add(1, Ordering::SeqCst);
                        assert!(beside < 2);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        place.answered(Answer::Good);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(limiter.refused(), 1);
        assert_eq!(limiter.lock().window.under_way, 0);
    }
}
