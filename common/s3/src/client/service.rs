//! Requests to a service. Each I/O thread has a client with connections of its own, and drives its
//! requests itself while it waits for them. Passing requests between threads would cost as much CPU
//! as the requests.

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

use crate::client::answers;
use crate::client::attempts;
use crate::client::attempts::{TOO_MANY_REQUESTS, Watch, retries};
use crate::client::capabilities::ServiceCapabilities;
use crate::client::endpoint::{ByBucket, Routes};
use crate::client::fast_path::{Request, Verdict};
use crate::client::fault;
use crate::client::http;
use crate::client::http::{Proxies, Wire};
use crate::client::limiter::ConcurrencyLimiter;
use crate::client::liveness::Liveness;
use crate::client::redirect::Redirects;
use crate::client::runtime::wait_for;
use crate::client::signing::{SharedSigning, Signing};
use crate::client::trust::TrustError;
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

/// A service and an account at it, as this rank uses them.
pub struct Service {
    /// An identifier of the service and account, the same on all ranks.
    pub id: u64,
    /// The settings by the command line and the configuration.
    pub settings: Settings,
    /// The capabilities of the service, as far as they are known.
    pub capabilities: ServiceCapabilities,
    /// The buffers of content on its way to the service.
    pub blocks: Blocks,
    /// The regions and addresses of the service's buckets.
    pub(crate) routes: Arc<Routes>,
    limiter: Arc<ConcurrencyLimiter>,
    liveness: Arc<Liveness>,
    signing: Arc<Signing>,
    /// The offset of the service's clock.
    pub(crate) clock: Arc<ServiceClock>,
    /// The time at which this job began, by this node's clock.
    begun: Time,
    /// True while requests for whole objects may use the fast path.
    takes_shortcut: AtomicBool,
    /// A number that distinguishes the services that one thread uses.
    number: u64,
}

/// The content of an answer that is proved to be complete, or the fault that it has.
pub(crate) type Proven<T> = std::result::Result<T, ServiceFault>;

thread_local! {
    static CLIENTS: RefCell<HashMap<u64, Line>> = RefCell::new(HashMap::new());
}

/// A thread's connection to a service.
#[derive(Clone)]
struct Line {
    client: Client,
    /// The connections that the client uses, for the fast path.
    connections: SharedHttpConnector,
}

/// Runs the work to its end, or returns `None` if the job was interrupted and the grace period for
/// requests has passed.
async fn unless_stopped<F: Future>(work: F) -> Option<F::Output> {
    let (mut work, mut stop) = (pin!(work), pin!(told_to_stop()));
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => stop.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Completes when the job was interrupted longer ago than requests may go on.
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
    match Proxies::of(&address, &environment::of_process).shown(&address) {
        Some(proxy) => format!("{endpoint}, by way of the proxy {proxy}"),
        None => endpoint,
    }
}

/// Returns an error for a request that failed while the service was given up, so that no further
/// request is sent.
fn given_up(op: Op, cause: Cause) -> Error {
    let details = Details { message: Some(cause.to_string()), ..Details::default() };
    op.failed(Cause::Service(ServiceFault::GivenUp)).with(Some(details))
}

impl Service {
    /// Creates the service from the settings that rank 0 has resolved. Sends no request.
    pub fn new(settings: Settings) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        // The identifier is the same on all ranks: each hashes the settings that rank 0 has
        // distributed, and this hasher has fixed keys.
        let mut hasher = DefaultHasher::new();
        (&settings.endpoint_url, &settings.region).hash(&mut hasher);
        if let Credentials::Keys { access_key_id, .. } = &settings.credentials {
            access_key_id.hash(&mut hasher);
        }
        let requests_max = settings.concurrency.unwrap_or(limits::S3_REQUESTS_MAX);
        Self {
            id: hasher.finish(),
            capabilities: ServiceCapabilities::of(&settings),
            signing: Arc::new(Signing::new(&settings)),
            routes: Arc::default(),
            limiter: Arc::new(ConcurrencyLimiter::new(requests_max)),
            liveness: Arc::new(Liveness::new(settings.give_up_after, &shown(&settings))),
            settings,
            blocks: Blocks::new(limits::S3_BLOCKS_BYTES_MAX),
            clock: Arc::default(),
            begun: Time::now(),
            takes_shortcut: AtomicBool::new(true),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Returns whether something stored at that time, by the service's clock, may be older than
    /// this job. Returns true where the clock's offset is unknown.
    pub fn is_older_than_job(&self, stored: Time) -> bool {
        let ahead = self.clock.ahead().map(|ahead| ahead + limits::S3_CLOCK_STEP);
        ahead.is_none_or(|ahead| stored <= self.begun.plus(ahead))
    }

    /// Returns the endpoint, and the proxy on the way to it, for display.
    pub fn shown(&self) -> String {
        shown(&self.settings)
    }

    /// Returns the number of this rank's requests that the service has throttled so far.
    pub fn throttled_requests(&self) -> u64 {
        self.limiter.refused()
    }

    /// Records that another rank has received an answer, so that this rank's first request gets as
    /// many attempts as any other.
    pub fn is_reached(&self) {
        self.liveness.answered();
    }

    /// Sends a request for a whole object by the fast path, and repeats it by the client if it does
    /// not succeed at once.
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
        // The fast path may be refused only because the bucket is in another region, which the
        // client finds out.
        let moves = self.routes.moves();
        let value = by_client()?;
        let has_moved = self.routes.moves() != moves;
        if !has_moved && verdict == Some(Verdict::Refused) {
            // The client's request was accepted, so the fast path lacks something that this service
            // requires.
            tracing::info!(
                "the S3 service rejects requests of the fast path; they take the full path now"
            );
            self.takes_shortcut.store(false, Ordering::Relaxed);
        }
        Ok(value)
    }

