//! A directory that fails on purpose.

use std::ffi::CString;
use std::sync::Arc;

use super::Faults;
use super::file::{FaultyFile, FaultyStaged};
use crate::{
    Dir, DirDecorator, Made, NameReader, NewFile, NewHardLink, NewSpecial, NewSymlink, SourceFile,
    StagedFile, Upcoming,
};
use types::content::chunk::Extent;
use types::entry::{Attributes, Hint, Identity, Kind, Metadata, Preserved, Time, Xattrs};
use types::error::{Op, Result};
use types::lustre::layout::Layout;
use types::object::key_range::KeyRange;
use types::object::keys_below::KeysBelow;
use types::object::metadata::LinkForm;
use types::path::Name;
use types::service::InvalidKey;

pub(crate) struct FaultyDir {
    inner: Arc<dyn Dir>,
    faults: Arc<Faults>,
}

impl FaultyDir {
    pub fn around(inner: Arc<dyn Dir>, faults: &Arc<Faults>) -> Arc<dyn Dir> {
        Arc::new(Self { inner, faults: Arc::clone(faults) })
    }

    fn strike(&self, op: Op, name: &Name) -> Result<()> {
        self.faults.strike(op, name.to_bytes())
    }

    fn file(&self, inner: Box<dyn SourceFile>, name: &Name) -> Box<dyn SourceFile> {
        Box::new(FaultyFile::new(inner, &self.faults, name))
    }

    fn staged(&self, inner: Box<dyn StagedFile>, name: &Name) -> Box<dyn StagedFile> {
        Box::new(FaultyStaged::new(inner, &self.faults, name))
    }

    /// Fails a listing by the name of the first entry, since the directory has no name of its own
    /// here.
    fn strike_listing(&self, first: Option<CString>) -> Result<()> {
        first.map_or(Ok(()), |name| self.strike(Op::List, &name))
    }
}

impl DirDecorator for FaultyDir {
    fn inner(&self) -> &dyn Dir {
        &*self.inner
    }

    fn list(&self, each: &mut dyn FnMut(&Name, Hint)) -> Result<()> {
        let mut first = None;
        self.inner.list(&mut |name, hint| {
            first.get_or_insert_with(|| name.to_owned());
            each(name, hint);
        })?;
        self.strike_listing(first)
    }

    fn read(&self, key_range: KeyRange, reader: &mut dyn NameReader) -> Result<()> {
        let mut reader = Overheard { reader, first: None };
        self.inner.read(key_range, &mut reader)?;
        self.strike_listing(reader.first)
    }

    fn read_known(&self, keys: &KeysBelow, reader: &mut dyn NameReader) -> Result<()> {
        let mut reader = Overheard { reader, first: None };
        self.inner.read_known(keys, &mut reader)?;
        self.strike_listing(reader.first)
    }

    fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        self.strike(Op::Open, name)?;
        Ok(Self::around(self.inner.open_dir(name)?, &self.faults))
    }

    fn stat(&self, name: &Name) -> Result<Metadata> {
        self.strike(Op::Stat, name)?;
        self.inner.stat(name)
    }

    fn peek(&self, name: &Name, hint: Hint) -> Result<Metadata> {
        self.strike(Op::Stat, name)?;
        self.inner.peek(name, hint)
    }

    fn stat_open(&self, name: &Name) -> Result<(Metadata, Option<Box<dyn SourceFile>>)> {
        self.strike(Op::Stat, name)?;
        let (metadata, file) = self.inner.stat_open(name)?;
        Ok((metadata, file.map(|file| self.file(file, name))))
    }

    fn ahead(&self, names: &[(&Name, Hint)], upcoming: Upcoming) -> Option<Arc<dyn Dir>> {
        Some(Self::around(self.inner.ahead(names, upcoming)?, &self.faults))
    }

    fn stat_followed(&self, name: &Name) -> Result<Metadata> {
        self.strike(Op::Stat, name)?;
        self.inner.stat_followed(name)
    }

    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>> {
        self.strike(Op::Open, name)?;
        Ok(self.file(self.inner.open_file(name)?, name))
    }

    fn open_listed(&self, name: &Name, hint: Hint) -> Result<Box<dyn SourceFile>> {
        self.strike(Op::Open, name)?;
        Ok(self.file(self.inner.open_listed(name, hint)?, name))
    }

    fn open_extent(
        &self,
        name: &Name,
        identity: &Identity,
        extent: Extent,
    ) -> Result<Box<dyn SourceFile>> {
        self.strike(Op::Open, name)?;
        Ok(self.file(self.inner.open_extent(name, identity, extent)?, name))
    }

    fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        self.strike(Op::ReadLink, name)?;
        self.inner.read_link(name)
    }

    fn open_link(&self, name: &Name) -> Result<Option<(Box<dyn SourceFile>, LinkForm)>> {
        self.strike(Op::Open, name)?;
        let opened = self.inner.open_link(name)?;
        Ok(opened.map(|(file, form)| (self.file(file, name), form)))
    }

    fn xattrs(&self, name: Option<&Name>) -> Result<Option<Xattrs>> {
        name.map_or(Ok(()), |name| self.strike(Op::GetXattrs, name))?;
        self.inner.xattrs(name)
    }

    fn layout(&self, name: &Name) -> Result<Option<Layout>> {
        self.strike(Op::GetXattrs, name)?;
        self.inner.layout(name)
    }

    fn device_number(&self, name: &Name) -> Result<Option<u64>> {
        self.strike(Op::Stat, name)?;
        self.inner.device_number(name)
    }

    fn make_dir(&self, name: &Name, mode: u32) -> Result<Made> {
        self.strike(Op::MakeDir, name)?;
        self.inner.make_dir(name, mode)
    }

    fn stage_file(&self, new: &NewFile<'_>) -> Result<Box<dyn StagedFile>> {
        self.strike(Op::Create, new.name)?;
        Ok(self.staged(self.inner.stage_file(new)?, new.name))
    }

    fn resume_staged(
        &self,
        new: &NewFile<'_>,
        inode: Option<u64>,
    ) -> Result<Option<Box<dyn StagedFile>>> {
        self.strike(Op::Create, new.name)?;
        let resumed = self.inner.resume_staged(new, inode)?;
        Ok(resumed.map(|staged| self.staged(staged, new.name)))
    }

    fn join_staged(&self, ticket: &[u8], name: &Name) -> Result<Box<dyn StagedFile>> {
        self.strike(Op::Create, name)?;
        Ok(self.staged(self.inner.join_staged(ticket, name)?, name))
    }

    fn abort_upload(&self, name: &Name, ticket: &[u8], unless: Option<&[u8]>) -> Result<()> {
        self.strike(Op::Remove, name)?;
        self.inner.abort_upload(name, ticket, unless)
    }

    fn abort_unrecorded_uploads(&self, name: &Name, at: Time) -> Result<()> {
        self.strike(Op::Remove, name)?;
        self.inner.abort_unrecorded_uploads(name, at)
    }

    fn make_symlink(&self, link: &NewSymlink<'_>) -> Result<Preserved> {
        self.strike(Op::Symlink, link.name)?;
        self.inner.make_symlink(link)
    }

    fn make_special(&self, special: &NewSpecial<'_>) -> Result<Preserved> {
        self.strike(Op::MakeSpecial, special.name)?;
        self.inner.make_special(special)
    }

    fn set_entry_attributes(
        &self,
        name: &Name,
        kind: Kind,
        attributes: &Attributes,
    ) -> Result<Preserved> {
        self.strike(Op::SetMode, name)?;
        self.inner.set_entry_attributes(name, kind, attributes)
    }

    fn remove_unchanged(&self, name: &Name, kind: Kind, inode: u64) -> Result<()> {
        self.strike(Op::Remove, name)?;
        self.inner.remove_unchanged(name, kind, inode)
    }

    fn remove(&self, name: &Name, kind: Kind) -> Result<()> {
        self.strike(Op::Remove, name)?;
        self.inner.remove(name, kind)
    }

    fn link_from(&self, other: &dyn Dir, name: &Name) -> Result<bool> {
        self.strike(Op::Link, name)?;
        self.inner.link_from(other, name)
    }

    fn hard_link(&self, link: &NewHardLink<'_>) -> Result<bool> {
        self.strike(Op::Link, link.name)?;
        self.inner.hard_link(link)
    }
}

/// A reader that records the first name.
struct Overheard<'r> {
    reader: &'r mut dyn NameReader,
    first: Option<CString>,
}

impl NameReader for Overheard<'_> {
    fn name(&mut self, name: &Name, hint: Hint) {
        self.first.get_or_insert_with(|| name.to_owned());
        self.reader.name(name, hint);
    }

    fn invalid_key(&mut self, key: &[u8], why: InvalidKey) {
        self.reader.invalid_key(key, why);
    }

    fn wants_to_share(&self) -> bool {
        self.reader.wants_to_share()
    }

    fn may_share(&self) -> bool {
        self.reader.may_share()
    }

    fn listing_threads(&self) -> usize {
        self.reader.listing_threads()
    }

    fn share(&mut self, rest: KeyRange) {
        self.reader.share(rest);
    }

    fn directory(&mut self, name: &Name, below: &KeysBelow) {
        self.first.get_or_insert_with(|| name.to_owned());
        self.reader.directory(name, below);
    }

    fn wants_below(&self) -> bool {
        self.reader.wants_below()
    }

    fn may_be_empty(&self) -> bool {
        self.reader.may_be_empty()
    }
}
