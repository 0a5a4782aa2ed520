//! Resumption of an interrupted job: its journal records what was staged of large files, and the
//! staged file itself shows whether that is true.

use super::arrival;
use super::attributes;
use super::env::Env;
use super::hard_links;
use super::sync;
use std::ffi::CString;
use std::time::Duration;

use super::attribute_policy::{self, Plain, mode_alone};
use super::context::Context;
use super::decide::{Need, Sides};
use super::large::LargeCopy;
use super::options::GoingOn;
use super::small::FileCopy;
use super::verify::sum_staged;
use crate::chunked::ChunkTask;
use crate::compare::content::{Way, hash_extent};
use crate::compare::options::Evidence;
use crate::journal::{Journal, Unfinished};
use crate::walk::dir_ref::DirRef;
use crate::walk::{Visit, whole};
use store::{Dir, NewFile, Receipt, Sender, SourceFile, StagedFile, Store, Writers};
use types::content::crc64::Crc64;
use types::content::etag::{PartHasher, PartedEtag};
use types::entry::{Kind, Metadata, Time};
use types::error::{At, Cause, Error, Side, SideError};
use types::limits::{CLOCKS_APART_MAX, TICKS_APART_MAX, UNSYNCED_BYTES_MAX};
use types::operand::staged_name::is_staged;
use types::outcome::compare;
use types::outcome::compare::Clue;
use types::outcome::difference::Fields;
use types::path::Name;

/// A large file that is ready for its chunks.
pub(super) struct Staging {
    /// The staged file that the chunks are written to.
    pub staged: Box<dyn StagedFile>,
    /// Size of the chunks.
    pub chunk_bytes: u64,
}

/// Stages a large file, or takes over the file that an interrupted job has staged.
pub(super) fn stage_large(
    env: &Env<'_>,
    entry: &Visit<'_>,
    source: &dyn SourceFile,
    etag: Option<&PartedEtag>,
    target: &dyn Dir,
    copy: &FileCopy,
) -> Result<Staging, SideError> {
    if let Some(journal) = env.journal
        && let Some(staging) = take_over(env, journal, entry, source, target, copy)?
    {
        return Ok(staging);
    }
    let metadata = &copy.metadata;
    let upload = env.journal.and_then(|journal| begun_upload(env, journal, entry));
    let same = upload.filter(|begun| begun.version.identity == metadata.identity());
    let chunk_bytes = env.chunk_bytes(entry.dir_ref, metadata.size_bytes);
    let chunk_bytes =
        arrival::whole_parts(env, entry.dir_ref, (metadata.size_bytes, chunk_bytes), etag);
    let chunk_bytes = same.map_or(chunk_bytes, |begun| begun.chunk_bytes);
    let (staged_name, name) = (env.staged_name(), env.target_name(entry.dir_ref, entry.name));
    let new = NewFile::new(&staged_name, name, &copy.attributes).copy_of(source, metadata);
    let replaces = copy.replaces;
    let begun = same.map(|begun| &*begun.staged);
    let new = NewFile { writers: Writers::Several { chunk_bytes }, replaces, begun, ..new };
    // The service numbers an upload when it begins. A job that dies before it has recorded the
    // number leaves an upload that only the name of its object leads to, so that is recorded
    // before.
    if let Some(journal) = env.journal.filter(|_| env.target(entry.dir_ref).holds_objects()) {
        journal.intend_upload(env.target_file(entry.dir_ref, entry.name));
    }
    let staged = target.stage_file(&new).at(Side::Target)?;
    // The earlier upload is aborted after the new one has begun, and never the one that was taken
    // over: the ticket tells them apart.
    if let Some(upload) = upload {
        let aborted = target.abort_upload(name, &upload.staged, Some(&staged.ticket()));
        vanished_is_gone(aborted).at(Side::Target)?;
    }
    if let Some(journal) = env.journal.filter(|_| stays(&*staged)) {
        let file = env.target_file(entry.dir_ref, entry.name);
        let (version, inode, ticket) = (metadata.version(), staged.inode(), staged.ticket());
        let begun = Unfinished { version, chunk_bytes, staged: ticket, inode };
        if staged.is_upload() {
            journal.begin_upload(file, begun);
        } else {
            journal.begin(file, begun);
        }
    }
    Ok(Staging { staged, chunk_bytes })
}

