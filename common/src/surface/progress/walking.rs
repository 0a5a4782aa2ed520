//! State of the walk of all ranks, from the tasks that each has begun and ended.

use comm::Rank;
use sched::job::Finding;

/// One rank's latest report.
#[derive(Debug, Clone, Copy, Default)]
struct Report {
    finding: Finding,
    /// Reports since the round began.
    reports: u32,
}

/// Reports of all ranks in rounds. The tasks that had ended in one round are as many as had begun
/// in the next one only if none was open in between, since both numbers grow.
#[derive(Debug)]
pub struct Walking {
    ranks: Vec<Report>,
    /// Tasks that had ended in the round before.
    ended_before: Option<u64>,
    is_over: bool,
}

impl Walking {
    /// Creates the state of a walk of so many ranks.
    pub fn new(ranks: u32) -> Self {
        let ranks = vec![Report::default(); ranks as usize];
        Self { ranks, ended_before: None, is_over: false }
    }

    /// Takes a rank's report.
    pub fn take(&mut self, from: Rank, finding: Finding) {
        if let Some(report) = self.ranks.get_mut(from.index()) {
            *report = Report { finding, reports: report.reports + 1 };
        }
        // A report that was on its way when the round began does not count for it.
        if self.ranks.iter().all(|report| report.reports >= 2) {
            let (begun, ended) = self.sums();
            self.is_over = begun > 0 && self.ended_before == Some(begun);
            self.ended_before = Some(ended);
            for report in &mut self.ranks {
                report.reports = 0;
            }
        }
    }

    fn sums(&self) -> (u64, u64) {
        let sum = |of: fn(&Finding) -> u64| self.ranks.iter().map(|rank| of(&rank.finding)).sum();
        (sum(|finding| finding.begun), sum(|finding| finding.ended))
    }

    /// Returns true where nothing more will be found.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Ends a phase: what follows works on what was found, or walks again and reports so.
    pub fn phase_ended(&mut self) {
        self.ranks.fill(Report::default());
        self.ended_before = None;
        self.is_over = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_over_when_all_that_had_begun_had_ended_before() {
        let mut walking = Walking::new(2);
        let mut round = |one: [u64; 2], other: [u64; 2]| {
            for [begun, ended] in [one, one] {
                walking.take(Rank(0), Finding { begun, ended });
            }
            for [begun, ended] in [other, other] {
                walking.take(Rank(1), Finding { begun, ended });
            }
            walking.is_over()
        };
        assert!(!round([1, 0], [0, 0]));
        // The second rank has ended a task that the first one has begun after its own report.
        assert!(!round([5, 4], [0, 1]));
        assert!(!round([9, 5], [0, 4]));
        assert!(round([9, 5], [0, 4]));
    }
}
