//! Bodies of answers that are read completely before they are passed on, within bounds of bytes and
//! time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_sdk_s3::error::BoxError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::Sleep;

use super::Form;
use super::document::Document;
use super::not_whole::{Gap, NotWhole};
use types::limits::{S3_ANSWER_WAIT, S3_DOCUMENT_BYTES_MAX, S3_DOCUMENT_WAIT, S3_REMARK_BYTES_MAX};

/// A body that yields its content in one piece, once that has proved to be complete.
pub struct Proved {
    inner: SdkBody,
    form: Form,
    got: Vec<u8>,
    /// The time by which the body must have arrived, set when a reader first has to wait.
    deadline: Option<Pin<Box<Sleep>>>,
    is_done: bool,
}

/// Wraps a body that adds nothing to the status of its answer, and truncates it beyond a bound.
pub fn bounded(body: SdkBody) -> SdkBody {
    SdkBody::from_body_1_x(Proved::new(body, Form::Remark))
}

impl Form {
    fn bytes_max(self) -> usize {
        match self {
            Self::Document(_) => S3_DOCUMENT_BYTES_MAX,
            Self::Nothing | Self::Remark => S3_REMARK_BYTES_MAX,
        }
    }

    /// Returns how long the body may take to arrive.
    fn wait_max(self) -> std::time::Duration {
        match self {
            // The service works while it answers, and sends white space to keep the connection
            // alive.
            Self::Document(document) if document.is_slow => S3_ANSWER_WAIT,
            _ => S3_DOCUMENT_WAIT,
        }
    }

    /// Verifies a complete body, and returns it in the form that the client can parse.
    fn prove(self, body: Vec<u8>) -> Result<Bytes, NotWhole> {
        match self {
            Self::Document(document) => document.prove(body),
            Self::Nothing if body.trim_ascii().is_empty() => Ok(Bytes::new()),
            Self::Nothing => Err(NotWhole::new(Gap::Content, &body)),
            Self::Remark => Ok(body.into()),
        }
    }
}

impl Proved {
    pub(super) fn new(inner: SdkBody, form: Form) -> Self {
        Self { inner, form, got: Vec::new(), deadline: None, is_done: false }
    }

    /// Adds bytes of the body. Returns whether enough has been read.
    fn take(&mut self, data: &[u8]) -> Result<bool, NotWhole> {
        let room = self.form.bytes_max() - self.got.len();
        self.got.extend_from_slice(&data[..data.len().min(room)]);
        match self.form {
            _ if data.len() <= room => Ok(false),
            Form::Remark => Ok(true),
            _ => Err(NotWhole::new(Gap::TooLong, &self.got)),
        }
    }

    /// Polls the body until its end, its bound, or its deadline.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            let Poll::Ready(next) = Pin::new(&mut self.inner).poll_frame(context) else {
                return self.poll_deadline(context);
            };
            match next.transpose()? {
                None => return Poll::Ready(Ok(())),
                Some(frame) => {
                    let is_enough = frame.data_ref().map_or(Ok(false), |data| self.take(data))?;
                    if is_enough {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }

    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let wait = self.form.wait_max();
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(NotWhole::new(Gap::Late, &self.got).into()))
    }
}

impl Body for Proved {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_done {
            return Poll::Ready(None);
        }
        let ended = ready!(self.poll_end(context));
        self.is_done = true;
        let (form, got) = (self.form, std::mem::take(&mut self.got));
        let proved = ended.and_then(|()| form.prove(got).map_err(BoxError::from));
        match proved {
            Ok(bytes) if bytes.is_empty() => Poll::Ready(None),
            proved => Poll::Ready(Some(proved.map(Frame::data))),
        }
    }
}

impl Document {
    /// Wraps a body for tests.
    #[cfg(test)]
    pub(super) fn body_of(&'static self, inner: SdkBody) -> Proved {
        Proved::new(inner, Form::Document(self))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::client::runtime::wait_for;

    /// A body of pieces of one size, at once or never, and without end where the test asks for
    /// that.
    struct Pieces {
        left: usize,
        then: Poll<()>,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return self.then.map(|()| None);
            }
            self.left -= 1;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b' '; 1 << 16])))))
        }
    }

    fn read(mut body: Proved) -> Result<usize, String> {
        let next = |body: &mut Proved| {
            wait_for(std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)))
        };
        match next(&mut body) {
            None => Ok(0),
            Some(Ok(frame)) => Ok(frame.into_data().unwrap().len()),
            Some(Err(error)) => Err(error.to_string()),
        }
    }

    fn pieces(left: usize, then: Poll<()>) -> SdkBody {
        SdkBody::from_body_1_x(Pieces { left, then })
    }

    #[test]
    fn an_endless_document_is_an_error_and_an_endless_remark_is_cut_off() {
        let list = Document::of("ListObjectsV2").unwrap();
        let why = read(list.body_of(pieces(usize::MAX, Poll::Pending))).unwrap_err();
        assert!(why.contains("longer than any"), "{why}");
        let remark = Proved::new(pieces(usize::MAX, Poll::Pending), Form::Remark);
        assert_eq!(read(remark), Ok(S3_REMARK_BYTES_MAX));
        let why = read(Proved::new(pieces(usize::MAX, Poll::Pending), Form::Nothing)).unwrap_err();
        assert!(why.contains("longer than any"), "{why}");
    }

    #[test]
    fn content_where_none_belongs_is_an_error() {
        let of = |text: &'static str| read(Proved::new(SdkBody::from(text), Form::Nothing));
        assert_eq!(of(""), Ok(0));
        assert_eq!(of(" \r\n"), Ok(0));
        assert!(of("<html></html>").unwrap_err().contains("where none belongs"));
        assert!(of("<Error><Code>InternalError</Code></Error>").is_err());
    }
}
