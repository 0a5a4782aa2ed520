//! Visit of an entry of the source: selects the executor, by the kind that the listing or a stat
//! reports.

use super::link;
use super::look;
use super::prune;
use super::small;
use super::special;
use super::sweep;
use std::sync::Arc;

use super::context::{Context, Handled, Met};
use super::env::Env;
use super::options::SyncOptions;
use super::{CopyJob, CopyWorker};
use crate::compare::options::Evidence;
use crate::walk::account::Account;
use crate::walk::dir_ref::{DirRef, Trees};
use crate::walk::selection::Selection;
use crate::walk::watch::Watch;
use crate::walk::{self, Skip, Visit, Visited, Visitor};
use lists::named::Named;
use sched::context::TaskContext;
use store::opening::Symlinks;
use store::{Dir, Store, Upcoming};
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Cause, Op, Side, SideError};
use types::operand::staged_name::of_job;
use types::path::Name;

impl CopyJob<'_> {
    /// Copies an entry of that kind, or of the kind that it turns out to have.
    pub(super) fn visit_kind(
        &self,
        entry: &Visit<'_>,
        mut kind: Kind,
        cx: &mut Context<'_, '_>,
    ) -> Result<Handled, SideError> {
        let Self { links, large, upkeep, .. } = self;
        loop {
            let met = match kind {
                Kind::File => small::copy_file(entry, links, large, upkeep, cx)?,
                Kind::Directory => return Ok(Handled::directory(Visited::Directory)),
                _ if upkeep.directories.has_content(entry.dir_ref, cx) == Err(Skip) => {
                    return Ok(Handled::SKIPPED);
                }
                Kind::Symlink => link::copy_link(entry, links, cx)?,
                special if cx.env.is_made(entry, special) => {
                    special::copy_special(entry, links, cx)?
                }
                special => return Ok(special::leave_out(special, cx)),
            };
            match met {
                Met::Done(handled) => return Ok(handled),
                Met::Other(other) => kind = other,
            }
        }
    }

    /// Copies an entry of the source, by the kind that the listing reports.
    pub(super) fn visit_source(
        &self,
        entry: &Visit<'_>,
        cx: &mut Context<'_, '_>,
    ) -> Result<Handled, SideError> {
        if cx.env.named.is_some() && cx.env.selection.is_named_part(&**entry.dir, entry.name) {
            return Ok(Handled::SKIPPED);
        }
        if let Some(criteria) = &cx.env.options.sync {
            return self.sync_entry(criteria, entry, cx);
        }
        match (entry.hint, cx.env.options.symlinks) {
            (Hint::File | Hint::Object(_) | Hint::Recorded(_), _) => {
                self.visit_kind(entry, Kind::File, cx)
            }
            (Hint::Directory, _) => Ok(Handled::directory(Visited::Directory)),
            (Hint::Symlink, Symlinks::Keep) => self.visit_kind(entry, Kind::Symlink, cx),
            (Hint::Symlink | Hint::Other | Hint::Unknown, _) => self.visit_after_look(entry, cx),
        }
    }

    /// Records an entry that only the target has, for deletion or in the manifest.
    fn meet_extra(
        &self,
        entry: &Visit<'_>,
        cx: &mut Context<'_, '_>,
    ) -> Result<Visited, SideError> {
        if cx.env.deletes() {
            self.upkeep.postponed.extraneous.add(entry.dir_ref, entry.name, entry.hint);
            return Ok(Visited::NOTHING_MOVED);
        }
        let found = match entry.hint {
            Hint::Directory => return Ok(Visited::Directory),
            // The directory is only walked for leftovers of interrupted jobs.
            _ if !cx.env.has_manifest => return Ok(Visited::NOTHING_MOVED),
            _ => entry.dir.stat(entry.name).at(Side::Target)?,
        };
        if found.kind == Kind::Directory {
            return Ok(Visited::Directory);
        }
        let at = (&**entry.dir_ref, entry.name);
        // An entry that another source has, too, is recorded where that source is visited.
        let is_others = cx.env.is_replaced_later(at.0, at.1) || cx.env.replaces_earlier(at.0, at.1);
        let is_chosen = found.kind == Kind::File && cx.env.selection.admits(&found);
        if is_chosen && !is_others && !self.upkeep.manifest.is_itself(&found) {
            self.upkeep.manifest.record(at, &found, None, cx);
        }
        Ok(Visited::NOTHING_MOVED)
    }

    /// Inspects an entry whose kind the listing did not report, or the target of a followed link.
    pub(super) fn visit_after_look(
        &self,
        entry: &Visit<'_>,
        cx: &mut Context<'_, '_>,
    ) -> Result<Handled, SideError> {
        let metadata =
            walk::look(entry, &*cx.env.root(entry.dir_ref).source, cx.env.options.symlinks)
                .at(Side::Source)?;
        cx.worker.gathered.seen = Some(metadata);
        if metadata.kind == Kind::Directory && entry.hint == Hint::Symlink {
            look::refuse_target(cx.env, entry)?;
        }
        self.visit_kind(entry, metadata.kind, cx)
    }
}

