//! Certificate authorities that connections trust, from the user's environment.

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use base64::Engine;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::config_file;
use crate::config::environment::{Environment, variable};
use crate::config::settings::CaBundle;
use types::path::escaped;

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
        let why = |path: &str| tls_context(Some(&bundle(&[path]))).err().unwrap().to_string();
        assert!(why(&path("none")).contains("No such file"));
        assert!(why(&path("empty")).contains("no certificate"));
        assert!(why(&path(".")).contains("Is a directory"));
        std::fs::write(path("good"), system()).unwrap();
        assert!(tls_context(Some(&bundle(&[&path("good")]))).is_ok());
        let both = bundle(&[&path("good"), &path("empty")]);
        assert!(tls_context(Some(&both)).is_err());
        assert!(tls_context(None).is_ok());
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
}
