//! A directory of a bucket: the set of keys that share a prefix.

mod marker;

use std::collections::HashSet;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::list::at_once::Threads;
use crate::list::key::{KEY_BYTES_MAX, key_of_name};
use crate::list::key_ranges;
use crate::list::listing_cache::Index;
use crate::list::listing_order::ListingOrder;
use crate::list::pages::{From, KeyPage, Page, Pages};
use crate::list::windows::Found;
use crate::read::body;
use crate::read::body::ObjectFile;
use crate::read::head::Head;
use crate::read::object::Bucket;
use crate::write::fields::{Like, NewObject, has_xattrs};
use crate::write::upload::{ObjectStaged, PartsFrom, upload_of};
use store::{Dir, Made, NameReader, NewFile, NewSymlink, SourceFile, StagedFile, Writers};
use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::entry::{Attributes, Hint, Identity, Kind, Metadata, Preserved, Time};
use types::error::{Cause, Op, Result};
use types::limits::S3_WHOLE_BYTES_MAX;
use types::object::key_range::{KeyRange, NamePage};
use types::object::keys_below::KeysBelow;
use types::object::metadata::{LinkForm, RCLONE_LINK_SUFFIX};
use types::path::Name;
use types::service::InvalidKey;

/// The error to which an answer with status 403 is mapped: the account lacks the right to do it.
const DENIED: Cause = Cause::System(libc::EACCES);

/// A directory of objects. S3 has no directories, so opening one always succeeds, without a
/// request.
pub(super) struct ObjectDir {
    bucket: Bucket,
    /// The prefix of all keys in this directory: empty, or with a slash at the end.
    prefix: String,
    /// Names found to be symbolic links in rclone's form, whose key ends in `.rclonelink`. An entry
    /// that replaces such a link has another key, so the link's object must be removed explicitly.
    links: Mutex<HashSet<CString>>,
    /// The listing cache of this directory, obtained on first use.
    index: OnceLock<Arc<Index>>,
    /// True if listings of this directory can begin after any name, once that was tried.
    is_divisible: OnceLock<bool>,
}

impl ObjectDir {
    pub fn new(bucket: Bucket, prefix: String) -> Self {
        let (index, is_divisible) = (OnceLock::new(), OnceLock::new());
        Self { bucket, prefix, links: Mutex::default(), index, is_divisible }
    }

    /// Returns the key of an entry in this directory.
    ///
    /// # Errors
    /// Returns the reason why the name makes no valid key: S3 limits its length, and the client
    /// sends no request for a key of white space alone.
    fn key(&self, op: Op, name: &Name) -> Result<String> {
        let key = format!("{}{}", self.prefix, key_of_name(name.to_bytes()));
        if key.len() > KEY_BYTES_MAX {
            return Err(op.failed(Cause::Key(InvalidKey::LongKey)));
        }
        if key.trim().is_empty() {
            return Err(op.failed(Cause::Key(InvalidKey::Blank)));
        }
        let is_new = matches!(op, Op::Create | Op::Symlink | Op::MakeDir);
        if is_new && key.contains('\\') && !self.bucket.keeps_backslashes(&self.prefix) {
            return Err(op.failed(Cause::Key(InvalidKey::Backslash)));
        }
        Ok(key)
    }

    /// The keys of what is an entry of that kind.
    fn keys(&self, name: &Name, kind: Kind) -> Result<Vec<String>> {
        let key = self.key(Op::Remove, name)?;
        Ok(match kind {
            // It goes with the last object in it; its marker is one.
            Kind::Directory => vec![key + "/"],
            Kind::Symlink if is_link_key(name) => vec![key + RCLONE_LINK_SUFFIX],
            Kind::Symlink => vec![key.clone() + RCLONE_LINK_SUFFIX, key],
            _ => vec![key],
        })
    }

    fn new_object(
        &self,
        key: String,
        what: (Kind, u64),
        mtime: Option<Time>,
        attributes: &Attributes,
        like: Like<'_>,
    ) -> NewObject {
        NewObject::new(&self.bucket, key, what, mtime, attributes, like)
    }

