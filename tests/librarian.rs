//! The librarian uses every import a component has. What it answers, and what is
//! left when it fails, is what each of them does.

use crate::{
    both_engines,
    harness::{Engine, Events, Person, Platform, Value, guests, json},
};
use aiybiz_host::sandbox::Limits;
use std::time::Duration;

const BOOK: &str = "Call me Ishmael.\nSome years ago, never mind how long precisely,\n";

/// A librarian's builder, a client, and a session of his with it.
struct Library {
    platform: Platform,
    bea: Person,
    cleo: Person,
    agent: String,
    session: String,
    events: Events,
}

impl Library {
    async fn open(engine: Engine) -> Self {
        Self::with(engine, "none").await
    }

    async fn with(engine: Engine, policy: &str) -> Self {
        Self::limited(engine, policy, |_| ()).await
    }

    async fn limited(engine: Engine, policy: &str, change: impl FnOnce(&mut Limits)) -> Self {
        let platform = Platform::start_with(engine, change).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Librarian", guests::LIBRARIAN).await;
        let change = json!({ "retryPolicy": policy });
        bea.patch(&format!("/builder/agents/{agent}"), change).await.ok();
        let (session, events) = cleo.starts(&agent).await;
        Self { platform, bea, cleo, agent, session, events }
    }

    /// Says something and returns the lines of the answer.
    async fn ask(&mut self, what: &str) -> Vec<String> {
        self.cleo.says(&self.session, what).await;
        self.events.reply().await.lines().map(str::to_owned).collect()
    }

    /// Says something that ends badly; returns how.
    async fn vain(&mut self, what: &str) -> Value {
        let said = self.cleo.says(&self.session, what).await;
        loop {
            let failed = self.events.until("message_failed").await;
            assert_eq!(failed["eventId"], said["id"]);
            if failed["messageId"] == said["id"] {
                return failed["code"].clone();
            }
        }
    }

    /// Shares a file of this size.
    async fn share(&self, name: &str, size: usize) {
        let node = self.platform.file(&self.cleo, None, name, vec![b'x'; size]).await;
        self.platform.share(&self.session, node).await;
    }

    async fn set(&self, key: &str, setting: Value) {
        let path = format!("/builder/agents/{}/config/{key}", self.agent);
        self.bea.put(&path, setting).await.with(204);
    }
}

#[track_caller]
fn has(answer: &[String], line: &str) {
    assert!(answer.iter().any(|found| found == line), "no {line:?} in {answer:?}");
}

