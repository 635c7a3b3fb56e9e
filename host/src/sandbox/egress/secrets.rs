//! Secrets that the host fills in: `{{secret:NAME}}` in the value of a header
//! becomes the secret, for a site that the secret is bound to. The guest never has
//! it. Nothing else is filled in: an address is written to logs along the way, and
//! a body may be stored.

use super::failure::Failure;
use crate::sandbox::{guest::within, scope::Scope, site::Site};
use http::{HeaderMap, HeaderValue};
use std::{collections::BTreeMap, time::Duration};

const OPEN: &[u8] = b"{{secret:";
const CLOSE: &[u8] = b"}}";

/// The longest name, in bytes.
const NAME: usize = 128;

/// All filled values together, in bytes: a guest that names a long secret again and
/// again must not make a giant. Servers take 8 to 64 KiB.
const HEADER: usize = 64 << 10;

/// Fills in all secrets, or says which one cannot be.
pub(super) async fn fill(
    headers: &mut HeaderMap,
    site: &Site,
    scope: &dyn Scope,
    patience: Duration,
) -> Result<(), Failure> {
    let mut known = BTreeMap::new();
    for name in names(headers)? {
        if !known.contains_key(&name) {
            let value = usable(&name, site, scope, patience).await?;
            known.insert(name, value);
        }
    }
    if known.is_empty() {
        return Ok(());
    }
    let mut room = HEADER;
    for value in headers.values_mut() {
        if find(value.as_bytes(), OPEN).is_none() {
            continue;
        }
        let text = filled(value.as_bytes(), &known, &mut room).ok_or(Failure::Header(HEADER))?;
        // Every secret's value was tried as a header before.
        let mut filled = HeaderValue::from_bytes(&text).map_err(|_| Failure::Header(HEADER))?;
        filled.set_sensitive(true);
        *value = filled;
    }
    Ok(())
}

/// The value of a secret that may go to this site.
async fn usable(
    name: &str,
    site: &Site,
    scope: &dyn Scope,
    patience: Duration,
) -> Result<String, Failure> {
    let refuse = |why| Err(Failure::Secret(name.to_owned(), why));
    let asked = within(patience, "secret", scope.secret(name)).await;
    let secret = match asked {
        Ok(Ok(Some(secret))) => secret,
        Ok(Ok(None)) => return refuse("there is none of this name"),
        Ok(Err(_)) | Err(_) => return Err(Failure::Unavailable),
    };
    if secret.sites.is_empty() {
        return refuse("it is not bound to any site; bind it with `sites`");
    }
    if !secret.sites.iter().any(|bound| bound.covers(site)) {
        return refuse("it is bound to other sites than this one");
    }
    if HeaderValue::from_str(&secret.value).is_err() {
        return refuse(
            "its value cannot stand in a header: it has line breaks or control characters",
        );
    }
    Ok(secret.value)
}

/// The names in all placeholders.
fn names(headers: &HeaderMap) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for value in headers.values() {
        let mut rest = value.as_bytes();
        while let Some(at) = find(rest, OPEN) {
            rest = &rest[at + OPEN.len()..];
            let end = find(rest, CLOSE).filter(|end| well_formed(&rest[..*end]));
            let Some(end) = end else {
                let shown: String = String::from_utf8_lossy(rest).chars().take(NAME).collect();
                return Err(Failure::Secret(shown, "it is no {{secret:NAME}}"));
            };
            names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
            rest = &rest[end + CLOSE.len()..];
        }
    }
    Ok(names)
}

fn well_formed(name: &[u8]) -> bool {
    let plain = |c: &u8| c.is_ascii_alphanumeric() || b"_-.".contains(c);
    (1..=NAME).contains(&name.len()) && name.iter().all(plain)
}

/// None when there is not room enough.
fn filled(value: &[u8], known: &BTreeMap<String, String>, room: &mut usize) -> Option<Vec<u8>> {
    let (mut text, mut rest) = (Vec::new(), value);
    let mut put = |piece: &[u8]| {
        *room = room.checked_sub(piece.len())?;
        text.extend_from_slice(piece);
        Some(())
    };
    while let Some(at) = find(rest, OPEN) {
        put(&rest[..at])?;
        rest = &rest[at + OPEN.len()..];
        let end = find(rest, CLOSE)?;
        put(known.get(std::str::from_utf8(&rest[..end]).ok()?)?.as_bytes())?;
        rest = &rest[end + CLOSE.len()..];
    }
    put(rest)?;
    Some(text)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_str(value).expect("a header"));
        headers
    }

    fn known() -> BTreeMap<String, String> {
        [("a", "1{{secret:b}}"), ("long", &"x".repeat(16 << 10))]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn placeholders_are_found() {
        let found = |value| names(&headers(value)).map_err(|failure| failure.line());
        assert_eq!(found("Bearer {{secret:a}}"), Ok(vec!["a".to_owned()]));
        assert_eq!(found("{{secret:a}}:{{secret:b-2.c_}}"), Ok(vec!["a".into(), "b-2.c_".into()]));
        assert_eq!(found("{{other:a}} {secret:a} {{ secret:a }}"), Ok(vec![]));
        for broken in ["{{secret:}}", "{{secret:a", "{{secret:a b}}", "{{secret:{{secret:a}}}}"] {
            assert!(found(broken).is_err(), "{broken}");
        }
        assert!(found(&format!("{{{{secret:{}}}}}", "a".repeat(129))).is_err());
    }

    /// What a secret holds is not looked into once more.
    #[test]
    fn values_are_filled_in_once() {
        let text = filled(b"Basic {{secret:a}}; {{secret:a}}!", &known(), &mut { HEADER });
        assert_eq!(text.as_deref(), Some(&b"Basic 1{{secret:b}}; 1{{secret:b}}!"[..]));
    }

    #[test]
    fn a_long_secret_named_again_and_again_makes_no_giant() {
        let value = "{{secret:long}}".repeat(5);
        assert!(filled(value.as_bytes(), &known(), &mut { HEADER }).is_none());
    }
}
