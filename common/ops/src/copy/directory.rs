//! Making a directory at the target before anything below it is copied.

use super::attributes;
use super::env::Env;
use super::resume;
use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::ffi::CString;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use super::context::Context;
use super::finish::DirectoryRecords;
use super::policy::{self, Plain};
use super::sync::Sides;
use crate::walk::Skip;
use crate::walk::packed::RootedPath;
use crate::walk::place::{Place, Rights, Trees};
use store::{Dir, Made};
use types::entry::{Attributes, Kept, Kind, Metadata, Times, Xattrs};
use types::error::{At, Cause, Error, Side, Trouble};
use types::outcome::difference::Fields;
use types::path::RelPath;

/// Executor that makes directories, and remembers what each is to get at the end.
#[derive(Default)]
pub(super) struct Directories {
    pub records: DirectoryRecords,
    /// Directories that were made although nobody walked to them: hashes of their paths.
    reached: Mutex<HashSet<u64>>,
    /// Times of directories that were listed again.
    pub(super) new_times: Mutex<Vec<(RootedPath, Times)>>,
}

impl Directories {
    /// Makes the counterpart of a directory, or takes the one that is there.
    pub(super) fn make_directory(
        &self,
        place: &Arc<Place>,
        metadata: &Metadata,
        cx: &mut Context<'_, '_>,
    ) -> Result<(), Trouble> {
        if !cx.env.target(place).keeps_directories() {
            return count_directory(place, metadata, cx).at(Side::Target);
        }
        let xattrs =
            cx.env.xattrs_of(|| place.source_dir(&*cx.env.root(place).source)?.xattrs(None))?;
        let attributes = match make_here(cx.env, place, metadata).at(Side::Target)? {
            Made::New => {
                place.set_trees(Trees::SourceOnly);
                cx.plan_line("create directory", place, b"");
                let plain = plain(cx.env, place, metadata).at(Side::Target)?;
                let attributes = policy::of_new_directory(cx.env.options, metadata, xattrs, plain);
                give_rights(cx.env, place, attributes.as_ref());
                attributes
            }
            Made::Existed if cx.env.options.sync.is_some() => {
                let attributes = self.sync_attributes(place, metadata, xattrs, cx)?;
                if let Some(attributes) = attributes.filter(|_| !cx.env.options.dry_run) {
                    self.records.add(place, &attributes);
                }
                return self.sweep(place, cx);
            }
            Made::Existed => {
                place.set_trees(Trees::Both);
                let widened_from = widen(cx.env, place).at(Side::Target)?;
                self.sweep(place, cx)?;
                if resume::was_made(cx.env, place) {
                    let plain = plain_of_made(cx.env, place, metadata).at(Side::Target)?;
                    policy::of_made_directory(cx.env.options, metadata, xattrs, plain)
                } else {
                    let plain = plain(cx.env, place, metadata).at(Side::Target)?;
                    policy::of_old_directory(cx.env.options, metadata, xattrs, widened_from, plain)
                }
            }
        };
        if let Some(attributes) = attributes
            && !cx.env.options.dry_run
        {
            self.records.add(place, &attributes);
        }
        // One that is named may be reached from many places.
        if place.is_fresh() || cx.env.named.is_none() {
            cx.copied((&**place, c""), Kind::Directory, Kept::ALL);
        }
        Ok(())
    }

    /// Prepares a directory that was there for changes: it is made writable, and its attributes are to be set again at
    /// the end.
    pub(super) fn before_change(&self, env: &Env<'_>, place: &Place) -> Result<(), Trouble> {
        if env.options.sync.is_none()
            || env.options.dry_run
            || place.is_fresh()
            || env.target(place).holds_objects()
        {
            return Ok(());
        }
        place.prepare(|| {
            let target = place.target_dir(env.target(place)).at(Side::Target)?;
            let is_superuser = env.options.job.is_superuser;
            let widened_from = policy::widen(&*target, is_superuser).at(Side::Target)?;
            let end = if place.path().is_root() && env.root(place).names.is_some() {
                widened_from.map(policy::mode_alone)
            } else {
                let source = place.source_dir(&*env.root(place).source).at(Side::Source)?;
                let metadata = source.metadata().at(Side::Source)?;
                let xattrs = env.xattrs_of(|| source.xattrs(None))?;
                let plain = Plain::of_directory(env.options, &metadata, &*target);
                let plain = plain.at(Side::Target)?;
                policy::of_old_directory(env.options, &metadata, xattrs, widened_from, plain)
            };
            if let Some(attributes) = end {
                self.records.add(place, &attributes);
            }
            Ok(())
        })
    }

