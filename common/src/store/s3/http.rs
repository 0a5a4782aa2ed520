//! HTTP as all that talks to S3 uses it: TLS by rustls, certificates and proxies as the user's
//! environment says.

use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use base64::Engine;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::config_file;
use crate::base::path::escaped;

/// Whether requests go through the proxies of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxies {
    /// They do.
    Environment,
    /// They do not: what is asked is on this machine or its network.
    None,
}

impl Proxies {
    /// As the client wants it.
    pub fn config(self) -> ProxyConfig {
        match self {
            Self::Environment => ProxyConfig::from_env(),
            Self::None => ProxyConfig::disabled(),
        }
    }
}

/// A client for a few requests: each has a connection of its own.
///
/// # Errors
/// One line: the bundle of certificates cannot be used.
pub fn client(ca_bundle: Option<&str>, proxies: Proxies) -> Result<SharedHttpClient, String> {
    let trust = tls_context(ca_bundle)?;
    let client = http_client_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .connector_settings(settings.clone())
            .proxy_config(proxies.config());
        connector.set_sleep_impl(components.sleep_impl());
        let connector = connector.tls_provider(tls_provider()).tls_context(trust.clone()).build();
        SharedHttpConnector::new(connector)
    });
    Ok(client)
}

/// What connections a client makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// With TLS, where an address asks for it.
    Tls,
    /// None but plain ones: no certificates are read.
    Plain,
}

/// Connections that are kept for further requests. They go through the environment's proxies.
///
/// # Errors
/// One line: the bundle of certificates cannot be used.
pub fn pooled(
    ca_bundle: Option<&str>,
    wire: Wire,
    waits: HttpConnectorSettings,
) -> Result<SharedHttpConnector, String> {
    // A proxy may want TLS for itself.
    let is_plain = wire == Wire::Plain && !may_have_proxy();
    let proxies = if is_plain { Proxies::None } else { Proxies::Environment }.config();
    let sleep = SharedAsyncSleep::new(TokioSleep::new());
    let connector = Connector::builder().connector_settings(waits).proxy_config(proxies);
    let connector = connector.sleep_impl(sleep);
    Ok(SharedHttpConnector::new(if is_plain {
        connector.build_http()
    } else {
        connector.tls_provider(tls_provider()).tls_context(tls_context(ca_bundle)?).build()
    }))
}

/// A client over these connections.
pub fn over(connections: SharedHttpConnector) -> SharedHttpClient {
    http_client_fn(move |_, _| connections.clone())
}

/// Whether the environment names a proxy for what is plain.
fn may_have_proxy() -> bool {
    let names = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    names.into_iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Who speaks TLS: one that builds without more than a C compiler.
pub fn tls_provider() -> Provider {
    Provider::Rustls(CryptoMode::Ring)
}

/// Whom to trust: the certificates of a bundle, or the system's.
///
/// # Errors
/// One line: the bundle cannot be used.
pub fn tls_context(ca_bundle: Option<&str>) -> Result<TlsContext, String> {
    ca_bundle.map_or_else(|| Ok(TlsContext::default()), trusting)
}

/// `AWS_CA_BUNDLE`, which stands for the system's certificates as in AWS's own tools. (`SSL_CERT_FILE`
/// and `SSL_CERT_DIR` do so too; the client reads them itself.)
pub fn ca_bundle(environment: super::rclone_conf::Environment<'_>) -> Option<String> {
    environment("AWS_CA_BUNDLE").filter(|path| !path.is_empty())
}

fn trusting(path: &str) -> Result<TlsContext, String> {
    let refused = |why: &str| format!("AWS_CA_BUNDLE, \"{}\": {why}", escaped(path.as_bytes()));
    let content = config_file::read(path)?.ok_or_else(|| refused("No such file or directory"))?;
    let usable = usable_certificates(&content);
    if usable.is_empty() {
        return Err(refused("there is no certificate in it that can be used; PEM is expected"));
    }
    let store = TrustStore::empty().with_pem_certificate(usable);
    TlsContext::builder().with_trust_store(store).build().map_err(|error| error.to_string())
}

/// Those certificates that the client can parse, as PEM: it would panic on others.
fn usable_certificates(pem: &[u8]) -> String {
    let is_usable = |der: &CertificateDer<'_>| RootCertStore::empty().add(der.clone()).is_ok();
    let found = CertificateDer::pem_slice_iter(pem).map_while(Result::ok).filter(is_usable);
    found.map(|der| as_pem(&der)).collect()
}

/// RFC 7468.
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
        let why = |path: &str| client(Some(path), Proxies::None).err().unwrap();
        assert!(why(&path("none")).contains("No such file"));
        assert!(why(&path("empty")).contains("no certificate"));
        assert!(why(&path(".")).contains("Is a directory"));
        std::fs::write(path("good"), system()).unwrap();
        assert!(client(Some(&path("good")), Proxies::None).is_ok());
        assert!(client(None, Proxies::Environment).is_ok());
    }
}
