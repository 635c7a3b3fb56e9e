//! Outbound HTTP of a guest. No host is approved yet, so every request is denied;
//! a component that imports `wasi:http` links and runs all the same.

use std::future::Future;
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};

pub(super) struct Closed;

type Transfer = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Closed {
    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Transfer,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Transfer)>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
