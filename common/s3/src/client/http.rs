//! HTTP connections for everything that accesses S3: TLS by rustls, with certificates and proxies
//! from the user's environment.

use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use base64::Engine;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::client::whole::bounded;
use crate::config::aws_profile::variable;
use crate::config::config_file;
use crate::config::rclone_conf::Environment;
use crate::config::settings::CaBundle;
use types::path::escaped;

/// The use of the proxies in `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxies {
    /// Proxies of the environment are used.
    Environment,
    /// Connections are direct, because the server is on this machine or its network.
    None,
}

impl Proxies {
    /// Returns the use of proxies for an endpoint. `NO_PROXY` is evaluated here first, since the
    /// HTTP client does not implement all of its forms.
    pub fn of(url: &str, environment: Environment<'_>) -> Self {
        let named = ["NO_PROXY", "no_proxy"];
        let no_proxy = named.into_iter().find_map(|name| variable(environment, name));
        let is_exempt = no_proxy.is_some_and(|entries| is_exempt(&entries, url));
        if is_exempt { Self::None } else { Self::Environment }
    }

    /// Returns the proxy that requests to an endpoint use, without its password, for display.
    pub fn shown(self, url: &str) -> Option<String> {
        let uri = url.parse::<http::Uri>().ok().filter(|_| self == Self::Environment)?;
        let proxy = Matcher::from_env().intercept(&uri)?;
        let authority = proxy.uri().authority()?.as_str();
        Some(format!("{}://{authority}", proxy.uri().scheme_str().unwrap_or("http")))
    }

    /// Converts the choice to a configuration of the HTTP client.
    pub fn config(self) -> ProxyConfig {
        match self {
            Self::Environment => ProxyConfig::from_env(),
            Self::None => ProxyConfig::disabled(),
        }
    }
}

/// Reason why a bundle of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file of the bundle cannot be read.
    #[error(transparent)]
    Read(#[from] config_file::ReadError),
    /// A file of the bundle does not exist, or has no usable certificate: trusting nobody would
    /// look like a failing service.
    #[error("{named_by}, \"{}\": {fault}", escaped(path.as_bytes()))]
    Unusable {
        /// Setting that names the file.
        named_by: String,
        /// Path of the file.
        path: String,
        /// Fault of the file.
        fault: &'static str,
    },
    /// The TLS implementation does not take the certificates.
    #[error("{0}")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Builds a client for a few requests, each with a connection of its own.
///
/// # Errors
/// Fails if the bundle of certificates cannot be used.
pub fn client(
    ca_bundle: Option<&CaBundle>,
    proxies: Proxies,
) -> Result<SharedHttpClient, TrustError> {
    let trust = tls_context(ca_bundle)?;
    let client = http_client_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .connector_settings(settings.clone())
            .proxy_config(proxies.config());
        connector.set_sleep_impl(components.sleep_impl());
        let connector = connector.tls_provider(tls_provider()).tls_context(trust.clone()).build();
        SharedHttpConnector::new(Bounded(SharedHttpConnector::new(connector)))
    });
    Ok(client)
}

/// Connections whose answers are bounded in size, for services that issue credentials.
#[derive(Debug)]
struct Bounded(SharedHttpConnector);

impl HttpConnector for Bounded {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            *answer.body_mut() = bounded(answer.take_body());
            Ok(answer)
        })
    }
}

/// The kind of connections that a client makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Connections with TLS, where the URL asks for it.
    Tls,
    /// Plain connections only, so that no certificates are read.
    Plain,
}

/// Builds connections that are kept alive for further requests.
///
/// # Errors
/// Fails if the bundle of certificates cannot be used.
pub fn pooled(
    ca_bundle: Option<&CaBundle>,
    (wire, proxies): (Wire, Proxies),
    waits: HttpConnectorSettings,
) -> Result<SharedHttpConnector, TrustError> {
    // A proxy may itself be reached by TLS.
    let may_have_proxy = proxies == Proxies::Environment && may_have_proxy();
    let is_plain = wire == Wire::Plain && !may_have_proxy;
    let proxies = if is_plain { Proxies::None } else { proxies }.config();
    let sleep = SharedAsyncSleep::new(TokioSleep::new());
    let connector = Connector::builder().connector_settings(waits).proxy_config(proxies);
    let connector = connector.sleep_impl(sleep);
    Ok(SharedHttpConnector::new(if is_plain {
        connector.build_http()
    } else {
        connector.tls_provider(tls_provider()).tls_context(tls_context(ca_bundle)?).build()
    }))
}

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

