//! `cargo xtask readme`: does what README, the tutorial, the pages on moving here and what operators do at a meter that runs say,
//! word for word, and compares the answers.
//!
//! Every block of shell lines is run as it stands. The block that follows it is what it answers: the same header lines,
//! the same fields and the same sentences, with other numbers. An answer that follows another one comes when the same
//! is asked again. It must never touch the data of `cargo xtask dev`.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::clock::{Stopwatch, pause};
use crate::native::Programs;
use crate::process::{STOP_GRACE, spawn_in_group, stop};
use crate::{apt, config, dev, native};

/// The programs that the lines call, built as the tests build them.
const PROGRAMS: [&str; 6] = ["--workspace", "--exclude", "xtask", "--exclude", "sim", "--bins"];

/// An answer that comes when something is sent again came after fewer than this many.
const AGAIN_MAX: u32 = 200;

/// How soon what was told elsewhere is there.
const TOLD_MAX: Duration = Duration::from_secs(30);

/// A line that never ends by itself, such as a stream, has shown by then that it works.
const LINE_SECONDS: &str = "5";

/// Where the demo listens, so that it stands in nobody's way.
const LISTEN: [&str; 4] = ["--edge-listen", "--aggregator-listen", "--upstream-listen", "--stripe-listen"];

/// The pages that are followed, one after another; each row has a demo of its own. What stands behind `#` is the heading of
/// the part of a page that is followed alone, where other parts are of other machines.
const PAGES: [&[&str]; 5] = [
    &["README.md"],
    &["docs/tutorial.md"],
    &["docs/migrate.md", "docs/migrate-from-unkey.md", "docs/migrate-from-openmeter.md"],
    &["docs/migrate-from-redis-counters.md"],
    &[
        "docs/operations.md#Rotating keys without a refused request",
        "docs/operations.md#Changing plans",
        "docs/operations.md#Contracts and on-premise reporters",
        "docs/operations.md#Payments",
        "docs/on-premise.md#Sign-off, in an hour",
        "docs/on-premise.md#Without a way out",
        "docs/operations.md#Backup and restore",
        "docs/deploy.md#Backup, and its drill",
    ],
];

/// What the lines find of the repository, beside what was built.
const FOUND: [&str; 2] = ["shared", "deploy"];

/// What the readers of a page that asks a Redis of theirs have counted there.
const COUNTERS: &str = "redis-cli set \"quota:acme:$(date -u +%Y-%m)\" 4200; redis-cli set credits:acme 900";

/// What begins a page's demo.
const DEV: &str = "cargo xtask dev";

/// Starts a meter on premise beside it, for pages that ask one.
const ON_PREMISE: &str = "--on-prem";

/// Something that a page says.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Shell lines.
    Run(String),
    /// What the lines before it print.
    Prints(String),
}

/// Builds what is called, and follows the pages.
pub(crate) fn run() -> Result<()> {
    follow(&native::build("programs", &PROGRAMS)?)
}

/// Follows the pages with these programs.
pub(crate) fn follow(programs: &Programs) -> Result<()> {
    for pages in PAGES {
        let texts: Vec<(&str, String)> = pages
            .iter()
            .map(|page| {
                let (file, title) = page.split_once('#').unwrap_or((page, ""));
                let text = fs::read_to_string(config::root().join(file))?;
                let text = part(&text, title).with_context(|| format!("there is no {page}"))?;
                Ok((*page, text.to_owned()))
            })
            .collect::<Result<_>>()?;
        let asks_redis = texts.iter().any(|(_, text)| text.contains("redis-cli"));
        let redis = asks_redis.then(Redis::start).transpose()?;
        let terminal = Terminal::open(programs, redis.as_ref())?;
        if redis.is_some() {
            terminal.answers(COUNTERS)?;
        }
        let reporter = kit::ports::free()?.to_string();
        let mut words = vec!["--fresh", "--reporter-listen", &reporter];
        words.extend(LISTEN.iter().flat_map(|option| [option, "127.0.0.1:0"]));
        words.extend(texts.iter().flat_map(|(_, text)| words_of_dev(text)));
        let asks_reporter = texts.iter().any(|(_, text)| text.contains("\nmeter-reporter "));
        if asks_reporter && !words.contains(&ON_PREMISE) {
            words.push(ON_PREMISE);
        }
        let demo =
            dev::start_in(terminal.folder.join("target").join("dev"), &dev::Options::of(&words)?, programs)?;
        for (title, line) in demo.lines() {
            let answer = terminal.answers(&format!("timeout {LINE_SECONDS} {line} || [ $? = 124 ]"))?;
            ensure!(
                !answer.is_empty() && !is_problem(&answer, title),
                "# {title}\n{line}\nanswered {answer}"
            );
        }
        for (page, text) in &texts {
            eprintln!("{page}, word for word:");
            follow_page(&terminal, text).with_context(|| format!("{page} is not true"))?;
        }
        demo.stop()?;
    }
    Ok(())
}

