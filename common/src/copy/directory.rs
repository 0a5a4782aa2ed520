//! Making a directory at the target before anything below it is copied.

use std::ffi::CString;
use std::sync::Arc;

use super::policy::{self, OWNER_ALL};
use super::{CopyHand, CopyJob};
use crate::base::error::{At, Error, Op, Side, Trouble};
use crate::base::path::RelPath;
use crate::model::entry::{Attributes, Kept, Kind, Metadata};
use crate::sched::crew::Crew;
use crate::store::Made;
use crate::walk::place::{Place, Trees};

impl CopyJob<'_> {
    /// Makes the counterpart of a directory, or takes the one that is there.
    pub(super) fn make_directory(
        &self,
        place: &Arc<Place>,
        metadata: &Metadata,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Trouble> {
        let xattrs =
            self.xattrs_of(|| place.source_dir(&*self.root(place).source)?.xattrs(None))?;
        let attributes = match self.make_here(place, metadata).at(Side::Target)? {
            Made::New => {
                place.set_trees(Trees::SourceOnly);
                self.plan_line("make directory", place, b"", hand, crew);
                let inherited = self.inherited_bits(place, metadata).at(Side::Target)?;
                policy::of_new_directory(self.options, metadata, xattrs, inherited)
            }
            Made::Existed => {
                place.set_trees(Trees::Both);
                let widened_from = self.widen(place).at(Side::Target)?;
                policy::of_old_directory(self.options, metadata, xattrs, widened_from)
            }
        };
        if let Some(attributes) = attributes
            && !self.options.dry_run
        {
            self.directories.add(place, &attributes);
        }
        Self::copied(Kind::Directory, Kept::ALL, hand);
        Ok(())
    }

    /// The set-group-id bit of a directory just made, where its mode will be set again.
    fn inherited_bits(&self, place: &Place, source: &Metadata) -> Result<u32, Error> {
        if self.options.preserve || self.options.dry_run || !policy::was_widened(source) {
            return Ok(0);
        }
        let made = place.target_dir(self.target(place))?.metadata()?;
        Ok(made.mode & 0o2000)
    }

    /// The root itself was made, or found, before the walk began.
    fn make_here(&self, place: &Place, metadata: &Metadata) -> Result<Made, Error> {
        let Some((parent, name)) = split_last(place.path())? else {
            return Ok(if place.is_fresh() { Made::New } else { Made::Existed });
        };
        let mode = policy::making_mode(self.options, metadata);
        place.target_parent(self.target(place), &parent)?.make_dir(&name, mode)
    }

    /// A directory that its own owner may not write to is opened for the time of the copy. Returns the
    /// mode it had.
    fn widen(&self, place: &Place) -> Result<Option<u32>, Error> {
        if self.options.job.is_superuser || self.options.dry_run {
            return Ok(None);
        }
        let target = place.target_dir(self.target(place))?;
        let mode = target.metadata()?.mode;
        if mode & OWNER_ALL == OWNER_ALL {
            return Ok(None);
        }
        let widened = Attributes { mode: Some(mode | OWNER_ALL), ..Attributes::default() };
        target.set_attributes(&widened)?;
        Ok(Some(mode))
    }
}

/// A path's parent and last component; `None` for a root.
fn split_last(path: &RelPath) -> Result<Option<(RelPath, CString)>, Error> {
    let Some(last) = path.components().last() else { return Ok(None) };
    let name = CString::new(last).map_err(|_| Op::MakeDir.errno(libc::EINVAL))?;
    let head = &path.as_bytes()[..path.as_bytes().len() - last.len()];
    let head = head.strip_suffix(b"/").unwrap_or(head);
    let parent = RelPath::checked(head).ok_or(Op::MakeDir.errno(libc::EINVAL))?;
    Ok(Some((parent, name)))
}