/// Returns whether a directory of the source is a journal, which is not to become a directory at
/// the target. A directory that a synchronisation has found at the target needs no file opened to
/// tell: it is not created, and the parts of a journal are skipped by their names anyway. Only
/// where it deletes must it know, so that what the target has in that place stays.
fn is_journal(env: &Env<'_>, dir_ref: &DirRef, metadata: &Metadata) -> bool {
    let store = &*env.root(dir_ref).source;
    let is_found = env.options.sync.is_some() && env.named.is_none() && !dir_ref.is_fresh();
    let is_known_to_stay = is_found && !env.deletes();
    !is_known_to_stay
        && dir_ref.trees().side() == Side::Source
        && !dir_ref.path().is_root()
        && !store.holds_objects()
        && dir_ref.source_dir(store).is_ok_and(|dir| env.selection.is_journal(&*dir, metadata))
}

impl Visitor for CopyJob<'_> {
    fn account(&self) -> &Account {
        &self.env.account
    }

    fn selection(&self) -> &Selection {
        self.env.selection
    }

    fn named(&self) -> Option<&Named> {
        self.env.named
    }

    fn reach(
        &self,
        dir_ref: &Arc<DirRef>,
        worker: &mut CopyWorker,
        context: &TaskContext<'_, Self>,
    ) -> Result<(), Skip> {
        if self.env.pruning.is_some() {
            // The first entry that takes part creates it.
            return Ok(());
        }
        self.upkeep.directories.make_reachable(dir_ref, &mut self.context(worker, context))
    }

    fn source(&self, root: u32) -> &dyn Store {
        &*self.env.roots[root as usize].source
    }

    fn target(&self, root: u32) -> Option<&dyn Store> {
        Some(&*self.env.roots[root as usize].target)
    }

    fn wants_extraneous(&self) -> bool {
        self.env.meets_extraneous()
    }

    fn is_case_insensitive(&self, root: u32) -> bool {
        self.env.roots[root as usize].target.is_case_insensitive()
    }

    fn is_staged(&self, name: &Name) -> bool {
        name.to_bytes().starts_with(of_job(self.env.options.job.id).as_bytes())
            || self.env.journal.is_some_and(|journal| journal.has_staged(name.to_bytes()))
    }

    fn enter(
        &self,
        dir_ref: &Arc<DirRef>,
        metadata: &Metadata,
        worker: &mut CopyWorker,
        context: &TaskContext<'_, Self>,
    ) -> Result<(), Skip> {
        if is_journal(&self.env, dir_ref, metadata) {
            self.left_out(dir_ref);
            return Err(Skip);
        }
        if dir_ref.trees().side() == Side::Target {
            if self.upkeep.manifest.is_itself(metadata) {
                return Err(Skip);
            }
            sweep::sweep_extra(dir_ref, &mut self.context(worker, context));
            return Ok(());
        }
        let cx = &mut self.context(worker, context);
        cx.worker.gathered.tally.meet(metadata);
        if self.env.target_roots.contains(&(metadata.device, metadata.inode)) {
            let error = Op::Copy.failed(Cause::TargetInside);
            cx.fail(dir_ref, b"", SideError { side: Side::Source, error });
            return Err(Skip);
        }
        if self.env.named.is_some() && self.env.pruning.is_some()
            || prune::waits(&self.env, dir_ref)
        {
            return Ok(());
        }
        if let Some(pruning) = self.env.pruning {
            pruning.entered(&self.env, dir_ref, metadata);
        }
        if self.env.named.is_some() {
            self.upkeep.directories.make_reachable(dir_ref, cx)?;
            cx.directory_copied(dir_ref, metadata);
            return Ok(());
        }
        let made = self.upkeep.directories.make_directory(dir_ref, metadata, cx);
        made.map(|()| cx.directory_copied(dir_ref, metadata)).map_err(|side_error| {
            cx.worker.gathered.tally.unread_directories += 1;
            cx.fail(dir_ref, b"", side_error);
            Skip
        })
    }

    /// Returns whether most entries are only inspected: those of a synchronisation that exist on
    /// both sides. A copy opens each file, and no attributes are prefetched for that.
    fn inspects(&self, dir_ref: &DirRef) -> bool {
        let criteria = self.env.options.sync.as_ref();
        dir_ref.trees() == Trees::Both
            && !self.env.target(dir_ref).holds_objects()
            // A manifest needs the content of unchanged files, too.
            && !self.env.has_manifest
            && criteria.is_some_and(|criteria| !criteria.change_test.reads_content())
    }

    /// Returns what visits use: the content of each file to be copied; of files on both sides what
    /// the change test and the comparison of attributes need.
    fn upcoming(&self, dir_ref: &DirRef) -> [Option<Upcoming>; 2] {
        let xattrs = || self.env.options.keep.xattr_filter().concerns(Kind::File);
        let by_bytes = |it: &SyncOptions| it.evidence == Evidence::Bytes;
        match &self.env.options.sync {
            _ if dir_ref.trees().side() == Side::Target => [None, None],
            // The target's directory may not exist before the first visit.
            _ if self.env.pruning.is_some() && self.env.named.is_some() => {
                [Some(Upcoming::Content).filter(|_| self.env.writes()), None]
            }
            Some(it) if !dir_ref.is_fresh() && it.change_test.reads_content() => {
                [Some(if by_bytes(it) { Upcoming::Content } else { Upcoming::Checksums }); 2]
            }
            Some(_) if !dir_ref.is_fresh() => [xattrs().then_some(Upcoming::Xattrs); 2],
            _ if self.env.target(dir_ref).discards_writes() => [None, None],
            _ => [Some(Upcoming::Content), None],
        }
    }

    fn left_out(&self, dir_ref: &DirRef) {
        if let Some(moving) = self.env.moving {
            moving.removal.entry_stays(dir_ref);
        }
        if let Some(pruning) = self.env.pruning.filter(|_| self.env.deletes()) {
            pruning.left_out(dir_ref);
        }
    }

    fn enter_again(&self, dir_ref: &Arc<DirRef>, metadata: &Metadata, _worker: &mut CopyWorker) {
        if dir_ref.trees().side() == Side::Source && prune::waits(&self.env, dir_ref) {
            return;
        }
        self.upkeep.directories.take_times_again(&self.env, dir_ref, metadata);
    }

    fn watch(&self, dir_ref: &DirRef) -> Option<&Watch> {
        self.env.watch_over(dir_ref).filter(|_| dir_ref.trees().side() == Side::Source)
    }

    /// Returns whether an entry of a directory that is listed again is new. Entries to be deleted
    /// are determined again; other extraneous entries were handled before.
    fn is_news(&self, dir_ref: &DirRef, dir: &dyn Dir, name: &Name, hint: Hint) -> bool {
        match self.watch(dir_ref) {
            Some(watch) => watch.is_news(dir_ref, dir, (name, hint), self.source(dir_ref.root())),
            None => self.env.deletes(),
        }
    }

    fn visit(
        &self,
        entry: &Visit<'_>,
        worker: &mut CopyWorker,
        context: &TaskContext<'_, Self>,
    ) -> Visited {
        let cx = &mut self.context(worker, context);
        cx.may_wait = true;
        let before = entry.in_order.then_some(cx.worker.gathered.tally);
        let found = cx.worker.gathered.tally.found.total();
        let side = entry.dir_ref.trees().side();
        let visited = match side {
            Side::Source => {
                let handled = self.visit_source(entry, cx);
                // Of a large file it is not known yet.
                if handled.as_ref().is_ok_and(|handled| handled.leaves_entry()) {
                    cx.stays(entry.dir_ref);
                }
                handled.map(|handled| handled.visited)
            }
            Side::Target => self.meet_extra(entry, cx),
        };
        if let (Ok(Visited::Later), Some(before)) = (&visited, before) {
            // The second visit counts it.
            cx.worker.gathered.tally = before;
        }
        visited.unwrap_or_else(|side_error| {
            // An entry that cannot be read was found, too.
            let tally = &mut cx.worker.gathered.tally;
            if side == Side::Source
                && tally.found.total() == found
                && !side_error.error.cause.is_vanished()
            {
                tally.found.count(kind_of(entry.hint));
            }
            cx.fail(entry.dir_ref, entry.name.to_bytes(), side_error);
            Visited::NOTHING_MOVED
        })
    }

    fn invalid_key(
        &self,
        dir_ref: &DirRef,
        key: &[u8],
        side_error: SideError,
        worker: &mut CopyWorker,
        context: &TaskContext<'_, Self>,
    ) {
        // What is at the target is not what was found.
        if side_error.side == Side::Source {
            worker.gathered.tally.meet_invalid_key(key);
        }
        self.context(worker, context).fail(dir_ref, key, side_error);
    }

    fn unreadable(
        &self,
        dir_ref: &DirRef,
        side_error: SideError,
        worker: &mut CopyWorker,
        context: &TaskContext<'_, Self>,
    ) {
        // A directory that has vanished has no unread entries.
        let vanished = worker.gathered.tally.vanished;
        let is_closed = side_error.error.op == Op::Open && dir_ref.trees().side() == Side::Source;
        self.context(worker, context).fail(dir_ref, b"", side_error);
        if worker.gathered.tally.vanished == vanished {
            worker.gathered.tally.unread_directories += 1;
            worker.gathered.tally.found.directories += u64::from(is_closed);
        }
    }
}

/// Returns the kind that a listing reports, or that of most entries.
fn kind_of(hint: Hint) -> Kind {
    match hint {
        Hint::Directory => Kind::Directory,
        Hint::Symlink => Kind::Symlink,
        Hint::Other => Kind::Fifo,
        Hint::File | Hint::Object(_) | Hint::Recorded(_) | Hint::Unknown => Kind::File,
    }
}
