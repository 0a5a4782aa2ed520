//! Requests to a service. Each I/O thread has a client of its own, with its own connections, and drives
//! them itself while it waits: no request crosses threads, which would cost as much CPU as the request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, IdentityCache, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime::client::retries::classifiers::HttpStatusCodeClassifier;
use aws_smithy_runtime::client::retries::{RetryPartition, TokenBucket};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::abilities::Abilities;
use super::attempts::{self, TOO_MANY_REQUESTS, Watch, retries};
use super::blocks::Blocks;
use super::endpoint::ByBucket;
use super::fault;
use super::http::{self, Wire};
use super::pressure::Pressure;
use super::resolve::renew;
use super::settings::{Credentials, Settings};
use super::shortcut::{Request, Verdict};
use crate::base::error::{Cause, Op, Result};
use crate::base::limits;
use crate::base::service::ServiceFault;

/// A service and an account there, as this rank reaches it.
pub struct Service {
    /// Tells services and accounts apart, on all ranks alike.
    pub id: u64,
    /// What the operator and the configuration say.
    pub settings: Settings,
    /// What it can do.
    pub abilities: Abilities,
    /// Room for what is on its way there.
    pub blocks: Blocks,
    pressure: Arc<Pressure>,
    has_answered: Arc<AtomicBool>,
    signing: Arc<Signing>,
    /// Requests for whole objects need not go through the client.
    takes_shortcut: AtomicBool,
    /// Tells clients of one thread apart.
    number: u64,
}

/// What an answer holds, if it shows that it is whole; otherwise what it lacks.
pub(super) type Proven<T> = std::result::Result<T, ServiceFault>;

/// Credentials that all threads of a rank share.
struct Signing {
    settings: Settings,
    current: tokio::sync::Mutex<Credentials>,
    /// How long before they expire new ones are asked for: at another time on each rank.
    ahead: Duration,
}

thread_local! {
    static CLIENTS: RefCell<HashMap<u64, Line>> = RefCell::new(HashMap::new());
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = const { OnceLock::new() };
}

/// A thread's way to a service.
#[derive(Clone)]
struct Line {
    client: Client,
    /// What the client sends its requests by.
    connections: SharedHttpConnector,
}

/// Runs a future to its end on this thread.
pub(super) fn wait_for<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| {
        let runtime = runtime.get_or_init(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime needs three descriptors, for which the job's limits leave room")
        });
        runtime.block_on(future)
    })
}

