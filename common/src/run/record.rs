//! Begin of the record of a job, which must not be a part of what the job copies or deletes.

use std::path::{Path, PathBuf};

use super::outputs;
use super::outputs::OutputError;
use crate::surface::record::RecordError;
use crate::surface::record_args::RecordRequest;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use comm::collective::broadcast;
use lists::appended::AppendedFile;
use lists::as_path;
use types::error::Failure;
use types::exit::Exit;
use types::path;

/// Begins the record, where one is wanted. `trees` must not contain it, and it is none of `inputs`.
///
/// # Errors
/// The exit code, on all ranks, where it cannot be made; rank 0 has said why.
pub(super) fn begin(
    session: &mut Session<'_, '_>,
    request: Option<&RecordRequest>,
    (trees, inputs, is_dry_run): (&[&[u8]], &[Vec<u8>], bool),
    reporter: &mut Reporter,
) -> Result<(), Exit> {
    let Some(request) = request else { return Ok(()) };
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let made = is_root.then(|| {
        let file = request.file.as_deref().map(|file| create(file, trees, inputs)).transpose();
        let begun = file.and_then(|file| Ok(reporter.record(request, file, is_dry_run)?));
        begun.map_err(|why| reporter.refuse(why)).is_ok()
    });
    if broadcast(session.mail, made) { Ok(()) } else { Err(Exit::Unusable) }
}

/// Reason why a record does not begin.
#[derive(Debug, thiserror::Error)]
enum NoRecord {
    /// The file would be copied or deleted by the job.
    #[error(
        "\"{}\" is in \"{}\", of which it would be a part; name another --log-file",
        path::escaped(file),
        path::escaped(tree)
    )]
    InTree { file: Vec<u8>, tree: Vec<u8> },
    /// The file is an input of the job.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] Failure),
    /// The first line cannot be written.
    #[error(transparent)]
    Begin(#[from] RecordError),
}

fn create(file: &[u8], trees: &[&[u8]], inputs: &[Vec<u8>]) -> Result<AppendedFile, NoRecord> {
    let place = resolved(as_path(file).parent().unwrap_or(Path::new("")));
    if let Some(tree) = trees.iter().find(|tree| place.starts_with(resolved(as_path(tree)))) {
        return Err(NoRecord::InTree { file: file.to_vec(), tree: tree.to_vec() });
    }
    outputs::check(&[file], inputs)?;
    Ok(AppendedFile::open(file)?)
}

/// Returns the path without links, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    std::fs::canonicalize(path).unwrap_or(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_record_is_not_in_a_tree_by_any_name_of_it() {
        let work = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(work.path().join("tree/below")).unwrap();
        std::os::unix::fs::symlink("tree", work.path().join("link")).unwrap();
        let at = |name: &str| work.path().join(name).as_os_str().as_bytes().to_vec();
        let create = |file: &str, tree: &str| create(&at(file), &[&at(tree)], &[]).map(drop);
        for (file, tree) in [
            ("tree/log", "tree"),
            ("tree/below/log", "tree/"),
            ("link/log", "tree"),
            ("tree/log", "link"),
            ("tree/below/../log", "tree"),
        ] {
            assert!(
                create(file, tree).unwrap_err().to_string().contains("--log-file"),
                "{file} {tree}"
            );
        }
        create("log", "tree").unwrap();
        create("tree/log", "tree/below").unwrap();
    }
}
