//! Other people's programs, which never saw this one: what they take for a signed
//! webhook and how they follow a stream is what the standards mean.
//!
//! `conformance/` has the scripts that run them, and which versions they are;
//! `tests/run` installs them. The scripts do and tell, what is right is said here.

mod contract;
mod cuts;
mod large;
mod pages;
mod signatures;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::{Child, Command};

/// Starts a script in a process that dies with the test. In its standard input is
/// what it reads, its standard output is for us.
fn start(program: impl AsRef<Path>, script: &str, arguments: &[String]) -> Child {
    let mut command = Command::new(program.as_ref());
    command.arg(folder().join(script)).args(arguments).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap_or_else(|error| missing(program.as_ref(), &error.to_string()))
}

/// Node.js, with the libraries that the scripts use.
fn node() -> &'static str {
    let libraries = folder().join("node_modules");
    if !libraries.is_dir() {
        missing(&libraries, "npm ci makes it");
    }
    "node"
}

/// Python, with the libraries that the scripts use.
fn python() -> PathBuf {
    folder().join(".venv/bin/python")
}

fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("chromium"));
    let found = found.find(|program| program.is_file());
    found.unwrap_or_else(|| missing(Path::new("chromium"), "it is in no folder of PATH"))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance")
}

fn missing(what: &Path, why: &str) -> ! {
    panic!("{} is missing ({why}): ./tests/run installs what the tests need", what.display())
}
