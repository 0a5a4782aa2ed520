//! How many requests of this rank may be under way at a service that asks for fewer.
//!
//! As TCP does with packets (RFC 5681, "Congestion Avoidance"): what a service turns away halves the requests
//! under way, at most once for those that were sent before the last halving was noticed; what it answers lets
//! them grow by one for each full round of answers. Until the service turns something away there is no limit
//! but the operator's.
//!
//! Each rank goes by its own answers, and the whole job falls back: a busy service turns away requests of all
//! ranks, mostly of those that send most, so all of them end up with about the same share of what it bears
//! (Chiu and Jain 1989, "Analysis of the Increase and Decrease Algorithms"). No rank has to know how many
//! others there are, no message is needed, and jobs of other people get their share, too.
//!
//! A request has its place while it waits for an answer's head. It has none in the pauses between its tries,
//! and none while its body is read: who reads one object may have to ask for another to get on.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The rule: no threads, no clock.
#[derive(Debug, Clone)]
struct Window {
    /// Requests that may be under way; a fraction is what it has grown since the last whole one.
    size: f64,
    size_max: f64,
    under_way: u32,
    /// Tries begun so far.
    begun: u64,
    /// Of these, so many were begun when the window was last halved.
    begun_when_halved: u64,
    /// Tries that were turned away.
    refused: u64,
}

/// One try of a request.
#[derive(Debug, Clone, Copy)]
struct Try {
    number: u64,
    /// Tries under way when it began, itself among them.
    beside: u32,
}

/// What a service made of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is well.
    Good,
    /// It asks for fewer requests.
    Busy,
    /// There was none, or it says nothing about that.
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

    /// A try begins, if it may.
    fn begin(&mut self) -> Option<Try> {
        self.has_room().then(|| {
            self.begun += 1;
            self.under_way += 1;
            Try { number: self.begun, beside: self.under_way }
        })
    }

    /// A try has ended.
    fn end(&mut self, ended: Try, answer: Answer) {
        let beside = self.under_way.max(ended.beside);
        // Answers to what was sent before the last halving tell of what was before it.
        let is_news = ended.number > self.begun_when_halved;
        match answer {
            Answer::Busy => {
                self.refused += 1;
                if is_news {
                    self.size = (f64::from(beside) / 2.0).min(self.size).max(1.0);
                    self.begun_when_halved = self.begun;
                }
            }
            // A window that is not used says nothing about whether more would do.
            Answer::Good if is_news && f64::from(beside) + 1.0 > self.size => {
                self.size = (self.size + 1.0 / self.size).min(self.size_max);
            }
            Answer::Good | Answer::Other => {}
        }
        self.under_way -= 1;
    }
}

/// The window of a service, as all threads of a rank share it.
#[derive(Debug)]
pub(crate) struct Pressure {
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug)]
struct State {
    window: Window,
    waiting: u32,
}

/// A request's place among those under way; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pressure: Arc<Pressure>,
    attempt: Try,
    answer: Answer,
}

impl Pressure {
    /// With no more than so many requests under way, whatever the service says.
    pub fn new(requests_max: u32) -> Self {
        let state = State { window: Window::new(requests_max), waiting: 0 };
        Self { state: Mutex::new(state), freed: Condvar::new() }
    }

    /// Waits for a place.
    pub fn wait(self: &Arc<Self>) -> Place {
        let mut state = self.lock();
        let attempt = loop {
            if let Some(attempt) = state.window.begin() {
                break attempt;
            }
            state.waiting += 1;
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        };
        self.wake_one(&state);
        Place { pressure: Arc::clone(self), attempt, answer: Answer::Other }
    }

    /// Requests that the service has turned away so far.
    pub fn refused(&self) -> u64 {
        self.lock().window.refused
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever is woken wakes the next one, while there is room.
    fn wake_one(&self, state: &State) {
        if state.waiting > 0 && state.window.has_room() {
            self.freed.notify_one();
        }
    }
}

impl Place {
    /// The service has answered.
    pub fn answered(mut self, answer: Answer) {
        self.answer = answer;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.pressure.lock();
        state.window.end(self.attempt, self.answer);
        self.pressure.wake_one(&state);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// So many answers to a rank that has always something to send.
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

    /// Ranks with much to send, in rounds, and a service that turns away what is more than it bears in one:
    /// how many tries it turns away, of how many.
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

    /// Between two halvings a rank's window grows by one a round, from half of its share to just above it: so
    /// about 3/8 of the share's square is answered before the next one or two tries are turned away.
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
        let pressure = Arc::new(Pressure::new(2));
        pressure.wait().answered(Answer::Busy);
        let inside = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (pressure, inside) = (Arc::clone(&pressure), Arc::clone(&inside));
                std::thread::spawn(move || {
                    for _ in 0..200 {
                        let place = pressure.wait();
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
        assert_eq!(pressure.refused(), 1);
        assert_eq!(pressure.lock().window.under_way, 0);
    }
}
