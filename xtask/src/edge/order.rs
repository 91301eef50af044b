//! The wasm as it packs smallest: alike functions beside each other, since gzip looks back 32 KiB and no further.
//!
//! wasm-bindgen writes the largest first. What is alike in this order packs a twentieth smaller; a hundredth more where
//! the variables that are used most have the smallest numbers, and where no access to memory hints at its alignment,
//! which engines do not look at. It must never change what a function does.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, Function, FunctionSection, Instruction, MemArg, Module, TypeSection, ValType,
};
use wasmparser::{
    CodeSectionReader, CustomSectionReader, FunctionBody, FunctionSectionReader, KnownCustom, Name, Naming,
    Operator, Parser, Payload, TypeRef, TypeSectionReader, WasmFeatures,
};

/// Functions are alike in as far as they have pieces of so many bytes in common.
const PIECE_BYTES: usize = 5;
/// A piece that more functions have tells nothing, and takes time.
const HAVING_MAX: usize = 400;

/// A module that packs small.
#[derive(Debug)]
pub(super) struct Packing {
    /// The module, without names: they are as long as the code.
    pub(super) wasm: Vec<u8>,
    /// The names of its functions by their number, each in a line.
    pub(super) names: String,
}

/// The same module, packing smaller.
pub(super) fn improve(wasm: &[u8]) -> Result<Packing> {
    let (imported, bodies) = functions(wasm)?;
    // Functions are alike as they will be written.
    let plain = written(wasm, imported, &(0..bodies.len()).collect::<Vec<_>>())?;
    let (_, bodies) = functions(&plain)?;
    let order = similar(&bodies);
    let old = (0..usize::try_from(imported)?)
        .chain(order.iter().map(|function| function.saturating_add(usize::try_from(imported).unwrap_or(0))));
    let named = names(wasm)?;
    let mut names = String::new();
    for function in old {
        names.push_str(named.get(&function).copied().unwrap_or_default());
        names.push('\n');
    }
    Ok(Packing { wasm: written(&plain, imported, &order)?, names })
}

/// What its functions are called, by their number.
fn names(wasm: &[u8]) -> Result<BTreeMap<usize, &str>> {
    let mut names = BTreeMap::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::CustomSection(section) = payload? else { continue };
        let KnownCustom::Name(parts) = section.as_known() else { continue };
        for part in parts {
            let Name::Function(named) = part? else { continue };
            for name in named {
                let Naming { index, name } = name?;
                names.insert(usize::try_from(index)?, name);
            }
        }
    }
    Ok(names)
}

/// The module with its functions in that order.
fn written(wasm: &[u8], imported: u32, order: &[usize]) -> Result<Vec<u8>> {
    let mut places = vec![0; order.len()];
    for (place, &function) in order.iter().enumerate() {
        *places.get_mut(function).context("a function that is not there")? =
            imported.checked_add(u32::try_from(place)?).context("too many functions")?;
    }
    let (mut module, mut reorder) =
        (Module::new(), Reorder { imported, order: order.to_vec(), places, ..Reorder::default() });
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
#[derive(Default)]
struct Reorder {
    imported: u32,
    /// The functions in their new order.
    order: Vec<usize>,
    /// The new number of each function.
    places: Vec<u32>,
    /// How many parameters each type of function has, and which type each function is of.
    parameters: Vec<usize>,
    types: Vec<u32>,
    /// The new number of each variable of the function that is written.
    variables: Vec<u32>,
}

impl Reorder {
    /// Numbers a function's variables: parameters stay, the others by how often they are used, by type.
    /// Returns the types in that order, each with how many there are.
    fn number(
        &mut self,
        parameters: usize,
        body: &FunctionBody<'_>,
    ) -> Result<Vec<(u32, ValType)>, Error<anyhow::Error>> {
        let mut variables = Vec::new();
        for group in body.get_locals_reader()? {
            let (count, of) = group?;
            variables.extend((0..count).map(|_| (of, 0_u32)));
        }
        for operator in body.get_operators_reader()? {
            let used = variable(&mut operator?).and_then(|variable| usize::try_from(*variable).ok());
            let used = used.and_then(|used| variables.get_mut(used.checked_sub(parameters)?));
            if let Some((_, uses)) = used {
                *uses = uses.saturating_add(1);
            }
        }
        let mut order: Vec<usize> = (0..variables.len()).collect();
        let rank = |variable: &usize| {
            let (of, uses) = variables.get(*variable).copied().unwrap_or((wasmparser::ValType::I32, 0));
            (of.to_string(), std::cmp::Reverse(uses))
        };
        order.sort_by_key(rank);
        self.variables = (0..u32::try_from(parameters).unwrap_or(u32::MAX)).collect();
        self.variables.resize(parameters.saturating_add(order.len()), 0);
        let mut types: Vec<(u32, ValType)> = Vec::new();
        for (place, variable) in order.into_iter().enumerate() {
            let new = u32::try_from(parameters.saturating_add(place)).map_err(|_| unknown(place))?;
            let old = self.variables.get_mut(parameters.saturating_add(variable));
            *old.ok_or_else(|| unknown(variable))? = new;
            let (of, _) = *variables.get(variable).ok_or_else(|| unknown(variable))?;
            let of = self.val_type(of)?;
            match types.last_mut() {
                Some((count, last)) if *last == of => *count = count.saturating_add(1),
                _ => types.push((1, of)),
            }
        }
        Ok(types)
    }
}

/// The variable that an instruction is about.
fn variable<'a>(operator: &'a mut Operator<'_>) -> Option<&'a mut u32> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "there are hundreds of others")]
    match operator {
        Operator::LocalGet { local_index }
        | Operator::LocalSet { local_index }
        | Operator::LocalTee { local_index } => Some(local_index),
        _ => None,
    }
}

