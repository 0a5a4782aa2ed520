//! Record of the files that are at the target: size, modification time and checksum, so that they
//! can be checked later without the source.

use super::context::Context;
use crate::compare::content::sum_extent;
use crate::walk::Visit;
use crate::walk::dir_ref::DirRef;
use lists::rows::Rows;
use lists::shared_part::SharedPart;
use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::entry::{Kind, Metadata};
use types::error::{At, Cause, Op, Side, SideError};
use types::listed::record::Record;
use types::path::{self, Name};

/// Executor that records files in the manifest, where one was requested.
pub(super) struct Manifest<'c> {
    part: Option<&'c SharedPart>,
}

impl<'c> Manifest<'c> {
    /// Creates the executor that records in that part of a manifest, if any.
    pub fn new(part: Option<&'c SharedPart>) -> Self {
        Self { part }
    }

    /// True if that is the file of the manifest itself.
    pub fn is_itself(&self, found: &Metadata) -> bool {
        self.part.is_some_and(|part| part.is_itself(found))
    }

    /// Appends rows that a thread has gathered.
    pub fn append(&self, rows: &mut Rows) {
        if let Some(part) = self.part {
            part.append(rows);
        }
    }

    /// Records a file that is at the target as the source has it. Where its checksum is unknown,
    /// because it was not copied, the file is read.
    pub fn record(
        &self,
        (dir_ref, name): (&DirRef, &Name),
        metadata: &Metadata,
        crc64: Option<Crc64>,
        cx: &mut Context<'_, '_>,
    ) {
        let Some(part) = self.part else { return };
        let summed = match crc64 {
            Some(crc64) => Ok(crc64),
            None => sum_at_target(dir_ref, name, metadata.size_bytes, cx),
        };
        match summed {
            Ok(crc64) => {
                push_row(dir_ref, name, metadata, crc64, cx);
                if cx.worker.rows.are_enough() {
                    part.append(&mut cx.worker.rows);
                }
            }
            Err(side_error) => cx.fail(dir_ref, name.to_bytes(), side_error),
        }
    }

    /// Records a file that stays at the target as it is, whether the source has it or not.
    pub fn record_as_it_is(&self, (dir_ref, name): (&DirRef, &Name), cx: &mut Context<'_, '_>) {
        if self.part.is_none() {
            return;
        }
        let dir = dir_ref.target_dir(cx.env.target(dir_ref));
        match dir.and_then(|dir| dir.stat(cx.env.target_name(dir_ref, name))).at(Side::Target) {
            Ok(found) if found.kind == Kind::File => {
                self.record((dir_ref, name), &found, None, cx);
            }
            Err(side_error) if !side_error.error.cause.is_vanished() => {
                cx.fail(dir_ref, name.to_bytes(), side_error);
            }
            _ => {}
        }
    }

    /// Records a file that was at the target before, with the attributes of the source.
    pub fn record_unchanged(&self, entry: &Visit<'_>, source: &Metadata, cx: &mut Context<'_, '_>) {
        if source.kind == Kind::File {
            self.record((entry.dir_ref, entry.name), source, None, cx);
        }
    }
}

fn push_row(
    dir_ref: &DirRef,
    name: &Name,
    metadata: &Metadata,
    crc64: Crc64,
    cx: &mut Context<'_, '_>,
) {
    let name = cx.env.target_name(dir_ref, name).to_bytes();
    let below = path::join(dir_ref.path().as_bytes(), name);
    let root = &cx.env.root(dir_ref).shown_target;
    // The path of the current directory is empty, but each path of a list has a root.
    let root = if root.is_empty() { &b"."[..] } else { root };
    let (path, depth) = (path::join(root, &below), dir_ref.path().depth() as u32 + 1);
    let record = Record { crc64: Some(crc64), ..Record::new(&path, depth, metadata) };
    cx.worker.rows.push(&record);
}

fn sum_at_target(
    dir_ref: &DirRef,
    name: &Name,
    size_bytes: u64,
    cx: &mut Context<'_, '_>,
) -> Result<Crc64, SideError> {
    let dir = dir_ref.target_dir(cx.env.target(dir_ref)).at(Side::Target)?;
    let file = dir.open_file(cx.env.target_name(dir_ref, name)).at(Side::Target)?;
    if file.metadata().at(Side::Target)?.size_bytes != size_bytes {
        return Err(Op::Verify.failed(Cause::Changed)).at(Side::Target);
    }
    if let Some(kept) = file.crc64() {
        return Ok(kept);
    }
    let whole = Extent { offset: 0, length: size_bytes };
    sum_extent(&*file, whole, cx.worker.buffers(cx.env.options.buffer_bytes)).at(Side::Target)
}
