//! Files that fail on purpose.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::Faults;
use crate::{Receipt, SourceFile, SourceFileDecorator, StagedFile, StagedFileDecorator};
use types::content::chunk::Extent;
use types::content::etag::PartedEtag;
use types::entry::{Attributes, Metadata, Preserved, Xattrs};
use types::error::{Op, Result};
use types::path::Name;

pub(crate) struct FaultyFile {
    inner: Box<dyn SourceFile>,
    faults: Arc<Faults>,
    name: Vec<u8>,
}

impl FaultyFile {
    pub fn new(inner: Box<dyn SourceFile>, faults: &Arc<Faults>, name: &Name) -> Self {
        Self { inner, faults: Arc::clone(faults), name: name.to_bytes().to_vec() }
    }

    fn strike(&self, op: Op) -> Result<()> {
        self.faults.strike(op, &self.name)
    }
}

impl SourceFileDecorator for FaultyFile {
    fn inner(&self) -> &dyn SourceFile {
        &*self.inner
    }

    fn metadata(&self) -> Result<Metadata> {
        self.strike(Op::Stat)?;
        self.inner.metadata()
    }

    fn xattrs(&self) -> Result<Option<Xattrs>> {
        self.strike(Op::GetXattrs)?;
        self.inner.xattrs()
    }

    fn bypass_cache(&self) -> Result<()> {
        self.strike(Op::Sync)?;
        self.inner.bypass_cache()
    }

    fn data_in(&self, extent: Extent) -> Result<Option<Extent>> {
        self.strike(Op::Read)?;
        self.inner.data_in(extent)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.strike(Op::Read)?;
        let length = if self.faults.short_reads { buffer.len().div_ceil(3) } else { buffer.len() };
        let read = self.inner.read_at(&mut buffer[..length], offset);
        if let Some(operation) = self.faults.happening_at(&self.name) {
            operation();
        }
        read
    }

    /// Returns the file descriptor, with which the kernel can transfer content, unless a rule or
    /// action applies to reads of the file.
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        if self.faults.concern_reads_of(&self.name) { None } else { self.inner.as_fd() }
    }

    fn parted_etag(&self) -> Result<Option<PartedEtag>> {
        self.strike(Op::Stat)?;
        self.inner.parted_etag()
    }

    fn has_equal_parts(&self, etag: &PartedEtag) -> Result<bool> {
        self.strike(Op::Stat)?;
        self.inner.has_equal_parts(etag)
    }
}

pub(crate) struct FaultyStaged {
    inner: Box<dyn StagedFile>,
    faults: Arc<Faults>,
    name: Vec<u8>,
}

impl FaultyStaged {
    pub fn new(inner: Box<dyn StagedFile>, faults: &Arc<Faults>, name: &Name) -> Self {
        Self { inner, faults: Arc::clone(faults), name: name.to_bytes().to_vec() }
    }

    fn strike(&self, op: Op) -> Result<()> {
        self.faults.strike(op, &self.name)
    }

    /// Returns whether the content of the file is corrupted, so that it must pass through this
    /// process.
    fn is_garbled(&self) -> bool {
        self.faults.garbles(&self.name)
    }
}

impl StagedFileDecorator for FaultyStaged {
    fn inner(&self) -> &dyn StagedFile {
        &*self.inner
    }

    fn into_inner(self: Box<Self>) -> Box<dyn StagedFile> {
        self.inner
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.strike(Op::Write)?;
        if data.is_empty() || !self.is_garbled() {
            return self.inner.write_at(data, offset);
        }
        let mut garbled = data.to_vec();
        garbled[data.len() / 2] ^= 1;
        self.inner.write_at(&garbled, offset)
    }

    /// Leaves a commit that is to fail until its time.
    fn begin_commit(&self, attributes: &Attributes) -> bool {
        self.faults.rule(Op::Rename, &self.name).is_none() && self.inner.begin_commit(attributes)
    }

    fn leave_hole(&self, extent: Extent) -> Result<()> {
        self.strike(Op::Write)?;
        self.inner.leave_hole(extent)
    }

    fn end_at(&self, size_bytes: u64) -> Result<()> {
        self.strike(Op::Write)?;
        self.inner.end_at(size_bytes)
    }

    fn share_all(&self, source: &dyn SourceFile, metadata: &Metadata) -> Result<()> {
        self.strike(Op::Clone)?;
        if self.is_garbled() {
            return Err(Op::Clone.errno(libc::EOPNOTSUPP));
        }
        self.inner.share_all(source, metadata)
    }

    fn copy_from(&self, source: &dyn SourceFile, offset: u64, length: u64) -> Result<Option<u64>> {
        self.strike(Op::Write)?;
        if self.is_garbled() {
            return Ok(None);
        }
        self.inner.copy_from(source, offset, length)
    }

    fn close(self: Box<Self>) -> Result<Option<Receipt>> {
        self.strike(Op::Close)?;
        self.inner.close()
    }

    fn commit(
        self: Box<Self>,
        attributes: &Attributes,
        receipts: Vec<Receipt>,
    ) -> Result<Preserved> {
        if let Err(error) = self.strike(Op::Rename) {
            self.inner.abandon()?;
            return Err(error);
        }
        self.inner.commit(attributes, receipts)
    }
}
