//! The meter in a process of its own, with leases of homes that are elsewhere: for who asks on others' behalf, as a
//! server of Envoy does.
//!
//! Nothing here does I/O, and nothing here waits. Whoever holds it sends what [`Remote::contacts`] gives, hands replies
//! in, and asks again for those that wait. What it has not reported when it is lost is forfeited, as with any isolate.

use shared::decision::Numbers;
use shared::home::HomeName;
use shared::json;
use shared::key::KeySecrets;
use shared::problem::{ErrorCode, Problem};
use shared::random;
use shared::time::Timestamp;

use crate::conclude;
use crate::config::Config;
use crate::contract::{self, Ticket};
use crate::isolate::{Isolate, Place, Turn};
use crate::library;
use crate::region::Region;
use crate::step::{self, Deciding, Failure, Step, Then};

pub use crate::library::Check;

/// All leases of a process, and the requests that wait for one.
#[derive(Debug)]
pub struct Remote {
    config: Config,
    isolate: Isolate,
}

/// How it is to be.
#[derive(Debug)]
pub struct Settings<'a> {
    /// Under which project keys are verified.
    pub key_secrets: KeySecrets,
    /// Its region, where a project has sub-homes; empty is that of all others.
    pub region: &'a str,
    /// How many sub-homes to expect before a policy has said it.
    pub sub_homes: u32,
    /// Whether limits are told of, but nobody is denied for them.
    pub shadow: bool,
}

/// What is to be done next with a question.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are answers")]
pub enum Next {
    /// It is decided.
    Answer(Answer),
    /// Send the contacts of its home, and ask for its [`Remote::outcome`].
    Wait(Waiting),
    /// Ask its home, and hand the reply to [`Remote::conclude`].
    Ask(Box<Question>),
}

/// A question that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    home: HomeName,
    token: u32,
}

impl Waiting {
    /// For which home.
    #[must_use]
    pub fn home(&self) -> &HomeName {
        &self.home
    }
}

/// A question that its home decides itself.
#[derive(Debug)]
pub struct Question(Deciding);

impl Question {
    /// Which home.
    #[must_use]
    pub fn home(&self) -> &HomeName {
        &self.0.home
    }

    /// The arguments of the home's `decide` that follow its name.
    #[must_use]
    pub fn arguments(&self) -> [String; 2] {
        [json::write(&self.0.ask), self.0.call.map(|call| call.to_string()).unwrap_or_default()]
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is served.
    pub allowed: bool,
    /// `ok`, or the code of `docs/errors` that says why not.
    pub code: String,
    /// The headers that the edge answers with.
    pub headers: Vec<(String, String)>,
    /// The problem that the edge answers with, or nothing.
    pub body: String,
    /// The project's numbers, where they are known.
    pub numbers: Option<Numbers>,
    /// In shadow mode, the code that it would have been denied with.
    pub would_deny: String,
    /// Whose it is, where its key is one.
    pub home: Option<HomeName>,
    /// What was reserved, where that was asked for.
    pub reserved: Option<Box<Reserved>>,
}

/// Units that were taken and are not served yet. Whoever has them says what became of them, within five minutes: after
/// ten they come back by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    home: HomeName,
    token: u32,
}

impl Reserved {
    /// Of which home.
    #[must_use]
    pub fn home(&self) -> &HomeName {
        &self.home
    }
}

impl Answer {
    /// Nobody could decide.
    #[must_use]
    pub fn unavailable() -> Self {
        told(Failure::Home.answer(), None, None)
    }
}

/// A contact that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The object that it goes to: the home itself, or one of its sub-homes.
    pub object: String,
    /// What it says.
    pub text: String,
}

impl Remote {
    /// A process with empty hands; `random` are four words that no other ever had.
    ///
    /// # Errors
    /// Never with settings that were read by their types.
    pub fn new(settings: Settings<'_>, random: [u32; 4]) -> Result<Self, String> {
        let Settings { key_secrets, region, sub_homes, shadow } = settings;
        let config = Config::for_keys(key_secrets).with_rules("", if shadow { "1" } else { "" })?;
        let place = Place { region: Region::of(region, ""), sub_homes };
        Ok(Self { config, isolate: Isolate::at(random::bits(&random), place) })
    }

    /// Decides a question with what is in hand, or says what it takes.
    pub fn decide(&mut self, check: &Check<'_>, now: Timestamp) -> Next {
        let deciding = match library::asked(&self.config, check, Then::nothing_to_forward()) {
            Ok(deciding) => deciding,
            Err(answer) => return self.refuse(*answer, now),
        };
        let home = deciding.home.clone();
        let turn = self.isolate.decide(&self.config, deciding, now);
        self.next(turn, home, now)
    }

    /// The same for units that are served later, or not: they are counted as [`Remote::served`] says.
    pub fn reserve(&mut self, check: &Check<'_>, now: Timestamp) -> Next {
        let mut deciding = match library::asked(&self.config, check, Then::nothing_to_forward()) {
            Ok(deciding) => deciding,
            Err(answer) => return self.refuse(*answer, now),
        };
        deciding.ask.held = true;
        let home = deciding.home.clone();
        let turn = self.isolate.decide(&self.config, deciding, now);
        self.next(turn, home, now)
    }

    /// So many of the units that were reserved were served; says how many of them are counted, which is never more than
    /// are left.
    pub fn served(&mut self, reserved: &Reserved, units: u64, now: Timestamp) -> u64 {
        self.isolate.served_some(&reserved.home, reserved.token, units, now)
    }

