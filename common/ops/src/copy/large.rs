//! Copying a large file: many ranks write into one staged file, and its owner gives it its name.

use super::arrival;
use super::env::Env;
use super::look;
use super::resume;
use super::small;
use std::ffi::CString;
use std::sync::Arc;

use super::arrival::{check_arrived, check_md5s, proof_of};
use super::content::share;
use super::context::Context;
use super::context::CopyCrew;
use super::linked::LinkedFile;
use super::policy::Plain;
use super::resume::{Staging, stays};
use super::small::FileCopy;
use super::sync::Sides;
use super::upkeep::Upkeep;
use super::verify::Arrived;
use super::{CopyLetter, CopyTask};
use crate::chunked::{ChunkTask, ChunkWork, Chunked, ChunksDone, Ended, Outcome};
use crate::compare::content::{Way, outcome_of_sum};
use crate::walk::Visit;
use crate::walk::place::Place;
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

/// A large file that many ranks work on.
pub(super) enum Large {
    /// It is being copied.
    Copy(LargeCopy),
    /// It is written, and read again. With what its writers have left.
    Written(LargeCopy, Vec<Receipt>),
    /// It is being compared with the target's, to know whether it must be copied.
    Comparison {
        place: Arc<Place>,
        name: CString,
        sides: Sides,
        way: Way,
        /// The file with several names that it is, where it is one.
        linked: Option<LinkedFile>,
    },
}

/// Executor of the large files that this rank owns, and of chunks of any.
#[derive(Default)]
pub(super) struct LargeFiles {
    pub(super) open: Chunked<Large>,
}

/// What is left to do for a large file whose chunks are all accounted for.
#[allow(clippy::large_enum_variant, reason = "one at a time, handed on at once")]
pub(super) enum Ending {
    /// Nothing: it is complete, has failed, or was begun once more.
    Done,
    /// It is to get what its comparison shows that it needs.
    Compared { place: Arc<Place>, name: CString, sides: Sides, outcome: Outcome },
}