    fn links(&self) -> MutexGuard<'_, HashSet<CString>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the key of the symbolic link in rclone's form that an entry called `name` replaces,
    /// if there is such a link.
    fn replaced_link(&self, name: &Name, key: &str) -> Option<String> {
        self.links().contains(name).then(|| format!("{key}{RCLONE_LINK_SUFFIX}"))
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| self.bucket.listing_cache.index(&self.prefix))
    }

    /// Finds the object called `name`, or else the symbolic link in rclone's form, which has
    /// another key. Returns the object's key with its head.
    ///
    /// # Errors
    /// The object is reported as vanished if neither key exists.
    fn find(&self, op: Op, name: &Name) -> Result<(String, Head)> {
        let key = self.key(op, name)?;
        // A key that ends in the suffix of links is the link of a shorter name, never a file of its
        // own.
        let own = if is_link_key(name) { None } else { Some(self.bucket.head(&key)) };
        match own {
            Some(Err(error)) if !error.cause.is_vanished() => Err(error),
            Some(Ok(head)) => Ok((key, head)),
            _ => {
                let link = key + RCLONE_LINK_SUFFIX;
                let mut head = self.bucket.head(&link)?;
                head.metadata.kind = Kind::Symlink;
                self.links().insert(name.to_owned());
                Ok((link, head))
            }
        }
    }
}

impl Dir for ObjectDir {
    fn metadata(&self) -> Result<Metadata> {
        let plain = self.bucket.metadata_of_directory(&self.prefix);
        if !self.has_marker() {
            return Ok(plain);
        }
        match self.bucket.head(&self.prefix) {
            Err(error) if error.cause.is_vanished() => Ok(plain),
            marker => Ok(marker?.of_directory(&plain)),
        }
    }

    fn list(&self, each: &mut dyn FnMut(&Name, Hint)) -> Result<()> {
        let mut alone = Alone { each, invalid_key: None };
        self.read(KeyRange::default(), &mut alone)?;
        alone.invalid_key.map_or(Ok(()), |why| Err(Op::List.failed(Cause::Key(why))))
    }

    fn read(&self, key_range: KeyRange, reader: &mut dyn NameReader) -> Result<()> {
        key_ranges::read(self, key_range, reader)
    }

    fn is_divisible(&self) -> bool {
        *self.is_divisible.get_or_init(|| key_ranges::is_divisible(self))
    }

    fn read_known(&self, keys: &KeysBelow, reader: &mut dyn NameReader) -> Result<()> {
        key_ranges::read_known(keys, reader);
        Ok(())
    }

    fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        // No request: nearly always the listing has just named the directory, or the copy creates
        // it.
        let prefix = self.key(Op::Open, name)? + "/";
        Ok(Arc::new(Self::new(self.bucket.clone(), prefix)))
    }

    fn stat(&self, name: &Name) -> Result<Metadata> {
        self.stat_open(name).map(|(metadata, _)| metadata)
    }

    fn stat_open(&self, name: &Name) -> Result<(Metadata, Option<Box<dyn SourceFile>>)> {
        match self.find(Op::Stat, name) {
            Ok((key, head)) => {
                let metadata = head.metadata;
                let file = ObjectFile::new(self.bucket.clone(), key, head, metadata.size_bytes);
                Ok((metadata, Some(Box::new(file))))
            }
            // No object has this key. It may still be a directory, which costs a listing of one key
            // to find out.
            Err(error) if error.cause.is_vanished() => {
                let prefix = self.key(Op::Stat, name)? + "/";
                if self.bucket.has_below(&prefix)? {
                    Ok((self.bucket.metadata_of_directory(&prefix), None))
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }

    fn peek(&self, name: &Name, hint: Hint) -> Result<Metadata> {
        // The size and time of a listing spare the request; without them, the listing cache may.
        let key = self.key(Op::Stat, name)?;
        if let Some(metadata) = self.bucket.metadata_hinted(&key, hint) {
            return Ok(metadata);
        }
        let page = |from: From<'_>| self.bucket.page(&self.prefix, from, Page::KEYS_MAX);
        match self.index().find(&page, name)? {
            Found::There(hint) => match self.bucket.metadata_hinted(&key, hint) {
                Some(metadata) => Ok(metadata),
                None => self.stat(name),
            },
            Found::Missing => Err(Op::Stat.errno(libc::ENOENT)),
            Found::Unknown => self.stat(name),
        }
    }

    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>> {
        let (key, head) = self.find(Op::Open, name)?;
        let end = head.metadata.size_bytes;
        // The head is remembered, since each thread that reads an extent of a large object needs
        // it.
        if end > S3_WHOLE_BYTES_MAX {
            self.bucket.listing_cache.keep(&key, &head);
        }
        Ok(Box::new(ObjectFile::new(self.bucket.clone(), key, head, end)))
    }

    fn open_listed(&self, name: &Name, hint: Hint) -> Result<Box<dyn SourceFile>> {
        match hint {
            // The whole object comes with a single GET, which also carries its metadata: a HEAD
            // before would double the number of requests for small files.
            Hint::Object(listed) if listed.size_bytes <= S3_WHOLE_BYTES_MAX => {
                let key = self.key(Op::Open, name)?;
                Ok(Box::new(ObjectFile::whole(self.bucket.clone(), key, listed)?))
            }
            _ => self.open_file(name),
        }
    }

    fn open_extent(
        &self,
        name: &Name,
        identity: &Identity,
        extent: Extent,
    ) -> Result<Box<dyn SourceFile>> {
        let key = self.key(Op::Open, name)?;
        Ok(Box::new(body::open_extent(&self.bucket, key, identity.inode, extent)?))
    }

    fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        let (key, head) = self.find(Op::ReadLink, name)?;
        // A link's target is stored as the object's content; POSIX bounds it by `PATH_MAX`
        // (limits.h(0p)), so a longer object is no link.
        let length = head.metadata.size_bytes;
        if length > libc::PATH_MAX as u64 {
            return Err(Op::ReadLink.errno(libc::ENAMETOOLONG));
        }
        let kept = head.crc64;
        let file = ObjectFile::new(self.bucket.clone(), key, head, length);
        let mut target = vec![0; length as usize];
        let count = file.read_at(&mut target, 0)?;
        target.truncate(count);
        // A damaged target would create a wrong link silently, so the content must match the stored
        // checksum, or else its ETag.
        let is_right = match kept {
            Some(kept) => kept == Crc64::of(&target),
            None => file.parted_etag()?.is_none_or(|etag| etag.is_of_content(&target)),
        };
        if is_right { Ok(target) } else { Err(Op::ReadLink.failed(Cause::Corrupt)) }
    }

    fn open_link(&self, name: &Name) -> Result<Option<(Box<dyn SourceFile>, LinkForm)>> {
        let (key, head) = self.find(Op::Open, name)?;
        let is_suffixed = key.len() > self.key(Op::Open, name)?.len();
        let form = if is_suffixed { LinkForm::Suffix } else { LinkForm::FileType };
        let end = head.metadata.size_bytes;
        Ok(Some((Box::new(ObjectFile::new(self.bucket.clone(), key, head, end)), form)))
    }

    /// Creates a directory by writing its marker, where markers are configured. Otherwise nothing
    /// is written, since a directory exists as soon as a key is below it.
    fn make_dir(&self, name: &Name, _mode: u32) -> Result<Made> {
        match self.peek(name, Hint::Unknown) {
            Ok(metadata) if metadata.kind == Kind::Directory => Ok(Made::Existed),
            Ok(_) => Err(Op::MakeDir.failed(Cause::KindDiffers)),
            // An account without the right to list or read may still have the right to write.
            Err(error) if error.cause.is_vanished() || error.cause == DENIED => {
                let prefix = self.key(Op::MakeDir, name)? + "/";
                Self::new(self.bucket.clone(), prefix).make_marker()?;
                self.index().note_directory(name);
                Ok(Made::New)
            }
            Err(error) => Err(error),
        }
    }

    fn stage_file(&self, new: &NewFile<'_>) -> Result<Box<dyn StagedFile>> {
        let key = self.key(Op::Create, new.name)?;
        // An object below such a key is read as a symbolic link by rclone and by this program, so
        // only a copy that preserves the source's own headers may write one.
        if is_link_key(new.name) && new.headers.is_none() {
            return Err(Op::Create.failed(Cause::Key(InvalidKey::LinkName)));
        }
        let what = (Kind::File, new.size_bytes);
        let like = new.headers.map_or(Like::Nothing, Like::Another);
        let replaces = self.replaced_link(new.name, &key);
        let object = self.new_object(key, what, new.mtime, new.attributes, like);
        let object = NewObject { replaces, ..object };
        // From now on the listing cache cannot tell whether this object exists or which attributes
        // it has.
        self.index().doubt(new.name);
        let bucket = self.bucket.clone();
        Ok(Box::new(match new.writers {
            Writers::Several { chunk_bytes: part_bytes } => {
                let service = bucket.service.id;
                // Within one service the content is copied by the service itself (UploadPartCopy),
                // otherwise sent from here.
                match new.from.as_ref().filter(|from| from.service == service) {
                    Some(from) => {
                        let object = bucket.with_tags_of(object, from)?;
                        ObjectStaged::in_parts(bucket, object, part_bytes, PartsFrom::TheService)?
                    }
                    None => ObjectStaged::in_parts(
                        bucket,
                        object,
                        part_bytes,
                        PartsFrom::Here(new.begun),
                    )?,
                }
            }
            Writers::One => ObjectStaged::whole(bucket, object),
        }))
    }

    fn join_staged(&self, ticket: &[u8], name: &Name) -> Result<Box<dyn StagedFile>> {
        let key = self.key(Op::Open, name)?;
        let object = self.new_object(key, (Kind::File, 0), None, Attributes::NONE, Like::Nothing);
        Ok(Box::new(ObjectStaged::join(self.bucket.clone(), object, ticket)?))
    }

    fn abort_upload(&self, name: &Name, ticket: &[u8], unless: Option<&[u8]>) -> Result<()> {
        let key = self.key(Op::Remove, name)?;
        match upload_of(ticket) {
            Some(id) if Some(&id) != unless.and_then(upload_of).as_ref() => {
                self.bucket.give_up_upload(&key, &id)
            }
            _ => Ok(()),
        }
    }

    fn abort_unrecorded_uploads(&self, name: &Name, at: Time) -> Result<()> {
        self.bucket.give_up_unrecorded(&self.key(Op::Remove, name)?, at)
    }

    fn make_symlink(&self, link: &NewSymlink<'_>) -> Result<Preserved> {
        let key = self.key(Op::Symlink, link.name)?;
        let size_bytes = link.points_to.len() as u64;
        let (key, replaces) = match self.bucket.service.settings.metadata.link_form() {
            _ if is_link_key(link.name) => (key + RCLONE_LINK_SUFFIX, None),
            LinkForm::FileType => {
                let replaces = self.replaced_link(link.name, &key);
                (key, replaces)
            }
            LinkForm::Suffix => {
                let replaces = self.bucket.head(&key).is_ok().then(|| key.clone());
                (key + RCLONE_LINK_SUFFIX, replaces)
            }
        };
        let what = (Kind::Symlink, size_bytes);
        let object = self.new_object(key, what, link.mtime, &link.attributes, Like::Nothing);
        self.index().doubt(link.name);
        self.bucket.put_whole(&object, &bytes::Bytes::copy_from_slice(link.points_to))?;
        // The new link exists before the object of the same name under the other key goes, so that
        // an interruption leaves both rather than neither.
        replaces.map_or(Ok(()), |old| self.bucket.remove(&old))?;
        Ok(object.preserved)
    }

    /// Sets the attributes of this directory on its marker object, if directories have markers.
    fn set_attributes(&self, attributes: &Attributes) -> Result<Preserved> {
        if !self.has_marker() {
            return Ok(Preserved { xattrs_lost: has_xattrs(attributes), ..Preserved::ALL });
        }
        self.set_on_marker(attributes)
    }

    fn set_entry_attributes(
        &self,
        name: &Name,
        kind: Kind,
        attributes: &Attributes,
    ) -> Result<Preserved> {
        let (key, head) = self.find(Op::SetMode, name)?;
        self.copy_onto_itself(key, head, kind, attributes)
    }

    fn remove(&self, name: &Name, kind: Kind) -> Result<()> {
        self.index().doubt(name);
        self.keys(name, kind)?.iter().try_for_each(|key| self.bucket.remove(key))
    }

    /// Removes the object that is there under that name, if it has the ETag that was read: the
    /// inode number is a hash of it.
    fn remove_unchanged(&self, name: &Name, _kind: Kind, inode: u64) -> Result<()> {
        self.index().doubt(name);
        let (key, head) = self.find(Op::Stat, name)?;
        if head.metadata.inode != inode {
            return Err(Op::Remove.failed(Cause::Changed));
        }
        self.bucket.remove_version(&key, &head.etag)
    }

    fn keys_of(&self, entry: Option<(&Name, Kind)>) -> Result<Option<Vec<String>>> {
        match entry {
            Some((name, kind)) => self.keys(name, kind).map(Some),
            None => Ok(Some(vec![self.prefix.clone()])),
        }
    }

    fn is_below(&self, above: &Metadata) -> bool {
        let mut prefix = self.prefix.as_str();
        loop {
            if self.bucket.metadata_of_directory(prefix).is_same_file(above) {
                return true;
            }
            let Some(inner) = prefix.strip_suffix('/') else { return false };
            prefix = inner.rfind('/').map_or("", |slash| &inner[..=slash]);
        }
    }
}

impl ObjectDir {
    /// Sets attributes by copying an object onto itself, since the metadata of an object in S3
    /// cannot be changed in place (CopyObject with `REPLACE`).
    fn copy_onto_itself(
        &self,
        key: String,
        head: Head,
        kind: Kind,
        attributes: &Attributes,
    ) -> Result<Preserved> {
        let (old, headers) = (head.metadata, head.headers.clone());
        let size_bytes = old.size_bytes;
        let file = ObjectFile::new(self.bucket.clone(), key.clone(), head, size_bytes);
        let from = file.address().ok_or(Op::SetMode.errno(libc::EINVAL))?;
        // The copy replaces all metadata, so attributes that are not set must be repeated from the
        // old object.
        let stays = Attributes::all_of(&old, None);
        let wanted = Attributes {
            owner: match (attributes.owner, stays.owner) {
                (Some(owner), Some(old)) => Some(owner.or(old)),
                (owner, old) => owner.or(old),
            },
            mode: attributes.mode.or(stays.mode),
            set_ids_of: None,
            times: attributes.times.or(stays.times),
            xattrs: attributes.xattrs.clone(),
        };
        let mtime = wanted.times.map(|times| times.mtime);
        let like = Like::Itself(&headers);
        let object = self.new_object(key, (kind, size_bytes), mtime, &wanted, like);
        ObjectStaged::copy_all(&self.bucket, self.bucket.as_it_was(object)?, &from)
    }
}

/// Returns whether a name has rclone's suffix for symbolic links, so that its plain key would be
/// read as a link of another name.
fn is_link_key(name: &Name) -> bool {
    let link = name.to_bytes().strip_suffix(RCLONE_LINK_SUFFIX.as_bytes());
    link.is_some_and(|link| !link.is_empty())
}

impl Pages for ObjectDir {
    fn page(&self, from: From<'_>) -> Result<Page> {
        self.bucket.page(&self.prefix, from, Page::KEYS_MAX)
    }

    fn keys(&self, within: &str, from: From<'_>) -> Result<KeyPage> {
        self.bucket.key_page(&format!("{}{within}", self.prefix), from)
    }

    fn entry(&self, name: &str) -> Result<NamePage> {
        let key = format!("{}{name}", self.prefix);
        let link = format!("{name}{RCLONE_LINK_SUFFIX}");
        let mut objects = Vec::new();
        // The empty name has no object: its key is the marker of this directory.
        if !name.is_empty() {
            let at = [(&key, name), (&format!("{}{link}", self.prefix), &*link)];
            for (key, below) in at {
                if self.bucket.has_key(key)? {
                    objects.push((below.to_owned(), Hint::Unknown));
                }
            }
        }
        let is_directory = self.bucket.has_below(&(key + "/"))?;
        let directory = is_directory.then(|| (format!("{name}/"), Hint::Directory));
        Ok(NamePage::new(objects, directory.into_iter().collect()))
    }

    fn listing_order(&self) -> &ListingOrder {
        &self.bucket.listing_cache.listing_order
    }

    fn threads(&self) -> &Threads {
        &self.bucket.listing_cache.threads
    }

    fn may_be_empty(&self) -> bool {
        self.prefix.is_empty()
    }
}

/// A reader that wants all names for itself and takes no invalid keys: the first of them becomes
/// the error of the listing.
struct Alone<'e> {
    each: &'e mut dyn FnMut(&Name, Hint),
    invalid_key: Option<InvalidKey>,
}

impl NameReader for Alone<'_> {
    fn name(&mut self, name: &Name, hint: Hint) {
        (self.each)(name, hint);
    }

    fn invalid_key(&mut self, _key: &[u8], why: InvalidKey) {
        self.invalid_key.get_or_insert(why);
    }

    fn wants_to_share(&self) -> bool {
        false
    }

    fn may_share(&self) -> bool {
        false
    }

    fn share(&mut self, _rest: KeyRange) {}
}