/// Returns whether the interrupted job that this one resumes has finished the file: the target has
/// the size and modification time of the source, and a ctime after the start of that job. Where
/// verification is requested, the content is in doubt, or the file may be older than that job, as
/// far as clocks tell, its content is compared. The file gets the attributes that have changed
/// since, or that only this job preserves.
pub(super) fn is_finished(
    entry: &Visit<'_>,
    target: &dyn Dir,
    (source, old): (&Metadata, Option<&Metadata>),
    cx: &mut Context<'_, '_>,
) -> Result<bool, SideError> {
    let (Some(going_on), Some(old)) = (cx.env.options.going_on, old) else { return Ok(false) };
    let is_copied_anew = cx.env.options.sync.is_some() || hard_links::is_parted(cx);
    if is_copied_anew || cx.env.replaces_earlier(entry.dir_ref, entry.name) {
        return Ok(false);
    }
    let name = cx.env.target_name(entry.dir_ref, entry.name);
    let old = whole(target, name, *old).at(Side::Target)?;
    let sides = Sides { source: *source, target: old };
    let is_same = old.kind == Kind::File
        && old.size_bytes == source.size_bytes
        && old.known.contains(Fields::MTIME)
        && compare::clue(source, &old, None, cx.env.time_range(entry.dir_ref, [source, &old]))
            == Clue::Same
        && going_on.may_be_since(old.ctime, clocks_apart(cx.env.target(entry.dir_ref)));
    if !is_same {
        return Ok(false);
    }
    // Size and times can be right and the content wrong: it was not synced when a node died, or the
    // source has changed since with its modification time set back.
    // A new link to an older file, or the loss of one, gives it a new ctime, too.
    let is_own = going_on.is_since(old.ctime, clocks_apart(cx.env.target(entry.dir_ref)))
        && (going_on.is_new || cx.env.moving.is_none());
    let is_read =
        !is_own || cx.env.verifier.is_some() || is_in_doubt(cx.env, entry.dir_ref, &sides);
    if is_read && !is_finished_content(entry, target, source.size_bytes, cx)? {
        return Ok(false);
    }
    complete(entry, target, &sides, cx)
}

/// Returns the largest difference between the clock by which a job noted its start and the one by
/// which a target stamps changes.
fn clocks_apart(target: &dyn Store) -> Duration {
    let capabilities = target.capabilities();
    let is_of_this_node = capabilities.clock_behind.is_zero() && !capabilities.holds_objects();
    if is_of_this_node { TICKS_APART_MAX } else { CLOCKS_APART_MAX }
}

/// Returns whether the file of the target has the content of the source.
fn is_finished_content(
    entry: &Visit<'_>,
    target: &dyn Dir,
    size_bytes: u64,
    cx: &mut Context<'_, '_>,
) -> Result<bool, SideError> {
    let source = entry.dir.open_file(entry.name).at(Side::Source)?;
    let name = cx.env.target_name(entry.dir_ref, entry.name);
    let Ok(old) = target.open_file(name) else { return Ok(false) };
    old.bypass_cache().at(Side::Target)?;
    let files = [source, old];
    let way = Way::of(&*files[0], &*files[1], Evidence::Checksums)?;
    sync::is_same_content(way, &files, size_bytes, cx)
}

/// Sets the attributes that the copy of a finished file gets now. Returns false where the file must
/// be copied for that.
fn complete(
    entry: &Visit<'_>,
    target: &dyn Dir,
    sides: &Sides,
    cx: &mut Context<'_, '_>,
) -> Result<bool, SideError> {
    match attributes::attributes_needed(entry, target, sides, cx)? {
        Need::Content | Need::ToBeSeen | Need::Later => return Ok(false),
        Need::Attributes => sync::repair(entry, &sides.source, cx)?,
        Need::Nothing => {}
    }
    let is_new = cx.env.options.going_on.is_some_and(|going_on| going_on.is_new);
    if !is_new || cx.env.options.keep.decides_mode() || cx.env.target(entry.dir_ref).holds_objects()
    {
        return Ok(true);
    }
    // The mode is the one that cp(1) gives to a new file.
    let plain = Plain::of_entry(cx.env.options, &sides.source, target).at(Side::Target)?;
    let new = attribute_policy::of_file(cx.env.options, &sides.source, None, None, plain);
    if let Some(mode) = new.mode.filter(|mode| *mode != sides.target.mode) {
        let name = cx.env.target_name(entry.dir_ref, entry.name);
        let set = target.set_entry_attributes(name, Kind::File, &mode_alone(mode));
        set.at(Side::Target)?;
    }
    Ok(true)
}

