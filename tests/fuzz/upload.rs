//! What an upload goes through before it is compiled, for bytes that a fuzzer thought
//! up: the bytes themselves, or edits to an honest agent that keep its sections whole
//! where the edit does not say otherwise, so that they get past the first check.

use super::agents;
use aiybiz_host::sandbox::{Inspection, Limits, inspect};
use std::sync::{LazyLock, Mutex, mpsc};

/// A component's nested modules are edited too, so deep.
const DEPTH: u32 = 4;

/// Edits of one upload.
const EDITS: usize = 64;

static SEEDS: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let small = agents::guest("", "(call $say (local.get $text) (local.get $textn))", "");
    [agents::component(&small), small, agents::ECHO.to_vec()]
});

/// The upload that an input stands for: its first byte says how.
pub fn upload(input: &[u8]) -> Vec<u8> {
    let Some((how, rest)) = input.split_first() else { return Vec::new() };
    match SEEDS.get(usize::from(how % 4)) {
        None => rest.to_vec(),
        Some(seed) => {
            let mut edits = Edits(rest);
            let mut made = edits.apply(seed, DEPTH);
            if edits.byte() == 1 {
                made.truncate(edits.index(made.len()));
            }
            made
        }
    }
}

/// Looks at it as the compile worker does, on a stack as deep as there.
pub fn look(upload: Vec<u8>) -> Inspection {
    type Work = mpsc::Sender<(Vec<u8>, mpsc::Sender<Inspection>)>;
    static WORKER: LazyLock<Mutex<Work>> = LazyLock::new(|| {
        let (work, wanted) = mpsc::channel::<(Vec<u8>, mpsc::Sender<Inspection>)>();
        let looking = move || {
            let limits = Limits::default();
            for (upload, answer) in wanted {
                let _ = answer.send(inspect(&upload, &limits));
            }
        };
        let thread = std::thread::Builder::new().stack_size(64 << 20);
        thread.spawn(looking).expect("a thread");
        Mutex::new(work)
    });
    let (answer, answered) = mpsc::channel();
    WORKER.lock().expect("nobody panics").send((upload, answer)).expect("it looks");
    answered.recv().expect("an answer")
}

/// Whatever it is, what is said of it is bounded, and says why when it is refused.
pub fn check(input: &[u8]) {
    let found = look(upload(input));
    assert!(found.problems.len() <= 101, "{} problems", found.problems.len());
    for problem in &found.problems {
        assert!(problem.pointer.len() <= 1_000, "{} bytes", problem.pointer.len());
        assert!(!problem.detail.is_empty());
    }
    assert!(found.imports.len() <= 500 && found.imports.iter().all(|name| name.len() <= 200));
    assert!(found.world.is_some() || !found.problems.is_empty(), "neither an agent nor refused");
}

/// A program of edits, read as it is needed; zeros when it has come to its end.
struct Edits<'a>(&'a [u8]);

impl Edits<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn index(&mut self, of: usize) -> usize {
        let wide = usize::from(self.byte()) << 8 | usize::from(self.byte());
        wide % of.max(1)
    }

    fn apply(&mut self, wasm: &[u8], depth: u32) -> Vec<u8> {
        let (header, mut sections) = sections(wasm);
        for _ in 0..EDITS {
            if sections.is_empty() || self.0.is_empty() {
                break;
            }
            let (what, which) = (self.byte(), self.index(sections.len()));
            match what % 10 {
                0 => break,
                1 => drop(sections.remove(which)),
                2 => sections.insert(which, sections[which].clone()),
                3 => {
                    let other = self.index(sections.len());
                    sections.swap(which, other);
                }
                4 => sections[which].0 = self.byte() % 14,
                5 if depth > 0 && sections[which].1.starts_with(b"\0asm") => {
                    sections[which].1 = self.apply(&sections[which].1, depth - 1);
                }
                6 => {
                    let donor = &SEEDS[usize::from(self.byte() % 3)];
                    let (_, others) = self::sections(donor);
                    let other = self.index(others.len());
                    sections.insert(which, others[other].clone());
                }
                7 => {
                    let at = self.index(sections[which].1.len());
                    sections[which].1.truncate(at);
                }
                8 => {
                    let (at, more) = (self.index(sections[which].1.len()), self.byte() % 16);
                    for offset in 0..usize::from(more) {
                        let byte = self.byte();
                        let at = (at + offset).min(sections[which].1.len());
                        sections[which].1.insert(at, byte);
                    }
                }
                _ => {
                    let (at, byte) = (self.index(sections[which].1.len()), self.byte());
                    if let Some(place) = sections[which].1.get_mut(at) {
                        *place = byte;
                    }
                }
            }
        }
        let mut made = header;
        for (id, content) in sections {
            made.push(id);
            leb(&mut made, content.len());
            made.extend(content);
        }
        made
    }
}

/// The eight bytes in front, and each section's number and content.
fn sections(wasm: &[u8]) -> (Vec<u8>, Vec<(u8, Vec<u8>)>) {
    let (header, mut rest) = wasm.split_at(8.min(wasm.len()));
    let mut found = Vec::new();
    while let Some((id, more)) = rest.split_first() {
        let (mut size, mut read) = (0_usize, 0);
        for byte in more {
            size |= usize::from(byte & 0x7f) << (7 * read);
            read += 1;
            if byte & 0x80 == 0 || read == 4 {
                break;
            }
        }
        let more = &more[read..];
        let (content, after) = more.split_at(size.min(more.len()));
        found.push((*id, content.to_vec()));
        rest = after;
    }
    (header.to_vec(), found)
}

fn leb(to: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}
