//! Visits of entries that a list names, instead of walking to them.
//!
//! A named directory is entered but not listed, since the entries in it to be visited are named
//! too.

use std::sync::Arc;

use super::batch::NameBatch;
use super::dir_ref::DirRef;
use super::{Visitor, WalkTask, open};
use lists::source::Piece;
use sched::context::TaskContext;
use types::entry::Hint;
use types::limits::BATCH_NAMES_MAX;
use types::path::RelPath;

/// Consecutive names of the list that are in one directory.
struct Group {
    dir_ref: Arc<DirRef>,
    names: NameBatch,
}

/// Visits the entries that a piece of the list names.
pub(super) fn run<V: Visitor>(
    visitor: &V,
    piece: Piece,
    worker: &mut V::Worker,
    context: &TaskContext<'_, V>,
) {
    let Some(source) = visitor.named() else { return };
    let names = match source.names(piece) {
        Ok(names) => names,
        Err(failure) => return visitor.list_failed(failure, worker, context),
    };
    let mut group = None;
    for name in names {
        match name {
            Ok((path, hint)) => take(visitor, &path, hint, &mut group, worker, context),
            Err(failure) => visitor.list_failed(failure, worker, context),
        }
    }
    queue(visitor, group.take(), worker, context);
}

fn take<V: Visitor>(
    visitor: &V,
    path: &RelPath,
    hint: Hint,
    group: &mut Option<Group>,
    worker: &mut V::Worker,
    context: &TaskContext<'_, V>,
) {
    let selection = visitor.selection();
    let is_admitted = selection.admits_below(path.as_bytes(), hint == Hint::Directory);
    if !is_admitted || selection.is_named_of_a_job(path) {
        return;
    }
    let Some((parent, name)) = path.split_last() else {
        return enter(visitor, &Arc::new(DirRef::root_of(0)), worker, context);
    };
    let fits = |open: &Group| *open.dir_ref.path() == parent && open.names.len() < BATCH_NAMES_MAX;
    if !group.as_ref().is_some_and(fits) {
        queue(visitor, group.take(), worker, context);
    }
    let begin = || Group { dir_ref: Arc::new(DirRef::at(0, parent)), names: NameBatch::default() };
    group.get_or_insert_with(begin).names.push(&name, hint);
}

fn queue<V: Visitor>(
    visitor: &V,
    group: Option<Group>,
    worker: &mut V::Worker,
    context: &TaskContext<'_, V>,
) {
    let Some(Group { dir_ref, names }) = group else { return };
    if visitor.reach(&dir_ref, worker, context).is_ok() {
        context.push(WalkTask::Batch(dir_ref.for_queue(visitor.source(0)), names).into());
    }
}

/// Enters a directory without listing it.
pub(super) fn enter<V: Visitor>(
    visitor: &V,
    dir_ref: &Arc<DirRef>,
    worker: &mut V::Worker,
    context: &TaskContext<'_, V>,
) {
    match open(visitor, dir_ref) {
        // The visitor has reported why it excludes the entries.
        Ok((_, metadata)) => drop(visitor.enter(dir_ref, &metadata, worker, context)),
        Err(side_error) => visitor.unreadable(dir_ref, side_error, worker, context),
    }
}
