//! Copying a large file: many ranks write into one staged file, and its owner gives it its name.

use std::ffi::CString;
use std::sync::Arc;

use super::content::{Piece, check_sum, copy_piece, proof_of, share};
use super::linked::LinkedFile;
use super::policy::Plain;
use super::resume::Staging;
use super::small::FileCopy;
use super::sync::{Need, Sides, unless_in_doubt};
use super::verify::Arrived;
use super::{CopyHand, CopyJob, CopyLetter, CopyTask, Large};
use crate::base::crc64::Crc64;
use crate::base::error::{At, Cause, Op, Side, Trouble};
use crate::base::path::Name;
use crate::base::service::ServiceFault;
use crate::chunked::{ChunkTask, ChunkWork, ChunksDone, Ended, Outcome};
use crate::compare::content::{Way, is_same_extent, open_version, outcome_of_sum, sum_extent};
use crate::compare::holes::Reading;
use crate::model::chunk::ChunkRun;
use crate::model::entry::{Hint, Kept, Kind, Metadata, Proof, Version};
use crate::model::lanes::Lanes;
use crate::model::tally::Check;
use crate::model::transfer::{Holes, Manner, Sums};
use crate::sched::crew::Crew;
use crate::store::{Dir, Receipt, Sender, SourceFile, StagedFile};
use crate::walk::Visit;
use crate::walk::place::Place;

/// A large file on its way.
pub(super) struct LargeCopy {
    place: Arc<Place>,
    name: CString,
    source: Box<dyn SourceFile>,
    staged: Box<dyn StagedFile>,
    copy: FileCopy,
    /// The file with several names that it is, where it is one.
    linked: Option<LinkedFile>,
    /// In how many chunks it is cut, where that is along its stripes.
    striped_chunks: Option<u64>,
}

