//! Overlap of a source and a target of which one is on an SFTP server. The protocol has nothing by
//! which a directory is recognised, so a directory is made at the target for a moment, and looked
//! for at the source.

use std::ffi::CString;

use super::StoreResolver;
use super::spot::Spot;
use store::opening::{Need, OpenAs};
use types::entry::{Attributes, Kind};
use types::error::{Cause, Result, Side};
use types::operand::placement::Given;
use types::operand::staged_name::probe_name;
use types::path::{join, parent};

impl StoreResolver {
    /// Returns why a source and a target are not to be used together, if they turn out to be the
    /// same or one inside the other, or `MaybeSame` where no directory can be made at the target. A
    /// dry run makes none.
    pub(super) fn overlap_by_probe(
        &self,
        from: &Spot<'_>,
        kind: Kind,
        to: &Spot<'_>,
    ) -> Option<Cause> {
        if self.makes_no_probes {
            return None;
        }
        let given = Given::local(&from.path);
        let is_directory = kind == Kind::Directory;
        let directory = if is_directory { from.path.clone() } else { given.parent() };
        let directory = from.real_directory(&directory)?;
        let (nearest, below) = to.nearest(|at| to.real_directory(at))?;
        let is_name =
            matches!(&below[..], [name] if Some(name.to_bytes()) == given.last_name.as_deref());
        if !is_directory && !is_name {
            return None;
        }
        let Ok(mut probe) = self.probe(&[&to.head[..], &nearest].concat()) else {
            return Some(Cause::MaybeSame);
        };
        // Others may work in a directory above that of the target.
        probe.before = probe.before.filter(|_| below.is_empty() || !is_directory);
        let shows = |place: &[u8]| from.kind(&join(place, probe.name.to_bytes())).is_some();
        let cause = if !is_directory {
            shows(&directory).then_some(Cause::SameFile)
        } else if shows(&directory) {
            Some(if below.is_empty() { Cause::SameFile } else { Cause::TargetInside })
        } else if tails(&nearest).any(|tail| shows(&join(&directory, tail))) {
            Some(Cause::TargetInside)
        } else {
            let above = std::iter::successors(above(&directory), |path| above(path));
            let is_inside = below.is_empty() && above.into_iter().any(shows);
            is_inside.then_some(Cause::SourceInside)
        };
        probe.end();
        cause
    }

    fn probe(&self, directory: &[u8]) -> Result<Probe> {
        let passage = OpenAs { need: Need::Passage, ..OpenAs::default() };
        let (store, _) = self.open_changeable(Side::Target, directory, passage)?;
        let dir = store.open_dir(&types::path::RelPath::root())?;
        let times = dir.metadata()?.times();
        let name = CString::new(probe_name(fastrand::u64(..))).unwrap_or_default();
        dir.make_dir(&name, 0o700)?;
        Ok(Probe { dir, name, before: Some(Attributes { times, ..Attributes::default() }) })
    }
}

/// A directory that is made at the target for a moment.
struct Probe {
    dir: std::sync::Arc<dyn store::Dir>,
    name: CString,
    /// Timestamps to restore.
    before: Option<Attributes>,
}

impl Probe {
    /// Removes the directory, and restores the timestamps of a target that it was in.
    fn end(self) {
        let removed = self.dir.remove(&self.name, Kind::Directory);
        let restored = self.before.map(|before| self.dir.set_attributes(&before));
        if let Err(error) = removed.and(restored.transpose()) {
            tracing::debug!(%error, name = ?self.name, "a probe of the target is left");
        }
    }
}

/// Returns the ends of a path, from its last component on.
fn tails(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = (0..path.len()).rev().filter(|at| path[*at] == b'/');
    slashes.map(|at| &path[at + 1..]).filter(|tail| !tail.is_empty())
}

/// Returns the directory above an absolute path.
fn above(path: &[u8]) -> Option<&[u8]> {
    if path == b"/" {
        return None;
    }
    parent(path).map(|above| if above.is_empty() { &b"/"[..] } else { above })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_tails_and_directories_above_them() {
        let tails: Vec<_> = tails(b"/a/b/c").collect();
        assert_eq!(tails, [&b"c"[..], b"b/c", b"a/b/c"]);
        let above: Vec<_> = std::iter::successors(above(b"/a/b"), |path| above(path)).collect();
        assert_eq!(above, [&b"/a"[..], b"/"]);
    }
}
