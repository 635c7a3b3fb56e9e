//! The fuzz targets of `fuzz/`, over their committed corpus and over what each is
//! made to try; `fuzz/README.md` says how to let a fuzzer loose on them.

mod imports;
mod upload;

use crate::harness::{guests as agents, program};
use aiybiz_host::sandbox::Outcome;
use std::path::Path;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let files = std::fs::read_dir(folder).expect("a corpus").flatten();
    let found: Vec<_> = files.map(|file| std::fs::read(file.path()).expect("an input")).collect();
    assert!(found.len() >= 10, "{} inputs", found.len());
    found
}

#[test]
fn uploads_that_a_fuzzer_thought_up() {
    for input in corpus("upload") {
        upload::check(&input);
    }
    // The seeds are honest, and an edit is an edit.
    for seed in 0..3 {
        assert_eq!(upload::look(upload::upload(&[seed])).problems, []);
        let edited = upload::look(upload::upload(&[seed, 1, 0, 0]));
        assert_ne!(edited.problems, [], "without its first section");
    }
    assert_eq!(upload::upload(b"\x03raw"), b"raw");
}

#[test]
fn calls_that_a_fuzzer_thought_up() {
    let place = imports::Place::open(program());
    let mut outcomes = Vec::new();
    for program in corpus("imports") {
        outcomes.push(place.check(&program).outcome);
    }
    // The interpreter follows its program: a call, then its own end.
    let every: Vec<u8> = (0..61).flat_map(|what| [what, 0, 0, 2, 0, 0, 5, 6, 9]).collect();
    place.check(&every);
    let replied = place.check(&[2, 2, 0, 0, 5, 6, 0]);
    assert_eq!((replied.outcome, replied.replies), (Outcome::Ok, 1), "{}", replied.explanation);
    assert_eq!(place.check(&[63]).outcome, Outcome::Trap);
    assert_eq!(place.check(&[]).outcome, Outcome::Ok);
    assert!(outcomes.contains(&Outcome::Ok) && outcomes.contains(&Outcome::Trap), "{outcomes:?}");
}