impl CopyJob<'_> {
    /// Stages a large file and queues all its chunks; or ends it, where it shares its content with the
    /// source.
    pub(super) fn begin_large(
        &self,
        entry: &Visit<'_>,
        source: Box<dyn SourceFile>,
        target: &dyn Dir,
        copy: FileCopy,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Option<Kept>, Trouble> {
        let metadata = copy.metadata;
        let Staging { staged, chunk_bytes } = self.stage_large(entry, &*source, target, &copy)?;
        let (ticket, manner) = (staged.ticket(), self.options.transfer.manner(&metadata));
        let manner = if self.journal_of(&*staged).is_some() { manner.summed() } else { manner };
        let lanes = self.lanes(entry.place, &*staged, &metadata, manner, chunk_bytes);
        let run = match lanes {
            Some(lanes) => lanes.whole(metadata.size_bytes),
            None => ChunkRun::whole(metadata.size_bytes, chunk_bytes),
        };
        let (place, name) = (Arc::clone(entry.place), entry.name.to_owned());
        let shared = share(&*source, &*staged, &metadata, self.options.transfer);
        let striped_chunks = lanes.map(|_| run.count());
        let mut large =
            LargeCopy { place, name, source, staged, copy, linked: None, striped_chunks };
        match shared {
            Ok(false) => {}
            Ok(true) => return self.commit_large(large, Outcome::Done, Vec::new()).map(Some),
            Err(trouble) => {
                return self.commit_large(large, Outcome::Failed(trouble), Vec::new()).map(Some);
            }
        }
        large.linked = hand.linked.take();
        let file = self.large.begin(Large::Copy(large), run.count());
        // Until the last chunk is in, this rank waits for letters.
        crew.hold();
        crew.push(CopyTask::Chunks(ChunkTask {
            owner: self.rank,
            file,
            place: Arc::clone(entry.place),
            name: entry.name.to_owned(),
            identity: metadata.identity(),
            chunk_bytes,
            lanes,
            work: ChunkWork::Copy { ticket, manner },
            run,
        }));
        Ok(None)
    }

    /// How a file is cut whose target is striped. Holes are looked for in one place after another; and objects are
    /// asked for in one piece.
    fn lanes(
        &self,
        place: &Place,
        staged: &dyn StagedFile,
        metadata: &Metadata,
        manner: Manner,
        chunk_bytes: u64,
    ) -> Option<Lanes> {
        if self.root(place).source.holds_objects() {
            return None;
        }
        let mut striping = staged.striping(metadata.size_bytes)?;
        if manner.holes == Holes::Kept {
            striping.stripe_count = 1;
        }
        Some(Lanes::new(striping, metadata.size_bytes, chunk_bytes))
    }

    /// Works on the first chunk of a run.
    pub(super) fn run_chunks(
        &self,
        mut task: ChunkTask,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        task.keep_first(crew);
        let mut receipt = None;
        let outcome = match &task.work {
            ChunkWork::Copy { ticket, manner } => {
                let copied = self.copy_chunk(&task, ticket, *manner, hand);
                if let Ok(left) = &copied
                    && self.chunk_is_there(&task, ticket, left.as_ref(), hand, crew)
                {
                    return;
                }
                copied.map(|left| {
                    receipt = left;
                    Outcome::Done
                })
            }
            ChunkWork::Compare { .. } | ChunkWork::Sum { .. } if self.large.is_decided(&task) => {
                Ok(Outcome::Done)
            }
            ChunkWork::Compare { source, target } => {
                self.compare_chunk(&task, [*source, *target], hand)
            }
            ChunkWork::Sum { side, version } => {
                self.sum_chunk(&task, *side, *version, hand).map(|left| {
                    receipt = left;
                    if receipt.is_some() { Outcome::Done } else { Outcome::Differs }
                })
            }
        };
        if outcome != Ok(Outcome::Done) {
            self.large.decide(&task);
        }
        self.tell_owner(&task, task.done(Outcome::of(outcome), receipt), crew);
    }

    /// The job was stopped before these chunks began.
    pub(super) fn give_up_chunks(&self, task: &ChunkTask, crew: &Crew<'_, Self>) {
        let stopped = Trouble { side: Side::Source, error: Op::Copy.failed(Cause::Stopped) };
        self.tell_owner(task, task.done(Outcome::Failed(stopped), None), crew);
    }

    fn copy_chunk(
        &self,
        task: &ChunkTask,
        ticket: &[u8],
        manner: Manner,
        hand: &mut CopyHand,
    ) -> Result<Option<Receipt>, Trouble> {
        let extents = task.extents();
        // The table of a striped file may have chunks behind its end.
        let Some(first) = extents.first() else {
            let nothing = Receipt::of_bytes(task.span(), Crc64::default());
            return Ok(Some(nothing).filter(|_| manner.sums == Sums::All));
        };
        let bytes: u64 = extents.iter().map(|extent| extent.length).sum();
        let target_dir = task.place.target_dir(self.target(&task.place)).at(Side::Target)?;
        if let Some(receipt) = self.written_before(task, ticket, &*target_dir, hand) {
            hand.gathered.tally.resumed_bytes += bytes;
            return Ok(Some(receipt));
        }
        let source_dir = task.place.source_dir(&*self.root(&task.place).source).at(Side::Source)?;
        let source = source_dir.open_extent(&task.name, &task.identity, *first).at(Side::Source)?;
        let target_name = self.target_name(&task.place, &task.name);
        let staged = target_dir.join_staged(ticket, target_name).at(Side::Target)?;
        let mut crc64 = Some(Crc64::default());
        for extent in &extents {
            let piece = Piece { extent: *extent, size_bytes: task.identity.size_bytes, manner };
            let next = copy_piece(&*source, &*staged, piece, &mut hand.buffer)?;
            crc64 = crc64.zip(next).map(|(sum, next)| task.add_sum(sum, *extent, next));
        }
        let (journal, extent) = (self.journal_of(&*staged), task.span());
        let receipt = staged.close().at(Side::Target)?;
        if let (Some(journal), Some(crc64)) = (journal, crc64) {
            journal.chunk(ticket, extent, crc64);
        }
        let tally = &mut hand.gathered.tally;
        if receipt.as_ref().is_some_and(|receipt| receipt.by == Sender::Before) {
            tally.resumed_bytes += bytes;
        } else {
            tally.copied_bytes += bytes;
            tally.chunks += 1;
        }
        Ok(receipt.or_else(|| crc64.map(|crc64| Receipt::of_bytes(extent, crc64))))
    }

    pub(super) fn tell_owner(&self, task: &ChunkTask, done: ChunksDone, crew: &Crew<'_, Self>) {
        if task.owner == self.rank {
            self.chunks_done(done, crew);
        } else {
            crew.write_to(task.owner, &CopyLetter::Chunks(done));
        }
    }

    /// Counts chunks in; after the last one the file is ended, on an I/O thread.
    pub(super) fn chunks_done(&self, done: ChunksDone, crew: &Crew<'_, Self>) {
        let file = done.file();
        if self.large.count(done) {
            crew.push_pinned(CopyTask::Commit(file));
        }
    }

    /// Ends a large file whose chunks are all accounted for.
    pub(super) fn end_large(&self, file: u64, hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        let Some(Ended { file, outcome, receipts }) = self.large.end(file) else { return };
        hand.is_complete = false;
        match file {
            Large::Copy(mut file) => {
                hand.linked = file.linked.take();
                let (place, name) = (Arc::clone(&file.place), file.name.clone());
                let (copy, crc64) = (file.copy.clone(), file.sum(&receipts));
                let metadata = copy.metadata;
                let inode = self.verifier.and_then(|_| file.staged.inode());
                match self.commit_large(file, outcome, receipts) {
                    Err(trouble) if is_to_be_begun_anew(&trouble) && !copy.is_anew => {
                        if let Err(trouble) = self.copy_anew(&place, &name, copy, hand, crew) {
                            self.fail_large(&place, &name, trouble, hand, crew);
                        }
                    }
                    Ok(kept) => {
                        self.copied((&place, &name), Kind::File, kept, hand, crew);
                        let file = Arrived { metadata: &metadata, crc64, inode };
                        self.large_file_is_there(&place, &name, file, hand, crew);
                    }
                    Err(trouble) => self.fail_large(&place, &name, trouble, hand, crew),
                }
            }
            Large::Comparison { place, name, sides, way, linked } => {
                hand.linked = linked;
                let size_bytes = sides.source.size_bytes;
                let outcome = outcome_of_sum(outcome, way.expected(), &receipts, size_bytes);
                let ended = self.end_comparison(&place, &name, &sides, outcome, hand, crew);
                if let Err(trouble) = ended {
                    self.fail_large(&place, &name, trouble, hand, crew);
                }
            }
        }
        Self::end_first(hand, crew);
        crew.release();
    }

    /// A chunk of both sides, to know whether the file must be copied.
    fn compare_chunk(
        &self,
        task: &ChunkTask,
        [source, target]: [Version; 2],
        hand: &mut CopyHand,
    ) -> Result<Outcome, Trouble> {
        let source_dir = task.place.source_dir(&*self.root(&task.place).source).at(Side::Source)?;
        let target_dir = task.place.target_dir(self.target(&task.place)).at(Side::Target)?;
        let extent = task.extent();
        let from_source = open_version(&*source_dir, &task.name, source, extent);
        let Some(source) = unless_in_doubt(from_source.at(Side::Source))? else {
            return Ok(Outcome::Differs);
        };
        let target_name = self.target_name(&task.place, &task.name);
        let from_target = open_version(&*target_dir, target_name, target, extent);
        let Some(target) = unless_in_doubt(from_target.at(Side::Target))? else {
            return Ok(Outcome::Differs);
        };
        let check = Way::Bytes.check(&*source, &*target);
        hand.gathered.tally.compared.by(check).bytes += extent.length;
        let buffers = hand.buffers(self.options.buffer_bytes);
        let compared = is_same_extent(&*source, &*target, extent, Reading::AroundHoles, buffers);
        let is_same = unless_in_doubt(compared)?.unwrap_or(false);
        Ok(if is_same { Outcome::Done } else { Outcome::Differs })
    }

    /// A chunk of the side whose checksum nobody keeps. `None` for one that has changed: it is copied,
    /// with a check of its own.
    fn sum_chunk(
        &self,
        task: &ChunkTask,
        side: Side,
        version: Version,
        hand: &mut CopyHand,
    ) -> Result<Option<Receipt>, Trouble> {
        let (dir, name) = match side {
            Side::Source => (task.place.source_dir(&*self.root(&task.place).source), &*task.name),
            Side::Target => {
                let name = self.target_name(&task.place, &task.name);
                (task.place.target_dir(self.target(&task.place)), name)
            }
        };
        let extent = task.extent();
        let buffers = hand.buffers(self.options.buffer_bytes);
        let opened = open_version(&*dir.at(side)?, name, version, extent);
        let summed = opened.and_then(|file| Ok((sum_extent(&*file, extent, buffers)?, file)));
        let Some((crc64, file)) = unless_in_doubt(summed.at(side))? else { return Ok(None) };
        let check = if file.address().is_some() { Check::Downloaded } else { Check::Summed };
        hand.gathered.tally.compared.by(check).bytes += extent.length;
        Ok(Some(Receipt::of_bytes(extent, crc64)))
    }

    /// Copies a file once more, from its beginning: another job has ended its upload, or something of the source was
    /// changed that may have been its content, and may not.
    fn copy_anew(
        &self,
        place: &Arc<Place>,
        name: &Name,
        copy: FileCopy,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Trouble> {
        let dir = place.source_dir(&*self.root(place).source).at(Side::Source)?;
        let source = dir.open_file(name).at(Side::Source)?;
        let metadata = source.metadata().at(Side::Source)?;
        if metadata.identity() != copy.metadata.identity() {
            return Err(Op::Copy.failed(Cause::Changed)).at(Side::Source);
        }
        let target = place.target_dir(self.target(place)).at(Side::Target)?;
        let entry = Visit { place, dir: &dir, name, hint: Hint::File };
        let mut copy = FileCopy { is_anew: true, ..copy };
        if metadata.version() != copy.metadata.version() {
            let xattrs = self.xattrs_of(|| source.xattrs())?;
            let old = self.replaced(&entry, &*target, &metadata)?;
            let old = old.filter(|old| old.kind == Kind::File);
            let plain = Plain::of_entry(self.options, &metadata, &*target).at(Side::Target)?;
            copy.attributes = self.attributes_of(&entry, &metadata, xattrs, old.as_ref(), plain);
            copy.metadata = metadata;
        }
        self.begin_large(&entry, source, &*target, copy, hand, crew).map(|_| ())
    }

    /// All chunks were compared: the file is copied, given attributes, or left alone.
    fn end_comparison(
        &self,
        place: &Arc<Place>,
        name: &Name,
        sides: &Sides,
        outcome: Outcome,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Trouble> {
        let dir = place.source_dir(&*self.root(place).source).at(Side::Source)?;
        let entry = Visit { place, dir: &dir, name, hint: Hint::File };
        let outcome = match outcome {
            Outcome::Failed(trouble) => unless_in_doubt(Err(trouble))?.unwrap_or(Outcome::Differs),
            outcome => outcome,
        };
        let need = match outcome {
            Outcome::Failed(_) | Outcome::Differs => Need::Content,
            Outcome::Done => {
                let target_dir = place.target_dir(self.target(place)).at(Side::Target)?;
                self.attributes_needed(&entry, &*target_dir, sides, hand)?
            }
        };
        self.satisfy(need, &entry, &sides.source, hand, crew).map(|_| ())
    }

    /// Gives the complete file its name; removes what was staged where anything went wrong.
    fn commit_large(
        &self,
        file: LargeCopy,
        outcome: Outcome,
        receipts: Vec<Receipt>,
    ) -> Result<Kept, Trouble> {
        let unchanged = match outcome {
            Outcome::Failed(trouble) => Err(trouble),
            Outcome::Done | Outcome::Differs => file.check(&receipts),
        };
        let proof = match unchanged {
            Ok(proof) => proof,
            Err(trouble) => {
                self.give_up_large(file, trouble.error.cause);
                return Err(trouble);
            }
        };
        let LargeCopy { staged, copy, .. } = file;
        let (journal, ticket) = (self.journal_of(&*staged), staged.ticket());
        let kept = staged.commit(&copy.attributes, receipts).at(Side::Target);
        if let Some(journal) = journal {
            journal.end(&ticket);
        }
        let kept = kept?;
        Ok(Kept { proof: proof_of(proof, kept.proof), ..kept })
    }

    /// What was given up because the job stops is not a failure of its own: the cause was reported.
    fn fail_large(
        &self,
        place: &Place,
        name: &Name,
        trouble: Trouble,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        if trouble.error.cause == Cause::Stopped {
            hand.gathered.tally.given_up += 1;
        } else {
            self.fail(place, name.to_bytes(), trouble, hand, crew);
        }
    }
}

fn is_to_be_begun_anew(trouble: &Trouble) -> bool {
    let is_changed = trouble.side == Side::Source && trouble.error.cause == Cause::Changed;
    is_changed || trouble.error.cause == Cause::Service(ServiceFault::NoUpload)
}

impl LargeCopy {
    /// What is there of it.
    pub(super) fn into_staged(self) -> Box<dyn StagedFile> {
        self.staged
    }

    /// Checksum of the whole file, if each chunk was summed up while it was copied.
    fn sum(&self, receipts: &[Receipt]) -> Option<Crc64> {
        match self.striped_chunks {
            None => Receipt::crc64_of(receipts, self.copy.metadata.size_bytes),
            Some(chunks) if chunks != receipts.len() as u64 => None,
            Some(_) => receipts
                .iter()
                .try_fold(Crc64::default(), |sum, receipt| Some(sum.with_share(receipt.crc64?))),
        }
    }

    /// The source is what it was, and all that many ranks wrote has arrived.
    fn check(&self, receipts: &[Receipt]) -> Result<Option<Proof>, Trouble> {
        let metadata = &self.copy.metadata;
        if self.staged.size_bytes(receipts).at(Side::Target)? != metadata.size_bytes {
            return Err(Op::Write.failed(Cause::Incomplete)).at(Side::Target);
        }
        let now = self.source.metadata().at(Side::Source)?;
        if now.version() != metadata.version() {
            return Err(Op::Copy.failed(Cause::Changed)).at(Side::Source);
        }
        check_sum(&*self.source, metadata.size_bytes, receipts, false)
    }
}