impl LargeFiles {
    /// Stages a large file and queues all its chunks; or ends it, where it shares its content with the
    /// source.
    pub(super) fn begin_large(
        &self,
        entry: &Visit<'_>,
        source: Box<dyn SourceFile>,
        target: &dyn Dir,
        copy: FileCopy,
        cx: &mut Context<'_, '_>,
    ) -> Result<Option<Kept>, Trouble> {
        let metadata = copy.metadata;
        let etag = arrival::etag_of(cx.env, entry.place, &*source)?;
        let Staging { staged, chunk_bytes } =
            resume::stage_large(cx.env, entry, &*source, etag.as_ref(), target, &copy)?;
        let part_bytes = etag.map(|etag| etag.part_bytes);
        let part_bytes = part_bytes.filter(|bytes| {
            arrival::is_hashed(cx.env, entry.place, (metadata.size_bytes, chunk_bytes), *bytes)
        });
        let manner = Manner { part_bytes, ..cx.env.options.transfer.manner(&metadata) };
        let ticket = staged.ticket();
        let manner = if cx.env.journal_of(&*staged).is_some() { manner.summed() } else { manner };
        let lanes = lanes(cx.env, entry.place, &*staged, &metadata, manner, chunk_bytes);
        let run = match lanes {
            Some(lanes) => lanes.whole(metadata.size_bytes),
            None => ChunkRun::whole(metadata.size_bytes, chunk_bytes),
        };
        let (place, name) = (Arc::clone(entry.place), entry.name.to_owned());
        let chunks = ChunkTask {
            owner: cx.env.rank,
            file: 0,
            place: Arc::clone(&place),
            name: name.clone(),
            identity: metadata.identity(),
            chunk_bytes,
            lanes,
            work: ChunkWork::Copy { ticket, manner },
            run,
        };
        let shared = share(&*source, &*staged, &metadata, cx.env.options.transfer);
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
            Ok(true) => return commit_large(cx.env, large, Outcome::Done, Vec::new()).map(Some),
            Err(trouble) => {
                return commit_large(cx.env, large, Outcome::Failed(trouble), Vec::new()).map(Some);
            }
        }
        large.linked = cx.hand.linked.take();
        let file = self.open.begin(Large::Copy(large), run.count());
        // Until the last chunk is in, this rank waits for letters.
        cx.crew.hold();
        cx.crew.push(CopyTask::Chunks(ChunkTask { file, ..chunks }));
        Ok(None)
    }

    pub(super) fn tell_owner(&self, task: &ChunkTask, done: ChunksDone, crew: &CopyCrew<'_, '_>) {
        if task.owner == crew.rank() {
            self.chunks_done(done, crew);
        } else {
            crew.write_to(task.owner, &CopyLetter::Chunks(done));
        }
    }

    /// Counts chunks in; after the last one the file is ended, on an I/O thread.
    pub(super) fn chunks_done(&self, done: ChunksDone, crew: &CopyCrew<'_, '_>) {
        let file = done.file();
        if self.open.count(done) {
            crew.push_pinned(CopyTask::Commit(file));
        }
    }

    /// Ends a large file whose chunks are all accounted for. `None` while they are read again.
    pub fn end(&self, file: u64, upkeep: &Upkeep<'_>, cx: &mut Context<'_, '_>) -> Option<Ending> {
        let ended = self.open.end(file)?;
        cx.hand.is_complete = false;
        let Ended { file, outcome, receipts, .. } = self.have_chunks_verified(ended, cx)?;
        match file {
            Large::Copy(file) | Large::Written(file, _) => {
                self.end_copy(file, outcome, receipts, upkeep, cx);
            }
            Large::Comparison { place, name, sides, way, linked } => {
                cx.hand.linked = linked;
                let size_bytes = sides.source.size_bytes;
                if outcome == Outcome::Done && way.is_disproved(&receipts, size_bytes) {
                    self.begin_comparison((&place, &name), Way::Bytes, &sides, cx);
                } else {
                    let outcome = outcome_of_sum(outcome, way.expected(), &receipts, size_bytes);
                    return Some(Ending::Compared { place, name, sides, outcome });
                }
            }
        }
        Some(Ending::Done)
    }

    fn end_copy(
        &self,
        mut file: LargeCopy,
        mut outcome: Outcome,
        receipts: Vec<Receipt>,
        upkeep: &Upkeep<'_>,
        cx: &mut Context<'_, '_>,
    ) {
        if outcome == Outcome::Done {
            match arrival::md5s_as_written(&file, cx) {
                Ok(md5s) => file.md5s_as_written = md5s,
                Err(trouble) => outcome = Outcome::Failed(trouble),
            }
        }
        cx.hand.linked = file.linked.take();
        let (place, name) = (Arc::clone(&file.place), file.name.clone());
        let (copy, crc64) = (file.copy.clone(), file.sum(&receipts));
        let metadata = copy.metadata;
        let inode = cx.env.verifier.and_then(|_| file.staged.inode());
        match commit_large(cx.env, file, outcome, receipts) {
            Err(trouble) if is_to_be_begun_anew(&trouble) && !copy.is_anew => {
                if let Err(trouble) = self.copy_anew(&place, &name, copy, cx) {
                    fail_large(&place, &name, trouble, cx);
                }
            }
            Ok(kept) => {
                cx.copied((&place, &name), Kind::File, kept);
                let file = Arrived { metadata: &metadata, crc64, inode };
                upkeep.large_file_is_there(&place, &name, file, cx);
            }
            Err(trouble) => fail_large(&place, &name, trouble, cx),
        }
    }

    /// Has the two sides of a file compared by many ranks.
    pub(super) fn begin_comparison(
        &self,
        (place, name): (&Arc<Place>, &Name),
        way: Way,
        sides: &Sides,
        cx: &mut Context<'_, '_>,
    ) {
        let (source, target) = (sides.source.version(), sides.target.version());
        let wish_bytes = cx.env.chunk_bytes(place, sides.source.size_bytes);
        let (work, chunk_bytes) = way.chunks([source, target], wish_bytes);
        let run = ChunkRun::whole(sides.source.size_bytes, chunk_bytes);
        let (place, name) = (Arc::clone(place), name.to_owned());
        let (of_task, name_of_task) = (Arc::clone(&place), name.clone());
        let (sides, linked) = (Sides { ..*sides }, cx.hand.linked.take());
        let large = Large::Comparison { place, name, sides, way, linked };
        let file = self.open.begin(large, run.count());
        cx.crew.hold();
        let (place, name) = (of_task, name_of_task);
        let (owner, identity, lanes) = (cx.env.rank, source.identity, None);
        let task = ChunkTask { owner, file, place, name, identity, chunk_bytes, lanes, work, run };
        cx.crew.push(task.into());
    }

    /// Copies a file once more, from its beginning: another job has ended its upload, or something of the source was
    /// changed that may have been its content, and may not.
    fn copy_anew(
        &self,
        place: &Arc<Place>,
        name: &Name,
        copy: FileCopy,
        cx: &mut Context<'_, '_>,
    ) -> Result<(), Trouble> {
        let dir = place.source_dir(&*cx.env.root(place).source).at(Side::Source)?;
        let source = dir.open_file(name).at(Side::Source)?;
        let metadata = source.metadata().at(Side::Source)?;
        if metadata.identity() != copy.metadata.identity() {
            return Err(Op::Copy.failed(Cause::Changed)).at(Side::Source);
        }
        let target = place.target_dir(cx.env.target(place)).at(Side::Target)?;
        let entry = Visit { place, dir: &dir, name, hint: Hint::File };
        let mut copy = FileCopy { is_anew: true, ..copy };
        if metadata.version() != copy.metadata.version() {
            let xattrs = cx.env.xattrs_of(|| source.xattrs())?;
            let old = look::replaced(cx.env, &entry, &*target, &metadata)?;
            let old = old.filter(|old| old.kind == Kind::File);
            let plain = Plain::of_entry(cx.env.options, &metadata, &*target).at(Side::Target)?;
            copy.attributes =
                small::attributes_of(cx.env, &entry, &metadata, xattrs, old.as_ref(), plain);
            copy.metadata = metadata;
        }
        self.begin_large(&entry, source, &*target, copy, cx).map(|_| ())
    }
}

