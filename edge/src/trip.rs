//! One conversation with a Redis that has a home's rows: read, let the home decide, compare and write, wait for the disk.
//!
//! Where sentinels watch the server, one of them is asked first who the primary is; where a cluster has the homes, one of
//! its servers is, once, who has which. What is lost on the way is asked again there; a home answers a copy of a question
//! as it did before.
//!
//! `redis.js` moves the bytes. Nothing here connects or waits, and no answer is handed out before what it rests on is
//! durable. What only the aggregator may do (a new home, a new life, a policy) is asked for by a mark, and waited for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{Cmd, Value, cmd};
use redis_rows::{
    Group, Place, Proof, Replies, Route, Servers, Snapshot, Stop, Told, Wrong, load_script, mark,
    not_refused, read, write,
};
use shared::home::call::{ContactReply, HomeReply};
use shared::home::question::Question;
use shared::home::storage::{Commit, Copy};
use shared::home::{Home, HomeName};
use shared::ids::Incarnation;
use shared::json;
use shared::problem::ErrorCode;
use shared::random::Stream;
use shared::time::Timestamp;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::{config, isolate};
use queue::{Aboard, Questions};

/// What a trip has come to, as `redis.js` reads it.
const READ_ON: u32 = 0;
const SEND: u32 = 1;
const DONE: u32 = 2;
const MOVE: u32 = 3;
const PAUSE: u32 = 4;
/// How long whoever is asked for the way may take, in milliseconds.
const GUIDE_MS: u32 = 500;
/// Between two looks at what the aggregator is doing, in milliseconds.
const PAUSE_MS: u64 = 20;
/// Who waits longer for the aggregator is told to come again, in milliseconds.
const PATIENCE_MS: u64 = 900;
/// The same where the home is well, and only has to hear that what it has issued is in the books, in milliseconds: a
/// holder gives its calls up after twice as long.
const ROOM_PATIENCE_MS: u64 = 5_000;
/// How many writes find that others came first before a trip makes a pause.
const WRITES_AT_ONCE: u32 = 2;
/// The first such pause and the longest at most, in milliseconds.
const CROWDED_MS: (u64, u64) = (8, 128);
/// Far more than others ever come first in a row.
const WRITES_MAX: u32 = 100;
/// How long the server may take to bring a write to the disk: it syncs once a second, or at once.
const DISK_MS: u64 = 2_500;
/// For how long it is believed that a project is unknown.
const UNKNOWN_MS: u64 = 2_000;
/// So many looks of the aggregator later, one of them began after it was asked for.
const LOOKS: u64 = 2;
/// The life of a home that has no rows. None is read where there are none: only the aggregator makes a home.
const NO_LIFE: &str = "00000000";
/// Where tests keep how far the clock was moved.
const CLOCK: &str = "clock";
/// What is said before each command to a server of a cluster that is being given its keys.
const ASKING: &str = "ASKING";

/// Where homes are, where they are in Redis.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// The way there; what one trip has learned of it, the others know.
    pub(crate) route: Arc<Mutex<Route>>,
    /// How many replicas must have a write on their disks; `None` where an operator accepts that it is lost.
    pub(crate) replicas: Option<u32>,
}

impl Server {
    /// Reads `COUNTERS`, `REDIS_URL`, `REDIS_REPLICAS` and `REDIS_ACCEPT_LOSS`.
    pub(crate) fn parse(
        counters: &str,
        url: &str,
        (replicas, loss): (&str, &str),
    ) -> Result<Option<Self>, String> {
        match counters {
            "" | "durable_object" if url.is_empty() => return Ok(None),
            // Homes may move there.
            "" | "durable_object" | "redis" => {}
            _ => {
                return Err(format!("COUNTERS: got {counters:?}, accepted are durable_object and redis"));
            }
        }
        let servers = Servers::parse(url).map_err(|error| format!("REDIS_URL: {error}"))?;
        let replicas = match replicas {
            "" => 0,
            text => text.parse().map_err(|_| "REDIS_REPLICAS: accepted is a whole number".to_owned())?,
        };
        // How much may be lost is for the aggregator to say, in the policy.
        let route = Arc::new(Mutex::new(Route::new(servers)));
        Ok(Some(Self { route, replicas: loss.is_empty().then_some(replicas) }))
    }
}

