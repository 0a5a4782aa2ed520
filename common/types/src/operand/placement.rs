//! Path that the copy of each source gets: cp's and mpiFileUtils' rules of existing directories and
//! trailing slashes, by path components and without I/O.
//!
//! - An existing directory as target receives the source under its own last name
//!   (`dcp a dir` makes `dir/a`).
//! - A source that ends in `/` or `/.` stands for its contents: they go into the target itself
//!   (`dcp a/ dir` fills `dir`), as in mpiFileUtils and rsync.
//! - A target that does not exist becomes the copy (`dcp a new` makes `new`).
//! - Several sources need an existing directory as target.

use serde::{Deserialize, Serialize};

use crate::operand::container::ContainerPath;
use crate::operand::location::{path_there, split};
use crate::operand::remote_path::RemotePath;
use crate::path;

/// A path as the operator gave it, with the meaning of its spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Path, as given; one in the home directory on another host is spelled with a slash.
    pub path: Vec<u8>,
    /// Last component; `None` for `/`, `.`, `..` and paths that end in them.
    pub last_name: Option<Vec<u8>>,
    /// True where the path ends in `/` or `/.`, or is `.` or `..`, and so stands for the
    /// directory's contents.
    pub means_contents: bool,
}

impl Given {
    /// Parses the spelling of a path.
    pub fn new(path: &[u8]) -> Self {
        let with_slash = RemotePath::with_slash(path);
        let path = with_slash.as_deref().unwrap_or(path);
        if matches!(ContainerPath::parse(path), Ok(Some(place)) if place.path.is_empty()) {
            // A container has no name in any directory.
            return Self { path: path.to_vec(), last_name: None, means_contents: true };
        }
        Self::parsed(path, path_there(path))
    }

    /// Parses the spelling of a path in a file system, whatever place on a host it looks like.
    pub fn local(path: &[u8]) -> Self {
        Self::parsed(path, path)
    }

    fn parsed(path: &[u8], below: &[u8]) -> Self {
        let last = below.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let means_contents = matches!(last, b"" | b"." | b"..");
        let name = below
            .split(|byte| *byte == b'/')
            .rfind(|part| !part.is_empty() && *part != b".")
            .filter(|part| *part != b"..");
        Self { path: path.to_vec(), last_name: name.map(<[u8]>::to_vec), means_contents }
    }

    /// Returns the directory that contains the entry, for a path with a last component.
    pub fn parent(&self) -> Vec<u8> {
        let Some(name) = &self.last_name else { return self.path.clone() };
        let found = self.path.windows(name.len()).rposition(|part| part == name);
        let end = found.unwrap_or(0);
        match &self.path[..end] {
            b"" => b".".to_vec(),
            head => head.to_vec(),
        }
    }
}

/// Returns a path without slashes at its end. The root directory keeps its own, on another host,
/// too, where the rest would be the home directory.
pub fn without_slashes(given: &[u8]) -> &[u8] {
    let (head, below) = split(given);
    let bare = path::without_end_slashes(below).len();
    let root = usize::from(bare == 0 && !below.is_empty());
    &given[..head.len() + bare.max(root)]
}

/// State of the target path before the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetIs {
    /// No entry.
    Missing,
    /// A directory, or a symbolic link to one.
    Directory,
    /// Any other entry.
    NotDirectory,
}

/// Target that cannot receive a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("target \"{}\" {fault}", path::escaped(target))]
pub struct PlacementError {
    target: Vec<u8>,
    fault: PlacementFault,
}

/// Reason why a target cannot receive a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum PlacementFault {
    #[error("is not a directory; several sources need one that exists")]
    SeveralSources,
    #[error("exists and is not a directory, but the source is one")]
    NotDirectory,
    #[error("is not a directory; make it first, or leave the trailing slash out")]
    Slash,
}

