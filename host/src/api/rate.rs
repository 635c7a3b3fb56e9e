//! Telling callers how they stand with a rate: `RateLimit` and `RateLimit-Policy` as
//! draft-ietf-httpapi-ratelimit-headers-11 has them, and 429 with `Retry-After`.

use crate::{
    error::{Error, Kind, Result},
    pace::{Rate, Standing},
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use std::{cell::RefCell, hash::Hash};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDING: HeaderName = HeaderName::from_static("ratelimit");

tokio::task_local! {
    /// What was counted for the request that this task is at.
    static COUNTED: RefCell<Vec<Standing>>;
}

/// Counts one for the request at hand; 429 when it is one too many.
pub(super) fn check<K: Clone + Eq + Hash>(
    rate: &Rate<K>,
    key: &K,
    code: &'static str,
    what: &str,
) -> Result<()> {
    let standing = rate.count(key);
    let _ = COUNTED.try_with(|counted| counted.borrow_mut().push(standing));
    if standing.refused {
        let detail = format!("{what}: at most {} a minute", standing.per_minute);
        return Err(Error::new(Kind::TooMany(standing.seconds), code, detail));
    }
    Ok(())
}

/// Runs a request; with what was counted for it.
pub(super) async fn counting<T>(request: impl Future<Output = T>) -> (T, Vec<Standing>) {
    COUNTED
        .scope(RefCell::default(), async {
            let answer = request.await;
            (answer, COUNTED.with(RefCell::take))
        })
        .await
}

pub(super) fn say(counted: &[Standing], headers: &mut HeaderMap) {
    if counted.is_empty() {
        return;
    }
    let policy = |s: &Standing| format!("\"{}\";q={};w=60", s.name, s.per_minute);
    let standing = |s: &Standing| format!("\"{}\";r={};t={}", s.name, s.left, s.seconds);
    for (name, text) in [
        (POLICY, counted.iter().map(policy).collect::<Vec<_>>()),
        (STANDING, counted.iter().map(standing).collect()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&text.join(", ")) {
            headers.insert(name, value);
        }
    }
}
