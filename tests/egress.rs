//! Outbound HTTP of components: where it may go, what it may cost, and what is told
//! of it. The guest is the fetcher, which sends what it is told.

mod attacks;
mod budgets;
mod secrets;
mod upstream;

use crate::harness::{Events, Person, Platform, Value, guests};
use aiybiz_host::sandbox::{Limits, Pool};
use std::net::{IpAddr, Ipv4Addr};
use upstream::Upstream;

/// Names of the tests: `*.test` is this machine, but for a few.
fn names(name: &str) -> Vec<IpAddr> {
    let private = IpAddr::from([10, 0, 0, 1]);
    match name {
        "private.test" => vec![private],
        "mixed.test" => vec![Ipv4Addr::LOCALHOST.into(), private],
        "public.test" => vec![IpAddr::from([93, 184, 215, 14])],
        "metadata.test" => vec![IpAddr::from([169, 254, 169, 254])],
        name if name.ends_with(".test") => vec![Ipv4Addr::LOCALHOST.into()],
        _ => vec![],
    }
}

/// A platform, an upstream server, and a session with a fetcher.
struct World {
    _platform: Platform,
    up: Upstream,
    bea: Person,
    cleo: Person,
    agent: String,
    session: String,
    events: Events,
    /// Events handled so far.
    handled: usize,
}

impl World {
    /// A few names are allowed, at the upstream's port.
    async fn new(change: impl FnOnce(&mut Limits)) -> Self {
        Self::with_names(change, names).await
    }

    async fn with_names(
        change: impl FnOnce(&mut Limits),
        names: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        let up = Upstream::start().await;
        let sites = |limits: &mut Limits| {
            let closed = ["private.test", "mixed.test", "metadata.test", "public.test"];
            for host in ["up.test", "*.shop.test"].iter().chain(&closed) {
                limits.http_allow.push(format!("http://{host}:{}", up.port));
            }
            limits.http_allow.push(format!("https://up.test:{}", up.port));
            limits.http_allow.push("https://nowhere.example".into());
            change(limits);
        };
        let platform = Platform::start_with_names(sites, names).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Fetcher", guests::FETCHER).await;
        let (session, events) = cleo.starts(&agent).await;
        Self { _platform: platform, up, bea, cleo, agent, session, events, handled: 1 }
    }

    /// Has the guest send these requests; returns what it says of the first.
    /// `UP` stands for the upstream's name and port.
    async fn fetch(&mut self, requests: &str) -> String {
        self.send(requests).await;
        let reply = self.events.reply().await;
        self.handled += 1;
        reply
    }

    async fn send(&self, requests: &str) {
        let port = self.up.port;
        let requests = requests.replace("PORT", &port.to_string());
        self.cleo.says(&self.session, &requests.replace("UP", &format!("up.test:{port}"))).await;
    }

    /// The receipt of the last event, which must have ended like this.
    async fn receipt(&self, outcome: &str) -> Value {
        let receipts = self.bea.receipts(&self.agent, &self.session, self.handled).await;
        let last = receipts.last().expect("a receipt").clone();
        assert_eq!(last["outcome"], outcome, "{last}");
        last
    }

    /// The messages of the log, newest first.
    async fn log(&self) -> Vec<String> {
        // The log is there with the receipt.
        self.bea.receipts(&self.agent, &self.session, self.handled).await;
        let path = format!("/builder/agents/{}/logs?sessionId={}", self.agent, self.session);
        let found = self.bea.get(&path).await.ok();
        let entries = found["data"].as_array().expect("a list").iter();
        entries.map(|entry| entry["message"].as_str().expect("text").to_owned()).collect()
    }
}

#[test]
fn a_component_speaks_to_the_sites_the_operator_allows() {
    crate::harness::run(async {
        let mut world = World::new(|_| ()).await;
        assert_eq!(world.fetch("GET http://UP/hello").await, "200, 5 bytes: hello");
        let receipt = world.receipt("ok").await;
        let call = &receipt["http"][0];
        assert_eq!(call["method"], "GET");
        assert_eq!(call["host"], format!("up.test:{}", world.up.port));
        assert_eq!(call["status"], 200);
        assert_eq!(call["error"], Value::Null);
        assert_eq!((&call["bytesOut"], &call["bytesIn"]), (&0.into(), &5.into()));
        assert!(call["millis"].as_u64().is_some_and(|millis| millis < 5_000), "{call}");
        assert_eq!(receipt["headroom"]["httpCalls"], 98);
        assert_eq!(receipt["headroom"]["httpBytes"], 99);
        assert!(receipt["headroom"]["httpMillis"].as_u64().is_some_and(|left| left > 50));

        let body = "x".repeat(20_000);
        let posted = world
            .fetch(&format!("POST http://a.b.shop.test:PORT/echo?q=1\nx-own: 1\n\n{body}"))
            .await;
        assert!(posted.starts_with("200, 20000 bytes: xxx"), "{posted}");
        let seen = world.up.last();
        assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("POST", "/echo?q=1"));
        assert_eq!(seen.headers["host"], format!("a.b.shop.test:{}", world.up.port));
        assert_eq!(seen.headers["x-own"], "1");
        let receipt = world.receipt("ok").await;
        assert_eq!(receipt["http"][0]["bytesOut"], 20_000);
        assert_eq!(receipt["http"][0]["bytesIn"], 20_000);
        // Paths and headers are nobody's business.
        assert!(!receipt.to_string().contains("echo"), "{receipt}");
    });
}

