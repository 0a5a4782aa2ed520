//! A directory of objects: what the keys have in common that begin with it.

use std::sync::{Arc, OnceLock};

use super::fields::NewObject;
use super::listing::{From, Page};
use super::memory::{Found, Index};
use super::object::{Bucket, Head};
use super::reader::{self, ObjectFile};
use super::spans::{self, Pages};
use super::upload::ObjectStaged;
use crate::base::error::{Cause, Op, Result};
use crate::base::limits::S3_WHOLE_BYTES_MAX;
use crate::base::path::Name;
use crate::base::service::Unfit;
use crate::model::chunk::Extent;
use crate::model::entry::{Attributes, Hint, Identity, Kept, Kind, Metadata, Xattrs};
use crate::model::object_key::{KEY_BYTES_MAX, key_of_name};
use crate::model::object_metadata::{LinkForm, RCLONE_LINK_SUFFIX};
use crate::model::span::Span;
use crate::store::{Dir, Made, NameReader, NewFile, NewSymlink, SourceFile, StagedFile};

/// A directory of objects. There is none as such, so every one can be opened.
pub(super) struct ObjectDir {
    bucket: Bucket,
    /// What all keys in it begin with: empty, or with a slash at the end.
    prefix: String,
    /// What it has, as far as that was asked for.
    index: OnceLock<Arc<Index>>,
}

impl ObjectDir {
    pub fn new(bucket: Bucket, prefix: String) -> Self {
        Self { bucket, prefix, index: OnceLock::new() }
    }

    fn key(&self, op: Op, name: &Name) -> Result<String> {
        let key = format!("{}{}", self.prefix, key_of_name(name.to_bytes()));
        if key.len() > KEY_BYTES_MAX {
            return Err(op.failed(Cause::Key(Unfit::LongKey)));
        }
        Ok(key)
    }

    fn new_object(
        &self,
        key: String,
        what: (Kind, u64),
        mtime: Option<crate::model::entry::Time>,
        attributes: &Attributes,
    ) -> NewObject {
        NewObject::new(&self.bucket, key, what, mtime, attributes)
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| self.bucket.memory.index(&self.prefix))
    }

    /// The object of that name, or the link that is one under another key.
    fn find(&self, op: Op, name: &Name) -> Result<(String, Head)> {
        let key = self.key(op, name)?;
        match self.bucket.head(&key) {
            Err(error) if error.cause.is_vanished() => {
                let link = key + RCLONE_LINK_SUFFIX;
                let mut head = self.bucket.head(&link)?;
                head.metadata.kind = Kind::Symlink;
                Ok((link, head))
            }
            head => Ok((key, head?)),
        }
    }
}

impl Dir for ObjectDir {
    fn metadata(&self) -> Result<Metadata> {
        Ok(self.bucket.metadata_of_directory(&self.prefix))
    }

    fn list(&self, each: &mut dyn FnMut(&Name, Hint)) -> Result<()> {
        self.read(Span::default(), &mut Alone(each))
    }

    fn read(&self, span: Span, reader: &mut dyn NameReader) -> Result<()> {
        spans::read(self, span, reader)
    }

    fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        let prefix = self.key(Op::Open, name)? + "/";
        Ok(Arc::new(Self::new(self.bucket.clone(), prefix)))
    }

    fn stat(&self, name: &Name) -> Result<Metadata> {
        match self.find(Op::Stat, name) {
            Ok((_, head)) => Ok(head.metadata),
            Err(error) if error.cause.is_vanished() => {
                let prefix = self.key(Op::Stat, name)? + "/";
                if self.bucket.has_below(&prefix)? {
                    Ok(self.bucket.metadata_of_directory(&prefix))
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }

    fn peek(&self, name: &Name, hint: Hint) -> Result<Metadata> {
        let key = self.key(Op::Stat, name)?;
        if let Some(metadata) = self.bucket.metadata_hinted(&key, hint) {
            return Ok(metadata);
        }
        match self.index().find(&self.bucket, &self.prefix, name)? {
            Found::There(hint) => match self.bucket.metadata_hinted(&key, hint) {
                Some(metadata) => Ok(metadata),
                None => self.stat(name),
            },
            Found::Missing => Err(Op::Stat.errno(libc::ENOENT)),
            Found::Unknown => self.stat(name),
        }
    }

    fn stat_followed(&self, name: &Name) -> Result<Metadata> {
        self.stat(name)
    }

    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>> {
        let (key, head) = self.find(Op::Open, name)?;
        let end = head.metadata.size_bytes;
        if end > S3_WHOLE_BYTES_MAX {
            self.bucket.memory.keep(&key, &head);
        }
        Ok(Box::new(ObjectFile::new(self.bucket.clone(), key, head, end)))
    }

    fn open_listed(&self, name: &Name, hint: Hint) -> Result<Box<dyn SourceFile>> {
        match hint {
            Hint::Object(listed) if listed.size_bytes <= S3_WHOLE_BYTES_MAX => {
                let key = self.key(Op::Open, name)?;
                Ok(Box::new(ObjectFile::whole(self.bucket.clone(), key)?))
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
        Ok(Box::new(reader::open_extent(&self.bucket, key, identity.inode, extent)?))
    }

    fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        let (key, head) = self.find(Op::ReadLink, name)?;
        let length = head.metadata.size_bytes;
        if length > libc::PATH_MAX as u64 {
            return Err(Op::ReadLink.errno(libc::ENAMETOOLONG));
        }
        let file = ObjectFile::new(self.bucket.clone(), key, head, length);
        let mut target = vec![0; length as usize];
        let count = file.read_at(&mut target, 0)?;
        target.truncate(count);
        Ok(target)
    }

    fn xattrs(&self, _name: Option<&Name>) -> Result<Option<Xattrs>> {
        Ok(None)
    }

    /// Directories come with what is in them.
    fn make_dir(&self, name: &Name, _mode: u32) -> Result<Made> {
        match self.peek(name, Hint::Unknown) {
            Ok(metadata) if metadata.kind == Kind::Directory => Ok(Made::Existed),
            Ok(_) => Err(Op::MakeDir.failed(Cause::KindDiffers)),
            Err(error) if error.cause.is_vanished() => {
                self.index().note_directory(name);
                Ok(Made::New)
            }
            Err(error) => Err(error),
        }
    }

    fn stage_file(&self, new: &NewFile<'_>) -> Result<Box<dyn StagedFile>> {
        let key = self.key(Op::Create, new.name)?;
        let what = (Kind::File, new.size_bytes);
        let object = self.new_object(key, what, new.mtime, new.attributes);
        self.index().doubt(new.name);
        let bucket = self.bucket.clone();
        Ok(Box::new(match new.chunk_bytes {
            Some(part_bytes) => ObjectStaged::in_parts(bucket, object, part_bytes)?,
            None => ObjectStaged::whole(bucket, object),
        }))
    }

    fn join_staged(&self, ticket: &[u8], name: &Name) -> Result<Box<dyn StagedFile>> {
        let key = self.key(Op::Open, name)?;
        let object = self.new_object(key, (Kind::File, 0), None, Attributes::NONE);
        Ok(Box::new(ObjectStaged::join(self.bucket.clone(), object, ticket)?))
    }

    fn make_symlink(&self, link: &NewSymlink<'_>) -> Result<Kept> {
        let key = self.key(Op::Symlink, link.name)?;
        let size_bytes = link.points_to.len() as u64;
        let key = match self.bucket.service.settings.metadata.link_form() {
            LinkForm::FileType => key,
            LinkForm::Suffix => key + RCLONE_LINK_SUFFIX,
        };
        let what = (Kind::Symlink, size_bytes);
        let object = self.new_object(key, what, link.mtime, &link.attributes);
        self.index().doubt(link.name);
        self.bucket.put_whole(&object, &bytes::Bytes::copy_from_slice(link.points_to))?;
        Ok(Kept::ALL)
    }

    /// There is nothing that could have them.
    fn set_attributes(&self, _attributes: &Attributes) -> Result<Kept> {
        Ok(Kept::ALL)
    }

    /// Objects do not change: it becomes a copy of itself.
    fn set_entry_attributes(
        &self,
        name: &Name,
        kind: Kind,
        attributes: &Attributes,
    ) -> Result<Kept> {
        let (key, head) = self.find(Op::SetMode, name)?;
        let size_bytes = head.metadata.size_bytes;
        let mtime = attributes.times.map_or(head.metadata.mtime, |times| times.mtime);
        let file = ObjectFile::new(self.bucket.clone(), key.clone(), head, size_bytes);
        let from = file.address().ok_or(Op::SetMode.errno(libc::EINVAL))?;
        let object = self.new_object(key, (kind, size_bytes), Some(mtime), attributes);
        self.bucket.copy_whole(&object, &from).map(|()| Kept::ALL)
    }

    fn remove(&self, name: &Name, kind: Kind) -> Result<()> {
        self.index().doubt(name);
        let key = self.key(Op::Remove, name)?;
        match kind {
            // It goes with the last object in it; its marker is one.
            Kind::Directory => self.bucket.remove(&(key + "/")),
            Kind::Symlink => {
                self.bucket.remove(&(key.clone() + RCLONE_LINK_SUFFIX))?;
                self.bucket.remove(&key)
            }
            _ => self.bucket.remove(&key),
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

impl Pages for ObjectDir {
    fn page(&self, from: From<'_>) -> Result<Page> {
        self.bucket.page(&self.prefix, from, Page::KEYS_MAX)
    }
}

/// Who wants all names for itself, and to know nothing of what can be none.
struct Alone<'e>(&'e mut dyn FnMut(&Name, Hint));

impl NameReader for Alone<'_> {
    fn name(&mut self, name: &Name, hint: Hint) {
        (self.0)(name, hint);
    }

    fn unfit(&mut self, _key: &[u8], _why: Unfit) {}

    fn wants_to_share(&self) -> bool {
        false
    }

    fn share(&mut self, _rest: Span) {}
}

impl Bucket {
    fn remove(&self, key: &str) -> Result<()> {
        self.service.call(Op::Remove, |client| {
            client
                .delete_object()
                .bucket(&self.name)
                .key(key)
                .set_request_payer(self.payer())
                .send()
        })?;
        Ok(())
    }
}
