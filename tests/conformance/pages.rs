//! A real browser opens the platform's own pages: what mailed links lead to, and the
//! description of the API. Their policies let them do what they are for, and no more.

use super::{chromium, node, start};
use crate::{
    harness::{Engine, Person, Value, json, people::PASSWORD, run},
    people::mailing,
};
use tokio::io::AsyncReadExt;

/// Shows these pages one after the other; what was seen, and which cookies are left.
async fn browse(visits: Value) -> (Vec<Value>, Value) {
    let job = json!({ "chromium": chromium(), "visits": visits });
    let mut browser = start(node(), "browse.mjs", &[job.to_string()]);
    let mut said = String::new();
    let out = browser.stdout.as_mut().expect("its output");
    out.read_to_string(&mut said).await.expect("text");
    assert!(browser.wait().await.expect("it ends").success(), "{said}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    (said["seen"].as_array().expect("a list").clone(), said["cookies"].clone())
}

/// It showed what was waited for, complained of nothing, and asked nobody else.
#[track_caller]
fn is_well(page: &Value) {
    assert_eq!(page["missing"], Value::Null, "{page}");
    assert_eq!(page["complaints"], json!([]), "{page}");
    assert_eq!(page["strangers"], json!([]), "{page}");
}

#[test]
fn what_mailed_links_open_does_what_it_says() {
    run(async {
        let (platform, mut smtp) = mailing(Engine::Sqlite).await;
        let cleo = platform.person("Cleo").await;
        let link = async |smtp: &mut crate::harness::smtp::Smtp, email: &str| {
            let mail = smtp.to(email).await;
            let text = mail.text().to_owned();
            let link = text.split_whitespace().find(|word| word.starts_with("http"));
            link.unwrap_or_else(|| panic!("no link in {text}")).to_owned()
        };
        let invited = "max@example.com";
        cleo.post("/company/invitations", json!({ "email": invited })).await.created();
        let invitation = link(&mut smtp, invited).await;
        let asked = json!({ "email": cleo.email });
        Person::nobody(&platform.url).post("/auth/password/forgot", asked).await.with(202);
        let password = link(&mut smtp, &cleo.email).await;

        let (seen, cookies) = browse(json!([
            { "url": invitation, "fill": { "name": "Max", "password": PASSWORD }, "press": "#go",
              "until": "You are a member of" },
            { "url": password, "fill": { "password": "a new one that is long" }, "press": "#go",
              "until": "You have a new password" },
            { "url": invitation, "until": "this invitation" },
        ]))
        .await;
        is_well(&seen[0]);
        is_well(&seen[1]);
        // The secret is out of the address before anything else is done.
        for page in &seen {
            let address = page["address"].as_str().expect("an address");
            assert!(!address.contains('#'), "{address}");
        }
        // Used up: said in words, and the answer's 410 is all that is complained of.
        assert_eq!(seen[2]["missing"], Value::Null, "{}", seen[2]);
        assert_eq!(seen[2]["strangers"], json!([]));
        // Max is signed in, by a cookie that no script can read.
        let cookie = &cookies[0];
        assert_eq!((&cookie["name"], &cookie["httpOnly"]), (&json!("aiybiz"), &json!(true)));
        let members = cleo_signs_in(&platform.url, &cleo).await.get("/company/members").await.ok();
        assert_eq!(members["data"][0]["email"], invited);
    });
}

async fn cleo_signs_in(url: &str, cleo: &Person) -> Person {
    let body = json!({ "email": cleo.email, "password": "a new one that is long" });
    let signed = Person::nobody(url).post("/auth/login", body).await.ok();
    Person { token: signed["token"].as_str().expect("a token").to_owned(), ..cleo.clone() }
}

#[test]
fn the_description_is_shown() {
    run(async {
        let platform = crate::harness::Platform::start(Engine::Sqlite).await;
        let url = format!("{}/docs", platform.url);
        let (seen, _) = browse(json!([{ "url": url, "until": "Opens a session" }])).await;
        is_well(&seen[0]);
        let text = seen[0]["text"].as_str().expect("text");
        assert!(text.contains("/sessions/{session}/messages"), "{text}");
    });
}
