//! The order of the functions in the wasm: alike ones beside each other, since gzip looks back 32 KiB and no further.
//!
//! wasm-bindgen writes the largest first. What is alike in this order packs a twentieth smaller. It must never change
//! a function but for the numbers of those it calls.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow};
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, FunctionSection, Module};
use wasmparser::{
    CodeSectionReader, FunctionBody, FunctionSectionReader, Parser, Payload, TypeRef, WasmFeatures,
};

/// Functions are alike in as far as they have pieces of so many bytes in common.
const PIECE_BYTES: usize = 5;
/// A piece that more functions have tells nothing, and takes time.
const HAVING_MAX: usize = 400;

/// The same module with its functions in a better order.
pub(super) fn improve(wasm: &[u8]) -> Result<Vec<u8>> {
    let (imported, bodies) = functions(wasm)?;
    let order = similar(&bodies);
    let mut places = vec![0; order.len()];
    for (place, &function) in order.iter().enumerate() {
        *places.get_mut(function).context("a function that is not there")? =
            imported.checked_add(u32::try_from(place)?).context("too many functions")?;
    }
    let (mut module, mut reorder) = (Module::new(), Reorder { imported, order, places });
    reorder.parse_core_module(&mut module, Parser::new(0), wasm).map_err(|error| anyhow!("{error}"))?;
    Ok(module.finish())
}

/// How many functions are imported, and the bodies of the others.
fn functions(wasm: &[u8]) -> Result<(u32, Vec<&[u8]>)> {
    let (mut imported, mut bodies) = (0_u32, Vec::new());
    let mut parser = Parser::new(0);
    parser.set_features(WasmFeatures::all());
    for payload in parser.parse_all(wasm) {
        let payload = payload?;
        if let Payload::ImportSection(imports) = &payload {
            for import in imports.clone().into_imports() {
                if matches!(import?.ty, TypeRef::Func(_)) {
                    imported = imported.saturating_add(1);
                }
            }
        } else if let Payload::CodeSectionEntry(body) = payload {
            bodies.push(body.as_bytes());
        }
    }
    Ok((imported, bodies))
}

/// Begins with the largest, and goes on with the one that has most in common with the last.
fn similar(bodies: &[&[u8]]) -> Vec<usize> {
    let pieces: Vec<BTreeSet<&[u8]>> =
        bodies.iter().map(|body| body.windows(PIECE_BYTES).collect()).collect();
    let mut having: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for (function, pieces) in pieces.iter().enumerate() {
        for piece in pieces {
            having.entry(piece).or_default().push(function);
        }
    }
    having.retain(|_, functions| (2..=HAVING_MAX).contains(&functions.len()));
    let mut by_size: Vec<usize> = (0..bodies.len()).collect();
    by_size.sort_by_key(|function| bodies.get(*function).map_or(0, |body| body.len()));
    let (mut left, mut order) = (vec![true; bodies.len()], Vec::with_capacity(bodies.len()));
    let mut next = by_size.pop();
    while let Some(function) = next {
        if let Some(left) = left.get_mut(function) {
            *left = false;
        }
        order.push(function);
        let is_left = |function: &usize| left.get(*function).is_some_and(|left| *left);
        let mut common = vec![0_u32; bodies.len()];
        let pieces = pieces.get(function).into_iter().flatten();
        for other in pieces.filter_map(|piece| having.get(piece)).flatten().filter(|other| is_left(other)) {
            if let Some(common) = common.get_mut(*other) {
                *common = common.saturating_add(1);
            }
        }
        let most = common.iter().enumerate().rev().max_by_key(|(_, common)| **common);
        next = most.filter(|(_, common)| **common > 0).map(|(function, _)| function);
        while next.is_none_or(|function| !is_left(&function)) && !by_size.is_empty() {
            next = by_size.pop();
        }
        next = next.filter(is_left);
    }
    order
}

/// Writes the module again.
struct Reorder {
    imported: u32,
    /// The functions in their new order.
    order: Vec<usize>,
    /// The new number of each function.
    places: Vec<u32>,
}

impl Reencode for Reorder {
    type Error = anyhow::Error;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<Self::Error>> {
        let defined = function.checked_sub(self.imported).and_then(|defined| usize::try_from(defined).ok());
        let place = defined.map_or(Some(&function), |defined| self.places.get(defined));
        place.copied().ok_or_else(|| unknown(function))
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        let types = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        for function in self.order.clone() {
            let index = types.get(function).copied().ok_or_else(|| unknown(function))?;
            functions.function(self.type_index(index)?);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        let bodies = section.into_iter().collect::<Result<Vec<FunctionBody<'_>>, _>>()?;
        for function in self.order.clone() {
            let body = bodies.get(function).cloned().ok_or_else(|| unknown(function))?;
            self.parse_function_body(code, body)?;
        }
        Ok(())
    }
}

fn unknown(function: impl std::fmt::Display) -> Error<anyhow::Error> {
    Error::UserError(anyhow!("function {function} is not there"))
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{ExportKind, ExportSection, Function, TypeSection, ValType};

    use super::*;

    /// Functions that return a number many times over, and one that calls the third.
    fn module() -> Vec<u8> {
        let (mut types, mut functions) = (TypeSection::new(), FunctionSection::new());
        let (mut exports, mut code) = (ExportSection::new(), CodeSection::new());
        types.ty().function([], [ValType::I32]);
        for (index, number) in [(0, 70), (1, 5_000), (2, 71), (3, 5_000)] {
            functions.function(0);
            let mut function = Function::new([]);
            for _ in 0..20 {
                function.instructions().i32_const(number).drop();
            }
            if index == 3 {
                function.instructions().call(2).end();
            } else {
                function.instructions().i32_const(index).end();
            }
            code.function(&function);
        }
        exports.export("second", ExportKind::Func, 1);
        exports.export("last", ExportKind::Func, 3);
        let mut module = Module::new();
        module.section(&types).section(&functions).section(&exports).section(&code);
        module.finish()
    }

    /// What an exported function returns or calls: its last instruction but one.
    fn told(wasm: &[u8], name: &str) -> String {
        let (_, bodies) = functions(wasm).unwrap();
        let exports = Parser::new(0).parse_all(wasm).find_map(|payload| {
            if let Payload::ExportSection(exports) = payload.unwrap() { Some(exports) } else { None }
        });
        let export = exports.unwrap().into_iter().map(Result::unwrap).find(|export| export.name == name);
        format!("{:?}", bodies[usize::try_from(export.unwrap().index).unwrap()].iter().rev().nth(1).unwrap())
    }

    #[test]
    fn alike_functions_stand_beside_each_other_and_are_called_as_before() {
        let wasm = module();
        let better = improve(&wasm).unwrap();
        let (_, bodies) = functions(&better).unwrap();
        assert_eq!(bodies.len(), 4);
        let begins = |at: usize| &bodies[at][1..4];
        assert!(begins(0) == begins(1) || begins(1) == begins(2), "{bodies:?}");
        assert_eq!(told(&better, "second"), told(&wasm, "second"));
        // The third returns 2, wherever it is now.
        let third: usize = told(&better, "last").parse().unwrap();
        assert_eq!(bodies[third].iter().rev().nth(1), Some(&2));
    }
}
