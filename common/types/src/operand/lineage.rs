//! Lineage of a directory: it and all directories above it, as one node sees them. It tells whether
//! directories that are reached in different ways, such as a mount here and another host, are the
//! same, or one inside the other.

use serde::{Deserialize, Serialize};

use crate::operand::root_view::Seen;

/// A directory and those above it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Boot ID of the machine.
    pub machine: Vec<u8>,
    /// The directory, its parent, and so on.
    pub directories: Vec<Seen>,
}

impl Lineage {
    /// Returns whether both are lineages of one directory.
    pub fn is_of_same(&self, other: &Self) -> bool {
        let first = self.directories.first();
        first.is_some_and(|first| other.begins_with(first, &self.machine))
    }

    /// Returns whether the directory of this lineage is that of the other one, or is below it.
    pub fn is_below(&self, other: &Self) -> bool {
        self.directories.iter().any(|seen| other.begins_with(seen, &self.machine))
    }

    fn begins_with(&self, seen: &Seen, machine: &[u8]) -> bool {
        let is_one_machine = self.machine == machine && !machine.is_empty();
        self.directories.first().is_some_and(|first| first.is_same(seen, is_one_machine))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Time;

    const XFS: u64 = 0x5846_5342;
    const LUSTRE: u64 = 0x0bd0_0bd0;
    const FUSE: u64 = 0x6573_5546;

    fn seen(system: u64, device: u64, inode: u64) -> Seen {
        Seen {
            system,
            kind: Vec::new(),
            system_id: None,
            device,
            inode,
            born: None,
            changed: Time { seconds: 5, nanoseconds: inode as u32 },
            origin: None,
        }
    }

    fn lineage(machine: &str, directories: Vec<Seen>) -> Lineage {
        Lineage { machine: machine.as_bytes().to_vec(), directories }
    }

    #[test]
    fn a_shared_directory_is_recognised_from_two_machines() {
        let above = |device| seen(LUSTRE, device, 10);
        let here = lineage("a", vec![seen(LUSTRE, 1, 20), above(1), seen(XFS, 2, 128)]);
        let there = lineage("b", vec![above(7), seen(XFS, 8, 128)]);
        assert!(here.is_below(&there) && !there.is_below(&here) && !here.is_of_same(&there));
        assert!(here.is_of_same(&here) && here.is_below(&here));
        // Another server's directory of that number has changed at another time.
        let mut other = there.clone();
        other.directories[0].changed.nanoseconds += 1;
        assert!(!here.is_below(&other));
    }

    #[test]
    fn local_file_systems_of_two_machines_are_never_the_same() {
        let here = lineage("a", vec![seen(XFS, 1, 128)]);
        assert!(!here.is_of_same(&lineage("b", vec![seen(XFS, 1, 128)])));
        assert!(here.is_of_same(&lineage("a", vec![seen(XFS, 1, 128)])));
        assert!(!here.is_of_same(&lineage("a", vec![seen(XFS, 2, 128)])));
        let unknown = lineage("", vec![seen(XFS, 1, 128)]);
        assert!(!unknown.is_of_same(&unknown));
    }

    #[test]
    fn a_mount_of_a_vague_type_must_have_one_origin() {
        let of = |origin: Option<&str>| {
            let origin = origin.map(|text| text.as_bytes().to_vec());
            Seen { origin, ..seen(FUSE, 1, 1) }
        };
        let one = |machine, origin| lineage(machine, vec![of(origin)]);
        assert!(one("a", Some("pool/cont")).is_of_same(&one("b", Some("pool/cont"))));
        assert!(!one("a", Some("pool/cont")).is_of_same(&one("b", Some("pool/other"))));
        assert!(!one("a", None).is_of_same(&one("b", None)));
    }
}
