//! An agent that speaks HTTP: it sends the requests it is told, and says what came
//! back.
//!
//! ```text
//! POST https://api.example.com/v1/items
//! authorization: Bearer {{secret:API_KEY}}
//!
//! the body
//! ```
//!
//! Further requests follow after a line `---`; each gets a reply of its own. The
//! host fills in the secret, on its way out: this code never has it. It may go only
//! where the operator allows it and, with a secret, only where the secret is bound.
//! Redirects are followed here, for the host does not.

wit_bindgen::generate!({ world: "agent", path: "../../wit" });

use aiybiz::agent::{
    session,
    types::{EndReason, Failure, Message},
};
use exports::aiybiz::agent::handler::Guest;
use wasip2::{
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody,
            OutgoingRequest, Scheme,
        },
    },
    io::streams::StreamError,
};

/// Requests that lead to further ones before it gives up.
const REDIRECTS: usize = 5;

/// What is shown of a body, in bytes.
const SHOWN: usize = 1_000;

/// What is read or written at once; a write may have no more.
const CHUNK: usize = 4_096;

struct Fetcher;

impl Guest for Fetcher {
    fn on_session_started() -> Result<(), Failure> {
        Ok(())
    }

    fn on_message(message: Message) -> Result<(), Failure> {
        for text in message.content.split("\n---\n") {
            let said = match Request::parse(text).and_then(|request| request.follow()) {
                Ok(answer) => answer,
                Err(why) => format!("error: {why}"),
            };
            session::reply(&said).map_err(|error| Failure::Retry(error.to_string()))?;
        }
        Ok(())
    }

    fn on_session_ended(_: EndReason) -> Result<(), Failure> {
        Ok(())
    }
}

struct Request<'a> {
    method: &'a str,
    url: String,
    headers: Vec<(&'a str, &'a str)>,
    body: &'a str,
}

impl<'a> Request<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let first = lines.next().and_then(|line| line.split_once(' '));
        let (method, url) = first.ok_or("say METHOD URL")?;
        let header = |line: &'a str| line.split_once(": ").ok_or(format!("no header: {line}"));
        let headers = lines.map(header).collect::<Result<_, _>>()?;
        Ok(Self { method, url: url.to_owned(), headers, body })
    }

    /// Sends it, and what it is led to.
    fn follow(mut self) -> Result<String, String> {
        for _ in 0..REDIRECTS {
            let answer = self.send()?;
            let to = answer.headers().get("location").into_iter().next();
            match to.filter(|_| (300..400).contains(&answer.status())) {
                Some(to) => self.url = self.led_to(&String::from_utf8_lossy(&to)),
                None => return read(answer).map_err(|error| error.to_string()),
            }
        }
        Err("too many redirects".into())
    }

    /// A path alone is one of the same server.
    fn led_to(&self, to: &str) -> String {
        let path = self.url.match_indices('/').nth(2).map_or(self.url.len(), |(at, _)| at);
        if to.starts_with('/') { format!("{}{to}", &self.url[..path]) } else { to.to_owned() }
    }

    fn send(&self) -> Result<IncomingResponse, String> {
        let request = self.prepared()?;
        let body = request.body().map_err(|()| "the body was taken")?;
        let answer = outgoing_handler::handle(request, None).map_err(|code| code.to_string())?;
        // The other side may have enough before it has all; its answer says why.
        let _ = write(body, self.body.as_bytes());
        answer.subscribe().block();
        let answer = answer.get().ok_or("no answer")?.map_err(|()| "the answer was taken")?;
        answer.map_err(|code| code.to_string())
    }

    fn prepared(&self) -> Result<OutgoingRequest, String> {
        let (scheme, rest) = self.url.split_once("://").ok_or("no URL")?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let scheme = match scheme {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            other => Scheme::Other(other.to_owned()),
        };
        let method = match self.method {
            "GET" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            other => Method::Other(other.to_owned()),
        };
        let headers = Fields::new();
        for (name, value) in &self.headers {
            let set = headers.append(name, value.as_bytes());
            set.map_err(|why| format!("the header {name}: {why}"))?;
        }
        let request = OutgoingRequest::new(headers);
        let set = request.set_method(&method).and(request.set_scheme(Some(&scheme)));
        let set = set.and(request.set_authority(Some(authority)));
        set.and(request.set_path_with_query(Some(path))).map_err(|()| "not a request")?;
        Ok(request)
    }
}

fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), ErrorCode> {
    let broken = |_| ErrorCode::HttpRequestBodySize(None);
    let stream = body.write().map_err(|()| ErrorCode::HttpRequestBodySize(None))?;
    for chunk in bytes.chunks(CHUNK) {
        stream.blocking_write_and_flush(chunk).map_err(broken)?;
    }
    // A stream must be gone before its body is finished.
    drop(stream);
    OutgoingBody::finish(body, None)
}

/// Reads to the end, keeps the beginning.
fn read(answer: IncomingResponse) -> Result<String, ErrorCode> {
    let body: IncomingBody = answer.consume().map_err(|()| ErrorCode::HttpResponseIncomplete)?;
    let stream = body.stream().map_err(|()| ErrorCode::HttpResponseIncomplete)?;
    let (mut shown, mut size) = (Vec::new(), 0);
    let broken = loop {
        match stream.blocking_read(CHUNK as u64) {
            Ok(bytes) => {
                size += bytes.len();
                shown.extend(bytes.iter().take(SHOWN - shown.len()));
            }
            Err(StreamError::Closed) => break "",
            Err(StreamError::LastOperationFailed(_)) => break ", then it broke off",
        }
    };
    let shown = String::from_utf8_lossy(&shown);
    Ok(format!("{}, {size} bytes{broken}: {shown}", answer.status()))
}

export!(Fetcher);
