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
use shared::decision::Ask;
use shared::home::call::{CallId, ContactReply, HomeReply};
use shared::home::question::Question;
use shared::home::storage::{Commit, Copy};
use shared::home::{Home, HomeName};
use shared::ids::Incarnation;
use shared::json;
use shared::problem::ErrorCode;
use shared::random::Stream;
use shared::time::Timestamp;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::config;

/// What a trip has come to, as `redis.js` reads it.
const READ_ON: u32 = 0;
const SEND: u32 = 1;
const PAUSE: u32 = 2;
const DONE: u32 = 3;
const MOVE: u32 = 4;
/// How long whoever is asked for the way may take, in milliseconds.
const GUIDE_MS: u32 = 500;
/// Between two looks at what the aggregator is doing, in milliseconds.
const PAUSE_MS: u32 = 20;
/// Who waits longer for the aggregator is told to come again, in milliseconds.
const PATIENCE_MS: u64 = 900;
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
    fn route(&self) -> MutexGuard<'_, Route> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is asked of a home, or of the clock of tests.
#[derive(Debug)]
enum Matter {
    Home(Box<Question>),
    Clock(u64),
}

/// What the next replies are of.
#[derive(Debug)]
enum Awaited {
    Way,
    Rows,
    Mark,
    Disk {
        answer: String,
        proof: Proof,
        marks: bool,
    },
    /// What a server says of its log that cannot be asked to wait for its disk.
    Settings {
        answer: String,
    },
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
    /// How often the aggregator had looked when a key was not known.
    looks: Option<u64>,
    reply: String,
}

