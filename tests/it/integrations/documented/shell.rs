//! Pages and shell lines, taken apart as far as it takes to know which programs are called with which words.

use anyhow::{Context, Result};
use tree_sitter::{Node, Parser};

/// What stands for something that a reader puts there.
const OPEN: char = '…';

/// The blocks of shell lines of a page, and the rest of it without any code block.
pub(super) fn parts(page: &str) -> (Vec<String>, String) {
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    let mut block: Option<(bool, String)> = None;
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), &mut block) {
            (Some(_), Some((is_shell, text))) => {
                if *is_shell {
                    blocks.push(std::mem::take(text));
                }
                block = None;
            }
            (Some(language), None) => {
                let language = language.split(',').next().unwrap_or_default().trim();
                block = Some((["sh", "bash", "console"].contains(&language), String::new()));
                prose.push('\n');
            }
            (None, Some((_, text))) => {
                text.push_str(line.trim_start());
                text.push('\n');
            }
            (None, None) => {
                prose.push_str(line);
                prose.push('\n');
            }
        }
    }
    (blocks, prose)
}

/// The code in the paragraphs of a text; it may go on in the next line.
pub(super) fn inline(prose: &str) -> Vec<String> {
    let paragraphs = prose.split("\n\n");
    let codes = paragraphs.flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2));
    codes.map(|code| code.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// `<an id>` becomes one open word.
pub(super) fn with_open_words(code: &str) -> String {
    let mut text = String::new();
    let mut rest = code;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        let is_name = |c: char| c.is_ascii_alphanumeric() || " -_'.:".contains(c);
        match after.split_once('>').filter(|(name, _)| {
            name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_name)
        }) {
            Some((_, after)) => {
                text.push(OPEN);
                rest = after;
            }
            None => {
                text.push('<');
                rest = after;
            }
        }
    }
    text + rest
}

/// The method and the path of a call, where inline code is one; the method is empty where none is told.
pub(super) fn call(code: &str) -> Option<(&str, &str)> {
    let (method, path) = code.split_once(' ').unwrap_or(("", code));
    let is_method = ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method);
    let path = path.split('?').next().unwrap_or(path);
    let is_path = is_method && path.starts_with(['/', OPEN])
        || method.is_empty() && (path.starts_with("/api/v1/") || path.starts_with("/v1/"));
    (is_path && !path.contains(' ')).then_some((method, path))
}

/// Each program that shell lines call, with its words, in no promised order. What a word gets from elsewhere is `$…`.
///
/// # Errors
/// Never with a grammar of the parser's own release.
pub(super) fn commands(lines: &str) -> Result<Vec<Vec<String>>> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_bash::LANGUAGE.into())?;
    let tree = parser.parse(lines, None).context("the shell's parser has no grammar")?;
    let mut found = Vec::new();
    collect(tree.root_node(), lines, &mut found);
    Ok(found)
}

fn collect(node: Node<'_>, lines: &str, found: &mut Vec<Vec<String>>) {
    let mut cursor = node.walk();
    let children: Vec<Node<'_>> = node.named_children(&mut cursor).collect();
    if node.kind() == "command" {
        let words = children.iter().filter(|child| !child.kind().contains("redirect"));
        found.push(words.map(|child| word(*child, lines)).collect());
    }
    children.into_iter().for_each(|child| collect(child, lines, found));
}

/// A word without its quotes.
fn word(node: Node<'_>, lines: &str) -> String {
    let text = lines.get(node.byte_range()).unwrap_or_default();
    match node.kind() {
        "\"" => String::new(),
        "raw_string" => text.trim_matches('\'').to_owned(),
        "command_substitution" | "process_substitution" | "arithmetic_expansion" => format!("${OPEN}"),
        "command_name" | "concatenation" | "string" | "variable_assignment" => {
            let (mut whole, mut from) = (String::new(), node.start_byte());
            for child in node.children(&mut node.walk()) {
                whole.push_str(lines.get(from..child.start_byte()).unwrap_or_default());
                whole.push_str(&word(child, lines));
                from = child.end_byte();
            }
            whole
        }
        _ => text.replace('\\', ""),
    }
}

/// A call by curl.
#[derive(Debug)]
pub(super) struct Curl {
    pub(super) method: String,
    pub(super) url: String,
}

impl Curl {
    /// The call that a command is, if it is one.
    pub(super) fn of(command: &[String]) -> Option<Self> {
        let (program, words) = command.split_first()?;
        let is_url = |word: &&String| word.contains("://") || word.starts_with('$') && word.contains("_URL");
        let url = words.iter().find(is_url).filter(|_| program == "curl")?.clone();
        let told = words
            .iter()
            .zip(words.iter().skip(1))
            .find(|(option, _)| ["-X", "--request"].contains(&option.as_str()));
        let has_body =
            words.iter().any(|word| word == "-d" || word.starts_with("--data") || word == "--json");
        let method = told.map_or(if has_body { "POST" } else { "GET" }, |(_, method)| method);
        Some(Self { method: method.to_owned(), url })
    }
}
