//! Files and directories that a job writes its results to: none is read by the same job, and no two
//! are one.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::surface::cli::CommonArgs;
use crate::surface::filter_args::FilterArgs;
use crate::surface::list_file::NotRegular;
use crate::surface::named_args::NamedArgs;
use lists::as_path;
use types::error::Failure;
use types::path;

/// The identity of a file or directory on this node: device and inode.
type Identity = (u64, u64);

fn identity(path: &Path) -> Option<Identity> {
    let metadata = std::fs::metadata(path).ok()?;
    // Writing to a device, a FIFO or a terminal replaces nothing.
    (metadata.is_file() || metadata.is_dir()).then(|| (metadata.dev(), metadata.ino()))
}

/// The directory that a path is in, which is there before the file is.
fn parent(path: &Path) -> Option<Identity> {
    let above = path.parent()?;
    identity(if above.as_os_str().is_empty() { Path::new(".") } else { above })
}

/// Tells whether two paths name one file, existing or to be created.
fn are_one(one: &Path, other: &Path) -> bool {
    let is_there = identity(one);
    let same_place = || {
        let (in_one, in_other) = (parent(one), parent(other));
        in_one.is_some() && in_one == in_other && one.file_name() == other.file_name()
    };
    match is_there {
        Some(_) => is_there == identity(other),
        // A device that is there has no identity, either.
        None => !one.exists() && same_place(),
    }
}

/// Reason why an output cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    /// The output would replace an input, or be a part of one.
    #[error("\"{}\" is both read and written; name another output", path::escaped(.0))]
    Input(Vec<u8>),
    /// Two outputs have one path.
    #[error("\"{}\" is named for two outputs", path::escaped(.0))]
    Twice(Vec<u8>),
    /// The file cannot be made.
    #[error(transparent)]
    File(#[from] Failure),
    /// The file cannot be a list of that format.
    #[error(transparent)]
    List(#[from] NotRegular),
}

/// Returns the files and lists that a job reads: entries, rules, and what steers it.
pub(super) fn inputs(named: &NamedArgs, filters: &FilterArgs, args: &CommonArgs) -> Vec<Vec<u8>> {
    let rules = filters.rules.files.iter().cloned();
    named.files().into_iter().chain(rules).chain(args.files()).collect()
}

/// Refuses outputs that would replace an input, by whatever name, be a part of one, or replace each
/// other.
///
/// # Errors
/// Returns the path.
pub(super) fn check(outputs: &[&[u8]], inputs: &[Vec<u8>]) -> Result<(), OutputError> {
    for (index, output) in outputs.iter().enumerate() {
        let written = as_path(output);
        for input in inputs.iter().map(|input| as_path(input)) {
            let is_part = parent(written).is_some_and(|above| identity(input) == Some(above))
                && input.is_dir();
            if is_part || are_one(written, input) {
                return Err(OutputError::Input(output.to_vec()));
            }
        }
        if outputs[..index].iter().any(|earlier| are_one(written, as_path(earlier))) {
            return Err(OutputError::Twice(output.to_vec()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn an_output_is_known_by_any_of_its_names() {
        let work = tempfile::tempdir().unwrap();
        let at = |name: &str| work.path().join(name).as_os_str().as_bytes().to_vec();
        std::fs::write(as_path(&at("list")), "x").unwrap();
        std::fs::hard_link(as_path(&at("list")), as_path(&at("hard"))).unwrap();
        std::os::unix::fs::symlink("list", as_path(&at("soft"))).unwrap();
        std::fs::create_dir(as_path(&at("dir"))).unwrap();
        std::fs::write(as_path(&at("dir/part")), "x").unwrap();
        for output in ["list", "./list", "hard", "soft", "dir/../list"] {
            check(&[&at(output)], &[at("list")]).expect_err(output);
        }
        for output in ["dir", "dir/part", "dir/new"] {
            check(&[&at(output)], &[at("dir")]).expect_err(output);
        }
        for two in [["new", "new"], ["new", "dir/../new"], ["list", "hard"]] {
            check(&[&at(two[0]), &at(two[1])], &[]).unwrap_err();
        }
        check(&[&at("new"), &at("other"), &at("dir")], &[at("list")]).unwrap();
        check(&[b"/dev/null", b"/dev/null"], &[b"/dev/null".to_vec()]).unwrap();
    }
}
