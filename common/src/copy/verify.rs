//! Reading again what was written: by another rank than the one that wrote it where there is one, and from the
//! storage, not from memory. What is there must have the checksum that was worked out while the source was
//! read.
//!
//! A chunk of a large file is verified while the file is staged, so that a wrong one never gets its name. A small
//! file, or an object, is verified when it has its name; a wrong one is removed.

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::{CopyHand, CopyJob, CopyLetter};
use crate::base::crc64::Crc64;
use crate::base::error::{At, Cause, Error, Op, Side, Trouble};
use crate::base::limits::UNVERIFIED_MAX;
use crate::base::path::Name;
use crate::chunked::{ChunkTask, Outcome};
use crate::comm::Rank;
use crate::compare::content::{Buffers, sum_extent};
use crate::model::chunk::Extent;
use crate::model::entry::{Identity, Kind, Metadata};
use crate::sched::crew::Crew;
use crate::store::{Receipt, Sender, SourceFile};
use crate::walk::place::Place;

/// Something that was written and is to be read again.
#[derive(Debug, Serialize, Deserialize)]
pub struct VerifyTask {
    /// Who wrote it.
    writer: Rank,
    what: Written,
}

/// What was written.
#[derive(Debug, Serialize, Deserialize)]
enum Written {
    /// A file that has its name.
    File { place: Arc<Place>, name: CString, identity: Identity, crc64: Crc64 },
    /// A chunk of a staged file, whose owner waits to hear of it.
    Chunk { task: Box<ChunkTask>, ticket: Vec<u8>, crc64: Crc64 },
}

