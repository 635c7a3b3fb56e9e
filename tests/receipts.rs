//! Receipts and logs: what is in them, how they are searched and by whom, and how
//! long they are kept.

use crate::{
    both_engines,
    harness::{Engine, Events, Person, Platform, Value, guests, json},
};
use aiybiz_host::{
    config::{Config, Flags},
    sandbox::Limits,
    work,
};
use std::time::Duration;

/// Logs its message: one that begins with `e` as an error, with `w` as a warning,
/// with `i` as information. Five times over for `m`; for `x` as an error and then it
/// gives up, in a function of a function.
fn diary() -> Vec<u8> {
    guests::core(&text())
}

fn text() -> String {
    let log = |level: u8| {
        format!(
            "(call $log (i32.const {level}) (local.get $text) (local.get $textn) (i32.const 0) (i32.const 0))"
        )
    };
    let on = |letter: char, then: &str| {
        let code = letter as u32;
        format!("(if (i32.eq (i32.load8_u (local.get $text)) (i32.const {code})) (then {then}))")
    };
    let five = log(2).repeat(5);
    let does = [
        on('e', &log(4)),
        on('w', &log(3)),
        on('i', &log(2)),
        on('m', &five),
        on('x', &format!("{} (call $outer)", log(4))),
    ];
    let has = "(func $inner unreachable) (func $outer (call $inner))";
    guests::text(has, &does.concat(), "")
}

struct Diary {
    platform: Platform,
    bea: Person,
    cleo: Person,
    agent: String,
}

impl Diary {
    async fn new(platform: Platform) -> Self {
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Diary", diary()).await;
        Self { platform, bea, cleo, agent }
    }

    async fn session(&self) -> (String, Events) {
        self.cleo.starts(&self.agent).await
    }

    /// Says all of it and waits for the receipts; `before` there were so many.
    async fn says(&self, session: &str, before: usize, messages: &[&str]) {
        for message in messages {
            self.cleo.says(session, message).await;
        }
        self.bea.receipts(&self.agent, session, before + messages.len()).await;
    }

    async fn logs(&self, query: &str) -> Vec<String> {
        let path = format!("/builder/agents/{}/logs?{query}", self.agent);
        texts(&self.bea.get(&path).await.ok())
    }

    async fn outcomes(&self, query: &str) -> Vec<String> {
        let path = format!("/builder/agents/{}/invocations?{query}", self.agent);
        field(&self.bea.get(&path).await.ok(), "outcome")
    }

    async fn all(&self) -> usize {
        let mut tx = self.platform.host.db.read().await.expect("a snapshot");
        let sql = "SELECT COUNT(*) FROM invocations";
        let (count,): (i64,) = tx.query(sql).one().await.expect("a count");
        usize::try_from(count).expect("a count")
    }
}

fn field(page: &Value, name: &str) -> Vec<String> {
    let data = page["data"].as_array().unwrap_or_else(|| panic!("no list: {page}"));
    data.iter().map(|row| row[name].as_str().expect("a text").to_owned()).collect()
}

fn texts(page: &Value) -> Vec<String> {
    field(page, "message")
}

