//! An agent in Node.js that behaves on the wire as the published SDK does
//! (`sdk-node/agent.mjs`).

use super::Value;
use std::{path::Path, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

const PATIENCE: Duration = Duration::from_secs(30);

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sdk-node");

/// Is what it needs installed? Says so, loudly, when it is not.
pub fn available() -> bool {
    let installed = Path::new(FOLDER).join("node_modules/ws").exists();
    if !installed {
        assert!(std::env::var_os("CI").is_none(), "npm install was not run, and this is CI");
        eprintln!("run npm install in {FOLDER}: this test did not run");
    }
    installed
}

/// Ends when dropped.
pub struct Sdk {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Everything that it told so far.
    pub told: Vec<Value>,
}

impl Sdk {
    /// With a token in the platform's address, which is all that its user can choose.
    pub fn start(kind: &str, platform: &str, session: &str, token: &str) -> Self {
        let mut child = Command::new("node")
            .arg("agent.mjs")
            .arg(kind)
            .current_dir(FOLDER)
            .env("AIYBIZ_URL", format!("{platform}/t/{token}"))
            .env("AIYBIZ_SESSION_ID", session)
            .env("AIYBIZ_RECONNECT_DELAY", "50")
            .env("AIYBIZ_HEARTBEAT_INTERVAL", "100")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node.js is installed");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines, told: Vec::new() }
    }

    /// Waits until it tells of this, and returns all that it told of it.
    pub async fn until(&mut self, what: &str) -> Value {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("no {what}: {:?}", self.told));
            let Some(line) = line.expect("text") else { panic!("it ended: {:?}", self.told) };
            let told: Value = serde_json::from_str(&line).expect("JSON");
            self.told.push(told.clone());
            if told[0] == what {
                return told;
            }
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a process").is_none()
    }
}