impl Server {
    fn here() -> Result<Self, String> {
        config::with(|config| config.redis.clone()).ok_or_else(|| "homes are not in Redis".to_owned())
    }

    fn route(&self) -> MutexGuard<'_, Route> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it is about: the questions that wait for a home, as that trip of theirs, or the clock of tests.
#[derive(Debug)]
enum Matter {
    Home(Questions, u64),
    Clock(u64),
}

/// What the next replies are of.
#[derive(Debug)]
enum Awaited {
    Way,
    Rows,
    Mark,
    Disk {
        proof: Proof,
        marks: bool,
    },
    /// What a server says of its log that cannot be asked to wait for its disk.
    Settings,
    Clock,
}

/// Why a server was of no use.
#[derive(Debug)]
enum Failure {
    /// Another one has the home, or nobody for the moment.
    Elsewhere(String),
    /// Another one of a cluster has the home.
    Moved(Place),
    /// Another one of a cluster is given the home, and has it already.
    Asked(Place),
    /// Anything else.
    Other(String),
}

impl From<Wrong> for Failure {
    fn from(wrong: Wrong) -> Self {
        let why = format!("the Redis: {wrong}");
        match wrong {
            Wrong::Moved(place) => Self::Moved(place),
            Wrong::Asked(place) => Self::Asked(place),
            Wrong::Elsewhere(_) | Wrong::Down(_) => Self::Elsewhere(why),
            Wrong::Refused(_)
            | Wrong::Form
            | Wrong::NoOwner(_)
            | Wrong::OfCluster
            | Wrong::NoCluster(_)
            | Wrong::Late(_)
            | Wrong::NoPrimary(_)
            | Wrong::NoWait
            | Wrong::NotSynced(_)
            | Wrong::NoReplicas
            | Wrong::NotOnDisk { .. } => Self::Other(why),
        }
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

impl From<&str> for Failure {
    fn from(why: &str) -> Self {
        Self::Other(why.to_owned())
    }
}

/// One conversation. See the module's page.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Trip {
    server: Server,
    /// Who is spoken to.
    stop: Stop,
    /// How many were asked for the way in vain, and how often it led to nobody who has the home.
    vain: (usize, u32),
    home: HomeName,
    matter: Matter,
    /// What numbers of commands begin with.
    numbers: u64,
    random: Stream,
    began: Timestamp,
    replies: Replies,
    out: Vec<u8>,
    /// Answers to what was said before what is awaited.
    before: usize,
    awaited: Awaited,
    commands: Vec<Cmd>,
    writes: u32,
    pause_ms: u32,
    /// What was decided and is not on the disk yet.
    decided: Vec<(u64, String)>,
    /// This isolate's own report, where others wait for what it frees, and what was replied to it.
    report: Option<(Question, String)>,
    reply: String,
}

#[wasm_bindgen]
impl Trip {
    /// Begins one that moves the clock of tests on; `random` are four words that no other trip has.
    ///
    /// # Errors
    /// When it is no such time, or homes are not in Redis.
    pub fn clock(home: &str, to_ms: &str, random: &[u32], now_ms: u64) -> Result<Self, String> {
        let server = Server::here()?;
        let matter = Matter::Clock(to_ms.parse().map_err(text)?);
        Ok(Self::of(server, HomeName::parse(home).map_err(text)?, matter, random, Timestamp::from_ms(now_ms)))
    }

    /// Where to connect, and in a second line `on` or `off` for encryption.
    #[must_use]
    pub fn address(&self) -> String {
        let address = self.stop.address();
        let secure = if address.is_tls() { "on" } else { "off" };
        format!("{}\n{secure}", address.host())
    }

    /// What is to be sent now.
    #[must_use]
    pub fn sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// How long may be waited for who is spoken to, in milliseconds; 0 leaves it to whoever asks.
    #[must_use]
    pub fn patience(&self) -> u32 {
        if matches!(self.stop, Stop::Guide(_)) { GUIDE_MS } else { 0 }
    }