both_engines! {
    async fn they_are_searched(engine: Engine) {
        let diary = Diary::new(Platform::start(engine).await).await;
        let ((one, _events), (two, _more)) = (diary.session().await, diary.session().await);
        diary.says(&one, 1, &["i1", "w1", "e1", "n1", "x1"]).await;
        diary.says(&two, 1, &["i2"]).await;
        diary.platform.clock.advance(Duration::from_hours(1));
        let noon = diary.platform.clock.now();
        diary.says(&one, 6, &["w2"]).await;

        assert_eq!(diary.logs("").await, ["w2", "i2", "x1", "e1", "w1", "i1"]);
        assert_eq!(diary.logs("level=trace").await, ["w2", "i2", "x1", "e1", "w1", "i1"]);
        assert_eq!(diary.logs("level=info").await, ["w2", "i2", "x1", "e1", "w1", "i1"]);
        assert_eq!(diary.logs("level=warn").await, ["w2", "x1", "e1", "w1"]);
        assert_eq!(diary.logs("level=error").await, ["x1", "e1"]);
        assert_eq!(diary.logs("level=error&outcome=ok").await, ["e1"]);
        assert_eq!(diary.logs(&format!("level=warn&sessionId={one}&to={noon}")).await, ["x1", "e1", "w1"]);
        assert_eq!(diary.logs(&format!("sessionId={two}")).await, ["i2"]);
        assert_eq!(diary.logs(&format!("from={noon}")).await, ["w2"]);
        assert_eq!(diary.logs(&format!("from={noon}&to={noon}")).await, [""; 0]);

        assert_eq!(diary.outcomes("outcome=trap").await, ["trap"]);
        assert_eq!(diary.outcomes("outcome=ok").await, ["ok"; 8]);
        assert_eq!(diary.outcomes("outcome=cpu").await, [""; 0]);
        assert_eq!(diary.outcomes("level=error").await, ["trap", "ok"]);
        assert_eq!(diary.outcomes(&format!("outcome=trap&sessionId={two}")).await, [""; 0]);
        assert_eq!(diary.outcomes(&format!("outcome=trap&from={noon}")).await, [""; 0]);
        assert_eq!(diary.outcomes(&format!("sessionId={two}")).await, ["ok", "ok"]);
        let zone = "2000-01-01T00:00:00%2B01:00";
        assert_eq!(diary.outcomes(&format!("from={zone}")).await.len(), 9);
        assert_eq!(diary.outcomes(&format!("to={zone}")).await.len(), 0);
    }

    async fn an_operator_sees_all_agents_and_nobody_else_does(engine: Engine) {
        let diary = Diary::new(Platform::start(engine).await).await;
        let other = diary.platform.builder("Other").await;
        let others = other.publish("Diary too", self::diary()).await;
        let ((one, _events), (two, _more)) =
            (diary.session().await, diary.cleo.starts(&others).await);
        diary.says(&one, 1, &["i1", "x1"]).await;
        diary.cleo.says(&two, "e2").await;
        other.receipts(&others, &two, 2).await;

        let opal = diary.platform.operator("Opal").await;
        let logs = opal.get("/admin/logs?level=warn").await.ok();
        assert_eq!(texts(&logs), ["e2", "x1"]);
        assert_eq!(field(&logs, "agentId"), [others.clone(), diary.agent.clone()]);
        let logs = opal.get(&format!("/admin/logs?agentId={}", diary.agent)).await.ok();
        assert_eq!(texts(&logs), ["x1", "i1"]);
        for (query, count) in [
            (String::new(), 5),
            ("?outcome=trap".into(), 1),
            ("?outcome=ok".into(), 4),
            ("?level=error".into(), 2),
            (format!("?agentId={others}"), 2),
            (format!("?agentId={others}&outcome=trap"), 0),
            (format!("?agentId={others}&sessionId={one}"), 0),
            (format!("?sessionId={one}"), 3),
            (format!("?agentId={one}"), 0),
        ] {
            let found = opal.get(&format!("/admin/invocations{query}")).await.ok();
            assert_eq!(found["data"].as_array().map(Vec::len), Some(count), "{query}: {found}");
        }
        // A builder's own agent does not open another's session.
        assert_eq!(diary.outcomes(&format!("sessionId={two}")).await, [""; 0]);
        for list in ["invocations", "logs", "logs/stream"] {
            let admin = format!("/admin/{list}");
            diary.bea.get(&admin).await.problem(403, "not_an_operator");
            Person::nobody(&diary.platform.url).get(&admin).await.problem(401, "unauthenticated");
            let bad = opal.get(&format!("{admin}?agentId=x")).await.problem(400, "invalid_field");
            assert_eq!(bad["errors"][0]["pointer"], "agentId");
            let path = format!("/builder/agents/{}/{list}", diary.agent);
            other.get(&path).await.problem(404, "not_found");
            diary.cleo.get(&path).await.problem(403, "not_a_builder");
        }
    }

    async fn a_page_is_full_while_there_is_more(engine: Engine) {
        let diary = Diary::new(Platform::start(engine).await).await;
        let (session, _events) = diary.session().await;
        // More harmless ones between the bad ones than are read at once.
        let mut said = vec!["e1"];
        said.extend(["i"; 30]);
        said.extend(["m", "e2"]);
        diary.says(&session, 1, &said).await;
        for (query, expected) in [
            ("level=error&limit=1", vec!["e2", "e1"]),
            ("level=error&limit=2", vec!["e2", "e1"]),
            ("level=warn&limit=200", vec!["e2", "e1"]),
            ("limit=2", {
                let all = ["e2"].into_iter().chain(["m"; 5]).chain(["i"; 30]);
                all.chain(["e1"]).collect()
            }),
        ] {
            let limit: usize = query.rsplit('=').next().and_then(|n| n.parse().ok()).expect("one");
            let path = format!("/builder/agents/{}/logs?{query}", diary.agent);
            let (mut all, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = diary.bea.get(&format!("{path}{cursor}")).await.ok();
                let found = texts(&page);
                assert!(found.len() <= limit, "{query}: {page}");
                all.extend(found.iter().cloned());
                let Some(next) = page["nextCursor"].as_str() else { break };
                assert_eq!(found.len(), limit, "{query}: a page with a gap");
                cursor = format!("&cursor={next}");
            }
            assert_eq!(all, expected, "{query}");
        }
    }

    async fn they_are_kept_for_a_while(engine: Engine) {
        let diary = Diary::new(Platform::start(engine).await).await;
        let (session, _events) = diary.session().await;
        diary.says(&session, 1, &["i", "i"]).await;
        diary.platform.clock.advance(Duration::from_hours(29 * 24));
        diary.says(&session, 3, &["i"]).await;
        work::tidy(&diary.platform.host).await.expect("it tidies up");
        assert_eq!(diary.all().await, 4);
        diary.platform.clock.advance(Duration::from_hours(25));
        work::tidy(&diary.platform.host).await.expect("it tidies up");
        assert_eq!(diary.all().await, 1, "the newest is younger");
    }

    async fn so_many_of_one_agent_are_kept(engine: Engine) {
        let change = |config: &mut Config| config.receipts_per_agent = 3;
        let diary = Diary::new(Platform::configured(engine, change).await).await;
        let echo = diary.bea.publish("Echo", guests::ECHO).await;
        let (other, _events) = diary.cleo.starts(&echo).await;
        diary.bea.receipts(&echo, &other, 1).await;
        let (session, _events) = diary.session().await;
        diary.says(&session, 1, &["i1", "i2"]).await;
        work::tidy(&diary.platform.host).await.expect("it tidies up");
        assert_eq!(diary.all().await, 4, "as many as may be");
        diary.cleo.says(&session, "i3").await;
        diary.cleo.says(&session, "i4").await;
        // It may have been tidied up meanwhile.
        while diary.logs("").await.first().map(String::as_str) != Some("i4") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        work::tidy(&diary.platform.host).await.expect("it tidies up");
        assert_eq!(diary.logs("").await, ["i4", "i3", "i2"]);
        assert_eq!(diary.all().await, 4, "the other agent's is still there");
    }

    async fn more_than_one_batch_is_swept_at_once(engine: Engine) {
        let diary = Diary::new(Platform::start(engine).await).await;
        let (session, _events) = diary.session().await;
        diary.bea.receipts(&diary.agent, &session, 1).await;
        let mut tx = diary.platform.host.db.write().await.expect("a transaction");
        for _ in 0..1_200 {
            let copy = tx.query(
                "INSERT INTO invocations (id, agent_id, session_id, event_id, outcome, receipt, log, created_at)
                 SELECT $1, agent_id, session_id, event_id, outcome, receipt, log, created_at
                 FROM invocations ORDER BY id LIMIT 1",
            );
            let id: aiybiz_host::id::InvocationId = diary.platform.clock.id();
            copy.bind(id).run().await.expect("a copy");
        }
        tx.commit().await.expect("a commit");
        diary.platform.clock.advance(Duration::from_hours(31 * 24));
        work::tidy(&diary.platform.host).await.expect("it tidies up");
        assert_eq!(diary.all().await, 0);
    }
}

