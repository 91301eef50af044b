//! Questions to homes of one process: who waits for a trip, and whose answer is on its way to the disk.
//!
//! A request may wait for nothing of another one, so each looks after its own question, by its own timer. Whoever finds
//! that nobody is on the way to its home goes, and has everybody's questions decided in one write, in the order of
//! their arrival. A question is on no trip before that trip writes: who dies on the way there loses nobody's.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use shared::home::HomeName;
use shared::home::question::Question;
use shared::time::Timestamp;

/// The most questions that one write decides.
const QUESTIONS_MAX: usize = 256;
/// The most bytes of them; a single one may be longer.
const BYTES_MAX: usize = 256 * 1_024;
/// For how long a trip has a home for itself after it was heard of last, in milliseconds: longer than any takes that is
/// well.
const ALONE_MS: u64 = 250;
/// For how long others wait until what was written is on the disk, in milliseconds: who comes meanwhile travels together.
/// Where a disk takes longer, they go all the same.
const GATHER_MS: u64 = 25;
/// After so long who has written is believed to be gone, in milliseconds: a server that syncs once a second needs less.
const GONE_MS: u64 = 1_500;
/// Where nothing was heard of a home for so long, it does not answer, in milliseconds: a server that stands still.
const SILENT_MS: u64 = 3_000;
/// Nobody is kept waiting for longer, however slow the server is, in milliseconds: less than a holder waits for its calls.
const LATE_MS: u64 = 8_000;
/// Whoever asked is gone by then, in milliseconds.
const FORGOTTEN_MS: u64 = 15_000;
/// How often the aggregator is asked to make room, in milliseconds: what was written has asked it already.
const MARK_GAP_MS: u64 = 100;

/// How often trips were made, and with what.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Trips.
    pub(crate) trips: u64,
    /// Writes that found another version, because somebody else had come first.
    pub(crate) conflicts: u64,
    /// Questions that were decided and written.
    pub(crate) questions: u64,
}

/// What its owner is to do about a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Look again.
    Wait,
    /// Begin a trip.
    Go,
    /// Take the reply.
    Answered,
}

/// A question that a trip may decide.
#[derive(Debug, Clone)]
pub(super) struct Aboard {
    pub(super) number: u64,
    pub(super) question: Rc<Question>,
    pub(super) arrived: Timestamp,
    /// How often the aggregator had looked when its key was not known.
    pub(super) looks: Option<u64>,
}

#[derive(Debug)]
enum State {
    /// For a trip, from then on.
    Waits(Timestamp),
    /// It was decided, and that trip has written it then.
    Written(u64, Timestamp),
    Answered(Result<String, String>),
}

#[derive(Debug)]
struct Asked {
    home: HomeName,
    question: Rc<Question>,
    bytes: usize,
    arrived: Timestamp,
    /// When something was last heard of its home's server, or it arrived.
    heard: Timestamp,
    looks: Option<u64>,
    state: State,
}

/// A trip that has a home for itself.
#[derive(Debug)]
struct Alone {
    trip: u64,
    until: Timestamp,
}

/// All questions of a process.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Numbers questions and trips.
    last: u64,
    /// By their numbers, which is the order of their arrival.
    asked: BTreeMap<u64, Asked>,
    alone: BTreeMap<HomeName, Alone>,
    /// When the aggregator was last asked to make room.
    marked: BTreeMap<HomeName, Timestamp>,
    pub(super) counts: Counts,
}

/// The questions of a process, for each who has one.
pub(super) type Questions = Rc<RefCell<Queue>>;

thread_local! {
    static QUESTIONS: Questions = Questions::default();
}

/// Those of this isolate.
pub(super) fn of_isolate() -> Questions {
    QUESTIONS.with(Rc::clone)
}

/// How often this isolate has made trips.
pub(crate) fn counts() -> Counts {
    QUESTIONS.with(|questions| questions.borrow().counts)
}

impl Queue {
    fn next(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }

    /// Takes a question of so many bytes, and says under which number.
    pub(super) fn ask(&mut self, home: HomeName, question: Question, bytes: usize, now: Timestamp) -> u64 {
        self.asked.retain(|_, asked| now.ms_since(asked.arrived) < FORGOTTEN_MS);
        let number = self.next();
        let (question, state) = (Rc::new(question), State::Waits(now));
        self.asked
            .insert(number, Asked { home, question, bytes, arrived: now, heard: now, looks: None, state });
        number
    }

    /// Nobody waits for that question any more.
    pub(super) fn forget(&mut self, number: u64) {
        self.asked.remove(&number);
    }

    /// What is to be done about a question by its owner, who can go itself or not.
    pub(super) fn look(&mut self, number: u64, can_go: bool, now: Timestamp) -> Next {
        let Some(asked) = self.asked.get_mut(&number) else { return Next::Answered };
        let is_late = now.ms_since(asked.heard) >= SILENT_MS || now.ms_since(asked.arrived) >= LATE_MS;
        if is_late && !matches!(asked.state, State::Answered(_)) {
            asked.state = State::Answered(Err("the home did not answer in time".to_owned()));
        }
        let from = match &asked.state {
            State::Answered(_) => return Next::Answered,
            State::Waits(from) => *from,
            // A copy is answered as before.
            State::Written(_, at) if now.ms_since(*at) >= GONE_MS && asked.question.may_come_twice() => {
                asked.state = State::Waits(now);
                now
            }
            State::Written(..) => return Next::Wait,
        };
        let is_free = self.alone.get(&asked.home).is_none_or(|alone| now >= alone.until);
        if can_go && is_free && now >= from { Next::Go } else { Next::Wait }
    }

