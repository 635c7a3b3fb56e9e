//! The real program in a process of its own, to be killed.

use super::{Place, program};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

pub struct Process {
    pub url: String,
    child: Child,
}

impl Process {
    /// Starts `aiybiz serve` on a free port and waits until it listens.
    pub fn serve(place: &Place) -> Self {
        Self::start(command(place).arg("serve"))
    }

    /// With a file of settings.
    pub fn serve_with(place: &Place, config: &Path) -> Self {
        Self::start(command(place).arg("serve").arg("--config").arg(config))
    }

    /// With more in its environment.
    pub fn serve_in(place: &Place, environment: Vec<(&str, String)>) -> Self {
        Self::start(command(place).envs(environment).arg("serve"))
    }

    /// Writes down what it tells, from this level on.
    pub fn serve_telling(place: &Place, level: &str, log: &Path) -> Self {
        let log = File::create(log).expect("a file");
        Self::start(command(place).env("RUST_LOG", level).stderr(log).arg("serve"))
    }

    /// Starts it again where it was.
    pub fn serve_at(place: &Place, url: &str) -> Self {
        Self::serve_again(place, url, Vec::new())
    }

    /// Likewise, with more in its environment.
    pub fn serve_again(place: &Place, url: &str, environment: Vec<(&str, String)>) -> Self {
        let address = url.strip_prefix("http://").expect("an URL of ours");
        let mut command = command(place);
        Self::start(command.env("AIYBIZ_LISTEN", address).envs(environment).arg("serve"))
    }

    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program");
        let line = first_line(&mut child);
        let url = line.trim().strip_prefix("listening on ").expect("where it listens");
        Self { url: url.to_owned(), child }
    }

    /// kill -9: no chance to tidy up.
    pub fn kill(mut self) {
        self.child.kill().expect("it was alive");
        self.child.wait().expect("it is dead");
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop; returns how it ended.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        let stopped = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(stopped.expect("kill").success());
        self.child.wait().expect("it ends")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program with the flags for this place.
pub fn command(place: &Place) -> Command {
    let mut command = Command::new(program());
    command
        .env("AIYBIZ_LISTEN", "127.0.0.1:0")
        .args(["--webhook-allow", "127.0.0.0/8"])
        .args(["--database-url", &place.database_url])
        .arg("--data-dir")
        .arg(place.folder.path().join("data"))
        .env("RUST_LOG", "error")
        .stdout(Stdio::piped());
    for rate in ["SIGN_UPS", "SIGN_INS", "SIGN_INS_PER_ADDRESS", "MESSAGES"] {
        command.env(format!("AIYBIZ_{rate}_PER_MINUTE"), "1000000");
    }
    command
}

/// What a program that was started says first: that it is up, and where.
pub fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let said = child.stdout.as_mut().expect("a pipe");
    BufReader::new(said).read_line(&mut line).expect("a line");
    line
}
