//! Which names are names of one file: whether the two trees agree about that.
//!
//! Each rank remembers the names of files with several that it has met, with the file that each side has of that
//! name. When the walk is over they are sorted by the source's files over all ranks, and once more by the
//! target's. Names that are one file on the one side must be one on the other; those that are not the file of
//! the first of them differ.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::CompareJob;
use super::options::CompareOptions;
use crate::sort::exchange;
use crate::sort::shelf::Shelf;
use crate::walk::place::Place;
use comm::mailbox::Mailbox;
use types::entry::{Kind, Metadata};
use types::error::Side;
use types::exit::Exit;
use types::limits::FAILURE_LINES_PRINTED_MAX;
use types::listed::line::write_regrouped;
use types::path::{self, Name};

/// What a rank has met of files with several names.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_source: Mutex<Shelf>,
    by_target: Mutex<Shelf>,
}

/// A name, and which file it is of on the other side.
#[derive(Debug, Serialize, Deserialize)]
struct Member {
    path: Vec<u8>,
    other: Vec<u8>,
}

/// Names that are grouped otherwise, as far as this rank has found them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regrouped {
    /// They are one file with others in the source, and not in the target.
    pub parted: u64,
    /// They are one file with others in the target, and not in the source.
    pub joined: u64,
    /// Lines that tell of some of them.
    pub lines: Vec<u8>,
}

/// Tells files apart on one side. Nodes number the device of a network file system differently, so the root's is
/// left out.
fn key_of(root_device: Option<u64>, metadata: &Metadata) -> Vec<u8> {
    let mut key = metadata.inode.to_be_bytes().to_vec();
    if root_device != Some(metadata.device) {
        key.extend(metadata.device.to_be_bytes());
    }
    key
}

impl CompareJob<'_> {
    /// Remembers an entry that is on both sides, if it may have other names.
    pub(super) fn remember_group(
        &self,
        place: &Place,
        name: &Name,
        source: &Metadata,
        target: &Metadata,
    ) {
        let has_others = source.links > 1 || target.links > 1;
        let is_one_kind = source.kind == target.kind && source.kind != Kind::Directory;
        if !self.options.hard_links || !has_others || !is_one_kind {
            return;
        }
        let [of_source, of_target] =
            [key_of(self.root_devices[0], source), key_of(self.root_devices[1], target)];
        let path = path::join(place.path().as_bytes(), name.to_bytes());
        let push = |shelf: &Mutex<Shelf>, key: &[u8], other: &[u8]| {
            let member = Member { path: path.clone(), other: other.to_vec() };
            let value = postcard::to_stdvec(&member).expect("plain values always serialise");
            shelf.lock().unwrap_or_else(PoisonError::into_inner).push(key, &value);
        };
        push(&self.groups.by_source, &of_source, &of_target);
        push(&self.groups.by_target, &of_target, &of_source);
    }

    /// Compares the groups. All ranks call it, when the walk is over; each gets what it has found.
    pub fn regrouped(&self, mail: &mut Mailbox<'_>) -> Regrouped {
        let mut found = Regrouped::default();
        for (side, shelf) in
            [(Side::Source, &self.groups.by_source), (Side::Target, &self.groups.by_target)]
        {
            let own = std::mem::take(&mut *shelf.lock().unwrap_or_else(PoisonError::into_inner));
            let in_order = exchange::sort(own, mail);
            let mut group: (Vec<u8>, Vec<Member>) = Default::default();
            for (key, value) in in_order.entries() {
                let Ok(member) = postcard::from_bytes::<Member>(value) else {
                    tracing::error!(
                        "name that this build did not write; use one build on all nodes"
                    );
                    mail.comm().abort(Exit::Bug)
                };
                if group.0 != key {
                    found.judge(side, std::mem::take(&mut group.1), self.options);
                    group.0 = key.to_vec();
                }
                group.1.push(member);
            }
            found.judge(side, group.1, self.options);
        }
        found
    }
}

impl Regrouped {
    /// Names that are one file on one side.
    fn judge(&mut self, side: Side, mut members: Vec<Member>, options: &CompareOptions) {
        members.sort_by(|one, next| one.path.cmp(&next.path));
        let Some(first) = members.first().map(|first| first.other.clone()) else { return };
        for member in members.iter().filter(|member| member.other != first) {
            match side {
                Side::Source => self.parted += 1,
                Side::Target => self.joined += 1,
            }
            if let Some(format) = options.tell
                && self.parted + self.joined <= FAILURE_LINES_PRINTED_MAX
            {
                write_regrouped(format, &member.path, &mut self.lines);
            }
        }
    }
}
