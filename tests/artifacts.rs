//! Machine code on disk: it is only run when it is what our compiler wrote, for this
//! upload and this engine; and there is only so much of it.

use crate::harness::{Engine, Platform, guests, program};
use aiybiz_host::{
    sandbox::{Limits, Pool, Sandbox},
    seal::Key,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Code and seal of the artifact whose upload has this digest.
fn artifact(folder: &Path, sha256: &str) -> (PathBuf, PathBuf) {
    let files = fs::read_dir(folder).expect("a folder").flatten().map(|file| file.path());
    let mut codes = files.filter(|file| file.extension().is_some_and(|kind| kind == "cwasm"));
    let name = |path: &PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
    let code = codes.find(|path| name(path).starts_with(sha256)).expect("one");
    let seal = code.with_extension("seal");
    (code, seal)
}

/// Puts other bytes in the place of a file, as somebody with the folder's rights can.
fn put(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("it was there");
    fs::write(path, bytes).expect("it is ours");
}

fn digest(bytes: &[u8]) -> String {
    aiybiz_host::seal::hex(&<sha2::Sha256 as sha2::Digest>::digest(bytes))
}

/// What somebody does to the artifact of the echo agent, given another agent's and
/// the platform's key.
type Attack = fn(echo: &(PathBuf, PathBuf), other: &(PathBuf, PathBuf), key: &Key);

const ATTACKS: [(&str, Attack); 8] = [
    ("a byte is changed", |(code, _), _, _| {
        let mut bytes = fs::read(code).expect("code");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        put(code, &bytes);
    }),
    ("it is cut off", |(code, _), _, _| {
        let bytes = fs::read(code).expect("code");
        put(code, &bytes[..bytes.len() / 2]);
    }),
    ("it is empty", |(code, _), _, _| put(code, b"")),
    ("it is another component's", |(code, _), (other, _), _| {
        put(code, &fs::read(other).expect("code"));
    }),
    ("it is another component's, with its seal", |(code, seal), (other, others), _| {
        put(code, &fs::read(other).expect("code"));
        put(seal, &fs::read(others).expect("a seal"));
    }),
    ("it has another's seal", |(_, seal), (_, others), _| {
        put(seal, &fs::read(others).expect("a seal"));
    }),
    ("both are gone", |(code, seal), _, _| {
        fs::remove_file(code).expect("it was there");
        fs::remove_file(seal).expect("it was there");
    }),
    // Even under the right seal, as a platform that was updated would find it.
    ("it is another engine's", |(code, seal), _, key| {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(false);
        let engine = wasmtime::Engine::new(&config).expect("an engine");
        let echo = guests::component(guests::ECHO);
        let made = engine.precompile_component(&echo).expect("it compiles");
        put(code, &made);
        put(seal, &key.tag("artifact", &[digest(guests::ECHO).as_bytes(), &made]));
    }),
];

#[test]
fn what_our_compiler_did_not_write_is_compiled_anew() {
    crate::harness::run(async {
        let mut platform = Platform::start(Engine::Sqlite).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let other = guests::on_message("(call $say (local.get $text) (local.get $textn))");
        bea.publish("Other", other.clone()).await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let (session, mut events) = cleo.starts(&agent).await;
        let folder = platform.host.config.data_dir.join("components");
        let honest = fs::read(artifact(&folder, &digest(guests::ECHO)).0).expect("code");
        for (name, attack) in ATTACKS {
            let key = platform.host.key.clone();
            let echo = artifact(&folder, &digest(guests::ECHO));
            let others = artifact(&folder, &digest(&other));
            // Nothing of it is in memory after this.
            platform = platform.again(|| attack(&echo, &others, &key)).await;
            let cleo = cleo.at(&platform.url);
            events = cleo.listens(&session, Some(events.last_id())).await;
            cleo.says(&session, name).await;
            assert_eq!(events.reply().await, format!("echo: {name}"));
            assert_eq!(fs::read(&echo.0).expect("code"), honest, "{name}");
        }
    });
}

/// The digests of what is kept, with code and seal each.
fn kept(folder: &Path) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for file in fs::read_dir(folder).expect("a folder").flatten() {
        let name = file.file_name().into_string().expect("a name");
        *found.entry(name[..64].to_owned()).or_default() += 1;
    }
    found
}

#[test]
fn what_was_not_used_for_longest_makes_room() {
    crate::harness::run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |artifact_bytes: u64| {
            Sandbox::open(aiybiz_host::sandbox::Config {
                pool: Pool { instances: 2, ..Pool::default() },
                limits: Limits::default(),
                folder: folder.path().to_owned(),
                artifact_bytes,
                key: Key::new([7; 32], &[]),
                worker: program(),
                threads: 1,
            })
            .expect("a sandbox")
        };
        let wasm = |n: usize| guests::on_message(&"(drop (i32.const 1))".repeat(n + 1));
        let admit = async |sandbox: &Sandbox, n: usize| {
            let upload = sandbox.spooled(&wasm(n).into()).await.expect("a file");
            let admitted = sandbox
                .admit(sandbox.turn().await, &upload, sandbox.limits())
                .await
                .expect("it is judged");
            assert_eq!(admitted.inspection.problems, []);
            admitted.compiled.expect("it compiles").code_bytes
        };
        let size = admit(&open(u64::MAX), 0).await;
        admit(&open(u64::MAX), 1).await;
        // Room for three and a half; the first of them is in use.
        let sandbox = open(size * 7 / 2);
        let first = digest(&wasm(0));
        sandbox.load(&first, sandbox.limits(), std::future::pending()).await.expect("it is kept");
        for n in 2..6 {
            admit(&sandbox, n).await;
            sandbox
                .load(&first, sandbox.limits(), std::future::pending())
                .await
                .expect("it is kept");
        }
        // In memory it is anyway; on disk it is the oldest now.
        assert_eq!(kept(folder.path()).len(), 3);
        let last: BTreeMap<_, _> = (3..6).map(|n| (digest(&wasm(n)), 2)).collect();
        assert_eq!(kept(folder.path()), last);
        // What is gone is compiled again when it is wanted, and may be used meanwhile.
        let sandbox = open(size * 7 / 2);
        let again = sandbox
            .load(&first, sandbox.limits(), async { Ok(wasm(0).into()) })
            .await
            .expect("it compiles");
        assert_eq!(again.sha256, first);
        assert!(kept(folder.path()).contains_key(&first));
        // An upload that is not what it was is not compiled under its name.
        let swapped =
            sandbox.load(&digest(&wasm(1)), sandbox.limits(), async { Ok(wasm(9).into()) }).await;
        assert!(swapped.is_err_and(|error| error.to_string().contains("was changed")));
    });
}
