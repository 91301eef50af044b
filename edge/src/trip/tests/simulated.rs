//! How often the isolates of one project that serve by leases come before each other where each has a machine of its own:
//! real holders, real trips and a real server with the real script, in a time of their own.
//!
//! How long a way, a script, a disk and a decision take is said here and not measured; all else is as it runs. What a
//! worker does between, as `redis.js` has it, is done over: naps, one connection for each trip, pauses.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use shared::cell::CellKey;
use shared::lease::{Answer, Holder, WaiterId};

use super::virtual_time::Stage;
use super::*;

const ISOLATES: u32 = 20;
/// Between two requests of an isolate, in microseconds: from none to twice as much, so that each has 250 in a second.
const GAP_US: u64 = 4_000;
/// Over the end of a minute, in microseconds.
const LENGTH_US: u64 = 70_000_000;
/// What comes before is told apart: all leases are new.
const COLD_US: u64 = 10_000_000;
/// For how long what is owed may be told after that.
const REST_US: u64 = 30_000_000;
/// Requests per minute, a fifth more than there are.
const RPM: u32 = 360_000;
/// As in `redis.js`, in microseconds.
const NAP_US: (u64, u64) = (2_000, 15_000);
/// How often the aggregator asks who is due, in microseconds.
const POLL_US: u64 = 10_000;
/// How long the books take to read a policy and to merge cells, in microseconds.
const BOOKS_US: (u64, u64) = (2_000, 5_000);
/// When a home is looked at that nobody has asked for, in milliseconds.
const SWEEP_MS: u64 = 600_000;

/// How long what takes, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    /// From a process to the server, or back.
    way: u64,
    /// A command there.
    command: u64,
    /// A sync of its disk, for which all others wait.
    disk: u64,
    /// Reading all rows, deciding and packing what is written.
    decision: u64,
}

/// A server of which commands are asked one after the other.
struct Asked {
    stage: Stage,
    stream: RefCell<TcpStream>,
    busy_until: Cell<u64>,
    lengths: Lengths,
}

impl Asked {
    /// What it answers to these bytes, once that is here.
    async fn answers(&self, sent: &[u8]) -> Vec<u8> {
        let stage = &self.stage;
        stage.wait(self.lengths.way).await;
        while self.busy_until.get() > stage.now_us() {
            stage.wait(self.busy_until.get() - stage.now_us()).await;
        }
        let (bytes, replies) = self.really(sent);
        let is_written = |reply: &Value| matches!(reply, Value::Array(parts) if matches!(parts.as_slice(), [Value::Int(1), Value::BulkString(_)]));
        let count = u64::try_from(replies.len()).unwrap();
        let disk = if replies.iter().any(is_written) { self.lengths.disk } else { 0 };
        let takes = count * self.lengths.command + disk;
        self.busy_until.set(stage.now_us() + takes);
        stage.wait(takes + self.lengths.way).await;
        bytes
    }

    fn really(&self, sent: &[u8]) -> (Vec<u8>, Vec<Value>) {
        let (mut parser, mut rest, mut count) = (redis::Parser::new(), sent, 0);
        while parser.parse_value(&mut rest).is_ok() {
            count += 1;
        }
        let stream = &mut *self.stream.borrow_mut();
        stream.write_all(sent).unwrap();
        let (mut bytes, mut replies, mut piece) = (Vec::new(), Replies::default(), [0; 65_536]);
        loop {
            if let Some(all) = replies.next(count).unwrap() {
                return (bytes, all);
            }
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0, "the server has gone");
            replies.take(&piece[..count]);
            bytes.extend_from_slice(&piece[..count]);
        }
    }

    async fn tells(&self, commands: &[Cmd]) -> Vec<Value> {
        let bytes: Vec<u8> = commands.iter().flat_map(Cmd::get_packed_command).collect();
        let mut replies = Replies::default();
        replies.take(&self.answers(&bytes).await);
        replies.next(commands.len()).unwrap().unwrap()
    }
}

