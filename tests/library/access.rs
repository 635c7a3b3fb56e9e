//! Who may do what with which node: one table for all.

use super::{begin, complete, content, folder, get, put, text, upload};
use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, Value, json,
        people::{Answer, Id},
        voice::Voice,
        webhook::{Reply, WebhookAgent},
    },
};

/// A session's agent that calls the file routes.
struct Agent {
    who: Person,
    files: String,
}

impl Agent {
    fn of(platform: &Platform, session: &str) -> Self {
        let token = Voice::of(platform, session).token;
        let who = Person { token, ..Person::nobody(&platform.url) };
        Self { who, files: format!("/agent/sessions/{session}/files") }
    }

    async fn list(&self) -> Answer {
        self.who.get(&self.files).await
    }

    async fn download(&self, node: &str) -> Answer {
        self.who.get(&format!("{}/{node}/download-url", self.files)).await
    }

    async fn begin(&self, parent: Option<&str>, name: &str) -> Answer {
        let mut body = json!({ "name": name });
        if let Some(parent) = parent {
            body["parentId"] = json!(parent);
        }
        self.who.post(&format!("{}/upload-url", self.files), body).await
    }

    async fn complete(&self, node: &str, path: &Value, size: usize) -> Answer {
        let said = json!({ "storagePath": path, "fileSize": size, "mimeType": "text/plain" });
        self.who.post(&format!("{}/{node}/complete-upload", self.files), said).await
    }
}

async fn share(client: &Person, session: &str, node: &str) -> Answer {
    client.post(&format!("/sessions/{session}/shared-files"), json!({ "nodeId": node })).await
}

async fn agent_folder(client: &Person, session: &str) -> String {
    client.post(&format!("/sessions/{session}/agent-folder"), json!({})).await.created().id()
}

