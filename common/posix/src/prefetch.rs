//! File systems whose clients fetch attributes ahead for one thread: the one that inspects the
//! names of a directory in the order in which it reads them.

use types::file_systems::LUSTRE;

/// Types (statfs(2)), with their names.
///
/// - Lustre: statahead serves the thread that has opened the directory, from the first name on,
///   with some 25 names a request (`llite/statahead.c`). A name that another thread inspects is a
///   request of its own, and after a few names out of order statahead ends.
///
/// Not in the table, since any thread of a node is as good as another:
/// - NFS: attributes come with the names (READDIRPLUS), as long as anything on the node uses them.
///   Without it, as with `nordirplus`, threads hide the latency.
/// - FUSE, also dfuse of DAOS: the same, where the server implements it, which the type does not
///   tell.
/// - Local file systems: attributes are read from a disk or memory, and threads hide the latency.
const IN_ORDER: [(u64, &str); 1] = [(LUSTRE, "Lustre")];

/// Returns the name of a file system that prefetches like that.
pub(super) fn in_order(system: u64) -> Option<&'static str> {
    IN_ORDER.iter().find(|(known, _)| *known == system).map(|(_, name)| *name)
}