#[test]
fn what_the_operator_does_not_allow_is_an_error_and_a_line_in_the_log() {
    crate::harness::run(async {
        let mut world = World::new(|_| ()).await;
        let port = world.up.port;
        let other = format!("http://up.test:{}", port ^ 1);
        for (url, site) in [
            ("http://elsewhere.test:PORT/", format!("http://elsewhere.test:{port}")),
            ("http://shop.test:PORT/", format!("http://shop.test:{port}")),
            ("http://evilshop.test:PORT/", format!("http://evilshop.test:{port}")),
            ("http://up.test/", "http://up.test".to_owned()),
            (other.as_str(), other.clone()),
            ("http://127.0.0.1:PORT/", format!("127.0.0.1:{port}")),
            ("http://2130706433:PORT/", format!("2130706433:{port}")),
            ("http://[::ffff:127.0.0.1]:PORT/", format!("[::ffff:127.0.0.1]:{port}")),
            ("http://user:word@UP/", format!("up.test:{port}")),
            ("http://up.test@elsewhere.test:PORT/", format!("elsewhere.test:{port}")),
            ("http://up.test.:PORT/", format!("up.test.:{port}")),
        ] {
            let reply = world.fetch(&format!("GET {url}")).await;
            assert_eq!(reply, "error: ErrorCode::HttpRequestDenied", "{url}");
            let receipt = world.receipt("ok").await;
            assert_eq!(receipt["http"][0]["error"], "site_not_allowed", "{receipt}");
            assert!(!receipt.to_string().contains("word"), "{receipt}");
            let line = world.log().await.remove(0);
            assert!(line.starts_with(&format!("no request to {site}: ")), "{url}: {line}");
            assert!(!line.contains("word"), "{line}");
        }
        for method in ["CONNECT", "TRACE"] {
            let reply = world.fetch(&format!("{method} http://UP/")).await;
            assert_eq!(reply, "error: ErrorCode::HttpRequestMethodInvalid");
        }
        assert_eq!(world.up.seen(), 0);
    });
}

/// The name is allowed; what it leads to is not.
#[test]
fn an_allowed_name_must_lead_to_an_address_that_may_be_dialled() {
    crate::harness::run(async {
        let mut world = World::new(|_| ()).await;
        for (url, error, code) in [
            ("http://private.test:PORT/", "DestinationIpProhibited", "address_not_allowed"),
            ("http://mixed.test:PORT/", "DestinationIpProhibited", "address_not_allowed"),
            ("http://metadata.test:PORT/", "DestinationIpProhibited", "address_not_allowed"),
            ("https://nowhere.example/", "DnsError", "unknown_host"),
            // By plain http, an address must be the operator's; public is not enough.
            ("http://public.test:PORT/", "DestinationIpProhibited", "address_not_allowed"),
            // The upstream does not speak TLS.
            ("https://UP/", "TlsProtocolError", "tls"),
        ] {
            let reply = world.fetch(&format!("GET {url}")).await;
            assert!(reply.contains(error), "{url}: {reply}");
            let receipt = world.receipt("ok").await;
            assert_eq!(receipt["http"][0]["error"], code, "{receipt}");
        }
        let line = world.log().await.remove(1);
        assert!(line.contains("--webhook-allow"), "{line}");
        assert_eq!(world.up.seen(), 0);
    });
}

#[test]
fn a_redirect_is_checked_like_any_request() {
    crate::harness::run(async {
        let mut world = World::new(|_| ()).await;
        let to = |url: &str| format!("GET http://UP/redirect?{url}");
        let there = world.fetch(&to("http://UP/hello")).await;
        assert_eq!(there, "200, 5 bytes: hello");
        assert_eq!(world.receipt("ok").await["http"].as_array().map(Vec::len), Some(2));
        for (url, error) in [
            ("http://169.254.169.254/latest/meta-data/", "HttpRequestDenied"),
            ("http://metadata.test:PORT/latest", "DestinationIpProhibited"),
            ("http://elsewhere.test:PORT/", "HttpRequestDenied"),
            ("file:///etc/passwd", "not a request"),
            ("gopher://up.test:PORT/", "HttpProtocolError"),
        ] {
            let reply = world.fetch(&to(url)).await;
            assert!(reply.contains(error), "{url}: {reply}");
        }
        let reply = world.fetch(&to("http://UP/round")).await;
        assert_eq!(reply, "error: too many redirects");
    });
}

#[test]
fn headers_that_steer_the_connection_are_not_the_guests_to_set() {
    crate::harness::run(async {
        let mut world = World::new(|_| ()).await;
        for name in [
            "host",
            "connection",
            "transfer-encoding",
            "upgrade",
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "proxy-anything",
            "http2-settings",
        ] {
            let reply = world.fetch(&format!("GET http://UP/hello\n{name}: x")).await;
            assert!(reply.contains("Forbidden"), "{name}: {reply}");
        }
        let reply = world.fetch("GET http://UP/hello\nx-a: a\rset-cookie: b").await;
        assert!(reply.contains("InvalidSyntax"), "{reply}");
        // A body is as long as it was said to be, or there is no request.
        let reply = world.fetch("POST http://UP/echo\ncontent-length: 3\n\nfour").await;
        assert_eq!(reply, "200, 3 bytes: fou");
        let reply = world.fetch("POST http://UP/echo\ncontent-length: 9\n\nfour").await;
        assert!(reply.starts_with("error: ") || reply.contains("broke off"), "{reply}");
        assert!(world.up.all().iter().all(|seen| seen.method != "GET"), "no request got out");
    });
}

#[test]
fn limits_with_a_bad_site_are_refused() {
    for (site, why) in [("https://*.com", "everybody's"), ("https://127.0.0.1", "not an address")] {
        let limits = Limits { http_allow: vec![site.into()], ..Limits::default() };
        let refused = limits.check(&Pool::default()).expect_err("a bad site").to_string();
        assert!(refused.contains("httpAllow") && refused.contains(why), "{refused}");
    }
}
