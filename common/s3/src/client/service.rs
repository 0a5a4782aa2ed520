//! Requests to a service. Each I/O thread has a client of its own, with its own connections, and drives
//! them itself while it waits: no request crosses threads, which would cost as much CPU as the request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

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

use crate::client::abilities::Abilities;
use crate::client::answers;
use crate::client::attempts;
use crate::client::attempts::{TOO_MANY_REQUESTS, Watch, retries};
use crate::client::endpoint::{ByBucket, Routes};
use crate::client::fault;
use crate::client::http;
use crate::client::http::{Proxies, Wire};
use crate::client::liveness::Liveness;
use crate::client::pressure::Pressure;
use crate::client::redirect::Redirects;
use crate::client::shortcut::{Request, Verdict};
use crate::client::signing::{SharedSigning, Signing};
use crate::client::whole::WholeAnswers;
use crate::config::environment;
use crate::config::settings::{Credentials, Settings};
use crate::read::headers::{ServiceClock, readable};
use crate::write::blocks::Blocks;
use host::interrupt;
use types::entry::Time;
use types::error::{Cause, Error, Op, Result};
use types::limits;
use types::service::{Details, ServiceFault};

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
    /// Where its buckets are.
    pub(crate) routes: Arc<Routes>,
    pressure: Arc<Pressure>,
    liveness: Arc<Liveness>,
    signing: Arc<Signing>,
    /// How far its clock is ahead.
    pub(crate) clock: Arc<ServiceClock>,
    /// When this job began, by this node's clock.
    begun: Time,
    /// Requests for whole objects need not go through the client.
    takes_shortcut: AtomicBool,
    /// Tells clients of one thread apart.
    number: u64,
}

/// What an answer holds, if it shows that it is whole; otherwise what it lacks.
pub(crate) type Proven<T> = std::result::Result<T, ServiceFault>;

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

/// Nothing any more, where the job was told to stop and the work has had its time since.
async fn unless_stopped<F: Future>(work: F) -> Option<F::Output> {
    let (mut work, mut stop) = (pin!(work), pin!(told_to_stop()));
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => stop.as_mut().poll(context).map(|()| None),
    })
    .await
}

async fn told_to_stop() {
    loop {
        tokio::time::sleep(limits::S3_INTERRUPT_REQUEST).await;
        if interrupt::wanted_for().is_some_and(|time| time > limits::S3_INTERRUPT_WAIT) {
            return;
        }
    }
}

fn shown(settings: &Settings) -> String {
    let (endpoint, address) = (settings.shown_endpoint(), settings.address());
    match Proxies::of(&address, &environment).shown(&address) {
        Some(proxy) => format!("{endpoint}, by way of the proxy {proxy}"),
        None => endpoint,
    }
}

/// A failure after which nothing is asked of the service any more.
fn given_up(op: Op, cause: Cause) -> Error {
    let details = Details { message: Some(cause.to_string()), ..Details::default() };
    op.failed(Cause::Service(ServiceFault::GivenUp)).with(Some(details))
}

