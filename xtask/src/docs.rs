//! `cargo xtask docs`: the documentation as a site, which the aggregator embeds, built where its sources have changed.
//!
//! It must never leave half a site: what is built is stamped last, and a site without its stamp is built again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::run;
use crate::{config, rust_tools};

/// Where pages link to files of the repository that are no pages.
const OUTSIDE: &str = "](../";

/// What a folder's first page is called in the repository, and in the site: mdBook renames the file, but no link to it.
const README: &str = "README.md";
const INDEX: &str = "index.md";
const README_LINK: &str = "README.md)";
const INDEX_LINK: &str = "index.md)";

/// A style that mdBook writes into every page, where the server's policy takes none, and what clears floats without it.
const STYLE: &str = r#"<div style="clear: both"></div>"#;
const CLEAR: &str = r#"<br clear="all">"#;

/// Builds the site, unless it is built of exactly these sources.
pub(crate) fn build() -> Result<()> {
    let docs = config::root().join("docs");
    let (site, made) = (docs.join("dist"), config::target().join("docs"));
    let stamp = made.join("built.from");
    let pages = pages(&docs)?;
    let settings = fs::read_to_string(config::root().join("book.toml")).context("cannot read book.toml")?;
    let sources = written(&settings, &pages);
    if site.join("index.html").is_file() && fs::read_to_string(&stamp).is_ok_and(|built| built == sources) {
        return Ok(());
    }
    let mdbook = rust_tools::mdbook()?;
    fs::remove_file(&stamp).ok();
    let source = made.join("src");
    fs::remove_dir_all(&source).ok();
    for (name, text) in &pages {
        write(&source.join(name), text)?;
    }
    write(&made.join("book.toml"), &settings)?;
    clear(&site)?;
    let mut command = Command::new(mdbook);
    // It writes over what is there, and removes nothing of ours.
    run("mdbook", command.arg("build").arg(&made).arg("--dest-dir").arg(made.join("site")))?;
    copy(&made.join("site"), &site)?;
    for (name, text) in pages.iter().filter(|(name, _)| name != "SUMMARY.md") {
        write(&site.join(name), text)?;
    }
    write(&site.join("llms.txt"), &llms(&pages))?;
    write(&stamp, &sources)
}

/// Every page, by its path below `docs/`, as the site has it.
fn pages(docs: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    add(docs, &mut files)?;
    files.sort();
    let read = |file: PathBuf| {
        let name = file.strip_prefix(docs)?.to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        // In the site `..` is above the page's own folder; what is beside `docs/` is above the root.
        let text = if name.contains('/') { text } else { without_outside(&text) };
        Ok((name.replace(README, INDEX), text.replace(README_LINK, INDEX_LINK)))
    };
    files.into_iter().map(read).collect()
}

fn add(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("dist") {
            add(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
    Ok(())
}

/// A page of the root without links to what is not in the site: their words stay, and the path in brackets.
fn without_outside(text: &str) -> String {
    let mut parts = text.split(OUTSIDE);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let Some((path, rest)) = part.split_once(')') else {
            kept.push_str(OUTSIDE);
            kept.push_str(part);
            continue;
        };
        // The bracket that opens the link is the last one before it.
        if let Some(open) = kept.rfind('[') {
            kept.remove(open);
        }
        kept.push_str(&format!(" (`{path}` in the repository){rest}"));
    }
    kept
}

/// The list of pages for language models, as llmstxt.org describes it: the summary with links to the Markdown.
fn llms(pages: &[(String, String)]) -> String {
    let text = |wanted: &str| pages.iter().find(|(name, _)| name == wanted).map(|(_, text)| text.as_str());
    let about = text(INDEX).unwrap_or_default().split("\n\n").nth(1).unwrap_or_default();
    let mut list = format!("# Palveron Meter\n\n> {}\n", about.replace('\n', " "));
    for line in text("SUMMARY.md").unwrap_or_default().lines().skip(1) {
        if let Some(part) = line.strip_prefix("# ") {
            list.push_str(&format!("\n## {part}\n\n"));
        } else if let Some((title, path)) = line.trim_start_matches([' ', '-']).split_once("](") {
            let title = title.trim_start_matches('[');
            list.push_str(&format!("- [{title}](/docs/{path}\n"));
        }
    }
    list
}

/// Everything that a site is made of, one after the other.
fn written(settings: &str, pages: &[(String, String)]) -> String {
    let version = rust_tools::MDBOOK;
    let pages: String = pages.iter().map(|(name, text)| format!("\n{name}\n{text}")).collect();
    format!("mdbook {version}\n{settings}{pages}")
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Removes an earlier site; the file stays that keeps git out of it.
fn clear(site: &Path) -> Result<()> {
    for entry in fs::read_dir(site)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        } else if !path.ends_with(".gitignore") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Copies what browsers load: no dot files, nor what mdBook wrote for other hosts.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            self::copy(&path, &copy)?;
        } else if path.extension().is_some_and(|extension| extension == "html") {
            fs::write(&copy, fs::read_to_string(&path)?.replace(STYLE, CLEAR))?;
        } else if !entry.file_name().to_string_lossy().starts_with('.') {
            fs::copy(&path, &copy)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_what_is_not_in_the_site_become_words() {
        for (text, expected) in [
            (
                "See [a\nreceiver](../examples/x/README.md), and [b](b.md).",
                "See a\nreceiver (`examples/x/README.md` in the repository), and [b](b.md).",
            ),
            ("Nothing [here](b.md).", "Nothing [here](b.md)."),
            ("Broken [x](../y", "Broken [x](../y"),
        ] {
            assert_eq!(without_outside(text), expected);
        }
    }

    #[test]
    fn language_models_are_told_of_the_markdown_of_every_page() {
        let pages = [
            ("index.md".to_owned(), "# Meter\n\nIt counts,\nexactly.\n\nMore.".to_owned()),
            ("SUMMARY.md".to_owned(), "# Summary\n\n[Begin](index.md)\n\n# Calling\n\n- [Errors](errors.md)\n  - [x](errors/x.md)\n".to_owned()),
        ];
        assert_eq!(
            llms(&pages),
            "# Palveron Meter\n\n> It counts, exactly.\n- [Begin](/docs/index.md)\n\n## Calling\n\n- [Errors](/docs/errors.md)\n- [x](/docs/errors/x.md)\n"
        );
    }
}
