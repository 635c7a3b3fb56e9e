//! Servers that mean harm: whatever they send, the event ends within its limits and
//! the platform goes on.

use super::{World, names, upstream::socket};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A server that reads the request and then sends `first`, and `again` for ever.
async fn sends(
    open: &Arc<AtomicUsize>,
    first: &'static str,
    again: impl Into<String>,
    every: Duration,
) -> u16 {
    let again: String = again.into();
    socket(open, move |mut connection: TcpStream| {
        let again = again.clone();
        async move {
            let _ = connection.read(&mut [0; 1024]).await;
            let _ = connection.write_all(first.as_bytes()).await;
            while !again.is_empty() && connection.write_all(again.as_bytes()).await.is_ok() {
                tokio::time::sleep(every).await;
            }
        }
    })
    .await
}

fn endless() -> String {
    "x".repeat(64 << 10)
}

const OK: &str = "HTTP/1.1 200 OK\r\n\r\n";

#[test]
fn hostile_answers_end_within_the_limits() {
    crate::harness::run(async {
        let drip = Duration::from_millis(20);
        let now = Duration::ZERO;
        let open = Arc::default();
        let attacks = [
            ("drips its body", sends(&open, OK, "x", drip).await, "budget"),
            (
                "drips its head",
                sends(&open, "HTTP/1.1 200 OK\r\n", "a: b\r\n", drip).await,
                "timeout",
            ),
            ("never ends its body", sends(&open, OK, endless(), now).await, "budget"),
            (
                "never ends its head",
                sends(&open, "HTTP/1.1 200 OK\r\na: ", endless(), now).await,
                "protocol",
            ),
            ("counts its chunks wrong", sends(&open, CHUNKED, endless(), now).await, "protocol"),
            (
                "announces for ever",
                sends(&open, "", "HTTP/1.1 102 Processing\r\n\r\n", drip).await,
                "timeout",
            ),
            (
                "speaks another language",
                sends(&open, "220 smtp.example ESMTP\r\n", "", now).await,
                "protocol",
            ),
            ("hangs up", sends(&open, "", "", now).await, "connection_closed"),
            (
                "breaks off",
                sends(&open, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfour", "", now).await,
                "connection_closed",
            ),
            ("contradicts itself", sends(&open, TWO_LENGTHS, "", now).await, "protocol"),
        ];
        let mut world = World::new(|limits| {
            for (_, port, _) in &attacks {
                limits.http_allow.push(format!("http://evil.test:{port}"));
            }
            limits.host_call_millis = 1_000;
            limits.http_millis = 2_000;
            limits.http_bytes = 1 << 20;
        })
        .await;
        for (name, port, error) in &attacks {
            world.send(&format!("GET http://evil.test:{port}/")).await;
            world.handled += 1;
            let receipts = world.bea.receipts(&world.agent, &world.session, world.handled).await;
            let receipt = receipts.last().expect("a receipt");
            let call = &receipt["http"][0];
            assert_eq!(call["error"], *error, "{name}: {receipt}");
            assert!(
                call["millis"].as_u64().is_some_and(|millis| millis < 10_000),
                "{name}: {call}"
            );
            let outcome = if *error == "budget" { "budget" } else { "ok" };
            assert_eq!(receipt["outcome"], outcome, "{name}: {receipt}");
        }
        // No connection outlives its event.
        while open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Nobody else's requests suffer.
        let (session, mut events) = world.cleo.starts(&world.agent).await;
        let url = format!("GET http://up.test:{}/hello", world.up.port);
        world.cleo.says(&session, &url).await;
        assert_eq!(events.reply().await, "200, 5 bytes: hello");
    });
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

const TWO_LENGTHS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n12";

/// The first answer is this machine, which the operator allows; every later one is
/// not. Each connection is checked with the answer it was given.
#[test]
fn a_name_that_changes_its_mind_is_checked_each_time() {
    crate::harness::run(async {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let fickle = move |name: &str| {
            if name != "fickle.test" {
                return names(name);
            }
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => vec![Ipv4Addr::LOCALHOST.into()],
                _ => vec![IpAddr::from([169, 254, 169, 254])],
            }
        };
        let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
        let port = sends(&Arc::default(), answer, "", Duration::ZERO).await;
        let site = format!("http://fickle.test:{port}");
        let allow = site.clone();
        let mut world =
            World::with_names(move |limits| limits.http_allow.push(allow), fickle).await;
        assert_eq!(world.fetch(&format!("GET {site}/")).await, "200, 2 bytes: hi");
        let reply = world.fetch(&format!("GET {site}/")).await;
        assert_eq!(reply, "error: ErrorCode::DestinationIpProhibited");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    });
}

/// What is compressed stays so: the guest gets the bytes that were sent, and they
/// are what is counted.
#[test]
fn nothing_is_decompressed_on_the_way() {
    crate::harness::run(async {
        let mut world = World::new(|_| ()).await;
        let reply = world.fetch("GET http://UP/gzip").await;
        assert!(reply.starts_with("200, 14 bytes"), "{reply}");
        let sent = world.up.last();
        assert!(!sent.headers.contains_key("accept-encoding"), "{:?}", sent.headers);
    });
}
