//! URLs of services: whether requests can be made to one, and which of its parts may be shown.

use crate::config::error::EndpointError;

/// Checks that an endpoint is a URL of HTTP or HTTPS with a host, and without parts that may hold
/// secrets.
///
/// # Errors
/// Returns what is wrong with the URL, without the parts that may be secret.
pub fn check_endpoint(url: &str) -> Result<(), EndpointError> {
    if may_hold_secrets(url) {
        return Err(EndpointError::Secrets { shown: without_secrets(url) });
    }
    let parsed = url.parse::<::http::Uri>().ok();
    let is_http = |uri: &::http::Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    let is_good =
        |uri: ::http::Uri| is_http(&uri) && uri.host().is_some_and(|host| !host.is_empty());
    if parsed.is_some_and(is_good) {
        Ok(())
    } else {
        Err(EndpointError::Malformed { url: url.to_owned() })
    }
}

/// Returns whether a URL has a user, a query or a fragment, in which passwords and tokens may be.
pub fn may_hold_secrets(url: &str) -> bool {
    url.contains(['@', '?', '#'])
}

/// Returns a URL without its user, query and fragment, for display.
fn without_secrets(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = plain.split_once("://").unwrap_or(("", plain));
    match rest.rsplit_once('@') {
        Some((_, host)) if scheme.is_empty() => format!("…@{host}"),
        Some((_, host)) => format!("{scheme}://…@{host}"),
        None => plain.to_owned(),
    }
}

/// Adds a slash to the end of an endpoint that has a path: the client's rules for endpoints append
/// the bucket without a separator.
#[cfg(feature = "client")]
pub(crate) fn with_slash(url: String) -> String {
    let has_path = url.splitn(4, '/').nth(3).is_some_and(|path| !path.is_empty());
    if has_path && !url.ends_with('/') { url + "/" } else { url }
}

/// Returns whether a URL is one of AWS's own hosts, which expect the bucket in the host name.
#[cfg(feature = "client")]
pub(crate) fn is_aws(url: &str) -> bool {
    let uri = url.parse::<::http::Uri>().ok();
    let host = uri.as_ref().and_then(::http::Uri::host).unwrap_or_default();
    let host = host.to_ascii_lowercase();
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_in_an_endpoint_is_refused_and_not_shown() {
        for url in [
            "http://user:hush@host:9000",
            "user:hush@host:9000",
            "http://host/?token=hush",
            "https://hush@host/path#hush",
            "http://a:hu@sh@host",
        ] {
            let why = check_endpoint(url).unwrap_err().to_string();
            assert!(why.contains("host") && why.contains("without a user"), "{why}");
            assert!(!why.contains("hush") && !why.contains("hu@sh"), "{why}");
        }
        assert_eq!(check_endpoint("http://host:9000/s3/v1"), Ok(()));
        assert!(check_endpoint("host:9000").unwrap_err().to_string().contains("http://HOST:PORT"));
    }

    #[test]
    fn an_endpoints_path_ends_in_a_slash() {
        let of = |url: &str| with_slash(url.to_owned());
        assert_eq!(of("http://h:1/s3/v1"), "http://h:1/s3/v1/");
        assert_eq!(of("http://h:1/s3/v1/"), "http://h:1/s3/v1/");
        assert_eq!(
            (of("http://h:1"), of("http://h:1/")),
            ("http://h:1".into(), "http://h:1/".into())
        );
    }
}