/// The options with which a page starts its demo.
fn words_of_dev(page: &str) -> Vec<&str> {
    let lines = page.lines().filter_map(|line| line.strip_prefix(DEV));
    lines
        .flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
        .filter(|word| *word != "--fresh")
        .collect()
}

fn follow_page(terminal: &Terminal, page: &str) -> Result<()> {
    let mut last = None;
    let mut listeners = Listeners(Vec::new());
    let mut steps = steps(page).into_iter().peekable();
    while let Some(step) = steps.next() {
        match step {
            // These lines are what runs this.
            Step::Run(lines) if lines.contains("cargo xtask") => last = None,
            Step::Run(lines) if lines.contains("listen") => {
                listeners.0.push(terminal.listen(&lines)?);
                last = None;
            }
            Step::Run(lines) => {
                let answer = terminal.answers(&lines)?;
                let is_shown = matches!(steps.peek(), Some(Step::Prints(_)));
                ensure!(is_shown || !is_problem(&answer, &lines), "{lines}\nanswered {answer}");
                last = Some((lines, answer));
            }
            Step::Prints(told) => {
                // What follows nothing that was run is a drawing.
                if let Some((lines, answer)) = &last {
                    expect(terminal, lines, answer, &told, &listeners)?;
                }
            }
        }
    }
    Ok(())
}

/// Compares what shown is with what came, or with what comes when the same is asked again, or elsewhere.
fn expect(terminal: &Terminal, lines: &str, answer: &str, told: &str, listeners: &Listeners) -> Result<()> {
    let mut differs = match compare(told, answer) {
        Ok(()) => return Ok(()),
        Err(differs) => differs,
    };
    if !told.starts_with("HTTP/") && !listeners.0.is_empty() {
        let watch = Stopwatch::start();
        while !watch.passed(TOLD_MAX) {
            if listeners.have_printed(told)? {
                return Ok(());
            }
            pause();
        }
        bail!("shown is\n{told}\nwhich nobody printed who listens:\n{}", listeners.printed()?);
    }
    let status = |text: &str| text.lines().next().map(str::to_owned);
    if told.starts_with("HTTP/") && status(told) != status(answer) {
        for _ in 0..AGAIN_MAX {
            let answer = terminal.answers(lines)?;
            if status(told) == status(&answer) {
                return compare(told, &answer).map_err(|differs| anyhow::anyhow!("{lines}\n{differs}"));
            }
            differs = format!("after {AGAIN_MAX} times the answer is still\n{answer}");
        }
    }
    bail!("{lines}\n{differs}")
}

/// A terminal in a folder that looks like the repository after `cargo xtask dev`.
struct Terminal {
    folder: PathBuf,
    /// What comes before all lines.
    before: String,
}

impl Terminal {
    fn open(programs: &Programs, redis: Option<&Redis>) -> Result<Self> {
        let folder = config::target().join("readme");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(folder.join("target"))?;
        symlink(programs.folder_of("meter")?, folder.join("target").join("debug"))?;
        for found in FOUND {
            symlink(config::root().join(found), folder.join(found))?;
        }
        // Pages for those who have it installed call it by its name.
        let mut before =
            "set -a; [ ! -f target/dev/env ] || . target/dev/env; PATH=$PWD/target/debug:$PATH; set +a\n"
                .to_owned();
        if let Some(Redis { port, .. }) = redis {
            before.push_str(&format!("redis-cli() {{ command redis-cli -p {port} \"$@\"; }}\n"));
        }
        Ok(Self { folder, before })
    }

    /// A shell that stops at the first line that fails, with the settings that README has loaded once.
    fn shell(&self, lines: &str) -> Command {
        let mut shell = Command::new("bash");
        shell.args(["-e", "-o", "pipefail", "-c"]);
        shell.arg(format!("{}{lines}", self.before));
        shell.current_dir(&self.folder);
        shell
    }

    fn answers(&self, lines: &str) -> Result<String> {
        let answer = self.shell(lines).output()?;
        let text = String::from_utf8(answer.stdout)?.replace("\r\n", "\n");
        let said = String::from_utf8_lossy(&answer.stderr);
        ensure!(answer.status.success(), "{lines}\nend with {}\n{text}{said}", answer.status);
        Ok(text)
    }

