//! A client that speaks tus 1.0, step by step.

use super::people::{Answer, Person, send};
use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{Body, Method, RequestBuilder};

/// An upload under way.
pub struct Upload {
    pub who: Person,
    /// Where it is, as the server said.
    pub path: String,
}

/// A request that speaks the right version.
pub fn request(who: &Person, method: Method, path: &str) -> RequestBuilder {
    who.request(method, path).header("tus-resumable", "1.0.0")
}

pub fn metadata(pairs: &[(&str, &str)]) -> String {
    let pair = |(key, value): &(&str, &str)| format!("{key} {}", BASE64_STANDARD.encode(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join(",")
}

pub async fn create(who: &Person, length: usize, told: &[(&str, &str)]) -> Answer {
    let request = request(who, Method::POST, "/files/tus");
    let request = request.header("upload-length", length).header("upload-metadata", metadata(told));
    send(request).await
}

impl Upload {
    pub async fn begin(who: &Person, name: &str, length: usize) -> Self {
        Self::of(who, &Self::try_begin(who, name, length).await)
    }

    pub async fn try_begin(who: &Person, name: &str, length: usize) -> Answer {
        create(who, length, &[("filename", name)]).await
    }

    pub fn of(who: &Person, created: &Answer) -> Self {
        assert_eq!(created.status, 201, "{}", created.text);
        let place = created.headers["location"].to_str().expect("a text");
        Self { who: who.clone(), path: format!("/files/{place}") }
    }

    pub fn id(&self) -> &str {
        self.path.rsplit('/').next().expect("an id")
    }

    pub async fn head(&self) -> Answer {
        send(request(&self.who, Method::HEAD, &self.path)).await
    }

    /// How far the server is.
    pub async fn offset(&self) -> usize {
        let head = self.head().await;
        assert_eq!(
            (head.status, &head.headers["cache-control"].to_str().ok()),
            (200, &Some("no-store"))
        );
        number(&head, "upload-offset")
    }

    pub fn piece(&self, offset: usize, bytes: impl Into<Body>) -> RequestBuilder {
        let request = request(&self.who, Method::PATCH, &self.path).header("upload-offset", offset);
        request.header("content-type", "application/offset+octet-stream").body(bytes)
    }

    pub async fn patch(&self, offset: usize, bytes: impl Into<Body>) -> Answer {
        send(self.piece(offset, bytes)).await
    }

    pub async fn delete(&self) -> Answer {
        send(request(&self.who, Method::DELETE, &self.path)).await
    }
}

pub fn number(answer: &Answer, name: &str) -> usize {
    let found = answer.headers.get(name).and_then(|found| found.to_str().ok()?.parse().ok());
    found.unwrap_or_else(|| panic!("no {name}: {answer:?}"))
}
