//! `cargo xtask readme`: does what README, the tutorial, the pages on moving here and what operators do at a meter that runs say,
//! word for word, and compares the answers.
//!
//! Every block of shell lines is run as it stands, but for others' addresses and folders of the whole machine. The block that
//! follows it is what it answers: the same header lines, the same fields and the same sentences, with other numbers. An answer
//! that follows another one comes when the same is asked again. It must never touch the data of `cargo xtask dev`.

mod answer;
mod page;
mod rows;
mod terminal;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::clock::{Stopwatch, pause};
use crate::native::Programs;
use crate::{config, dev, native};
use answer::{compare, is_problem};
pub(crate) use page::check;
use page::{Step, is_own, part, steps};
use rows::{EDGE_LISTEN, HERE, HOMES, REPORTER, ROWS, Row, UNITS};
use terminal::{Listeners, TOLD_MAX, Terminal};

/// What `cargo xtask readme` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only what is followed at the same demo as this page, such as docs/envoy.md
    page: Option<String>,
}

/// The programs that the lines call, built as the tests build them.
const PROGRAMS: [&str; 6] = ["--workspace", "--exclude", "xtask", "--exclude", "sim", "--bins"];

/// An answer that comes when something is sent again came after fewer than this many.
const AGAIN_MAX: u32 = 200;

/// A line that never ends by itself, such as a stream, has shown by then that it works.
const LINE_SECONDS: &str = "5";

/// Where the demo listens, so that it stands in nobody's way.
const LISTEN: [&str; 4] = ["--edge-listen", "--aggregator-listen", "--upstream-listen", "--stripe-listen"];

/// What begins a page's demo.
const DEV: &str = "cargo xtask dev";

/// Starts a meter on premise beside it, for pages that ask one.
const ON_PREMISE: &str = "--on-prem";

/// What stays when it is started, with any words behind it or with none.
const STAYS: [&str; 4] =
    ["workerd serve ", "envoy --config-path ", "meter webhooks listen", "target/debug/meter webhooks listen"];
const STAYS_ALONE: [&str; 3] = ["meter serve", "meter-envoy", "meter-reporter"];

/// Builds what is called, and follows the pages.
pub(crate) fn run(options: &Options) -> Result<()> {
    let wanted = |page: &&str| options.page.as_deref().is_none_or(|wanted| page.starts_with(wanted));
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.pages.iter().any(&wanted)).collect();
    ensure!(!rows.is_empty(), "no such page is followed: xtask/src/readme/rows.rs has them all");
    let programs = native::build("programs", &PROGRAMS)?;
    follow_rows(&rows, &programs)
}

/// Follows all pages with these programs.
pub(crate) fn follow(programs: &Programs) -> Result<()> {
    follow_rows(&ROWS.iter().collect::<Vec<_>>(), programs)
}

fn follow_rows(rows: &[&Row], programs: &Programs) -> Result<()> {
    let mut tried = BTreeSet::new();
    rows.iter().try_for_each(|row| follow_row(row, programs, &mut tried))
}

/// A page, or a part of it, and what it says.
struct Page {
    name: &'static str,
    text: String,
    steps: Vec<Step>,
}

impl Page {
    fn read(name: &'static str) -> Result<Self> {
        let (file, title) = name.split_once('#').unwrap_or((name, ""));
        let text = fs::read_to_string(config::root().join(file))?;
        let text = part(&text, title).with_context(|| format!("there is no {name}"))?.to_owned();
        let steps = steps(file, &text);
        Ok(Self { name, text, steps })
    }

    /// The options with which it starts its demo.
    fn words_of_dev(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines().filter_map(|line| line.strip_prefix(DEV));
        lines
            .flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
            .filter(|word| *word != "--fresh")
    }
}

