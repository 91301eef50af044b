//! The home object: load, let [`Home`] decide, save, reply. Nothing else.
//!
//! `home.js` wraps this in a Durable Object class and does the waiting: it pulls a policy when a
//! reply asks for one, and sends the flushes that are handed out when they are due. Decisions and
//! contacts are saved in groups, before any reply of them leaves; every other method saves by itself or says why not.

use std::cell::{Cell, RefCell, RefMut};

use serde::Serialize;
use shared::home::call::CallId;
use shared::home::question::Question;
use shared::home::{Home, HomeName};
use shared::ids::Incarnation;
use shared::json;
use shared::lease::message::HolderId;
use shared::lease::progress::Progress;
use shared::policy::SignedPolicy;
use shared::sign::{Purpose, Signed};
use shared::time::Timestamp;
use shared::wire::{Flush, FlushAck, INGEST_PATH};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::keys;
use crate::rows;
use crate::sql::Sql;

/// A signed message to the aggregator, as `home.js` sends it.
#[derive(Debug, Serialize)]
struct Message {
    path: &'static str,
    body: String,
    signature: String,
}

/// A flush as `home.js` sends it: each message in turn, then one call with the outcome.
#[derive(Debug, Serialize)]
struct Round {
    seq: u64,
    messages: Vec<Message>,
}

/// One home, in the memory of its Durable Object. What it knows is in its rows: it may be dropped
/// and rebuilt between any two calls.
#[wasm_bindgen]
#[derive(Debug)]
pub struct HomeObject {
    sql: Sql,
    home: RefCell<Option<Box<Home>>>,
    generation: Cell<u32>,
}