#[test]
fn a_receipt_tells_the_whole_story() {
    crate::harness::run(async {
        let diary = Diary::new(Platform::start(Engine::Sqlite).await).await;
        let (session, _events) = diary.session().await;
        let said = diary.cleo.says(&session, "i1").await;
        let receipts = diary.bea.receipts(&diary.agent, &session, 2).await;
        assert_eq!(receipts[0]["event"], "session_started");
        let receipt = &receipts[1];
        assert_eq!(receipt["event"], "message");
        assert_eq!((&receipt["eventId"], &receipt["sessionId"]), (&said["id"], &json!(session)));
        assert_eq!((&receipt["attempt"], &receipt["version"]), (&json!(1), &json!(1)));
        assert_eq!(receipt["outcome"], "ok");
        assert_eq!(receipt["sha256"].as_str().map(str::len), Some(64));
        assert_eq!(receipt["hostCalls"], json!({ "log.write": 1 }));
        assert_eq!(receipt["log"][0]["message"], "i1");
        let number = |field: &str| {
            receipt[field].as_u64().unwrap_or_else(|| panic!("no {field} in {receipt}"))
        };
        let (instantiate, run) = (number("instantiateMicros"), number("runMicros"));
        assert!(instantiate + run <= number("wallMicros") + 1, "{receipt}");
        assert!(number("cpuMicros") <= number("wallMicros") + 1_000, "{receipt}");
        assert!(number("peakMemoryBytes") >= 128 << 10);
        for field in ["queueMicros", "replies", "bytesIn", "bytesOut"] {
            number(field);
        }
        let headroom = receipt["headroom"].as_object().expect("percents");
        assert!(headroom.len() >= 9);
        assert!(headroom.values().all(|left| left.as_u64() <= Some(100)), "{receipt}");
        assert_eq!((&receipt["trap"], &receipt["backtrace"]), (&Value::Null, &json!([])));
    });
}