    /// Leaves something running, and says where what it prints is.
    fn listen(&self, lines: &str) -> Result<Listener> {
        let path = self.folder.join("listener");
        let file = File::create(&path)?;
        let mut shell = self.shell(lines);
        shell.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let listener = Listener { child: spawn_in_group(&mut shell)?, path };
        let watch = Stopwatch::start();
        while fs::read(&listener.path)?.is_empty() {
            ensure!(!watch.passed(TOLD_MAX), "{lines}\nprint nothing");
            pause();
        }
        Ok(listener)
    }
}

/// A command that stays, such as one that prints what comes.
struct Listener {
    child: Child,
    path: PathBuf,
}

struct Listeners(Vec<Listener>);

impl Listeners {
    fn have_printed(&self, told: &str) -> Result<bool> {
        let printed = self.printed()?;
        Ok(told.lines().all(|told| printed.lines().any(|line| plain(line) == plain(told))))
    }

    fn printed(&self) -> Result<String> {
        self.0.iter().map(|listener| Ok(fs::read_to_string(&listener.path)?)).collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        stop(&mut self.child, STOP_GRACE).ok();
    }
}

/// A Redis with counters of somebody's own.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn start() -> Result<Self> {
        let server = apt::alias("redis-server", ("redis-check-rdb", "redis-tools"))?;
        let address = kit::ports::free()?;
        let mut command = Command::new(server);
        command.args(["--port", &address.port().to_string(), "--save", "", "--appendonly", "no"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let redis = Self { child: spawn_in_group(&mut command)?, port: address.port() };
        let watch = Stopwatch::start();
        while TcpStream::connect(address).is_err() {
            ensure!(!watch.passed(TOLD_MAX), "the Redis does not listen at {address}");
            pause();
        }
        Ok(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        stop(&mut self.child, STOP_GRACE).ok();
    }
}

/// The part of a page below a heading of the second level; all of it where no heading is named.
fn part<'page>(page: &'page str, title: &str) -> Option<&'page str> {
    if title.is_empty() {
        return Some(page);
    }
    let (_, below) = page.split_once(&format!("\n## {title}\n"))?;
    below.split("\n## ").next()
}

