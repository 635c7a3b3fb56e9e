//! What a guest prints: kept up to a limit, the rest swallowed.
//!
//! (Wasmtime's own memory pipe traps the guest when it is full.)

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

#[derive(Clone)]
pub(super) struct Printed(Arc<Mutex<Page>>);

struct Page {
    bytes: Vec<u8>,
    max: usize,
}

impl Printed {
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Mutex::new(Page { bytes: Vec::new(), max })))
    }

    /// An empty page for the next event.
    pub(super) fn renew(&self, max: usize) {
        *self.lock() = Page { bytes: Vec::new(), max };
    }

    /// What was printed since the last call, as text.
    pub(super) fn take(&self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.lock().bytes)).into_owned()
    }

    fn lock(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Printed {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        text: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut page = self.lock();
        let room = page.max.saturating_sub(page.bytes.len()).min(text.len());
        page.bytes.extend_from_slice(&text[..room]);
        Poll::Ready(Ok(text.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
