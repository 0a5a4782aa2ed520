//! The doubts that the last job of a journal leaves, by the syncs of its ranks.

use super::doubt::{Doubt, FOR_GOOD, early, late};
use super::record::Record;
use types::entry::Time;
use types::limits::UNSYNCED_BYTES_MAX;

/// The syncs of the last job, as its records tell.
#[derive(Debug, Default)]
pub(super) struct LastJob {
    /// The doubts from before that job.
    doubts: Vec<Doubt>,
    started: Option<Time>,
    /// The number of ranks of the job.
    ranks: u32,
    /// The time of the last sync of each rank that has a log.
    synced: Vec<Time>,
    /// The time of the last sync in the log that is being read.
    of_log: Option<Time>,
    /// The latest time at which a rank that ended in order had changed something.
    left: Option<Time>,
}

impl LastJob {
    /// Evaluates a record.
    pub fn add(&mut self, record: &Record) {
        match record {
            Record::Doubtful(doubt) => self.doubts.push(*doubt),
            Record::Started { at } => self.started = Some(*at),
            Record::Syncing { ranks } => self.ranks = *ranks,
            Record::Synced { until } => self.of_log = Some(*until),
            Record::Left { at } => self.left = self.left.max(Some(*at)),
            _ => {}
        }
    }

    /// Ends the log of one rank.
    pub fn end_log(&mut self) {
        self.synced.extend(self.of_log.take());
    }

    /// Returns the present doubts: about what a node may have lost, and about what was changed by
    /// others after all ranks had ended in order. `began` is the beginning of the first of the
    /// jobs, for jobs of an older version that have not synced. Where the log of any rank is
    /// missing, everything since the last job's beginning is in doubt.
    pub fn doubts(self, began: Option<Time>, now: Time) -> Vec<Doubt> {
        let Self { mut doubts, started, ranks, synced, left, .. } = self;
        let all_have_logs = ranks > 0 && synced.len() == ranks as usize;
        let least = synced.into_iter().min().filter(|_| all_have_logs);
        let size_bytes_max = if started.is_some() { UNSYNCED_BYTES_MAX } else { u64::MAX };
        let from = least.or(started.or(began).map(early));
        match (from, left) {
            // What the next job copies is behind this period, also by a clock that differs a
            // little: it must not be compared in each later job.
            (Some(FOR_GOOD), Some(from)) if from < now => {
                doubts.push(Doubt { from, until: now, size_bytes_max: u64::MAX });
            }
            (None | Some(FOR_GOOD), _) => {}
            (Some(from), _) => doubts.push(Doubt { from, until: late(now), size_bytes_max }),
        }
        doubts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time { seconds, nanoseconds: 0 }
    }

    fn last_job(logs: &[&[Record]]) -> LastJob {
        let mut job = LastJob::default();
        job.add(&Record::Started { at: at(10_000) });
        job.end_log();
        for log in logs {
            for record in *log {
                job.add(record);
            }
            job.end_log();
        }
        job
    }

    fn synced(until: Time) -> [Record; 2] {
        [Record::Syncing { ranks: 2 }, Record::Synced { until }]
    }

    #[test]
    fn what_the_slowest_rank_has_not_synced_is_in_doubt() {
        let logs = [synced(at(10_030)), synced(at(10_060))];
        let doubts = last_job(&[&logs[0], &logs[1]]).doubts(None, at(20_000));
        let [doubt] = doubts[..] else { panic!("{doubts:?}") };
        for (ctime, size, expected) in [
            (10_029, 5, false),
            (10_030, 5, true),
            (20_500, 5, true),
            (21_000, 5, false),
            (10_030, UNSYNCED_BYTES_MAX + 1, false),
        ] {
            assert_eq!(doubt.covers(at(ctime), size), expected, "{ctime} {size}");
        }
    }

    #[test]
    fn a_job_that_ended_in_order_leaves_no_doubt() {
        let logs = [synced(FOR_GOOD), synced(FOR_GOOD)];
        assert_eq!(last_job(&[&logs[0], &logs[1]]).doubts(None, at(20_000)), []);
        // Earlier doubts remain.
        let mut job = last_job(&[&logs[0], &logs[1]]);
        let old = Doubt { from: at(1), until: at(2), size_bytes_max: 3 };
        job.add(&Record::Doubtful(old));
        assert_eq!(job.doubts(None, at(20_000)), [old]);
    }

    #[test]
    fn what_was_changed_after_a_job_that_ended_in_order_is_in_doubt() {
        let log = |at| {
            let [syncing, synced] = synced(FOR_GOOD);
            [syncing, Record::Left { at }, synced]
        };
        let doubts = last_job(&[&log(at(10_060)), &log(at(10_030))]).doubts(None, at(20_000));
        let [doubt] = doubts[..] else { panic!("{doubts:?}") };
        assert!(!doubt.covers(at(10_059), 5) && doubt.covers(at(10_061), u64::MAX));
        // What the next job has copied is in no doubt after its end.
        let mut next = last_job(&[&log(at(20_500)), &log(at(20_400))]);
        next.add(&Record::Doubtful(doubt));
        let doubts = next.doubts(None, at(30_000));
        let covers = |ctime| doubts.iter().any(|doubt| doubt.covers(at(ctime), 5));
        assert_eq!([10_061, 20_100, 20_499, 20_501].map(covers), [true, false, false, true]);
    }

    #[test]
    fn without_a_log_of_each_rank_all_of_the_job_is_in_doubt() {
        let log = synced(FOR_GOOD);
        for logs in [&[][..], &[&log[..]], &[&log[..], &log[..1]]] {
            let doubts = last_job(logs).doubts(None, at(20_000));
            assert_eq!(doubts[0].from, early(at(10_000)));
        }
        let of_older_kind = LastJob::default().doubts(Some(at(5000)), at(20_000));
        assert_eq!(
            (of_older_kind[0].from, of_older_kind[0].size_bytes_max),
            (early(at(5000)), u64::MAX)
        );
        assert_eq!(LastJob::default().doubts(None, at(20_000)), []);
    }
}
