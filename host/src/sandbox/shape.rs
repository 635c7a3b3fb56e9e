//! Bounds on an upload's shape: its size says nothing about what it costs to
//! compile. They leave the largest of the real guests, whose figures they quote,
//! room for twice of each.

use super::limits::Limits;
use wasmparser::{FunctionBody, MemorySectionReader, Operator, TableSectionReader};

/// Bytes of a page of memory.
const PAGE: u64 = 64 << 10;

/// Bytes of one function's body; Python's largest has 427 KB.
pub const FUNCTION_BYTES: usize = 896 << 10;

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
pub const MODULES: usize = 32;

/// Interfaces that are imported; Python imports 33.
pub(super) const IMPORTS: usize = 500;

/// The longest name of an import or export that is repeated in an answer.
pub(super) const NAME: usize = 200;

/// Would the guest have too much memory before it asks for any?
pub(super) fn check_memories(
    memories: &MemorySectionReader<'_>,
    limits: &Limits,
) -> Result<(), String> {
    for memory in memories.clone() {
        let bytes = memory.map_err(|error| error.to_string())?.initial.saturating_mul(PAGE);
        if bytes > limits.memory_bytes {
            let most = limits.memory_bytes;
            return Err(format!(
                "begins with a memory of {bytes} bytes, more than memoryBytes ({most})"
            ));
        }
    }
    Ok(())
}

pub(super) fn check_tables(tables: &TableSectionReader<'_>, limits: &Limits) -> Result<(), String> {
    for table in tables.clone() {
        let elements = table.map_err(|error| error.to_string())?.ty.initial;
        if elements > limits.table_elements {
            let most = limits.table_elements;
            return Err(format!(
                "begins with a table of {elements} elements, more than tableElements ({most})"
            ));
        }
    }
    Ok(())
}

pub(super) fn check_size(body: &FunctionBody<'_>) -> Result<(), String> {
    let size = body.as_bytes().len();
    if size > FUNCTION_BYTES {
        return Err(format!("has a function of {size} bytes, at most {FUNCTION_BYTES}"));
    }
    Ok(())
}

/// Would the compiler take too long over this function?
pub(super) fn check_knots(body: &FunctionBody<'_>, locals: u64) -> Result<(), String> {
    if locals > FUNCTION_LOCALS {
        return Err(format!("has a function with {locals} locals, at most {FUNCTION_LOCALS}"));
    }
    // Every knot takes two bytes.
    let may_have = body.as_bytes().len() as u64 / 2;
    if may_have * locals <= FUNCTION_KNOTS {
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
    if knots * locals > FUNCTION_KNOTS {
        return Err(format!(
            "has a function with {knots} blocks and branches over {locals} locals; \
             their product may be at most {FUNCTION_KNOTS}"
        ));
    }
    Ok(())
}
