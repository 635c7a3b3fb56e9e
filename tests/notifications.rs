//! What the platform tells a user outside of any conversation: it is told with what it
//! tells of, and nobody misses any of it.

use crate::{
    both_engines,
    harness::{
        Engine, Events, Person, Platform, Value, guests, json,
        people::{Id, PASSWORD},
        voice::NOBODY,
    },
};
use aiybiz_host::{catalog, id::UserId, notifications, work};
use futures::future::join_all;
use reqwest::Method;
use std::time::Duration;

async fn user(person: &Person) -> UserId {
    person.get("/me").await.ok()["user"].id().parse().expect("an id")
}

/// Tells the user something, as a change of anything would.
async fn tell(platform: &Platform, user: UserId, text: &str) {
    let mut tx = platform.host.db.write().await.expect("a transaction");
    let told = notifications::tell(&mut tx, &platform.clock, user, "test", None, text).await;
    told.expect("it is told");
    tx.commit().await.expect("it is kept");
}

async fn follow(person: &Person, query: &str, last: Option<&str>) -> Events {
    let mut request = person.request(Method::GET, &format!("/notifications/stream{query}"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    Events::of(request.send().await.expect("an answer"))
}

async fn listed(person: &Person, query: &str) -> Vec<Value> {
    let page = person.get(&format!("/notifications{query}")).await.ok();
    page["data"].as_array().expect("a list").clone()
}

/// The texts of the next `count` on the stream.
async fn hears(events: &mut Events, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let told = events.until("notification").await;
        texts.push(told["text"].as_str().expect("a text").to_owned());
    }
    texts
}

both_engines! {
    async fn who_opened_a_session_is_told_when_it_ends_without_him(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let opal = platform.operator("Opal").await;
        let mut events = follow(&cleo, "", None).await;
        let (voice, _) = bea.publish_webhook("Voice", NOBODY, "none").await;
        let open = json!({ "agentId": voice });
        let ended = cleo.post("/sessions", open.clone()).await.created().id();
        opal.post(&format!("/admin/sessions/{ended}/end"), json!({})).await.ok();
        let told = events.until("notification").await;
        assert_eq!((&told["type"], &told["sessionId"]), (&json!("session_ended"), &json!(ended)));
        assert_eq!(told["text"], "Your session with Voice has ended: an operator of the platform ended it.");
        assert_eq!((&told["seq"], &told["readAt"]), (&json!(1), &Value::Null));
        assert!(told["createdAt"].is_string());
        assert_eq!(listed(&cleo, "").await, [told]);

        // What she ends herself she knows; ending it again tells nobody anything.
        let own = cleo.post("/sessions", open.clone()).await.created().id();
        cleo.ends(&own).await;
        for session in [&own, &ended] {
            opal.post(&format!("/admin/sessions/{session}/end"), json!({})).await.ok();
        }
        let broken = bea.publish("Broken", guests::guest("", "", "unreachable")).await;
        let failed = cleo.post("/sessions", json!({ "agentId": broken })).await.created().id();
        let told = events.until("notification").await;
        assert_eq!((&told["seq"], &told["sessionId"]), (&json!(2), &json!(failed)));
        let late = cleo.post("/sessions", open).await.created().id();
        platform.clock.advance(Duration::from_mins(11));
        work::tidy(&platform.host).await.expect("it tidies up");
        let told = listed(&cleo, "?limit=1").await.remove(0);
        assert_eq!((&told["seq"], &told["sessionId"]), (&json!(3), &json!(late)));
        assert!(told["text"].as_str().is_some_and(|text| text.contains("in time")), "{told}");
        for person in [&bea, &opal] {
            assert!(listed(person, "").await.is_empty());
        }
    }

    async fn they_are_read_once_and_by_whom_they_are_for(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (cleo, dora) = (platform.person("Cleo").await, platform.person("Dora").await);
        let user = user(&cleo).await;
        for n in 1..=5 {
            tell(&platform, user, &n.to_string()).await;
        }
        let all = listed(&cleo, "").await;
        let texts: Vec<_> = all.iter().map(|told| told["text"].clone()).collect();
        assert_eq!(texts, ["5", "4", "3", "2", "1"]);
        let page = cleo.get("/notifications?limit=2").await.ok();
        assert_eq!(page["data"], json!(all[..2]));
        let cursor = page["nextCursor"].as_str().expect("a cursor");
        assert_eq!(listed(&cleo, &format!("?limit=2&cursor={cursor}")).await, all[2..4]);

        let path = format!("/notifications/{}/read", all[1].id());
        dora.post(&path, json!({})).await.problem(404, "not_found");
        let read = cleo.post(&path, json!({})).await.ok();
        assert_eq!((&read["id"], &read["text"]), (&all[1]["id"], &json!("4")));
        assert!(read["readAt"].is_string());
        platform.clock.advance(Duration::from_mins(1));
        assert_eq!(cleo.post(&path, json!({})).await.ok(), read);
        let unread = [&all[0], &all[2], &all[3], &all[4]].map(Clone::clone);
        assert_eq!(listed(&cleo, "?unread=true").await, unread);
        assert_eq!(listed(&cleo, "?unread=false").await[1], read);
        assert!(listed(&dora, "").await.is_empty());
        let refused = cleo.get("/notifications?unread=yes").await.problem(400, "invalid_field");
        assert_eq!(refused["errors"][0]["pointer"], "unread");
    }

    async fn what_is_not_committed_was_never_told(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Quiet").await.parse().expect("an id");
        let mut tx = platform.host.db.write().await.expect("a transaction");
        let builder = catalog::builders_user(&mut tx, agent).await.expect("an answer");
        assert_eq!(builder, Some(user(&bea).await));
        let builder = builder.expect("somebody made it");
        let told = notifications::tell(&mut tx, &platform.clock, builder, "test", None, "lost").await;
        assert_eq!(told.expect("it is told").seq, 1);
        drop(tx);
        assert!(listed(&bea, "").await.is_empty());
        tell(&platform, builder, "kept").await;
        let all = listed(&bea, "").await;
        assert_eq!(all.len(), 1);
        assert_eq!((&all[0]["text"], &all[0]["seq"]), (&json!("kept"), &json!(1)));
    }

    async fn a_stream_goes_on_where_it_was(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (cleo, dora) = (platform.person("Cleo").await, platform.person("Dora").await);
        let (user, other) = (user(&cleo).await, user(&dora).await);
        tell(&platform, user, "before").await;
        tell(&platform, other, "hers").await;
        let mut events = follow(&cleo, "", None).await;
        tell(&platform, user, "live").await;
        assert_eq!(hears(&mut events, 1).await, ["live"]);
        let last = events.heard[0].place.clone().expect("a place");
        assert_eq!(events.heard[0].data, listed(&cleo, "").await[0]);
        drop(events);
        tell(&platform, user, "missed").await;
        tell(&platform, other, "hers, too").await;
        let mut events = follow(&cleo, "?after=0", Some(&last)).await;
        tell(&platform, user, "and live").await;
        assert_eq!(hears(&mut events, 2).await, ["missed", "and live"]);
        events.without_gap();
        let mut events = follow(&cleo, "?after=0", None).await;
        assert_eq!(hears(&mut events, 4).await, ["before", "live", "missed", "and live"]);
        events.without_gap();

        for place in ["5", "-1", "x", "", "9223372036854775808"] {
            let mut events = follow(&cleo, "", Some(place)).await;
            let reset = events.next().await.expect("an event");
            assert_eq!((reset.kind.as_str(), &reset.data["lastSeq"]), ("stream_reset", &json!(4)), "{place}");
        }
        Person::nobody(&platform.url).get("/notifications/stream").await.problem(401, "unauthenticated");
    }

    async fn of_many_told_at_once_none_is_missed(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (cleo, dora) = (platform.person("Cleo").await, platform.person("Dora").await);
        let users = [user(&cleo).await, user(&dora).await];
        let mut events = follow(&cleo, "", None).await;
        join_all((0..60).map(|n| {
            let (platform, user) = (&platform, users[n % 2]);
            async move {
                if n % 3 > 0 {
                    return tell(platform, user, &n.to_string()).await;
                }
                // Told, and then not after all.
                let mut tx = platform.host.db.write().await.expect("a transaction");
                let told = notifications::tell(&mut tx, &platform.clock, user, "test", None, "no");
                told.await.expect("it is told");
            }
        }))
        .await;
        let mut heard = hears(&mut events, 20).await;
        assert_eq!(events.heard.iter().map(|heard| heard.id).collect::<Vec<_>>(), (1..=20).map(Some).collect::<Vec<_>>());
        heard.sort_by_key(|text| text.parse::<u32>().expect("a number"));
        let expected: Vec<_> = (0..60).filter(|n| n % 2 == 0 && n % 3 > 0).map(|n| n.to_string()).collect();
        assert_eq!(heard, expected);
    }

    async fn a_user_keeps_the_newest_and_what_was_read_goes_in_the_end(engine: Engine) {
        let platform = Platform::start(engine).await;
        let mut cleo = platform.person("Cleo").await;
        let user = user(&cleo).await;
        let mut tx = platform.host.db.write().await.expect("a transaction");
        for n in 1..=1_003 {
            let told = notifications::tell(&mut tx, &platform.clock, user, "test", None, n.to_string());
            told.await.expect("it is told");
        }
        tx.commit().await.expect("it is kept");
        let mut tx = platform.host.db.look().await.expect("a connection");
        let all = notifications::list(&mut tx, user, false, None, 2_000).await.expect("a list");
        drop(tx);
        assert_eq!((all.len(), all[0].seq, all[999].seq), (1_000, 1_003, 4));
        // A stream from the beginning has what is left.
        let mut events = follow(&cleo, "?after=0", None).await;
        assert_eq!(hears(&mut events, 1).await, ["4"]);

        let read = format!("/notifications/{}/read", all[0].id);
        cleo.post(&read, json!({})).await.ok();
        let days = |days: u64| Duration::from_hours(24 * days);
        for (passed, left) in [(89, 1_000), (2, 999)] {
            platform.clock.advance(days(passed));
            work::tidy(&platform.host).await.expect("it tidies up");
            let credentials = json!({ "email": cleo.email, "password": PASSWORD });
            let signed_in = cleo.post("/auth/login", credentials).await.ok();
            signed_in["token"].as_str().expect("a token").clone_into(&mut cleo.token);
            let mut tx = platform.host.db.look().await.expect("a connection");
            let all = notifications::list(&mut tx, user, false, None, 2_000).await.expect("a list");
            assert_eq!(all.len(), left, "after {passed} more days");
        }
        assert_eq!(listed(&cleo, "?limit=1").await[0]["seq"], 1_002);
        cleo.post(&read, json!({})).await.problem(404, "not_found");
    }
}

#[test]
fn one_may_follow_in_so_many_windows() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let cleo = platform.person("Cleo").await;
        let open = join_all((0..20).map(|_| follow(&cleo, "", None))).await;
        assert!(open.iter().all(|events| events.status == 200));
        cleo.get("/notifications/stream").await.problem(429, "too_many_streams");
        // Others have windows of their own.
        assert_eq!(follow(&platform.person("Dora").await, "", None).await.status, 200);
    });
}

#[test]
fn whoever_signs_out_is_told_nothing_more() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let cleo = platform.person("Cleo").await;
        let mut events = follow(&cleo, "", None).await;
        cleo.post("/auth/logout", json!({})).await.with(204);
        assert!(events.rest().await.is_empty());
    });
}

/// What another process has committed is found by looking.
#[test]
fn two_processes_tell_one_user() {
    if !crate::harness::postgres::available() {
        return;
    }
    crate::harness::run(async {
        let platform = Platform::start(Engine::Postgres).await;
        let other = platform.beside().await;
        let cleo = platform.person("Cleo").await;
        let user = user(&cleo).await;
        let mut events = follow(&cleo, "", None).await;
        join_all((0..40).map(|n| {
            let at = if n % 2 == 0 { &platform } else { &other };
            async move { tell(at, user, &n.to_string()).await }
        }))
        .await;
        assert_eq!(hears(&mut events, 40).await.len(), 40);
        events.without_gap();
        assert_eq!(events.last_id(), 40);
    });
}
