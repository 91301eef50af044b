//! Runs other programs: quietly with progress, or visibly; and ends them, whole process groups at a time.
//!
//! It must never leave a program behind that it started: each gets a process group of its own, so that Ctrl-C
//! reaches only xtask, and xtask ends the group.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::clock::{Stopwatch, pause};
use crate::progress::Progress;

/// How long a program may take to stop after SIGTERM before it is killed.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);

/// Set by Ctrl-C, SIGTERM and SIGHUP; every loop that waits looks at it.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The error of work that was stopped by a signal.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("stopped by a signal")
    }
}

impl std::error::Error for Interrupted {}

/// From here on a signal sets a mark instead of ending xtask at once.
pub(crate) fn catch_signals() -> Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst)).context("cannot catch signals")
}

/// Whether a signal has come.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Runs a program that has something to compute; shows one line of progress, and its output only if it fails.
/// Returns what it wrote to standard output.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<String> {
    let mut progress = Progress::start(what);
    let finished = watch(command, None, &mut |last_line| progress.tick(last_line))?;
    match finished {
        Finished { status: Some(status), stdout, .. } if status.success() => {
            progress.done();
            Ok(stdout)
        }
        Finished { status, stdout, stderr } => {
            progress.failed();
            eprintln!("{}{}", stdout_worth_showing(&stdout), stderr);
            Err(failure(what, command, status))
        }
    }
}

/// Runs a program whose output is the point, such as a test run: it writes straight to the terminal.
pub(crate) fn run_visible(what: &str, command: &mut Command) -> Result<()> {
    let mut child = spawn_in_group(command.stdin(Stdio::null()))?;
    loop {
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(()) } else { Err(failure(what, command, Some(status))) };
        }
        if interrupted() {
            stop(&mut child, STOP_GRACE)?;
            return Err(Interrupted.into());
        }
        pause();
    }
}

/// Asks a program a quick question: its output if it succeeds, nothing if it is missing or fails.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// What became of a program that [`watch`] ran; no status means that it was given up.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How it ended, unless it was given up.
    pub(crate) status: Option<ExitStatus>,
    /// All of its standard output.
    pub(crate) stdout: String,
    /// All of its standard error.
    pub(crate) stderr: String,
}

/// Runs a program with its output caught. `patience` is asked again and again with the time that has passed;
/// when it says false the program is ended. `tick` sees the last line of standard error.
pub(crate) fn watch(
    command: &mut Command,
    mut patience: Option<&mut dyn FnMut(Duration) -> bool>,
    tick: &mut dyn FnMut(&str),
) -> Result<Finished> {
    let watch = Stopwatch::start();
    let mut child =
        spawn_in_group(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let stdout = child.stdout.take().map(|pipe| collect(pipe, Arc::default()));
    let last_line = Arc::new(Mutex::new(String::new()));
    let stderr = child.stderr.take().map(|pipe| collect(pipe, Arc::clone(&last_line)));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if interrupted() {
            stop(&mut child, STOP_GRACE)?;
            return Err(Interrupted.into());
        }
        if patience.as_mut().is_some_and(|patience| !patience(watch.elapsed())) {
            stop(&mut child, Duration::from_secs(1))?;
            break None;
        }
        if let Ok(line) = last_line.lock() {
            tick(&line);
        }
        pause();
    };
    let text =
        |reader: Option<JoinHandle<String>>| reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    Ok(Finished { status, stdout: text(stdout), stderr: text(stderr) })
}

/// Starts a program in a process group of its own.
pub(crate) fn spawn_in_group(command: &mut Command) -> Result<Child> {
    command
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))
}

/// Ends a program and its group: politely, then after `grace` with SIGKILL.
pub(crate) fn stop(child: &mut Child, grace: Duration) -> Result<()> {
    let group = group_of(child.id())?;
    signal_group(group, Signal::SIGTERM);
    let watch = Stopwatch::start();
    while child.try_wait()?.is_none() {
        if watch.passed(grace) {
            signal_group(group, Signal::SIGKILL);
            child.wait()?;
            break;
        }
        pause();
    }
    // Whatever the program itself left running in its group ends with it.
    signal_group(group, Signal::SIGKILL);
    Ok(())
}

