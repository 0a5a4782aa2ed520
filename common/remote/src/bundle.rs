//! Bundles: several small requests in one message, each with its own answer, so that a file costs a
//! share of a round trip.
//!
//! A request that is put into the outbox leaves with those that follow, at the latest when its
//! answer is waited for. What a broken connection leaves without an answer is sent again one by
//! one, as any other request is.

use std::sync::{Arc, Mutex};

use types::error::{Op, Result};
use types::limits::{REMOTE_BUNDLE_BYTES_MAX, REMOTE_BUNDLE_REQUESTS};

use crate::connection::{Arrived, Pending};
use crate::exchange::lock;
use crate::frame;
use crate::host::{Host, malformed};
use crate::protocol::{Answer, Part, Reply, Request};

/// Makes the request for the attempt of that number.
pub type MakeRequest = dyn Fn(u32) -> Request + Send + Sync;

/// A request of a bundle, with what is needed to repeat it.
pub struct Item {
    /// Operation that its errors name.
    pub op: Op,
    /// The request.
    pub request: Box<MakeRequest>,
    /// Content that belongs to it.
    pub data: Vec<u8>,
}

impl Item {
    /// Wraps a request that may be repeated as it is.
    pub fn plain(op: Op, request: Request) -> Self {
        Self { op, request: Box::new(move |_| request.clone()), data: Vec::new() }
    }
}

/// Requests that travel in one message.
struct Bundle(Mutex<State>);

enum State {
    /// The requests are not sent yet; `bytes` of them are known.
    Gathered { items: Vec<Item>, bytes: usize },
    /// The message was sent, if a connection could be used.
    Sent { items: Vec<Item>, pending: Option<Pending> },
    /// Each request has an answer, which is taken once.
    Answered(Vec<Option<Result<Arrived>>>),
}

/// The answer to a request of a bundle, which is yet to come.
pub struct Ticket {
    bundle: Arc<Bundle>,
    index: usize,
}

/// Requests that wait to be sent together.
#[derive(Default)]
pub struct Outbox(Mutex<Option<Arc<Bundle>>>);

/// Sends requests together, and returns the answer to each.
pub fn ask_each(host: &Host, items: impl Iterator<Item = Item>) -> Vec<Result<Answer>> {
    let outbox = Outbox::default();
    let tickets: Vec<_> = items.map(|item| outbox.add(host, item)).collect();
    outbox.send(host);
    tickets.into_iter().map(|ticket| outbox.wait(host, ticket)?.0).collect()
}

impl Outbox {
    /// Adds a request. A message that has become large enough is sent.
    pub fn add(&self, host: &Host, item: Item) -> Ticket {
        let bytes = bytes_of(&item);
        let mut open = lock(&self.0);
        if let Some(full) = open.take_if(|bundle| !bundle.has_room_for(bytes)) {
            full.send(host);
        }
        let bundle = Arc::clone(open.get_or_insert_with(Arc::default));
        let index = bundle.add(item, bytes);
        if index + 1 == REMOTE_BUNDLE_REQUESTS {
            *open = None;
            bundle.send(host);
        }
        Ticket { bundle, index }
    }

    /// Sends what was added, and does not wait for the answers.
    pub fn send(&self, host: &Host) {
        if let Some(bundle) = lock(&self.0).take() {
            bundle.send(host);
        }
    }

    /// Waits for the answer to a request that was added.
    ///
    /// # Errors
    /// That of the operation, and `HostGone` where no host can be reached.
    pub fn wait(&self, host: &Host, ticket: Ticket) -> Result<Arrived> {
        let Ticket { bundle, index } = ticket;
        let is_it = |open: &mut Arc<Bundle>| Arc::ptr_eq(open, &bundle);
        if let Some(unsent) = lock(&self.0).take_if(is_it) {
            unsent.send(host);
        }
        bundle.answer(host, index)
    }
}

impl Default for Bundle {
    fn default() -> Self {
        Self(Mutex::new(State::Gathered { items: Vec::new(), bytes: 0 }))
    }
}

impl Bundle {
    fn has_room_for(&self, more: usize) -> bool {
        match &*lock(&self.0) {
            State::Gathered { items, bytes } => {
                items.is_empty() || bytes + more <= REMOTE_BUNDLE_BYTES_MAX
            }
            _ => false,
        }
    }

