//! A tree that does not exist: it is empty, and nothing can be written to it. Other stores build on
//! it.

use std::sync::Arc;

use crate::{Dir, Made, NewFile, NewSymlink, SourceFile, StagedFile, Store};
use types::entry::{Attributes, Hint, Kind, Metadata, Preserved, Xattrs};
use types::error::{Error, Op, Result};
use types::path::{Name, RelPath};

/// A tree that does not exist.
pub(crate) struct AbsentStore;

/// A directory that does not exist.
pub(crate) struct AbsentDir;

fn absent(op: Op) -> Error {
    op.errno(libc::ENOENT)
}

fn read_only(op: Op) -> Error {
    op.errno(libc::EROFS)
}

impl Store for AbsentStore {
    fn open_dir(&self, _: &RelPath) -> Result<Arc<dyn Dir>> {
        Err(absent(Op::Open))
    }

    fn device(&self) -> Result<u64> {
        Err(absent(Op::Stat))
    }
}

impl Dir for AbsentDir {
    fn metadata(&self) -> Result<Metadata> {
        Err(absent(Op::Stat))
    }

    fn list(&self, _: &mut dyn FnMut(&Name, Hint)) -> Result<()> {
        Ok(())
    }

    fn open_dir(&self, _: &Name) -> Result<Arc<dyn Dir>> {
        Err(absent(Op::Open))
    }

    fn stat(&self, _: &Name) -> Result<Metadata> {
        Err(absent(Op::Stat))
    }

    fn open_file(&self, _: &Name) -> Result<Box<dyn SourceFile>> {
        Err(absent(Op::Open))
    }

    fn read_link(&self, _: &Name) -> Result<Vec<u8>> {
        Err(absent(Op::ReadLink))
    }

    fn xattrs(&self, _: Option<&Name>) -> Result<Option<Xattrs>> {
        Err(absent(Op::GetXattrs))
    }

    fn device_number(&self, _: &Name) -> Result<Option<u64>> {
        Err(absent(Op::Stat))
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

    fn make_symlink(&self, _: &NewSymlink<'_>) -> Result<Preserved> {
        Err(read_only(Op::Symlink))
    }

    fn set_attributes(&self, _: &Attributes) -> Result<Preserved> {
        Err(read_only(Op::SetMode))
    }

    fn set_entry_attributes(&self, _: &Name, _: Kind, _: &Attributes) -> Result<Preserved> {
        Err(read_only(Op::SetMode))
    }

    fn remove(&self, _: &Name, _: Kind) -> Result<()> {
        Err(read_only(Op::Remove))
    }
}
