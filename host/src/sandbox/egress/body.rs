//! Bodies on their way, counted piece by piece. Nothing is gathered: a piece is
//! taken from one side when the other side has room for it.

use super::{
    books::{Call, Wait},
    failure::Failure,
};
use crate::net::Unreached;
use crate::sandbox::site::Site;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    future::Future,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use wasmtime_wasi_http::{Error, WasiBody};

/// What the guest sends.
pub(super) struct Outgoing {
    /// A lock that is never waited for: the client wants what can be shared.
    body: Mutex<WasiBody>,
    hint: SizeHint,
    ended: bool,
    call: Call,
}

impl Outgoing {
    pub(super) fn new(body: WasiBody, call: Call) -> Self {
        let (hint, ended) = (body.size_hint(), body.is_end_stream());
        Self { body: Mutex::new(body), hint, ended, call }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        this.call.permitted().map_err(|failure| this.call.failed(failure))?;
        let body = this.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            let frame = frame?;
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            this.call.sent(bytes).map_err(|over| this.call.failed(over))?;
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.hint.clone()
    }
}

/// What comes back.
pub(super) struct Incoming {
    body: reqwest::Body,
    call: Call,
    site: Site,
    /// How long a piece may take.
    within: Duration,
    wait: Option<Wait>,
}

impl Incoming {
    pub(super) fn new(body: reqwest::Body, call: Call, site: Site, within: Duration) -> Self {
        Self { body, call, site, within, wait: None }
    }

    fn arrived(
        &self,
        frame: Option<reqwest::Result<Frame<Bytes>>>,
    ) -> Option<Result<Frame<Bytes>, Failure>> {
        match frame {
            None => {
                self.call.ended();
                None
            }
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                Some(self.call.received(bytes).map(|()| frame))
            }
            Some(Err(error)) => {
                let why = Unreached::because(&error);
                Some(Err(Failure::Unreached(self.site.authority(), why)))
            }
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        this.call.permitted().map_err(|failure| this.call.failed(failure))?;
        let arrived = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => this.arrived(frame),
            Poll::Pending => {
                let wait = this.wait.get_or_insert_with(|| this.call.wait(this.within));
                let late = std::task::ready!(Pin::new(wait).poll(cx));
                Some(Err(late.failure(&this.site)))
            }
        };
        this.wait = None;
        Poll::Ready(arrived.map(|frame| frame.map_err(|failure| this.call.failed(failure))))
    }
}
