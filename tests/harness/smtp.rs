//! A real mail server (`conformance/smtp.py` says whose), and what arrives at it.

use super::{Platform, Value};
use aiybiz_host::config::Config;
use std::{path::Path, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Who the platform's mail is from.
const FROM: &str = "Aiybiz <agents@platform.example>";

pub struct Smtp {
    pub url: String,
    said: Lines<BufReader<ChildStdout>>,
    _server: Child,
}

impl Smtp {
    pub async fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance");
        let mut server = Command::new(folder.join(".venv/bin/python"))
            .arg("smtp.py")
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python: ./tests/run installs what the tests need");
        let mut said = BufReader::new(server.stdout.take().expect("a pipe")).lines();
        let line = said.next_line().await.expect("a line").expect("it runs");
        let port = line.strip_prefix("listening ").expect("where it listens");
        Self { url: format!("smtp://127.0.0.1:{port}"), said, _server: server }
    }

    /// From now on a platform with these settings mails through it.
    pub fn serves(&self, config: &mut Config) {
        config.mail.smtp_url = Some(self.url.clone());
        config.mail.mail_from = Some(FROM.to_owned());
    }

    /// The next mail that arrives.
    pub async fn next(&mut self) -> Mail {
        let line = timeout(Duration::from_secs(30), self.said.next_line()).await;
        let line = line.expect("a mail within half a minute").expect("a line").expect("it runs");
        Mail(serde_json::from_str(&line).expect("JSON"))
    }

    /// The next one to this address.
    pub async fn to(&mut self, email: &str) -> Mail {
        loop {
            let mail = self.next().await;
            if mail.0["to"][0] == email {
                return mail;
            }
        }
    }

    /// Nothing arrives for a while.
    pub async fn is_silent(&mut self, platform: &Platform) {
        while aiybiz_host::work::outbox::send(&platform.host).await.expect("it sends") {}
        let line = timeout(Duration::from_millis(300), self.said.next_line()).await;
        assert!(line.is_err(), "{line:?}");
    }
}

pub struct Mail(pub Value);

impl Mail {
    pub fn subject(&self) -> &str {
        self.0["subject"].as_str().expect("a subject")
    }

    pub fn text(&self) -> &str {
        self.0["text"].as_str().expect("a text")
    }

    pub fn header(&self, name: &str) -> Vec<&str> {
        let headers = self.0["headers"].as_array().expect("a list");
        let named = headers.iter().filter(|header| {
            header[0].as_str().is_some_and(|other| other.eq_ignore_ascii_case(name))
        });
        named.filter_map(|header| header[1].as_str()).collect()
    }

    /// The secret of its link.
    #[track_caller]
    pub fn token(&self) -> String {
        token(self.text())
    }
}

/// The secret of the link in this text.
#[track_caller]
pub fn token(text: &str) -> String {
    let mut words = text.split_whitespace();
    let link = words.find(|word| word.contains("/links/")).expect("a link");
    link.split_once('#').expect("a secret").1.to_owned()
}