/// What an agent does, how that ends, and the sentence about it.
const STORIES: [(&str, &str, &str); 13] = [
    ("", "ok", "handled"),
    (
        "(local.set $idn (i32.const 48))
         (loop $l (call $session_id (i32.const 64))
           (br_if $l (local.tee $idn (i32.sub (local.get $idn) (i32.const 1)))))",
        "ok",
        "handled, with 4 % of hostCalls left: use less of it before an event fails",
    ),
    (
        "(call $fail)",
        "trap",
        "the agent gave up in fail: a panic, an abort or an \
         uncaught exception; its log may say why",
    ),
    ("(call $deep)", "trap", "the stack overflowed in deep: a recursion without end?"),
    (
        "(call $divide (i32.const 0))",
        "trap",
        "the agent crashed in divide: integer divide by zero; check the divisor",
    ),
    (
        "(call $look (i32.const -4))",
        "trap",
        "the agent crashed in look: out of bounds memory access; look for a wrong pointer or index",
    ),
    (
        "(call $forge)",
        "trap",
        "the agent crashed in forge: it called the host in a way \
         its bindings should not (unknown handle index 77)",
    ),
    (
        "(loop $l (br $l))",
        "cpu",
        "stopped after cpuMillis (100) of its own code; do less per event",
    ),
    (
        "(drop (memory.grow (i32.const 100))) unreachable",
        "memory",
        "it wanted more than memoryBytes (2097152) or tableElements (1000); hold less at once",
    ),
    (
        "(loop $l (call $session_id (i32.const 64)) (br $l))",
        "budget",
        "stopped because hostCalls (50) was used up; ask for more at a time",
    ),
    (
        "(loop $l (call $say (local.get $text) (local.get $textn)) (br $l))",
        "budget",
        "stopped because replies (10) was used up; say more in each",
    ),
    (
        "(loop $l (call $begin_reply (i32.const 64)) (br $l))",
        "budget",
        "stopped because handles (20) were used up; drop what is done with",
    ),
    (
        "(drop (memory.grow (i32.const 12))) (call $say (i32.const 8192) (i32.const 614400))",
        "budget",
        "one call to the host carried more than hostCallBytes (524288); split it",
    ),
];

