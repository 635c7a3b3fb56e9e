//! Servers that do not behave: each is cut or refused, said so by name, and holds
//! nothing up. The sockets are real, and so is the name server.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Place, Platform, Value, json,
        process::Process,
        receiver::{NameServer, Receiver, Record, request},
    },
};
use futures::future::join_all;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends a test event there and returns the record of it.
async fn tried(bea: &Person, url: &str) -> Value {
    let (agent, _) = bea.publish_webhook("Strange", url, "none").await;
    bea.post(&format!("/builder/agents/{agent}/test-event"), json!({})).await.ok()
}

fn hook(receiver: &Receiver) -> String {
    format!("http://{}/hook", receiver.address)
}

/// An answer that never ends, once the request is read.
async fn endlessly(mut stream: TcpStream, head: &'static [u8], more: Vec<u8>, pause: Duration) {
    request(&mut stream).await;
    let _ = stream.write_all(head).await;
    while stream.write_all(&more).await.is_ok() {
        tokio::time::sleep(pause).await;
    }
}

both_engines! {
    async fn whoever_is_slow_is_cut_after_ten_seconds(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let silent = Receiver::that("127.0.0.1:0", async |mut stream| {
            request(&mut stream).await;
            // Until the platform hangs up.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let dripping_head = Receiver::that("127.0.0.1:0", |stream| {
            endlessly(stream, b"HTTP/1.1 200 OK\r\nx: ", b"y".to_vec(), Duration::from_millis(200))
        })
        .await;
        let dripping_body = Receiver::that("127.0.0.1:0", |stream| {
            let head = b"HTTP/1.1 500 Oh\r\ncontent-length: 9999\r\n\r\n";
            endlessly(stream, head, b"y".to_vec(), Duration::from_millis(200))
        })
        .await;
        let patience = Receiver::that("127.0.0.1:0", |stream| {
            let more = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
            endlessly(stream, b"", more, Duration::from_millis(1))
        })
        .await;
        let all = [silent, dripping_head, dripping_body, patience];
        let tries = join_all(all.iter().map(|one| async { tried(&bea, &hook(one)).await })).await;
        for (one, status) in tries.iter().zip([Value::Null, Value::Null, json!(500), Value::Null]) {
            assert_eq!((&one["error"], &one["responseStatus"]), (&json!("timeout"), &status), "{one}");
            let took = one["durationMs"].as_u64().expect("a number");
            assert!((9_000..12_000).contains(&took), "{one}");
            // Where it went is known all the same.
            assert!(one["connectMs"].is_u64() && one["address"].is_string(), "{one}");
        }
        // What came of the body before it was cut is there.
        assert!(tries[2]["responseBody"].as_str().is_some_and(|body| body.starts_with("yyy")));
    }

    async fn what_is_too_much_is_not_read(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let endless = Receiver::that("127.0.0.1:0", |stream| {
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let mut chunk = b"10000\r\n".to_vec();
            chunk.extend(vec![b'z'; 0x10000]);
            chunk.extend_from_slice(b"\r\n");
            endlessly(stream, head, chunk, Duration::ZERO)
        })
        .await;
        let one = tried(&bea, &hook(&endless)).await;
        assert_eq!((&one["outcome"], &one["responseTruncated"]), (&json!("delivered"), &json!(true)));
        assert_eq!(one["responseBody"].as_str().map(str::len), Some(16 << 10));

        let mut head = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
        head.extend(vec![b'h'; 1 << 20]);
        head.extend_from_slice(b"\r\n\r\n");
        let one = tried(&bea, &hook(&Receiver::saying(head).await)).await;
        assert_eq!((&one["outcome"], &one["error"]), (&json!("dead"), &json!("protocol")), "{one}");

        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        for n in 0..1_000 {
            head.extend_from_slice(format!("x-{n}: y\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        let one = tried(&bea, &hook(&Receiver::saying(head).await)).await;
        assert_eq!(one["error"], "protocol", "{one}");

        // A bomb stays as small as it came: nothing is unpacked.
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 10\r\n\r\n".to_vec();
        answer.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
        let one = tried(&bea, &hook(&Receiver::saying(answer).await)).await;
        assert_eq!(one["outcome"], "delivered");
        assert!(one["responseBody"].as_str().is_some_and(|body| body.starts_with('\u{1f}')), "{one}");
        assert_eq!(one["requestHeaders"]["accept-encoding"], "identity");

        // Neither UTF-8 nor without NUL.
        let answer = b"HTTP/1.1 500 Oh\r\ncontent-length: 4\r\n\r\na\0\xff\xfe".to_vec();
        let one = tried(&bea, &hook(&Receiver::saying(answer).await)).await;
        assert_eq!(one["responseBody"], "a\u{fffd}\u{fffd}\u{fffd}");
    }

    async fn whoever_breaks_off_is_told_apart(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let reset = Receiver::that("127.0.0.1:0", async |mut stream| {
            request(&mut stream).await;
            stream.set_zero_linger().expect("a socket");
        })
        .await;
        assert_eq!(tried(&bea, &hook(&reset)).await["error"], "reset");
        let hangs_up = Receiver::saying(Vec::new()).await;
        assert_eq!(tried(&bea, &hook(&hangs_up)).await["error"], "reset");
        for (answer, error) in [
            (&b"hello\r\n\r\n"[..], "protocol"),
            (b"HTTP/3.9 200 OK\r\n\r\n", "protocol"),
            (b"HTTP/1.1 500 Oh\r\ncontent-length: 100\r\n\r\nshort", "reset"),
            (b"HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "protocol"),
        ] {
            let one = tried(&bea, &hook(&Receiver::saying(answer.to_vec()).await)).await;
            assert_eq!(one["error"], error, "{one}");
        }
        // It was taken, whatever became of the rest.
        let taken = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort";
        let one = tried(&bea, &hook(&Receiver::saying(taken.to_vec()).await)).await;
        assert_eq!((&one["outcome"], &one["responseBody"]), (&json!("delivered"), &json!("short")));
    }

    async fn redirects_lead_nowhere(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let forbidden = Receiver::saying(Vec::new()).await;
        for (status, to) in [
            (301, "http://169.254.169.254/latest/meta-data/".to_owned()),
            (302, hook(&forbidden)),
            (307, hook(&forbidden)),
            (308, "file:///etc/passwd".to_owned()),
        ] {
            let answer = format!("HTTP/1.1 {status} Away\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
            let one = tried(&bea, &hook(&Receiver::saying(answer.into()).await)).await;
            assert_eq!((&one["error"], &one["responseStatus"]), (&json!("redirect"), &json!(status)));
        }
        assert_eq!(forbidden.count(), 0);
    }

    async fn a_handshake_that_stalls_or_fails_is_told_apart(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let stalls = Receiver::that("127.0.0.1:0", async |mut stream| {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let one = tried(&bea, &format!("https://{}/hook", stalls.address)).await;
        assert_eq!(one["error"], "connect_timeout", "{one}");
        let took = one["durationMs"].as_u64().expect("a number");
        assert!((4_500..7_000).contains(&took), "{one}");
        assert_eq!((&one["address"], &one["tlsMs"]), (&json!(stalls.address.to_string()), &Value::Null));

        let plain = Receiver::that("127.0.0.1:0", async |mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 400 This is not what you think\r\n\r\n").await;
        })
        .await;
        let one = tried(&bea, &format!("https://{}/hook", plain.address)).await;
        assert_eq!(one["error"], "tls", "{one}");
        let stranger = secure(rcgen::generate_simple_self_signed(["127.0.0.1".into()]).expect("keys")).await;
        let one = tried(&bea, &format!("https://{}/hook", stranger.address)).await;
        assert_eq!(one["error"], "tls", "{one}");
    }

    async fn a_name_that_changes_its_mind_leads_nowhere(engine: Engine) {
        const OPEN: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
        const CLOSED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
        let names = NameServer::that(|name, asked| match name {
            "well.example" => vec![Record::Address(OPEN)],
            // What a check before the first attempt would see, and what comes after.
            "rebinds.example" if asked == 0 => vec![Record::Address(OPEN)],
            "rebinds.example" => vec![Record::Address(CLOSED)],
            "mixed.example" => vec![Record::Address(OPEN), Record::Address(CLOSED)],
            "six.example" => vec![Record::Address(Ipv6Addr::LOCALHOST.into())],
            "both.example" => vec![Record::Address(OPEN), Record::Address(Ipv6Addr::LOCALHOST.into())],
            "mapped.example" => vec![Record::Address(Ipv4Addr::new(127, 0, 0, 2).to_ipv6_mapped().into())],
            "alias.example" => vec![Record::Alias("inner.example", CLOSED)],
            _ => vec![],
        })
        .await;
        let platform = Platform::configured(engine, |config| {
            config.webhook_allow = vec!["127.0.0.1/32".parse().expect("a network")];
            config.dns_server = Some(names.address);
        })
        .await;
        let bea = platform.builder("Bea").await;
        // Both listen on one port; only the first may be reached.
        let open = Receiver::that("127.0.0.1:0", async |_| ()).await;
        let port = open.address.port();
        let closed = Receiver::that(&format!("127.0.0.2:{port}"), async |_| ()).await;
        let six = Receiver::that(&format!("[::1]:{port}"), async |_| ()).await;
        let at = |name: &str| format!("https://{name}:{port}/hook");

        // There is no TLS, but there is a connection.
        let one = tried(&bea, &at("well.example")).await;
        assert_eq!((&one["error"], open.count()), (&json!("tls"), 1), "{one}");
        assert!(one["dnsMs"].is_u64(), "{one}");
        let (agent, _) = bea.publish_webhook("Rebinds", &at("rebinds.example"), "none").await;
        let path = format!("/builder/agents/{agent}/test-event");
        assert_eq!(bea.post(&path, json!({})).await.ok()["error"], "tls");
        for _ in 0..3 {
            let one = bea.post(&path, json!({})).await.ok();
            assert_eq!((&one["error"], one["connectMs"].is_null()), (&json!("blocked_address"), true), "{one}");
        }
        for name in ["mixed", "six", "both", "mapped", "alias"] {
            let one = tried(&bea, &at(&format!("{name}.example"))).await;
            assert_eq!(one["error"], "blocked_address", "{name}: {one}");
        }
        assert_eq!(tried(&bea, &at("nobody.example")).await["error"], "dns");
        assert_eq!((open.count(), closed.count(), six.count()), (2, 0, 0));
    }

    async fn an_address_that_the_operator_no_longer_allows_is_not_dialled(engine: Engine) {
        let mut platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let receiver = Receiver::saying(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
        let (agent, _) = bea.publish_webhook("Here", &hook(&receiver), "none").await;
        let path = format!("/builder/agents/{agent}/test-event");
        assert_eq!(bea.post(&path, json!({})).await.ok()["outcome"], "delivered");
        let mut config = aiybiz_host::config::Config::clone(&platform.host.config);
        config.webhook_allow = Vec::new();
        platform = platform.again_with(config).await;
        let one = bea.at(&platform.url).post(&path, json!({})).await.ok();
        assert_eq!((&one["error"], receiver.count()), (&json!("blocked_address"), 1), "{one}");
    }
}

/// A server with this certificate that takes everything.
async fn secure(keys: rcgen::CertifiedKey<rcgen::KeyPair>) -> Receiver {
    let key = rustls::pki_types::PrivateKeyDer::try_from(keys.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![keys.cert.der().clone()], key.expect("a key"))
        .expect("a certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    Receiver::that("127.0.0.1:0", move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while !request(&mut stream).await.is_empty() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                let _ = stream.flush().await;
            }
        }
    })
    .await
}

both_engines! {
    /// In a process of its own, for what is in its environment: the certificate's
    /// issuer, whom it trusts, and proxies, to which it must not turn.
    async fn every_step_is_timed_and_no_proxy_is_asked(engine: Engine) {
        let place = Place::new(engine).await;
        let keys = rcgen::generate_simple_self_signed(["127.0.0.1".into()]).expect("keys");
        let trusted = place.folder.path().join("trusted.pem");
        std::fs::write(&trusted, keys.cert.pem()).expect("a file");
        let server = secure(keys).await;
        let proxy = Receiver::saying(Vec::new()).await;
        let mut environment = vec![("SSL_CERT_FILE", trusted.display().to_string())];
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
            environment.push((name, format!("http://{}", proxy.address)));
        }
        let process = Process::serve_in(&place, environment);
        let bea = Person::sign_up(&process.url, "bea").await;
        bea.becomes_builder("Bea").await;
        let (agent, _) = bea.publish_webhook("Safe", &format!("https://{}/hook", server.address), "none").await;
        let path = format!("/builder/agents/{agent}/test-event");
        let first = bea.post(&path, json!({})).await.ok();
        assert_eq!((&first["outcome"], &first["reused"]), (&json!("delivered"), &json!(false)), "{first}");
        for step in ["connectMs", "tlsMs", "firstByteMs", "durationMs"] {
            assert!(first[step].is_u64(), "{step} of {first}");
        }
        assert_eq!(first["dnsMs"], Value::Null, "an address needs no name server");
        assert_eq!(first["address"], server.address.to_string());
        let second = bea.post(&path, json!({})).await.ok();
        assert_eq!((&second["reused"], &second["connectMs"], &second["tlsMs"]), (&json!(true), &Value::Null, &Value::Null));
        assert_eq!(second["address"], server.address.to_string());
        assert_eq!((server.count(), proxy.count()), (1, 0));
    }
}