impl Reencode for Reorder {
    type Error = anyhow::Error;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<Self::Error>> {
        let defined = function.checked_sub(self.imported).and_then(|defined| usize::try_from(defined).ok());
        let place = defined.map_or(Some(&function), |defined| self.places.get(defined));
        place.copied().ok_or_else(|| unknown(function))
    }

    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: CustomSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        if matches!(section.as_known(), KnownCustom::Name(_)) {
            return Ok(());
        }
        utils::parse_custom_section(self, module, section)
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: TypeSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        for of in section.clone().into_iter_err_on_gc_types() {
            self.parameters.push(of?.params().len());
        }
        utils::parse_type_section(self, types, section)
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        self.types = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        for function in self.order.clone() {
            let index = self.types.get(function).copied().ok_or_else(|| unknown(function))?;
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
            let body = bodies.get(function).ok_or_else(|| unknown(function))?;
            let of = self.types.get(function).and_then(|of| usize::try_from(*of).ok());
            let parameters = of.and_then(|of| self.parameters.get(of).copied());
            let mut written = Function::new(self.number(parameters.unwrap_or(0), body)?);
            for operator in body.get_operators_reader()? {
                written.instruction(&self.instruction(operator?)?);
            }
            code.function(&written);
        }
        Ok(())
    }

    fn instruction<'a>(&mut self, mut operator: Operator<'a>) -> Result<Instruction<'a>, Error<Self::Error>> {
        if let Some(variable) = variable(&mut operator) {
            let old = usize::try_from(*variable).ok().and_then(|old| self.variables.get(old));
            *variable = *old.ok_or_else(|| unknown(*variable))?;
        }
        utils::instruction(self, operator)
    }

    fn mem_arg(&mut self, mut access: wasmparser::MemArg) -> Result<MemArg, Error<Self::Error>> {
        access.align = 0;
        utils::mem_arg(self, access)
    }
}

fn unknown(function: impl std::fmt::Display) -> Error<anyhow::Error> {
    Error::UserError(anyhow!("the wasm has no number {function}"))
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{ExportKind, ExportSection, Function, NameMap, NameSection, TypeSection, ValType};

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
        let (mut names, mut named) = (NameSection::new(), NameMap::new());
        for (function, name) in [(0, "zero"), (1, "one"), (2, "two"), (3, "three")] {
            named.append(function, name);
        }
        names.functions(&named);
        exports.export("second", ExportKind::Func, 1);
        exports.export("last", ExportKind::Func, 3);
        let mut module = Module::new();
        module.section(&types).section(&functions).section(&exports).section(&code).section(&names);
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
        let Packing { wasm: better, names } = improve(&wasm).unwrap();
        let (_, bodies) = functions(&better).unwrap();
        assert_eq!(bodies.len(), 4);
        let begins = |at: usize| &bodies[at][1..4];
        assert!(begins(0) == begins(1) || begins(1) == begins(2), "{bodies:?}");
        assert_eq!(told(&better, "second"), told(&wasm, "second"));
        // The third returns 2, wherever it is now.
        let third: usize = told(&better, "last").parse().unwrap();
        assert_eq!(bodies[third].iter().rev().nth(1), Some(&2));
        assert_eq!((names.lines().count(), names.lines().nth(third)), (4, Some("two")));
        assert!(!String::from_utf8_lossy(&better).contains("three"));
    }

    #[test]
    fn what_is_used_most_has_the_smallest_number_and_stays_of_its_type() {
        let (mut types, mut functions, mut code) =
            (TypeSection::new(), FunctionSection::new(), CodeSection::new());
        types.ty().function([ValType::I64], []);
        functions.function(0);
        let mut function = Function::new([(1, ValType::I64), (2, ValType::I32)]);
        // 0 is the parameter; 1 is used never, 2 once, 3 twice.
        function
            .instructions()
            .local_get(0)
            .drop()
            .local_get(2)
            .drop()
            .local_get(3)
            .local_tee(3)
            .drop()
            .end();
        code.function(&function);
        let mut module = Module::new();
        module.section(&types).section(&functions).section(&code);
        let better = improve(&module.finish()).unwrap().wasm;
        let mut expected = Function::new([(2, ValType::I32), (1, ValType::I64)]);
        expected
            .instructions()
            .local_get(0)
            .drop()
            .local_get(2)
            .drop()
            .local_get(1)
            .local_tee(1)
            .drop()
            .end();
        let (_, bodies) = super::functions(&better).unwrap();
        assert_eq!(bodies, [expected.into_raw_body()]);
    }
}