    /// Takes what has arrived: 0 reads on, 1 sends, 2 is done, 3 pauses and begins anew at another address, 4 pauses
    /// and calls [`Trip::again`].
    ///
    /// # Errors
    /// When the server refuses, or is none. Whether something was written is not known then; whoever asked asks again.
    pub fn take(&mut self, bytes: &[u8], seed: u64, now_ms: u64) -> Result<u32, String> {
        let now = Timestamp::from_ms(now_ms);
        if let Matter::Home(questions, number) = &self.matter {
            questions.borrow_mut().goes_on(&self.home, *number, now);
        }
        let come_to = match self.taken(bytes, seed, now) {
            Ok(next) => Ok(next),
            Err(Failure::Elsewhere(why)) => self.elsewhere(why, now),
            Err(Failure::Moved(place)) => self.moved(&place, now),
            Err(Failure::Asked(place)) => self.asked(&place, now),
            Err(Failure::Other(why)) => {
                self.server.route().failed(&self.stop);
                Err(why)
            }
        };
        self.told(come_to)
    }

    /// Hears that the connection was lost, or never made: 3 pauses and begins anew at another address.
    ///
    /// # Errors
    /// When there is nobody else to ask. Whether something was written is not known then.
    pub fn lost(&mut self, now_ms: u64) -> Result<u32, String> {
        let why = format!("{} has closed the connection, or was late", self.stop.address().host());
        let come_to = self.elsewhere(why, Timestamp::from_ms(now_ms));
        self.told(come_to)
    }

    /// For how long it pauses, in milliseconds.
    #[must_use]
    pub fn pause(&self) -> u32 {
        self.pause_ms
    }

    /// Looks again.
    pub fn again(&mut self) {
        self.say_read();
    }

    /// How far the clock of tests was moved.
    #[must_use]
    pub fn reply(&mut self) -> String {
        std::mem::take(&mut self.reply)
    }
}

impl Trip {
    fn of(server: Server, home: HomeName, matter: Matter, random: &[u32], now: Timestamp) -> Self {
        // The words are random as they are; a stream of numbers begins with 64 of their bits, mixed from all of them.
        let bits = shared::random::bits(random);
        let [high, low] =
            [bits >> 64, bits].map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or_default());
        let stop = server.route().next(Group::of(&home), now);
        let mut trip = Self {
            server,
            stop,
            vain: (0, 0),
            home,
            matter,
            numbers: high,
            random: Stream::new(low),
            began: now,
            replies: Replies::default(),
            out: Vec::new(),
            before: 0,
            awaited: Awaited::Rows,
            commands: Vec::new(),
            writes: 0,
            pause_ms: 0,
            decided: Vec::new(),
            report: None,
            reply: String::new(),
        };
        trip.begin();
        trip
    }

    /// Tells those whom it concerns that it has come to nothing.
    fn told(&mut self, come_to: Result<u32, String>) -> Result<u32, String> {
        if let (Err(why), Matter::Home(questions, number)) = (&come_to, &self.matter) {
            questions.borrow_mut().fail(&self.home, (*number, self.began), why);
        }
        come_to
    }

    /// Begins at where the trip is.
    fn begin(&mut self) {
        self.replies = Replies::default();
        self.writes = 0;
        if let Stop::Guide(_) = self.stop {
            self.before = 0;
            let question = self.server.route().question();
            return self.say(Awaited::Way, question);
        }
        let greeting = self.stop.address().greeting();
        self.before = greeting.len();
        let greeting: Vec<u8> = greeting.iter().flat_map(Cmd::get_packed_command).collect();
        match self.matter {
            Matter::Home(..) => self.say_read(),
            Matter::Clock(_) => {
                let mut get = cmd("GET");
                get.arg(Group::of(&self.home).key(CLOCK));
                self.say(Awaited::Clock, vec![get]);
            }
        }
        self.out.splice(..0, greeting);
    }

