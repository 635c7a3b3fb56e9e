//! Three budgets and a limit on one call: the budgets end the event, the limit is
//! an error the guest can live with.

use super::{World, upstream::socket};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn a_call_too_many_ends_the_event() {
    crate::harness::run(async {
        let mut world = World::new(|limits| limits.http_calls = 3).await;
        let three = ["GET http://UP/hello"; 3].join("\n---\n");
        world.fetch(&three).await;
        let receipt = world.receipt("ok").await;
        assert_eq!(receipt["headroom"]["httpCalls"], 0);
        for _ in 0..2 {
            world.events.reply().await;
        }
        world.send(&format!("{three}\n---\nGET http://elsewhere.test/")).await;
        world.handled += 1;
        let receipt = world.receipt("budget").await;
        assert!(receipt["explanation"].to_string().contains("httpCalls (3)"), "{receipt}");
        assert_eq!(receipt["http"][3]["error"], "budget", "{receipt}");
        assert_eq!(world.up.seen(), 6);
    });
}

#[test]
fn bodies_have_a_budget_in_both_directions() {
    crate::harness::run(async {
        let mut world = World::new(|limits| limits.http_bytes = 1_000).await;
        let body = "x".repeat(500);
        let echoed = world.fetch(&format!("POST http://UP/echo\n\n{body}")).await;
        assert!(echoed.starts_with("200, 500 bytes"), "{echoed}");
        assert_eq!(world.receipt("ok").await["headroom"]["httpBytes"], 0);
        world.send(&format!("POST http://UP/echo\n\n{}", "x".repeat(1_500))).await;
        world.handled += 1;
        let receipt = world.receipt("budget").await;
        assert!(receipt["explanation"].to_string().contains("httpBytes (1000)"), "{receipt}");
        world.send("GET http://UP/endless").await;
        world.handled += 1;
        let receipt = world.receipt("budget").await;
        assert!(receipt["explanation"].to_string().contains("httpBytes (1000)"), "{receipt}");
        assert_eq!(receipt["http"][0]["error"], "budget", "{receipt}");
        assert_eq!(world.fetch("GET http://UP/hello").await, "200, 5 bytes: hello");
    });
}

#[test]
fn waiting_has_a_budget() {
    crate::harness::run(async {
        let silent = socket(&Arc::default(), |mut connection| async move {
            let _ = connection.read(&mut [0; 1024]).await;
            std::future::pending::<()>().await;
        })
        .await;
        let mut world = World::new(|limits| {
            limits.http_allow.push(format!("http://silent.test:{silent}"));
            limits.http_millis = 600;
        })
        .await;
        let begun = Instant::now();
        world.send(&format!("GET http://silent.test:{silent}/")).await;
        world.handled += 1;
        let receipt = world.receipt("budget").await;
        assert!(receipt["explanation"].to_string().contains("httpMillis (600)"), "{receipt}");
        assert_eq!(receipt["headroom"]["httpMillis"], 0);
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(world.fetch("GET http://UP/hello").await, "200, 5 bytes: hello");
    });
}

/// The head of an answer, and each piece after it, come within `hostCallMillis`.
#[test]
fn one_call_that_takes_too_long_is_an_error() {
    crate::harness::run(async {
        let halting = socket(&Arc::default(), |mut connection| async move {
            let mut asked = [0; 1024];
            let n = connection.read(&mut asked).await.unwrap_or_default();
            if asked[..n].starts_with(b"GET /body") {
                let begun = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfive.";
                let _ = connection.write_all(begun.as_bytes()).await;
            }
            std::future::pending::<()>().await;
        })
        .await;
        let mut world = World::new(|limits| {
            limits.http_allow.push(format!("http://halting.test:{halting}"));
            limits.host_call_millis = 300;
        })
        .await;
        let reply = world.fetch(&format!("GET http://halting.test:{halting}/head")).await;
        assert_eq!(reply, "error: ErrorCode::HttpResponseTimeout");
        assert_eq!(world.receipt("ok").await["http"][0]["error"], "timeout");
        let reply = world.fetch(&format!("GET http://halting.test:{halting}/body")).await;
        assert_eq!(reply, "200, 5 bytes, then it broke off: five.");
        let call = world.receipt("ok").await["http"][0].clone();
        assert_eq!((&call["status"], &call["error"]), (&200.into(), &"timeout".into()));
        assert!(world.log().await[0].contains("hostCallMillis"));
    });
}

/// The other side is not read from any faster than the guest reads.
#[test]
fn what_nobody_reads_is_not_fetched() {
    crate::harness::run(async {
        let (open, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&sent);
        let generous = socket(&open, move |mut connection| {
            let sent = Arc::clone(&count);
            async move {
                let _ = connection.read(&mut [0; 1024]).await;
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n";
                let mut piece = &head[..];
                while connection.write_all(piece).await.is_ok() {
                    sent.fetch_add(piece.len(), Ordering::SeqCst);
                    piece = &[b'x'; 16 << 10];
                }
            }
        })
        .await;
        let mut world = World::new(|limits| {
            limits.http_allow.push(format!("http://generous.test:{generous}"));
            limits.http_bytes = 1_000_000;
        })
        .await;
        world.send(&format!("GET http://generous.test:{generous}/")).await;
        world.handled += 1;
        world.receipt("budget").await;
        while open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // What the kernel's buffers on both sides hold, and not much more.
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent < 16 << 20, "{sent} bytes were sent for a guest that read a million");
    });
}
