//! What a service's refusal means.

use std::error::Error;
use std::io;

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
        SdkError::DispatchFailure(failure) => {
            let error = failure.as_connector_error();
            Cause::Service(error.map_or(ServiceFault::Unreachable, |error| unreached(error)))
        }
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

/// Why there was no connection, as far as the layers below the client tell.
fn unreached(error: &(dyn Error + 'static)) -> ServiceFault {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            let inner = io.get_ref();
            if io.kind() == io::ErrorKind::ConnectionRefused {
                return ServiceFault::Refused;
            }
            if inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some() {
                return ServiceFault::Untrusted;
            }
        }
        // The client's resolver has no type of its own for this.
        if error.to_string().starts_with("dns error") {
            return ServiceFault::UnknownHost;
        }
        next = error.source();
    }
    ServiceFault::Unreachable
}

fn of_code(code: &str) -> Option<Cause> {
    Some(match code {
        "NoSuchUpload" | "InvalidPart" => Cause::Service(ServiceFault::NoUpload),
        "NoSuchKey" | "NotFound" => Cause::System(libc::ENOENT),
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
