//! The walk of a comparison: the directories and entries that it meets in the two trees.

use super::CompareJob;
use super::options::{CompareOptions, Evidence};
use std::sync::Arc;

use super::verdict::CompareWorker;
use crate::walk::account::Account;
use crate::walk::dir_ref::{DirRef, Trees};
use crate::walk::selection::Selection;
use crate::walk::watch::Watch;
use crate::walk::{Skip, Visit, Visited, Visitor};
use lists::named::Named;
use sched::context::TaskContext;
use store::{Dir, Store, Upcoming};
use types::entry::{Hint, Kind, Metadata};
use types::error::{Failure, Side, SideError};
use types::outcome::difference::{Findings, Presence};
use types::path::Name;

impl Visitor for CompareJob<'_> {
    fn account(&self) -> &Account {
        &self.account
    }

    fn source(&self, _root: u32) -> &dyn Store {
        &*self.root.source
    }

    fn target(&self, _root: u32) -> Option<&dyn Store> {
        Some(&*self.root.target)
    }

    fn selection(&self) -> &Selection {
        self.selection
    }

    fn named(&self) -> Option<&Named> {
        self.named
    }

    fn list_failed(
        &self,
        failure: Failure,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) {
        if let Some(unlisted) = &self.unlisted {
            unlisted.tear();
        }
        worker.gathered.tally.unread_directories += 1;
        self.account.fail(failure, &mut worker.gathered, context);
    }

    fn wants_extraneous(&self) -> bool {
        !self.options.one_way
    }

    fn watch(&self, dir_ref: &DirRef) -> Option<&Watch> {
        self.watch_over(dir_ref.trees().side())
    }

    /// Returns whether entries are only inspected: a comparison of content opens each file, and no
    /// attributes are prefetched for that.
    fn inspects(&self, _dir_ref: &DirRef) -> bool {
        !self.options.compares_content()
    }

    /// Returns what visits use of both sides: checksums, unless bytes are to be compared.
    fn upcoming(&self, dir_ref: &DirRef) -> [Option<Upcoming>; 2] {
        let CompareOptions { evidence, bypass_cache, .. } = self.options;
        let upcoming = match (self.options.compares_content() && !bypass_cache, evidence) {
            _ if dir_ref.trees() != Trees::Both => None,
            (true, Evidence::Checksums) => Some(Upcoming::Checksums),
            (true, Evidence::Bytes) => Some(Upcoming::Content),
            (false, _) => self.xattrs.concerns(Kind::File).then_some(Upcoming::Xattrs),
        };
        [upcoming; 2]
    }

    fn enter_again(
        &self,
        dir_ref: &Arc<DirRef>,
        _metadata: &Metadata,
        _worker: &mut CompareWorker,
    ) {
        self.find_counterpart_again(dir_ref);
    }

    /// Returns whether to compare an entry of a directory that is listed again. Objects are never
    /// listed again.
    fn is_news(&self, dir_ref: &DirRef, dir: &dyn Dir, name: &Name, hint: Hint) -> bool {
        self.is_news_to_watch(dir_ref, dir, (name, hint))
    }

    fn enter(
        &self,
        dir_ref: &Arc<DirRef>,
        metadata: &Metadata,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) -> Result<(), Skip> {
        // A manifest contains files only, so directories are no findings.
        if let (Trees::TargetOnly, Some(unlisted)) = (dir_ref.trees(), &self.unlisted) {
            return unlisted.enter(metadata);
        }
        let entered = match dir_ref.trees() {
            Trees::Both | Trees::SourceOnly => {
                worker.gathered.tally.meet(metadata);
                self.enter_source(dir_ref, metadata, worker, context)
            }
            Trees::TargetOnly if self.keeps_none(Side::Source) => {
                worker.gathered.tally.compared.directories_not_compared += 1;
                Ok(())
            }
            Trees::TargetOnly => {
                let (source, findings) = match dir_ref.path().split_last() {
                    Some((parent, name)) => {
                        let source_dir = || self.root.source.open_dir(&parent);
                        self.findings_of_extra(source_dir, &name, metadata)
                    }
                    None => (None, Findings::only(Presence::OnlyTarget)),
                };
                let both = (source.as_ref(), Some(metadata));
                self.give_or_hold(dir_ref, c"", both, findings, worker, context);
                Ok(())
            }
            Trees::TargetBelow => Ok(()),
        };
        entered.map_err(|side_error| {
            worker.gathered.tally.unread_directories += 1;
            self.fail(dir_ref, b"", side_error, worker, context);
            Skip
        })
    }

    fn visit(
        &self,
        entry: &Visit<'_>,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) -> Visited {
        let visited = match (entry.dir_ref.trees().side(), entry.hint) {
            (Side::Source, Hint::Directory) => Ok(Visited::Directory),
            (Side::Source, _) => self.compare_entry(entry, worker, context),
            (Side::Target, _) => self.meet_extra(entry, worker, context),
        };
        visited.unwrap_or_else(|side_error| {
            self.fail(entry.dir_ref, entry.name.to_bytes(), side_error, worker, context);
            Visited::NOTHING_MOVED
        })
    }

    fn root_may_be_empty(&self) -> bool {
        true
    }

    fn invalid_key(
        &self,
        dir_ref: &DirRef,
        key: &[u8],
        side_error: SideError,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) {
        self.fail(dir_ref, key, side_error, worker, context);
    }

    fn unreadable(
        &self,
        dir_ref: &DirRef,
        side_error: SideError,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) {
        worker.gathered.tally.unread_directories += 1;
        self.fail(dir_ref, b"", side_error, worker, context);
    }
}
