//! Headers that a service stores with an object for its readers, besides content and attributes.

use crate::object::metadata::UserMetadata;

/// Headers of an object, and the metadata of its users.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectHeaders {
    /// Content-Type.
    pub content_type: Option<String>,
    /// Content-Encoding.
    pub content_encoding: Option<String>,
    /// Content-Disposition.
    pub content_disposition: Option<String>,
    /// Content-Language.
    pub content_language: Option<String>,
    /// Cache-Control.
    pub cache_control: Option<String>,
    /// Expires, as in HTTP.
    pub expires: Option<String>,
    /// Location to which a website endpoint redirects requests for the object.
    pub website_redirect: Option<String>,
    /// User metadata, `x-amz-meta-…`, with file attributes among it.
    pub user: UserMetadata,
    /// Storage properties, which are the service's own affair and are not copied to other objects.
    pub storage: Storage,
}

/// Way in which a service stores an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Storage {
    /// Storage class; `None` for the standard one.
    pub class: Option<String>,
    /// Encryption at rest.
    pub sse: Option<String>,
    /// Key of the encryption at rest.
    pub sse_kms_key_id: Option<String>,
    /// True where the object is locked: not to be removed before some time, or at all.
    pub is_locked: bool,
}

impl ObjectHeaders {
    /// Returns the Content-Encoding without `aws-chunked`, which belongs to a request's body and is
    /// stored by some services all the same.
    pub fn own_encoding(&self) -> Option<String> {
        let codings = self.content_encoding.as_deref()?.split(',').map(str::trim);
        let own: Vec<_> =
            codings.filter(|coding| !coding.is_empty() && *coding != "aws-chunked").collect();
        (!own.is_empty()).then(|| own.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_of_requests_is_not_the_objects() {
        let own = |text: &str| {
            let content_encoding = Some(text.to_owned());
            ObjectHeaders { content_encoding, ..ObjectHeaders::default() }.own_encoding()
        };
        assert_eq!(own("aws-chunked"), None);
        assert_eq!(own("aws-chunked, gzip"), Some("gzip".to_owned()));
        assert_eq!(own("gzip"), Some("gzip".to_owned()));
        assert_eq!(ObjectHeaders::default().own_encoding(), None);
    }
}
