//! The glue between JavaScript and wasm, made by wasm-bindgen's own library and put into one file.
//!
//! workerd and wrangler take the bundle as a fixed list of modules: inline snippets, whose folder names change
//! with every release, are folded in, and the source-phase import, which workerd does not have, becomes an
//! ordinary one. It must never guess: a snippet that it cannot fold is an error.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use wasm_bindgen_cli_support::Bindgen;

/// What becomes of a wasm file.
#[derive(Debug)]
pub(super) struct Glue {
    /// The module that loads the wasm and exports its functions.
    pub(super) javascript: String,
    /// The wasm that this module loads, with the names of its functions.
    pub(super) wasm: Vec<u8>,
    /// What that module exports, as TypeScript tells it.
    pub(super) types: String,
}

/// Makes the glue; `name` is what its files are called.
pub(super) fn make(wasm: &Path, name: &str) -> Result<Glue> {
    let mut output = Bindgen::new()
        .input_path(wasm)
        .out_name(name)
        .typescript(true)
        .remove_producers_section(true)
        .module(true)?
        // After a panic the worker starts over with a fresh instance; see edge/js/entry.js.
        .reset_state_function(true)
        .generate_output()
        .context("wasm-bindgen cannot make the glue")?;
    ensure!(
        output.local_modules().is_empty(),
        "the worker brings JavaScript files of its own: write them into entry.js"
    );
    ensure!(output.npm_dependencies().is_empty(), "the worker wants npm packages, and the bundle has none");
    let javascript = fold(output.js(), output.snippets())?;
    let types = output.ts().context("wasm-bindgen tells no types")?.to_owned();
    Ok(Glue { javascript, wasm: output.wasm_mut().emit_wasm(), types })
}

/// Puts the inline snippets where they are imported.
fn fold(glue: &str, snippets: &BTreeMap<String, Vec<String>>) -> Result<String> {
    let mut folded = String::with_capacity(glue.len());
    for line in glue.lines() {
        if let Some((names, source)) = snippet_import(line) {
            folded.push_str(&inline(names, snippet(snippets, source)?)?);
        } else {
            folded.push_str(&line.replacen("import source ", "import ", 1));
        }
        folded.push('\n');
    }
    if let Some(line) = folded.lines().find(|line| line.contains("./snippets/")) {
        bail!("wasm-bindgen imports a snippet in a way that is new to xtask: {line}");
    }
    Ok(folded)
}

/// `import { a, b as c } from './snippets/…';` as its names and its source.
fn snippet_import(line: &str) -> Option<(&str, &str)> {
    let (names, source) = line.trim().strip_prefix("import {")?.split_once('}')?;
    let source = source.trim().strip_prefix("from ")?.trim_end_matches(';').trim_matches(['\'', '"']);
    Some((names, source.strip_prefix("./snippets/")?))
}

/// The text of `<crate>/inline<n>.js`.
fn snippet<'a>(snippets: &'a BTreeMap<String, Vec<String>>, source: &str) -> Result<&'a str> {
    let (identifier, file) = source.split_once('/').context("a snippet without a folder")?;
    let number: usize = file.trim_start_matches("inline").trim_end_matches(".js").parse()?;
    let text = snippets.get(identifier).and_then(|list| list.get(number));
    text.map(String::as_str).with_context(|| format!("wasm-bindgen imports {source}, which it has not made"))
}

/// The snippet as a function's body, so that its names stay its own, and the imported names taken from it.
fn inline(names: &str, snippet: &str) -> Result<String> {
    let mut body = String::new();
    for line in snippet.lines() {
        let code = line.trim_start().strip_prefix("export ");
        if code.is_some_and(|code| code.starts_with(['{', '*']) || code.starts_with("default")) {
            bail!("a snippet exports in a way that is new to xtask: {line}");
        }
        body.push_str(code.unwrap_or(line));
        body.push('\n');
    }
    let exported: Vec<_> =
        names.split(',').map(|name| name.split(" as ").next().unwrap_or(name).trim()).collect();
    Ok(format!(
        "const {{{}}} = (() => {{\n{body}return {{ {} }};\n}})();",
        names.replace(" as ", ": "),
        exported.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snippets_are_folded_where_they_are_imported() {
        let snippets = BTreeMap::from([(
            "worker-1f".to_owned(),
            vec!["\nexport const state = globalThis.state = {};\n".to_owned()],
        )]);
        let glue = "import { state as first } from './snippets/worker-1f/inline0.js';\nimport source wasm from \"./meter_bg.wasm\";\n";
        assert_eq!(
            fold(glue, &snippets).unwrap(),
            "const { state: first } = (() => {\n\nconst state = globalThis.state = {};\nreturn { state };\n})();\n\
             import wasm from \"./meter_bg.wasm\";\n"
        );
    }

    #[test]
    fn what_cannot_be_folded_is_refused() {
        let snippets = BTreeMap::from([("w".to_owned(), vec!["export default 1;".to_owned()])]);
        for glue in [
            "import * as all from './snippets/w/inline0.js';",
            "import { a } from './snippets/w/inline0.js';",
            "import { a } from './snippets/w/inline1.js';",
            "import { a } from './snippets/other/inline0.js';",
        ] {
            assert!(fold(glue, &snippets).is_err(), "{glue}");
        }
    }
}
