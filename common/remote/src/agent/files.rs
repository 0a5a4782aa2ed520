//! Requests about files: reading, staging, writing and completing them.

use std::ffi::CString;

use ::store::{Dir, SourceFile, StagedFile, Store};
use posix::PosixStore;
use types::content::chunk::Extent;
use types::content::crc64::{Crc64, Crc64Nvme};
use types::entry::{Identity, Kind, Metadata, Preserved};
use types::error::{Cause, Op, Result};
use types::limits::{REMOTE_DATA_BYTES_MAX, REMOTE_WHOLE_BYTES_MAX};

use super::Agent;
use crate::protocol::{
    Answer, At, FileIs, New, OpenedFile, Reply, Request, StagedAs, StagedIs, checked_name,
};

/// Request to open a file.
struct Wanted {
    /// Size up to which it is read.
    read_bytes: u64,
    /// True if the checksum of a small file is computed instead.
    sum: bool,
    /// Identity that it must have.
    identity: Option<Identity>,
}

impl Agent {
    pub(super) fn reply_about_file(
        &self,
        request: Request,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Reply {
        match request {
            Request::Open { dir, name, read_bytes, sum, identity } => {
                let wanted = Wanted { read_bytes, sum, identity };
                self.open(&dir, name, &wanted, out)
            }
            Request::Read { file, offset, length } => {
                let file = self.opened(file)?;
                out.resize(length.min(REMOTE_DATA_BYTES_MAX as u64) as usize, 0);
                let count = file.read_at(out, offset)?;
                out.truncate(count);
                Ok(Answer::Data)
            }
            Request::Sum { file, extent } => {
                checksum(&*self.opened(file)?, extent).map(Answer::Sum)
            }
            Request::DataIn { file, extent } => {
                self.opened(file)?.data_in(extent).map(Answer::Extent)
            }
            Request::Stage { new } => self.stage(&new, |dir, new, [staged, name]| {
                dir.stage_file(&new.file(staged, name)).map(Some)
            }),
            Request::Resume { new, inode } => self.stage(&new, |dir, new, [staged, name]| {
                dir.resume_staged(&new.file(staged, name), inode)
            }),
            Request::Join { at } => self.piece(&at, described).map(|is| Answer::Staged(Some(is))),
            Request::Write { at, offset } => {
                self.piece(&at, |file| file.write_at(data, offset)).map(|()| Answer::Done)
            }
            Request::Hole { at, extent } => {
                self.piece(&at, |file| file.leave_hole(extent)).map(|()| Answer::Done)
            }
            Request::EndAt { at, size_bytes } => {
                self.piece(&at, |file| file.end_at(size_bytes)).map(|()| Answer::Done)
            }
            Request::StagedSize { at } => {
                self.piece(&at, |file| file.size_bytes(&[])).map(Answer::Size)
            }
            Request::Close { at } => self.joined(&at)?.close().map(|_| Answer::Done),
            Request::Abandon { at } => self.joined(&at)?.abandon().map(|()| Answer::Done),
            Request::Commit { new, inode } => self.commit(&new, inode).map(Answer::Preserved),
            Request::Put { new, extents, size_bytes } => {
                self.put(&new, &extents, size_bytes, data).map(Answer::Preserved)
            }
            _ => Err(Op::Open.errno(libc::EBADMSG)),
        }
    }

    fn open(&self, at: &At, name: Vec<u8>, wanted: &Wanted, out: &mut Vec<u8>) -> Reply {
        let root = self.root(at.root)?;
        let (file, metadata) = self.open_regular(at, name)?;
        if wanted.identity.is_some_and(|identity| identity != metadata.identity()) {
            return Err(Op::Copy.failed(Cause::Changed));
        }
        let xattrs = file.xattrs();
        let is_small = metadata.size_bytes <= REMOTE_WHOLE_BYTES_MAX;
        let is_read =
            wanted.sum || metadata.size_bytes <= wanted.read_bytes && wanted.read_bytes > 0;
        let is_read = is_small && is_read && read_whole(&*file, &metadata, out)?;
        let sum = (is_read && wanted.sum).then(|| Crc64::of(out));
        let is_whole = is_read && !wanted.sum;
        if !is_whole {
            out.clear();
        }
        let metadata = self.shown(metadata, root.device);
        Ok(Answer::File(Box::new(FileIs { metadata, xattrs, is_whole, sum })))
    }

    /// Opens a file for reading; a client may give the name of a device.
    fn open_regular(&self, at: &At, name: Vec<u8>) -> Result<(Box<dyn SourceFile>, Metadata)> {
        let file = self.dir(at)?.open_file(&checked_name(name)?)?;
        let metadata = file.metadata()?;
        if metadata.kind != Kind::File {
            return Err(Op::Open.failed(Cause::Changed));
        }
        Ok((file, metadata))
    }

    /// Opens a file again that the client has open.
    fn opened(&self, file: OpenedFile) -> Result<Box<dyn SourceFile>> {
        let (opened, metadata) = self.open_regular(&file.dir, file.name)?;
        if metadata.inode != file.inode {
            return Err(Op::Read.failed(Cause::Changed));
        }
        if file.past_cache {
            opened.bypass_cache()?;
        }
        Ok(opened)
    }

    fn stage(
        &self,
        new: &New,
        stage: impl FnOnce(&dyn Dir, &New, [&CString; 2]) -> Result<Option<Box<dyn StagedFile>>>,
    ) -> Reply {
        let [staged, name] = names(&new.at)?;
        let dir = self.root(new.at.dir.root)?.pieces.open_dir(&new.at.dir.checked()?)?;
        let Some(staged) = stage(&*dir, new, [&staged, &name])? else {
            return Ok(Answer::Staged(None));
        };
        let is = described(&*staged)?;
        if let Err(error) = staged.close() {
            if is.is_resumable {
                // The first error is the one to report.
                let _ = self.joined(&new.at).and_then(StagedFile::abandon);
            }
            return Err(error);
        }
        Ok(Answer::Staged(Some(is)))
    }

    /// Does a part of the work on a staged file. Closing it may report the failure of that part:
    /// quotas and network file systems tell of it only then.
    fn piece<T>(
        &self,
        at: &StagedAs,
        work: impl FnOnce(&dyn StagedFile) -> Result<T>,
    ) -> Result<T> {
        let file = join(&self.root(at.dir.root)?.pieces, at)?;
        let done = work(&*file)?;
        file.close()?;
        Ok(done)
    }

    /// Opens a staged file to end the work on it.
    fn joined(&self, at: &StagedAs) -> Result<Box<dyn StagedFile>> {
        join(&self.root(at.dir.root)?.store, at)
    }

    /// Completes a staged file. Where an earlier request of a broken connection has done that, the
    /// file of that inode has its final name already, and its attributes are set again, to tell
    /// which of them are kept.
    fn commit(&self, new: &New, inode: u64) -> Result<Preserved> {
        let [staged, name] = names(&new.at)?;
        let dir = self.dir(&new.at.dir)?;
        let committed = match self.staged_here(&*dir, new, inode)? {
            Some(opened) => opened.commit(&new.attributes, Vec::new()),
            None => Err(Op::Rename.failed(Cause::Replaced)),
        };
        let is_done = || dir.stat(&name).is_ok_and(|named| named.inode == inode);
        if committed.is_ok() || staged == name || !is_done() {
            return committed;
        }
        let preserved = dir.set_entry_attributes(&name, Kind::File, &new.attributes)?;
        let mtime = dir.stat(&name)?.mtime;
        let timestamps_truncated = new.attributes.times.is_some_and(|times| times.mtime != mtime);
        Ok(Preserved { timestamps_truncated, ..preserved })
    }

    /// Opens a staged file to complete it. It is taken back from the owner that it was given
    /// before an interruption; but some file systems show other owners than the one who creates a
    /// file, so that it counts by its inode.
    fn staged_here(
        &self,
        dir: &dyn Dir,
        new: &New,
        inode: u64,
    ) -> Result<Option<Box<dyn StagedFile>>> {
        let [staged, name] = names(&new.at)?;
        let file = new.file(&staged, &name);
        if staged != name
            && let Some(resumed) = dir.resume_staged(&file, Some(inode))?
        {
            return Ok(Some(resumed).filter(|resumed| resumed.inode() == Some(inode)));
        }
        let root = self.root(new.at.dir.root)?;
        root.store.adopt_staged(&new.at.dir.checked()?, &file, inode)
    }

    fn put(
        &self,
        new: &New,
        extents: &[Extent],
        size_bytes: u64,
        data: &[u8],
    ) -> Result<Preserved> {
        let [staged, name] = names(&new.at)?;
        let dir = self.dir(&new.at.dir)?;
        let staged = dir.stage_file(&new.file(&staged, &name))?;
        match fill(&*staged, extents, size_bytes, data) {
            Ok(()) => staged.commit(&new.attributes, Vec::new()),
            Err(error) => {
                // The first error is the one to report.
                let _ = staged.abandon();
                Err(error)
            }
        }
    }
}

/// Writes the extents, whose data follows one another.
fn fill(staged: &dyn StagedFile, extents: &[Extent], size_bytes: u64, data: &[u8]) -> Result<()> {
    let malformed = || Op::Write.errno(libc::EBADMSG);
    let (mut rest, mut at) = (data, 0);
    for extent in extents {
        let is_sound = extent.offset >= at && extent.length <= rest.len() as u64;
        if !is_sound {
            return Err(malformed());
        }
        if extent.offset > at {
            staged.leave_hole(Extent::between(at, extent.offset))?;
        }
        let (piece, next) = rest.split_at(extent.length as usize);
        staged.write_at(piece, extent.offset)?;
        (rest, at) = (next, extent.offset.saturating_add(extent.length));
    }
    if !rest.is_empty() || at > size_bytes {
        return Err(malformed());
    }
    if at < size_bytes {
        staged.leave_hole(Extent::between(at, size_bytes))?;
        staged.end_at(size_bytes)?;
    }
    Ok(())
}

/// Opens a staged file, which must be a regular one, and the one that was staged: a client may give
/// any name, and a file that is written in place may be replaced meanwhile.
fn join(store: &PosixStore, at: &StagedAs) -> Result<Box<dyn StagedFile>> {
    let [staged, name] = names(at)?;
    let dir = store.open_dir(&at.dir.checked()?)?;
    let joined = dir.join_staged(staged.to_bytes(), &name)?;
    let is = described(&*joined)?;
    if at.inode.is_some_and(|inode| inode != is.inode) {
        return Err(Op::Open.failed(Cause::Replaced));
    }
    Ok(joined)
}

fn names(at: &StagedAs) -> Result<[CString; 2]> {
    Ok([checked_name(at.staged.clone())?, checked_name(at.name.clone())?])
}

fn described(staged: &dyn StagedFile) -> Result<StagedIs> {
    let inode = staged.inode().ok_or_else(|| Op::Open.failed(Cause::Replaced))?;
    Ok(StagedIs { inode, is_resumable: staged.is_resumable() })
}

/// Reads a whole small file; false where it is not of one moment.
fn read_whole(file: &dyn SourceFile, metadata: &Metadata, out: &mut Vec<u8>) -> Result<bool> {
    // One byte more shows whether the file ends where its size says.
    out.resize(metadata.size_bytes as usize + 1, 0);
    let mut filled = 0;
    while filled < out.len() {
        match file.read_at(&mut out[filled..], filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    out.truncate(filled);
    let is_as_long = filled as u64 == metadata.size_bytes;
    Ok(is_as_long && file.metadata()?.version() == metadata.version())
}

/// Computes the checksum of an extent.
fn checksum(file: &dyn SourceFile, extent: Extent) -> Result<Crc64> {
    let mut sum = Crc64Nvme::new();
    let mut buffer = host::aligned::AlignedBuffer::new(REMOTE_DATA_BYTES_MAX as u64);
    let end = extent.offset.saturating_add(extent.length);
    let mut at = extent.offset;
    while at < end {
        let want = (end - at).min(REMOTE_DATA_BYTES_MAX as u64) as usize;
        match file.read_at(&mut buffer[..want], at)? {
            0 => return Err(Op::Read.failed(Cause::Changed)),
            count => {
                sum.update(&buffer[..count]);
                at += count as u64;
            }
        }
    }
    Ok(sum.finish())
}