    /// Makes a directory with all that is above it, each with its source's attributes, unless this rank
    /// has done so: for entries that are named, not walked to.
    pub(super) fn make_reachable(
        &self,
        place: &Arc<Place>,
        cx: &mut Context<'_, '_>,
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
                if path.is_root() && cx.env.root(&place).target_metadata.is_none() {
                    // A dry run into what does not exist.
                    place.set_trees(Trees::SourceOnly);
                }
                let source = &*cx.env.root(&place).source;
                let looked = place.source_dir(source).and_then(|dir| dir.metadata());
                let made = looked
                    .at(Side::Source)
                    .and_then(|metadata| self.make_directory(&place, &metadata, cx));
                if let Err(trouble) = made {
                    cx.fail(&place, b"", trouble);
                    return Err(Skip);
                }
            }
        }
        Ok(())
    }

    /// A directory that was there gets other attributes only where they differ.
    fn sync_attributes(
        &self,
        place: &Place,
        source: &Metadata,
        xattrs: Option<Xattrs>,
        cx: &mut Context<'_, '_>,
    ) -> Result<Option<Attributes>, Trouble> {
        let (dir, widened_from) =
            self.look_into(cx.env, place, source, xattrs.as_ref()).at(Side::Target)?;
        let plain = Plain::of_directory(cx.env.options, source, &*dir).at(Side::Target)?;
        let wanted = policy::of_any(cx.env.options, source, xattrs, plain);
        let mut target = dir.metadata().at(Side::Target)?;
        target.mode = widened_from.unwrap_or(target.mode);
        let sides = Sides { source: *source, target };
        let range = cx.env.target(place).time_range(&target);
        let mut differing = attributes::differing_attributes(&sides, plain, range, cx);
        if wanted.xattrs.is_some() {
            differing.insert(match dir.xattrs(None) {
                Ok(at_target) => {
                    attributes::differing_xattrs(cx.env, wanted.xattrs.clone(), at_target)
                }
                // What cannot be inspected counts as different.
                Err(_) => Fields::XATTR,
            });
        }
        if differing.is_empty() {
            cx.hand.gathered.tally.synced.unchanged += 1;
            return Ok(None);
        }
        cx.plan_line("set attributes", place, b"");
        cx.hand.gathered.tally.synced.attributes_set += 1;
        Ok(Some(wanted))
    }

    /// Opens a directory that is there. One that its own owner may not look into is widened before, gets
    /// the source's attributes at the end in any case, and is returned with the mode it had.
    fn look_into(
        &self,
        env: &Env<'_>,
        place: &Place,
        source: &Metadata,
        xattrs: Option<&Xattrs>,
    ) -> Result<(Arc<dyn Dir>, Option<u32>), Error> {
        let mut widened_from = None;
        let dir = place.target_dir_let_in(env.target(place), |dir| {
            if env.options.dry_run {
                return Ok(Rights::AsBefore);
            }
            widened_from = policy::widen_to_look(dir, env.options.job.is_superuser)?;
            if widened_from.is_none() {
                return Ok(Rights::AsBefore);
            }
            let plain = Plain::of_directory(env.options, source, dir)?;
            let wanted = policy::of_any(env.options, source, xattrs.cloned(), plain);
            let mode = wanted.mode.or(widened_from);
            self.records.add(place, &Attributes { mode, ..wanted });
            Ok(Rights::Gained)
        })?;
        Ok((dir, widened_from))
    }
}

