//! Making a directory at the target before anything below it is copied.

use std::collections::hash_map::DefaultHasher;
use std::ffi::CString;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, PoisonError};

use super::policy::{self, Plain};
use super::sync::Sides;
use super::{CopyHand, CopyJob};
use crate::walk::Skip;
use crate::walk::place::{Place, Rights, Trees};
use sched::crew::Crew;
use store::{Dir, Made};
use types::entry::{Attributes, Kept, Kind, Metadata, Xattrs};
use types::error::{At, Cause, Error, Side, Trouble};
use types::outcome::difference::Fields;
use types::path::RelPath;

impl CopyJob<'_> {
    /// Makes the counterpart of a directory, or takes the one that is there.
    pub(super) fn make_directory(
        &self,
        place: &Arc<Place>,
        metadata: &Metadata,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Trouble> {
        if !self.target(place).keeps_directories() {
            return self.count_directory(place, metadata, hand).at(Side::Target);
        }
        let xattrs =
            self.xattrs_of(|| place.source_dir(&*self.root(place).source)?.xattrs(None))?;
        let attributes = match self.make_here(place, metadata).at(Side::Target)? {
            Made::New => {
                place.set_trees(Trees::SourceOnly);
                self.plan_line("create directory", place, b"", hand, crew);
                let plain = self.plain(place, metadata).at(Side::Target)?;
                let attributes = policy::of_new_directory(self.options, metadata, xattrs, plain);
                self.give_rights(place, attributes.as_ref());
                attributes
            }
            Made::Existed if self.options.sync.is_some() => {
                let attributes = self.sync_attributes(place, metadata, xattrs, hand, crew)?;
                if let Some(attributes) = attributes.filter(|_| !self.options.dry_run) {
                    self.directories.add(place, &attributes);
                }
                return self.sweep(place, crew);
            }
            Made::Existed => {
                place.set_trees(Trees::Both);
                let widened_from = self.widen(place).at(Side::Target)?;
                self.sweep(place, crew)?;
                if self.was_made(place) {
                    let plain = self.plain_of_made(place, metadata).at(Side::Target)?;
                    policy::of_made_directory(self.options, metadata, xattrs, plain)
                } else {
                    let plain = self.plain(place, metadata).at(Side::Target)?;
                    policy::of_old_directory(self.options, metadata, xattrs, widened_from, plain)
                }
            }
        };
        if let Some(attributes) = attributes
            && !self.options.dry_run
        {
            self.directories.add(place, &attributes);
        }
        // One that is named may be reached from many places.
        if place.is_fresh() || self.named.is_none() {
            self.copied((&**place, c""), Kind::Directory, Kept::ALL, hand, crew);
        }
        Ok(())
    }

    /// Gives a new directory its rights at once where the job may be stopped and go on: it may have got another name by
    /// then, where nobody comes to it any more.
    fn give_rights(&self, place: &Place, attributes: Option<&Attributes>) {
        let decided = attributes.and_then(|attributes| Some((attributes, attributes.mode?)));
        let Some((attributes, mode)) = decided.filter(|_| self.journal.is_some()) else { return };
        let mode = Some(mode | policy::OWNER_ALL);
        let rights = Attributes { mode, times: None, ..attributes.clone() };
        // At the end it is done once more, and told where it cannot be.
        let _ = place.target_dir(self.target(place)).and_then(|dir| dir.set_attributes(&rights));
    }

    /// A directory whose target holds objects comes into being with what is in it, and has nothing else.
    fn count_directory(
        &self,
        place: &Arc<Place>,
        metadata: &Metadata,
        hand: &mut CopyHand,
    ) -> Result<(), Error> {
        place.set_trees(match self.make_here(place, metadata)? {
            Made::New => Trees::SourceOnly,
            Made::Existed => Trees::Both,
        });
        let is_lost = self.root(place).source.keeps_directories();
        hand.gathered.tally.directories_not_preserved += u64::from(is_lost);
        Ok(())
    }

    /// Makes a directory with all that is above it, each with its source's attributes, unless this rank
    /// has done so: for entries that are named, not walked to.
    pub(super) fn make_reachable(
        &self,
        place: &Arc<Place>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Skip> {
        // Others that need these directories wait until they are there.
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let mut path = RelPath::root();
        let components: Vec<&[u8]> = place.path().components().collect();
        for end in 0..=components.len() {
            if end > 0 {
                let name = CString::new(components[end - 1]).map_err(|_| Skip)?;
                path = path.child(&name);
            }
            if reached.insert(hash_of(&path)) {
                let place = Arc::new(Place::at(place.root(), path.clone()));
                if path.is_root() && self.root(&place).target_metadata.is_none() {
                    // A dry run into what does not exist.
                    place.set_trees(Trees::SourceOnly);
                }
                let source = &*self.root(&place).source;
                let looked = place.source_dir(source).and_then(|dir| dir.metadata());
                let made = looked
                    .at(Side::Source)
                    .and_then(|metadata| self.make_directory(&place, &metadata, hand, crew));
                if let Err(trouble) = made {
                    self.fail(&place, b"", trouble, hand, crew);
                    return Err(Skip);
                }
            }
        }
        Ok(())
    }

    /// What the mode of a directory that is there is made of, where its source does not decide it.
    fn plain(&self, place: &Place, source: &Metadata) -> Result<Plain, Error> {
        if self.options.dry_run {
            return Ok(Plain::under_umask(self.options));
        }
        Plain::of_directory(self.options, source, &*place.target_dir(self.target(place))?)
    }

    /// The same of a directory that a stopped job has made.
    fn plain_of_made(&self, place: &Place, source: &Metadata) -> Result<Plain, Error> {
        if self.options.dry_run {
            return Ok(Plain::under_umask(self.options));
        }
        Plain::of_made_directory(self.options, source, &*place.target_dir(self.target(place))?)
    }

    /// The root itself was made, or found, before the walk began. Where the target is to be made equal,
    /// one that is there is found by opening it, later: nothing is tried that could change anything.
    fn make_here(&self, place: &Place, metadata: &Metadata) -> Result<Made, Error> {
        let Some((parent, name)) = place.path().split_last() else {
            return Ok(if place.is_fresh() { Made::New } else { Made::Existed });
        };
        if self.options.sync.is_some() && self.named.is_none() && !place.is_fresh() {
            return Ok(Made::Existed);
        }
        if self.options.dry_run && place.is_fresh() {
            return Ok(Made::New);
        }
        let mode = policy::making_mode(self.options, metadata);
        let parent = place.target_parent(self.target(place), &parent)?;
        if policy::was_widened(self.options, metadata) && !self.options.keep.decides_mode() {
            self.before_widened(place, &*parent, &name);
        }
        let is_there = |metadata: Metadata| metadata.kind == Kind::Directory;
        if self.options.sync.is_some() && parent.stat(&name).is_ok_and(is_there) {
            return Ok(Made::Existed);
        }
        match parent.make_dir(&name, mode) {
            // Not before now, when the source's directory is open and will be read.
            Err(error) if error.cause == Cause::KindDiffers && self.options.sync.is_some() => {
                parent.remove(&name, parent.stat(&name)?.kind)?;
                parent.make_dir(&name, mode)
            }
            other => other,
        }
    }

    /// A directory that its own owner may not write to is opened for the time of the copy. Returns the
    /// mode it had.
    fn widen(&self, place: &Place) -> Result<Option<u32>, Error> {
        if self.options.dry_run {
            return Ok(None);
        }
        let target = place.target_dir(self.target(place))?;
        policy::widen(&*target, self.options.job.is_superuser)
    }

    /// A directory that was there gets other attributes only where they differ.
    fn sync_attributes(
        &self,
        place: &Place,
        source: &Metadata,
        xattrs: Option<Xattrs>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Option<Attributes>, Trouble> {
        let (dir, widened_from) =
            self.look_into(place, source, xattrs.as_ref()).at(Side::Target)?;
        let plain = Plain::of_directory(self.options, source, &*dir).at(Side::Target)?;
        let wanted = policy::of_any(self.options, source, xattrs, plain);
        let mut target = dir.metadata().at(Side::Target)?;
        target.mode = widened_from.unwrap_or(target.mode);
        let sides = Sides { source: *source, target };
        let range = self.target(place).time_range(&target);
        let mut differing = self.differing_attributes(&sides, plain, range, hand);
        if wanted.xattrs.is_some() {
            differing.insert(match dir.xattrs(None) {
                Ok(at_target) => self.differing_xattrs(wanted.xattrs.clone(), at_target),
                // What cannot be inspected counts as different.
                Err(_) => Fields::XATTR,
            });
        }
        if differing.is_empty() {
            hand.gathered.tally.synced.unchanged += 1;
            return Ok(None);
        }
        self.plan_line("set attributes", place, b"", hand, crew);
        hand.gathered.tally.synced.attributes_set += 1;
        Ok(Some(wanted))
    }

    /// Opens a directory that is there. One that its own owner may not look into is widened before, gets
    /// the source's attributes at the end in any case, and is returned with the mode it had.
    fn look_into(
        &self,
        place: &Place,
        source: &Metadata,
        xattrs: Option<&Xattrs>,
    ) -> Result<(Arc<dyn Dir>, Option<u32>), Error> {
        let mut widened_from = None;
        let dir = place.target_dir_let_in(self.target(place), |dir| {
            if self.options.dry_run {
                return Ok(Rights::AsBefore);
            }
            widened_from = policy::widen_to_look(dir, self.options.job.is_superuser)?;
            if widened_from.is_none() {
                return Ok(Rights::AsBefore);
            }
            let plain = Plain::of_directory(self.options, source, dir)?;
            let wanted = policy::of_any(self.options, source, xattrs.cloned(), plain);
            let mode = wanted.mode.or(widened_from);
            self.directories.add(place, &Attributes { mode, ..wanted });
            Ok(Rights::Gained)
        })?;
        Ok((dir, widened_from))
    }
}

/// Two paths that collide would leave one directory unmade, which its entries would then say.
fn hash_of(path: &RelPath) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}