/// Returns the path that the copy of `source` gets.
///
/// # Errors
/// Fails where the target has to be a directory, and is none.
pub fn place_sources(
    source: &Given,
    source_is_directory: bool,
    target: &Given,
    target_is: TargetIs,
    sources: usize,
) -> Result<Vec<u8>, PlacementError> {
    let refused = |fault| Err(PlacementError { target: target.path.clone(), fault });
    match target_is {
        TargetIs::Directory if source.means_contents && source_is_directory => {
            Ok(target.path.clone())
        }
        TargetIs::Directory => match &source.last_name {
            Some(name) => Ok(path::join(&target.path, name)),
            None => Ok(target.path.clone()),
        },
        _ if sources > 1 => refused(PlacementFault::SeveralSources),
        TargetIs::NotDirectory if source_is_directory => refused(PlacementFault::NotDirectory),
        _ if target.means_contents && !source_is_directory => refused(PlacementFault::Slash),
        TargetIs::Missing | TargetIs::NotDirectory => Ok(target.path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(
        source: &str,
        dir: bool,
        target: &str,
        is: TargetIs,
    ) -> Result<String, PlacementError> {
        place_sources(&Given::new(source.as_bytes()), dir, &Given::new(target.as_bytes()), is, 1)
            .map(|path| String::from_utf8(path).expect("the test's names are UTF-8"))
    }

    #[test]
    fn an_existing_directory_receives_the_source_under_its_name() {
        let into = |source, dir| placed(source, dir, "t", TargetIs::Directory);
        assert_eq!(into("s", true), Ok("t/s".into()));
        assert_eq!(into("x/y", false), Ok("t/y".into()));
        assert_eq!(into("a//b", true), Ok("t/b".into()));
        assert_eq!(placed("s", true, "t/", TargetIs::Directory), Ok("t/s".into()));
    }

    #[test]
    fn a_trailing_slash_or_dot_means_the_contents() {
        for source in ["s/", "s//", "s/.", "s/./", ".", "..", "/"] {
            assert_eq!(placed(source, true, "t", TargetIs::Directory), Ok("t".into()), "{source}");
        }
    }

    #[test]
    fn a_missing_target_becomes_the_copy() {
        assert_eq!(placed("s", true, "new", TargetIs::Missing), Ok("new".into()));
        assert_eq!(placed("s/", true, "new/", TargetIs::Missing), Ok("new/".into()));
        assert_eq!(placed("f", false, "new", TargetIs::Missing), Ok("new".into()));
        assert!(placed("f", false, "new/", TargetIs::Missing).is_err());
    }

    #[test]
    fn a_file_is_replaced_by_a_file_only() {
        assert_eq!(placed("f", false, "old", TargetIs::NotDirectory), Ok("old".into()));
        assert!(placed("s", true, "old", TargetIs::NotDirectory).is_err());
    }

    #[test]
    fn names_that_share_a_prefix_are_different_names() {
        assert_eq!(placed("ab", true, "a", TargetIs::Directory), Ok("a/ab".into()));
    }

    #[test]
    fn parents_are_found_by_component() {
        let parent = |path: &str| Given::new(path.as_bytes()).parent();
        assert_eq!(parent("a"), b".");
        assert_eq!(parent("a/b"), b"a/");
        assert_eq!(parent("a/b//"), b"a/");
        assert_eq!(parent("/a"), b"/");
        assert_eq!(parent("a/a"), b"a/");
        assert_eq!(parent("sftp://a/a"), b"sftp://a/");
        assert_eq!(parent("sftp://a/~/a"), b"sftp://a/~/");
        assert_eq!(parent("h:/h"), b"h:/");
        assert_eq!(parent("u@h:h"), b"u@h:./");
        assert_eq!(parent("h:/"), b"h:/");
    }

    #[test]
    fn slashes_at_the_end_go_and_the_root_stays() {
        for (given, bare) in [
            ("a//", "a"),
            ("/", "/"),
            ("//", "/"),
            ("h:/", "h:/"),
            ("u@h:/x/", "u@h:/x"),
            ("u@h:./", "u@h:."),
            ("sftp://h/", "sftp://h/"),
            ("sftp://h/x/", "sftp://h/x"),
            ("s3://b/x/", "s3://b/x"),
            ("./a:/", "./a:"),
        ] {
            assert_eq!(without_slashes(given.as_bytes()), bare.as_bytes(), "{given}");
        }
    }

    #[test]
    fn a_host_is_no_name() {
        for top in [
            "sftp://h/",
            "sftp://h/~",
            "sftp://h/~/",
            "h:/",
            "h://",
            "u@h:",
            "u@h:.",
            "u@h:./",
            "h:./",
            "h:..",
            "u@h:~",
            "h:~/",
        ] {
            let given = Given::new(top.as_bytes());
            assert!(given.last_name.is_none() && given.means_contents, "{top}");
        }
        // In another directory than the home directory's, that is a name like any other.
        assert_eq!(Given::new(b"h:a/~").last_name.as_deref(), Some(&b"~"[..]));
        let below = Given::new(b"sftp://h/x");
        assert!(below.last_name == Some(b"x".to_vec()) && !below.means_contents);
    }
}
