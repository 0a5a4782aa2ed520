//! What a service keeps with an object for those who fetch it, besides content and attributes.

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
    /// Where those who ask for it by a website are sent instead.
    pub website_redirect: Option<String>,
    /// `x-amz-meta-…`, attributes of files among it.
    pub user: UserMetadata,
    /// How the service keeps it, which is its own affair, and no other object's.
    pub storage: Storage,
}

/// How a service keeps an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Storage {
    /// Storage class; none where it is the usual one.
    pub class: Option<String>,
    /// Encryption at rest.
    pub sse: Option<String>,
    /// The key for that.
    pub sse_kms_key_id: Option<String>,
    /// It may not be removed before some time, or at all.
    pub is_locked: bool,
}

impl ObjectHeaders {
    /// Content-Encoding without `aws-chunked`, which is about a request's body and is kept by some
    /// services all the same.
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
