//! A browser's sign-in: the token in a cookie that no script can read, believed only in
//! requests that a page of ours has made.

use super::caller;
use crate::accounts::sign_ins;
use axum::http::{HeaderMap, HeaderValue, header};

/// The prefix lets no other host, and nothing unencrypted, set it (RFC 6265bis, 4.1.3.2).
const SECURE: &str = "__Host-aiybiz";

/// For a browser on the platform's own machine, without TLS.
const PLAIN: &str = "aiybiz";

/// The token in the cookie, if there is one.
///
/// Where the platform is reached by https, only the one that nobody else can have set counts.
pub(super) fn token(headers: &HeaderMap, encrypted: bool) -> Option<&str> {
    let own = if encrypted { SECURE } else { PLAIN };
    let cookies = headers.get_all(header::COOKIE).iter();
    let pairs = cookies.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
    let mut named = pairs.filter_map(|pair| pair.trim().split_once('='));
    named.find(|(name, _)| *name == own).map(|(_, token)| token)
}

/// Has a page of this host made the request? Browsers say so in `Sec-Fetch-Site`; those
/// too old for it name the page's origin. Whoever says neither is no browser of today.
pub(super) fn is_from_here(headers: &HeaderMap) -> bool {
    match caller::text(headers, "sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => {
            let origin = caller::text(headers, header::ORIGIN.as_str());
            let host = caller::text(headers, header::HOST.as_str());
            let name = origin.and_then(|origin| origin.split_once("://")).map(|(_, name)| name);
            name.is_some() && name == host
        }
    }
}

/// Tells the browser to keep the token for as long as it is good.
pub(super) fn keep(token: &str, encrypted: bool) -> Option<HeaderValue> {
    write(token, sign_ins::LIFE.as_secs(), encrypted)
}

/// Tells the browser to forget it.
pub(super) fn forget(encrypted: bool) -> Option<HeaderValue> {
    write("", 0, encrypted)
}

fn write(token: &str, seconds: u64, encrypted: bool) -> Option<HeaderValue> {
    let (name, secure) = if encrypted { (SECURE, "; Secure") } else { (PLAIN, "") };
    let text = format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    HeaderValue::from_str(&text).ok()
}
