//! Thousands of uploads of every kind in random order: each gets a verdict, the honest
//! ones can be activated, and neither memory nor disk grows with those that are not.
//!
//! Some hundreds in the usual run; `AIYBIZ_TEST_UPLOADS=10000` has as many as it says.

use crate::{
    bombs,
    harness::{
        Engine, Person, Place, Value, guests, json, memory, people::Answer, process::Process,
    },
};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

/// Uploads on their way at once, all of one builder.
const AT_ONCE: usize = 8;

/// What an upload is, and whether it must be ready in the end; none when that is open.
struct Kind {
    name: &'static str,
    make: fn(&mut StdRng, &Honest) -> Vec<u8>,
    ready: Option<bool>,
    weight: u32,
}

struct Honest(Vec<Vec<u8>>);

impl Honest {
    fn new() -> Self {
        let says = |n: usize| {
            let has = format!("(data (i32.const 1024) \"I am number {n}\")");
            guests::guest(&has, "(call $say (i32.const 1024) (i32.const 13))", "")
        };
        let mut all: Vec<_> = (0..8).map(says).collect();
        all.push(guests::component(&all[0]));
        all.push(guests::ECHO.to_vec());
        Self(all)
    }

    fn any(&self, random: &mut StdRng) -> Vec<u8> {
        self.0.choose(random).expect("some").clone()
    }
}

const KINDS: [Kind; 9] = [
    Kind {
        name: "honest",
        make: |random, honest| honest.any(random),
        ready: Some(true),
        weight: 60,
    },
    Kind { name: "cut off", make: cut_off, ready: Some(false), weight: 30 },
    Kind { name: "bytes flipped", make: flipped, ready: None, weight: 40 },
    Kind { name: "spliced", make: spliced, ready: None, weight: 30 },
    Kind { name: "garbage", make: garbage, ready: Some(false), weight: 20 },
    Kind { name: "core module", make: |_, _| core(), ready: Some(false), weight: 10 },
    Kind { name: "knots", make: |_, _| bombs::bomb(1, 20_000), ready: Some(false), weight: 4 },
    Kind { name: "many functions", make: |_, _| functions(), ready: Some(false), weight: 4 },
    Kind { name: "compile bomb", make: |_, _| bombs::bomb(40, 900), ready: Some(false), weight: 1 },
];

fn cut_off(random: &mut StdRng, honest: &Honest) -> Vec<u8> {
    let mut wasm = honest.any(random);
    wasm.truncate(random.random_range(0..wasm.len()));
    wasm
}

fn flipped(random: &mut StdRng, honest: &Honest) -> Vec<u8> {
    let mut wasm = honest.any(random);
    for _ in 0..random.random_range(1..8) {
        let at = random.random_range(0..wasm.len());
        wasm[at] ^= 1 << random.random_range(0..8);
    }
    wasm
}

fn spliced(random: &mut StdRng, honest: &Honest) -> Vec<u8> {
    let (mut wasm, other) = (honest.any(random), honest.any(random));
    let (at, from) = (random.random_range(8..wasm.len()), random.random_range(8..other.len()));
    wasm.truncate(at);
    wasm.extend(&other[from..]);
    wasm
}

fn garbage(random: &mut StdRng, _: &Honest) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(0..200_000)];
    random.fill_bytes(&mut bytes);
    bytes
}

fn core() -> Vec<u8> {
    wat::parse_str(r#"(module (func (export "run")))"#).expect("well-formed text")
}

fn functions() -> Vec<u8> {
    guests::guest(&"(func)".repeat(31_000), "", "")
}

/// What the platform holds: memory of its process, and bytes in its folder; and of
/// these, what is neither an accepted upload nor its machine code.
#[derive(Clone, Copy, Debug)]
struct Holdings {
    memory: u64,
    disk: u64,
    files: usize,
}

impl Holdings {
    fn of(process: &Process, data: &Path) -> Self {
        let (mut disk, mut files) = (0, 0);
        let mut open = vec![data.join("components"), data.join("objects")];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let about = entry.metadata().expect("it is there");
                if about.is_dir() {
                    open.push(entry.path());
                } else {
                    (disk, files) = (disk + about.len(), files + 1);
                }
            }
        }
        Self { memory: memory::resident(process.id()), disk, files }
    }
}

/// What became of an upload in the end; on a busy machine its answer may not wait for
/// that.
async fn decided(bea: &Person, agent: &str, answer: Answer) -> Value {
    match answer.status {
        201 => {}
        422 => return json!({ "state": "refused", "problem": answer.body }),
        other => panic!("{other}: {}", answer.text),
    }
    let path = format!("/builder/agents/{agent}/components/{}", answer.body["version"]);
    let mut version = answer.body;
    while !["ready", "refused"].contains(&version["state"].as_str().expect("a state")) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        version = bea.get(&path).await.ok();
    }
    version
}