impl CopyJob<'_> {
    /// A file has its name: it is recorded, and to be verified, where that is wished.
    pub(super) fn file_is_there(
        &self,
        place: &Arc<Place>,
        name: &Name,
        (metadata, crc64): (&Metadata, Option<Crc64>),
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        if self.is_unheeded(place, name) {
            return;
        }
        self.record((place, name), metadata, crc64, hand, crew);
        self.verify_soon(place, name, (metadata.size_bytes, crc64), hand, crew);
    }

    /// Nobody asks what is there now, or another source's copy will be.
    fn is_unheeded(&self, place: &Place, name: &Name) -> bool {
        let is_asked = self.manifest.is_some() || self.verifier.is_some();
        !is_asked || self.is_replaced_later(place, name)
    }

    fn verify_soon(
        &self,
        place: &Arc<Place>,
        name: &Name,
        (size_bytes, crc64): (u64, Option<Crc64>),
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        match (self.verifier, crc64) {
            (None, _) => {}
            (Some(_), None) => hand.gathered.tally.not_verified += 1,
            (Some(verifier), Some(crc64)) => {
                let name = self.target_name(place, name).to_owned();
                let looked = place.target_dir(self.target(place)).and_then(|dir| dir.stat(&name));
                // What somebody has changed or replaced already is not ours to judge.
                match looked.map(|written| written.identity()) {
                    Ok(identity) if identity.size_bytes == size_bytes => {
                        let place = Arc::clone(place);
                        let what = Written::File { place, name, identity, crc64 };
                        self.have_verified(what, verifier, hand, crew);
                    }
                    _ => hand.gathered.tally.not_verified += 1,
                }
            }
        }
    }

    /// The same for a large file: its chunks may have been verified before.
    pub(super) fn large_file_is_there(
        &self,
        place: &Arc<Place>,
        name: &Name,
        (metadata, crc64): (&Metadata, Option<Crc64>),
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        if self.is_unheeded(place, name) {
            return;
        }
        self.record((place, name), metadata, crc64, hand, crew);
        if self.target(place).holds_objects() || crc64.is_none() {
            self.verify_soon(place, name, (metadata.size_bytes, crc64), hand, crew);
        } else {
            hand.gathered.tally.verified_files += u64::from(self.verifier.is_some());
        }
    }

    /// A chunk is written; true where it is to be verified before its owner hears of it.
    pub(super) fn chunk_is_there(
        &self,
        task: &ChunkTask,
        ticket: &[u8],
        receipt: Option<&Receipt>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> bool {
        let crc64 = receipt.filter(|receipt| Self::is_own_work(receipt)).and_then(|it| it.crc64);
        let (Some(verifier), Some(crc64)) = (self.verifier, crc64) else { return false };
        let (task, ticket) = (Box::new(task.clone()), ticket.to_vec());
        self.have_verified(Written::Chunk { task, ticket, crc64 }, verifier, hand, crew);
        true
    }

    /// Services check what they get; and what a stopped job has written was read just now.
    fn is_own_work(receipt: &Receipt) -> bool {
        receipt.tag.is_empty() && receipt.by == Sender::Here
    }

    fn have_verified(
        &self,
        what: Written,
        verifier: Rank,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        let task = VerifyTask { writer: self.rank, what };
        let waiting = self.unverified.fetch_add(1, Ordering::Relaxed);
        // Other names become links to it only when it is right.
        let is_awaited = hand.linked.is_some();
        if verifier == self.rank || waiting >= UNVERIFIED_MAX || is_awaited {
            self.unverified.fetch_sub(1, Ordering::Relaxed);
            self.verify(task, hand, crew);
        } else {
            crew.write_to(verifier, &CopyLetter::Verify(task));
        }
    }

    /// Reads something again.
    pub(super) fn verify(&self, task: VerifyTask, hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        let VerifyTask { writer, what } = task;
        match what {
            Written::File { place, name, identity, crc64 } => {
                match self.verify_file(&place, &name, identity, crc64, hand) {
                    Ok(true) => hand.gathered.tally.verified_files += 1,
                    Ok(false) => hand.gathered.tally.not_verified += 1,
                    Err(trouble) => {
                        hand.is_complete = false;
                        self.fail(&place, name.to_bytes(), trouble, hand, crew);
                    }
                }
            }
            Written::Chunk { task, ticket, crc64 } => {
                let outcome = self.verify_chunk(&task, &ticket, crc64, hand);
                let receipt = Receipt::of_bytes(task.span(), crc64);
                let done = task.done(Outcome::of(outcome.map(|()| Outcome::Done)), Some(receipt));
                self.tell_owner(&task, done, crew);
            }
        }
        if writer != self.rank {
            crew.write_to(writer, &CopyLetter::Verified);
        }
    }

    /// The job was stopped before it was read.
    pub(super) fn give_up_verifying(
        &self,
        task: &VerifyTask,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        match &task.what {
            Written::File { .. } => {
                hand.gathered.tally.not_verified += 1;
                hand.gathered.tally.given_up += 1;
            }
            Written::Chunk { task, .. } => self.give_up_chunks(task, crew),
        }
    }

    /// False for a file that is not the one that was written any more.
    fn verify_file(
        &self,
        place: &Place,
        name: &Name,
        identity: Identity,
        crc64: Crc64,
        hand: &mut CopyHand,
    ) -> Result<bool, Trouble> {
        let dir = place.target_dir(self.target(place)).at(Side::Target)?;
        let file = dir.open_file(name).at(Side::Target)?;
        let whole = Extent { offset: 0, length: identity.size_bytes };
        let is_it = |metadata: Metadata| metadata.identity() == identity;
        if !is_it(file.metadata().at(Side::Target)?) {
            return Ok(false);
        }
        if self.has_sum(&*file, whole, crc64, hand)? {
            return Ok(true);
        }
        if !is_it(dir.stat(name).at(Side::Target)?) {
            return Ok(false);
        }
        // A name that is there says that all is well to whoever looks at size and time.
        dir.remove(name, Kind::File).at(Side::Target)?;
        Err(Op::Verify.failed(Cause::NotAsWritten)).at(Side::Target)
    }

    fn verify_chunk(
        &self,
        task: &ChunkTask,
        ticket: &[u8],
        crc64: Crc64,
        hand: &mut CopyHand,
    ) -> Result<(), Trouble> {
        let dir = task.place.target_dir(self.target(&task.place)).at(Side::Target)?;
        let staged = CString::new(ticket).unwrap_or_default();
        let file = dir.open_file(&staged).at(Side::Target)?;
        hand.gathered.tally.verified_bytes +=
            task.extents().iter().map(|extent| extent.length).sum::<u64>();
        file.bypass_cache();
        let buffers = hand.buffers(self.options.buffer_bytes);
        if sum_staged(&*file, task, buffers).at(Side::Target)? == crc64 {
            Ok(())
        } else {
            Err(Op::Verify.failed(Cause::NotAsWritten)).at(Side::Target)
        }
    }

    fn has_sum(
        &self,
        file: &dyn SourceFile,
        extent: Extent,
        expected: Crc64,
        hand: &mut CopyHand,
    ) -> Result<bool, Trouble> {
        hand.gathered.tally.verified_bytes += extent.length;
        // What a service keeps it has worked out from what it got.
        if let Some(kept) = file.crc64() {
            return Ok(kept == expected);
        }
        file.bypass_cache();
        let buffers = hand.buffers(self.options.buffer_bytes);
        let found = sum_extent(file, extent, buffers);
        match found {
            // It ends early.
            Err(error) if error.cause == Cause::Changed => Ok(false),
            found => Ok(found.at(Side::Target)? == expected),
        }
    }
}

/// Checksum of a chunk of a file that others may still be writing: holes at its end
/// come to be when it is complete.
pub(super) fn sum_staged(
    file: &dyn SourceFile,
    task: &ChunkTask,
    buffers: &mut Buffers,
) -> Result<Crc64, Error> {
    let size_bytes = file.metadata()?.size_bytes;
    let mut sum = Crc64::default();
    for extent in task.extents() {
        let there = Extent::between(extent.offset, size_bytes.clamp(extent.offset, extent.end()));
        let missing_bytes = extent.length - there.length;
        let found = sum_extent(file, there, buffers)?;
        let whole = found.combine(Crc64::of_zeros(missing_bytes), missing_bytes);
        sum = task.add_sum(sum, extent, whole);
    }
    Ok(sum)
}
