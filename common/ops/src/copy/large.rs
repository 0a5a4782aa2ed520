//! Copying a large file: many ranks write into one staged file, and its owner gives it its name.

use std::ffi::CString;
use std::sync::Arc;

use super::arrival::{check_arrived, check_md5s, proof_of};
use super::content::share;
use super::linked::LinkedFile;
use super::policy::Plain;
use super::resume::{Staging, stays};
use super::small::FileCopy;
use super::sync::{Need, Sides, unless_in_doubt};
use super::verify::Arrived;
use super::{CopyHand, CopyJob, CopyLetter, CopyTask, Large};
use crate::chunked::{ChunkTask, ChunkWork, ChunksDone, Ended, Outcome};
use crate::compare::content::{Way, outcome_of_sum};
use crate::walk::Visit;
use crate::walk::place::Place;
use sched::crew::Crew;
use store::{Dir, Receipt, SourceFile, StagedFile};
use types::content::chunk::ChunkRun;
use types::content::crc64::Crc64;
use types::content::etag::PartedEtag;
use types::content::lanes::Lanes;
use types::content::transfer::{Holes, Manner};
use types::entry::{Hint, Kept, Kind, Metadata, Proof};
use types::error::{At, Cause, Op, Side, Trouble};
use types::path::Name;
use types::service::ServiceFault;

/// A large file on its way.
pub(super) struct LargeCopy {
    pub(super) place: Arc<Place>,
    name: CString,
    /// All its chunks, which have no number yet.
    pub(super) chunks: ChunkTask,
    source: Box<dyn SourceFile>,
    pub(super) staged: Box<dyn StagedFile>,
    copy: FileCopy,
    /// What its content is compared with.
    pub(super) etag: Option<PartedEtag>,
    /// Size of the parts that are compared while they are copied.
    pub(super) part_bytes: Option<u64>,
    /// MD5s of its parts, as they were written, where that was read again.
    md5s_as_written: Option<Vec<u128>>,
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
        let etag = self.etag_of(entry.place, &*source)?;
        let Staging { staged, chunk_bytes } =
            self.stage_large(entry, &*source, etag.as_ref(), target, &copy)?;
        let part_bytes = etag.map(|etag| etag.part_bytes);
        let part_bytes = part_bytes.filter(|bytes| {
            self.is_hashed(entry.place, (metadata.size_bytes, chunk_bytes), *bytes)
        });
        let manner = Manner { part_bytes, ..self.options.transfer.manner(&metadata) };
        let ticket = staged.ticket();
        let manner = if self.journal_of(&*staged).is_some() { manner.summed() } else { manner };
        let lanes = self.lanes(entry.place, &*staged, &metadata, manner, chunk_bytes);
        let run = match lanes {
            Some(lanes) => lanes.whole(metadata.size_bytes),
            None => ChunkRun::whole(metadata.size_bytes, chunk_bytes),
        };
        let (place, name) = (Arc::clone(entry.place), entry.name.to_owned());
        let chunks = ChunkTask {
            owner: self.rank,
            file: 0,
            place: Arc::clone(&place),
            name: name.clone(),
            identity: metadata.identity(),
            chunk_bytes,
            lanes,
            work: ChunkWork::Copy { ticket, manner },
            run,
        };
        let shared = share(&*source, &*staged, &metadata, self.options.transfer);
        let striped_chunks = lanes.map(|_| run.count());
        let mut large = LargeCopy {
            place,
            name,
            chunks: chunks.clone(),
            source,
            staged,
            copy,
            etag,
            part_bytes,
            md5s_as_written: None,
            linked: None,
            striped_chunks,
        };
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
        crew.push(CopyTask::Chunks(ChunkTask { file, ..chunks }));
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
        let Some(ended) = self.large.end(file) else { return };
        hand.is_complete = false;
        let Some(ended) = self.have_chunks_verified(ended, crew) else { return };
        let Ended { file, mut outcome, receipts, .. } = ended;
        match file {
            Large::Copy(mut file) | Large::Written(mut file, _) => {
                if outcome == Outcome::Done {
                    match self.md5s_as_written(&file, hand) {
                        Ok(md5s) => file.md5s_as_written = md5s,
                        Err(trouble) => outcome = Outcome::Failed(trouble),
                    }
                }
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
                if outcome == Outcome::Done && way.is_disproved(&receipts, size_bytes) {
                    self.begin_comparison((&place, &name), Way::Bytes, &sides, hand, crew);
                } else {
                    let outcome = outcome_of_sum(outcome, way.expected(), &receipts, size_bytes);
                    let ended = self.end_comparison(&place, &name, &sides, outcome, hand, crew);
                    if let Err(trouble) = ended {
                        self.fail_large(&place, &name, trouble, hand, crew);
                    }
                }
            }
        }
        Self::end_first(hand, crew);
        crew.release();
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
        let (journal, ticket) = (self.journal.filter(|_| stays(&*staged)), staged.ticket());
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
            hand.gathered.tally.cancelled_tasks += 1;
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
        let written_bytes = self.staged.size_bytes(receipts).at(Side::Target)?;
        let expected_bytes = metadata.size_bytes;
        if written_bytes != expected_bytes {
            let short = Cause::ShortWrite { written_bytes, expected_bytes };
            return Err(Op::Write.failed(short)).at(Side::Target);
        }
        let now = self.source.metadata().at(Side::Source)?;
        if now.version() != metadata.version() {
            return Err(Op::Copy.failed(Cause::Changed)).at(Side::Source);
        }
        match (&self.etag, &self.md5s_as_written) {
            (Some(etag), Some(md5s)) => check_md5s(&*self.source, etag, md5s).map(Some),
            (etag, _) => {
                let arrived = (metadata.size_bytes, receipts);
                check_arrived(&*self.source, etag.as_ref(), arrived, false)
            }
        }
    }

    /// Size of the file.
    pub(super) fn size_bytes(&self) -> u64 {
        self.copy.metadata.size_bytes
    }
}
