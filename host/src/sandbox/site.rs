//! A place on the web that a guest may speak to: a scheme, a host or everything
//! below one, a port. The operator lists them in `httpAllow`, and a builder binds
//! secrets to them.
//!
//! A site is a name. What the name leads to is looked at when it is dialled: a
//! closed address is refused there, and `http://` reaches only what the operator
//! allows with `--webhook-allow`. So `http://localhost:8080` is a site that works
//! for an operator who allows 127.0.0.0/8, and for nobody else. An address is never
//! a site: it would say nothing about who answers.

use std::fmt;
use url::{Host, Url};

/// The longest text of a site, in bytes; a host's name has at most 253.
const BYTES: usize = 300;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    plain: bool,
    /// Everything below `host`, but not `host` itself.
    below: bool,
    /// Lower case, international names in their ASCII form.
    host: String,
    port: u16,
}

/// Says what is wrong with a site as an operator or a builder wrote it.
pub fn check_site(text: &str) -> Result<(), String> {
    Site::parse(text).map(drop)
}

impl Site {
    /// `https://host[:port]` or `https://*.host[:port]`; the same with `http`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > BYTES {
            return Err(format!("is longer than {BYTES} bytes"));
        }
        let (scheme, rest) = text.split_once("://").ok_or("must begin with https://")?;
        if !["http", "https"].contains(&scheme) {
            return Err("must begin with https:// (or http://, for the operator's own)".into());
        }
        if rest.contains(['/', '\\', '?', '#']) {
            return Err("must end after the host and port: a site has no path or query".into());
        }
        if rest.contains('@') {
            return Err("must not have credentials; bind a secret to the site instead".into());
        }
        if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("must not have spaces".into());
        }
        let (below, rest) = rest.strip_prefix("*.").map_or((false, rest), |rest| (true, rest));
        if rest.contains('*') {
            return Err("may have one *, alone before the first dot".into());
        }
        let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|why| why.to_string())?;
        let site = Self::of(&url, below)?;
        if site.below && psl::suffix_str(&site.host).is_none_or(|suffix| suffix == site.host) {
            let host = &site.host;
            return Err(format!("*.{host} is everybody's: below {host} anyone may have a name"));
        }
        Ok(site)
    }

    /// The site of a request.
    pub(super) fn of_request(url: &Url) -> Result<Self, String> {
        Self::of(url, false)
    }

    fn of(url: &Url, below: bool) -> Result<Self, String> {
        let plain = url.scheme() == "http";
        let Some(Host::Domain(host)) = url.host() else {
            return Err("must be a name, not an address".into());
        };
        if host.ends_with('.') {
            return Err("must not end with a dot".into());
        }
        // Nobody gives such a name a certificate; below it, see `parse`.
        if !plain && !below && !host.contains('.') {
            return Err(format!("must be a public name; {host} is one of a private network"));
        }
        let port = url.port_or_known_default().filter(|port| *port != 0);
        let port = port.ok_or("must have a port between 1 and 65535")?;
        Ok(Self { plain, below, host: host.to_owned(), port })
    }

    /// Is a request's site this one, or below it?
    pub(super) fn covers(&self, request: &Self) -> bool {
        let named = match request.host.strip_suffix(&self.host) {
            Some("") => !self.below,
            Some(more) => self.below && more.ends_with('.'),
            None => false,
        };
        named && request.plain == self.plain && request.port == self.port
    }

    /// The host, with the port where it is not the scheme's own.
    pub(super) fn authority(&self) -> String {
        let usual = if self.plain { 80 } else { 443 };
        let wild = if self.below { "*." } else { "" };
        let port = (self.port != usual).then(|| format!(":{}", self.port)).unwrap_or_default();
        format!("{wild}{}{port}", self.host)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}", if self.plain { "" } else { "s" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(site: &str, url: &str) -> bool {
        let url = Url::parse(url).expect("a URL");
        let request = Site::of_request(&url);
        request.is_ok_and(|request| Site::parse(site).expect("a site").covers(&request))
    }

    #[test]
    fn sites_are_kept_in_one_spelling() {
        let spelled = [
            ("https://api.example.com", "https://api.example.com"),
            ("https://API.Example.com:443", "https://api.example.com"),
            ("https://api.example.com:8443", "https://api.example.com:8443"),
            ("https://*.example.co.uk", "https://*.example.co.uk"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://name.test:80", "http://name.test"),
            ("https://*.a.b.example.com:1", "https://*.a.b.example.com:1"),
            ("https://github.io", "https://github.io"),
        ];
        for (text, kept) in spelled {
            assert_eq!(Site::parse(text).map(|site| site.to_string()).as_deref(), Ok(kept));
        }
    }

    #[test]
    fn what_is_no_site_is_refused_with_the_reason() {
        let refused = [
            ("", "must begin with https://"),
            ("example.com", "must begin with https://"),
            ("//example.com", "must begin with https://"),
            ("ftp://example.com", "must begin with https://"),
            ("HTTPS://example.com", "must begin with https://"),
            ("wss://example.com", "must begin with https://"),
            ("https://", "empty host"),
            ("https://:443", "empty host"),
            ("https://*.", "empty host"),
            ("https://example.com/", "no path"),
            ("https://example.com/v1", "no path"),
            ("https://example.com?a=b", "no path"),
            ("https://example.com#a", "no path"),
            ("https://example.com\\@evil.example", "no path"),
            ("https://user:pass@example.com", "credentials"),
            ("https://exam ple.com", "spaces"),
            ("https://example.com\n", "spaces"),
            ("https://*", "one *"),
            ("https://*example.com", "one *"),
            ("https://api.*.com", "one *"),
            ("https://*.*.example.com", "one *"),
            ("https://*.com", "everybody's"),
            ("https://*.co.uk", "everybody's"),
            ("https://*.github.io", "everybody's"),
            ("https://*.CO.UK:8443", "everybody's"),
            ("http://*.localhost", "everybody's"),
            ("https://localhost", "public name"),
            ("https://intranet", "public name"),
            ("https://example.com.", "end with a dot"),
            ("https://example.com:0", "port"),
            ("https://example.com:65536", "port"),
            ("https://example.com:https", "port"),
            ("https://127.0.0.1", "not an address"),
            ("http://127.0.0.1:8080", "not an address"),
            ("https://127.1", "not an address"),
            ("https://2130706433", "not an address"),
            ("https://0x7f000001", "not an address"),
            ("https://0177.0.0.1", "not an address"),
            ("https://*.0.0.1", "not an address"),
            ("https://127.0.0.1.", "not an address"),
            ("https://[::1]", "not an address"),
            ("https://[::ffff:127.0.0.1]:443", "not an address"),
            ("https://１２７.0.0.1", "not an address"),
        ];
        for (text, why) in refused {
            let refusal = check_site(text).expect_err(text);
            assert!(refusal.contains(why), "{text}: {refusal}");
        }
        assert!(check_site(&format!("https://{}.com", "a".repeat(300))).is_err());
    }

    #[test]
    fn a_wildcard_covers_what_is_below_it_and_nothing_else() {
        let wild = "https://*.example.com";
        assert!(covers(wild, "https://api.example.com/v1?q=1"));
        assert!(covers(wild, "https://a.b.example.com/"));
        assert!(covers(wild, "https://API.EXAMPLE.COM:443/"));
        for other in [
            "https://example.com/",
            "https://badexample.com/",
            "https://example.com.evil.example/",
            "https://api.example.com:8443/",
            "http://api.example.com/",
            "http://api.example.com:443/",
            "https://api.example.com./",
            "https://evil.example/api.example.com",
            "https://api.example.com@evil.example/",
            "https://127.0.0.1/",
        ] {
            assert!(!covers(wild, other), "{other}");
        }
    }

    #[test]
    fn a_name_covers_itself_only() {
        assert!(covers("https://example.com", "https://example.com/"));
        assert!(covers("http://localhost:8080", "http://localhost:8080/x"));
        assert!(!covers("http://localhost:8080", "http://localhost:8081/x"));
        assert!(!covers("https://example.com", "https://api.example.com/"));
    }
}