    /// Sends a request by the fast path, once. Returns `None` if there is no answer, or the fast
    /// path may not be used.
    fn send_once(&self, request: Request) -> Option<HttpResponse> {
        let line = self.line().ok()?;
        let place = self.limiter.wait();
        // Another thread may have found that out while this one waited for the permit.
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

    /// Sends a request until its answer proves to be complete, a few times at most. `read` extracts
    /// the content of an answer, or returns the fault that it has.
    ///
    /// # Errors
    /// Returns the error of the last attempt.
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

    /// Returns the greatest number of attempts of one request, including the first.
    pub fn attempts_max(&self) -> u32 {
        self.settings.attempts_max.unwrap_or(limits::S3_ATTEMPTS_MAX)
    }

    fn watch(&self) -> Watch {
        let (limiter, liveness) = (Arc::clone(&self.limiter), Arc::clone(&self.liveness));
        let attempts_max = self.settings.attempts_max.unwrap_or(u32::MAX);
        Watch { limiter, liveness, routes: Arc::clone(&self.routes), attempts_max }
    }

    /// Sends a request, with retries where they may help, and waits for the head of the answer.
    ///
    /// # Errors
    /// Returns the translated error of the last attempt, [`Cause::Stopped`] if the job was
    /// interrupted, or [`ServiceFault::GivenUp`] once the service has been silent for too long.
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

    /// Returns this thread's connection to the service, opening it on first use.
    fn line(&self) -> std::result::Result<Line, TrustError> {
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

    /// Builds the connections of one thread, with the certificates and proxies of the settings, and
    /// the checks of answers.
    fn connections(&self) -> std::result::Result<SharedHttpConnector, TrustError> {
        let settings = &self.settings;
        let is_plain = settings.endpoint_url.as_ref().is_some_and(|url| url.starts_with("http://"));
        let wire = if is_plain { Wire::Plain } else { Wire::Tls };
        let waits = HttpConnectorSettings::builder()
            .connect_timeout(limits::S3_CONNECT_WAIT)
            .read_timeout(limits::S3_ANSWER_WAIT);
        let proxies = Proxies::of(&settings.address(), &environment::of_process);
        let ca_bundle = settings.ca_bundle.as_ref();
        let connections = http::pooled(ca_bundle, (wire, proxies), waits.build())?;
        Ok(answers::checked(connections, &self.liveness))
    }

    /// Builds the S3 client of one thread over its connections.
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
            // This crate computes checksums itself, while the bytes are in the cache, and sends
            // them as headers: many services reject the trailers that the client would use.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .timeout_config(timeouts())
            .retry_config(retries(self.attempts_max()))
            .retry_partition(partition())
            .retry_classifier(HttpStatusCodeClassifier::new_from_codes(vec![TOO_MANY_REQUESTS]))
            .retry_classifier(Redirects)
            .interceptor(self.watch())
            .interceptor(WholeAnswers)
            // Copies within a service may be silent for minutes, and the bodies of objects have a
            // timeout of their own.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(settings.endpoint_url.clone());
        config = match settings.credentials.for_client() {
            None => config.allow_no_auth(),
            Some(keys) => {
                // Credentials are cached and renewed by `Signing`, once for all threads.
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

/// Returns whether a request failed because of a successful answer that proves nothing, such as a
/// proxy's page. Another attempt may reach the service.
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

/// Returns the partition of the client's retries, shared by all threads. Its token bucket is
/// unlimited, since `Watch` decides how many attempts a request has.
fn partition() -> RetryPartition {
    static PARTITION: OnceLock<RetryPartition> = OnceLock::new();
    let make = || RetryPartition::custom("objects").token_bucket(TokenBucket::unlimited()).build();
    PARTITION.get_or_init(make).clone()
}
