//! Small files that are on their way to a target far away: a thread goes on with the next ones, and
//! learns later what became of them.

use std::collections::VecDeque;
use std::ffi::CString;
use std::sync::Arc;

use super::context::Context;
use super::small::{Filled, Written};
use super::upkeep::Upkeep;
use crate::walk::dir_ref::DirRef;
use store::StagedFile;
use types::entry::{Attributes, Metadata};
use types::error::{At, Side};
use types::limits::{BYTES_ON_THEIR_WAY, FILES_ON_THEIR_WAY};
use types::listed::change::Reason;

/// Files of a thread whose commits have begun, in this order.
#[derive(Default)]
pub(super) struct OnTheirWay {
    files: VecDeque<Begun>,
    bytes: u64,
}

/// A file whose commit has begun.
struct Begun {
    dir_ref: Arc<DirRef>,
    name: CString,
    staged: Box<dyn StagedFile>,
    attributes: Attributes,
    filled: Filled,
    metadata: Metadata,
    reason: Reason,
}

impl OnTheirWay {
    fn push(&mut self, begun: Begun) {
        self.bytes += begun.filled.size_bytes;
        self.files.push_back(begun);
    }

    fn pop(&mut self) -> Option<Begun> {
        let first = self.files.pop_front()?;
        self.bytes -= first.filled.size_bytes;
        Some(first)
    }

    fn is_full(&self) -> bool {
        self.files.len() > FILES_ON_THEIR_WAY || self.bytes > BYTES_ON_THEIR_WAY
    }
}

/// Adds a file, and waits for the first ones where there are too many.
pub(super) fn add(
    written: Written<'_>,
    staged: Box<dyn StagedFile>,
    attributes: Attributes,
    upkeep: &Upkeep<'_>,
    cx: &mut Context<'_, '_>,
) {
    let Written { at: (dir_ref, name), filled, metadata } = written;
    let (dir_ref, name, reason) = (Arc::clone(dir_ref), name.to_owned(), cx.reason);
    let begun = Begun { dir_ref, name, staged, attributes, filled, metadata, reason };
    cx.worker.on_their_way.push(begun);
    while cx.worker.on_their_way.is_full() {
        end_first(upkeep, cx);
    }
}

/// Waits for all files.
pub(super) fn end_all(upkeep: &Upkeep<'_>, cx: &mut Context<'_, '_>) {
    while !cx.worker.on_their_way.files.is_empty() {
        end_first(upkeep, cx);
    }
}

/// Waits for the first file, and reports it if it has failed.
fn end_first(upkeep: &Upkeep<'_>, cx: &mut Context<'_, '_>) {
    let Some(begun) = cx.worker.on_their_way.pop() else { return };
    let Begun { dir_ref, name, staged, attributes, filled, metadata, reason } = begun;
    cx.reason = reason;
    match staged.commit(&attributes, Vec::new()).at(Side::Target) {
        Ok(preserved) => {
            let written = Written { at: (&dir_ref, &name), filled, metadata };
            written.end(preserved, upkeep, cx);
        }
        Err(side_error) => cx.fail(&dir_ref, name.to_bytes(), side_error),
    }
}
