//! Tags and grants of an object, as requests carry them.

use aws_sdk_s3::types::TaggingDirective;

/// The tags of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Tags {
    /// The copy gets the tags of its source where the service copies it in one request, and none
    /// otherwise.
    #[default]
    AsTheService,
    /// The copy gets no tags.
    Dropped,
    /// The copy gets these tags, in the encoding of the `x-amz-tagging` header.
    These(String),
}

/// The grants of an object's access control list, in the encoding of the `x-amz-grant-…` headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Grants {
    /// The grantees with all permissions.
    pub full_control: Option<String>,
    /// The grantees that may read the object.
    pub read: Option<String>,
    /// The grantees that may read the access control list.
    pub read_acp: Option<String>,
    /// The grantees that may write the access control list.
    pub write_acp: Option<String>,
}

impl Tags {
    /// Returns the tagging directive of a request that copies in one piece.
    pub fn directive(&self) -> Option<TaggingDirective> {
        (*self != Self::AsTheService).then_some(TaggingDirective::Replace)
    }

    /// Returns the header with the tags of a new upload.
    pub fn header(&self) -> Option<String> {
        match self {
            Self::These(tags) => Some(tags.clone()),
            Self::AsTheService | Self::Dropped => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_not_to_have_the_tags_of_its_source_replaces_them() {
        assert_eq!(Tags::AsTheService.directive(), None);
        assert_eq!(Tags::Dropped.directive(), Some(TaggingDirective::Replace));
    }
}
