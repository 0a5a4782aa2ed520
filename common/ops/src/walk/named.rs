//! Visits of entries that a list names, instead of walking to them.
//!
//! A named directory is entered but not listed, since the entries in it to be visited are named
//! too.

use std::sync::Arc;

use super::batch::NameBatch;
use super::place::Place;
use super::{Visitor, WalkTask, open};
use lists::source::Piece;
use sched::crew::Crew;
use types::entry::Hint;
use types::limits::BATCH_NAMES_MAX;
use types::path::RelPath;

/// Consecutive names of the list that are in one directory.
struct Group {
    place: Arc<Place>,
    names: NameBatch,
}

/// Visits the entries that a piece of the list names.
pub(super) fn run<V: Visitor>(visitor: &V, piece: Piece, hand: &mut V::Hand, crew: &Crew<'_, V>) {
    let Some(source) = visitor.named() else { return };
    let names = match source.names(piece) {
        Ok(names) => names,
        Err(failure) => return visitor.list_failed(failure, hand, crew),
    };
    let mut group = None;
    for name in names {
        match name {
            Ok((path, hint)) => take(visitor, &path, hint, &mut group, hand, crew),
            Err(failure) => visitor.list_failed(failure, hand, crew),
        }
    }
    queue(visitor, group.take(), hand, crew);
}

fn take<V: Visitor>(
    visitor: &V,
    path: &RelPath,
    hint: Hint,
    group: &mut Option<Group>,
    hand: &mut V::Hand,
    crew: &Crew<'_, V>,
) {
    let selection = visitor.selection();
    let is_admitted = selection.admits_below(path.as_bytes(), hint == Hint::Directory);
    if !is_admitted || selection.is_named_of_a_job(path) {
        return;
    }
    let Some((parent, name)) = path.split_last() else {
        return enter(visitor, &Arc::new(Place::root_of(0)), hand, crew);
    };
    let fits = |open: &Group| *open.place.path() == parent && open.names.len() < BATCH_NAMES_MAX;
    if !group.as_ref().is_some_and(fits) {
        queue(visitor, group.take(), hand, crew);
    }
    let begin = || Group { place: Arc::new(Place::at(0, parent)), names: NameBatch::default() };
    group.get_or_insert_with(begin).names.push(&name, hint);
}

fn queue<V: Visitor>(visitor: &V, group: Option<Group>, hand: &mut V::Hand, crew: &Crew<'_, V>) {
    let Some(Group { place, names }) = group else { return };
    if visitor.reach(&place, hand, crew).is_ok() {
        crew.push(WalkTask::Batch(place.for_queue(visitor.source(0)), names).into());
    }
}

/// Enters a directory without listing it.
pub(super) fn enter<V: Visitor>(
    visitor: &V,
    place: &Arc<Place>,
    hand: &mut V::Hand,
    crew: &Crew<'_, V>,
) {
    match open(visitor, place) {
        // The visitor has reported why it excludes the entries.
        Ok((_, metadata)) => drop(visitor.enter(place, &metadata, hand, crew)),
        Err(trouble) => visitor.unreadable(place, trouble, hand, crew),
    }
}