/// An isolate.
struct Process {
    asked: Rc<Asked>,
    server: Server_,
    questions: Questions,
    holder: RefCell<Holder>,
    waiting: RefCell<Vec<WaiterId>>,
    random: RefCell<Stream>,
    served: Cell<u64>,
    refused: RefCell<BTreeMap<String, u64>>,
}

impl Process {
    fn take(&self, answer: Answer) {
        match answer {
            Answer::Allow => self.served.set(self.served.get() + 1),
            Answer::Wait(id) => self.waiting.borrow_mut().push(id),
            Answer::Deny { .. } | Answer::AtHome | Answer::Unavailable => {
                *self.refused.borrow_mut().entry(format!("{answer:?}")).or_default() += 1;
            }
        }
    }

    /// Looks after those who wait, and sends what is due.
    fn look_after(self: &Rc<Self>) {
        let stage = &self.asked.stage;
        let waited = std::mem::take(&mut *self.waiting.borrow_mut());
        for id in waited {
            let answer = self.holder.borrow_mut().outcome(stage.now(), id);
            self.take(answer);
        }
        let contacts = self.holder.borrow_mut().contacts(stage.now());
        for contact in contacts {
            stage.begin(contacts_home(Rc::clone(self), contact));
        }
    }
}

/// Has requests, and then gives everything back.
async fn serve(process: Rc<Process>) {
    let stage = &process.asked.stage;
    let ask = ask_for_one();
    while stage.now_us() < LENGTH_US {
        let pause = process.random.borrow_mut().between(0, 2 * GAP_US);
        stage.wait(pause).await;
        let answer = process.holder.borrow_mut().decide(stage.now(), &ask);
        process.take(answer);
        process.look_after();
    }
    process.holder.borrow_mut().close();
    while !process.holder.borrow().is_drained() {
        process.look_after();
        stage.wait(GAP_US).await;
    }
}

/// As `answered` in `redis.js`.
async fn contacts_home(process: Rc<Process>, contact: Contact) {
    let stage = &process.asked.stage;
    let bytes = json::write(&contact).len();
    let question = (Question::Contact(Box::new(contact)), bytes);
    let of = (process.server.clone(), Questions::clone(&process.questions));
    let asking = Asking::of(of, home(), question, stage.now());
    let mut nap = NAP_US.0;
    loop {
        match asking.look(true, stage.now().as_ms()) {
            2 => break,
            1 => {
                let words = [(); 4].map(|()| {
                    u32::try_from(process.random.borrow_mut().between(0, u32::MAX.into())).unwrap()
                });
                let mut trip = asking.trip(&words, stage.now().as_ms());
                travel(&process, &mut trip).await;
                nap = NAP_US.0;
            }
            _ => {
                stage.wait(nap).await;
                nap = (nap * 3).div_euclid(2).min(NAP_US.1);
            }
        }
    }
    if let Ok(reply) = asking.reply()
        && let ContactReply::Reply(reply) = json::read(&reply).unwrap()
    {
        process.holder.borrow_mut().receive(stage.now(), *reply);
        process.look_after();
    }
}

/// As `travel` and `visit` in `redis.js`.
async fn travel(process: &Process, trip: &mut Trip) {
    let Asked { stage, lengths, .. } = &*process.asked;
    // A connection is made first.
    stage.wait(2 * lengths.way).await;
    loop {
        let bytes = process.asked.answers(&trip.sent()).await;
        let seed = process.random.borrow_mut().bits();
        match trip.take(&bytes, seed, stage.now().as_ms()).unwrap() {
            SEND => {}
            PAUSE => {
                stage.wait(u64::from(trip.pause()) * 1_000).await;
                trip.again();
            }
            DONE => return,
            come_to => panic!("it came to {come_to}"),
        }
        stage.wait(lengths.decision).await;
    }
}

/// The aggregator and its books, as `aggregator/src/jobs/redis_homes.rs` has them.
struct Books {
    asked: Rc<Asked>,
    merged: RefCell<BTreeMap<CellKey, Units>>,
    tends: Cell<bool>,
    again: Cell<bool>,
    looks: Cell<u64>,
    conflicts: Cell<u64>,
}

