//! Translation of failed requests to errors: the cause, and what the service itself says, or what
//! arrived in place of an answer.

use std::error::Error;
use std::io;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use rustls::CertificateError;

use crate::client::answers::TooLong;
use crate::client::whole::NotWhole;
use types::error::Cause;
use types::limits::{SHOWN_ANSWER_CHARS_MAX, SHOWN_MESSAGE_CHARS_MAX};
use types::service::{Details, InvalidKey, ServiceFault};

/// Returns the cause of a failed request, and further details (Amazon S3 API Reference, "Error
/// responses").
pub(crate) fn explain<E>(error: &SdkError<E, HttpResponse>) -> (Cause, Option<Details>)
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (cause, details) = match error {
        SdkError::ServiceError(answer) => refused(answer.err(), answer.raw()),
        SdkError::ResponseError(answer) if answer.raw().status().is_success() => {
            torn(error, answer.raw())
        }
        SdkError::ResponseError(answer) => unread(answer.raw()),
        SdkError::TimeoutError(_) => (Cause::Service(ServiceFault::TimedOut), Details::default()),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            (Cause::Service(ServiceFault::TimedOut), Details::default())
        }
        SdkError::DispatchFailure(failure) => {
            let (fault, details) = failure.as_connector_error().map_or_else(
                || (ServiceFault::Unreachable, Details::default()),
                |it| unreached(it),
            );
            (Cause::Service(fault), details)
        }
        _ => (Cause::Service(ServiceFault::Protocol), Details::default()),
    };
    let is_answer = details.status.is_some();
    let details = Details { operation: operation::<E>().filter(|_| is_answer), ..details };
    // For a key that does not exist, the cause says it all.
    let is_news = details != Details::default() && !cause.is_vanished();
    (cause, is_news.then_some(details))
}

/// Returns whether an error may mean that the service does not implement a checksum.
pub(crate) fn is_refusal(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Service(ServiceFault::Status(400 | 405 | 411 | 415))
            | Cause::System(libc::EOPNOTSUPP)
    )
}

/// Returns the name of the S3 operation that has this type of errors, such as `ListObjectsV2`.
fn operation<E>() -> Option<String> {
    let name = std::any::type_name::<E>().rsplit("::").next()?;
    name.strip_suffix("Error").map(str::to_owned)
}

/// Translates an error answer, which should be an S3 error document.
fn refused(error: &impl ProvideErrorMetadata, answer: &HttpResponse) -> (Cause, Details) {
    let status = answer.status().as_u16();
    let Some(code) = error.code() else { return unread(answer) };
    let message = error.message().map(|words| shortened(words, SHOWN_MESSAGE_CHARS_MAX));
    let details = Details { code: Some(code.to_owned()), message, ..details_of(answer) };
    (of_code(code).unwrap_or_else(|| of_status(status)), details)
}