/// Builds a client that uses the given connections.
pub fn over(connections: SharedHttpConnector) -> SharedHttpClient {
    http_client_fn(move |_, _| connections.clone())
}

/// Returns whether the environment names a proxy for plain HTTP.
fn may_have_proxy() -> bool {
    let names = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    names.into_iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Returns the TLS implementation, which builds with no more than a C compiler.
pub fn tls_provider() -> Provider {
    Provider::Rustls(CryptoMode::Ring)
}

/// Returns the certificate authorities to trust: those of a bundle, or the system's.
///
/// # Errors
/// Fails if the bundle cannot be used.
pub fn tls_context(ca_bundle: Option<&CaBundle>) -> Result<TlsContext, TrustError> {
    ca_bundle.map_or_else(|| Ok(TlsContext::default()), trusting)
}

/// Returns the bundle of certificate authorities that replaces the system's. `AWS_CA_BUNDLE` and
/// the profile's `ca_bundle` take precedence, as with AWS's own tools; then comes `SSL_CERT_FILE`,
/// which Go and OpenSSL read. (`SSL_CERT_DIR` is read by the TLS client itself.)
pub fn ca_bundle(environment: Environment<'_>, of_profile: Option<&str>) -> Option<CaBundle> {
    let bundle = |named_by: &str, path: String| {
        Some(CaBundle { named_by: named_by.to_owned(), paths: vec![path] })
    };
    if let Some(path) = variable(environment, "AWS_CA_BUNDLE") {
        return bundle("AWS_CA_BUNDLE", path);
    }
    if let Some(path) = of_profile {
        return bundle("ca_bundle of AWS's profile", path.to_owned());
    }
    let file = variable(environment, "SSL_CERT_FILE");
    match (file, variable(environment, "SSL_CERT_DIR")) {
        (Some(path), None) => bundle("SSL_CERT_FILE", path),
        (None, None) if environment("SSL_CERT_FILE").is_some() => of_system(),
        _ => None,
    }
}

/// Returns the system's own bundle, for an empty `SSL_CERT_FILE`, which the client would take for a
/// path.
fn of_system() -> Option<CaBundle> {
    const USUAL: [&str; 4] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    let is_there = |path: &&str| config_file::read(path).is_ok_and(|content| content.is_some());
    let path = USUAL.into_iter().find(is_there)?;
    Some(CaBundle { named_by: "the system".to_owned(), paths: vec![path.to_owned()] })
}

/// Returns the bundle for remotes of rclone, where `RCLONE_CA_CERT`, a list of files, takes
/// precedence.
pub fn ca_bundle_of_rclone(environment: Environment<'_>) -> Option<CaBundle> {
    let Some(list) = variable(environment, "RCLONE_CA_CERT") else {
        return ca_bundle(environment, None);
    };
    let paths = list.split(',').map(|path| path.trim().to_owned()).collect();
    Some(CaBundle { named_by: "RCLONE_CA_CERT".to_owned(), paths })
}

/// Builds a TLS context that trusts the certificates of a bundle alone.
///
/// # Errors
/// Fails if a file cannot be read, or has no usable certificate.
fn trusting(bundle: &CaBundle) -> Result<TlsContext, TrustError> {
    let mut store = TrustStore::empty();
    for path in &bundle.paths {
        let refused = |fault| TrustError::Unusable {
            named_by: bundle.named_by.clone(),
            path: path.clone(),
            fault,
        };
        let content =
            config_file::read(path)?.ok_or_else(|| refused("No such file or directory"))?;
        let usable = usable_certificates(&content);
        if usable.is_empty() {
            return Err(refused("there is no certificate in it that can be used; PEM is expected"));
        }
        store = store.with_pem_certificate(usable);
    }
    TlsContext::builder()
        .with_trust_store(store)
        .build()
        .map_err(|error| TrustError::Tls(error.into()))
}

/// Returns whether `NO_PROXY` exempts an endpoint by a form that the HTTP client does not
/// implement: `*` for a numeric address, or an entry with a port.
fn is_exempt(no_proxy: &str, url: &str) -> bool {
    let Some(uri) = url.parse::<http::Uri>().ok() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let usual_port = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    let port = uri.port_u16().unwrap_or(usual_port);
    no_proxy.split(',').map(str::trim).any(|entry| {
        let Some((named, of_entry)) = entry.rsplit_once(':') else { return entry == "*" };
        let is_bare_v6 = named.contains(':') && !named.starts_with('[');
        let named =
            named.trim_matches(['[', ']']).trim_start_matches(['*', '.']).to_ascii_lowercase();
        let is_host = host == named || host.ends_with(&format!(".{named}"));
        !is_bare_v6 && !named.is_empty() && is_host && of_entry.parse() == Ok(port)
    })
}

/// Returns the certificates that the client can parse, as PEM. The client would panic on others.
fn usable_certificates(pem: &[u8]) -> String {
    let is_usable = |der: &CertificateDer<'_>| RootCertStore::empty().add(der.clone()).is_ok();
    let found = CertificateDer::pem_slice_iter(pem).map_while(Result::ok).filter(is_usable);
    found.map(|der| as_pem(&der)).collect()
}

/// Encodes a certificate as PEM (RFC 7468).
fn as_pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in lines {
        pem.push_str(&line);
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> Vec<u8> {
        std::fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap()
    }

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

    #[test]
    fn certificates_survive_and_others_are_left_out() {
        let all = CertificateDer::pem_slice_iter(&system()).count();
        let mut torn = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
        torn.extend(system());
        let usable = usable_certificates(&torn);
        let again = CertificateDer::pem_slice_iter(usable.as_bytes()).map(Result::unwrap);
        assert!(all > 10 && again.count() == all);
        assert_eq!(usable_certificates(b"text"), "");
    }

    #[test]
    fn a_bundle_that_cannot_be_used_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("empty"), "").unwrap();
        let bundle = |paths: &[&str]| CaBundle {
            named_by: "AWS_CA_BUNDLE".into(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        };
        let why =
            |path: &str| client(Some(&bundle(&[path])), Proxies::None).err().unwrap().to_string();
        assert!(why(&path("none")).contains("No such file"));
        assert!(why(&path("empty")).contains("no certificate"));
        assert!(why(&path(".")).contains("Is a directory"));
        std::fs::write(path("good"), system()).unwrap();
        assert!(client(Some(&bundle(&[&path("good")])), Proxies::None).is_ok());
        let both = bundle(&[&path("good"), &path("empty")]);
        assert!(client(Some(&both), Proxies::None).is_err());
        assert!(client(None, Proxies::Environment).is_ok());
    }

    #[test]
    fn the_variable_that_counts_most_names_the_bundle() {
        let of = |set: &[(&str, &str)], of_profile| {
            let value = |name: &str| {
                set.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned())
            };
            ca_bundle(&value, of_profile).map(|bundle| bundle.paths[0].clone())
        };
        let all = [("AWS_CA_BUNDLE", "/a"), ("SSL_CERT_FILE", "/s")];
        assert_eq!(of(&all, Some("/p")).as_deref(), Some("/a"));
        assert_eq!(of(&all[1..], Some("/p")).as_deref(), Some("/p"));
        assert_eq!(of(&all[1..], None).as_deref(), Some("/s"));
        assert_eq!(of(&[("AWS_CA_BUNDLE", "")], None), None);
        assert_eq!(of(&[("SSL_CERT_FILE", "/s"), ("SSL_CERT_DIR", "/d")], None), None);
        let system = of(&[("SSL_CERT_FILE", "")], None);
        assert!(system.is_some_and(|path| path.starts_with("/etc/")));
        let rclone = |name: &str| (name == "RCLONE_CA_CERT").then(|| "/r, /t".to_owned());
        assert_eq!(ca_bundle_of_rclone(&rclone).unwrap().paths, ["/r", "/t"]);
    }

    #[test]
    fn exemptions_from_proxies_are_those_of_other_tools() {
        let url = "http://127.0.0.1:9000/s3";
        for entries in ["*", "a, *", "127.0.0.1:9000", "x,127.0.0.1:9000"] {
            assert!(is_exempt(entries, url), "{entries}");
        }
        for entries in ["", "127.0.0.1:9001", "127.0.0.10:9000", ":9000", "example:9000"] {
            assert!(!is_exempt(entries, url), "{entries}");
        }
        assert!(is_exempt("example.org:443", "https://s3.example.org"));
        assert!(is_exempt(".example.org:80", "http://s3.example.org"));
        assert!(!is_exempt("example.org:443", "https://s3.anexample.org"));
        assert!(is_exempt("[::1]:9000", "http://[::1]:9000"));
        let none = |name: &str| (name == "no_proxy").then(|| "*".to_owned());
        assert_eq!(Proxies::of(url, &none), Proxies::None);
        assert_eq!(Proxies::of(url, &|_| None), Proxies::Environment);
        assert_eq!(Proxies::None.shown(url), None);
    }
}
