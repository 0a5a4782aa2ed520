//! HTTP connections for everything that accesses S3: TLS by rustls, with proxies from the user's
//! environment.

use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use hyper_util::client::proxy::matcher::Matcher;

use crate::client::trust::{TrustError, tls_context};
use crate::client::whole::bounded;
use crate::config::environment::{Environment, variable};
use crate::config::settings::CaBundle;

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

#[cfg(test)]
mod tests {
    use super::*;

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
