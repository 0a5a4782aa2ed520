//! Operations that a file system of the tests has recorded (`latencyfs --record`), in the order in
//! which they came.

use std::collections::HashSet;
use std::path::Path;

/// An operation of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Name of the operation, such as `lookup`.
    pub kind: String,
    /// Process of the caller.
    pub process: u32,
    /// Thread of the caller.
    pub thread: u32,
    /// Inode that the operation is about; for a name that of its directory.
    pub inode: u64,
    /// Name in the directory, if the operation takes one.
    pub name: String,
}

/// Record of operations.
#[derive(Debug)]
pub struct Operations {
    begun: Vec<(u32, Operation)>,
    /// Numbers of operations in the order in which they began and ended.
    moments: Vec<(u32, Moment)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Begin,
    End,
}

impl Operations {
    /// Reads a record.
    pub fn read(record: &Path) -> Self {
        let (mut begun, mut moments) = (Vec::new(), Vec::new());
        for line in std::fs::read_to_string(record).unwrap().lines() {
            let words: Vec<&str> = line.split('\t').collect();
            let number = words[1].parse().unwrap();
            match words[0] {
                "begin" => {
                    moments.push((number, Moment::Begin));
                    begun.push((number, operation(&words)));
                }
                "end" => moments.push((number, Moment::End)),
                other => panic!("{other} in a record"),
            }
        }
        Self { begun, moments }
    }

    /// Returns the operations of a kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Operation> {
        self.begun.iter().map(|(_, operation)| operation).filter(move |it| it.kind == kind)
    }

    /// Returns the number of operations in progress after the beginning of each, in their order.
    pub fn in_progress(&self) -> Vec<usize> {
        let mut now = 0;
        let mut counts = Vec::new();
        for (_, moment) in &self.moments {
            match moment {
                Moment::Begin => {
                    now += 1;
                    counts.push(now);
                }
                Moment::End => now -= 1,
            }
        }
        counts
    }

    /// Returns the largest number of inodes that operations of a kind were about at one time.
    pub fn inodes_at_once(&self, kind: &str) -> usize {
        let mut open: Vec<(u32, u64)> = Vec::new();
        let mut begun = self.begun.iter();
        let mut most = 0;
        for (number, moment) in &self.moments {
            match moment {
                Moment::Begin => {
                    let (_, operation) = begun.next().unwrap();
                    if operation.kind == kind {
                        open.push((*number, operation.inode));
                    }
                }
                Moment::End => open.retain(|(other, _)| other != number),
            }
            let inodes: HashSet<u64> = open.iter().map(|(_, inode)| *inode).collect();
            most = most.max(inodes.len());
        }
        most
    }
}

fn operation(words: &[&str]) -> Operation {
    Operation {
        kind: words[2].to_owned(),
        process: words[3].parse().unwrap(),
        thread: words[4].parse().unwrap(),
        inode: words[5].parse().unwrap(),
        name: words[6].to_owned(),
    }
}