/// The shell lines of a page and what it shows that they print, in order. Code of other languages has tests of its own, and
/// what is marked `sh,later` is for a day that has not come.
fn steps(page: &str) -> Vec<Step> {
    let fenced = page.split("```").skip(1).step_by(2);
    fenced
        .filter_map(|block| match block.split_once('\n').unwrap_or((block, "")) {
            ("sh", lines) => Some(Step::Run(outdented(lines).trim().to_owned())),
            ("" | "json", text) => Some(Step::Prints(text.trim().to_owned())),
            _ => None,
        })
        .collect()
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

/// Whether lines that should have been served were refused. Where a status is named, it is meant.
fn is_problem(answer: &str, said: &str) -> bool {
    let body = answer.rsplit("\n\n").next().unwrap_or(answer);
    let problem = serde_json::from_str::<Value>(body)
        .is_ok_and(|body| body.get("status").and_then(Value::as_u64) >= Some(400));
    problem && !["401", "402", "429"].iter().any(|status| said.contains(status))
}

/// Whether an answer is what was told, but for numbers and names that are made anew each time.
fn compare(told: &str, answer: &str) -> Result<(), String> {
    let (told_head, told_body) = parts(told);
    let (head, body) = parts(answer);
    for line in told_head.lines() {
        if !head.lines().any(|answered| plain(answered) == plain(line)) {
            return Err(format!("shown is the line `{line}`, and the answer is\n{answer}"));
        }
    }
    for line in head.lines().filter(|line| !told_head.is_empty() && is_ours(line)) {
        if !told_head.lines().any(|told| plain(told) == plain(line)) {
            return Err(format!("not shown is the line `{line}`"));
        }
    }
    // Text may be broken into lines where it is read.
    let told_body = told_body.replace("\n ", " ");
    // Of several lines the last one's answer is shown.
    let answered = body.lines().last().unwrap_or_default();
    match (serde_json::from_str::<Value>(&told_body), serde_json::from_str::<Value>(answered)) {
        (Ok(told), Ok(body)) => same("", &told, &body),
        (Err(_), Err(_)) if plain(&told_body) == plain(body) => Ok(()),
        _ => Err(format!("shown is\n{told_body}\nand the answer is\n{body}")),
    }
}

/// The header lines, if there are any, and the rest.
fn parts(text: &str) -> (&str, &str) {
    match text.split_once("\n\n") {
        Some((head, body)) if head.starts_with("HTTP/") => (head, body.trim()),
        _ if text.starts_with("HTTP/") => (text, ""),
        _ => ("", text.trim()),
    }
}

/// Whether a header line is what a reader would want to know about.
fn is_ours(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["palveron-", "ratelimit", "retry-after", "content-type"].iter().any(|start| line.starts_with(start))
}

/// A line without what differs from one time to the next.
fn plain(line: &str) -> String {
    // Which place has decided differs too.
    let line = if line.starts_with("Server-Timing: ") { "Server-Timing:" } else { line };
    let mut plain = String::new();
    for word in line.split_whitespace() {
        let word = word.split_once("evt_").map_or(word, |(before, _)| before);
        plain.push(' ');
        for letter in word.chars() {
            match letter {
                '0'..='9' if plain.ends_with('0') => {}
                '0'..='9' => plain.push('0'),
                letter => plain.push(letter),
            }
        }
    }
    plain
}

/// Whether two answers have the same fields and sentences; `place` is where in them.
fn same(place: &str, told: &Value, answer: &Value) -> Result<(), String> {
    match (told, answer) {
        (Value::Object(told), Value::Object(answer)) => {
            let (mut names, mut answered): (Vec<_>, Vec<_>) =
                (told.keys().collect(), answer.keys().collect());
            names.sort();
            answered.sort();
            if names != answered {
                return Err(format!("shown is {names:?} at `{place}`, and the answer has {answered:?}"));
            }
            told.iter().try_for_each(|(name, told)| same(&format!("{place}/{name}"), told, &answer[name]))
        }
        (Value::Array(told), Value::Array(answer)) if told.len() == answer.len() => {
            // They are in order of numbers, which differ.
            let is_there = |told: &&Value| answer.iter().any(|answer| same(place, told, answer).is_ok());
            match told.iter().find(|told| !is_there(told)) {
                Some(told) => Err(format!("shown is {told} at `{place}`, which is not in {answer:?}")),
                None => Ok(()),
            }
        }
        (Value::String(told), Value::String(answer)) if plain(told) == plain(answer) => Ok(()),
        (Value::Number(_), Value::Number(_)) => Ok(()),
        (told, answer) if told == answer => Ok(()),
        _ => Err(format!("shown is {told} at `{place}`, and the answer has {answer}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str =
        "HTTP/1.1 200 OK\nRateLimit: \"rpm\";r=59;t=21\n\n{\"agent\":\"bot\",\"says\":\"wait\n 10 s\"}";

    #[test]
    fn a_page_is_what_is_run_and_what_is_shown() {
        let page = "Do\n```sh\ntrue\n```\nwhich says\n\n```json\n{}\n```\n";
        assert_eq!(steps(page), [Step::Run("true".to_owned()), Step::Prints("{}".to_owned())]);
        assert_eq!(steps("```sh,later\nfalse\n```\n```ts\nlet a;\n```"), []);
    }

    #[test]
    fn a_part_of_a_page_ends_where_the_next_begins() {
        let page = "# Page\n\n## One\n\na\n\n### Of one\n\nb\n\n## Two\n\nc\n";
        assert_eq!(part(page, "One"), Some("\na\n\n### Of one\n\nb\n"));
        assert_eq!(
            (part(page, "Two"), part(page, "Three"), part(page, "")),
            (Some("\nc\n"), None, Some(page))
        );
    }

    #[test]
    fn other_numbers_are_the_same_answer_and_other_words_are_not() {
        let with = |from: &str, to: &str| TOLD.replace("\n 10 s", " 10 s").replace(from, to);
        assert_eq!(compare(TOLD, &with("59;t=21", "7;t=1")), Ok(()));
        assert_eq!(compare(TOLD, &with("10 s", "2 s")), Ok(()));
        assert_eq!(compare(TOLD, &with("OK\n", "OK\nDate: now\n")), Ok(()));
        for (from, to) in [
            ("200 OK", "402 Payment Required"),
            ("rpm", "month"),
            ("OK\n", "OK\nPalveron-Source: included\n"),
            ("bot", "other"),
            ("wait", "go"),
            ("\"agent\":\"bot\",", ""),
            ("{", "{\"more\":1,"),
        ] {
            assert!(compare(TOLD, &with(from, to)).is_err(), "{from} → {to}");
        }
    }

    #[test]
    fn what_is_refused_is_no_answer_unless_it_is_meant() {
        let refused = "HTTP/1.1 401 Unauthorized\n\n{\"status\":401}";
        assert!(is_problem(refused, "usage") && !is_problem(refused, "without a key: 401"));
        assert!(is_problem("{\"status\":422}", "usage") && !is_problem("{\"status\":\"ok\"}", "usage"));
    }
}
