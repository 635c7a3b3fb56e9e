//! The JavaScript handler as a webhook, served by Node.js.

use super::process::first_line;
use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The handler as its builder serves it; ends when dropped.
pub struct Server {
    pub address: String,
    child: Child,
}

impl Server {
    pub fn start(platform: &str, secret: &str) -> Self {
        let mut child = Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-examples/webhook-node/server.mjs"))
            .env("PORT", "0")
            .env("AIYBIZ_API_URL", platform)
            .env("AIYBIZ_WEBHOOK_SECRET", secret)
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node.js is installed: it built the guests");
        let line = first_line(&mut child);
        let address = line.trim().strip_prefix("listening on ").expect("where it listens");
        Self { address: address.to_owned(), child }
    }

    /// What it has used of the processors.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("it lives");
        // After the name, which may contain anything: fields 14 and 15 of the whole.
        let after = stat.rsplit(')').next().expect("a name");
        let ticks = after.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|n| n.parse::<u64>().expect("a number")).sum();
        // Linux shows a hundredth of a second, whatever it counts in itself.
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
