//! An S3 server in this process, for the tests and the demonstration: in memory, started in 10 ms,
//! with faults.
//!
//! The protocol is the crate s3s; buckets and objects are ours, so that every key is possible, and
//! so that the server can be told to misbehave (`Behaviour`). It listens on the loopback interface
//! only.

pub mod backend;
pub mod behaviour;
pub mod bodies;
pub mod counts;
pub mod front;
pub mod listing;
pub mod objects;
pub mod sums;
pub mod tearing;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::{S3Auth, SecretKey, SimpleAuth};
use s3s::service::S3ServiceBuilder;
use s3s::{S3Result, s3_error};

use backend::{Backend, Shared};
pub use behaviour::{Behaviour, FAST_CLOCK_AHEAD, Order, Quirk};
use counts::Counter;
pub use counts::{Counts, Operation};
use front::Front;
use objects::{Bucket, Content};

/// Number of threads that answer.
const THREADS: usize = 2;

/// Time by which an object is stored earlier or later: more than the whole seconds of its own
/// timestamp and the two by which a service's clock may be off.
const TIME_SHIFT: Duration = Duration::from_secs(5);

/// Direction in which the time of an object is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeShift {
    /// The object was stored earlier than other changes.
    Earlier,
    /// The object was stored later than other changes.
    Later,
}

/// Port and access keys of a server.
#[derive(Debug, Clone)]
pub struct Door {
    /// Port; 0 for any free one.
    pub port: u16,
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
}

impl Default for Door {
    fn default() -> Self {
        Self { port: 0, access_key: "test-access".into(), secret_key: "test-secret".into() }
    }
}

/// A running server, which ends when this is dropped.
#[derive(Debug)]
pub struct ObjectServer {
    address: SocketAddr,
    door: Door,
    backend: Arc<Backend>,
    counter: Arc<Counter>,
    endless_bytes: Arc<AtomicU64>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl ObjectServer {
    /// Starts a server on a free port, without buckets.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start(behaviour: Behaviour) -> Self {
        Self::start_at(Door::default(), behaviour).expect("the loopback interface has free ports")
    }

