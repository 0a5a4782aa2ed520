//! Answers about paths that have arrived a moment ago, together with the one that was waited for.

use std::sync::Mutex;
use std::time::Instant;

use types::error::Result;
use types::limits::REMOTE_ANSWER_AGE_MAX;

use crate::exchange::lock;
use crate::protocol::{Answer, Request};

/// Answers that have arrived with others, for the questions that follow at once.
#[derive(Default)]
pub(crate) struct Answers(Mutex<Vec<Known>>);

struct Known {
    request: Request,
    answer: Result<Answer>,
    since: Instant,
}

impl Answers {
    /// Returns the answer to a request, if it has arrived a moment ago.
    pub fn of(&self, request: &Request) -> Option<Result<Answer>> {
        let mut known = lock(&self.0);
        known.retain(|it| it.since.elapsed() < REMOTE_ANSWER_AGE_MAX);
        known.iter().find(|it| it.request == *request).map(|it| it.answer.clone())
    }

    /// Adds the answers to some requests.
    pub fn add(&self, requests: Vec<Request>, answers: &[Result<Answer>]) {
        let since = Instant::now();
        let known = requests.into_iter().zip(answers);
        let known = known.map(|(request, it)| Known { request, answer: it.clone(), since });
        lock(&self.0).extend(known);
    }

    /// Forgets all answers, because something changes there.
    pub fn forget(&self) {
        lock(&self.0).clear();
    }
}