/// Uploads all in this order, so many at once; returns how many of each kind were
/// ready and refused.
async fn upload_all(
    bea: &Person,
    agent: &str,
    random: &mut StdRng,
    honest: &Honest,
    count: usize,
) -> BTreeMap<&'static str, (usize, usize)> {
    let mut verdicts: BTreeMap<_, (usize, usize)> = BTreeMap::new();
    let mut left = count;
    while left > 0 {
        let batch: Vec<_> = (0..AT_ONCE.min(left))
            .map(|_| {
                let kind = KINDS.choose_weighted(random, |kind| kind.weight).expect("some");
                (kind, (kind.make)(random, honest))
            })
            .collect();
        left -= batch.len();
        let sent = batch.into_iter().map(async |(kind, wasm)| {
            let answer = bea.upload(agent, wasm.clone()).await;
            (kind, wasm, decided(bea, agent, answer).await)
        });
        for (kind, wasm, version) in futures::future::join_all(sent).await {
            let ready = version["state"] == "ready";
            let verdict = verdicts.entry(kind.name).or_default();
            if ready {
                verdict.0 += 1;
            } else {
                verdict.1 += 1;
            }
            // A cut may take nothing that matters, a splice may hit the same place.
            let same = honest.0.contains(&wasm);
            let must = kind.ready.unwrap_or(ready);
            assert!(must == ready || same, "{}: {version}", kind.name);
            if ready {
                let path =
                    format!("/builder/agents/{agent}/components/{}/activate", version["version"]);
                bea.post(&path, json!({})).await.ok();
            }
        }
    }
    verdicts
}

#[test]
fn any_number_of_uploads_of_any_kind_leave_memory_and_disk_as_they_were() {
    let count = std::env::var("AIYBIZ_TEST_UPLOADS");
    let count: usize = count.map_or(200, |count| count.parse().expect("a number"));
    crate::harness::run(async move {
        let place = Place::new(Engine::Sqlite).await;
        let data = place.folder.path().join("data");
        std::fs::create_dir_all(&data).expect("a folder");
        let config = place.folder.path().join("config.toml");
        std::fs::write(&config, "[limits]\ncompileMillis = 3000\n").expect("a file");
        let process = Process::serve_with(&place, &config);
        let bea = Person::sign_up(&process.url, "Bea").await;
        bea.becomes_builder("Bea").await;
        let (honest, mut random) = (Honest::new(), StdRng::seed_from_u64(20_260_821));
        // Each has at most ten thousand versions.
        let agents = [bea.component_agent("First").await, bea.component_agent("Second").await];
        // Warm: every honest one is there, and the allocator has what it keeps.
        for wasm in &honest.0 {
            bea.upload(&agents[0], wasm.clone()).await.created();
        }
        upload_all(&bea, &agents[0], &mut random, &honest, 50).await;
        let (before, begun) = (Holdings::of(&process, &data), Instant::now());
        let mut verdicts = BTreeMap::new();
        for agent in &agents {
            for (name, (ready, refused)) in
                upload_all(&bea, agent, &mut random, &honest, count / 2).await
            {
                let sum: &mut (usize, usize) = verdicts.entry(name).or_default();
                *sum = (sum.0 + ready, sum.1 + refused);
            }
        }
        let (after, passed) = (Holdings::of(&process, &data), begun.elapsed());
        println!("{count} uploads in {passed:?}: {verdicts:?}");
        println!("before {before:?}, after {after:?}");

        let grown = after.memory.saturating_sub(before.memory);
        assert!(grown < 48 << 20, "{} MiB more memory", grown >> 20);
        // Mutants that turn out to be agents are kept: their upload, code and seal.
        let mutants: usize = ["bytes flipped", "spliced", "cut off"]
            .iter()
            .map(|name| verdicts.get(name).map_or(0, |v| v.0))
            .sum();
        let files = after.files - before.files;
        assert!(files == 3 * mutants, "{files} files more, {mutants} mutants");
        assert!(after.disk - before.disk <= mutants as u64 * (512 << 10), "{before:?} {after:?}");
        // Still at work.
        let (cleo, echo) = (Person::sign_up(&process.url, "Cleo").await, guests::ECHO);
        let agent = bea.publish("Echo", echo).await;
        let (session, mut events) = cleo.starts(&agent).await;
        cleo.says(&session, "hello").await;
        let reply = tokio::time::timeout(Duration::from_secs(30), events.reply()).await;
        assert_eq!(reply.expect("an answer"), "echo: hello");
    });
}