/// Gives a new directory its rights at once where the job may be stopped and go on: it may have got another name by
/// then, where nobody comes to it any more.
fn give_rights(env: &Env<'_>, place: &Place, attributes: Option<&Attributes>) {
    let decided = attributes.and_then(|attributes| Some((attributes, attributes.mode?)));
    let Some((attributes, mode)) = decided.filter(|_| env.journal.is_some()) else {
        return;
    };
    let mode = Some(mode | policy::OWNER_ALL);
    let rights = Attributes { mode, times: None, ..attributes.clone() };
    // At the end it is done once more, and told where it cannot be.
    let _ = place.target_dir(env.target(place)).and_then(|dir| dir.set_attributes(&rights));
}

/// A directory whose target holds objects comes into being with what is in it, and has nothing else.
fn count_directory(
    place: &Arc<Place>,
    metadata: &Metadata,
    cx: &mut Context<'_, '_>,
) -> Result<(), Error> {
    place.set_trees(match make_here(cx.env, place, metadata)? {
        Made::New => Trees::SourceOnly,
        Made::Existed => Trees::Both,
    });
    let is_lost = cx.env.root(place).source.keeps_directories();
    cx.hand.gathered.tally.directories_not_preserved += u64::from(is_lost);
    Ok(())
}

/// What the mode of a directory that is there is made of, where its source does not decide it.
fn plain(env: &Env<'_>, place: &Place, source: &Metadata) -> Result<Plain, Error> {
    if env.options.dry_run {
        return Ok(Plain::under_umask(env.options));
    }
    Plain::of_directory(env.options, source, &*place.target_dir(env.target(place))?)
}

/// The same of a directory that a stopped job has made.
fn plain_of_made(env: &Env<'_>, place: &Place, source: &Metadata) -> Result<Plain, Error> {
    if env.options.dry_run {
        return Ok(Plain::under_umask(env.options));
    }
    Plain::of_made_directory(env.options, source, &*place.target_dir(env.target(place))?)
}

/// The root itself was made, or found, before the walk began. Where the target is to be made equal,
/// one that is there is found by opening it, later: nothing is tried that could change anything.
fn make_here(env: &Env<'_>, place: &Place, metadata: &Metadata) -> Result<Made, Error> {
    let Some((parent, name)) = place.path().split_last() else {
        return Ok(if place.is_fresh() { Made::New } else { Made::Existed });
    };
    if env.options.sync.is_some() && env.named.is_none() && !place.is_fresh() {
        return Ok(Made::Existed);
    }
    if env.options.dry_run && place.is_fresh() {
        return Ok(Made::New);
    }
    let mode = policy::making_mode(env.options, metadata);
    let parent = place.target_parent(env.target(place), &parent)?;
    if policy::was_widened(env.options, metadata) && !env.options.keep.decides_mode() {
        resume::before_widened(env, place, &*parent, &name);
    }
    let is_there = |metadata: Metadata| metadata.kind == Kind::Directory;
    if env.options.sync.is_some() && parent.stat(&name).is_ok_and(is_there) {
        return Ok(Made::Existed);
    }
    match parent.make_dir(&name, mode) {
        // Not before now, when the source's directory is open and will be read.
        Err(error) if error.cause == Cause::KindDiffers && env.options.sync.is_some() => {
            parent.remove(&name, parent.stat(&name)?.kind)?;
            parent.make_dir(&name, mode)
        }
        other => other,
    }
}

/// A directory that its own owner may not write to is opened for the time of the copy. Returns the
/// mode it had.
fn widen(env: &Env<'_>, place: &Place) -> Result<Option<u32>, Error> {
    if env.options.dry_run {
        return Ok(None);
    }
    let target = place.target_dir(env.target(place))?;
    policy::widen(&*target, env.options.job.is_superuser)
}

/// Two paths that collide would leave one directory unmade, which its entries would then say.
fn hash_of(path: &RelPath) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}