impl Service {
    /// A service as rank 0 has found it out.
    pub fn new(settings: Settings) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let mut hasher = DefaultHasher::new();
        (&settings.endpoint_url, &settings.region).hash(&mut hasher);
        if let Credentials::Keys { access_key_id, .. } = &settings.credentials {
            access_key_id.hash(&mut hasher);
        }
        let spread = limits::CREDENTIALS_AHEAD_MAX.saturating_sub(limits::CREDENTIALS_AHEAD_MIN);
        let signing = Signing {
            settings: settings.clone(),
            current: tokio::sync::Mutex::new(settings.credentials.clone()),
            ahead: limits::CREDENTIALS_AHEAD_MIN + spread.mul_f64(fastrand::f64()),
        };
        let requests_max = settings.concurrency.unwrap_or(limits::S3_REQUESTS_MAX);
        Self {
            id: hasher.finish(),
            abilities: Abilities::of(&settings),
            settings,
            pressure: Arc::new(Pressure::new(requests_max)),
            has_answered: Arc::default(),
            blocks: Blocks::new(limits::S3_BLOCKS_BYTES_MAX),
            signing: Arc::new(signing),
            takes_shortcut: AtomicBool::new(true),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Requests of this rank that it has turned away so far, because it got too many.
    pub fn refused_requests(&self) -> u64 {
        self.pressure.refused()
    }

    /// Some rank has got an answer, so this one tries its first request as often as any other.
    pub fn is_reached(&self) {
        self.has_answered.store(true, Ordering::Relaxed);
    }

    /// Sends a request for a whole object at once, and leaves it to the client where that does not do.
    pub(super) fn call_shortly<T>(
        &self,
        request: Option<Request>,
        read: impl FnOnce(HttpResponse) -> Proven<T>,
        by_client: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let answer = request.and_then(|request| self.send_once(request));
        let verdict = answer.as_ref().map(|it| Verdict::of(it.status().as_u16()));
        if let (Some(answer), Some(Verdict::Done)) = (answer, verdict)
            && let Ok(value) = read(answer)
        {
            return Ok(value);
        }
        let value = by_client()?;
        if verdict == Some(Verdict::Refused) {
            // The client knows something that we do not.
            tracing::info!("the S3 service refuses short requests; they go the long way now");
            self.takes_shortcut.store(false, Ordering::Relaxed);
        }
        Ok(value)
    }

    fn send_once(&self, request: Request) -> Option<HttpResponse> {
        let line = self.line().ok()?;
        let place = self.pressure.wait();
        if !self.takes_shortcut.load(Ordering::Relaxed) {
            return None;
        }
        let answer = wait_for(async {
            let keys = match self.settings.credentials {
                Credentials::Anonymous => None,
                Credentials::Keys { .. } => Some(self.signing.credentials().await.ok()?),
            };
            request.send(keys, &line.connections).await
        })?;
        self.has_answered.store(true, Ordering::Relaxed);
        place.answered(attempts::answer_of_status(answer.status().as_u16()));
        Some(answer)
    }

    /// Sends a request until its answer shows that it is whole, a few times; `read` says what it lacks.
    pub(super) fn call_proven<A, T, E, F>(
        &self,
        op: Op,
        request: impl Fn(Client) -> F,
        read: impl Fn(A) -> Proven<T>,
    ) -> Result<T>
    where
        F: Future<Output = std::result::Result<A, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + fmt::Debug,
    {
        let mut tries = 0;
        loop {
            let answer = self.call(op, &request);
            let value = answer.and_then(|it| read(it).map_err(|it| op.failed(Cause::Service(it))));
            tries += 1;
            match value {
                Err(error)
                    if is_unproven(error.cause) && tries < limits::S3_UNPROVEN_ATTEMPTS_MAX =>
                {
                    tracing::debug!(?error, tries, "an answer that does not prove itself");
                }
                value => return value,
            }
        }
    }

    fn watch(&self) -> Watch {
        let (pressure, has_answered) = (Arc::clone(&self.pressure), Arc::clone(&self.has_answered));
        Watch { pressure, has_answered }
    }

    /// Sends a request, again where that may help, and waits for the answer's head.
    pub(super) fn call<T, E, F>(&self, op: Op, request: impl FnOnce(Client) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + fmt::Debug,
    {
        let line = self.line().map_err(|why| {
            tracing::error!("S3 client: {why}");
            op.failed(Cause::Service(ServiceFault::Protocol))
        })?;
        wait_for(request(line.client)).map_err(|error| {
            let (cause, details) = fault::explain(&error);
            tracing::debug!(?error, ?cause, "request failed");
            op.failed(cause).with(details)
        })
    }

    /// This thread's way there.
    fn line(&self) -> std::result::Result<Line, String> {
        CLIENTS.with(|lines| {
            if let Some(line) = lines.borrow().get(&self.number) {
                return Ok(line.clone());
            }
            let connections = self.connections()?;
            let line = Line { client: self.client(connections.clone()), connections };
            lines.borrow_mut().insert(self.number, line.clone());
            Ok(line)
        })
    }

    fn connections(&self) -> std::result::Result<SharedHttpConnector, String> {
        let settings = &self.settings;
        let is_plain = settings.endpoint_url.as_ref().is_some_and(|url| url.starts_with("http://"));
        let wire = if is_plain { Wire::Plain } else { Wire::Tls };
        let waits = HttpConnectorSettings::builder()
            .connect_timeout(limits::S3_CONNECT_WAIT)
            .read_timeout(limits::S3_ANSWER_WAIT);
        http::pooled(settings.ca_bundle.as_deref(), wire, waits.build())
    }

    fn client(&self, connections: SharedHttpConnector) -> Client {
        let settings = &self.settings;
        let mut config = Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(settings.region.clone()))
            .force_path_style(settings.path_style)
            .use_dual_stack(settings.use_dual_stack)
            .use_fips(settings.use_fips)
            .http_client(http::over(connections))
            .endpoint_resolver(ByBucket::default())
            // Checksums are ours: computed while the bytes are in hand, and not in trailers, on which
            // many services choke.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .timeout_config(timeouts())
            .retry_config(retries(limits::S3_ATTEMPTS_MAX))
            .retry_partition(partition())
            .retry_classifier(HttpStatusCodeClassifier::new_from_codes(vec![TOO_MANY_REQUESTS]))
            .interceptor(self.watch())
            // Copies within a service are silent for minutes; bodies have a timeout of their own.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(settings.endpoint_url.clone());
        config = match settings.credentials.for_client() {
            None => config.allow_no_auth(),
            Some(keys) => {
                let config = config.identity_cache(IdentityCache::no_cache());
                match keys.expiry() {
                    None => config.credentials_provider(keys),
                    Some(_) => {
                        config.credentials_provider(SharedSigning(Arc::clone(&self.signing)))
                    }
                }
            }
        };
        Client::from_conf(config.build())
    }
}

/// Whether a request has failed by an answer of success that is not one, as a proxy's page.
pub(super) fn is_unproven(cause: Cause) -> bool {
    use ServiceFault::{NoEtag, NoLength, Protocol, Status, WrongLength, WrongRange};
    matches!(
        cause,
        Cause::Service(NoEtag | NoLength | Protocol | Status(200..300) | WrongLength | WrongRange)
    )
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(limits::S3_CONNECT_WAIT)
        .read_timeout(limits::S3_ANSWER_WAIT)
        .build()
}

/// Retries of all threads share what they learn about how much the service bears.
fn partition() -> RetryPartition {
    static PARTITION: OnceLock<RetryPartition> = OnceLock::new();
    let make = || RetryPartition::custom("objects").token_bucket(TokenBucket::unlimited()).build();
    PARTITION.get_or_init(make).clone()
}

struct SharedSigning(Arc<Signing>);

impl fmt::Debug for SharedSigning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSigning")
    }
}

impl ProvideCredentials for SharedSigning {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.0.credentials())
    }
}

impl Signing {
    /// The credentials, new ones where the old ones are about to expire.
    async fn credentials(
        &self,
    ) -> std::result::Result<aws_credential_types::Credentials, CredentialsError> {
        let mut current = self.current.lock().await;
        let left = current.time_left(SystemTime::now());
        if left.is_some_and(|left| left < self.ahead) {
            match renew(&self.settings).await {
                Ok(renewed) => *current = renewed,
                // The old ones may serve a little longer.
                Err(why) => tracing::warn!("credentials are not renewed: {why}"),
            }
        }
        current.for_client().ok_or_else(|| CredentialsError::not_loaded("there are none"))
    }
}