/// How a file is cut whose target is striped. Holes are looked for in one place after another; and objects are
/// asked for in one piece.
fn lanes(
    env: &Env<'_>,
    place: &Place,
    staged: &dyn StagedFile,
    metadata: &Metadata,
    manner: Manner,
    chunk_bytes: u64,
) -> Option<Lanes> {
    if env.root(place).source.holds_objects() {
        return None;
    }
    let mut striping = staged.striping(metadata.size_bytes)?;
    if manner.holes == Holes::Kept {
        striping.stripe_count = 1;
    }
    Some(Lanes::new(striping, metadata.size_bytes, chunk_bytes))
}

/// Gives the complete file its name; removes what was staged where anything went wrong.
fn commit_large(
    env: &Env<'_>,
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
            resume::give_up_large(env, file, trouble.error.cause);
            return Err(trouble);
        }
    };
    let LargeCopy { staged, copy, .. } = file;
    let (journal, ticket) = (env.journal.filter(|_| stays(&*staged)), staged.ticket());
    let kept = staged.commit(&copy.attributes, receipts).at(Side::Target);
    if let Some(journal) = journal {
        journal.end(&ticket);
    }
    let kept = kept?;
    Ok(Kept { proof: proof_of(proof, kept.proof), ..kept })
}

/// What was given up because the job stops is not a failure of its own: the cause was reported.
pub(super) fn fail_large(place: &Place, name: &Name, trouble: Trouble, cx: &mut Context<'_, '_>) {
    if trouble.error.cause == Cause::Stopped {
        cx.hand.gathered.tally.cancelled_tasks += 1;
    } else {
        cx.fail(place, name.to_bytes(), trouble);
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
