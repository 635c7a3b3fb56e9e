//! The library as a component sees it: the same table as for an agent behind a webhook.

use super::{begin, content, folder, names, put, text, upload, used};
use crate::{
    both_engines,
    harness::{Engine, Events, Person, Platform, clerk::clerk, json, people::Id},
};
use aiybiz_host::files::usage::Quota;

const OK: &str = "ok";
const NOT_FOUND: &str = "e0";
const READ_ONLY: &str = "e1";
const NO_FOLDER: &str = "e2";
const INVALID_PATH: &str = "e3";
const QUOTA_EXCEEDED: &str = "e4";

/// A session with the clerk.
struct Clerk {
    client: Person,
    session: String,
    events: Events,
}

impl Clerk {
    async fn hired(agent: &str, client: &Person) -> Self {
        let (session, events) = client.starts(agent).await;
        Self { client: client.clone(), session, events }
    }

    async fn does(&mut self, what: &str) -> String {
        self.client.says(&self.session, what).await;
        self.events.reply().await
    }

    async fn lists(&mut self) -> Vec<String> {
        self.client.says(&self.session, "l").await;
        let mut seen = Vec::new();
        loop {
            let id = self.events.reply().await;
            if id == "end" {
                return seen;
            }
            seen.push(id);
        }
    }

    async fn folder(&self) -> String {
        let path = format!("/sessions/{}/agent-folder", self.session);
        self.client.post(&path, json!({})).await.created().id()
    }

    async fn shares(&self, node: &str) {
        let path = format!("/sessions/{}/shared-files", self.session);
        self.client.post(&path, json!({ "nodeId": node })).await.created();
    }
}

