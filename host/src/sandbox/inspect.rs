//! Reading an upload: one pass that validates it, holds it against the limits of
//! shape, and compares what it imports and exports with the world.
//!
//! What it finds wrong it names, all of it, before any time is spent on compiling.

use super::{
    description,
    limits::Limits,
    shape::{IMPORTS, NAME, NESTING, Shape},
    signatures,
};
use crate::error::Problem;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wasmparser::{
    ComponentExternalKind, Encoding, FuncValidatorAllocations, Parser, Payload, ValidPayload,
    Validator,
};
use wasmtime::Engine;

/// Problems that are told of one upload.
const PROBLEMS: usize = 100;

/// What may be imported beside the world's own interfaces. Everything here is
/// linked; most of it then finds that it may do nothing.
const WASI: [&str; 8] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/types@",
    "wasi:http/outgoing-handler@",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// What can be said of an upload before it is compiled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    pub world: Option<String>,
    pub imports: Vec<String>,
    /// What the uploader claims of itself; nothing is decided by it.
    pub metadata: serde_json::Value,
    pub warnings: Vec<String>,
    /// Why it is refused; none when it may be compiled.
    pub problems: Vec<Problem>,
    pub(super) shape: Shape,
    /// The component: what was uploaded, or the core module wrapped.
    #[serde(skip)]
    pub component: Vec<u8>,
}

impl Inspection {
    /// Of an upload that nobody looks at any closer.
    pub(super) fn too_large(size: u64, limits: &Limits) -> Self {
        let mut found = Self { shape: Shape { size, ..Shape::default() }, ..Self::default() };
        found.refuse("componentBytes", format!("{size} bytes, at most {}", limits.component_bytes));
        found
    }

    pub(super) fn refuse(&mut self, what: impl Into<String>, why: impl Into<String>) {
        let mut pointer: String = what.into();
        if pointer.len() > NAME {
            pointer = pointer.chars().take(NAME).chain("…".chars()).collect();
        }
        self.problems.push(Problem { pointer, detail: why.into() });
    }
}

/// Looks at an upload. Blocks for as long as validating takes (Python: 0.2 s).
pub fn inspect(upload: &[u8], limits: &Limits) -> Inspection {
    // Several libraries read a stranger's bytes here; one that panics has refused.
    catch_unwind(AssertUnwindSafe(|| look(upload, limits))).unwrap_or_else(|_| {
        let mut found = Inspection::default();
        found.refuse("body", "could not be read");
        found
    })
}

fn look(upload: &[u8], limits: &Limits) -> Inspection {
    let mut found = Inspection::default();
    found.shape.size = upload.len() as u64;
    if found.shape.size > limits.component_bytes {
        return Inspection::too_large(found.shape.size, limits);
    }
    if Engine::detect_precompiled(upload).is_some() {
        found.refuse(
            "body",
            "is machine code precompiled by Wasmtime; upload the WebAssembly itself",
        );
        return found;
    }
    if Parser::is_core_wasm(upload) {
        // The encoder believes what it reads.
        if let Err(why) = walk(upload, limits, &mut Inspection::default(), &mut Vec::new()) {
            found.refuse("body", why);
            return found;
        }
        match description::check(upload).and_then(|()| wrap(upload)) {
            Ok(component) => {
                found.component = component;
                found.warnings.push("a core module; it was wrapped into a component".into());
            }
            Err(why) => {
                found.refuse(
                    "body",
                    format!("is a core module that cannot be wrapped into a component: {why}"),
                );
                return found;
            }
        }
    } else if Parser::is_component(upload) {
        found.component = upload.to_vec();
    } else {
        found.refuse("body", "is not WebAssembly");
        return found;
    }
    let component = std::mem::take(&mut found.component);
    let mut exports = Vec::new();
    if let Err(why) = walk(&component, limits, &mut found, &mut exports) {
        found.refuse("body", why);
    } else {
        // Not before the nesting is known to be shallow: dropping what was read
        // recurses.
        found.metadata = metadata(upload);
        check_names(&mut found, &exports);
        if found.problems.is_empty() {
            found.problems.extend(signatures::differences(&component));
        }
    }
    if let Some(more) = found.problems.len().checked_sub(PROBLEMS + 1) {
        found.problems.truncate(PROBLEMS);
        found.refuse("body", format!("has {} more of these", more + 1));
    }
    found.component = component;
    found
}