    /// The reply to a question, or why there is none.
    pub(super) fn reply(&mut self, number: u64) -> Option<Result<String, String>> {
        match self.asked.remove(&number)?.state {
            State::Answered(reply) => Some(reply),
            State::Waits(_) | State::Written(..) => None,
        }
    }

    /// Begins a trip, and says its number.
    pub(super) fn begin(&mut self, home: &HomeName, now: Timestamp) -> u64 {
        let trip = self.next();
        self.counts.trips = self.counts.trips.saturating_add(1);
        self.alone.insert(home.clone(), Alone { trip, until: now.plus_ms(ALONE_MS) });
        trip
    }

    /// That trip has heard of the home's server.
    pub(super) fn goes_on(&mut self, home: &HomeName, trip: u64, now: Timestamp) {
        self.asked.values_mut().filter(|asked| asked.home == *home).for_each(|asked| asked.heard = now);
        self.hold(home, trip, now, ALONE_MS);
    }

    fn hold(&mut self, home: &HomeName, trip: u64, now: Timestamp, for_ms: u64) {
        match self.alone.get_mut(home) {
            Some(alone) if alone.trip == trip || now >= alone.until => {
                *alone = Alone { trip, until: now.plus_ms(for_ms) };
            }
            Some(_) => {}
            None => {
                self.alone.insert(home.clone(), Alone { trip, until: now.plus_ms(for_ms) });
            }
        }
    }

    /// Those that a trip may decide now, in the order of their arrival: whoever waits, and whom it has written in vain.
    pub(super) fn board(&self, home: &HomeName, trip: u64) -> Vec<Aboard> {
        let (mut aboard, mut bytes) = (Vec::new(), 0_usize);
        for (number, asked) in &self.asked {
            let may = match &asked.state {
                State::Waits(_) => true,
                State::Written(by, _) => *by == trip,
                State::Answered(_) => false,
            };
            if !may || asked.home != *home {
                continue;
            }
            bytes = bytes.saturating_add(asked.bytes);
            if !aboard.is_empty() && (aboard.len() >= QUESTIONS_MAX || bytes > BYTES_MAX) {
                break;
            }
            let (question, arrived, looks) = (Rc::clone(&asked.question), asked.arrived, asked.looks);
            aboard.push(Aboard { number: *number, question, arrived, looks });
        }
        aboard
    }

    /// That one has to wait for the aggregator, which had looked so often.
    pub(super) fn wait(&mut self, number: u64, looks: Option<u64>, from: Timestamp) {
        if let Some(asked) = self.asked.get_mut(&number) {
            asked.looks = asked.looks.or(looks);
            asked.state = State::Waits(from);
        }
    }

    /// A trip writes what was decided of these. What it had written in vain and is not among them waits again.
    pub(super) fn write(&mut self, home: &HomeName, trip: u64, numbers: &[u64], now: Timestamp) {
        for (number, asked) in &mut self.asked {
            if numbers.binary_search(number).is_ok() {
                asked.state = State::Written(trip, now);
            } else if matches!(asked.state, State::Written(by, _) if by == trip) {
                asked.state = State::Waits(now);
            }
        }
        self.hold(home, trip, now, GATHER_MS);
    }

    /// Whether the aggregator is to be asked to make room, which it was not lately.
    pub(super) fn marks(&mut self, home: &HomeName, now: Timestamp) -> bool {
        self.marked.retain(|_, at| now.ms_since(*at) < MARK_GAP_MS);
        let is_new = !self.marked.contains_key(home);
        if is_new {
            self.marked.insert(home.clone(), now);
        }
        is_new
    }

    /// Somebody else had come first.
    pub(super) fn conflicts(&mut self) {
        self.counts.conflicts = self.counts.conflicts.saturating_add(1);
    }

    /// It is durable, and this is what the home has replied.
    pub(super) fn answer(&mut self, number: u64, reply: String) {
        self.counts.questions = self.counts.questions.saturating_add(1);
        self.conclude(number, Ok(reply));
    }

    fn conclude(&mut self, number: u64, reply: Result<String, String>) {
        if let Some(asked) = self.asked.get_mut(&number)
            && !matches!(asked.state, State::Answered(_))
        {
            asked.state = State::Answered(reply);
        }
    }

    /// A trip that began then has come to nothing: whoever has waited as long as it took is told why.
    pub(super) fn fail(&mut self, home: &HomeName, (trip, began): (u64, Timestamp), why: &str) {
        for asked in self.asked.values_mut().filter(|asked| asked.home == *home) {
            let is_of_it = match &asked.state {
                State::Waits(_) => asked.arrived <= began,
                State::Written(by, _) => *by == trip,
                State::Answered(_) => false,
            };
            if is_of_it {
                asked.state = State::Answered(Err(why.to_owned()));
            }
        }
    }

    /// A trip has ended.
    pub(super) fn end(&mut self, home: &HomeName, trip: u64) {
        if self.alone.get(home).is_some_and(|alone| alone.trip == trip) {
            self.alone.remove(home);
        }
    }
}