    /// Adds a request; returns its index.
    fn add(&self, item: Item, more: usize) -> usize {
        match &mut *lock(&self.0) {
            State::Gathered { items, bytes } => {
                items.push(item);
                *bytes += more;
                items.len() - 1
            }
            _ => unreachable!("a bundle in the outbox is not sent"),
        }
    }

    fn send(&self, host: &Host) {
        let mut state = lock(&self.0);
        if let State::Gathered { items, .. } = &mut *state {
            let items = std::mem::take(items);
            let (request, data) = message(&items);
            let pending = host.begin(&request, &data);
            *state = State::Sent { items, pending };
        }
    }

    /// Returns the answer to one of the requests, which were sent.
    fn answer(&self, host: &Host, index: usize) -> Result<Arrived> {
        let mut state = lock(&self.0);
        if let State::Sent { items, pending } = &mut *state {
            let answers = answers(host, items, pending.take());
            *state = State::Answered(answers.into_iter().map(Some).collect());
        }
        let State::Answered(answers) = &mut *state else {
            unreachable!("a bundle that is waited for was sent")
        };
        let answer = answers.get_mut(index).and_then(Option::take);
        answer.unwrap_or_else(|| Err(malformed(Op::Open)))
    }
}

fn bytes_of(item: &Item) -> usize {
    // A request that is too long for any message goes alone, and is refused alone.
    let head = frame::encode(&(item.request)(0)).map_or(REMOTE_BUNDLE_BYTES_MAX, |head| head.len());
    head + item.data.len()
}

/// Returns the message of some requests; a single one travels as it is.
fn message(items: &[Item]) -> (Request, Vec<u8>) {
    if let [item] = items {
        return ((item.request)(0), item.data.clone());
    }
    let requests = items.iter().map(|item| (item.request)(0)).collect::<Vec<_>>();
    let is_write = requests.iter().any(Request::is_write);
    let part = |(request, item): (&Request, &Item)| Part {
        // One that is too long is in no bundle.
        head: frame::encode(request).unwrap_or_default(),
        data_bytes: item.data.len() as u32,
    };
    let parts = requests.iter().zip(items).map(part).collect();
    (Request::Each { parts, is_write }, items.iter().flat_map(|item| &item.data).copied().collect())
}

/// Waits for the answer to the message, and returns the answer to each request.
fn answers(host: &Host, items: &[Item], pending: Option<Pending>) -> Vec<Result<Arrived>> {
    let alone = |attempt: u32| {
        let ask = |item: &Item| {
            host.ask_from(attempt, item.op, &*item.request, &item.data).map(|(arrived, _)| arrived)
        };
        items.iter().map(ask).collect::<Vec<_>>()
    };
    match (items, pending.map(Pending::wait)) {
        ([_], Some(Ok(arrived))) => vec![Ok(arrived)],
        (_, Some(Ok((Ok(Answer::Each(parts)), data)))) => split(host, items, parts, &data),
        (_, Some(Ok((Ok(_), _)))) => items.iter().map(|item| Err(malformed(item.op))).collect(),
        (_, Some(Ok((Err(error), _)))) => items.iter().map(|_| Err(error.clone())).collect(),
        // Nobody knows what was done: each is sent once more, under another name if it has one.
        (_, Some(Err(_)) | None) => alone(1),
    }
}

/// Returns the answer to each request of a message. What did not fit is requested alone.
fn split(host: &Host, items: &[Item], parts: Vec<Part>, data: &[u8]) -> Vec<Result<Arrived>> {
    let bytes: usize = parts.iter().map(|part| part.data_bytes as usize).sum();
    if parts.len() != items.len() || bytes != data.len() {
        return items.iter().map(|item| Err(malformed(item.op))).collect();
    }
    let mut rest = data;
    let each = items.iter().zip(parts).map(|(item, part)| {
        let (piece, behind) = rest.split_at(part.data_bytes as usize);
        rest = behind;
        match frame::decode::<Reply>(&part.head).map_err(|_| malformed(item.op))? {
            Ok(Answer::Later) => {
                host.ask_from(0, item.op, &*item.request, &item.data).map(|(arrived, _)| arrived)
            }
            reply => Ok((reply, piece.to_vec())),
        }
    });
    each.collect()
}
