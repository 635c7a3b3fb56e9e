//! Gives a component's memory its first growth in advance.
//!
//! A guest's allocator asks for more memory with its first `malloc`. Each such
//! growth is an `mprotect`, and so is taking it back from the slot for the next
//! guest; both hold the process's one lock on its address space, and the second
//! interrupts every other core. Two threads that serve small guests are then slower
//! than one. So the memory is declared [`PAGES`] larger than the builder did, and
//! `memory.size` and `memory.grow` are replaced by a counter that tells the guest
//! what it would have been told: the first growths are then arithmetic.
//!
//! What changes for the guest: an access up to 1 MiB beyond the end it was told of
//! reads zeros of its own instead of trapping.

mod survey;

use std::convert::Infallible;
use survey::{Habits, Survey};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, Function, FunctionSection, GlobalSection, GlobalType,
    Instruction, MemoryType, Module, SectionId, TypeSection, ValType,
    reencode::{Error, Reencode, utils},
};
use wasmparser::{BinaryReader, Operator, Parser, Validator};

/// 1 MiB in pages of 64 KiB: what a small guest's heap grows by is one or two; what
/// a slot keeps resident between guests is as much.
const PAGES: u64 = 16;

/// Most pages that a 32-bit memory can have.
const MOST_PAGES: u64 = 65_536;

/// Of a 32-bit memory.
const PAGE_BYTES: u64 = 65_536;

/// Larger modules are whole language runtimes: they have set up their heap before
/// they were uploaded, and gain nothing.
const LARGE: usize = 2 << 20;

/// The ids of sections in a component's binary form.
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;
const PREAMBLE: usize = 8;

/// The component with a head start, or as it was when that would change what it
/// does, or take it beyond `memory_bytes`. The bytes must be a valid component.
pub fn head_start(component: &[u8], memory_bytes: u64) -> Vec<u8> {
    match modules(component, memory_bytes) {
        Some(modules)
            if modules.iter().any(|own| own.can) && !modules.iter().any(|own| own.foreign) =>
        {
            // Whatever went wrong in copying: the builder's own bytes are good.
            let valid = |new: &Vec<u8>| Validator::new().validate_all(new).is_ok();
            let new = rewritten(component, memory_bytes).filter(valid);
            new.unwrap_or_else(|| component.to_vec())
        }
        _ => component.to_vec(),
    }
}

fn modules(component: &[u8], memory_bytes: u64) -> Option<Vec<Habits>> {
    let mut found = Vec::new();
    sections(component, &mut |id, body| {
        match id {
            CORE_MODULE => found.push(Survey::of(body)?.habits(body, memory_bytes)),
            COMPONENT => found.extend(modules(body, memory_bytes)?),
            _ => {}
        }
        Some(())
    })?;
    Some(found)
}

/// Calls `each` with the id and the content of every section.
fn sections<'b>(bytes: &'b [u8], each: &mut dyn FnMut(u8, &'b [u8]) -> Option<()>) -> Option<()> {
    let mut reader = BinaryReader::new(bytes.get(PREAMBLE..)?, PREAMBLE);
    while !reader.eof() {
        let id = reader.read_u8().ok()?;
        let length = reader.read_var_u32().ok()?;
        each(id, reader.read_bytes(length as usize).ok()?)?;
    }
    Some(())
}

fn rewritten(component: &[u8], memory_bytes: u64) -> Option<Vec<u8>> {
    let mut out = component.get(..PREAMBLE)?.to_vec();
    sections(component, &mut |id, body| {
        let new = match id {
            CORE_MODULE => {
                let survey = Survey::of(body)?;
                survey.habits(body, memory_bytes).can.then(|| given(body, &survey)).flatten()
            }
            COMPONENT => Some(rewritten(body, memory_bytes)?),
            _ => None,
        };
        let body = new.as_deref().unwrap_or(body);
        out.push(id);
        leb128(&mut out, u32::try_from(body.len()).ok()?);
        out.extend_from_slice(body);
        Some(())
    })?;
    Some(out)
}

