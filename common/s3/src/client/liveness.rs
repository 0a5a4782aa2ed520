//! Whether a service answers at all, as all threads of a rank see it: it may be down for a while, and for good.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use types::limits::S3_SILENCE_TOLD;

/// What a rank has heard of a service.
#[derive(Debug)]
pub(crate) struct Liveness {
    give_up_after: Duration,
    /// The service, for people.
    endpoint: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Answers to this rank; one more where another rank has got one.
    answers: u64,
    /// When a try ended without an answer for the first time after the last answer.
    silent_since: Option<Instant>,
    /// Somebody was told of that.
    is_told: bool,
    /// It has been silent for too long, and nothing is asked any more.
    is_given_up: bool,
}

/// A service that was silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silence {
    /// Answers before it.
    pub answers: u64,
    /// It has lasted longer than anybody waits.
    pub is_too_long: bool,
}

impl Liveness {
    /// A service that is given up after so long a silence.
    pub fn new(give_up_after: Duration, endpoint: &str) -> Self {
        Self { give_up_after, endpoint: endpoint.to_owned(), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has answered, to this rank or another.
    pub fn answered(&self) {
        let mut state = self.lock();
        state.answers += 1;
        state.silent_since = None;
        state.is_told = false;
    }

    /// Answers so far.
    pub fn answers(&self) -> u64 {
        self.lock().answers
    }

    /// A try has ended without an answer; `is_late` if only after as long as it may take.
    pub fn unanswered(&self, now: Instant, is_late: bool) -> Silence {
        let mut state = self.lock();
        let since = *state.silent_since.get_or_insert(now);
        let time = now.duration_since(since);
        let is_too_long = state.answers > 0 && time >= self.give_up_after;
        state.is_given_up |= is_too_long;
        if !state.is_told && !is_too_long && (is_late || time >= S3_SILENCE_TOLD) {
            state.is_told = true;
            tracing::warn!("no answer from the S3 service ({}); asking again", self.endpoint);
        }
        Silence { answers: state.answers, is_too_long }
    }

    /// A request waits for an answer where there has been none yet: the first one of a job.
    pub fn is_waited_for(&self) {
        let mut state = self.lock();
        if state.answers == 0 && !state.is_told {
            state.is_told = true;
            tracing::warn!("no answer from the S3 service ({}) yet; waiting", self.endpoint);
        }
    }

    /// Nobody waits for it any more, because it has never answered.
    pub fn give_up(&self) {
        self.lock().is_given_up = true;
    }

    /// Nobody waits for it any more.
    pub fn is_given_up(&self) -> bool {
        self.lock().is_given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_given_up_when_nothing_was_answered_for_long() {
        let service = Liveness::new(Duration::from_mins(1), "http://host");
        let begin = Instant::now();
        let silent = |seconds| service.unanswered(begin + Duration::from_secs(seconds), false);
        let of = |answers, is_too_long| Silence { answers, is_too_long };
        // One that has never answered is the first question's business.
        assert_eq!([silent(0), silent(100)], [of(0, false); 2]);
        service.answered();
        assert_eq!([silent(200), silent(259)], [of(1, false); 2]);
        service.answered();
        assert_eq!(silent(300), of(2, false));
        assert!(!service.is_given_up());
        assert_eq!(silent(360), of(2, true));
        assert!(service.is_given_up());
    }
}
