//! The event stream: where it begins, what it tells, and whom it lets go.

mod cut;
mod growing;
mod hostile;

use crate::{
    both_engines,
    harness::{
        Engine, Events, Person, Platform, json,
        people::Id,
        voice::{NOBODY, Voice},
    },
};
use reqwest::Method;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

/// A client in an active session with an agent that speaks by itself. So far the
/// log has two entries.
async fn talk(platform: &Platform) -> (Person, Voice) {
    let builder = platform.builder("Bea").await;
    let client = platform.person("Cleo").await;
    let (agent, _) = builder.publish_webhook("Voice", NOBODY, "none").await;
    let session = client.post("/sessions", json!({ "agentId": agent })).await.created().id();
    let voice = Voice::of(platform, &session);
    voice.auth().await.ok();
    (client, voice)
}

async fn stream(client: &Person, session: &str, query: &str, last: Option<&str>) -> Events {
    let request = client.request(Method::GET, &format!("/sessions/{session}/stream{query}"));
    let request = match last {
        Some(last) => request.header("last-event-id", last),
        None => request,
    };
    Events::of(request.send().await.expect("an answer"))
}

both_engines! {
    async fn a_stream_goes_on_where_its_reader_left_off(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let session = voice.session.as_str();
        // More than one page of the log.
        for n in 3..=120 {
            voice.says(&format!("number {n}")).await;
        }
        let cases = [
            ("?after=0", None, 1),
            ("", Some("0"), 1),
            ("", Some("7"), 8),
            ("?after=7", None, 8),
            ("?after=0", Some("119"), 120),
            ("", Some(" 7 "), 8),
            ("", None, 121),
            ("?after=120", None, 121),
            ("", Some("120"), 121),
        ];
        let mut streams = Vec::new();
        for (query, last, first) in cases {
            let events = stream(&client, session, query, last).await;
            assert_eq!(events.status, 200);
            streams.push((events, first, format!("{query} {last:?}")));
        }
        voice.says("the end").await;
        client.ends(session).await;
        for (mut events, first, case) in streams {
            let heard = events.rest().await;
            assert_eq!(heard[0].id, Some(first), "{case}");
            assert_eq!(
                heard.last().map(|last| last.kind.as_str()),
                Some("session_ended"),
                "{case}"
            );
            for one in heard {
                assert_eq!(one.data["type"], one.kind, "{case}");
                assert_eq!(one.data["seq"], json!(one.id), "{case}");
            }
            events.without_gap();
            assert_eq!(events.last_id(), 122, "{case}");
        }
    }

    async fn a_place_that_is_not_in_the_log_is_said_so(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let session = voice.session.as_str();
        let long = "9".repeat(10 << 10);
        let places =
            ["3", "99", "-1", "garbage", "1.5", "1 2", "", "0x1", "9223372036854775808", &long];
        let mut streams = Vec::new();
        for place in places {
            let mut events = stream(&client, session, "?after=0", Some(place)).await;
            let reset = events.next().await.expect("an event");
            assert_eq!((reset.kind.as_str(), reset.id), ("stream_reset", None), "{place}");
            assert_eq!(reset.data["lastSeq"], 2, "{place}");
            streams.push(events);
        }
        let lines = "?after=1%0Aid:%209%0A%0Aevent:%20message%0Adata:%20%7B%7D%0A%0A";
        for query in ["?after=99", "?after=-1", "?after=x", "?after=", lines] {
            let mut events = stream(&client, session, query, None).await;
            let reset = events.next().await.unwrap_or_else(|| panic!("{query}: {}", events.status));
            assert_eq!(reset.kind, "stream_reset", "{query}");
        }
        let nul = stream(&client, session, "?after=1%00", None).await;
        assert_eq!(nul.status, 400);
        // From there on they hear what is new.
        voice.says("hello").await;
        for events in &mut streams {
            assert_eq!(events.next().await.expect("an event").id, Some(3));
        }
    }

    async fn a_ticket_opens_its_stream_once(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let (stranger, other) = talk(&platform).await;
        let nobody = Person::nobody(&platform.url);
        let issue = async |client: &Person, session: &str| {
            let path = format!("/sessions/{session}/stream-ticket");
            let issued = client.post(&path, json!({})).await.created();
            assert_eq!(issued["expiresIn"], 60);
            issued["ticket"].as_str().expect("a ticket").to_owned()
        };
        let path = |session: &str, ticket: &str| {
            format!("/sessions/{session}/stream?after=0&ticket={ticket}")
        };

        let ticket = issue(&client, &voice.session).await;
        // Elsewhere it is good for nothing, and not used up by trying.
        nobody.get(&path(&other.session, &ticket)).await.problem(401, "unauthenticated");
        // It is what it says: not even a signed-in owner comes in with a bad one.
        stranger.get(&path(&other.session, &ticket)).await.problem(401, "unauthenticated");
        let response = nobody.request(Method::GET, &path(&voice.session, &ticket)).send().await;
        let mut events = Events::of(response.expect("an answer"));
        events.until("session").await;
        nobody.get(&path(&voice.session, &ticket)).await.problem(401, "unauthenticated");
        for wrong in ["", "x", &"x".repeat(4000)] {
            nobody.get(&path(&voice.session, wrong)).await.problem(401, "unauthenticated");
        }
        let bare = format!("/sessions/{}/stream", voice.session);
        nobody.get(&bare).await.problem(401, "unauthenticated");

        let ticket = issue(&client, &voice.session).await;
        platform.clock.advance(Duration::from_secs(61));
        nobody.get(&path(&voice.session, &ticket)).await.problem(401, "unauthenticated");
    }

    async fn one_who_has_seen_the_end_is_told_to_stay_away(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let session = voice.session.as_str();
        client.ends(session).await;
        for (query, last) in [("", Some("3")), ("?after=3", None), ("", None)] {
            assert_eq!(stream(&client, session, query, last).await.status, 204, "{query} {last:?}");
        }
        let mut events = stream(&client, session, "", Some("1")).await;
        let heard: Vec<_> = events.rest().await.iter().map(|heard| heard.id).collect();
        assert_eq!(heard, [Some(2), Some(3)], "what was missed, and then the stream ends");
        let mut events = stream(&client, session, "", Some("99")).await;
        let heard: Vec<_> = events.rest().await.iter().map(|heard| heard.kind.clone()).collect();
        assert_eq!(heard, ["stream_reset"], "nothing more will come");
    }

    async fn one_who_does_not_read_is_cut_and_slows_nobody(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let session = voice.session.as_str();
        let mut fast = client.listens(session, Some(0)).await;
        fast.until("session").await;
        let before = platform.host.tasks.len();

        // A socket that takes little and is not read.
        let address = platform.url.strip_prefix("http://").expect("an address");
        let slow = TcpSocket::new_v4().expect("a socket");
        slow.set_recv_buffer_size(4096).expect("a small buffer");
        let mut slow =
            slow.connect(address.parse().expect("an address")).await.expect("it listens");
        let request = format!(
            "GET /sessions/{session}/stream?after=0 HTTP/1.1\r\nhost: {address}\r\n\
             authorization: Bearer {}\r\nconnection: close\r\n\r\n",
            client.token
        );
        slow.write_all(request.as_bytes()).await.expect("it takes the request");

        // Far more than the buffers in between hold.
        let (count, text) = (100, "x".repeat(200_000));
        let says = async {
            for n in 0..count {
                voice.says(&format!("{n} {text}")).await;
            }
        };
        let hears = async {
            for n in 0..count {
                let said = fast.reply().await;
                assert!(said.starts_with(&format!("{n} ")), "{n} was missed");
            }
        };
        tokio::join!(says, hears);
        fast.without_gap();
        // The task that served the slow one gives up after some seconds.
        for _ in 0..3_000 {
            if platform.host.tasks.len() <= before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(platform.host.tasks.len() <= before, "the slow reader is still served");

        // What was on its way arrives, then the stream is over; it may resume.
        let mut got = Vec::new();
        tokio::time::timeout(Duration::from_secs(30), slow.read_to_end(&mut got))
            .await
            .expect("the connection ends")
            .expect("it ends well");
        let got = String::from_utf8_lossy(&got);
        let last: i64 = got.matches("\nevent: message\n").count().try_into().expect("a number");
        assert!(last < count, "it was not cut");
        let mut resumed = client.listens(session, Some(last + 2)).await;
        assert!(resumed.reply().await.starts_with(&format!("{last} ")));
        client.ends(session).await;
        resumed.rest().await;
        resumed.without_gap();
        assert_eq!(resumed.last_id(), count + 3);
    }

    async fn a_quiet_stream_shows_signs_of_life(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let path = format!("/sessions/{}/stream", voice.session);
        let mut response = client.request(Method::GET, &path).send().await.expect("an answer");
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        // The heartbeat is a constant of the contract: this one test waits for it.
        let mut heard = String::new();
        let quiet = async {
            while let Some(chunk) = response.chunk().await.expect("an open stream") {
                heard.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
                if heard.contains("\n: still here\n") {
                    return;
                }
            }
            panic!("the stream ended: {heard}");
        };
        tokio::time::timeout(Duration::from_secs(25), quiet).await.expect("a heartbeat");
        assert!(heard.starts_with("retry: "), "{heard}");
        assert!(!heard.contains("\"seq\""), "nothing has happened: {heard}");
    }
}