fn leb128(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// The module with its pages, its counter and its function.
fn given(module: &[u8], known: &Survey) -> Option<Vec<u8>> {
    let mut out = Module::new();
    let mut giver = Giver { known, counts: known.own_globals.is_some() };
    giver.parse_core_module(&mut out, Parser::new(0), module).ok()?;
    Some(out.finish())
}

/// Copies a module and gives it the pages, the counter and the function.
struct Giver<'m> {
    known: &'m Survey,
    /// The counter has its place in a section of globals.
    counts: bool,
}

impl Giver<'_> {
    /// `memory.grow` as the guest knows it: takes pages, returns how many there
    /// were, or −1.
    fn grow(&self) -> Function {
        let (wished, told) = (0, 1);
        let mut function = Function::new([(1, ValType::I32)]);
        let give_up = [Instruction::I32Const(-1), Instruction::Return, Instruction::End];
        let most = self.known.most as i32;
        let code = [
            Instruction::GlobalGet(self.known.globals),
            Instruction::LocalSet(told),
            // More than there may ever be?
            Instruction::LocalGet(wished),
            Instruction::I32Const(most),
            Instruction::LocalGet(told),
            Instruction::I32Sub,
            Instruction::I32GtU,
            Instruction::If(BlockType::Empty),
        ];
        let beyond = [
            // More than there is already?
            Instruction::LocalGet(told),
            Instruction::LocalGet(wished),
            Instruction::I32Add,
            Instruction::MemorySize(0),
            Instruction::I32GtU,
            Instruction::If(BlockType::Empty),
            Instruction::LocalGet(told),
            Instruction::LocalGet(wished),
            Instruction::I32Add,
            Instruction::MemorySize(0),
            Instruction::I32Sub,
            Instruction::MemoryGrow(0),
            Instruction::I32Const(-1),
            Instruction::I32Eq,
            Instruction::If(BlockType::Empty),
        ];
        let granted = [
            Instruction::End,
            Instruction::LocalGet(told),
            Instruction::LocalGet(wished),
            Instruction::I32Add,
            Instruction::GlobalSet(self.known.globals),
            Instruction::LocalGet(told),
            Instruction::End,
        ];
        for instruction in
            code.iter().chain(&give_up).chain(&beyond).chain(&give_up).chain(&granted)
        {
            function.instruction(instruction);
        }
        function
    }

    fn counter(&self) -> (GlobalType, ConstExpr) {
        let kind = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        (kind, ConstExpr::i32_const(self.known.initial as i32))
    }
}

type Copied = Result<(), Error<Infallible>>;