#[wasm_bindgen]
impl HomeObject {
    /// The home of the object with that SQL; its rows are read at the first call.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(sql: Sql) -> Self {
        Self { sql, home: RefCell::new(None), generation: Cell::new(0) }
    }

    /// Decides one question of an isolate as that call of its holder; an empty text is none. `undefined` means
    /// that a policy must be pulled first, and nothing was done; whoever has `waited` for it is answered with what is known.
    ///
    /// # Errors
    /// When the rows cannot be read; nothing was decided then.
    #[expect(clippy::too_many_arguments, reason = "JavaScript hands over plain values only")]
    pub fn decide(
        &self,
        name: &str,
        fresh: &str,
        ask: &str,
        call: &str,
        waited: bool,
        now_ms: u64,
    ) -> Result<Option<String>, String> {
        let question = Question::Decide(json::read(ask).map_err(text)?, CallId::parse(call));
        self.reply((name, fresh), &question, waited, (0, now_ms))
    }

    /// Notes what a client observed. `undefined` as for [`Self::decide`].
    ///
    /// # Errors
    /// When the rows cannot be read; nothing was noted then.
    #[expect(clippy::too_many_arguments, reason = "JavaScript hands over plain values only")]
    pub fn observe(
        &self,
        name: &str,
        fresh: &str,
        observing: &str,
        waited: bool,
        now_ms: u64,
    ) -> Result<Option<String>, String> {
        let question = Question::Observe(json::read(observing).map_err(text)?);
        self.reply((name, fresh), &question, waited, (0, now_ms))
    }

    /// Takes a holder's contact. `undefined` as for [`Self::decide`].
    ///
    /// # Errors
    /// When the rows cannot be read; the contact counts as not received then.
    #[expect(clippy::too_many_arguments, reason = "JavaScript hands over plain values only")]
    pub fn contact(
        &self,
        name: &str,
        fresh: &str,
        contact: &str,
        waited: bool,
        seed: u64,
        now_ms: u64,
    ) -> Result<Option<String>, String> {
        let question = Question::Contact(Box::new(json::read(contact).map_err(text)?));
        self.reply((name, fresh), &question, waited, (seed, now_ms))
    }

    /// How far that holder is with this home.
    ///
    /// # Errors
    /// When the rows cannot be read, or the holder is none.
    pub fn progress(&self, holder: &str, now_ms: u64) -> Result<String, String> {
        let holder = HolderId::parse(holder).ok_or("the holder is no id of 32 hex digits")?;
        let progress =
            self.act(None, Timestamp::from_ms(now_ms), |home| json::write(&home.progress_of(holder)))?;
        Ok(progress.unwrap_or_else(|| json::write(&Progress::default())))
    }

    /// Where the units of the month are, as JSON; `undefined` where nothing was ever stored.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub fn leases(&self, now_ms: u64) -> Result<Option<String>, String> {
        let now = Timestamp::from_ms(now_ms);
        self.act(None, now, |home| json::write(&home.leases(now)))
    }

    /// The signed request for this home's policy.
    ///
    /// # Errors
    /// When the rows cannot be read, or there is no key to sign with.
    pub fn pull(&self, name: &str, fresh: &str, now_ms: u64) -> Result<Option<String>, String> {
        let now = Timestamp::from_ms(now_ms);
        let life = Incarnation::parse(fresh).map_err(text)?;
        let pull = self.turn(Some((name, fresh)), now, |home| {
            home.begin_stay(now, life);
            home.pull_begins(now);
            home.pull()
        })?;
        pull.map(|pull| message(&pull, now).map(|message| json::write(&message))).transpose()
    }

    /// Installs a signed policy, if it is newer, and says which version is installed now.
    ///
    /// # Errors
    /// When the signature is not by a policy key, or the rows cannot be read or written.
    pub fn install(&self, name: &str, fresh: &str, signed: &str, now_ms: u64) -> Result<Option<u64>, String> {
        let signed: SignedPolicy = json::read(signed).map_err(text)?;
        let policy = keys::with(|keys| signed.open(keys)).map_err(text)?;
        let now = Timestamp::from_ms(now_ms);
        let version = self.turn(Some((name, fresh)), now, |home| {
            home.install(policy);
            home.policy_version()
        })?;
        Ok(version.flatten())
    }

    /// Takes the answer to [`Self::pull`]: installs its policy if that is newer.
    ///
    /// # Errors
    /// As [`Self::install`].
    pub fn pulled(&self, name: &str, fresh: &str, ack: &str, now_ms: u64) -> Result<(), String> {
        let ack: FlushAck = json::read(ack).map_err(text)?;
        let policy = keys::with(|keys| ack.policy.open(keys)).map_err(text)?;
        let now = Timestamp::from_ms(now_ms);
        let told = |home: &mut Home| {
            home.pull_told(now, ack.watermark, &ack.merged);
            home.pulled(now, policy);
        };
        self.turn(Some((name, fresh)), now, told).map(|_| ())
    }

    /// [`Self::pull`] was not answered.
    ///
    /// # Errors
    /// When the rows cannot be read.
    #[wasm_bindgen(js_name = pullFailed)]
    pub fn pull_failed(&self, now_ms: u64) -> Result<(), String> {
        self.act(None, Timestamp::from_ms(now_ms), Home::pull_failed).map(|_| ())
    }

    /// What is to be flushed now, signed; `undefined` if there is nothing.
    ///
    /// # Errors
    /// When the rows cannot be read, or there is no key to sign with.
    pub fn flush(&self, now_ms: u64) -> Result<Option<String>, String> {
        let now = Timestamp::from_ms(now_ms);
        let Some(round) = self.turn(None, now, |home| home.flush(now))?.flatten() else { return Ok(None) };
        let messages =
            round.messages.iter().map(|flush| message(flush, now)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(json::write(&Round { seq: round.seq, messages })))
    }

    /// Every message of flush `seq` was answered with 200; `ack` is the last answer's body. That is written with what
    /// comes next, or at once with a new policy: if it is lost before, the same is flushed again.
    ///
    /// # Errors
    /// When the answer is not one of an aggregator, or the rows cannot be read or written. The flush
    /// then counts as not sent.
    pub fn flushed(&self, seq: u64, ack: &str, now_ms: u64) -> Result<(), String> {
        let now = Timestamp::from_ms(now_ms);
        let ack: FlushAck = json::read(ack).map_err(text)?;
        if ack.watermark < seq {
            return Err(format!("the aggregator acknowledged flush {}, not {seq}", ack.watermark));
        }
        let policy = keys::with(|keys| ack.policy.open(keys)).map_err(text)?;
        let is_new = self.act(None, now, |home| {
            home.flushed(now, seq);
            home.install(policy)
        })?;
        if is_new == Some(true) { self.save() } else { Ok(()) }
    }

    /// A message of the flush was not answered with 200.
    ///
    /// # Errors
    /// When the rows cannot be read.
    #[wasm_bindgen(js_name = flushFailed)]
    pub fn flush_failed(&self, now_ms: u64) -> Result<(), String> {
        let now = Timestamp::from_ms(now_ms);
        self.turn(None, now, |home| home.flush_failed(now)).map(|_| ())
    }

    /// Writes everything that decisions and contacts have changed. They must not be answered before.
    ///
    /// # Errors
    /// When that is not possible: memory is then ahead of the rows, and is dropped.
    pub fn save(&self) -> Result<(), String> {
        let mut slot = self.home.borrow_mut();
        let Some(home) = slot.as_mut() else { return Ok(()) };
        rows::save(&self.sql, home.take_writes()).inspect_err(|_| {
            *slot = None;
            self.generation.set(self.generation.get().wrapping_add(1));
        })
    }

    /// Changes whenever the memory was dropped.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation.get()
    }

    /// When there is something to flush, in milliseconds since the epoch; `undefined` also where nothing was read yet.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        self.home.borrow().as_ref().and_then(|home| home.flush_due()).map(Timestamp::as_ms)
    }
}

