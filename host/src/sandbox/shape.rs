//! Bounds on an upload's shape: its size says nothing about what it costs to
//! compile. They leave the largest of the real guests, whose figures they quote,
//! room for twice of each.

use super::{compile::Compiled, limits::Limits, worker::ARTIFACT_BYTES};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wasmparser::{FunctionBody, MemorySectionReader, Operator, TableSectionReader};

/// Bytes of a page of memory.
const PAGE: u64 = 64 << 10;

/// Bytes of one function's body; Python's largest has 427 KB.
pub const FUNCTION_BYTES: u64 = 896 << 10;

/// Locals of one function, parameters included; Python has one with 271.
pub const FUNCTION_LOCALS: u64 = 1_000;

/// Blocks and branches of one function times its locals: the compiler's time and
/// memory grow with that (20 000 000 in 331 KiB cost it 13 s and 1 GiB).
/// StarlingMonkey has a function with 381 000.
pub const FUNCTION_KNOTS: u64 = 1_000_000;

/// Functions in all; Python has 13 400.
pub const FUNCTIONS: u64 = 30_000;

/// Components and modules within components.
pub(super) const NESTING: usize = 10;

/// Core modules in all; Python has 14.
pub const MODULES: u64 = 32;

/// Interfaces that are imported; Python imports 33.
pub(super) const IMPORTS: u64 = 500;

/// The longest name of an import or export that is repeated in an answer.
pub(super) const NAME: usize = 200;

/// What an upload was measured to have: in all, or of the largest one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) size: u64,
    pub(super) functions: u64,
    pub(super) function_bytes: u64,
    pub(super) function_locals: u64,
    pub(super) function_knots: u64,
    pub(super) modules: u64,
    pub(super) imports: u64,
    pub(super) memory_bytes: u64,
    pub(super) table_elements: u64,
}

impl Shape {
    /// Would the guest have too much memory before it asks for any?
    pub(super) fn memories(
        &mut self,
        memories: &MemorySectionReader<'_>,
        limits: &Limits,
    ) -> Result<(), String> {
        for memory in memories.clone() {
            let bytes = memory.map_err(|error| error.to_string())?.initial.saturating_mul(PAGE);
            self.memory_bytes = self.memory_bytes.max(bytes);
            if bytes > limits.memory_bytes {
                let most = limits.memory_bytes;
                return Err(format!(
                    "begins with a memory of {bytes} bytes, more than memoryBytes ({most})"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn tables(
        &mut self,
        tables: &TableSectionReader<'_>,
        limits: &Limits,
    ) -> Result<(), String> {
        for table in tables.clone() {
            let elements = table.map_err(|error| error.to_string())?.ty.initial;
            self.table_elements = self.table_elements.max(elements);
            if elements > limits.table_elements {
                let most = limits.table_elements;
                return Err(format!(
                    "begins with a table of {elements} elements, more than tableElements ({most})"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn module(&mut self) -> Result<(), String> {
        self.modules += 1;
        if self.modules > MODULES {
            return Err(format!("has more than {MODULES} core modules"));
        }
        Ok(())
    }

    pub(super) fn functions(&mut self, count: u32) -> Result<(), String> {
        self.functions += u64::from(count);
        if self.functions > FUNCTIONS {
            return Err(format!("has more than {FUNCTIONS} functions"));
        }
        Ok(())
    }

    pub(super) fn size_of(&mut self, body: &FunctionBody<'_>) -> Result<(), String> {
        let size = body.as_bytes().len() as u64;
        self.function_bytes = self.function_bytes.max(size);
        if size > FUNCTION_BYTES {
            return Err(format!("has a function of {size} bytes, at most {FUNCTION_BYTES}"));
        }
        Ok(())
    }

    /// Would the compiler take too long over this function?
    pub(super) fn knots(&mut self, body: &FunctionBody<'_>, locals: u64) -> Result<(), String> {
        self.function_locals = self.function_locals.max(locals);
        if locals > FUNCTION_LOCALS {
            return Err(format!("has a function with {locals} locals, at most {FUNCTION_LOCALS}"));
        }
        // Every knot takes two bytes: most functions need no second look.
        let may_have = body.as_bytes().len() as u64 / 2;
        if may_have * locals <= self.function_knots {
            return Ok(());
        }
        let mut knots = 0;
        for operator in body.get_operators_reader().map_err(|error| error.to_string())? {
            let operator = operator.map_err(|error| error.to_string())?;
            knots += u64::from(matches!(
                operator,
                Operator::Block { .. }
                    | Operator::Loop { .. }
                    | Operator::If { .. }
                    | Operator::BrIf { .. }
                    | Operator::BrTable { .. }
            ));
        }
        self.function_knots = self.function_knots.max(knots * locals);
        if knots * locals > FUNCTION_KNOTS {
            return Err(format!(
                "has a function with {knots} blocks and branches over {locals} locals; \
                 their product may be at most {FUNCTION_KNOTS}"
            ));
        }
        Ok(())
    }

    /// What is left of each limit, in percent.
    pub(super) fn headroom(
        &self,
        limits: &Limits,
        compiled: Option<&Compiled>,
    ) -> BTreeMap<&'static str, u64> {
        let of_shape = [
            ("componentBytes", self.size, limits.component_bytes),
            ("functions", self.functions, FUNCTIONS),
            ("functionBytes", self.function_bytes, FUNCTION_BYTES),
            ("functionLocals", self.function_locals, FUNCTION_LOCALS),
            ("functionKnots", self.function_knots, FUNCTION_KNOTS),
            ("modules", self.modules, MODULES),
            ("imports", self.imports, IMPORTS),
            ("memoryBytes", self.memory_bytes, limits.memory_bytes),
            ("tableElements", self.table_elements, limits.table_elements),
        ];
        let of_compiling = compiled.map(|cost| {
            [
                ("compileMillis", cost.ms, limits.compile_millis),
                ("compileMemoryBytes", cost.peak_bytes, limits.compile_memory_bytes),
                ("codeBytes", cost.code_bytes, ARTIFACT_BYTES),
            ]
        });
        let all = of_shape.into_iter().chain(of_compiling.into_iter().flatten());
        all.map(|(name, used, limit)| {
            let left = limit.saturating_sub(used);
            (name, left.saturating_mul(100).checked_div(limit).unwrap_or(0))
        })
        .collect()
    }
}