async fn ask_who_is_due(books: Rc<Books>) {
    let stage = &books.asked.stage;
    let due = Group::of(&home()).due();
    loop {
        stage.wait(POLL_US).await;
        let now = stage.now();
        let mut look = cmd("ZRANGEBYSCORE");
        look.arg(&due).arg("-inf").arg(now.as_ms());
        let is_due = matches!(&books.asked.tells(&[look]).await[0], Value::Array(homes) if !homes.is_empty());
        if !is_due {
            continue;
        }
        let mut next = cmd("ZADD");
        next.arg(&due).arg(now.plus_ms(SWEEP_MS).as_ms()).arg(home().to_string());
        books.asked.tells(&[next]).await;
        if books.tends.replace(true) {
            books.again.set(true);
        } else {
            stage.begin(tend(Rc::clone(&books)));
        }
    }
}

async fn tend(books: Rc<Books>) {
    loop {
        while !look_after_home(&books).await {}
        if !books.again.replace(false) {
            return books.tends.set(false);
        }
    }
}

/// Brings what was counted into the books, and says so; whether nobody came before.
async fn look_after_home(books: &Books) -> bool {
    let Books { asked, .. } = books;
    let stage = &asked.stage;
    books.looks.set(books.looks.get() + 1);
    let fresh = || panic!("the home is there");
    let nonce = |what: &str| format!("look-{}-{}-{what}", books.looks.get(), stage.now_us());
    let snapshot = stored(asked).await;
    stage.wait(BOOKS_US.0).await;
    let seen = snapshot.seen();
    let mut copy = Copy::read(snapshot.stored, fresh, stage.now()).unwrap();
    let (round, commit) = copy.act(|home| home.flush(stage.now()));
    if let Some(round) = &round {
        if !writes(books, &write(&home(), &seen, &commit, &nonce("flush"))).await {
            return false;
        }
        for cell in round.messages.iter().flat_map(|flush| &flush.cells) {
            let mut merged = books.merged.borrow_mut();
            let units = merged.entry(cell.key.clone()).or_default();
            *units = (*units).max(cell.counts.units);
        }
        stage.wait(BOOKS_US.1).await;
    }
    for turn in 0.. {
        copy.reread(stored(asked).await.stored, fresh, stage.now()).unwrap();
        let ((), mut commit) = copy.act(|home| {
            if let Some(round) = &round {
                home.flushed(stage.now(), round.seq);
            }
        });
        let looked = Snapshot::looks_row().to_owned();
        commit.rows.push(shared::home::Row { key: looked, value: Some(books.looks.get().to_string()) });
        if writes(books, &write(&home(), &seen, &commit, &nonce(&format!("ack-{turn}")))).await {
            break;
        }
    }
    true
}

async fn stored(asked: &Asked) -> Snapshot {
    let answer = asked.tells(&[read(&home())]).await.remove(0);
    let Told::Rows(snapshot) = Told::read(answer).unwrap() else { panic!("a read") };
    snapshot
}

async fn writes(books: &Books, command: &Cmd) -> bool {
    let answer = books.asked.tells(&[command.clone(), Proof::Waits.question(0, 2_500)]).await.remove(0);
    let is_written = matches!(Told::read(answer), Ok(Told::Written(_)));
    books.conflicts.set(books.conflicts.get() + u64::from(!is_written));
    is_written
}

/// What came of it.
#[derive(Debug, Default)]
struct Came {
    served: u64,
    refused: BTreeMap<String, u64>,
    /// Contacts and conflicts, while leases were new and after.
    cold: [u64; 2],
    warm: [u64; 2],
    /// How often the aggregator has looked after the home, and how often others came before it.
    looks: [u64; 2],
    billed: u64,
}

fn counted(processes: &[Rc<Process>]) -> [u64; 2] {
    processes
        .iter()
        .map(|process| process.questions.borrow().counts)
        .fold([0; 2], |sum, counts| [sum[0] + counts.questions, sum[1] + counts.conflicts])
}

