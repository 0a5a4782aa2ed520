//! What a service's refusal means.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::base::error::Cause;
use crate::base::service::{ServiceFault, Unfit};

/// The cause behind a failed request (Amazon S3 API Reference, "Error responses").
pub(super) fn cause<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Cause {
    match error {
        SdkError::TimeoutError(_) => Cause::Service(ServiceFault::TimedOut),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            Cause::Service(ServiceFault::TimedOut)
        }
        SdkError::DispatchFailure(_) => Cause::Service(ServiceFault::Unreachable),
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            answer.err().code().and_then(of_code).unwrap_or_else(|| of_status(status))
        }
        SdkError::ResponseError(answer) if !answer.raw().status().is_success() => {
            of_status(answer.raw().status().as_u16())
        }
        _ => Cause::Service(ServiceFault::Protocol),
    }
}

fn of_code(code: &str) -> Option<Cause> {
    Some(match code {
        "NoSuchKey" | "NotFound" | "NoSuchUpload" => Cause::System(libc::ENOENT),
        "NoSuchBucket" => Cause::Service(ServiceFault::NoBucket),
        "AccessDenied" | "AllAccessDisabled" => Cause::System(libc::EACCES),
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "RequestTimeTooSkewed"
        | "AuthorizationHeaderMalformed" => Cause::Service(ServiceFault::Credentials),
        "PermanentRedirect" | "IllegalLocationConstraintException" => {
            Cause::Service(ServiceFault::OtherRegion)
        }
        "SlowDown" | "Throttling" | "TooManyRequests" | "ServiceUnavailable" => {
            Cause::Service(ServiceFault::Busy)
        }
        "BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" => Cause::Corrupt,
        "PreconditionFailed" | "InvalidRange" => Cause::Changed,
        "EntityTooLarge" => Cause::System(libc::EFBIG),
        "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" => Cause::System(libc::EDQUOT),
        "XMinioStorageFull" => Cause::System(libc::ENOSPC),
        "KeyTooLongError" => Cause::Key(Unfit::LongKey),
        "InvalidObjectState" => Cause::Service(ServiceFault::Archived),
        "NotImplemented" => Cause::System(libc::EOPNOTSUPP),
        _ => return None,
    })
}

fn of_status(status: u16) -> Cause {
    match status {
        301 | 307 => Cause::Service(ServiceFault::OtherRegion),
        401 => Cause::Service(ServiceFault::Credentials),
        403 => Cause::System(libc::EACCES),
        404 => Cause::System(libc::ENOENT),
        412 | 416 => Cause::Changed,
        429 | 503 => Cause::Service(ServiceFault::Busy),
        501 => Cause::System(libc::EOPNOTSUPP),
        507 => Cause::System(libc::ENOSPC),
        status => Cause::Service(ServiceFault::Status(status)),
    }
}
