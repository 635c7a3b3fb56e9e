//! The process that judges an upload: what it may, and what becomes of it when it
//! hangs or the platform dies.

use crate::{
    bombs,
    harness::{
        Engine, Person, Place, Platform, Value, guests, people, process::Process, program, within,
    },
};
use reqwest::Method;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Compiles for longer than any test looks at it.
fn heavy() -> Vec<u8> {
    bombs::bomb(40, 900)
}

/// A live compile worker.
struct Worker(PathBuf);

impl Worker {
    /// The one that compiles for the platform with this data folder; waits for it, and
    /// until it has given up all it will.
    async fn of(data: &Path) -> Self {
        let data = data.canonicalize().expect("a folder");
        within(Duration::from_secs(20), || {
            let found = fs::read_dir("/proc").expect("Linux").flatten().find(|process| {
                let writes = fs::read_link(process.path().join("fd/1"));
                let reads = fs::read_link(process.path().join("fd/0"));
                writes.is_ok_and(|to| to.starts_with(&data))
                    && reads.is_ok_and(|from| from.ends_with("status"))
            });
            found.map(|process| Self(process.path()))
        })
        .await
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).expect("it lives")
    }

    fn limit(&self, name: &str) -> (String, String) {
        let limits = self.read("limits");
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("a limit");
        let mut values = line.split_whitespace().map(str::to_owned);
        (values.next().expect("soft"), values.next().expect("hard"))
    }

    fn signal(&self, signal: &str) {
        let id = self.0.file_name().expect("a number");
        assert!(Command::new("kill").arg(signal).arg(id).status().expect("kill").success());
    }

    async fn gone(&self) {
        within(Duration::from_secs(20), || {
            // Dead, if not yet buried.
            let status = fs::read_to_string(self.0.join("status")).unwrap_or_default();
            (status.is_empty() || status.contains("State:\tZ")).then_some(())
        })
        .await;
    }
}

async fn send(bea: &Person, agent: &str, wasm: Vec<u8>) -> Value {
    let path = format!("/builder/agents/{agent}/components?wait=0");
    let request = bea.request(Method::POST, &path).header("content-type", "application/wasm");
    people::send(request.body(wasm)).await.created()
}

async fn concluded(bea: &Person, agent: &str, version: i64) -> Value {
    let path = format!("/builder/agents/{agent}/components/{version}");
    loop {
        let found = bea.get(&path).await.ok();
        if found["state"] == "ready" || found["state"] == "refused" {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn the_compiler_has_nothing_and_can_open_nothing() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Heavy").await;
        // What its parent has open is none of its business.
        let own = program();
        let open: Vec<_> = (0..50).map(|_| fs::File::open(&own).expect("a file")).collect();
        send(&bea, &agent, heavy()).await;
        let worker = Worker::of(&platform.host.config.data_dir).await;
        worker.signal("-STOP");

        let fds = fs::read_dir(worker.0.join("fd")).expect("it lives").flatten();
        let mut fds: Vec<_> = fds
            .map(|fd| {
                let number = fd.file_name().into_string().expect("a number");
                (number, fs::read_link(fd.path()).expect("a link").display().to_string())
            })
            .collect();
        fds.sort();
        assert_eq!(fds.len(), 3, "{fds:?}");
        assert!(fds[0].1.ends_with("/status"), "its own status: {fds:?}");
        assert!(fds[1].1.contains(".draft") && fds[2].1.starts_with("pipe:"), "{fds:?}");
        // Neither a file nor a socket can be had without a number for it.
        let limit = |name: &str| worker.limit(name).1;
        assert_eq!(worker.limit("Max open files"), ("0".to_owned(), "0".to_owned()));
        assert_eq!(limit("Max address space"), (2048_u64 << 20).to_string());
        assert_eq!(worker.limit("Max cpu time"), ("60".to_owned(), "61".to_owned()));
        assert_eq!(limit("Max file size"), (512_u64 << 20).to_string());
        assert_eq!(limit("Max core file size"), "1");
        assert_eq!(worker.read("environ"), "");
        assert_eq!(fs::read_link(worker.0.join("cwd")).expect("it lives"), Path::new("/"));
        assert!(worker.read("status").contains("NoNewPrivs:\t1"));
        drop(open);
        worker.signal("-KILL");
        let killed = concluded(&bea, &agent, 1).await;
        let detail = killed["problems"][0]["detail"].as_str().expect("a text");
        assert!(detail.contains("the compiler was killed"), "{detail}");
    });
}

