//! Bodies that are damaged on their way: they break off, or arrive with another byte.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Frame, SizeHint};
use s3s::Body;

/// A body that breaks off.
pub struct CutBody {
    body: Body,
    left_bytes: u64,
    is_flushed: bool,
}

impl CutBody {
    /// Cuts a body after that many bytes.
    pub fn of(body: Body, left_bytes: u64) -> Body {
        Body::http_body_unsync(Self { body, left_bytes, is_flushed: false })
    }
}

impl hyper::body::Body for CutBody {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left_bytes == 0 {
            // One turn of waiting lets the connection send what it has.
            if !std::mem::replace(&mut self.is_flushed, true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err("the body is cut, as the server was told to".into())));
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        let Ok(mut data) = frame.into_data() else { return Poll::Ready(None) };
        data.truncate(usize::try_from(self.left_bytes).unwrap_or(usize::MAX));
        self.left_bytes -= data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    /// Returns the size that the headers promise, which is more than arrives.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body whose first byte is changed.
pub struct SpoiltBody {
    body: Body,
    is_spoilt: bool,
}

impl SpoiltBody {
    /// Changes the first byte of a body.
    pub fn of(body: Body) -> Body {
        Body::http_body_unsync(Self { body, is_spoilt: false })
    }
}

impl hyper::body::Body for SpoiltBody {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let is_first = !self.is_spoilt;
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        let spoilt = frame.map_data(|data| {
            let mut bytes = BytesMut::from(&data[..]);
            if let Some(first) = bytes.first_mut().filter(|_| is_first) {
                *first ^= 1;
                self.is_spoilt = true;
            }
            bytes.freeze()
        });
        Poll::Ready(Some(Ok(spoilt)))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
