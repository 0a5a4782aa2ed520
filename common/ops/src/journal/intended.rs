//! Multipart uploads that an interrupted job was about to initiate. A job that is killed between
//! the request and its answer does not know the identifier of the upload, which exists
//! nevertheless.

use std::collections::{HashMap, HashSet};

use super::TargetFile;
use super::record::Record;
use types::entry::Time;

/// The files, each with the time of the intention, of which no log shows that the upload was
/// recorded.
#[derive(Debug, Default)]
pub(super) struct Intended {
    of_log: HashMap<TargetFile, Time>,
    of_all: HashSet<(TargetFile, Time)>,
}

impl Intended {
    /// Takes note of the next record of a log.
    pub fn add(&mut self, record: &Record) {
        match record {
            Record::Intended { file, at } => {
                let earlier = self.of_log.insert(file.clone(), *at);
                self.of_all.extend(earlier.map(|at| (file.clone(), at)));
            }
            Record::Begun { file, .. } | Record::BegunAs { file, .. } => {
                self.of_log.remove(file);
            }
            _ => {}
        }
    }

    /// Ends a log: what was intended in it is not recorded by the next one.
    pub fn end_log(&mut self) {
        self.of_all.extend(self.of_log.drain());
    }

    /// Returns the records of the intentions.
    pub fn into_records(self) -> impl Iterator<Item = Record> {
        self.of_all.into_iter().map(|(file, at)| Record::Intended { file, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Unfinished;
    use types::entry::{Identity, Version};

    const TIME: Time = Time { seconds: 1, nanoseconds: 2 };

    fn file(name: &str) -> TargetFile {
        TargetFile { from: b"/s".to_vec(), root: b"/t".to_vec(), path: name.into() }
    }

    fn intended(name: &str, seconds: i64) -> Record {
        Record::Intended { file: file(name), at: Time { seconds, ..TIME } }
    }

    fn begun(name: &str) -> Record {
        let identity = Identity { inode: 7, size_bytes: 300, mtime: TIME };
        let version = Version { identity, ctime: TIME };
        let begun = Unfinished { version, chunk_bytes: 100, staged: Vec::new(), inode: None };
        Record::Begun { file: file(name), begun }
    }

    #[test]
    fn an_intention_counts_until_its_own_log_has_the_upload() {
        let logs = [
            vec![intended("a", 1), intended("b", 1), begun("a"), intended("a", 2), begun("a")],
            vec![begun("b"), intended("c", 1), intended("c", 2)],
        ];
        let mut all = Intended::default();
        for log in logs {
            for record in &log {
                all.add(record);
            }
            all.end_log();
        }
        let left: Vec<_> = all.into_records().collect();
        let expected = [intended("b", 1), intended("c", 1), intended("c", 2)];
        assert_eq!(left.len(), expected.len(), "{left:?}");
        assert!(expected.iter().all(|it| left.contains(it)), "{left:?}");
    }
}
