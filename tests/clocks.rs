//! A machine whose clock is wrong, beside a database whose clock is right.

use crate::harness::{Engine, Place, postgres, process::command};
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// Starts the program on a machine whose clock is off by so much.
fn serve(place: &Place, off: &str, log: &std::path::Path) -> Option<Child> {
    let plain = command(place);
    let mut command = Command::new("faketime");
    command.args(["-f", off]).arg(plain.get_program()).args(plain.get_args()).arg("serve");
    for (name, value) in plain.get_envs() {
        command.env(name, value.expect("it is set"));
    }
    let log = fs::File::create(log).expect("a file");
    match command.env("RUST_LOG", "warn").stdout(Stdio::piped()).stderr(log).spawn() {
        Ok(child) => Some(child),
        Err(_) => {
            assert!(std::env::var_os("CI").is_none(), "faketime is not installed, and this is CI");
            eprintln!("faketime is not installed: this was not tested");
            None
        }
    }
}

/// Receivers refuse what is five minutes off, and other processes would lose their leases.
#[test]
fn a_process_whose_clock_is_minutes_off_does_not_start() {
    if !postgres::available() {
        return;
    }
    crate::harness::run(async {
        for off in ["+6m", "-6m", "+2m"] {
            let place = Place::new(Engine::Postgres).await;
            let log = place.folder.path().join("log");
            let Some(child) = serve(&place, off, &log) else { return };
            let ended = child.wait_with_output().expect("it ends");
            assert!(!ended.status.success(), "{off}");
            assert_eq!(ended.stdout, b"", "it never listened");
            let told = fs::read_to_string(&log).expect("a log");
            assert!(told.contains("this machine's clock and the database's differ by"), "{told}");
        }
    });
}

#[test]
fn a_process_whose_clock_is_seconds_off_says_so() {
    if !postgres::available() {
        return;
    }
    crate::harness::run(async {
        for (off, warned) in [("+20s", true), ("-20s", true), ("+2s", false)] {
            let place = Place::new(Engine::Postgres).await;
            let log = place.folder.path().join("log");
            let Some(mut child) = serve(&place, off, &log) else { return };
            let mut line = String::new();
            let stdout = child.stdout.as_mut().expect("a pipe");
            BufReader::new(stdout).read_line(&mut line).expect("a line");
            assert!(line.starts_with("listening on "), "{off}: {line}");
            // It looks at once, and every minute from then on.
            let told = async || loop {
                let told = fs::read_to_string(&log).expect("a log");
                if told.contains("clock") {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            };
            let patience = std::time::Duration::from_secs(if warned { 30 } else { 2 });
            assert_eq!(tokio::time::timeout(patience, told()).await.is_ok(), warned, "{off}");
            child.kill().expect("it was alive");
            child.wait().expect("it ends");
        }
    });
}