#[test]
fn one_sentence_says_what_happened_and_what_to_change() {
    crate::harness::run(async {
        let change = |limits: &mut Limits| {
            limits.memory_bytes = 2 << 20;
            limits.table_elements = 1_000;
            limits.cpu_millis = 100;
            limits.wall_millis = 1_000;
            limits.host_calls = 50;
            limits.host_call_bytes = 512 << 10;
            limits.replies = 10;
            limits.handles = 20;
        };
        let platform = Platform::start_with(Engine::Sqlite, change).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let has = "(func $fail unreachable)
            (func $forge
                (call $piece (i32.const 77) (i32.const 0) (i32.const 0) (i32.const 64)))
            (func $deep (call $deep) (call $deep))
            (func $divide (param i32) (drop (i32.div_u (i32.const 1) (local.get 0))))
            (func $look (param i32) (drop (i32.load (local.get 0))))";
        for (does, outcome, sentence) in STORIES {
            let agent = bea.publish("Story", guests::guest(has, does, "")).await;
            let (session, _events) = cleo.starts(&agent).await;
            cleo.says(&session, "go").await;
            let receipt = bea.receipts(&agent, &session, 2).await.remove(1);
            assert_eq!(receipt["outcome"], outcome, "{does}: {receipt}");
            assert_eq!(receipt["explanation"], sentence, "{does}");
        }
        // How long it was busy is not known beforehand.
        let sleeps = guests::on_message("(call $sleep (i64.const 3600000000000))");
        let agent = bea.publish("Story", sleeps).await;
        let (session, _events) = cleo.starts(&agent).await;
        cleo.says(&session, "go").await;
        let receipt = bea.receipts(&agent, &session, 2).await.remove(1);
        let sentence = receipt["explanation"].as_str().expect("a sentence");
        assert!(
            sentence.starts_with("not finished after wallMillis (1000), of which "),
            "{receipt}"
        );
        assert!(
            sentence.ends_with(" ms were spent in the agent's own code; wait for less at a time")
        );
    });
}

/// Symbolised: by the name section, and by line where the guest says where it is from.
#[test]
fn a_crash_says_where() {
    crate::harness::run(async {
        let diary = Diary::new(Platform::start(Engine::Sqlite).await).await;
        let (session, mut events) = diary.session().await;
        diary.cleo.says(&session, "x").await;
        events.until("message_failed").await;
        let receipt = diary.bea.receipts(&diary.agent, &session, 2).await.remove(1);
        assert_eq!(receipt["trap"]["class"], "unreachable", "{receipt}");
        let frames = &receipt["trap"]["frames"];
        assert_eq!((&frames[0], &frames[1]), (&json!("inner"), &json!("outer")));
        assert_eq!(&receipt["backtrace"], frames);

        // With line numbers, as compilers leave them in a debug build.
        let agent = diary.bea.publish("Debug", guests::with_lines(&text())).await;
        let (session, mut events) = diary.cleo.starts(&agent).await;
        diary.cleo.says(&session, "x").await;
        events.until("message_failed").await;
        let receipt = diary.bea.receipts(&agent, &session, 2).await.remove(1);
        let frame = receipt["trap"]["frames"][0].as_str().expect("a frame");
        assert!(frame.contains("guest.wat:"), "{receipt}");
    });
}

#[test]
fn keeping_them_has_bounds() {
    let load = |days, most| {
        let flags = Flags { receipt_days: days, receipts_per_agent: most, ..Flags::default() };
        Config::load(flags).map_err(|error| error.to_string())
    };
    let usual = load(None, None).expect("the defaults");
    assert_eq!((usual.receipt_days, usual.receipts_per_agent), (30, 100_000));
    assert_eq!(load(Some(7), Some(10)).expect("sensible").receipt_days, 7);
    for days in [0, 3_651, u64::MAX] {
        let refused = load(Some(days), None).err().expect("no such days");
        assert_eq!(refused, "receiptDays must be between 1 and 3650");
    }
    for most in [0, u64::MAX] {
        let refused = load(None, Some(most)).err().expect("no such number");
        assert!(refused.starts_with("receiptsPerAgent must be between 1 and "), "{refused}");
    }
}