/// Follows the pages of a row at a demo, after those lines that the demo prints and that no demo before has printed.
fn follow_row(row: &Row, programs: &Programs, tried: &mut BTreeSet<&'static str>) -> Result<()> {
    let watch = Stopwatch::start();
    let pages: Vec<Page> = row.pages.iter().map(|page| Page::read(page)).collect::<Result<_>>()?;
    let steps = pages.iter().flat_map(|page| &page.steps);
    let lines: Vec<&str> = steps
        .filter_map(|step| if let Step::Run(lines) = step { Some(lines.as_str()) } else { None })
        .collect();
    let lines = [lines.join("\n"), row.before.to_owned()].join("\n");
    let mut terminal = Terminal::open(programs, &lines)?;
    let reporter = terminal.made(REPORTER)?;
    let mut words = vec!["--fresh", "--reporter-listen", &reporter];
    words.extend(LISTEN.iter().flat_map(|option| [option, "127.0.0.1:0"]));
    words.extend(row.dev);
    words.extend(pages.iter().flat_map(Page::words_of_dev));
    let starts_reporter = lines.lines().any(|line| command(line) == "meter-reporter");
    if lines.contains("\nmeter-reporter ") && !starts_reporter && !words.contains(&ON_PREMISE) {
        words.push(ON_PREMISE);
    }
    let demo =
        dev::start_in(terminal.folder.join("target").join("dev"), &dev::Options::of(&words)?, programs)?;
    for (title, line) in demo.lines().iter().filter(|(title, _)| tried.insert(title)) {
        let answer = terminal.answers(&format!("timeout {LINE_SECONDS} {line} || [ $? = 124 ]"))?;
        ensure!(!answer.is_empty() && !is_problem(&answer, title), "# {title}\n{line}\nanswered {answer}");
    }
    terminal.prepare(row)?;
    let mut reader = Reader { terminal, demo, listeners: Listeners::default() };
    if !row.beside.is_empty() {
        reader.listeners.listen(&reader.terminal, row.beside, Vec::new())?;
    }
    for page in &pages {
        eprintln!("{}, word for word:", page.name);
        let followed = reader.follow(&page.steps).and_then(|()| reader.listeners.check_alive());
        if let Err(error) = followed {
            let printed = reader.listeners.printed()?;
            bail!("{} is not true: {error:#}\nWhat was left running says:\n{printed}", page.name);
        }
    }
    let Reader { terminal, demo, listeners } = reader;
    drop(listeners);
    demo.stop()?;
    drop(terminal);
    eprintln!("  followed in {}", crate::clock::human(watch.elapsed()));
    Ok(())
}

/// Somebody who does what pages say.
struct Reader {
    terminal: Terminal,
    demo: dev::Demo,
    listeners: Listeners,
}