/// Returns whether an interrupted job may have given that file of the target content that never
/// reached the storage, or that the source does not have any more. Below other mounts only large
/// files are synced.
pub(super) fn is_in_doubt(env: &Env<'_>, dir_ref: &DirRef, sides: &Sides) -> bool {
    let (Some(journal), there) = (env.journal, &sides.target) else { return false };
    if journal.distrusts() || is_source_later(env, dir_ref, sides) {
        return true;
    }
    if env.target(dir_ref).holds_objects() {
        return false;
    }
    let is_synced_with = |root: Metadata| root.device == there.device;
    let is_elsewhere = !env.root(dir_ref).target_metadata.is_none_or(is_synced_with);
    let goes_on = env.options.going_on.is_some() && env.options.sync.is_none();
    let is_left = goes_on && is_elsewhere && there.size_bytes <= UNSYNCED_BYTES_MAX;
    is_left || journal.doubts(there.ctime, there.size_bytes)
}

/// Returns whether the source was changed after an interrupted job had finished the file, as far as
/// their clocks tell: its content may have changed and its modification time may have been set
/// back. Every change to an object stores it anew; an object without a known time of storage is
/// always in doubt.
fn is_source_later(env: &Env<'_>, dir_ref: &DirRef, Sides { source, target }: &Sides) -> bool {
    let may_be_since = |it: GoingOn| it.may_be_since(target.ctime, CLOCKS_APART_MAX);
    if !env.options.going_on.is_some_and(may_be_since) {
        return false;
    }
    if env.root(dir_ref).source.holds_objects() && source.ctime.seconds == 0 {
        return true;
    }
    let apart = if source.device == target.device { Duration::ZERO } else { CLOCKS_APART_MAX };
    let seconds = source.ctime.seconds.saturating_add_unsigned(apart.as_secs());
    Time { seconds, ..source.ctime } >= target.ctime
}

/// True if an interrupted job treated the file as a large one.
pub(super) fn was_begun(env: &Env<'_>, entry: &Visit<'_>) -> bool {
    env.journal.is_some_and(|journal| begun(env, journal, entry).is_some())
}

/// Returns the record of a staged file that an interrupted job has begun.
fn begun<'j>(env: &Env<'_>, journal: &'j Journal, entry: &Visit<'_>) -> Option<&'j Unfinished> {
    let file = || env.target_file(entry.dir_ref, entry.name);
    let begun = journal.has_unfinished().then(file).and_then(|file| journal.unfinished(&file));
    begun.filter(|begun| staged_name(begun).is_some())
}

/// Returns the record of an upload that an interrupted job has begun for the file.
fn begun_upload<'j>(
    env: &Env<'_>,
    journal: &'j Journal,
    entry: &Visit<'_>,
) -> Option<&'j Unfinished> {
    let is_upload = env.target(entry.dir_ref).holds_objects() && journal.has_unfinished();
    let file = || env.target_file(entry.dir_ref, entry.name);
    is_upload.then(file).and_then(|file| journal.unfinished(&file))
}

fn take_over(
    env: &Env<'_>,
    journal: &Journal,
    entry: &Visit<'_>,
    source: &dyn SourceFile,
    target: &dyn Dir,
    copy: &FileCopy,
) -> Result<Option<Staging>, SideError> {
    let Some(begun) = begun(env, journal, entry) else { return Ok(None) };
    let Some(staged_name) = staged_name(begun) else { return Ok(None) };
    let name = env.target_name(entry.dir_ref, entry.name);
    let new = NewFile::new(&staged_name, name, &copy.attributes).copy_of(source, &copy.metadata);
    let chunk_bytes = begun.chunk_bytes;
    let replaces = copy.replaces;
    let new = NewFile { writers: Writers::Several { chunk_bytes }, replaces, ..new };
    // A staged file is taken over once: a copy that begins anew does not continue it.
    if !journal.take(&begun.staged) {
        return Ok(None);
    }
    // The inode shows that the name is still that of the file that the earlier job has staged.
    let Some(staged) = target.resume_staged(&new, begun.inode).at(Side::Target)? else {
        journal.end(&begun.staged);
        return Ok(None);
    };
    // Chunks are found by their extents, so the file is cut as before, whatever --chunksize is now.
    let is_it = begun.version.identity == copy.metadata.identity() && chunk_bytes > 0;
    if is_it && !journal.is_anew() {
        return Ok(Some(Staging { staged, chunk_bytes }));
    }
    staged.abandon().at(Side::Target)?;
    journal.end(&begun.staged);
    Ok(None)
}

