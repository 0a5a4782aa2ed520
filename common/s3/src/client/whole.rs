//! Proof that an answer is complete, before anything in it is used.
//!
//! Everything but the content of objects is read to its end here, within bounds of bytes and time.
//! A document must close all elements that it opens, must be the one that belongs to the request,
//! and must have as many entries as it declares. Anything else is an answer that broke off, and the
//! client retries. A listing that was truncated on its way would otherwise pass for a complete one.
//! The content of objects is verified where it is read.

mod body;
mod document;
mod elements;
mod not_whole;

use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::body::SdkBody;

use crate::client::latin1::read_latin1;
use body::Proved;
pub(crate) use body::bounded;
use document::Document;
pub(crate) use not_whole::NotWhole;

/// A hook that turns an incomplete answer into an error.
#[derive(Debug)]
pub(crate) struct WholeAnswers;

/// The form of an answer's body, by which its completeness can be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// An XML document of this type.
    Document(&'static Document),
    /// An empty body. Anything else comes from another server than the service.
    Nothing,
    /// A body that adds nothing to the status. It is read up to a bound.
    Remark,
}

impl Form {
    /// Returns the form of an operation's answer; `None` for the content of an object.
    fn of(operation: &str, is_success: bool) -> Option<Self> {
        match operation {
            _ if !is_success => Some(Self::Remark),
            "GetObject" => None,
            "DeleteObject" | "AbortMultipartUpload" => Some(Self::Nothing),
            _ => Some(Document::of(operation).map_or(Self::Remark, Self::Document)),
        }
    }
}

impl Intercept for WholeAnswers {
    fn name(&self) -> &'static str {
        "WholeAnswers"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map_or("", Metadata::name);
        let response = context.response_mut();
        read_latin1(response);
        if let Some(form) = Form::of(operation, response.status().is_success()) {
            let body = response.take_body();
            *response.body_mut() = SdkBody::from_body_1_x(Proved::new(body, form));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_has_its_form() {
        assert_eq!(Form::of("GetObject", true), None);
        assert_eq!(Form::of("GetObject", false), Some(Form::Remark));
        assert_eq!(Form::of("PutObject", true), Some(Form::Remark));
        assert_eq!(Form::of("DeleteObject", true), Some(Form::Nothing));
        assert_eq!(Form::of("ListObjectsV2", false), Some(Form::Remark));
        for operation in [
            "ListObjects",
            "ListObjectsV2",
            "ListMultipartUploads",
            "ListParts",
            "CreateMultipartUpload",
            "CompleteMultipartUpload",
            "CopyObject",
            "DeleteObjects",
            "UploadPartCopy",
            "GetObjectTagging",
            "GetObjectAcl",
        ] {
            assert!(matches!(Form::of(operation, true), Some(Form::Document(_))), "{operation}");
        }
    }
}
