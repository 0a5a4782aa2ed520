//! Proof that an answer is whole, before anything in it is believed.
//!
//! What is not an object's content is read to its end here, within bounds of bytes and time. A document must close
//! all that it opens, be the one that belongs to the request, and have as many entries as it says. Anything else is
//! an answer that broke off: the client tries again. Contents of objects are checked where they are read.

mod body;
mod document;
mod elements;

use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::body::SdkBody;

use crate::client::http::read_latin1;
use body::Proved;
pub(crate) use body::bounded;
use document::Document;
pub(crate) use document::NotWhole;

/// Lets no answer through that is not whole.
#[derive(Debug)]
pub(crate) struct WholeAnswers;

/// How an answer's body shows that it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// It is this document.
    Document(&'static Document),
    /// It is empty: another answer is somebody else's.
    Nothing,
    /// It says no more than the status does, and is read as far as a bound.
    Remark,
}

impl Form {
    /// None for an object's content.
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
            "UploadPartCopy",
            "GetObjectTagging",
            "GetObjectAcl",
        ] {
            assert!(matches!(Form::of(operation, true), Some(Form::Document(_))), "{operation}");
        }
    }
}
