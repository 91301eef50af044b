//! Pages and shell lines, taken apart as far as it takes to know which programs are called with which words.

use std::iter::Peekable;
use std::str::Chars;

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
pub(super) fn commands(lines: &str) -> Vec<Vec<String>> {
    let mut reader = Reader { rest: lines.chars().peekable(), found: Vec::new(), documents: Vec::new() };
    reader.lines(None);
    reader.found
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    found: Vec<Vec<String>>,
    /// What ends the documents that begin after this line.
    documents: Vec<String>,
}

/// A command that is being read.
#[derive(Default)]
struct Line {
    words: Vec<String>,
    word: Option<String>,
    /// The next word is a file.
    redirects: bool,
}

impl Line {
    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take() {
            if std::mem::take(&mut self.redirects) {
                return;
            }
            // Words of the shell's own come before a command.
            let is_own = ["if", "then", "else", "do", "while", "!", "{", "}", "set"].contains(&word.as_str());
            if !(self.words.is_empty() && is_own) {
                self.words.push(word);
            }
        }
    }
}

impl Reader<'_> {
    /// Reads to the end, or to what closes a substitution.
    fn lines(&mut self, end: Option<char>) {
        let mut line = Line::default();
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => match self.rest.next() {
                    Some('\n') | None => line.end_word(),
                    Some(c) => line.push(c),
                },
                '\'' => {
                    line.word.get_or_insert_default();
                    while let Some(c) = self.rest.next().filter(|c| *c != '\'') {
                        line.push(c);
                    }
                }
                '"' => self.quoted(&mut line),
                '$' => self.dollar(&mut line),
                '#' if line.word.is_none() => while self.rest.next_if(|c| *c != '\n').is_some() {},
                '<' if self.rest.next_if_eq(&'(').is_some() => self.substitution(&mut line),
                '<' | '>' => self.redirection(c, &mut line),
                '\n' => {
                    self.end(&mut line);
                    self.skip_documents();
                }
                ';' | '|' | '&' | '(' => self.end(&mut line),
                ')' if end == Some(')') => break,
                ')' => self.end(&mut line),
                c if c.is_whitespace() => line.end_word(),
                c => line.push(c),
            }
        }
        self.end(&mut line);
    }

    fn end(&mut self, line: &mut Line) {
        line.end_word();
        let line = std::mem::take(line);
        if !line.words.is_empty() {
            self.found.push(line.words);
        }
    }

    fn quoted(&mut self, line: &mut Line) {
        line.word.get_or_insert_default();
        while let Some(c) = self.rest.next() {
            match c {
                '"' => return,
                '\\' => self.rest.next().into_iter().for_each(|c| line.push(c)),
                '$' => self.dollar(line),
                c => line.push(c),
            }
        }
    }

    /// `$(…)` and `$((…))`, of which the former calls programs; else a name.
    fn dollar(&mut self, line: &mut Line) {
        if self.rest.next_if_eq(&'(').is_none() {
            return line.push('$');
        }
        self.substitution(line);
    }

    fn substitution(&mut self, line: &mut Line) {
        line.push('$');
        line.push(OPEN);
        if self.rest.next_if_eq(&'(').is_some() {
            while let Some(c) = self.rest.next() {
                if c == ')' && self.rest.next_if_eq(&')').is_some() {
                    return;
                }
            }
            return;
        }
        self.lines(Some(')'));
    }

    fn redirection(&mut self, c: char, line: &mut Line) {
        // `2>` is no word.
        if line.word.as_ref().is_some_and(|word| word.chars().all(|c| c.is_ascii_digit())) {
            line.word = None;
        }
        line.end_word();
        if c == '<' && self.rest.next_if_eq(&'<').is_some() {
            let mut name = String::new();
            while let Some(c) = self.rest.next_if(|c| !c.is_whitespace()) {
                name.push(c);
            }
            return self.documents.push(name.trim_matches(['-', '\'', '"']).to_owned());
        }
        while self.rest.next_if(|c| ['>', '&'].contains(c)).is_some() {}
        line.redirects = true;
    }

    fn skip_documents(&mut self) {
        for name in std::mem::take(&mut self.documents) {
            loop {
                let mut line = String::new();
                while let Some(c) = self.rest.next_if(|c| *c != '\n') {
                    line.push(c);
                }
                if self.rest.next().is_none() || line.trim() == name {
                    break;
                }
            }
        }
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