/// Translates a successful answer that broke off, or was never complete.
fn torn(error: &(dyn Error + 'static), answer: &HttpResponse) -> (Cause, Details) {
    let message = causes(error).find_map(|cause| cause.downcast_ref::<NotWhole>());
    let message = message.map(|it| shortened(&it.to_string(), SHOWN_MESSAGE_CHARS_MAX));
    (Cause::Service(ServiceFault::Torn), Details { message, ..details_of(answer) })
}

/// Translates an answer that is not a document of S3, and quotes its beginning.
fn unread(answer: &HttpResponse) -> (Cause, Details) {
    let body = answer.body().bytes().unwrap_or_default();
    let head = shortened(&String::from_utf8_lossy(body), SHOWN_ANSWER_CHARS_MAX);
    let message = (!head.is_empty()).then(|| format!("the answer begins with {head}"));
    let cause = match answer.status() {
        status if status.is_success() => Cause::Service(ServiceFault::Unreadable),
        _ if is_of_proxy(answer) => Cause::Service(ServiceFault::Proxy),
        status => of_status(status.as_u16()),
    };
    (cause, Details { message, ..details_of(answer) })
}

fn details_of(answer: &HttpResponse) -> Details {
    let request_id = answer.request_id().map(|id| shortened(id, SHOWN_ANSWER_CHARS_MAX));
    Details { status: Some(answer.status().as_u16()), request_id, ..Details::default() }
}

/// Headers by which a proxy marks an answer as its own. They only count if the answer has no
/// request identifier, which every service adds.
const OF_PROXIES: [&str; 5] =
    ["proxy-authenticate", "proxy-status", "x-squid-error", "x-cache", "via"];
/// The status by which a proxy demands credentials (RFC 9110, section 15.5.8).
const PROXY_AUTHENTICATION_REQUIRED: u16 = 407;

fn is_of_proxy(answer: &HttpResponse) -> bool {
    let headers = answer.headers();
    let is_marked = OF_PROXIES.into_iter().any(|name| headers.contains_key(name));
    answer.status().as_u16() == PROXY_AUTHENTICATION_REQUIRED
        || is_marked && answer.request_id().is_none()
}

/// Joins text into one line, and truncates it if it is too long.
fn shortened(text: &str, chars_max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Iterates over an error and its causes, including those inside an [`io::Error`], whose `source`
/// skips the inner error itself.
fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> + use<'e> {
    std::iter::successors(Some(error), |error| behind(*error))
}

fn behind<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inside.map(|inside| inside as &(dyn Error + 'static)).or_else(|| error.source())
}

/// Returns why there was no answer, as far as the network layers tell.
fn unreached(error: &(dyn Error + 'static)) -> (ServiceFault, Details) {
    let fault = causes(error).find_map(fault_of).unwrap_or(ServiceFault::Unreachable);
    // These faults need no further words.
    let is_plain = matches!(fault, ServiceFault::Refused | ServiceFault::UnknownHost);
    let last = causes(error).last().filter(|_| !is_plain);
    let message = last.map(|last| shortened(&last.to_string(), SHOWN_MESSAGE_CHARS_MAX));
    (fault, Details { message, ..Details::default() })
}

/// Prefixes of error messages whose types are private to their crates.
const BY_WORDS: [(&str, ServiceFault); 3] = [
    ("dns error", ServiceFault::UnknownHost),
    ("tunnel error", ServiceFault::Proxy),
    ("invalid HTTP", ServiceFault::NotHttp),
];

/// Classifies one error of the network layers.
fn fault_of(error: &(dyn Error + 'static)) -> Option<ServiceFault> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(tls_fault(error));
    }
    if error.is::<TooLong>() {
        return Some(ServiceFault::Protocol);
    }
    let io = error.downcast_ref::<io::Error>();
    if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
        return Some(ServiceFault::Refused);
    }
    let words = error.to_string();
    BY_WORDS.into_iter().find(|(begin, _)| words.starts_with(begin)).map(|(_, fault)| fault)
}

/// Classifies a failure of TLS by what the user can do about it.
fn tls_fault(error: &rustls::Error) -> ServiceFault {
    use CertificateError as Certificate;
    match error {
        rustls::Error::InvalidMessage(_) => ServiceFault::NotTls,
        rustls::Error::InvalidCertificate(why) => match why {
            Certificate::UnknownIssuer => ServiceFault::Untrusted,
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                ServiceFault::WrongHost
            }
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. } => ServiceFault::CertificateExpired,
            _ => ServiceFault::Tls,
        },
        _ => ServiceFault::Tls,
    }
}

/// Translates an error code of S3, or of a service that extends it; `None` for codes that only
/// their own text explains.
pub(crate) fn of_code(code: &str) -> Option<Cause> {
    Some(match code {
        "NoSuchUpload" | "InvalidPart" => Cause::Service(ServiceFault::NoUpload),
        "NoSuchKey" | "NotFound" => Cause::System(libc::ENOENT),
        "NoSuchBucket" => Cause::Service(ServiceFault::NoBucket),
        "AccessDenied" | "AllAccessDisabled" => Cause::System(libc::EACCES),
        "InvalidAccessKeyId" | "InvalidToken" => Cause::Service(ServiceFault::Credentials),
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired" => {
            Cause::Service(ServiceFault::Expired)
        }
        "SignatureDoesNotMatch" | "AuthorizationHeaderMalformed" => {
            Cause::Service(ServiceFault::Signature)
        }
        "RequestTimeTooSkewed" => Cause::Service(ServiceFault::Clock),
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
        "KeyTooLongError" => Cause::Key(InvalidKey::LongKey),
        "InvalidObjectState" => Cause::Service(ServiceFault::Archived),
        "NotImplemented" => Cause::System(libc::EOPNOTSUPP),
        _ => return None,
    })
}