impl HomeObject {
    fn reply(
        &self,
        identity: (&str, &str),
        question: &Question,
        waited: bool,
        (seed, now_ms): (u64, u64),
    ) -> Result<Option<String>, String> {
        let now = Timestamp::from_ms(now_ms);
        Ok(self.act(Some(identity), now, |home| home.reply(now, seed, question, waited))?.flatten())
    }

    /// One turn: load if need be, act, save.
    fn turn<T>(
        &self,
        identity: Option<(&str, &str)>,
        now: Timestamp,
        act: impl FnOnce(&mut Home) -> T,
    ) -> Result<Option<T>, String> {
        let result = self.act(identity, now, act)?;
        self.save()?;
        Ok(result)
    }

    /// The same without saving: the shell calls [`HomeObject::save`] once for many of them. An object
    /// that stored nothing yet acts only when it is told who it is (`name` and a fresh incarnation).
    fn act<T>(
        &self,
        identity: Option<(&str, &str)>,
        now: Timestamp,
        act: impl FnOnce(&mut Home) -> T,
    ) -> Result<Option<T>, String> {
        Ok(self.known(identity, now)?.as_deref_mut().map(act))
    }

    /// The home in memory: loaded if need be, or new if it is told who it is.
    fn known(
        &self,
        identity: Option<(&str, &str)>,
        now: Timestamp,
    ) -> Result<RefMut<'_, Option<Box<Home>>>, String> {
        let mut slot = self.home.borrow_mut();
        if slot.is_none() {
            *slot = Home::load(rows::load(&self.sql)?, now).map_err(text)?.map(Box::new);
        }
        if slot.is_none()
            && let Some((name, fresh)) = identity
        {
            let name = HomeName::parse(name).map_err(text)?;
            *slot = Some(Box::new(Home::new(name, Incarnation::parse(fresh).map_err(text)?)));
        }
        Ok(slot)
    }
}

fn message(flush: &Flush, now: Timestamp) -> Result<Message, String> {
    let body = json::write(flush);
    let signed = Signed { method: "POST", path: INGEST_PATH, body: body.as_bytes() };
    let signature = keys::with(|keys| keys.current(Purpose::Edge).map(|key| signed.sign(key, now)));
    let signature = signature.ok_or("there is no signing key of purpose edge")?;
    Ok(Message { path: INGEST_PATH, body, signature })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