    fn taken(&mut self, bytes: &[u8], seed: u64, now: Timestamp) -> Result<u32, Failure> {
        self.replies.take(bytes);
        let is_importing = matches!(self.stop, Stop::Importing(_));
        let each = if is_importing { 2 } else { 1 };
        let count = self.before.saturating_add(self.commands.len().saturating_mul(each));
        let Some(mut replies) = self.replies.next(count).map_err(text)? else { return Ok(READ_ON) };
        let said = replies.split_off(self.before);
        replies.iter().try_for_each(not_refused)?;
        self.before = 0;
        // What is said before each command is answered, too.
        self.heard(said.into_iter().skip(each.saturating_sub(1)).step_by(each).collect(), seed, now)
    }

    fn say(&mut self, awaited: Awaited, commands: Vec<Cmd>) {
        self.out = self.packed(&commands);
        (self.awaited, self.commands) = (awaited, commands);
    }

    fn packed(&self, commands: &[Cmd]) -> Vec<u8> {
        let is_importing = matches!(self.stop, Stop::Importing(_));
        let asking = if is_importing { cmd(ASKING).get_packed_command() } else { Vec::new() };
        commands.iter().flat_map(|command| [asking.clone(), command.get_packed_command()].concat()).collect()
    }

    fn say_read(&mut self) {
        let command = read(&self.home);
        self.say(Awaited::Rows, vec![command]);
    }

    fn nonce(&mut self) -> String {
        format!("{:016x}{:016x}", self.numbers, self.random.bits())
    }

    fn heard(&mut self, said: Vec<Value>, seed: u64, now: Timestamp) -> Result<u32, Failure> {
        if let Awaited::Way = self.awaited {
            let heard = self.server.route().heard(self.stop.address(), &said, Group::of(&self.home), now);
            return Ok(match heard {
                Ok(()) => self.depart(now, 0),
                Err(wrong) => self.another_guide(format!("the Redis: {wrong}"), now)?,
            });
        }
        if let Awaited::Mark = self.awaited {
            said.iter().try_for_each(not_refused)?;
            return Ok(DONE);
        }
        if let Awaited::Clock = self.awaited {
            return self.clock_told(said);
        }
        let mut said = said.into_iter();
        let first = said.next().ok_or("no answer")?;
        if let Awaited::Settings = self.awaited {
            Proof::Settings.read(&first, self.server.replicas.unwrap_or_default())?;
            self.answer(now);
            return Ok(DONE);
        }
        match Told::read(first)? {
            Told::NoScript => {
                // What came behind it was for nothing; the same is said again behind the script.
                let commands = std::mem::take(&mut self.commands);
                self.before = 1;
                self.out = load_script().get_packed_command();
                let again = self.packed(&commands);
                self.out.extend(again);
                self.commands = commands;
                Ok(SEND)
            }
            Told::Rows(_) if matches!(self.awaited, Awaited::Disk { .. }) && self.is_crowded() => Ok(PAUSE),
            Told::Rows(snapshot) => self.consider(snapshot, seed, now),
            Told::Written(_) => {
                let Awaited::Disk { proof, marks } = std::mem::replace(&mut self.awaited, Awaited::Rows)
                else {
                    return Err("a read was answered as a write".into());
                };
                let lasts = match self.server.replicas {
                    Some(replicas) => proof.read(&said.next().ok_or("no answer")?, replicas),
                    None => Ok(()),
                };
                if marks {
                    not_refused(&said.next().ok_or("no answer")?)?;
                }
                if lasts == Err(Wrong::NoWait) {
                    self.server.route().cannot_wait(&self.stop);
                    self.say(Awaited::Settings, vec![Proof::Settings.question(0, 0)]);
                    return Ok(SEND);
                }
                lasts?;
                self.answer(now);
                Ok(DONE)
            }
        }
    }

    /// Notes that others came first. The rows that come with that are newer than any that could be asked for, so that the
    /// first times they are decided from at once; where many write, only some of them at a time come through by a pause.
    fn is_crowded(&mut self) -> bool {
        if let Matter::Home(questions, _) = &self.matter {
            questions.borrow_mut().conflicts();
        }
        if self.writes < WRITES_AT_ONCE {
            return false;
        }
        let (first, most) = CROWDED_MS;
        let longest = first.checked_shl(self.writes.saturating_sub(WRITES_AT_ONCE)).unwrap_or(most).min(most);
        self.pause_ms = u32::try_from(self.random.between(1, longest)).unwrap_or(u32::MAX);
        true
    }

