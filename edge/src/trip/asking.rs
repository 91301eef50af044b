//! One question, as the request or background turn that asks it sees it.

use shared::decision::Ask;
use shared::home::HomeName;
use shared::home::call::CallId;
use shared::home::question::Question;
use shared::json;
use shared::time::Timestamp;
use wasm_bindgen::prelude::wasm_bindgen;

use super::queue::{Next, Questions, of_isolate};
use super::{Matter, Server, Trip, text};

/// What is to be done about a question, as `redis.js` reads it.
const WAIT: u32 = 0;
const GO: u32 = 1;
const ANSWERED: u32 = 2;

/// One question to a home. It is forgotten with this.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Asking {
    server: Server,
    questions: Questions,
    home: HomeName,
    number: u64,
}

#[wasm_bindgen]
impl Asking {
    /// Asks it: what (`contact`, `decide` or `observe`), of which home, and its arguments.
    ///
    /// # Errors
    /// When it is no such question, or homes are not in Redis.
    #[wasm_bindgen(constructor)]
    pub fn new(what: &str, home: &str, body: &str, call: &str, now_ms: u64) -> Result<Self, String> {
        let question = question(what, body, call)?;
        let home = HomeName::parse(home).map_err(text)?;
        let bytes = body.len();
        Ok(Self::of((Server::here()?, of_isolate()), home, (question, bytes), Timestamp::from_ms(now_ms)))
    }

    /// What is to be done: 0 looks again soon, 1 begins a [`Trip`] by [`Asking::trip`], 2 takes the [`Asking::reply`].
    #[must_use]
    pub fn look(&self, can_go: bool, now_ms: u64) -> u32 {
        match self.questions.borrow_mut().look(self.number, can_go, Timestamp::from_ms(now_ms)) {
            Next::Wait => WAIT,
            Next::Go => GO,
            Next::Answered => ANSWERED,
        }
    }

    /// Begins a trip for all who wait; `random` are four words that no other trip has.
    #[must_use]
    pub fn trip(&self, random: &[u32], now_ms: u64) -> Trip {
        let now = Timestamp::from_ms(now_ms);
        let number = self.questions.borrow_mut().begin(&self.home, now);
        let matter = Matter::Home(Questions::clone(&self.questions), number);
        Trip::of(self.server.clone(), self.home.clone(), matter, random, now)
    }

    /// What the home has replied.
    ///
    /// # Errors
    /// Why it has not. Whether something was written is not known then.
    pub fn reply(&self) -> Result<String, String> {
        let reply = self.questions.borrow_mut().reply(self.number);
        reply.unwrap_or_else(|| Err("nobody has answered".to_owned()))
    }
}

impl Asking {
    /// The same where the questions of a process are told, with how many bytes it has.
    pub(super) fn of(
        (server, questions): (Server, Questions),
        home: HomeName,
        (question, bytes): (Question, usize),
        now: Timestamp,
    ) -> Self {
        let number = questions.borrow_mut().ask(home.clone(), question, bytes, now);
        Self { server, questions, home, number }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.questions.borrow_mut().forget(self.number);
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