/// The process group that a child of ours leads.
pub(crate) fn group_of(pid: u32) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(pid).context("a process id beyond the system's range")?))
}

/// Sends a signal to a group; one that has already gone is no error.
pub(crate) fn signal_group(group: Pid, signal: Signal) {
    killpg(group, signal).ok();
}

/// Fails unless a C compiler's driver is there: both Rust and SQLite need it to link and to build.
pub(crate) fn require_cc() -> Result<()> {
    if crate::config::find_program("cc").is_some() {
        return Ok(());
    }
    bail!(
        "there is no `cc` in PATH, and Rust needs it to link.\n\
         Debian and Ubuntu: sudo apt-get install build-essential\n\
         Fedora: sudo dnf install gcc        macOS: xcode-select --install"
    )
}

/// Reads a pipe to its end in a thread, so that the program never waits for us.
fn collect(pipe: impl Read + Send + 'static, last_line: Arc<Mutex<String>>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut all = String::new();
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            all.push_str(&line);
            all.push('\n');
            if let Ok(mut last_line) = last_line.lock() {
                line.trim().clone_into(&mut last_line);
            }
        }
        all
    })
}

/// Cargo's JSON messages mean nothing to people; everything else may explain a failure.
fn stdout_worth_showing(stdout: &str) -> &str {
    if stdout.starts_with('{') { "" } else { stdout }
}

/// The error of a program that failed, with the command line to try by hand.
fn failure(what: &str, command: &Command, status: Option<ExitStatus>) -> anyhow::Error {
    let how = status.map_or_else(|| "given up".to_owned(), |status| status.to_string());
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    anyhow!("{what} failed ({how}); the command was\n  {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// A process that has ended is gone, or is a zombie until somebody collects it.
    fn has_ended(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
    }

    #[test]
    fn a_program_that_is_given_up_ends_with_all_that_it_started() {
        let note = std::env::temp_dir().join(format!("xtask-{}-child", std::process::id()));
        let script = format!("sleep 600 & echo $! > '{0}.draft'; mv '{0}.draft' '{0}'; wait", note.display());
        // It is given up as soon as it has started its child.
        let mut patience = |_elapsed| !note.exists();
        let finished = watch(&mut shell(&script), Some(&mut patience), &mut |_| {}).unwrap();
        assert!(finished.status.is_none());
        let child = std::fs::read_to_string(&note).unwrap();
        let child = child.trim();
        std::fs::remove_file(note).unwrap();
        let watch = Stopwatch::start();
        while !has_ended(child) {
            assert!(!watch.passed(STOP_GRACE), "{child} goes on");
            pause();
        }
    }

    #[test]
    fn both_outputs_are_caught_whole() {
        let mut command = shell("for n in 1 2 3; do echo out $n; echo err $n >&2; done");
        let finished = watch(&mut command, None, &mut |_| {}).unwrap();
        assert!(finished.status.is_some_and(|status| status.success()));
        assert_eq!(finished.stdout, "out 1\nout 2\nout 3\n");
        assert_eq!(finished.stderr, "err 1\nerr 2\nerr 3\n");
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = run("the step", &mut shell("exit 7")).unwrap_err().to_string();
        for part in ["the step failed", "7", "sh -c exit 7"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
        assert!(run("a missing program", &mut Command::new("/no/such/program")).is_err());
        assert_eq!(ask(&mut shell("exit 1")), None);
        assert_eq!(ask(&mut shell("echo yes")).as_deref(), Some("yes\n"));
    }

    #[test]
    fn a_program_that_ignores_the_request_to_stop_is_killed() {
        let mut stubborn = shell("trap '' TERM; while :; do sleep 1; done");
        let mut child = spawn_in_group(stubborn.stdin(Stdio::null())).unwrap();
        stop(&mut child, Duration::from_millis(200)).unwrap();
        assert!(has_ended(&child.id().to_string()));
    }
}