both_engines! {
    async fn each_node_is_what_it_is_to_each_caller(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::that(&platform.url, |_| Reply::Status(200)).await;
        let (template, _) = bea.publish_webhook("Clerk", &hook.address, "none").await;
        let (session, mut events) = cleo.opens(&template).await;
        let own = agent_folder(&cleo, &session).await;
        events.until("session").await;
        let agent = Agent::of(&platform, &session);
        let (other, _) = cleo.starts(&template).await;
        let others = agent_folder(&cleo, &other).await;
        let carl = platform.person("Carl").await;
        let carls = folder(&carl, None, "Carl's").await;

        let granted = upload(&cleo, None, "granted.txt", "x").await.id();
        let shared = folder(&cleo, None, "Shared").await;
        let deep = folder(&cleo, Some(&shared), "Deep").await;
        let child = upload(&cleo, Some(&deep), "child.txt", "x").await.id();
        for node in [&granted, &shared] {
            share(&cleo, &session, node).await.created();
        }
        let later = upload(&cleo, Some(&deep), "later.txt", "x").await.id();
        let tagged = upload(&cleo, Some(&own), "tagged.txt", "x").await.id();
        let mine = folder(&cleo, None, "Mine").await;
        let ungranted = upload(&cleo, Some(&mine), "ungranted.txt", "x").await.id();
        let elsewhere = upload(&cleo, Some(&others), "elsewhere.txt", "x").await.id();
        let foreign = upload(&carl, Some(&carls), "foreign.txt", "x").await.id();
        let trashed = upload(&cleo, Some(&shared), "trashed.txt", "x").await.id();
        let gone = folder(&cleo, Some(&own), "Gone").await;
        for node in [&trashed, &gone] {
            cleo.delete(&format!("/files/{node}")).await.with(204);
        }
        let link = agent.begin(None, "unfinished.txt").await.ok();
        let unfinished = text(&link, "nodeId").to_owned();

        // Node, listed, download, complete.
        let files = [
            (&granted, true, 200, 404),
            (&child, true, 200, 404),
            (&later, true, 200, 404),
            (&tagged, true, 200, 200),
            (&ungranted, false, 404, 404),
            (&elsewhere, false, 404, 404),
            (&foreign, false, 404, 404),
            (&trashed, false, 404, 404),
            (&unfinished, false, 409, 409),
            (&own, true, 400, 404),
            (&shared, true, 400, 404),
            (&mine, false, 404, 404),
        ];
        // Folder, upload into it.
        let folders = [
            (&own, 200),
            (&shared, 403),
            (&deep, 403),
            (&mine, 404),
            (&others, 404),
            (&carls, 404),
            (&gone, 404),
            (&granted, 400),
        ];
        let listed = agent.list().await.ok();
        let listed: Vec<_> = listed.as_array().expect("a bare list").iter().map(Id::id).collect();
        for (place, (node, seen, download, completed)) in files.into_iter().enumerate() {
            assert_eq!(listed.contains(node), seen, "row {place}: listed");
            let answer = agent.download(node).await;
            assert_eq!(answer.status, download, "row {place}: {}", answer.text);
            let path = cleo.get(&format!("/files/{node}")).await.body["storagePath"].take();
            let path = if *node == unfinished { link["storagePath"].clone() } else { path };
            let answer = agent.complete(node, &path, 1).await;
            assert_eq!(answer.status, completed, "row {place}: {}", answer.text);
        }
        for (place, (parent, status)) in folders.into_iter().enumerate() {
            let answer = agent.begin(Some(parent), &format!("new {place}")).await;
            assert_eq!(answer.status, status, "row {place}: {}", answer.text);
        }
        // What the client takes back is gone at once, from links that were made before, too.
        let before = agent.download(&child).await.ok();
        assert_eq!(get(text(&before, "signedUrl")).await.status(), 200);
        cleo.delete(&format!("/sessions/{session}/shared-files/{shared}")).await.with(204);
        assert_eq!(agent.download(&child).await.status, 404);
        assert_eq!(get(text(&before, "signedUrl")).await.status(), 404);
        // Moved under something granted, it is seen; moved out of it, it is not.
        share(&cleo, &session, &mine).await.created();
        cleo.patch(&format!("/files/{child}"), json!({ "parentId": mine })).await.ok();
        assert_eq!(agent.download(&child).await.status, 200);
        cleo.patch(&format!("/files/{ungranted}"), json!({ "parentId": null })).await.ok();
        assert_eq!(agent.download(&ungranted).await.status, 404);

        // Nothing opens when the session is over; what the agent wrote stays.
        let before = agent.download(&tagged).await.ok();
        cleo.ends(&session).await;
        for answer in [
            agent.list().await,
            agent.download(&tagged).await,
            agent.begin(None, "late.txt").await,
            agent.complete(&unfinished, &link["storagePath"], 1).await,
        ] {
            answer.problem(401, "unauthenticated");
        }
        assert_eq!(get(text(&before, "signedUrl")).await.status(), 403);
        put(text(&link, "signedUrl"), "late").await.problem(403, "session_ended");
        share(&cleo, &session, &granted).await.problem(409, "session_ended");
        assert_eq!(cleo.get(&format!("/files/{tagged}")).await.ok()["sessionTag"], json!(session));
    }

    async fn before_it_is_active_a_session_has_a_folder_but_its_agent_no_files(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::that(&platform.url, |_| Reply::Status(500)).await;
        let (template, _) = bea.publish_webhook("Slow", &hook.address, "none").await;
        let (session, _) = cleo.opens(&template).await;
        let own = agent_folder(&cleo, &session).await;
        let file = upload(&cleo, Some(&own), "f.txt", "x").await.id();
        let agent = Agent::of(&platform, &session);
        for answer in [
            agent.list().await,
            agent.download(&file).await,
            agent.begin(None, "new.txt").await,
            agent.complete(&file, &json!("x"), 1).await,
        ] {
            answer.problem(409, "session_not_active");
        }
        Voice::of(&platform, &session).auth().await.ok();
        assert_eq!(agent.download(&file).await.status, 200);
    }

    async fn an_agent_without_a_folder_cannot_write(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::that(&platform.url, |_| Reply::Status(200)).await;
        let (template, _) = bea.publish_webhook("Clerk", &hook.address, "none").await;
        let (session, _events) = cleo.starts(&template).await;
        let agent = Agent::of(&platform, &session);
        agent.begin(None, "x.txt").await.problem(404, "no_agent_folder");
        let own = agent_folder(&cleo, &session).await;
        cleo.post(&format!("/sessions/{session}/agent-folder"), json!({})).await.problem(409, "name_taken");
        let link = agent.begin(None, "x.txt").await.ok();
        put(text(&link, "signedUrl"), "hello").await.with(200);
        let node = text(&link, "nodeId");
        let done = agent.complete(node, &link["storagePath"], 5).await.ok();
        assert_eq!((&done["parentId"], &done["sessionTag"]), (&json!(own), &json!(session)));
        // The client has it, and completes no upload of an agent.
        assert_eq!(content(&cleo, node).await, "hello");
        let link = agent.begin(None, "y.txt").await.ok();
        put(text(&link, "signedUrl"), "hello").await.with(200);
        complete(&cleo, &link, 5).await.problem(404, "not_found");
        let own = begin(&cleo, Some(&own), "z.txt").await;
        agent.complete(text(&own, "nodeId"), &own["storagePath"], 5).await.problem(404, "not_found");
    }
}
