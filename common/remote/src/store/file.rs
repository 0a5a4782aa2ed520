//! A file of a remote tree that is open for reading.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::store::SourceFile;
use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::entry::{Kind, Metadata, Xattrs};
use types::error::{Op, Result};
use types::limits::{REMOTE_DATA_BYTES_MAX, REMOTE_WINDOW};
use types::path::Name;

use super::{Root, answered};
use crate::connection::Pending;
use crate::host::malformed;
use crate::protocol::{Answer, At, FileIs, OpenedFile, Request};

/// A file of a remote tree.
pub(super) struct RemoteFile {
    root: Arc<Root>,
    file: OpenedFile,
    metadata: Metadata,
    xattrs: Result<Option<Xattrs>>,
    /// Whole content, where it came with the file.
    whole: Option<Vec<u8>>,
    /// Checksum of the whole content, where that came with the file.
    sum: Option<Crc64>,
    /// True once more of the file was requested, so that it may have changed.
    is_read: AtomicBool,
    past_cache: AtomicBool,
    ahead: Mutex<Ahead>,
}

/// Reads that were begun before their data is requested.
#[derive(Default)]
struct Ahead {
    /// End of the last read.
    read_to: Option<u64>,
    begun: VecDeque<(Request, Extent, Option<Pending>)>,
}

impl RemoteFile {
    pub fn new(root: &Arc<Root>, dir: At, name: &Name, is: FileIs, data: Vec<u8>) -> Result<Self> {
        let FileIs { metadata, xattrs, is_whole, sum } = is;
        let is_sound =
            metadata.kind == Kind::File && (!is_whole || data.len() as u64 == metadata.size_bytes);
        if !is_sound {
            return Err(malformed(Op::Open));
        }
        let name = name.to_bytes().to_vec();
        Ok(Self {
            root: Arc::clone(root),
            file: OpenedFile { dir, name, inode: metadata.inode, past_cache: false },
            metadata,
            xattrs,
            whole: is_whole.then_some(data),
            sum,
            is_read: AtomicBool::new(false),
            past_cache: AtomicBool::new(false),
            ahead: Mutex::default(),
        })
    }

    /// Returns the checksum of the whole content, as long as nothing else was requested of the
    /// file.
    fn own_sum(&self) -> Option<Crc64> {
        self.sum.filter(|_| !self.is_read.load(Ordering::Relaxed))
    }

    fn opened(&self) -> OpenedFile {
        self.is_read.store(true, Ordering::Relaxed);
        OpenedFile { past_cache: self.past_cache.load(Ordering::Relaxed), ..self.file.clone() }
    }

    fn read(&self, extent: Extent) -> Request {
        let Extent { offset, length } = extent;
        Request::Read { file: self.opened(), offset, length }
    }

    /// Begins the reads that follow one that ended where the one before it had ended.
    fn read_ahead(&self, ahead: &mut Ahead, from: u64, length: u64) {
        let mut at = ahead.begun.back().map_or(from, |(_, extent, _)| extent.end());
        while ahead.begun.len() < REMOTE_WINDOW && at < self.metadata.size_bytes {
            let extent = Extent { offset: at, length: length.min(self.metadata.size_bytes - at) };
            let request = self.read(extent);
            let pending = self.root.host.begin(&request, &[]);
            ahead.begun.push_back((request, extent, pending));
            at = extent.end();
        }
    }
}

impl SourceFile for RemoteFile {
    /// Returns the metadata. That of a file whose whole content has arrived, or only its checksum,
    /// is of the same moment.
    fn metadata(&self) -> Result<Metadata> {
        if self.whole.is_some() || self.own_sum().is_some() {
            return Ok(self.metadata);
        }
        let OpenedFile { dir, name, .. } = self.file.clone();
        let request = Request::Open { dir, name, read_bytes: 0, sum: false, identity: None };
        let answer = self.root.ask(Op::Stat, &request)?;
        answered!(Op::Stat, answer, Answer::File(is) => self.root.host.shown(is.metadata))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        if let Some(whole) = &self.whole {
            let rest = whole.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            return Ok(count);
        }
        if self.metadata.size_bytes == 0 && self.own_sum().is_some() {
            return Ok(0);
        }
        let length = buffer.len().min(REMOTE_DATA_BYTES_MAX) as u64;
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let is_next = |(_, extent, _): &(Request, Extent, _)| {
            extent.offset == offset && extent.length <= length
        };
        let (request, pending) = match ahead.begun.pop_front() {
            Some(begun) if is_next(&begun) => (begun.0, begun.2),
            _ => {
                ahead.begun.clear();
                let request = self.read(Extent { offset, length });
                let pending = self.root.host.begin(&request, &[]);
                (request, pending)
            }
        };
        if ahead.read_to == Some(offset) {
            self.read_ahead(&mut ahead, offset + length, length);
        }
        let (reply, data) = self.root.host.finish(pending, Op::Read, &request, &[])?;
        answered!(Op::Read, reply?, Answer::Data => ())?;
        if data.len() > buffer.len() {
            return Err(malformed(Op::Read));
        }
        buffer[..data.len()].copy_from_slice(&data);
        ahead.read_to = Some(offset + data.len() as u64);
        Ok(data.len())
    }

    fn xattrs(&self) -> Result<Option<Xattrs>> {
        self.xattrs.clone()
    }

    fn bypass_cache(&self) -> Result<()> {
        self.past_cache.store(true, Ordering::Relaxed);
        self.is_read.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn data_in(&self, extent: Extent) -> Result<Option<Extent>> {
        if self.whole.is_some() {
            return Ok(Some(extent));
        }
        let answer = self.root.ask(Op::Read, &Request::DataIn { file: self.opened(), extent })?;
        let is_within = |found: Option<Extent>| {
            found.is_none_or(|found| {
                let end = found.offset.checked_add(found.length);
                found.offset >= extent.offset
                    && end.is_some_and(|end| end <= extent.end())
                    && found.length > 0
            })
        };
        answered!(Op::Read, answer, Answer::Extent(found) if is_within(found) => found)
    }

    fn can_checksum(&self) -> bool {
        self.whole.is_none()
    }

    fn crc64_of(&self, extent: Extent) -> Result<Option<Crc64>> {
        if self.whole.is_some() {
            return Ok(None);
        }
        let is_all = extent == Extent { offset: 0, length: self.metadata.size_bytes };
        if let Some(sum) = self.own_sum().filter(|_| is_all) {
            return Ok(Some(sum));
        }
        let answer = self.root.ask(Op::Read, &Request::Sum { file: self.opened(), extent })?;
        answered!(Op::Read, answer, Answer::Sum(sum) => Some(sum))
    }
}