both_engines! {
    async fn it_reads_what_is_shared_and_nothing_else(engine: Engine) {
        let mut library = Library::open(engine).await;
        has(&library.ask("What is there?").await, "0 files, 0 bytes, 0 lines");

        let Library { platform, cleo, .. } = &library;
        let book = platform.file(cleo, None, "moby-dick.txt", BOOK).await;
        platform.file(cleo, None, "diary.txt", "private").await;
        platform.share(&library.session, book).await;
        // A folder stands for all that is in it, at any depth, also later.
        let folder = platform.folder(cleo, None, "Letters").await;
        platform.share(&library.session, folder).await;
        let sizes = format!("1 files, {} bytes, 2 lines", BOOK.len());
        has(&library.ask("And now?").await, &sizes);
        let Library { platform, cleo, .. } = &library;
        let inner = platform.folder(cleo, Some(folder), "1851").await;
        platform.file(cleo, Some(inner), "november.txt", "Dear Sir\n").await;
        // More than one read's worth.
        platform.file(cleo, Some(folder), "long.txt", "line\n".repeat(50_000)).await;
        let sizes = format!("3 files, {} bytes, 50003 lines", BOOK.len() + 9 + 250_000);
        has(&library.ask("And now?").await, &sizes);

        // Other sessions of the same client, and other clients, share nothing with it.
        let (other, mut events) = library.cleo.starts(&library.agent).await;
        library.cleo.says(&other, "What is there?").await;
        assert!(events.reply().await.contains("\n0 files, 0 bytes, 0 lines\n"));
        let dora = library.platform.person("Dora").await;
        let (theirs, mut events) = dora.starts(&library.agent).await;
        library.platform.agent_folder(&dora, &theirs).await;
        dora.says(&theirs, "What is there?").await;
        let answer = events.reply().await;
        assert!(answer.contains("\n0 files, 0 bytes, 0 lines\n"), "{answer}");
        // And their reports lie in their own folder.
        has(&library.ask("And now?").await, &sizes);
        assert_eq!(library.ask("rm").await, ["no report"]);
    }

    async fn it_writes_into_its_own_folder(engine: Engine) {
        let mut library = Library::open(engine).await;
        has(&library.ask("Report!").await, "report: none, the session has no folder");
        library.platform.agent_folder(&library.cleo, &library.session).await;
        let empty = "0 files, 0 bytes, 0 lines\n".len();
        has(&library.ask("Report!").await, &format!("report: reports/summary.txt ({empty} bytes)"));
        assert_eq!(library.platform.objects_of(&library.cleo).await, 1);

        // Written again, it replaces what was there; the old bytes go.
        let book = library.platform.file(&library.cleo, None, "moby-dick.txt", BOOK).await;
        library.platform.share(&library.session, book).await;
        let answer = library.ask("Report!").await;
        assert!(answer.iter().any(|line| line.starts_with("report: reports/summary.txt (")));
        has(&answer, &format!("1 files, {} bytes, 2 lines", BOOK.len()));
        assert_eq!(library.platform.objects_of(&library.cleo).await, 2);

        assert_eq!(library.ask("rm").await, ["removed reports/summary.txt"]);
        assert_eq!(library.platform.objects_of(&library.cleo).await, 1);
        assert_eq!(library.ask("rm").await, ["no report"]);
    }

    async fn it_has_settings_and_secrets(engine: Engine) {
        let mut library = Library::open(engine).await;
        let before = library.ask("Hi").await;
        assert_eq!(before[0], "Hello! message #1");
        assert!(!before.iter().any(|line| line.starts_with("signature")), "{before:?}");
        library.set("greeting", json!({ "value": "Ahoy" })).await;
        library.set("signature", json!({ "value": "a sealed letter", "secret": true })).await;
        let answer = library.ask("Hi").await;
        assert_eq!(answer[0], "Ahoy! message #2");
        has(&answer, "signature: 15 bytes");

        // A secret is written, and used, and never read back.
        let path = format!("/builder/agents/{}/config", library.agent);
        for path in [path.clone(), format!("{path}/signature")] {
            let shown = library.bea.get(&path).await;
            assert!(shown.text.contains("signature") && !shown.text.contains("sealed"), "{}", shown.text);
            assert_eq!(shown.status, 200);
        }
        library.bea.delete(&format!("{path}/signature")).await.with(204);
        let answer = library.ask("Hi").await;
        assert!(!answer.iter().any(|line| line.starts_with("signature")), "{answer:?}");
    }

    async fn what_it_remembers_is_kept_only_when_all_went_well(engine: Engine) {
        let mut library = Library::open(engine).await;
        assert_eq!(library.ask("Hi").await[0], "Hello! message #1");
        assert_eq!(library.ask("Hi").await[0], "Hello! message #2");
        assert_eq!(library.vain("fail").await, "retry");
        assert_eq!(library.vain("refuse").await, "refused");
        assert_eq!(library.vain("panic").await, "trap");
        let answer = library.ask("Hi").await;
        assert_eq!(answer[0], "Hello! message #3");
        // Six messages of the client's; two answers, and the last words before the panic.
        has(&answer, "history: 9");
        assert_eq!(library.ask("forget").await, ["forgot: count, started"]);
        assert_eq!(library.ask("Hi").await[0], "Hello! message #1");

        let path = format!("/builder/agents/{}/logs?level=error", library.agent);
        let panics = library.bea.get(&path).await.ok();
        assert_eq!(panics["data"].as_array().map(Vec::len), Some(1), "{panics}");
        assert_eq!(panics["data"][0]["sessionId"], library.session);
        assert!(panics["data"][0]["message"].as_str().is_some_and(|text| text.contains("asked to")));
    }

    async fn failing_for_now_is_tried_again(engine: Engine) {
        let mut library = Library::with(engine, "standard").await;
        library.cleo.says(&library.session, "fail").await;
        // What is said meanwhile waits its turn.
        let said = library.cleo.says(&library.session, "Hi").await;
        let receipts = library.bea.receipts(&library.agent, &library.session, 2).await;
        assert_eq!(receipts[1]["outcome"], "retry");
        assert_eq!(receipts[1]["explanation"], "the agent asks for another try, which retryPolicy standard gives it: asked to");
        library.platform.clock.advance(Duration::from_secs(10));
        library.platform.host.due.notify_one();
        let again = library.bea.receipts(&library.agent, &library.session, 3).await;
        assert_eq!((&again[2]["outcome"], &again[2]["eventId"]), (&json!("retry"), &again[1]["eventId"]));
        let attempts: Vec<_> = again[1..].iter().map(|receipt| receipt["log"][0]["fields"]["attempt"].clone()).collect();
        assert_eq!(attempts, ["1", "2"]);
        // The end of the session ends the trying.
        library.cleo.ends(&library.session).await;
        library.events.until("session_ended").await;
        let all = library.bea.receipts(&library.agent, &library.session, 4).await;
        assert!(all[3]["eventId"] != said["id"] && all[3]["outcome"] == "ok", "{all:?}");
        assert_eq!(all[3]["log"][0]["message"], "session ended");
        assert_eq!(all[3]["log"][0]["fields"], json!({ "reason": "closed", "messages": "0" }));
    }
}

