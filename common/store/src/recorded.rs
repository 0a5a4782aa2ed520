//! What a manifest says, as if it were a tree: files that are known by size, time of change and checksum, and that
//! nobody can read. Which there are only their names' hints tell.

use std::sync::Arc;

use super::{Dir, Made, NewFile, NewSymlink, SourceFile, StagedFile, Store};
use types::content::crc64::Crc64;
use types::entry::{Attributes, Hint, Kept, Kind, Metadata, Recorded, Time, Xattrs};
use types::error::{Error, Op, Result};
use types::outcome::difference::Fields;
use types::path::{Name, RelPath};

/// A tree of which a list tells.
pub struct RecordedStore;

/// A directory of it: there are as many as are named.
struct RecordedDir;

/// A file of it.
pub struct RecordedFile(pub Recorded);

/// Nobody has them at hand.
fn absent(op: Op) -> Error {
    op.errno(libc::ENOENT)
}

/// Nothing is ever written.
fn read_only(op: Op) -> Error {
    op.errno(libc::EROFS)
}

/// The metadata of a recorded file, as far as it is known.
pub fn metadata(recorded: &Recorded) -> Metadata {
    let known = [Fields::TYPE, Fields::SIZE, Fields::MTIME, Fields::CONTENT];
    Metadata {
        size_bytes: recorded.size_bytes,
        mtime: recorded.mtime,
        known: known.into_iter().collect(),
        ..of_kind(Kind::File)
    }
}

fn of_kind(kind: Kind) -> Metadata {
    let never = Time { seconds: 0, nanoseconds: 0 };
    Metadata {
        kind,
        mode: 0,
        uid: 0,
        gid: 0,
        size_bytes: 0,
        allocated_bytes: 0,
        atime: never,
        mtime: never,
        ctime: never,
        links: 1,
        device: 0,
        inode: 0,
        known: Fields::TYPE,
    }
}

impl Store for RecordedStore {
    fn open_dir(&self, _: &RelPath) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(RecordedDir))
    }

    fn device(&self) -> Result<u64> {
        Ok(0)
    }

    fn keeps_directories(&self) -> bool {
        false
    }
}

impl Dir for RecordedDir {
    fn metadata(&self) -> Result<Metadata> {
        Ok(of_kind(Kind::Directory))
    }

    fn list(&self, _: &mut dyn FnMut(&Name, Hint)) -> Result<()> {
        Ok(())
    }

    fn open_dir(&self, _: &Name) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(Self))
    }

    fn stat(&self, _: &Name) -> Result<Metadata> {
        Err(absent(Op::Stat))
    }

    fn stat_followed(&self, _: &Name) -> Result<Metadata> {
        Err(absent(Op::Stat))
    }

    fn open_file(&self, _: &Name) -> Result<Box<dyn SourceFile>> {
        Err(absent(Op::Open))
    }

    fn read_link(&self, _: &Name) -> Result<Vec<u8>> {
        Err(absent(Op::ReadLink))
    }

    fn xattrs(&self, _: Option<&Name>) -> Result<Option<Xattrs>> {
        Ok(None)
    }

    fn make_dir(&self, _: &Name, _: u32) -> Result<Made> {
        Err(read_only(Op::MakeDir))
    }

    fn stage_file(&self, _: &NewFile<'_>) -> Result<Box<dyn StagedFile>> {
        Err(read_only(Op::Create))
    }

    fn join_staged(&self, _: &[u8], _: &Name) -> Result<Box<dyn StagedFile>> {
        Err(read_only(Op::Open))
    }

    fn make_symlink(&self, _: &NewSymlink<'_>) -> Result<Kept> {
        Err(read_only(Op::Symlink))
    }

    fn set_attributes(&self, _: &Attributes) -> Result<Kept> {
        Err(read_only(Op::SetMode))
    }

    fn set_entry_attributes(&self, _: &Name, _: Kind, _: &Attributes) -> Result<Kept> {
        Err(read_only(Op::SetMode))
    }

    fn remove(&self, _: &Name, _: Kind) -> Result<()> {
        Err(read_only(Op::Remove))
    }
}

impl SourceFile for RecordedFile {
    fn metadata(&self) -> Result<Metadata> {
        Ok(metadata(&self.0))
    }

    fn xattrs(&self) -> Result<Option<Xattrs>> {
        Ok(None)
    }

    fn crc64(&self) -> Option<Crc64> {
        Some(self.0.crc64)
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> Result<usize> {
        Err(Op::Read.errno(libc::EOPNOTSUPP))
    }
}
