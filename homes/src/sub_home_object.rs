//! The sub-home object: load, let [`SubHome`] act, and hand over what is to be written and sent.
//!
//! `sub_home.js` wraps this in a Durable Object class. Nothing may leave the object before
//! [`SubHomeObject::save`] has written what it tells of; the shell does that once for many calls.

use std::cell::{Cell, RefCell, RefMut};

use serde::Serialize;
use shared::home::call::ContactReply;
use shared::home::{HomeName, Row};
use shared::ids::Incarnation;
use shared::json;
use shared::lease::message::{Contact, HolderId, Reply};
use shared::lease::progress::Progress;
use shared::random::bits;
use shared::sub_home::SubHome;
use shared::time::Timestamp;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::rows;
use crate::sql::Sql;

/// The row that says whose sub-home this is.
const HOME: &str = "home";

/// What an isolate is told; `homes/js/contract.d.ts` has these three, too.
#[derive(Debug, Serialize)]
struct Delivery {
    /// Whose contact it was; none is everybody's who waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<String>,
    /// The reply in JSON, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
}

/// Who this is.
#[derive(Debug, Serialize)]
struct Itself {
    home: HomeName,
    /// What the home knows it by.
    holder: HolderId,
}

/// Contacts that are to be sent to the home, each in JSON.
#[derive(Debug, Serialize)]
struct Due {
    home: HomeName,
    contacts: Vec<String>,
}

/// What is known in memory.
#[derive(Debug)]
struct Known {
    home: HomeName,
    sub: SubHome,
}

/// One sub-home, in the memory of its Durable Object. What it must not forget is in its rows.
#[wasm_bindgen]
#[derive(Debug)]
pub struct SubHomeObject {
    sql: Sql,
    known: RefCell<Option<Box<Known>>>,
    generation: Cell<u32>,
}

#[wasm_bindgen]
impl SubHomeObject {
    /// The sub-home of the object with that SQL; its rows are read at the first call.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(sql: Sql) -> Self {
        Self { sql, known: RefCell::new(None), generation: Cell::new(0) }
    }

    /// Takes an isolate's contact for `home`, and answers with a `Delivery` in JSON; without a reply the contact waits for the home.
    /// `random` are eight random words.
    ///
    /// # Errors
    /// When the rows cannot be read or the contact is none; it counts as not received then.
    #[expect(clippy::too_many_arguments, reason = "JavaScript hands over plain values only")]
    pub fn contact(
        &self,
        home: &str,
        random: &[u32],
        contact: &str,
        seed: u64,
        now_ms: u64,
    ) -> Result<String, String> {
        let contact: Contact = json::read(contact).map_err(text)?;
        let home = HomeName::parse(home).map_err(text)?;
        let answered = self.act(Some((home, random)), |known| {
            known.sub.contact(Timestamp::from_ms(now_ms), seed, &contact).map(answer)
        })?;
        let parked =
            || Delivery { ticket: Some(ticket(contact.holder, contact.lane, contact.nonce)), reply: None };
        Ok(json::write(&answered.flatten().unwrap_or_else(parked)))
    }

    /// The home's name, and what it knows this sub-home by, as `Itself` in JSON; `undefined` where nothing was ever stored.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub fn known(&self) -> Result<Option<String>, String> {
        self.act(None, |known| json::write(&Itself { home: known.home.clone(), holder: known.sub.id() }))
    }

    /// Where its units are, as JSON; `undefined` where nothing was ever stored.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub fn leases(&self, now_ms: u64) -> Result<Option<String>, String> {
        self.act(None, |known| json::write(&known.sub.leases(Timestamp::from_ms(now_ms))))
    }

    /// Compares the rows with how far the home says that this sub-home is. If they are behind, the storage was
    /// restored: a new life begins, and this says so. `random` are eight random words.
    ///
    /// # Errors
    /// When the rows cannot be read, or the answer is not one of a home.
    pub fn resume(&self, progress: &str, random: &[u32]) -> Result<bool, String> {
        let progress: Progress = json::read(progress).map_err(text)?;
        let (id, incarnation) = fresh(random)?;
        let restored = self.act(None, |known| {
            let restored = known.sub.is_restored(&progress);
            if restored {
                known.sub.begin_life(id, incarnation);
            }
            restored
        })?;
        Ok(restored.unwrap_or(false))
    }

    /// The contacts that are to be sent to the home now, once everything is saved, as `Due` in JSON; `undefined` where
    /// nothing was ever stored.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub fn contacts(&self, now_ms: u64) -> Result<Option<String>, String> {
        self.act(None, |known| {
            let contacts = known.sub.contacts(Timestamp::from_ms(now_ms)).iter().map(json::write).collect();
            json::write(&Due { home: known.home.clone(), contacts })
        })
    }

    /// Takes what the home replied to a contact, and answers with a list of `Delivery` in JSON, one for each contact that waited and is
    /// answered; one without a ticket is for all of them.
    ///
    /// # Errors
    /// When the reply is not one of a home.
    pub fn receive(&self, reply: &str, seed: u64, now_ms: u64) -> Result<String, String> {
        let reply: ContactReply = json::read(reply).map_err(text)?;
        let now = Timestamp::from_ms(now_ms);
        let told: Vec<Delivery> = match reply {
            ContactReply::Reply(reply) => {
                let answers = self.act(None, |known| known.sub.receive(now, seed, *reply))?;
                answers.unwrap_or_default().into_iter().map(answer).collect()
            }
            ContactReply::Nobody => Vec::new(),
            failed @ ContactReply::Failed(_) => {
                self.act(None, |known| known.sub.home_failed())?;
                vec![Delivery { ticket: None, reply: Some(json::write(&failed)) }]
            }
        };
        Ok(json::write(&told))
    }

    /// In how many milliseconds there is something to do, if nothing else happens.
    #[must_use]
    pub fn wake(&self, now_ms: u64) -> Option<u32> {
        const LOOK_MS_MAX: u64 = 60_000;
        let now = Timestamp::from_ms(now_ms);
        let at = self.known.borrow_mut().as_mut()?.sub.wake_at(now)?;
        u32::try_from(at.ms_since(now).min(LOOK_MS_MAX)).ok()
    }

    /// Writes everything that has changed.
    ///
    /// # Errors
    /// When that is not possible: memory is then ahead of the rows, and is dropped.
    pub fn save(&self) -> Result<(), String> {
        let mut slot = self.known.borrow_mut();
        let Some(known) = slot.as_mut() else { return Ok(()) };
        rows::save(&self.sql, known.sub.take_writes()).inspect_err(|_| {
            *slot = None;
            self.generation.set(self.generation.get().wrapping_add(1));
        })
    }

    /// Changes whenever the memory was dropped.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation.get()
    }
}