#[test]
fn a_reply_in_pieces_is_the_message() {
    crate::harness::run(async {
        let mut library = Library::open(Engine::Sqlite).await;
        let answer = library.ask("Hi").await.join("\n");
        let of = |kind: &'static str| {
            library.events.heard.iter().filter(move |heard| heard.kind == kind)
        };
        let pieces: Vec<_> = of("message_delta").map(|heard| &heard.data).collect();
        assert!(pieces.len() >= 4, "{pieces:?}");
        let text: String =
            pieces.iter().map(|piece| piece["text"].as_str().expect("text")).collect();
        assert_eq!(text, answer);
        let message = of("message").next_back().expect("a message");
        let mut offset = 0;
        for piece in pieces {
            assert_eq!(
                (&piece["messageId"], &piece["offset"]),
                (&message.data["id"], &json!(offset))
            );
            offset += piece["text"].as_str().expect("text").encode_utf16().count();
        }
        assert_eq!(of("typing").count(), 1);
    });
}

#[test]
fn what_is_not_finished_leaves_nothing() {
    crate::harness::run(async {
        let mut library = Library::open(Engine::Sqlite).await;
        library.platform.agent_folder(&library.cleo, &library.session).await;
        library.cleo.says(&library.session, "abandon").await;
        let delta = library.events.until("message_delta").await;
        let failed = library.events.until("message_failed").await;
        assert_eq!(
            (&failed["code"], &failed["messageId"]),
            (&json!("reply_abandoned"), &delta["messageId"])
        );
        // The event itself went well, and the file that was begun never was.
        let receipt = library.bea.receipts(&library.agent, &library.session, 2).await.remove(1);
        assert_eq!(receipt["outcome"], "ok", "{receipt}");
        assert_eq!(receipt["hostCalls"]["writer.write"], 1);
        assert_eq!(library.platform.objects_of(&library.cleo).await, 0);
        has(&library.ask("Hi").await, "0 files, 0 bytes, 0 lines");
    });
}

#[test]
fn reading_and_writing_have_their_budgets() {
    crate::harness::run(async {
        let mut library = Library::limited(Engine::Sqlite, "none", |limits| {
            limits.file_read_bytes = 4 << 10;
            limits.file_write_bytes = 100;
        })
        .await;
        library.platform.agent_folder(&library.cleo, &library.session).await;
        for n in 0..4 {
            library.share(&format!("{n}.txt"), 1 << 10).await;
        }
        // Writing beyond the limit is an error it handles, and leaves no bytes behind.
        let objects = library.platform.objects_of(&library.cleo).await;
        has(&library.ask("What is there?").await, "report: none, larger than 100 bytes");
        assert_eq!(library.platform.objects_of(&library.cleo).await, objects);

        // Reading beyond it ends the event, and with it the reply that was begun.
        library.share("last.txt", 1).await;
        assert_eq!(library.vain("And now?").await, "budget");
        let failed = library.events.heard.iter().filter(|heard| heard.kind == "message_failed");
        let codes: Vec<_> = failed.map(|heard| heard.data["code"].clone()).collect();
        assert_eq!(codes, ["reply_abandoned", "budget"]);
        let receipt = library.bea.receipts(&library.agent, &library.session, 3).await.remove(2);
        assert_eq!(
            receipt["explanation"],
            "stopped because fileReadBytes (4096) was used up; use less of it per event"
        );
    });
}
