//! Which way a message goes: through the newest socket, by webhook when there is none,
//! never both, and none is lost between them.

use super::{Scene, presences};
use crate::{
    both_engines,
    harness::{
        Engine, Platform, Value, json,
        socket::{self, Echo, Socket},
        within,
    },
};
use aiybiz_host::{
    id::SessionId,
    sessions::lane::{self, NodeKey},
    work,
};
use futures::StreamExt;
use std::time::Duration;
use tokio_tungstenite::{MaybeTlsStream, tungstenite::Message};

/// When this process last heard the session's agent.
fn heard(platform: &Platform, session: &str) -> Option<aiybiz_host::timestamp::Timestamp> {
    let session: SessionId = session.parse().expect("an id");
    platform.host.sockets.of(session).map(|line| line.heard())
}

both_engines! {
    async fn what_is_said_while_nobody_is_there_comes_once_and_in_order(engine: Engine) {
        let mut scene = Scene::new(engine, "standard", 503).await;
        for n in 0..5 {
            scene.say(&format!("{n}")).await;
        }
        // The webhook had the first one, and did not take it.
        scene.tries(2).await;
        let mut socket = scene.connect().await;
        for n in 0..5 {
            assert_eq!(socket.told().await, format!("{n}"));
        }
        socket.settle().await;
        scene.tries(7).await;
        drop(socket);
        scene.events.presence("offline").await;
        scene.say("5").await;
        scene.tries(8).await;
        scene.say("6").await;
        let mut socket = scene.connect().await;
        for n in 5..7 {
            assert_eq!(socket.told().await, format!("{n}"), "exactly what was not delivered");
        }
        scene.say("7").await;
        assert_eq!(socket.told().await, "7");
        socket.settle().await;
        assert_eq!(scene.hooked(), ["session_started", "0", "5"]);
        assert!(!scene.events.heard.iter().any(|heard| heard.kind == "message_failed"));
    }

    async fn a_message_without_a_socket_goes_by_webhook(engine: Engine) {
        let mut scene = Scene::new(engine, "none", 200).await;
        scene.say("before").await;
        scene.tries(2).await;
        let mut socket = scene.connect().await;
        scene.say("while").await;
        assert_eq!(socket.told().await, "while");
        socket.settle().await;
        scene.tries(3).await;
        socket.0.close(None).await.expect("it closes");
        scene.events.presence("offline").await;
        scene.say("after").await;
        scene.tries(4).await;
        assert_eq!(scene.hooked(), ["session_started", "before", "after"]);
    }

    async fn the_newest_socket_wins(engine: Engine) {
        let mut scene = Scene::new(engine, "none", 200).await;
        let mut first = scene.connect().await;
        scene.say("1").await;
        assert_eq!(first.told().await, "1");
        first.settle().await;
        let mut second = scene.connect().await;
        // What the first one still says counts.
        first.says("from the first").await;
        assert_eq!(first.closed().await, (4000, "replaced".into()));
        assert_eq!(scene.events.reply().await, "from the first");
        scene.say("2").await;
        assert_eq!(second.told().await, "2");
        second.says("from the second").await;
        assert_eq!(scene.events.reply().await, "from the second");
        second.settle().await;
        let statuses = presences(&scene.events);
        assert!(!statuses.contains(&"offline"), "{statuses:?}");

        // Many at once: one stays, and it is the one that is sent to.
        let address = socket::address(&scene.platform.url, &scene.session, &scene.voice.token);
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..20 {
            let (address, tell) = (address.clone(), tell.clone());
            tokio::spawn(async move {
                let mut one = Socket::try_open(socket::request(&address)).await.expect("it is let in");
                while let Some(Ok(message)) = one.0.next().await {
                    if let Message::Text(_) | Message::Close(_) = message {
                        let _ = tell.send(message);
                    }
                }
            });
        }
        assert_eq!(second.closed().await, (4000, "replaced".into()));
        for _ in 0..19 {
            let Some(Message::Close(Some(close))) = told.recv().await else { panic!("not closed") };
            assert_eq!(u16::from(close.code), 4000);
        }
        scene.say("3").await;
        let Some(Message::Text(text)) = told.recv().await else { panic!("not told") };
        assert!(text.contains(r#""content":"3""#), "{text}");
        assert_eq!(scene.hooked(), ["session_started"]);
    }

    /// The agent's machine is there and takes what is sent, but nobody reads it.
    async fn a_message_that_nobody_proves_to_have_read_goes_elsewhere(engine: Engine) {
        let mut scene = Scene::new(engine, "none", 200).await;
        let deaf = scene.connect().await;
        scene.events.presence("online").await;
        scene.say("hello").await;
        scene.say("are you there?").await;
        let tries = scene.tries(2).await;
        assert_eq!((&tries[1]["outcome"], &tries[1]["error"]), (&json!("retrying"), &json!("timeout")));
        assert!(tries[1]["durationMs"].as_u64() >= Some(10_000), "{}", tries[1]);
        assert!(tries[1]["nextAttemptAt"].is_string());
        scene.events.presence("offline").await;
        scene.platform.clock.advance(Duration::from_secs(6));
        let tries = scene.tries(4).await;
        assert_eq!(scene.hooked(), ["session_started", "hello", "are you there?"]);
        assert_eq!(tries[2]["attempt"], 2, "the same event's");
        assert_eq!(tries[2]["eventId"], tries[1]["eventId"]);
        drop(deaf);
    }

    /// An agent whose connection is dead without knowing it comes again.
    async fn what_went_into_a_dead_socket_comes_through_the_next_one_at_once(engine: Engine) {
        let mut scene = Scene::new(engine, "none", 503).await;
        let dead = scene.connect().await;
        scene.events.presence("online").await;
        scene.say("1").await;
        scene.say("2").await;
        // It has come, and nobody looks at it; the lane waits for the pong.
        let MaybeTlsStream::Plain(raw) = dead.0.get_ref() else { panic!("it is encrypted") };
        raw.readable().await.expect("a connection");
        let mut socket = scene.connect().await;
        for n in ["1", "2"] {
            assert_eq!(socket.told().await, n);
        }
        socket.settle().await;
        drop(dead);
        assert_eq!(scene.hooked(), ["session_started"]);
        let tries = scene.tries(4).await;
        let errors: Vec<_> = tries.iter().map(|one| one["error"].clone()).collect();
        assert_eq!(errors, [Value::Null, json!("socket_closed"), Value::Null, Value::Null]);
        assert!(!scene.events.heard.iter().any(|heard| heard.kind == "message_failed"));
    }

    async fn who_is_silent_for_a_minute_is_given_up(engine: Engine) {
        let mut scene = Scene::new(engine, "none", 200).await;
        let deaf = scene.connect().await;
        scene.events.presence("online").await;
        let (other, mut events) = scene.cleo.starts(&scene.agent).await;
        let voice = crate::harness::voice::Voice::of(&scene.platform, &other);
        // This one does nothing but answer pings.
        let quiet = Echo::start(&scene.platform.url, &other, &voice.token);
        events.presence("online").await;
        let (platform, clock) = (&scene.platform, &scene.platform.clock);
        for _ in 0..3 {
            clock.advance(Duration::from_secs(25));
            let now = clock.now();
            work::sockets::beat(&platform.host).await.expect("it beats");
            within(Duration::from_secs(10), || heard(platform, &other).filter(|at| *at >= now)).await;
        }
        scene.events.presence("offline").await;
        assert!(heard(platform, &scene.session).is_none());
        drop(deaf);
        // The next message does not go there.
        scene.say("hello").await;
        scene.tries(3).await;
        assert_eq!(scene.hooked(), ["session_started", "session_started", "hello"]);
        scene.cleo.says(&other, "hello?").await;
        assert_eq!(events.reply().await, "echo: hello?");
        assert_eq!(presences(&events), ["online"]);
        drop(quiet);
    }

    async fn a_stopping_platform_says_so_and_the_agent_comes_back(engine: Engine) {
        let mut scene = Scene::new(engine, "none", 503).await;
        let mut socket = scene.connect().await;
        scene.say("1").await;
        assert_eq!(socket.told().await, "1");
        socket.settle().await;
        scene.platform.host.stopping.cancel();
        // What is on its way is taken.
        socket.says("last words").await;
        assert_eq!(socket.closed().await, (1012, "restart".into()));
        scene.events.rest().await;
        scene.platform = scene.platform.again(|| ()).await;
        scene.cleo = scene.cleo.at(&scene.platform.url);
        let mut socket = scene.connect().await;
        scene.say("2").await;
        assert_eq!(socket.told().await, "2");
        let path = format!("/sessions/{}/messages", scene.session);
        let all = scene.cleo.get(&path).await.ok();
        assert_eq!(all["data"][1]["content"], "last words");
    }

    /// Another process's row, without the process.
    async fn a_socket_elsewhere_has_the_lane_for_as_long_as_it_lives(engine: Engine) {
        let mut scene = Scene::new(engine, "none", 200).await;
        let elsewhere = async |scene: &Scene, node: Vec<u8>| {
            let session: SessionId = scene.session.parse().expect("an id");
            let clock = &scene.platform.clock;
            let mut tx = scene.platform.host.db.write().await.expect("a transaction");
            let made = tx.query(
                "INSERT INTO sockets (session_id, id, node, connected_at, heard_at, status)
                 VALUES ($1, $2, $3, $4, $4, 'online')
                 ON CONFLICT (session_id) DO UPDATE SET node = excluded.node, status = 'online',
                     connected_at = excluded.connected_at, heard_at = excluded.heard_at",
            );
            let id: aiybiz_host::id::SocketId = clock.id();
            made.bind(session).bind(id).bind(node).bind(clock.now()).run().await.expect("a row");
            tx.commit().await.expect("it is kept");
        };
        elsewhere(&scene, vec![7; 8]).await;
        scene.say("hello").await;
        // It is put back untried; nobody takes it but the process that has the socket.
        let takes = async |node: NodeKey| {
            let mut tx = scene.platform.host.db.write().await.expect("a transaction");
            let taken = lane::claim_due(&mut tx, &scene.platform.clock, node, 10).await;
            taken.expect("an answer").len()
        };
        while takes(NodeKey([7; 8])).await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(takes(scene.platform.host.node).await, 0);
        assert_eq!(scene.hooked(), ["session_started"]);
        assert_eq!(scene.tries(1).await.len(), 1);
        scene.platform.clock.advance(Duration::from_secs(61));
        let tries = scene.tries(2).await;
        assert_eq!(scene.hooked(), ["session_started", "hello"]);
        assert_eq!(tries[1]["attempt"], 1);
        work::tidy(&scene.platform.host).await.expect("it tidies up");
        scene.events.presence("offline").await;

        // Our own dead predecessor's is gone when we are back.
        elsewhere(&scene, scene.platform.host.node.0.to_vec()).await;
        scene.platform = scene.platform.again(|| ()).await;
        scene.cleo = scene.cleo.at(&scene.platform.url);
        let mut events = scene.cleo.listens(&scene.session, Some(0)).await;
        scene.say("again").await;
        within(Duration::from_secs(10), || (scene.hooked().len() == 3).then_some(())).await;
        scene.cleo.ends(&scene.session).await;
        events.rest().await;
        events.without_gap();
    }
}

/// Two processes on one PostgreSQL: whichever takes the message, the one with the socket
/// delivers it, and readers of both know how the agent is.
#[test]
fn a_message_finds_the_process_that_has_the_socket() {
    if !crate::harness::postgres::available() {
        return;
    }
    crate::harness::run(async {
        let mut scene = Scene::new(Engine::Postgres, "none", 200).await;
        let two = scene.platform.beside().await;
        let mut socket = Socket::open(&two.url, &scene.session, &scene.voice.token).await;
        scene.events.presence("online").await;
        let there = scene.cleo.at(&two.url);
        for n in 0..10 {
            let speaker = if n % 2 == 0 { &scene.cleo } else { &there };
            speaker.says(&scene.session, &format!("{n}")).await;
            assert_eq!(socket.told().await, format!("{n}"));
            socket.says(&format!("echo: {n}")).await;
            assert_eq!(scene.events.reply().await, format!("echo: {n}"));
        }
        // It moves to the other process, and then the session ends there.
        let mut moved = scene.connect().await;
        assert_eq!(socket.closed().await, (4000, "replaced".into()));
        there.says(&scene.session, "moved?").await;
        assert_eq!(moved.told().await, "moved?");
        there.ends(&scene.session).await;
        assert_eq!(moved.closed().await, (4001, "session_ended".into()));
        scene.events.rest().await;
        scene.events.without_gap();
        assert_eq!(scene.hooked()[0], "session_started");
        assert!(!scene.hooked().iter().any(|event| event.len() < 3), "{:?}", scene.hooked());
        let statuses = presences(&scene.events);
        assert!(!statuses.contains(&"offline"), "{statuses:?}");
    });
}
