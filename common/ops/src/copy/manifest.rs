//! What is recorded of the files that are at the target: size, time of change and checksum, so that they can be
//! checked later without the source.

use super::context::Context;
use crate::compare::content::sum_extent;
use crate::walk::Visit;
use crate::walk::place::Place;
use lists::rows::Rows;
use lists::shared_part::SharedPart;
use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::entry::{Kind, Metadata};
use types::error::{At, Cause, Op, Side, Trouble};
use types::listed::record::Record;
use types::path::{self, Name};

/// Executor that records files in the manifest, where one was requested.
pub(super) struct Manifest<'c> {
    part: Option<&'c SharedPart>,
}

impl<'c> Manifest<'c> {
    /// Executor that records in that part of a manifest, if in any.
    pub fn new(part: Option<&'c SharedPart>) -> Self {
        Self { part }
    }

    /// Whether that is the file of the manifest itself.
    pub fn is_itself(&self, found: &Metadata) -> bool {
        self.part.is_some_and(|part| part.is_itself(found))
    }

    /// Hands over rows that a thread has gathered.
    pub fn append(&self, rows: &mut Rows) {
        if let Some(part) = self.part {
            part.append(rows);
        }
    }

    /// Records a file that is at the target as the source has it. Where its checksum is not known, because it was not
    /// copied, it is read.
    pub fn record(
        &self,
        (place, name): (&Place, &Name),
        metadata: &Metadata,
        crc64: Option<Crc64>,
        cx: &mut Context<'_, '_>,
    ) {
        let Some(part) = self.part else { return };
        let summed = match crc64 {
            Some(crc64) => Ok(crc64),
            None => sum_at_target(place, name, metadata.size_bytes, cx),
        };
        match summed {
            Ok(crc64) => {
                push_row(place, name, metadata, crc64, cx);
                if cx.hand.rows.are_enough() {
                    part.append(&mut cx.hand.rows);
                }
            }
            Err(trouble) => cx.fail(place, name.to_bytes(), trouble),
        }
    }

    /// Records a file that stays at the target as it is, be it one of the source's or not.
    pub fn record_as_it_is(&self, (place, name): (&Place, &Name), cx: &mut Context<'_, '_>) {
        if self.part.is_none() {
            return;
        }
        let dir = place.target_dir(cx.env.target(place));
        match dir.and_then(|dir| dir.stat(cx.env.target_name(place, name))).at(Side::Target) {
            Ok(found) if found.kind == Kind::File => {
                self.record((place, name), &found, None, cx);
            }
            Err(trouble) if !trouble.error.cause.is_vanished() => {
                cx.fail(place, name.to_bytes(), trouble);
            }
            _ => {}
        }
    }

    /// Records a file that was at the target before, with the source's attributes.
    pub fn record_unchanged(&self, entry: &Visit<'_>, source: &Metadata, cx: &mut Context<'_, '_>) {
        if source.kind == Kind::File {
            self.record((entry.place, entry.name), source, None, cx);
        }
    }
}

fn push_row(
    place: &Place,
    name: &Name,
    metadata: &Metadata,
    crc64: Crc64,
    cx: &mut Context<'_, '_>,
) {
    let name = cx.env.target_name(place, name).to_bytes();
    let below = path::join(place.path().as_bytes(), name);
    let root = &cx.env.root(place).shown_target;
    // The current directory is not written, and a list has a root in each path.
    let root = if root.is_empty() { &b"."[..] } else { root };
    cx.hand.rows.push(&Record {
        path: &path::join(root, &below),
        depth: place.path().depth() as u32 + 1,
        metadata,
        target: None,
        user: None,
        group: None,
        crc64: Some(crc64),
        digest: None,
    });
}

fn sum_at_target(
    place: &Place,
    name: &Name,
    size_bytes: u64,
    cx: &mut Context<'_, '_>,
) -> Result<Crc64, Trouble> {
    let dir = place.target_dir(cx.env.target(place)).at(Side::Target)?;
    let file = dir.open_file(cx.env.target_name(place, name)).at(Side::Target)?;
    if file.metadata().at(Side::Target)?.size_bytes != size_bytes {
        return Err(Op::Verify.failed(Cause::Changed)).at(Side::Target);
    }
    if let Some(kept) = file.crc64() {
        return Ok(kept);
    }
    let whole = Extent { offset: 0, length: size_bytes };
    sum_extent(&*file, whole, cx.hand.buffers(cx.env.options.buffer_bytes)).at(Side::Target)
}