    /// Hands out what is durable now.
    fn answer(&mut self, now: Timestamp) {
        let Matter::Home(questions, _) = &self.matter else { return };
        let mut queue = questions.borrow_mut();
        self.decided.drain(..).for_each(|(number, reply)| queue.answer(number, reply));
        if let Some((_, reply)) = self.report.take()
            && let Ok(reply) = json::read(&reply)
        {
            isolate::with(|isolate| isolate.receive(&self.home, reply, now));
        }
    }

    /// Decides from what is stored, for all who wait.
    fn consider(&mut self, snapshot: Snapshot, seed: u64, now: Timestamp) -> Result<u32, Failure> {
        let Matter::Home(questions, number) = &self.matter else {
            return Err("the clock has no rows".into());
        };
        let (questions, number) = (Questions::clone(questions), *number);
        let aboard = questions.borrow().board(&self.home, number);
        if aboard.is_empty() && self.report.is_none() {
            // Others have taken them along.
            return Ok(DONE);
        }
        let is_empty = snapshot.stored.rows.is_empty();
        if is_empty && snapshot.unknown_ms.is_some_and(|at| now.ms_since(Timestamp::from_ms(at)) < UNKNOWN_MS)
        {
            let mut queue = questions.borrow_mut();
            aboard
                .iter()
                .for_each(|one| queue.answer(one.number, failed(&one.question, ErrorCode::ProjectUnknown)));
            return Ok(DONE);
        }
        if is_empty || snapshot.is_of_another_life() {
            return Ok(self.attend(&questions, &aboard, now));
        }
        let life = snapshot.seen();
        let Snapshot { looks, stored, .. } = snapshot;
        let nobody = Home::new(self.home.clone(), Incarnation::parse(NO_LIFE).map_err(text)?);
        let mut copy = Copy::read(stored, || nobody, now).map_err(text)?;
        if copy.home().needs_registration() {
            return Ok(self.attend(&questions, &aboard, now));
        }
        let (decided, commit) = copy.act(|home| self.decide(home, &aboard, looks, (seed, now)));
        let mut queue = questions.borrow_mut();
        let (mut wants_look, mut wants_room) = (false, false);
        self.decided.clear();
        for (one, reply) in aboard.iter().zip(decided) {
            match reply {
                Ok(reply) => self.decided.push((one.number, reply)),
                Err(why) => {
                    wants_look |= why == Wants::Look;
                    wants_room |= why == Wants::Room;
                    let looks = matches!(why, Wants::Look).then_some(looks);
                    queue.wait(one.number, looks, now.plus_ms(PAUSE_MS));
                }
            }
        }
        let is_waited_for = wants_look || (wants_room && queue.marks(&self.home, now));
        if self.decided.is_empty() && self.report.is_none() {
            drop(queue);
            return Ok(if is_waited_for { self.say_mark() } else { DONE });
        }
        let numbers: Vec<u64> = self.decided.iter().map(|(number, _)| *number).collect();
        queue.write(&self.home, number, &numbers, now);
        drop(queue);
        let due = if is_waited_for { Some(Timestamp::default()) } else { copy.home().look_due(now) };
        self.say_write(&life, &commit, due)
    }