/// Makes a component of a core module that a WIT binding generator prepared.
fn wrap(module: &[u8]) -> Result<Vec<u8>, String> {
    let encoder = wit_component::ComponentEncoder::default().validate(true).module(module);
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| format!("{error:#}"))
}

/// The one pass. The error is what makes the bytes no valid component.
fn walk(
    bytes: &[u8],
    limits: &Limits,
    found: &mut Inspection,
    exports: &mut Vec<String>,
) -> Result<(), String> {
    let mut validator = Validator::new();
    let mut allocations = FuncValidatorAllocations::default();
    let mut open: Vec<Encoding> = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| error.to_string())?;
        match &payload {
            Payload::Version { encoding, .. } => {
                open.push(*encoding);
                if open.len() > NESTING {
                    return Err(format!("nests components deeper than {NESTING}"));
                }
                if *encoding == Encoding::Module {
                    found.shape.module()?;
                }
            }
            Payload::CodeSectionStart { count, .. } => found.shape.functions(*count)?,
            Payload::MemorySection(memories) => found.shape.memories(memories, limits)?,
            Payload::TableSection(tables) => found.shape.tables(tables, limits)?,
            Payload::CodeSectionEntry(body) => found.shape.size_of(body)?,
            Payload::ComponentImportSection(section) if open.len() == 1 => {
                for import in section.clone() {
                    let name = import.map_err(|error| error.to_string())?.name.name;
                    if found.shape.imports == IMPORTS || name.len() > NAME {
                        return Err(format!(
                            "imports more than {IMPORTS} interfaces, or one whose name has more than {NAME} bytes"
                        ));
                    }
                    found.imports.push(name.to_owned());
                    found.shape.imports += 1;
                }
            }
            Payload::ComponentExportSection(section) if open.len() == 1 => {
                for export in section.clone() {
                    let export = export.map_err(|error| error.to_string())?;
                    if export.kind == ComponentExternalKind::Instance {
                        exports.push(export.name.name.to_owned());
                    }
                }
            }
            Payload::End(_) => {
                open.pop();
            }
            _ => {}
        }
        let valid = validator.payload(&payload).map_err(|error| error.to_string())?;
        if let ValidPayload::Func(function, body) = valid {
            let mut function = function.into_validator(allocations);
            function.validate(&body).map_err(|error| error.to_string())?;
            found.shape.knots(&body, u64::from(function.len_locals()))?;
            allocations = function.into_allocations();
        }
    }
    Ok(())
}

/// Is every import offered, and is the one export there?
fn check_names(found: &mut Inspection, exports: &[String]) {
    for import in found.imports.clone() {
        let offered = signatures::offers(&import)
            || WASI.iter().any(|prefix| import.starts_with(prefix) && import.contains("@0.2."));
        if !offered {
            found.refuse(import, "is imported, but the platform does not offer it");
        }
    }
    let handler = exports.iter().find(|name| name.starts_with("aiybiz:agent/handler@0.1."));
    match handler {
        Some(name) => {
            let version = name.rsplit('@').next().unwrap_or_default();
            found.world = Some(format!("aiybiz:agent/agent@{version}"));
        }
        None => match exports.iter().find(|name| name.starts_with("aiybiz:agent/handler@")) {
            Some(other) => {
                found.refuse(
                    other,
                    "is exported in a version that this platform does not serve; it serves 0.1",
                );
            }
            None => found.refuse(
                "aiybiz:agent/handler@0.1.0",
                "must be exported: this is not an agent of the world aiybiz:agent",
            ),
        },
    }
}

fn metadata(upload: &[u8]) -> serde_json::Value {
    let Ok(payload) = wasm_metadata::Payload::from_binary(upload) else {
        return serde_json::Value::Null;
    };
    let claims = payload.metadata();
    let text =
        |value: Option<String>| value.map(|text| super::receipt::plain(&text, &mut { NAME }));
    serde_json::json!({
        "name": text(claims.name.clone()),
        "version": text(claims.version.as_ref().map(ToString::to_string)),
        "description": text(claims.description.as_ref().map(ToString::to_string)),
        "authors": text(claims.authors.as_ref().map(ToString::to_string)),
        "licenses": text(claims.licenses.as_ref().map(ToString::to_string)),
    })
}
