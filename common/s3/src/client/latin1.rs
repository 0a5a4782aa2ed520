//! Header values that are not UTF-8.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

/// Converts header values in ISO 8859-1 to UTF-8. RFC 9110, section 5.5, permits any bytes from
/// 0x80 on in values, but the client ignores such metadata or rejects the whole answer.
pub fn read_latin1(answer: &mut HttpResponse) {
    let is_other = |(_, value): &(&str, &[u8])| std::str::from_utf8(value).is_err();
    let text = |value: &[u8]| value.iter().map(|byte| char::from(*byte)).collect::<String>();
    let others = answer.headers().iter_bytes().filter(is_other);
    let others: Vec<_> = others.map(|(name, value)| (name.to_owned(), text(value))).collect();
    for (name, value) in others {
        if let Err(error) = answer.headers_mut().try_insert(name, value) {
            tracing::warn!(%error, "a header cannot be read");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_in_latin1_can_be_read() {
        let mut answer = http::Response::new(aws_smithy_types::body::SdkBody::empty());
        for (name, value) in [("latin", &b"J\xf6rg"[..]), ("utf", "J\u{f6}rg".as_bytes())] {
            answer.headers_mut().insert(name, http::HeaderValue::from_bytes(value).unwrap());
        }
        let mut answer = HttpResponse::try_from(answer).unwrap();
        assert_eq!(answer.headers().get("latin"), None);
        read_latin1(&mut answer);
        assert_eq!(["latin", "utf"].map(|name| answer.headers().get(name)), [Some("J\u{f6}rg"); 2]);
    }
}