    /// What is left of them will never be served, and comes back.
    pub fn give_back(&mut self, reserved: &Reserved) {
        self.isolate.give_back(&reserved.home, reserved.token);
    }

    /// Nobody will ever know whether what is left of them was served: it is not billed, and nobody else gets it.
    pub fn forfeit(&mut self, reserved: &Reserved) {
        self.isolate.forfeit(&reserved.home, reserved.token);
    }

    /// What became of a question that waited.
    pub fn outcome(&mut self, waiting: &Waiting, now: Timestamp) -> Next {
        let Waiting { home, token } = waiting;
        let turn = self.isolate.outcome(&self.config, home, *token, now);
        self.next(turn, home.clone(), now)
    }

    /// Nobody waits for that question any more: whatever it was given comes back.
    pub fn abandon(&mut self, waiting: &Waiting) {
        self.isolate.abandon(&waiting.home, waiting.token);
    }

    /// Takes the home's reply to a question; an empty one says that there was none, or nobody to tell it to.
    pub fn conclude(&mut self, question: Question, reply: &str, now: Timestamp) -> Next {
        let home = question.0.home.clone();
        let mut numbers = None;
        let isolate = &mut self.isolate;
        let step = conclude::conclude(&self.config, question.0, reply, now, |deciding, verdict| {
            let mut verdict = verdict;
            let may_tell = isolate.take_verdict(deciding, verdict.as_deref_mut(), now);
            numbers = verdict.map(|verdict| verdict.numbers.clone());
            may_tell
        });
        self.answer(step, home, numbers, now)
    }

    /// The contacts of a home that are to be sent now.
    pub fn contacts(&mut self, home: &HomeName, now: Timestamp) -> Vec<Contact> {
        let due = self.isolate.contacts(home, now).into_iter();
        due.map(|contract::Contact { object, contact }| Contact { object, text: contact }).collect()
    }

    /// Takes what a home, or one of its sub-homes, has replied.
    ///
    /// # Errors
    /// When it is no reply of a home.
    pub fn receive(&mut self, home: &HomeName, reply: &str, now: Timestamp) -> Result<(), String> {
        let reply = json::read(reply).map_err(|error| error.to_string())?;
        self.isolate.receive(home, reply, now);
        Ok(())
    }

    /// Whether a contact of that home is due, looked at once a millisecond.
    pub fn is_restless(&mut self, home: &HomeName, now: Timestamp) -> bool {
        self.isolate.is_restless(home, now)
    }

    /// In how many milliseconds somebody should look after that home again; `None` while nothing is held, owed or waited
    /// for.
    pub fn rest_ms(&mut self, home: &HomeName, now: Timestamp) -> Option<u64> {
        self.isolate.rest_ms(home, now)
    }

    /// Gives everything back, and serves nothing more. The homes to which something is still owed.
    pub fn close(&mut self) -> Vec<HomeName> {
        self.isolate.close()
    }

    fn refuse(&mut self, answer: step::Answer, now: Timestamp) -> Next {
        self.isolate.count(&answer, now);
        Next::Answer(told(answer, None, None))
    }

    fn next(&mut self, turn: Turn, home: HomeName, now: Timestamp) -> Next {
        match turn {
            Turn::Wait(token) => Next::Wait(Waiting { home, token }),
            Turn::Step(step) => {
                let numbers = self.isolate.numbers(&home, now);
                self.answer(step, home, numbers, now)
            }
            Turn::Allowed(allowed) => {
                let numbers = Some(allowed.numbers.clone());
                self.answer(allowed.into_step(&self.config), home, numbers, now)
            }
        }
    }

    fn answer(&mut self, step: Step, home: HomeName, numbers: Option<Numbers>, now: Timestamp) -> Next {
        self.isolate.count_step(&step, now);
        match step {
            Step::Decide(deciding) => Next::Ask(Box::new(Question(deciding))),
            Step::Answer(answer) => Next::Answer(told(answer, numbers, Some(home))),
            Step::Forward { headers, would_deny, source, ticket, .. } => {
                let headers = conclude::with_source(headers, source);
                let (code, body) = ("ok".to_owned(), String::new());
                let Ticket { home: of, token, .. } = ticket;
                let reserved = (token > 0).then(|| Box::new(Reserved { home: of, token }));
                let home = Some(home);
                Next::Answer(Answer {
                    allowed: true,
                    code,
                    headers,
                    body,
                    numbers,
                    would_deny,
                    home,
                    reserved,
                })
            }
            Step::ReadBody(_)
            | Step::ReadObservation(_)
            | Step::Observe(_)
            | Step::ReadPolicy { .. }
            | Step::ReadLeases { .. }
            | Step::Leases { .. }
            | Step::Metrics
            | Step::Install { .. } => Next::Answer(told(Failure::Internal.answer(), numbers, Some(home))),
        }
    }
}

fn told(answer: step::Answer, numbers: Option<Numbers>, home: Option<HomeName>) -> Answer {
    let step::Answer { status, headers, body, .. } = answer;
    let code = json::read::<Problem>(&body).map(|problem| problem.code);
    let code = code.unwrap_or_else(|_| ErrorCode::Internal.as_str().to_owned());
    // What strangers are told says nothing of any project.
    let numbers = numbers.filter(|_| status != ErrorCode::Unauthorized.status());
    Answer { allowed: false, code, headers, body, numbers, would_deny: String::new(), home, reserved: None }
}

#[cfg(test)]
mod tests;