/// Translates the status of an error answer without a known code.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Error;
    use aws_sdk_s3::primitives::SdkBody;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    fn told(
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &'static str,
        metadata: ErrorMetadata,
    ) -> (Cause, String) {
        let mut answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
        for (name, value) in headers {
            answer.headers_mut().insert(*name, *value);
        }
        let error = SdkError::service_error(ListObjectsV2Error::generic(metadata), answer);
        let (cause, details) = explain(&error);
        (cause, details.map(|details| details.to_string()).unwrap_or_default())
    }

    fn plain(
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &'static str,
    ) -> (Cause, String) {
        told(status, headers, body, ErrorMetadata::builder().build())
    }

    #[test]
    fn a_refusal_is_told_in_the_services_own_words() {
        let metadata = ErrorMetadata::builder().code("ExpiredToken").message("It has\nexpired.");
        let id = [("x-amz-request-id", "R1")];
        let expected = "ListObjectsV2: ExpiredToken: It has expired.: request R1";
        let fault = Cause::Service(ServiceFault::Expired);
        assert_eq!(told(400, &id, "", metadata.build()), (fault, expected.to_owned()));
        let unheard = ErrorMetadata::builder().code("KMS.DisabledException").build();
        let fault = Cause::Service(ServiceFault::Status(400));
        let expected = "ListObjectsV2: KMS.DisabledException";
        assert_eq!(told(400, &[], "", unheard), (fault, expected.to_owned()));
        assert_eq!(plain(404, &[], ""), (Cause::System(libc::ENOENT), String::new()));
        let denied = "ListObjectsV2: HTTP 403: request R1";
        assert_eq!(plain(403, &id, ""), (Cause::System(libc::EACCES), denied.to_owned()));
    }

    #[test]
    fn what_came_instead_of_an_answer_is_shown() {
        let page = "<html>\n<body>Please log in</body></html>";
        let (cause, words) = plain(200, &[], page);
        assert_eq!(cause, Cause::Service(ServiceFault::Unreadable));
        assert!(words.ends_with("begins with <html> <body>Please log in</body></html>"), "{words}");
        let long: &'static str = "é".repeat(5_000).leak();
        assert!(plain(200, &[], long).1.chars().count() < 500);
    }

    #[test]
    fn a_proxys_answer_is_called_a_proxys() {
        let proxy = Cause::Service(ServiceFault::Proxy);
        assert_eq!(plain(407, &[], "").0, proxy);
        assert_eq!(plain(403, &[("x-squid-error", "ERR_ACCESS_DENIED 0")], "<html>").0, proxy);
        let passed_on = [("via", "1.1 nginx"), ("x-amz-request-id", "R1")];
        assert_eq!(plain(403, &passed_on, "").0, Cause::System(libc::EACCES));
    }

    fn unanswered(error: impl Error + Send + Sync + 'static) -> ServiceFault {
        let error = ConnectorError::io(Box::new(error));
        let error = SdkError::<ListObjectsV2Error, HttpResponse>::dispatch_failure(error);
        match explain(&error).0 {
            Cause::Service(fault) => fault,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn trouble_with_tls_is_called_that_however_deep_it_is() {
        let nested = |error: rustls::Error| {
            let inner = io::Error::new(io::ErrorKind::InvalidData, error);
            io::Error::other(io::Error::other(inner))
        };
        let certificate = |why| nested(rustls::Error::InvalidCertificate(why));
        for (why, expected) in [
            (CertificateError::UnknownIssuer, ServiceFault::Untrusted),
            (CertificateError::NotValidForName, ServiceFault::WrongHost),
            (CertificateError::Expired, ServiceFault::CertificateExpired),
            (CertificateError::NotValidYet, ServiceFault::CertificateExpired),
            (CertificateError::Revoked, ServiceFault::Tls),
        ] {
            assert_eq!(unanswered(certificate(why)), expected);
        }
        let spoken = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert_eq!(unanswered(nested(spoken)), ServiceFault::NotTls);
        let other = rustls::Error::Other(rustls::OtherError(Arc::new(io::Error::other("x"))));
        assert_eq!(unanswered(nested(other)), ServiceFault::Tls);
    }

    #[test]
    fn other_trouble_with_connections_has_its_words_too() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(unanswered(io::Error::other(refused)), ServiceFault::Refused);
        let unknown = io::Error::other("dns error: no such host");
        assert_eq!(unanswered(unknown), ServiceFault::UnknownHost);
        assert_eq!(unanswered(io::Error::other("tunnel error: unsuccessful")), ServiceFault::Proxy);
        assert_eq!(unanswered(io::Error::other("reset")), ServiceFault::Unreachable);
    }
}
