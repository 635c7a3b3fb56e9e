//! `aiybiz backup`: what was there at that moment is there again, and goes on.

use crate::harness::{
    Engine, Person, Place, guests, json,
    people::send,
    process::{Process, command},
    run,
};
use std::{os::unix::fs::PermissionsExt, process::Output};

#[test]
fn a_platform_goes_on_from_its_backup() {
    run(async {
        let mut place = Place::new(Engine::Sqlite).await;
        // As it is without any flag: all in the data folder.
        let data = place.folder.path().join("data");
        place.database_url = format!("sqlite:{}/aiybiz.db", data.display());
        let process = Process::serve(&place);
        let url = process.url.clone();
        let bea = Person::sign_up(&url, "Bea").await;
        bea.becomes_builder("Bea").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        bea.put(
            &format!("/builder/agents/{agent}/config/k"),
            json!({ "value": "s", "secret": true }),
        )
        .await
        .with(204);
        let cleo = Person::sign_up(&url, "Cleo").await;
        let (session, mut events) = cleo.starts(&agent).await;
        cleo.says(&session, "before").await;
        events.until("message").await;
        let begun = cleo.post("/files/upload-url", json!({ "name": "f.txt" })).await.ok();
        let put = cleo.http.put(begun["signedUrl"].as_str().expect("a link"));
        assert!(put.body("hello").send().await.expect("an answer").status().is_success());
        let node = begun["nodeId"].as_str().expect("an id").to_owned();
        let done =
            json!({ "storagePath": begun["storagePath"], "fileSize": 5, "mimeType": "text/plain" });
        cleo.post(&format!("/files/{node}/complete-upload"), done).await.ok();

        // Somebody writes all the while.
        let (writer, path) = (cleo.clone(), format!("/sessions/{session}/messages"));
        let writing = tokio::spawn(async move {
            for n in 0..200 {
                let body = json!({ "content": format!("meanwhile {n}") });
                writer.post(&path, body).await.created();
            }
        });
        let to = place.folder.path().join("backup");
        let said = backup(&place, &to);
        assert_eq!(said.status.code(), Some(0), "{said:?}");
        writing.await.expect("no panic");
        for (name, mode) in [("", 0o700), ("secret.key", 0o600)] {
            let found = to.join(name).metadata().expect("it is there").permissions().mode();
            assert_eq!(found & 0o777, mode, "{name}");
        }
        // Not over another one.
        let again = backup(&place, &to);
        assert_eq!(again.status.code(), Some(1), "{again:?}");
        cleo.says(&session, "after").await;
        process.kill();

        let restored = Place {
            database_url: format!("sqlite:{}/aiybiz.db", to.display()),
            folder: tempfile::tempdir_in(place.folder.path()).expect("a folder"),
        };
        let moved = restored.folder.path().join("data");
        std::fs::rename(&to, &moved).expect("it moves");
        let restored =
            Place { database_url: format!("sqlite:{}/aiybiz.db", moved.display()), ..restored };
        for check in [["files", "check"], ["ledger", "check"]] {
            let said = command(&restored).args(check).output().expect("the program");
            assert_eq!(said.status.code(), Some(0), "{said:?}");
        }
        let process = Process::serve(&restored);
        let (cleo, bea) = (cleo.at(&process.url), bea.at(&process.url));
        let log = cleo.get(&format!("/sessions/{session}/messages?limit=200")).await.ok();
        let texts: Vec<&str> = log["data"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|m| m["content"].as_str())
            .collect();
        assert!(!texts.contains(&"after"), "{texts:?}");
        let link = cleo.get(&format!("/files/{node}/download-url")).await.ok();
        let got = send(cleo.http.get(link["signedUrl"].as_str().expect("a link"))).await;
        assert_eq!(got.text, "hello");
        // What was sealed can be opened, the component runs, and money is where it was.
        let (new, mut events) = bea.starts(&agent).await;
        bea.says(&new, "again").await;
        assert_eq!(events.reply().await, "echo: again");
        assert_eq!(cleo.get("/wallet").await.ok()["balanceCents"], 1_000_000);
    });
}

#[test]
fn only_what_it_can_copy_whole_is_copied() {
    run(async {
        let place = Place::new(Engine::Sqlite).await;
        let to = place.folder.path().join("backup");
        let mut bucket = command(&place);
        bucket.args(["backup", "--storage-url", "s3://bucket?endpoint=http://127.0.0.1:1"]);
        let said = bucket.arg(&to).output().expect("the program");
        assert_eq!(said.status.code(), Some(1), "{said:?}");
        assert!(!to.exists());
        let mut postgres = command(&place);
        postgres.env_remove("AIYBIZ_DATABASE_URL");
        let said = postgres.args(["backup", "--database-url", "postgres://127.0.0.1:1/x"]).arg(&to);
        let said = said.output().expect("the program");
        assert_ne!(said.status.code(), Some(0), "{said:?}");
        assert!(!to.exists());
    });
}

fn backup(place: &Place, to: &std::path::Path) -> Output {
    command(place).arg("backup").arg(to).output().expect("the program")
}
