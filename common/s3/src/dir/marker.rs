//! Markers of directories: empty objects whose keys end in a slash, with the attributes of the
//! directories as metadata.

use super::{DENIED, ObjectDir};
use crate::client::fault::is_refusal;
use crate::read::head::Head;
use crate::write::fields::{Like, has_xattrs};
use types::entry::{Attributes, Kind, Preserved};
use types::error::Result;
use types::outcome::difference::Fields;

impl ObjectDir {
    /// Returns whether this directory gets a marker. The root of a bucket has no key of its own.
    pub(super) fn has_marker(&self) -> bool {
        self.bucket.service.settings.directory_markers && !self.prefix.is_empty()
    }

    /// Creates the marker, if directories have markers.
    pub(super) fn make_marker(&self) -> Result<()> {
        if self.has_marker() { self.put_marker(Attributes::NONE).map(|_| ()) } else { Ok(()) }
    }

    /// Sets the attributes of the directory on its marker. A service that is known to keep none
    /// gets no request.
    pub(super) fn set_on_marker(&self, attributes: &Attributes) -> Result<Preserved> {
        let known = &self.bucket.service.capabilities.marker_metadata;
        let lost = |preserved| Preserved {
            attributes_lost: true,
            is_unstored: true,
            properties_lost: false,
            ..preserved
        };
        let asks = attributes.times.is_some();
        if asks && known.get() == Some(&false) {
            return Ok(lost(Preserved { xattrs_lost: has_xattrs(attributes), ..Preserved::ALL }));
        }
        let preserved = self.write_marker(attributes)?;
        let is_stored = asks && !preserved.attributes_lost && !preserved.is_unstored;
        if is_stored
            && known.get().is_none()
            && let Ok(marker) = self.bucket.head(&self.prefix)
        {
            // File systems behind a gateway present a directory of their own instead of the marker,
            // without metadata.
            let _ = known.set(marker.metadata.known.contains(Fields::MTIME));
        }
        let is_lost = is_stored && known.get() == Some(&false);
        Ok(if is_lost { lost(preserved) } else { preserved })
    }

    fn write_marker(&self, attributes: &Attributes) -> Result<Preserved> {
        let Some(old) = self.older_marker()? else { return self.put_marker(attributes) };
        let is_empty = old.metadata.size_bytes == 0;
        match self.copy_onto_itself(self.prefix.clone(), old, Kind::Directory, attributes) {
            // Such gateways refuse to copy it. An empty marker can be written anew without losing
            // content.
            Err(error) if is_empty && (error.cause.is_vanished() || is_refusal(error.cause)) => {
                let preserved = self.put_marker(attributes)?;
                Ok(Preserved { properties_lost: true, ..preserved })
            }
            copied => copied,
        }
    }

    /// Returns the marker of this directory that an earlier job or another tool has written. A
    /// marker of this job is not returned: it has no attributes of others to preserve.
    fn older_marker(&self) -> Result<Option<Head>> {
        match self.bucket.head(&self.prefix) {
            Ok(marker) => {
                let is_older = self.bucket.service.is_older_than_job(marker.metadata.ctime);
                Ok(Some(marker).filter(|_| is_older))
            }
            Err(error) if error.cause.is_vanished() || error.cause == DENIED => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn put_marker(&self, attributes: &Attributes) -> Result<Preserved> {
        let mtime = attributes.times.map(|times| times.mtime);
        let (key, what) = (self.prefix.clone(), (Kind::Directory, 0));
        let marker = self.new_object(key, what, mtime, attributes, Like::Nothing);
        self.bucket.put_whole(&marker, &bytes::Bytes::new()).map(|_| marker.preserved)
    }
}