impl Reencode for Giver<'_> {
    type Error = Infallible;

    fn memory_type(
        &mut self,
        memory: wasmparser::MemoryType,
    ) -> Result<MemoryType, Error<Infallible>> {
        let mut memory = utils::memory_type(self, memory);
        memory.minimum += PAGES;
        memory.maximum = memory.maximum.map(|most| (most + PAGES).min(MOST_PAGES));
        Ok(memory)
    }

    fn instruction<'a>(
        &mut self,
        operator: Operator<'a>,
    ) -> Result<Instruction<'a>, Error<Infallible>> {
        match operator {
            Operator::MemorySize { .. } => Ok(Instruction::GlobalGet(self.known.globals)),
            Operator::MemoryGrow { .. } => Ok(Instruction::Call(self.known.functions)),
            operator => utils::instruction(self, operator),
        }
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        all: wasmparser::TypeSectionReader<'_>,
    ) -> Copied {
        utils::parse_type_section(self, types, all)?;
        types.ty().function([ValType::I32], [ValType::I32]);
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        all: wasmparser::FunctionSectionReader<'_>,
    ) -> Copied {
        utils::parse_function_section(self, functions, all)?;
        functions.function(self.known.types);
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        all: wasmparser::GlobalSectionReader<'_>,
    ) -> Copied {
        utils::parse_global_section(self, globals, all)?;
        let (kind, first) = self.counter();
        globals.global(kind, &first);
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        all: wasmparser::CodeSectionReader<'_>,
    ) -> Copied {
        utils::parse_code_section(self, code, all)?;
        code.function(&self.grow());
        Ok(())
    }

    /// A module without globals gets its section at its place.
    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Copied {
        let later = [
            SectionId::Export,
            SectionId::Start,
            SectionId::Element,
            SectionId::DataCount,
            SectionId::Code,
        ];
        if !self.counts && before.is_some_and(|section| later.contains(&section)) {
            self.counts = true;
            let (kind, first) = self.counter();
            module.section(GlobalSection::new().global(kind, &first));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_PAGES, head_start};
    use wasmtime::{Engine, Instance, Module, Store};

    const ANSWERS: &str = r#"
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "size") (result i32) (memory.size))"#;

    #[test]
    fn a_guest_is_told_the_same_as_without() {
        let most = MOST_PAGES as i32;
        let rows: [&[i32]; 5] = [
            &[0, 1, 15, 1, 100, 0],
            &[17, 1],
            &[-1, most, most - 1, 3],
            &[16, 16, 16],
            &[i32::MIN, i32::MAX, 1],
        ];
        let memories =
            ["(memory 2)", "(memory 0)", "(memory 2 4)", "(memory 2 100)", "(memory 3 3)"];
        for memory in memories {
            for globals in ["", "(global i32 (i32.const 7))"] {
                let text = format!("{memory} {globals} {ANSWERS}");
                let plain = wat::parse_str(format!("(module {text})")).expect("well-formed");
                let given = given(&text);
                assert_ne!(plain, given, "{memory}");
                for wishes in rows {
                    assert_eq!(told(&plain, wishes), told(&given, wishes), "{text} {wishes:?}");
                }
            }
        }
    }

    #[test]
    fn what_would_behave_otherwise_is_left_alone() {
        for text in [
            // Nothing asks.
            "(core module (memory 1))",
            // The memory is somebody else's.
            r#"(core module (import "a" "m" (memory 1)) (func (drop (memory.size))))"#,
            // Two owners of one memory.
            r#"(core module (memory (export "m") 1) (func (drop (memory.size))))
               (core module (import "a" "m" (memory 1)) (func (drop (memory.size))))"#,
            "(core module (memory 65530) (func (drop (memory.size))))",
            "(core module (memory 1) (memory 1) (func (drop (memory.size))))",
        ] {
            let component = wat::parse_str(format!("(component {text})")).expect("well-formed");
            assert_eq!(head_start(&component, u64::MAX), component, "{text}");
        }
    }

    /// The module that comes of a component with nothing else in it.
    fn given(module: &str) -> Vec<u8> {
        let component = wat::parse_str(format!("(component (core module {module}))"));
        let given = head_start(&component.expect("well-formed"), u64::MAX);
        let mut inner = Vec::new();
        super::sections(&given, &mut |_, body| {
            inner = body.to_vec();
            Some(())
        });
        inner
    }

    /// What growing answers, and the size after it, for each wish in turn.
    fn told(module: &[u8], wishes: &[i32]) -> Vec<(i32, i32)> {
        let engine = Engine::default();
        let module = Module::new(&engine, module).expect("a valid module");
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).expect("an instance");
        let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow").expect("grow");
        let size = instance.get_typed_func::<(), i32>(&mut store, "size").expect("size");
        let mut ask = |wish| {
            let before = grow.call(&mut store, wish).expect("no trap");
            (before, size.call(&mut store, ()).expect("no trap"))
        };
        wishes.iter().map(|wish| ask(*wish)).collect()
    }
}
