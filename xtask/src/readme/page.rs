//! What a page says to do and what it shows, and whether every page's shell lines are followed.
//!
//! It must never let a block of shell lines through that nobody runs, unless it is told why.

use super::rows::{NOT_RUN, ROWS};

/// Something that a page says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Shell lines.
    Run(String),
    /// What the lines before it print.
    Prints(String),
}

/// What a fence of shell lines says, and what others say in its place.
const SHELL: &str = "sh";
const OTHER_SHELLS: [&str; 6] = ["bash", "console", "shell", "shell-session", "shellsession", "zsh"];

/// The levels of headings that a part may have.
const LEVELS: [&str; 2] = ["\n## ", "\n### "];

/// The part of a page below a heading, to the next one of its level; all of it where no heading is named.
pub(super) fn part<'page>(page: &'page str, title: &str) -> Option<&'page str> {
    if title.is_empty() {
        return Some(page);
    }
    let (depth, below) = LEVELS
        .iter()
        .zip(1..)
        .find_map(|(level, depth)| Some((depth, page.split_once(&format!("{level}{title}\n"))?.1)))?;
    let ends = LEVELS.iter().take(depth).filter_map(|level| below.find(level));
    below.get(..ends.min().unwrap_or(below.len()))
}

/// The shell lines of a page and what it shows that they print, in order. Code of other languages has tests of its own.
pub(super) fn steps(file: &str, text: &str) -> Vec<Step> {
    let steps = fenced(text).filter_map(|block| {
        let (language, lines) = said(block);
        match language {
            SHELL if reason(file, block).is_none() => Some(Step::Run(outdented(lines).trim().to_owned())),
            "" | "json" => Some(Step::Prints(lines.trim().to_owned())),
            _ => None,
        }
    });
    steps.collect()
}

/// Whether lines are what runs this: commands of xtask, whose words the repository's own rules look at.
pub(super) fn is_own(lines: &str) -> bool {
    lines
        .lines()
        .filter(|line| !line.trim().is_empty())
        .all(|line| line.trim_start().starts_with("cargo xtask "))
}

/// Blocks of shell lines that no test follows and that are not told why, and reasons for blocks that are not there.
pub(crate) fn check<'tree>(pages: impl Iterator<Item = (&'tree str, &'tree str)>) -> Vec<String> {
    let (mut findings, mut given) = (Vec::new(), Vec::new());
    for (file, text) in pages {
        let followed: Vec<&str> = ROWS
            .iter()
            .flat_map(|row| row.pages)
            .filter_map(|page| page.split_once('#').or(Some((page, ""))).filter(|(of, _)| *of == file))
            .filter_map(|(_, title)| part(text, title))
            .collect();
        for block in fenced(text) {
            let (language, lines) = said(block);
            let mut complain = |what: &str| {
                let first = lines.trim().lines().next().unwrap_or_default();
                findings.push(format!("{file}: `{first}`: {what}"));
            };
            let is_followed =
                || followed.iter().any(|part| part.as_bytes().as_ptr_range().contains(&block.as_ptr()));
            if OTHER_SHELLS.contains(&language) {
                complain("its language is called sh here");
            } else if let Some(reason) = reason(file, block) {
                given.push(reason);
            } else if language == SHELL && !is_own(lines) && !is_followed() {
                complain(
                    "nobody follows these lines: name the page in xtask/src/readme/rows.rs, or say there why not",
                );
            }
        }
    }
    let idle = NOT_RUN.iter().filter(|why| !given.contains(why));
    findings.extend(
        idle.map(|(file, words, _)| format!("{file} has no block with `{words}` that is not followed")),
    );
    findings
}

/// Why a block is not followed, where that is told.
fn reason(file: &str, block: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    let (language, lines) = said(block);
    NOT_RUN.iter().find(|(of, words, _)| language == SHELL && *of == file && lines.contains(words))
}

/// The text of each fenced block, from its language on.
fn fenced(page: &str) -> impl Iterator<Item = &str> {
    page.split("```").skip(1).step_by(2)
}

/// The language of a block, without what is said of it after a comma, and its lines.
fn said(block: &str) -> (&str, &str) {
    let (language, lines) = block.split_once('\n').unwrap_or((block, ""));
    (language.split(',').next().unwrap_or_default().trim(), lines)
}

/// Lines as they are outside of a list.
fn outdented(lines: &str) -> String {
    let indent = lines.len().saturating_sub(lines.trim_start_matches(' ').len());
    let outdented = lines.lines().map(|line| {
        let spaces = line.len().saturating_sub(line.trim_start_matches(' ').len());
        line.get(spaces.min(indent)..).unwrap_or_default()
    });
    outdented.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_is_run_and_what_is_shown() {
        let page = "Do\n```sh\ntrue\n```\nwhich says\n\n```json\n{}\n```\n```ts\nlet a;\n```";
        assert_eq!(steps("a.md", page), [Step::Run("true".to_owned()), Step::Prints("{}".to_owned())]);
        let (file, words, _) = NOT_RUN[0];
        let page = format!("```sh\n{words}\n```\n");
        assert_eq!(steps(file, &page), []);
        assert_eq!(steps("a.md", &page), [Step::Run(words.to_owned())]);
    }

    #[test]
    fn a_part_of_a_page_ends_where_the_next_begins() {
        let page = "# Page\n\n## One\n\na\n\n### Of one\n\nb\n\n### Of it too\n\nd\n\n## Two\n\nc\n";
        assert_eq!(part(page, "One"), Some("\na\n\n### Of one\n\nb\n\n### Of it too\n\nd\n"));
        assert_eq!((part(page, "Of one"), part(page, "Of it too")), (Some("\nb\n"), Some("\nd\n")));
        assert_eq!(
            (part(page, "Two"), part(page, "Three"), part(page, "")),
            (Some("\nc\n"), None, Some(page))
        );
    }

    #[test]
    fn lines_that_nobody_follows_are_found() {
        let found = |file: &str, page: &str| {
            let findings = check([(file, page)].into_iter());
            findings.into_iter().filter(|finding| !finding.contains("has no block")).count()
        };
        for (page, findings) in [
            ("```sh\nmeter serve\n```", 1),
            ("1. So:\n\n   ```sh,later\n   meter serve\n   ```", 1),
            ("```console\nmeter serve\n```", 1),
            ("```sh\ncargo xtask dev   # all of it\ncargo xtask ci\n```", 0),
            ("```sh\ncargo xtask dev\nmeter serve\n```", 1),
            ("```ts\nlet a;\n```\n```\na drawing\n```", 0),
        ] {
            assert_eq!(found("docs/new.md", page), findings, "{page}");
        }
        assert_eq!(found("README.md", "```sh\nmeter serve\n```"), 0);
        // Of a page of which a part is followed, other parts are not.
        let page = "\n## Payments\n\n```sh\nmeter serve\n```\n\n## More\n\n```sh\nmeter serve\n```\n";
        assert_eq!(found("docs/operations.md", page), 1);
        let (file, words, _) = NOT_RUN[0];
        assert_eq!(found(file, &format!("```sh\n{words}\n```")), 0);
        assert!(check(std::iter::empty()).len() == NOT_RUN.len(), "each reason is for a block that is there");
    }
}