impl Reader {
    fn follow(&mut self, steps: &[Step]) -> Result<()> {
        let mut last = None;
        let mut steps = steps.iter().peekable();
        while let Some(step) = steps.next() {
            match step {
                Step::Run(lines) if is_own(lines) => last = None,
                Step::Run(lines) if lines.starts_with("sudo systemctl ") => {
                    lines.lines().try_for_each(|line| self.systemctl(line))?;
                    last = None;
                }
                Step::Run(lines) if stays(lines) => {
                    self.start(lines)?;
                    last = None;
                }
                Step::Run(lines) => {
                    let answer = self.terminal.answers(lines)?;
                    let is_shown = matches!(steps.peek(), Some(Step::Prints(_)));
                    ensure!(is_shown || !is_problem(&answer, lines), "{lines}\nanswered {answer}");
                    last = Some((lines, answer));
                }
                Step::Prints(told) => {
                    // What follows nothing that was run is a drawing.
                    if let Some((lines, answer)) = &last {
                        self.expect(lines, answer, told)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Does to services of this machine what would be done to units.
    fn systemctl(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().skip(2).collect();
        let (verb, units) = words.split_first().context("systemctl does something")?;
        for unit in units {
            let (_, lines) =
                UNITS.iter().find(|(name, _)| name == unit).with_context(|| format!("there is no {unit}"))?;
            match *verb {
                "stop" => self.end(&held(lines))?,
                "restart" => self.start(lines)?,
                _ => bail!("nobody knows what `{line}` does here"),
            }
        }
        Ok(())
    }

    /// Leaves lines running, in the place of what does the same.
    fn start(&mut self, lines: &str) -> Result<()> {
        let held = held(lines);
        self.end(&held)?;
        self.listeners.listen(&self.terminal, lines, held)
    }

    fn end(&mut self, held: &[String]) -> Result<()> {
        self.listeners.end(held);
        for (service, holds) in [("edge", &[EDGE_LISTEN, HOMES][..]), ("aggregator", &["meter serve"])] {
            if held.iter().any(|held| holds.contains(&held.as_str())) {
                self.demo.end(service)?;
            }
        }
        Ok(())
    }

    /// Compares what shown is with what came, or with what comes when the same is asked again, or elsewhere.
    fn expect(&self, lines: &str, answer: &str, told: &str) -> Result<()> {
        let mut differs = match compare(told, answer) {
            Ok(()) => return Ok(()),
            Err(differs) => differs,
        };
        if !told.starts_with("HTTP/") && !self.listeners.is_empty() {
            let watch = Stopwatch::start();
            while !watch.passed(TOLD_MAX) {
                if self.listeners.have_printed(told)? {
                    return Ok(());
                }
                pause();
            }
            bail!("shown is\n{told}\nwhich nobody printed who listens:\n{}", self.listeners.printed()?);
        }
        let status = |text: &str| text.lines().next().map(str::to_owned);
        if told.starts_with("HTTP/") && status(told) != status(answer) {
            for _ in 0..AGAIN_MAX {
                let answer = self.terminal.answers(lines)?;
                if status(told) == status(&answer) {
                    return compare(told, &answer).map_err(|differs| anyhow::anyhow!("{lines}\n{differs}"));
                }
                differs = format!("after {AGAIN_MAX} times the answer is still\n{answer}");
            }
            differs = format!("{differs}\nand it was at first\n{answer}");
        }
        bail!("{lines}\n{differs}")
    }
}

/// The last of some lines, as one line.
fn last_line(lines: &str) -> String {
    lines.replace("\\\n", " ").lines().last().unwrap_or_default().to_owned()
}

/// A line without its comment and the settings before it.
fn command(line: &str) -> &str {
    let mut line = line.split(" #").next().unwrap_or_default().trim();
    while let Some((word, rest)) = line.split_once(' ')
        && word
            .split_once('=')
            .is_some_and(|(name, _)| name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_'))
    {
        line = rest.trim_start();
    }
    line
}

/// Whether lines end with something that stays.
fn stays(lines: &str) -> bool {
    let line = last_line(lines);
    let command = command(&line);
    STAYS_ALONE.contains(&command) || STAYS.iter().any(|stays| command.starts_with(stays))
}

/// What no two programs can have at once, of those that lines start: addresses and folders, as they are called here.
fn held(lines: &str) -> Vec<String> {
    let line = HERE.iter().fold(last_line(lines), |line, (told, here)| line.replace(told, here));
    let command = command(&line);
    if STAYS_ALONE.contains(&command) {
        return vec![command.to_owned()];
    }
    if command.starts_with("envoy ") {
        return vec!["envoy".to_owned()];
    }
    let held = command.split_whitespace().filter_map(|word| {
        let (name, held) = word.split_once('=')?;
        ["edge", "homes"].contains(&name).then(|| held.to_owned())
    });
    held.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_known_and_so_is_whose_place_it_takes() {
        let edge = "METER_HOMES=serve workerd serve x.capnp \\\n  --socket-addr edge=127.0.0.1:8788 \\\n  --directory-path homes=/h";
        for (lines, holds) in [
            (edge, &["$HERE_HOMES", "/h"][..]),
            ("meter-reporter test\nmeter-reporter          # until it is told to stop", &["meter-reporter"]),
            ("COUNTERS=redis REDIS_URL=redis://x meter serve", &["meter serve"]),
            ("envoy --mode validate\nenvoy --config-path x.yaml", &["envoy"]),
            ("target/debug/meter webhooks listen", &[]),
        ] {
            assert!(stays(lines), "{lines}");
            assert_eq!(held(lines), holds, "{lines}");
        }
        for lines in [
            "meter-reporter test",
            "meter serve --help",
            "meter redis check",
            "envoy --mode validate",
            "true",
        ] {
            assert!(!stays(lines), "{lines}");
        }
    }
}