#[wasm_bindgen]
impl Trip {
    /// Begins one; `random` are four words that no other trip has.
    ///
    /// # Errors
    /// When it is no such question, or homes are not in Redis.
    #[wasm_bindgen(constructor)]
    #[expect(clippy::too_many_arguments, reason = "JavaScript hands over plain values only")]
    pub fn new(
        what: &str,
        home: &str,
        body: &str,
        call: &str,
        random: &[u32],
        now_ms: u64,
    ) -> Result<Self, String> {
        let server = config::with(|config| config.redis.clone()).ok_or("homes are not in Redis")?;
        let home = HomeName::parse(home).map_err(text)?;
        let matter = match what {
            "clock" => Matter::Clock(body.parse().map_err(text)?),
            _ => Matter::Home(Box::new(question(what, body, call)?)),
        };
        Ok(Self::of(server, home, matter, random, Timestamp::from_ms(now_ms)))
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

    /// Takes what has arrived: 0 reads on, 1 sends, 2 pauses and calls [`Trip::again`], 3 is done, 4 pauses and begins
    /// anew at another address.
    ///
    /// # Errors
    /// When the server refuses, or is none. Whether something was written is not known then; whoever asked asks again.
    pub fn take(&mut self, bytes: &[u8], seed: u64, now_ms: u64) -> Result<u32, String> {
        let now = Timestamp::from_ms(now_ms);
        match self.taken(bytes, seed, now) {
            Ok(next) => Ok(next),
            Err(Failure::Elsewhere(why)) => self.elsewhere(why, now),
            Err(Failure::Moved(place)) => self.moved(&place, now),
            Err(Failure::Asked(place)) => self.asked(&place, now),
            Err(Failure::Other(why)) => {
                self.server.route().failed(&self.stop);
                Err(why)
            }
        }
    }

    /// Hears that the connection was lost, or never made: 4 pauses and begins anew at another address.
    ///
    /// # Errors
    /// When there is nobody else to ask. Whether something was written is not known then.
    pub fn lost(&mut self, now_ms: u64) -> Result<u32, String> {
        let why = format!("{} has closed the connection, or was late", self.stop.address().host());
        self.elsewhere(why, Timestamp::from_ms(now_ms))
    }

    /// Whether what was sent last is what the home has decided.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self.awaited, Awaited::Disk { .. })
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

    /// What the home has replied.
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
            looks: None,
            reply: String::new(),
        };
        trip.begin();
        trip
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
            Matter::Home(_) => self.say_read(),
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
            self.pause_ms = PAUSE_MS;
            return Ok(PAUSE);
        }
        if let Awaited::Clock = self.awaited {
            return self.clock(said);
        }
        let mut said = said.into_iter();
        let first = said.next().ok_or("no answer")?;
        if let Awaited::Settings { answer } = &mut self.awaited {
            Proof::Settings.read(&first, self.server.replicas.unwrap_or_default())?;
            self.reply = std::mem::take(answer);
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
            Told::Rows(snapshot) => self.consider(snapshot, seed, now),
            Told::Written(_) => {
                let Awaited::Disk { answer, proof, marks } =
                    std::mem::replace(&mut self.awaited, Awaited::Rows)
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
                    self.say(Awaited::Settings { answer }, vec![Proof::Settings.question(0, 0)]);
                    return Ok(SEND);
                }
                lasts?;
                self.reply = answer;
                Ok(DONE)
            }
        }
    }

    /// Decides from what is stored.
    fn consider(&mut self, snapshot: Snapshot, seed: u64, now: Timestamp) -> Result<u32, Failure> {
        let is_late = now.ms_since(self.began) >= PATIENCE_MS;
        let is_empty = snapshot.stored.rows.is_empty();
        if is_empty && snapshot.unknown_ms.is_some_and(|at| now.ms_since(Timestamp::from_ms(at)) < UNKNOWN_MS)
        {
            return Ok(self.failed(ErrorCode::ProjectUnknown));
        }
        if is_empty || snapshot.is_of_another_life() {
            return Ok(self.attend(is_late));
        }
        let Matter::Home(question) = &self.matter else { return Err("the clock has no rows".into()) };
        let life = snapshot.seen();
        let Snapshot { looks, stored, .. } = snapshot;
        let nobody = Home::new(self.home.clone(), Incarnation::parse(NO_LIFE).map_err(text)?);
        let mut copy = Copy::read(stored, || nobody, now).map_err(text)?;
        if copy.home().needs_registration() || (!is_late && question.waits_for_room(copy.home(), now)) {
            return Ok(self.attend(is_late));
        }
        let has_looked = self.looks.is_some_and(|then| looks >= then.saturating_add(LOOKS));
        let (answer, commit) = copy.act(|home| {
            let answer = home.reply(now, seed, question, is_late);
            if answer.is_some() || !has_looked {
                return answer;
            }
            home.policy_is_newest(now);
            home.reply(now, seed, question, true)
        });
        let Some(answer) = answer else {
            self.looks.get_or_insert(looks);
            return Ok(self.attend(is_late));
        };
        let due = copy.home().look_due(now);
        self.say_write(&life, &commit, (answer, due))
    }

    fn say_write(
        &mut self,
        life: &str,
        commit: &Commit,
        (answer, due): (String, Option<Timestamp>),
    ) -> Result<u32, Failure> {
        self.writes = self.writes.saturating_add(1);
        if self.writes > WRITES_MAX {
            return Err("others have come first too often".into());
        }
        let nonce = self.nonce();
        let mut commands = vec![write(&self.home, life, commit, &nonce)];
        let proof = self.server.route().proof(&self.stop);
        commands.extend(self.server.replicas.map(|replicas| proof.question(replicas, DISK_MS)));
        commands.extend(due.map(|due| mark(&self.home, due)));
        self.say(Awaited::Disk { answer, proof, marks: due.is_some() }, commands);
        Ok(SEND)
    }

    /// Asks the aggregator to look after the home at once, or gives up.
    fn attend(&mut self, is_late: bool) -> u32 {
        if is_late {
            return self.failed(ErrorCode::HomeUnavailable);
        }
        let command = mark(&self.home, Timestamp::default());
        self.say(Awaited::Mark, vec![command]);
        SEND
    }

    fn failed(&mut self, code: ErrorCode) -> u32 {
        let code = code.as_str().to_owned();
        self.reply = match &self.matter {
            Matter::Home(question) if question.is_contact() => json::write(&ContactReply::Failed(code)),
            Matter::Home(_) | Matter::Clock(_) => json::write(&HomeReply::Failed(code)),
        };
        DONE
    }

    /// The clock of tests: the farthest that it was moved.
    fn clock(&mut self, said: Vec<Value>) -> Result<u32, Failure> {
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

fn question(what: &str, body: &str, call: &str) -> Result<Question, String> {
    match what {
        "contact" => json::read(body).map(|contact| Question::Contact(Box::new(contact))).map_err(text),
        "decide" => {
            let ask: Ask = json::read(body).map_err(text)?;
            Ok(Question::Decide(ask, CallId::parse(call)))
        }
        "observe" => json::read(body).map(Question::Observe).map_err(text),
        _ => Err("no home is asked that".to_owned()),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

mod way;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod synced;