fn simulate(lengths: Lengths) -> Came {
    let server = Server::start(&format!("simulated-{}-{}", lengths.way, lengths.disk));
    let escrow = Some(Units::new(u64::from(RPM).div_ceil(20)));
    let leases = LeaseRules { escrow, ..LeaseRules::default() };
    let policy = Policy { rpm: RPM, ..test_policy::policy(now(), 1_000_000_000, leases) };
    register_with(server.redis.address(), "inc00001", (0, 0), &policy);
    let stage = Stage::default();
    let stream = RefCell::new(TcpStream::connect(server.redis.address()).unwrap());
    let asked = Rc::new(Asked { stage: stage.clone(), stream, busy_until: Cell::default(), lengths });
    let processes: Vec<Rc<Process>> = (1..=u64::from(ISOLATES))
        .map(|number| {
            Rc::new(Process {
                asked: Rc::clone(&asked),
                server: Server_::of(&server.redis),
                questions: Questions::default(),
                holder: RefCell::new(Holder::new(HolderId::from_bits(number.into()), number)),
                waiting: RefCell::default(),
                random: RefCell::new(Stream::new(number)),
                served: Cell::default(),
                refused: RefCell::default(),
            })
        })
        .collect();
    processes.iter().for_each(|process| stage.begin(serve(Rc::clone(process))));
    let books = Rc::new(Books {
        asked,
        merged: RefCell::default(),
        tends: Cell::default(),
        again: Cell::default(),
        looks: Cell::default(),
        conflicts: Cell::default(),
    });
    stage.begin(ask_who_is_due(Rc::clone(&books)));
    let marks = Rc::new(RefCell::new(Vec::new()));
    let (all, marked, clock) = (processes.clone(), Rc::clone(&marks), stage.clone());
    stage.begin(async move {
        for until in [COLD_US, LENGTH_US] {
            clock.wait(until - clock.now_us()).await;
            marked.borrow_mut().push(counted(&all));
        }
    });
    stage.run(LENGTH_US + REST_US);
    let mut came = Came { looks: [books.looks.get(), books.conflicts.get()], ..Came::default() };
    for process in &processes {
        came.served += process.served.get();
        for (why, count) in &*process.refused.borrow() {
            *came.refused.entry(why.clone()).or_default() += count;
        }
        assert!(process.holder.borrow().is_drained(), "it has told everything");
    }
    came.billed = books.merged.borrow().values().map(|units| units.get()).sum();
    let marks = marks.borrow();
    (came.cold, came.warm) = (marks[0], [marks[1][0] - marks[0][0], marks[1][1] - marks[0][1]]);
    came
}

/// In a data centre: 0.3 ms there and back, a fast disk.
const NEAR: Lengths = Lengths { way: 150, command: 100, disk: 1_000, decision: 500 };
/// In a data centre of several buildings: 1 ms there and back.
const WIDE: Lengths = Lengths { way: 500, command: 100, disk: 2_000, decision: 1_000 };
/// Between data centres of one region: 5 ms there and back.
const FAR: Lengths = Lengths { way: 2_500, command: 100, disk: 2_000, decision: 1_000 };

#[test]
fn twenty_isolates_with_machines_of_their_own_come_before_each_other_in_fewer_than_one_of_twenty_contacts() {
    let came = simulate(WIDE);
    let [contacts, conflicts] = came.warm;
    assert!(conflicts * 20 <= contacts && contacts * 100 <= came.served, "{came:?}");
    // Isolates do not hold so much that the books are never asked enough.
    assert!(came.looks[0] < 5 * LENGTH_US.div_euclid(1_000_000), "{came:?}");
    assert!(came.refused.is_empty() && came.billed == came.served, "{came:?}");
}

#[test]
#[ignore = "takes a minute for figures that are written down by hand"]
fn how_often_they_do_by_the_length_of_the_way() {
    for lengths in [NEAR, WIDE, FAR] {
        eprintln!("{lengths:?}: {:?}", simulate(lengths));
    }
}