    /// What the home replies to each, in the order of their arrival, or what it has to wait for.
    fn decide(
        &mut self,
        home: &mut Home,
        aboard: &[Aboard],
        looks: u64,
        (seed, now): (u64, Timestamp),
    ) -> Vec<Result<String, Wants>> {
        let mut seeds = Stream::new(seed);
        let mut decided = Vec::with_capacity(aboard.len());
        for Aboard { question, arrived, looks: looked, .. } in aboard {
            let waited_ms = now.ms_since(*arrived);
            if waited_ms < ROOM_PATIENCE_MS && question.waits_for_room(home, now) {
                decided.push(Err(Wants::Room));
                continue;
            }
            let seed = seeds.bits();
            let reply = home.reply(now, seed, question, waited_ms >= PATIENCE_MS);
            let has_looked = looked.is_some_and(|then| looks >= then.saturating_add(LOOKS));
            let reply = if reply.is_some() || !has_looked {
                reply
            } else {
                home.policy_is_newest(now);
                home.reply(now, seed, question, true)
            };
            decided.push(reply.ok_or(Wants::Look));
        }
        // What this isolate has served makes room once it is told, and it tells of it by itself only after a while.
        if self.report.is_none() && decided.iter().any(|reply| matches!(reply, Err(Wants::Room))) {
            let report = isolate::with(|isolate| isolate.report_calls(&self.home, now));
            self.report = report.map(|report| (Question::Contact(Box::new(report)), String::new()));
        }
        if let Some((report, reply)) = &mut self.report {
            *reply = home.reply(now, seeds.bits(), report, true).unwrap_or_default();
        }
        decided
    }

    fn say_write(&mut self, life: &str, commit: &Commit, due: Option<Timestamp>) -> Result<u32, Failure> {
        self.writes = self.writes.saturating_add(1);
        if self.writes > WRITES_MAX {
            return Err("others have come first too often".into());
        }
        let nonce = self.nonce();
        let mut commands = vec![write(&self.home, life, commit, &nonce)];
        let proof = self.server.route().proof(&self.stop);
        commands.extend(self.server.replicas.map(|replicas| proof.question(replicas, DISK_MS)));
        commands.extend(due.map(|due| mark(&self.home, due)));
        self.say(Awaited::Disk { proof, marks: due.is_some() }, commands);
        Ok(SEND)
    }

    /// Asks the aggregator to look after the home at once, unless nobody waits for that any longer.
    fn attend(&mut self, questions: &Questions, aboard: &[Aboard], now: Timestamp) -> u32 {
        let mut queue = questions.borrow_mut();
        let mut is_waited_for = false;
        for one in aboard {
            if now.ms_since(one.arrived) >= PATIENCE_MS {
                queue.answer(one.number, failed(&one.question, ErrorCode::HomeUnavailable));
            } else {
                queue.wait(one.number, None, now.plus_ms(PAUSE_MS));
                is_waited_for = true;
            }
        }
        if is_waited_for { self.say_mark() } else { DONE }
    }

    fn say_mark(&mut self) -> u32 {
        let command = mark(&self.home, Timestamp::default());
        self.say(Awaited::Mark, vec![command]);
        SEND
    }

    /// The clock of tests: the farthest that it was moved.
    fn clock_told(&mut self, said: Vec<Value>) -> Result<u32, Failure> {
        let Matter::Clock(to_ms) = self.matter else { return Err("nobody asked for the clock".into()) };
        said.iter().try_for_each(not_refused)?;
        let kept = match said.into_iter().next() {
            Some(Value::BulkString(bytes)) => {
                String::from_utf8(bytes).ok().and_then(|text| text.parse().ok())
            }
            Some(Value::Nil | Value::Okay) => Some(0),
            Some(_) | None => None,
        };
        let kept: u64 = kept.ok_or("the server's clock of tests is no number")?;
        if to_ms <= kept || self.writes > 0 {
            self.reply = kept.max(to_ms).to_string();
            return Ok(DONE);
        }
        self.writes = 1;
        let mut set = cmd("SET");
        set.arg(Group::of(&self.home).key(CLOCK)).arg(to_ms);
        self.say(Awaited::Clock, vec![set]);
        Ok(SEND)
    }
}

impl Drop for Trip {
    fn drop(&mut self) {
        if let Matter::Home(questions, number) = &self.matter {
            questions.borrow_mut().end(&self.home, *number);
        }
    }
}

/// What a question has to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    /// That the aggregator has looked after the home, which may have a newer policy then.
    Look,
    /// That more of what was issued is in the books.
    Room,
}

fn failed(question: &Question, code: ErrorCode) -> String {
    let code = code.as_str().to_owned();
    if question.is_contact() {
        json::write(&ContactReply::Failed(code))
    } else {
        json::write(&HomeReply::Failed(code))
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

mod asking;
pub(crate) mod queue;
mod way;

pub use asking::Asking;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod synced;