/// Returns the receipt of a chunk that an interrupted job has written, and that still has the
/// recorded checksum.
pub(super) fn written_before(
    task: &ChunkTask,
    ticket: &[u8],
    hasher: &mut Option<PartHasher>,
    target: &dyn Dir,
    cx: &mut Context<'_, '_>,
) -> Option<Receipt> {
    let extent = task.key_range();
    let expected = cx.env.journal?.written(ticket, extent)?;
    if !is_still_source(task, ticket, expected, cx)? {
        return None;
    }
    let staged = target.open_file(&CString::new(ticket).ok()?).ok()?;
    if cx.env.verifier.is_some() {
        staged.bypass_cache().ok()?;
    }
    let buffers = cx.worker.buffers(cx.env.options.buffer_bytes);
    // The record may be on storage although the chunk is not, so the chunk is read again.
    let found = sum_staged(&*staged, task, buffers).ok()?;
    if found != expected {
        return None;
    }
    if let Some(hasher) = hasher {
        hash_extent(&*staged, extent, hasher, buffers).ok()?;
    }
    Some(Receipt::sent(extent, Some(expected), String::new(), Sender::Before))
}

/// Returns whether a chunk of the source still has the content that an interrupted job copied: the
/// source was not changed since (by its ctime), or the chunk is read again. Returns `None` where
/// that cannot be determined.
fn is_still_source(
    task: &ChunkTask,
    ticket: &[u8],
    expected: Crc64,
    cx: &mut Context<'_, '_>,
) -> Option<bool> {
    let source = &*cx.env.root(&task.dir_ref).source;
    if source.holds_objects() {
        // An object that is stored again is a different one.
        return Some(true);
    }
    let begun = cx.env.journal?.version_staged(ticket)?;
    let dir = task.dir_ref.source_dir(source).ok()?;
    let file = dir.open_extent(&task.name, &task.identity, task.key_range()).ok()?;
    let tells_changes = source.capabilities().tells_change_times;
    if tells_changes && file.metadata().ok()?.version() == begun {
        return Some(true);
    }
    let found = sum_staged(&*file, task, cx.worker.buffers(cx.env.options.buffer_bytes)).ok()?;
    Some(found == expected)
}

/// Closes or removes the staged file of a large file that failed. The staged file of an interrupted
/// copy stays for another job, where a journal has recorded it.
pub(super) fn give_up_large(env: &Env<'_>, file: LargeCopy, cause: Cause) {
    let staged = file.into_staged();
    let ticket = staged.ticket();
    // The first error is the one to report.
    match env.journal.filter(|_| stays(&*staged)) {
        Some(_) if cause == Cause::Stopped => {
            let _ = staged.close();
        }
        Some(journal) => {
            let _ = staged.abandon();
            journal.end(&ticket);
        }
        None => {
            let _ = staged.abandon();
        }
    }
}

/// Records that a directory is about to be created with more permissions than its final mode has,
/// because nothing else shows later that it is new.
pub(super) fn before_widened(env: &Env<'_>, dir_ref: &DirRef, parent: &dyn Dir, name: &Name) {
    let is_missing = || parent.stat(name).is_err_and(|error| error.cause.is_vanished());
    if let Some(journal) = env.journal.filter(|_| is_missing()) {
        journal.make(env.target_place(dir_ref, dir_ref.path().as_bytes().to_vec()));
    }
}

/// Returns whether an interrupted job created that existing directory, as far as that matters.
pub(super) fn was_made(env: &Env<'_>, dir_ref: &DirRef) -> bool {
    let is_new = env.options.going_on.is_some_and(|going_on| going_on.is_new);
    let has_made = |journal: &Journal| {
        journal.has_made(&env.target_place(dir_ref, dir_ref.path().as_bytes().to_vec()))
    };
    is_new || env.journal.is_some_and(has_made)
}

/// True if the staged file stays when the job ends, for another job.
pub(super) fn stays(staged: &dyn StagedFile) -> bool {
    staged.is_resumable() || staged.is_upload()
}

/// Treats an entry that does not exist any more as removed.
pub(super) fn vanished_is_gone(removed: Result<(), Error>) -> Result<(), Error> {
    removed.or_else(|error| if error.cause.is_vanished() { Ok(()) } else { Err(error) })
}

/// Returns the name of a staged file, if it has the form of such names, so that a journal cannot
/// refer to any other file.
pub(super) fn staged_name(begun: &Unfinished) -> Option<CString> {
    CString::new(begun.staged.clone()).ok().filter(|name| is_staged(name))
}