    /// Starts a server on that port with these keys.
    ///
    /// # Errors
    /// Where the port is taken.
    pub fn start_at(door: Door, behaviour: Behaviour) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("object-server")
            .enable_all()
            .build()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, door.port));
        let listener = runtime.block_on(tokio::net::TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        let backend = Arc::new(Backend::new(behaviour));
        let counter = Arc::new(Counter::default());
        let endless_bytes = Arc::<AtomicU64>::default();
        let mut protocol = S3ServiceBuilder::new(Shared(backend.clone()));
        protocol.set_auth(OneKey(SimpleAuth::from_single(&*door.access_key, &*door.secret_key)));
        let protocol = protocol.build();
        let front = Front {
            protocol,
            backend: backend.clone(),
            counter: counter.clone(),
            under_way: Arc::default(),
            endless_bytes: endless_bytes.clone(),
        };
        runtime.spawn(serve(listener, front));
        Ok(Self { address, door, backend, counter, endless_bytes, runtime: Some(runtime) })
    }

    /// Returns the URL `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the access key and the secret key.
    pub fn keys(&self) -> (&str, &str) {
        (&self.door.access_key, &self.door.secret_key)
    }

    /// Returns the environment variables with which AWS's tools and SDKs use this server.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        environment(&self.endpoint(), &self.door.access_key, &self.door.secret_key)
    }

    /// Changes the behaviour from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.backend.behave(behaviour);
    }

    /// Returns the counts of requests so far.
    pub fn counts(&self) -> Counts {
        self.counter.with(|counts| counts.clone())
    }

    /// Resets the counts; returns those so far.
    pub fn reset_counts(&self) -> Counts {
        self.counter.with(std::mem::take)
    }

    /// Returns the bytes sent in bodies without an end.
    pub fn endless_bytes(&self) -> u64 {
        self.endless_bytes.load(Ordering::Relaxed)
    }

    /// Creates a bucket, unless it exists.
    pub fn make_bucket(&self, name: &str) {
        self.backend.buckets().entry(name.to_owned()).or_default();
    }

    /// Stores an object without a request; creates the bucket if need be.
    pub fn put(&self, bucket: &str, key: &str, content: impl Into<Bytes>) {
        let mut object = backend::planted(Content::of([content.into()]));
        if self.backend.behaviour().has(Quirk::FastClock) {
            object.modified += FAST_CLOCK_AHEAD;
        }
        let object = Arc::new(object);
        let mut buckets = self.backend.buckets();
        let bucket = buckets.entry(bucket.to_owned()).or_default();
        bucket.objects.insert(key.to_owned(), object);
    }

    /// Removes an object without a request.
    pub fn remove(&self, bucket: &str, key: &str) {
        if let Some(bucket) = self.backend.buckets().get_mut(bucket) {
            bucket.objects.remove(key);
        }
    }

    /// Stores an object that was uploaded in these parts, or in one piece where it is one, without
    /// checksums.
    pub fn put_parts(&self, bucket: &str, key: &str, parts: &[&[u8]]) {
        let object = Arc::new(backend::assembled(parts));
        let mut buckets = self.backend.buckets();
        buckets.entry(bucket.to_owned()).or_default().objects.insert(key.to_owned(), object);
    }

    /// Adds an upload that was begun a day ago, with these parts, and that no job works on.
    pub fn leave_upload(&self, bucket: &str, key: &str, parts: &[&[u8]]) {
        let mut buckets = self.backend.buckets();
        let uploads = &mut buckets.entry(bucket.to_owned()).or_default().uploads;
        uploads.insert(format!("left-{}", uploads.len()), backend::left(key, parts));
    }

    /// Changes the properties of an object without a request.
    pub fn change(&self, bucket: &str, key: &str, change: impl FnOnce(&mut objects::Attributes)) {
        self.edit(bucket, key, |object| change(&mut object.attributes));
    }

    /// Moves the time at which an object was stored, without a request, so that a test need not
    /// wait for a clock that tells whole seconds.
    pub fn shift_time(&self, bucket: &str, key: &str, shift: TimeShift) {
        self.edit(bucket, key, |object| match shift {
            TimeShift::Earlier => object.modified -= TIME_SHIFT,
            TimeShift::Later => object.modified += TIME_SHIFT,
        });
    }

    fn edit(&self, bucket: &str, key: &str, edit: impl FnOnce(&mut objects::Object)) {
        let mut buckets = self.backend.buckets();
        let object = buckets.get_mut(bucket).and_then(|bucket| bucket.objects.get_mut(key));
        edit(Arc::make_mut(object.expect("it was put there")));
    }

    /// Returns an object without a request.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Arc<objects::Object>> {
        self.backend.buckets().get(bucket)?.objects.get(key).cloned()
    }

    /// Returns all keys of a bucket, in byte order.
    pub fn keys_of(&self, bucket: &str) -> Vec<String> {
        let buckets = self.backend.buckets();
        let objects = buckets.get(bucket).into_iter().flat_map(|bucket| bucket.objects.keys());
        objects.cloned().collect()
    }

    /// Returns the number of uploads that were begun and not completed or aborted.
    pub fn open_uploads(&self, bucket: &str) -> usize {
        self.open_uploads_below(bucket, "")
    }

    /// Returns the number of such uploads for keys with that prefix.
    pub fn open_uploads_below(&self, bucket: &str, prefix: &str) -> usize {
        let of = |bucket: &Bucket| {
            bucket.uploads.values().filter(|upload| upload.key.starts_with(prefix)).count()
        };
        self.backend.buckets().get(bucket).map_or(0, of)
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns the environment variables with which AWS's tools and SDKs use a server.
pub fn environment(
    endpoint: &str,
    access_key: &str,
    secret_key: &str,
) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("S3_ENDPOINT_URL", endpoint.to_owned()), // s5cmd has its own name for it
        ("AWS_ACCESS_KEY_ID", access_key.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secret_key.to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
        // The metadata service of an instance is not asked, and no file of the user is read.
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
    ]
}

async fn serve(listener: tokio::net::TcpListener, front: Front) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let front = front.clone();
        let answer = move |request| front.clone().answer(request);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(answer);
            let mut connection = hyper::server::conn::http1::Builder::new();
            connection.timer(TokioTimer::new());
            // A client that disconnects early is not an error here.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Authentication like `SimpleAuth`, but with S3's own error for unknown keys.
struct OneKey(SimpleAuth);

#[async_trait::async_trait]
impl S3Auth for OneKey {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let secret_key = self.0.lookup(access_key).cloned();
        secret_key.ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}
