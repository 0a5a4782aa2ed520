//! Directories that a source and a target show both, by mounts: parts of the source that are
//! mounted below the target, parts of the target below the source, or a file system in both.

use super::StoreResolver;
use host::mounts::relative;
use posix::Shown;
use types::entry::Kind;
use types::error::Side;
use types::path::join;

/// A directory that is at different paths of the source and the target.
#[derive(Debug, PartialEq, Eq)]
struct Shared {
    /// Mount point below the target, or the target itself, through which it is seen.
    mount: Vec<u8>,
    /// Path below the target.
    at: Vec<u8>,
}

impl StoreResolver {
    /// Returns whether a mount shows a directory in both trees, so that the source would be changed
    /// with the target: where the job writes, at paths that both have, or anywhere if it `deletes`
    /// what only the target has.
    pub fn share_mounts(
        &self,
        [source, target]: [&[u8]; 2],
        deletes: bool,
        takes_part: impl Fn(&[u8]) -> bool,
    ) -> bool {
        if self.is_object(Side::Source, source) || self.is_object(Side::Target, target) {
            return false;
        }
        let (from, to) = (self.spot(source), self.spot(target));
        if !from.is_here() || !to.is_here() {
            return false;
        }
        let [of_source, of_target] = posix::shown_directories([&from.path, &to.path]);
        let is_there = |below: &[u8]| from.kind(&join(&from.path, below)) == Some(Kind::Directory);
        shared(&of_source, &of_target).iter().any(|Shared { mount, at }| {
            // A mount point that only the target has stays as it is.
            let is_entered = mount.is_empty() || is_there(mount);
            takes_part(at) && is_entered && (deletes || is_there(at))
        })
    }
}

/// Returns the directories that both trees show. Their roots, which come first, are compared when
/// they are walked; and what both have at the same path is copied onto itself, which is an error of
/// its own.
fn shared(source: &[Shown], target: &[Shown]) -> Vec<Shared> {
    let mut found = Vec::new();
    for of_source in source {
        for of_target in target {
            let are_roots = of_source.below.is_empty() && of_target.below.is_empty();
            if are_roots || of_source.device != of_target.device {
                continue;
            }
            let in_source = relative(&of_target.directory, &of_source.directory);
            let in_target = relative(&of_source.directory, &of_target.directory);
            let paths = match (in_source, in_target) {
                (Some(below), _) => (join(&of_source.below, below), of_target.below.clone()),
                (None, Some(below)) => (of_source.below.clone(), join(&of_target.below, below)),
                (None, None) => continue,
            };
            if paths.0 != paths.1 {
                found.push(Shared { mount: of_target.below.clone(), at: paths.1 });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(below: &str, device: u64, directory: &str) -> Shown {
        Shown { below: below.into(), device, directory: directory.into() }
    }

    #[test]
    fn what_is_mounted_in_both_trees_is_found() {
        let (source, target) = (shown("", 1, "/p/s"), shown("", 1, "/t"));
        let found = |in_source: &[Shown], in_target: &[Shown]| -> Vec<[String; 2]> {
            let [source, target] = [(&source, in_source), (&target, in_target)]
                .map(|(root, mounts)| [std::slice::from_ref(root), mounts].concat());
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            let all = shared(&source, &target).into_iter();
            all.map(|shared| [text(shared.mount), text(shared.at)]).collect()
        };
        let of = |mount: &str, at: &str| vec![[mount.to_owned(), at.to_owned()]];
        assert_eq!(found(&[], &[]), [[""; 2]; 0]);
        assert_eq!(found(&[], &[shown("e", 1, "/p/s/d")]), of("e", "e"), "a part of the source");
        assert_eq!(found(&[], &[shown("e", 1, "/p/s/e")]), [[""; 2]; 0], "the same path");
        assert_eq!(found(&[], &[shown("a", 1, "/p")]), of("a", "a/s"), "what is above the source");
        assert_eq!(found(&[shown("old", 1, "/t/2020")], &[]), of("", "2020"), "of the target");
        assert_eq!(found(&[shown("m", 2, "/")], &[shown("n", 2, "/")]), of("n", "n"));
        assert_eq!(found(&[shown("m", 2, "/")], &[shown("m", 2, "/")]), [[""; 2]; 0]);
        assert_eq!(found(&[shown("m", 2, "/")], &[shown("n", 3, "/")]), [[""; 2]; 0]);
        assert_eq!(found(&[], &[shown("e", 1, "/other")]), [[""; 2]; 0]);
    }
}