/// Runs a future to its end on this thread.
pub(crate) fn wait_for<F: Future>(future: F) -> F::Output {
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
        let requests_max = settings.concurrency.unwrap_or(limits::S3_REQUESTS_MAX);
        Self {
            id: hasher.finish(),
            abilities: Abilities::of(&settings),
            signing: Arc::new(Signing::new(&settings)),
            routes: Arc::default(),
            pressure: Arc::new(Pressure::new(requests_max)),
            liveness: Arc::new(Liveness::new(settings.give_up_after, &shown(&settings))),
            settings,
            blocks: Blocks::new(limits::S3_BLOCKS_BYTES_MAX),
            clock: Arc::default(),
            begun: Time::now(),
            takes_shortcut: AtomicBool::new(true),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Whether what was stored then, by the service's clock, may have been there before this job.
    pub fn is_older_than_job(&self, stored: Time) -> bool {
        let ahead = self.clock.ahead().map(|ahead| ahead + limits::S3_CLOCK_STEP);
        ahead.is_none_or(|ahead| stored <= self.begun.plus(ahead))
    }

    /// Whom requests go to, and by which way, for people.
    pub fn shown(&self) -> String {
        shown(&self.settings)
    }

    /// Requests of this rank that it has turned away so far, because it got too many.
    pub fn refused_requests(&self) -> u64 {
        self.pressure.refused()
    }

    /// Some rank has got an answer, so this one tries its first request as often as any other.
    pub fn is_reached(&self) {
        self.liveness.answered();
    }

    /// Sends a request for a whole object at once, and leaves it to the client where that does not do.
    pub(crate) fn call_shortly<T>(
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
        let moves = self.routes.moves();
        let value = by_client()?;
        let has_moved = self.routes.moves() != moves;
        if !has_moved && verdict == Some(Verdict::Refused) {
            // The client knows something that we do not.
            tracing::info!("the S3 service refuses short requests; they go the long way now");
            self.takes_shortcut.store(false, Ordering::Relaxed);
        }
        Ok(value)
    }

    fn send_once(&self, request: Request) -> Option<HttpResponse> {
        let line = self.line().ok()?;
        let place = self.pressure.wait();
        if !self.takes_shortcut.load(Ordering::Relaxed) || self.liveness.is_given_up() {
            return None;
        }
        let answer = wait_for(unless_stopped(async {
            let keys = match self.settings.credentials {
                Credentials::Anonymous => None,
                Credentials::Keys { .. } => Some(self.signing.credentials().await.ok()?),
            };
            request.send(keys, &line.connections).await
        }))??;
        self.liveness.answered();
        place.answered(attempts::answer_of_status(answer.status().as_u16()));
        Some(answer)
    }

    /// Sends a request until its answer shows that it is whole, a few times; `read` says what it lacks.
    pub(crate) fn call_proven<A, T, E, F>(
        &self,
        op: Op,
        request: impl Fn(Client) -> F,
        read: impl Fn(A) -> Proven<T>,
    ) -> Result<T>
    where
        F: Future<Output = std::result::Result<A, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let (mut tries, tries_max) = (0, limits::S3_UNPROVEN_ATTEMPTS_MAX.min(self.attempts_max()));
        loop {
            let answer = self.call(op, &request);
            let value = answer.and_then(|it| read(it).map_err(|it| op.failed(Cause::Service(it))));
            tries += 1;
            match value {
                Err(error) if is_unproven(error.cause) && tries < tries_max => {
                    tracing::debug!(?error, tries, "an answer that does not prove itself");
                }
                value => return value,
            }
        }
    }

    /// Tries of one request, the first among them.
    pub fn attempts_max(&self) -> u32 {
        self.settings.attempts_max.unwrap_or(limits::S3_ATTEMPTS_MAX)
    }

    fn watch(&self) -> Watch {
        let (pressure, liveness) = (Arc::clone(&self.pressure), Arc::clone(&self.liveness));
        let (routes, attempts_max) = (Arc::clone(&self.routes), self.attempts_max());
        Watch { pressure, liveness, routes, attempts_max }
    }

    /// Sends a request, again where that may help, and waits for the answer's head.
    pub(crate) fn call<T, E, F>(&self, op: Op, request: impl FnOnce(Client) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let line = self.line().map_err(|why| {
            tracing::error!("S3 client: {why}");
            op.failed(Cause::Service(ServiceFault::Protocol))
        })?;
        if self.liveness.is_given_up() {
            return Err(op.failed(Cause::Service(ServiceFault::GivenUp)));
        }
        let ended = wait_for(unless_stopped(request(line.client)));
        ended.ok_or_else(|| op.failed(Cause::Stopped))?.map_err(|error| {
            let (cause, details) = fault::explain(&error);
            tracing::debug!(?error, ?cause, "request failed");
            if self.liveness.is_given_up() && self.liveness.answers() > 0 {
                given_up(op, cause)
            } else {
                op.failed(cause).with(details)
            }
        })
    }

    /// This thread's way there.
    fn line(&self) -> std::result::Result<Line, String> {
        CLIENTS.with(|lines| {
            if let Some(line) = lines.borrow().get(&self.number) {
                return Ok(line.clone());
            }
            let connections = readable(self.connections()?, Arc::clone(&self.clock));
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
        let proxies = Proxies::of(&settings.address(), &environment);
        let ca_bundle = settings.ca_bundle.as_ref();
        let connections = http::pooled(ca_bundle, (wire, proxies), waits.build())?;
        Ok(answers::checked(connections, &self.liveness))
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
            .endpoint_resolver(ByBucket::new(&self.routes))
            // Checksums are ours: computed while the bytes are in hand, and not in trailers, on which
            // many services choke.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .timeout_config(timeouts())
            .retry_config(retries(self.attempts_max()))
            .retry_partition(partition())
            .retry_classifier(HttpStatusCodeClassifier::new_from_codes(vec![TOO_MANY_REQUESTS]))
            .retry_classifier(Redirects)
            .interceptor(self.watch())
            .interceptor(WholeAnswers)
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
pub(crate) fn is_unproven(cause: Cause) -> bool {
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