/// The claim the test above rests on.
#[test]
fn without_a_number_there_is_no_file_and_no_socket() {
    let tries =
        "ulimit -n 3; exec 3</dev/null && echo file; exec 3<>/dev/tcp/127.0.0.1/9 && echo socket";
    let outcome = Command::new("bash").args(["-c", tries]).output().expect("bash");
    let complaints = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), "", "{complaints}");
    assert!(complaints.contains("Too many open files"), "{complaints}");
}

/// Descriptors that whoever started the platform left open do not reach it either.
#[test]
fn what_the_platform_inherited_stays_with_it() {
    let place = tempfile::tempdir().expect("a folder");
    let (upload, draft) = (place.path().join("upload"), place.path().join("draft"));
    fs::write(&upload, heavy()).expect("a file");
    fs::write(&draft, "").expect("a file");
    crate::harness::run(async move {
        let line = r#"exec "$0" compile-worker '{}' $PPID <"$1" >"$2" 7</dev/null 9>>"$1""#;
        let mut shell = Command::new("bash");
        shell.args(["-c", line]).arg(program()).args([&upload, &draft]);
        let mut child = shell.spawn().expect("bash");
        let worker = Worker::of(&draft).await;
        let open = fs::read_dir(worker.0.join("fd")).expect("it lives").count();
        worker.signal("-KILL");
        child.wait().expect("it is dead");
        assert_eq!(open, 3);
    });
}

#[test]
fn a_compiler_that_hangs_is_killed_and_its_turn_is_free() {
    crate::harness::run(async {
        let change = |limits: &mut aiybiz_host::sandbox::Limits| limits.compile_millis = 4_000;
        let platform = Platform::start_with(Engine::Sqlite, change).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Heavy").await;
        send(&bea, &agent, heavy()).await;
        let worker = Worker::of(&platform.host.config.data_dir).await;
        worker.signal("-STOP");
        let next = send(&bea, &agent, guests::ECHO.to_vec()).await;
        assert_eq!(next["state"], "queued");
        let shown = bea.get(&format!("/builder/agents/{agent}/components/1")).await.ok();
        assert_eq!(shown["state"], "compiling");
        let hung = concluded(&bea, &agent, 1).await;
        assert_eq!(
            hung["problems"][0]["detail"],
            "compiling took longer than compileMillis (4000)"
        );
        worker.gone().await;
        let next = concluded(&bea, &agent, 2).await;
        assert_eq!(next["state"], "ready", "{next}");
        // Of compiling, not of the four seconds before.
        assert!(next["compile"]["ms"].as_u64().is_some_and(|ms| ms < 3_000), "{next}");
        assert_eq!(drafts(&platform.host.config.data_dir), 0);
    });
}

fn drafts(data: &Path) -> usize {
    let files = fs::read_dir(data.join("components")).expect("a folder").flatten();
    files.filter(|file| file.path().extension().is_some_and(|kind| kind == "draft")).count()
}

#[test]
fn kill_9_leaves_no_compiler_no_file_and_no_upload_undecided() {
    crate::harness::run(async {
        let place = Place::new(Engine::Sqlite).await;
        let data = place.folder.path().join("data");
        let process = Process::serve(&place);
        let bea = Person::sign_up(&process.url, "Bea").await;
        bea.becomes_builder("Bea").await;
        let agent = bea.component_agent("Heavy").await;
        send(&bea, &agent, heavy()).await;
        let worker = Worker::of(&data).await;
        assert_eq!(send(&bea, &agent, guests::ECHO.to_vec()).await["state"], "queued");
        process.kill();
        worker.gone().await;
        assert!(drafts(&data) > 0, "two uploads and half an artifact");

        let process = Process::serve(&place);
        let bea = bea.at(&process.url);
        assert_eq!(drafts(&data), 0);
        for version in [1, 2] {
            let left = concluded(&bea, &agent, version).await;
            let detail = left["problems"][0]["detail"].as_str().expect("a text");
            assert!(detail.contains("stopped while it looked at this upload"), "{left}");
        }
        assert_eq!(bea.upload(&agent, guests::ECHO).await.created()["version"], 3);
    });
}

#[test]
fn a_platform_that_stops_gives_its_uploads_up_at_once() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Heavy").await;
        send(&bea, &agent, heavy()).await;
        let worker = Worker::of(&platform.host.config.data_dir).await;
        send(&bea, &agent, guests::ECHO.to_vec()).await;
        let platform = platform.again(|| ()).await;
        worker.gone().await;
        let bea = bea.at(&platform.url);
        for version in [1, 2] {
            let shown =
                bea.get(&format!("/builder/agents/{agent}/components/{version}")).await.ok();
            assert_eq!(shown["state"], "refused", "{shown}");
        }
    });
}
