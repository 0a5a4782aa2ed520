//! A tree that a manifest describes: its files are known by size, modification time and checksum,
//! and cannot be read. Only the hints of their names show which files there are.

use std::sync::Arc;

use crate::absent::AbsentDir;
use crate::{Capabilities, Checksums, Dir, DirDecorator, SourceFile, Store};
use types::entry::{Kind, Metadata, Recorded, Xattrs};
use types::error::{Op, Result};
use types::outcome::difference::Fields;
use types::path::{Name, RelPath};

/// A tree that a list describes.
pub struct RecordedStore;

/// A directory of a recorded tree: any named directory exists, and none can be listed.
struct RecordedDir;

/// A file of a recorded tree.
pub struct RecordedFile(pub Recorded);

/// Returns the metadata of a recorded file, as far as it is known.
pub fn metadata(recorded: &Recorded) -> Metadata {
    let known = [Fields::TYPE, Fields::SIZE, Fields::MTIME, Fields::CONTENT];
    Metadata {
        size_bytes: recorded.size_bytes,
        mtime: recorded.mtime,
        known: known.into_iter().collect(),
        links: Metadata::UNKNOWN_LINKS,
        ..Metadata::of_kind(Kind::File)
    }
}

impl Store for RecordedStore {
    fn open_dir(&self, _: &RelPath) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(RecordedDir))
    }

    fn device(&self) -> Result<u64> {
        Ok(0)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { keeps_directories: false, ..Capabilities::default() }
    }
}

impl DirDecorator for RecordedDir {
    fn inner(&self) -> &dyn Dir {
        &AbsentDir
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata::of_kind(Kind::Directory))
    }

    fn open_dir(&self, _: &Name) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(Self))
    }

    fn xattrs(&self, _: Option<&Name>) -> Result<Option<Xattrs>> {
        Ok(None)
    }

    fn device_number(&self, _: &Name) -> Result<Option<u64>> {
        Ok(None)
    }
}

impl SourceFile for RecordedFile {
    fn metadata(&self) -> Result<Metadata> {
        Ok(metadata(&self.0))
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> Result<usize> {
        Err(Op::Read.errno(libc::EOPNOTSUPP))
    }

    fn checksums(&self) -> Checksums {
        Checksums { crc64: Some(self.0.crc64), ..Checksums::default() }
    }
}
