//! What must be known of a module before it is rewritten, and whether it may be.

use super::{LARGE, MOST_PAGES, PAGE_BYTES, PAGES};
use wasmparser::{Operator, Parser, Payload, TypeRef};

/// What a module does with memory.
#[derive(Default)]
pub(super) struct Habits {
    /// It has one memory of its own, asks how large it is or grows it, and can be
    /// rewritten.
    pub(super) can: bool,
    /// It asks for, or changes, the size of a memory that is another module's.
    pub(super) foreign: bool,
}

/// What must be known of a module to add to it.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) types: u32,
    pub(super) functions: u32,
    pub(super) globals: u32,
    memories: Vec<wasmparser::MemoryType>,
    imports_memory: bool,
    resizes: bool,
    lines: bool,
    /// Of its own; none without a section of them.
    pub(super) own_globals: Option<u32>,
    /// The pages it begins with and may have, in its own eyes.
    pub(super) initial: u64,
    pub(super) most: u64,
}

impl Survey {
    /// None when the module is not as a validator would have it.
    pub(super) fn of(module: &[u8]) -> Option<Self> {
        let mut found = Self { most: MOST_PAGES, ..Self::default() };
        for payload in Parser::new(0).parse_all(module) {
            found.see(payload.ok()?)?;
        }
        if let Some(memory) = found.memories.first() {
            found.initial = memory.initial;
            found.most = memory.maximum.unwrap_or(MOST_PAGES);
        }
        Some(found)
    }

    fn see(&mut self, payload: Payload<'_>) -> Option<()> {
        match payload {
            Payload::TypeSection(types) => {
                for group in types {
                    self.types += u32::try_from(group.ok()?.types().len()).ok()?;
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    match import.ok()?.ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => self.functions += 1,
                        TypeRef::Global(_) => self.globals += 1,
                        TypeRef::Memory(_) => self.imports_memory = true,
                        TypeRef::Table(_) | TypeRef::Tag(_) => {}
                    }
                }
            }
            Payload::FunctionSection(functions) => self.functions += functions.count(),
            Payload::GlobalSection(globals) => {
                self.globals += globals.count();
                self.own_globals = Some(globals.count());
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    self.memories.push(memory.ok()?);
                }
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader().ok()? {
                    let operator = operator.ok()?;
                    self.resizes |= matches!(
                        operator,
                        Operator::MemoryGrow { .. } | Operator::MemorySize { .. }
                    );
                }
            }
            Payload::CustomSection(custom) => self.lines |= custom.name() == ".debug_line",
            _ => {}
        }
        Some(())
    }

    pub(super) fn habits(&self, module: &[u8], memory_bytes: u64) -> Habits {
        let plain = |memory: &wasmparser::MemoryType| {
            !memory.memory64 && !memory.shared && memory.page_size_log2.is_none()
        };
        let one = matches!(self.memories.as_slice(), [only] if plain(only));
        Habits {
            // Lines of source are found by the offset of code, which would move.
            can: one
                && !self.imports_memory
                && self.resizes
                && !self.lines
                && module.len() <= LARGE
                && self.initial + PAGES <= MOST_PAGES.min(memory_bytes / PAGE_BYTES),
            foreign: self.imports_memory && self.resizes,
        }
    }
}
