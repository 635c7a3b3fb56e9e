//! Outbound HTTP of a guest: what it sends through `wasi:http`, held against the
//! operator's list of sites, given the secrets it may use, counted, and sent the
//! way its [`Scope`] offers.
//!
//! A request that may not be sent is an error the guest can handle, and a line in
//! its log says what to do about it. A budget that is used up ends the event, the
//! next time the guest comes back from the host. Redirects are not followed: the
//! guest sees them, and what it sends next is checked like anything else. Nothing
//! is decompressed, so a small answer cannot become a large one on the way.

mod body;
mod books;
mod failure;
mod secrets;

pub use books::HttpCall;
pub(super) use books::Used;

use super::{guest::Stop, limits::Limits, scope::Scope, site::Site};
use body::{Incoming, Outgoing};
use books::{Books, Call, Late};
use failure::Failure;
use http::{HeaderName, Method};
use http_body_util::BodyExt;
use std::{future::Future, sync::Arc, time::Duration};
use url::Url;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, Result, WasiBody,
    WasiHttpHooks,
};

/// What a guest may write to a request's body at once; two of them may wait to be
/// sent.
const CHUNK: usize = 64 << 10;

type Transfer = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// One event's way out.
pub(super) struct Egress {
    /// Opened with the first request: most events make none.
    books: Option<Arc<Books>>,
    limits: Arc<Limits>,
    scope: Arc<dyn Scope>,
}

impl Egress {
    pub(super) fn new(limits: Arc<Limits>, scope: Arc<dyn Scope>) -> Self {
        Self { books: None, limits, scope }
    }

    /// Lines for the guest's log since the last call, and whether it is over.
    pub(super) fn news(&self) -> Option<(Vec<String>, Option<Stop>)> {
        self.books.as_ref()?.news()
    }

    pub(super) fn used(&self) -> Used {
        self.books.as_ref().map(|books| books.used()).unwrap_or_default()
    }
}

impl Drop for Egress {
    /// What a kept instance still has open is of no use to its next event, which has
    /// books of its own.
    fn drop(&mut self) {
        if let Some(books) = &self.books {
            books.close();
        }
    }
}

impl WasiHttpHooks for Egress {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name: &HeaderName| {
            DEFAULT_FORBIDDEN_HEADERS.contains(name) || name.as_str().starts_with("proxy-")
        })
    }

    /// It is made from the address, where nobody can lie in it.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Transfer,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Transfer)>> + Send> {
        let open = || Arc::new(Books::new(Arc::clone(&self.limits)));
        let call = Books::begin(self.books.get_or_insert_with(open), &request);
        let (limits, scope) = (Arc::clone(&self.limits), Arc::clone(&self.scope));
        Box::new(async move {
            let exchange = Exchange { limits, scope, options: options.unwrap_or_default() };
            match exchange.run(request, call.clone()).await {
                Ok(response) => Ok((response, Box::new(async { Ok(()) }) as Transfer)),
                Err(failure) => Err(call.failed(failure)),
            }
        })
    }
}

/// One request and its answer.
struct Exchange {
    limits: Arc<Limits>,
    scope: Arc<dyn Scope>,
    options: RequestOptions,
}

impl Exchange {
    async fn run(
        &self,
        request: http::Request<WasiBody>,
        call: Call,
    ) -> Result<http::Response<WasiBody>, Failure> {
        call.permitted()?;
        let (url, site) = self.allowed(&request)?;
        let out = self.scope.out().ok_or_else(|| Failure::Denied(site.to_string()))?;
        let (mut parts, body) = request.into_parts();
        secrets::fill(&mut parts.headers, &site, &*self.scope, self.limits.host_call()).await?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(reqwest::Body::wrap(Outgoing::new(body, call.clone())));
        let answer = tokio::select! {
            answer = out.send(request) => {
                answer.map_err(|why| Failure::Unreached(site.authority(), why))?
            }
            late = call.wait(self.head_within()) => return Err(late.failure(&site)),
        };
        call.answered(answer.status());
        let (parts, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
        let body = Incoming::new(body, call, site, self.frame_within());
        Ok(http::Response::from_parts(parts, body.boxed_unsync()))
    }

    /// Where the request goes, if it may go there.
    fn allowed(&self, request: &http::Request<WasiBody>) -> Result<(Url, Site), Failure> {
        // A tunnel is no request, and an echo would give away what we filled in.
        if [Method::CONNECT, Method::TRACE].contains(request.method()) {
            return Err(Failure::Method);
        }
        let unsuitable = |why| Failure::Unsuitable(host_of(request.uri()).to_owned(), why);
        let url = Url::parse(&request.uri().to_string());
        let url = url.map_err(|error| unsuitable(error.to_string()))?;
        let site = Site::of_request(&url).map_err(unsuitable)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(unsuitable("must not have credentials in its address".into()));
        }
        let mut sites = self.limits.http_allow.iter().filter_map(|text| Site::parse(text).ok());
        if !sites.any(|allowed| allowed.covers(&site)) {
            return Err(Failure::Denied(site.to_string()));
        }
        Ok((url, site))
    }

    /// How long the head of the answer may take. The guest's own limits, for
    /// connecting and for the first byte, count together.
    fn head_within(&self) -> Duration {
        let most = self.limits.host_call();
        let RequestOptions { connect_timeout, first_byte_timeout, .. } = self.options;
        let own = connect_timeout.unwrap_or(most).checked_add(first_byte_timeout.unwrap_or(most));
        own.map_or(most, |own| own.min(most))
    }

    /// How long each further piece may take.
    fn frame_within(&self) -> Duration {
        let most = self.limits.host_call();
        self.options.between_bytes_timeout.map_or(most, |own| own.min(most))
    }
}

/// The host as the guest wrote it, without the credentials that may be before it.
fn host_of(uri: &http::Uri) -> &str {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    authority.rsplit('@').next().unwrap_or_default()
}

impl Late {
    fn failure(self, site: &Site) -> Failure {
        match self {
            Self::Budget => Failure::Budget,
            Self::Call => Failure::Late(site.authority()),
        }
    }
}
