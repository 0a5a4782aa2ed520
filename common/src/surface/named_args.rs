//! Command-line options that name entries, so that no tree is walked.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::local_path::local_path;
use lists::paths::PathsFile;

/// Options that name entries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Filters")]
pub struct NamedArgs {
    /// Process the entries of LIST, written by dwalk, instead of walking the source; each is looked
    /// up below the source by its path below the root of that walk
    #[arg(short, long, value_name = "LIST", value_parser = local_path(), conflicts_with = "files_from")]
    input: Option<OsString>,

    #[command(flatten)]
    files: FilesFromArgs,

    /// A list with checksums.
    #[arg(skip)]
    manifest: Option<Vec<u8>>,

    /// A file of paths that was opened before.
    #[arg(skip)]
    paths: Option<PathsFile>,
}

/// Options among them that dwalk has, too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Filters")]
pub struct FilesFromArgs {
    /// Process the paths in FILE, one a line and relative to the source, instead of walking
    ///
    /// A directory is processed without its contents, and a duplicate path once. "-" is standard
    /// input, which like a pipe may hold up to 64 MiB.
    #[arg(long, value_name = "FILE", value_parser = local_path())]
    files_from: Option<OsString>,

    /// Paths of --files-from are separated by NUL, not by newline
    #[arg(long, requires = "files_from")]
    from0: bool,
}

impl From<FilesFromArgs> for NamedArgs {
    fn from(files: FilesFromArgs) -> Self {
        Self { files, ..Self::default() }
    }
}

impl NamedArgs {
    /// All files of a manifest.
    pub fn of_manifest(manifest: Vec<u8>) -> Self {
        Self { manifest: Some(manifest), ..Self::default() }
    }

    /// The paths of a file that was opened before.
    pub fn of_paths(paths: PathsFile) -> Self {
        Self { paths: Some(paths), ..Self::default() }
    }

    /// True if no entries are named.
    pub fn is_empty(&self) -> bool {
        let has_file = self.files.files_from.is_some() || self.paths.is_some();
        self.input.is_none() && !has_file && self.manifest.is_none()
    }

    /// A file of paths that was opened before.
    pub fn paths(&self) -> Option<&PathsFile> {
        self.paths.as_ref()
    }

    /// The list with checksums.
    pub fn manifest(&self) -> Option<&[u8]> {
        self.manifest.as_deref()
    }

    /// The list.
    pub fn input(&self) -> Option<Vec<u8>> {
        self.input.clone().map(OsStringExt::into_vec)
    }

    /// The file of paths.
    pub fn files_from(&self) -> Option<Vec<u8>> {
        self.files.files_from.clone().map(OsStringExt::into_vec)
    }

    /// All files and lists that names are read from.
    pub fn files(&self) -> Vec<Vec<u8>> {
        let manifest = self.manifest.clone();
        [self.input(), self.files_from(), manifest].into_iter().flatten().collect()
    }

    /// Separator of the paths.
    pub fn separator(&self) -> u8 {
        if self.files.from0 { 0 } else { b'\n' }
    }
}
