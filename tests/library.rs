//! "My files", and what of it is shared with sessions: through the API, as clients, agents
//! and browsers use it.

mod access;
mod azure;
mod bounds;
mod bucket;
mod crash;
mod hostile;
mod resumable;
mod samples;
mod sandboxed;
mod serving;
mod steps;

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, Value, json,
        people::{Answer, Id, send},
    },
};
use aiybiz_host::work;
use reqwest::Response;
use std::time::Duration;

/// Begins an upload; answers its link.
async fn begin(who: &Person, parent: Option<&str>, name: &str) -> Value {
    let answer = who.post("/files/upload-url", json!({ "name": name, "parentId": parent })).await;
    answer.ok()
}

/// Sends bytes to a link, as anybody would who has it.
async fn put(url: &str, bytes: impl Into<reqwest::Body>) -> Answer {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    send(http.put(url).body(bytes)).await
}

async fn get(url: &str) -> Response {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    http.get(url).send().await.expect("an answer")
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

async fn complete(who: &Person, link: &Value, bytes: usize) -> Answer {
    let path = format!("/files/{}/complete-upload", text(link, "nodeId"));
    let said =
        json!({ "storagePath": link["storagePath"], "fileSize": bytes, "mimeType": "text/plain" });
    who.post(&path, said).await
}

/// A file in a client's library.
async fn upload(who: &Person, parent: Option<&str>, name: &str, content: &str) -> Value {
    let link = begin(who, parent, name).await;
    put(text(&link, "signedUrl"), content.to_owned()).await.with(200);
    complete(who, &link, content.len()).await.ok()
}

async fn folder(who: &Person, parent: Option<&str>, name: &str) -> String {
    who.post("/files/folders", json!({ "name": name, "parentId": parent })).await.created().id()
}

/// What is in a file, by way of a link.
async fn content(who: &Person, id: &str) -> String {
    let link = who.get(&format!("/files/{id}/download-url")).await.ok();
    get(text(&link, "signedUrl")).await.text().await.expect("a text")
}

async fn names(who: &Person, query: &str) -> Vec<String> {
    let found = who.get(&format!("/files{query}")).await.ok();
    let found = found["data"].as_array().expect("a list");
    found.iter().map(|node| text(node, "name").to_owned()).collect()
}

async fn used(who: &Person) -> i64 {
    who.get("/files/usage").await.ok()["usedBytes"].as_i64().expect("a number")
}

both_engines! {
    async fn a_file_goes_in_and_comes_out(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let reports = folder(&cleo, None, "Reports").await;
        let link = begin(&cleo, Some(&reports), "July.txt").await;
        let node = text(&link, "nodeId").to_owned();
        assert_eq!(link["expiresIn"], 3600);
        let path = format!("/files/{node}/complete-upload");
        let said = json!({ "fileSize": 5, "mimeType": "text/plain" });
        cleo.post(&path, said.clone()).await.problem(409, "no_bytes");
        // Nobody knows of it before it is complete.
        assert_eq!(names(&cleo, &format!("?parentId={reports}")).await, [""; 0]);
        cleo.get(&format!("/files/{node}/download-url")).await.problem(409, "upload_unfinished");
        put(text(&link, "signedUrl"), "hello").await.with(200);
        assert_eq!(used(&cleo).await, 5);
        let wrong = cleo.post(&path, json!({ "fileSize": 6, "mimeType": "text/plain" })).await;
        let wrong = wrong.problem(422, "size_mismatch");
        assert_eq!(wrong["errors"][0]["pointer"], "/fileSize", "{wrong}");
        let done = cleo.post(&path, said.clone()).await.ok();
        assert_eq!((&done["fileSize"], &done["mimeType"]), (&json!(5), &json!("text/plain")));
        assert_eq!((&done["parentId"], &done["sessionTag"]), (&json!(reports), &json!(null)));
        assert_eq!(done["storagePath"], link["storagePath"]);
        assert_eq!(cleo.post(&path, said).await.ok(), done, "said again");
        cleo.post(&path, json!({ "fileSize": 7, "mimeType": "text/plain" })).await.problem(409, "already_completed");
        assert_eq!(names(&cleo, &format!("?parentId={reports}")).await, ["July.txt"]);
        assert_eq!(content(&cleo, &node).await, "hello");
        // Its link is dead.
        put(text(&link, "signedUrl"), "other").await.problem(410, "upload_over");
        assert_eq!(content(&cleo, &node).await, "hello");
        assert_eq!(used(&cleo).await, 5);
    }

    async fn things_are_found_renamed_and_moved(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (cleo, carl) = (platform.person("Cleo").await, platform.person("Carl").await);
        let (a, b) = (folder(&cleo, None, "A").await, folder(&cleo, None, "B").await);
        let inner = folder(&cleo, Some(&a), "Inner").await;
        let file = upload(&cleo, Some(&inner), "100%_sure.txt", "x").await.id();
        upload(&cleo, None, "other.txt", "y").await;
        assert_eq!(names(&cleo, "").await, ["A", "B", "other.txt"]);
        for (q, found) in [("SURE", 1), ("%25_", 1), ("_", 1), ("%25", 1), ("!", 0), (".txt", 2), ("zzz", 0)] {
            assert_eq!(names(&cleo, &format!("?q={q}")).await.len(), found, "{q}");
        }
        let change = async |id: &str, change: Value| cleo.patch(&format!("/files/{id}"), change).await;
        assert_eq!(change(&file, json!({ "name": "new.txt" })).await.ok()["name"], "new.txt");
        // Its own name in other letters is no conflict; that of a sibling is.
        assert_eq!(change(&b, json!({ "name": "b" })).await.ok()["name"], "b");
        change(&b, json!({ "name": "a" })).await.problem(409, "name_taken");
        change(&b, json!({ "name": "a/b" })).await.problem(400, "invalid_field");
        change(&a, json!({ "parentId": inner })).await.problem(409, "folder_in_itself");
        change(&a, json!({ "parentId": a })).await.problem(409, "folder_in_itself");
        change(&a, json!({ "parentId": file })).await.problem(400, "invalid_field");
        change(&inner, json!({ "parentId": b })).await.ok();
        assert_eq!(names(&cleo, &format!("?parentId={a}")).await, [""; 0]);
        assert_eq!(change(&file, json!({ "parentId": null })).await.ok()["parentId"], json!(null));
        assert_eq!(content(&cleo, &file).await, "x");
        // Another company has nothing to do with any of it.
        for path in [format!("/files/{file}"), format!("/files/{file}/download-url"), format!("/files?parentId={a}")] {
            carl.get(&path).await.problem(404, "not_found");
        }
        carl.patch(&format!("/files/{file}"), json!({ "name": "mine" })).await.problem(404, "not_found");
        carl.delete(&format!("/files/{file}")).await.problem(404, "not_found");
        carl.post("/files/folders", json!({ "name": "x", "parentId": a })).await.problem(404, "not_found");
        carl.post("/files/upload-url", json!({ "name": "x", "parentId": a })).await.problem(404, "not_found");
        assert_eq!(names(&carl, "").await, [""; 0]);
    }

    async fn what_is_deleted_comes_back_or_goes_for_good(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let a = folder(&cleo, None, "A").await;
        let inner = folder(&cleo, Some(&a), "Inner").await;
        let file = upload(&cleo, Some(&inner), "f.txt", "hello").await.id();
        let early = upload(&cleo, Some(&inner), "early.txt", "hi").await.id();
        cleo.delete(&format!("/files/{early}")).await.with(204);
        cleo.delete(&format!("/files/{a}")).await.with(204);
        assert_eq!(names(&cleo, "").await, [""; 0]);
        assert_eq!(names(&cleo, "?q=f").await, [""; 0]);
        assert_eq!(names(&cleo, "?trashed=true").await, ["A", "early.txt"]);
        cleo.get(&format!("/files/{file}/download-url")).await.problem(404, "not_found");
        assert_eq!(used(&cleo).await, 7, "the trash counts");
        // Its name is free meanwhile; then it is not.
        let other = folder(&cleo, None, "a").await;
        cleo.post(&format!("/files/{a}/restore"), json!({})).await.problem(409, "name_taken");
        cleo.delete(&format!("/files/{other}")).await.with(204);
        cleo.post(&format!("/files/{inner}/restore"), json!({})).await.problem(404, "not_found");
        cleo.post(&format!("/files/{a}/restore"), json!({})).await.ok();
        assert_eq!(content(&cleo, &file).await, "hello");
        assert_eq!(names(&cleo, &format!("?parentId={inner}")).await, ["f.txt"]);
        cleo.delete(&format!("/files/{file}?permanent=true")).await.problem(404, "not_found");

        // What lay in a folder that is gone comes back to the root.
        cleo.delete(&format!("/files/{a}")).await.with(204);
        cleo.delete(&format!("/files/{a}?permanent=true")).await.with(204);
        assert_eq!(used(&cleo).await, 2);
        assert_eq!(cleo.post(&format!("/files/{early}/restore"), json!({})).await.ok()["parentId"], json!(null));
        assert_eq!(content(&cleo, &early).await, "hi");
        work::library::tidy(&platform.host).await.expect("it tidies up");
        assert_eq!(platform.objects_of(&cleo).await, 1);

        // After a month the trash is emptied.
        cleo.delete(&format!("/files/{early}")).await.with(204);
        for (days, left) in [(29, 2), (2, 0)] {
            platform.clock.advance(Duration::from_hours(24 * days));
            work::library::tidy(&platform.host).await.expect("it tidies up");
            let mut tx = platform.host.db.look().await.expect("a look");
            let nodes: (i64,) = tx.query("SELECT COUNT(*) FROM nodes").one().await.expect("a number");
            assert_eq!(nodes, (left,));
        }
        let wrong = work::library::check(&platform.host.db, &platform.host.objects).await;
        assert_eq!(wrong.expect("it looks"), [""; 0]);
    }
}