impl SubHomeObject {
    /// Loads if need be and acts; nothing is saved.
    fn act<T>(
        &self,
        identity: Option<(HomeName, &[u32])>,
        act: impl FnOnce(&mut Known) -> T,
    ) -> Result<Option<T>, String> {
        Ok(self.loaded(identity)?.as_deref_mut().map(act))
    }

    /// What is known, loaded or founded if that is possible.
    fn loaded(&self, identity: Option<(HomeName, &[u32])>) -> Result<RefMut<'_, Option<Box<Known>>>, String> {
        let mut slot = self.known.borrow_mut();
        if slot.is_none() {
            *slot = self.load()?.map(Box::new);
        }
        if slot.is_none()
            && let Some((home, random)) = identity
        {
            *slot = Some(Box::new(self.found(home, random)?));
        }
        Ok(slot)
    }

    fn load(&self) -> Result<Option<Known>, String> {
        let mut rows = rows::load(&self.sql)?;
        let Some(home) = rows.iter().position(|(key, _)| key == HOME) else { return Ok(None) };
        let (_, home) = rows.remove(home);
        let home = HomeName::parse(&home).map_err(text)?;
        Ok(SubHome::load(rows).map_err(text)?.map(|sub| Known { home, sub }))
    }

    /// A sub-home that never stored anything.
    fn found(&self, home: HomeName, random: &[u32]) -> Result<Known, String> {
        let (id, incarnation) = fresh(random)?;
        let row = Row { key: HOME.to_owned(), value: Some(home.to_string()) };
        rows::save(&self.sql, vec![row])?;
        Ok(Known { home, sub: SubHome::new(id, incarnation) })
    }
}

/// What a new life is known by.
fn fresh(random: &[u32]) -> Result<(HolderId, Incarnation), String> {
    let (id, life) = random.split_at_checked(4).ok_or("eight random words are needed")?;
    let incarnation = Incarnation::parse(&format!("{:032x}", bits(life))).map_err(text)?;
    Ok((HolderId::from_bits(bits(id)), incarnation))
}

fn answer(reply: Reply) -> Delivery {
    let ticket = ticket(reply.holder, reply.lane, reply.nonce);
    Delivery { ticket: Some(ticket), reply: Some(json::write(&ContactReply::Reply(Box::new(reply)))) }
}

/// What a contact is known by while it waits.
fn ticket(holder: HolderId, lane: u8, nonce: u64) -> String {
    format!("{holder}/{lane}/{nonce}")
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