both_engines! {
    async fn each_node_is_to_a_component_what_it_is_to_every_agent(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let carl = platform.person("Carl").await;
        let agent = bea.publish("Clerk", clerk()).await;
        let mut clerk = Clerk::hired(&agent, &cleo).await;
        let granted = upload(&cleo, None, "granted.txt", "x").await.id();
        clerk.shares(&granted).await;
        assert_eq!(clerk.does("cnew.txt").await, NO_FOLDER);
        assert_eq!(clerk.does(&format!("o{granted}")).await, OK);
        let own = clerk.folder().await;
        let other = Clerk::hired(&agent, &cleo).await;
        let others = other.folder().await;

        let shared = folder(&cleo, None, "Shared").await;
        let deep = folder(&cleo, Some(&shared), "Deep").await;
        let child = upload(&cleo, Some(&deep), "child.txt", "x").await.id();
        clerk.shares(&shared).await;
        let later = upload(&cleo, Some(&deep), "later.txt", "x").await.id();
        let tagged = upload(&cleo, Some(&own), "tagged.txt", "x").await.id();
        let ungranted = upload(&cleo, None, "ungranted.txt", "x").await.id();
        let elsewhere = upload(&cleo, Some(&others), "elsewhere.txt", "x").await.id();
        let foreign = upload(&carl, None, "foreign.txt", "x").await.id();
        let trashed = upload(&cleo, Some(&shared), "trashed.txt", "x").await.id();
        cleo.delete(&format!("/files/{trashed}")).await.with(204);
        let link = begin(&cleo, Some(&own), "unfinished.txt").await;
        put(text(&link, "signedUrl"), "x").await.with(200);
        let unfinished = text(&link, "nodeId").to_owned();

        // Node, listed, open, remove.
        let rows = [
            (&granted, true, OK, READ_ONLY),
            (&child, true, OK, READ_ONLY),
            (&later, true, OK, READ_ONLY),
            (&ungranted, false, NOT_FOUND, NOT_FOUND),
            (&elsewhere, false, NOT_FOUND, NOT_FOUND),
            (&foreign, false, NOT_FOUND, NOT_FOUND),
            (&trashed, false, NOT_FOUND, NOT_FOUND),
            (&unfinished, false, NOT_FOUND, NOT_FOUND),
            (&own, false, NOT_FOUND, NOT_FOUND),
            (&shared, false, NOT_FOUND, NOT_FOUND),
            (&tagged, true, OK, OK),
        ];
        let listed = clerk.lists().await;
        for (place, (node, seen, opened, removed)) in rows.into_iter().enumerate() {
            assert_eq!(listed.contains(node), seen, "row {place}: listed");
            assert_eq!(clerk.does(&format!("o{node}")).await, opened, "row {place}: opened");
            assert_eq!(clerk.does(&format!("r{node}")).await, removed, "row {place}: removed");
        }
        assert_eq!(clerk.does(&format!("o{tagged}")).await, NOT_FOUND, "it was removed");
        assert_eq!(clerk.does("ononsense").await, NOT_FOUND);
        let long = "x".repeat(256);
        for (path, outcome) in [
            ("new.txt", OK),
            ("new.txt", OK),
            ("a/b/c.txt", OK),
            ("a/b", INVALID_PATH),
            ("new.txt/x", INVALID_PATH),
            ("shared/x", INVALID_PATH),
            ("", INVALID_PATH),
            ("/x", INVALID_PATH),
            ("x/", INVALID_PATH),
            ("a//b", INVALID_PATH),
            ("../x", INVALID_PATH),
            ("a/./b", INVALID_PATH),
            ("a\nb", INVALID_PATH),
            ("gpj.\u{202e}exe", INVALID_PATH),
            (&long, INVALID_PATH),
            (&"x/".repeat(40), INVALID_PATH),
            // What some archive may have in it.
            (&format!("{}x", "x/".repeat(10_000)), INVALID_PATH),
        ] {
            assert_eq!(clerk.does(&format!("c{path}")).await, outcome, "{path:?}");
        }
        // The client has what the component wrote, under the session's tag.
        let written = cleo.get(&format!("/files?parentId={own}")).await.ok();
        let written = &written["data"];
        assert_eq!((&written[0]["name"], &written[1]["name"]), (&json!("new.txt"), &json!("a")));
        assert_eq!(written[0]["sessionTag"], json!(clerk.session));
        assert_eq!(content(&cleo, &written[0].id()).await, "hello");
        // What is taken back, or moved away, is gone at once; what is moved in is there.
        cleo.delete(&format!("/sessions/{}/shared-files/{shared}", clerk.session)).await.with(204);
        assert_eq!(clerk.does(&format!("o{child}")).await, NOT_FOUND);
        for (parent, outcome) in [(Some(&own), OK), (None, NOT_FOUND)] {
            cleo.patch(&format!("/files/{child}"), json!({ "parentId": parent })).await.ok();
            assert_eq!(clerk.does(&format!("o{child}")).await, outcome);
        }
    }

    async fn what_comes_back_without_its_folder_is_out_of_the_session(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Clerk", clerk()).await;
        let mut clerk = Clerk::hired(&agent, &cleo).await;
        let own = clerk.folder().await;
        let mut kept = Vec::new();
        for name in ["a", "b"] {
            let outer = folder(&cleo, Some(&own), name).await;
            let inner = folder(&cleo, Some(&outer), "inner").await;
            let file = upload(&cleo, Some(&inner), "f.txt", "x").await.id();
            assert_eq!(clerk.does(&format!("o{file}")).await, OK);
            cleo.delete(&format!("/files/{inner}")).await.with(204);
            cleo.delete(&format!("/files/{outer}")).await.with(204);
            kept.push((outer, inner, file));
        }
        // The one's folder is gone for good, the other's in the trash.
        cleo.delete(&format!("/files/{}?permanent=true", kept[0].0)).await.with(204);
        for (_, inner, file) in &kept {
            let back = cleo.post(&format!("/files/{inner}/restore"), json!({})).await.ok();
            assert_eq!((&back["parentId"], &back["sessionTag"]), (&json!(null), &json!(null)));
            assert_eq!(clerk.does(&format!("o{file}")).await, NOT_FOUND);
            cleo.patch(&format!("/files/{inner}"), json!({ "name": file })).await.ok();
        }
    }

    async fn a_component_meets_the_quotas_of_its_session_and_its_company(engine: Engine) {
        let quota = Quota { file: 1_000, company: 30, session: 12 };
        let platform = Platform::configured(engine, |config| config.quota = quota).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Clerk", clerk()).await;
        let mut clerk = Clerk::hired(&agent, &cleo).await;
        let own = clerk.folder().await;
        // Five bytes each: two in its folder, not three; one in the place of another.
        for (path, outcome) in [("a", OK), ("b", OK), ("c", QUOTA_EXCEEDED), ("a", OK)] {
            assert_eq!(clerk.does(&format!("c{path}")).await, outcome, "{path}");
        }
        assert_eq!(names(&cleo, &format!("?parentId={own}")).await, ["b", "a"]);
        // The client has more room, and then nobody has any.
        upload(&cleo, None, "mine", &"x".repeat(17)).await;
        let mut other = Clerk::hired(&agent, &cleo).await;
        other.folder().await;
        assert_eq!(other.does("cd").await, QUOTA_EXCEEDED);
        assert_eq!(used(&cleo).await, 27);
        cleo.delete(&format!("/files/{own}")).await.with(204);
        cleo.delete(&format!("/files/{own}?permanent=true")).await.with(204);
        assert_eq!(other.does("cd").await, OK);
        assert_eq!(used(&cleo).await, 22);
        assert_eq!(clerk.does("ce").await, NO_FOLDER);
        platform.clock.advance(std::time::Duration::from_hours(25));
        assert_eq!(platform.objects_of(&cleo).await, 2);
    }
}
