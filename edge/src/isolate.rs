//! This isolate's holders, one for each home that it is asked about, and the requests that wait.
//!
//! Where a project has sub-homes, its holder writes to one of them instead of the home. When a policy
//! changes that, a new holder begins at the new place while the old one gives everything back.
//!
//! Whoever calls has one turn: nothing here waits, and nothing of one request is touched by another
//! but through these tables. They vanish with the isolate: what was not reported by then is forfeited.

use std::cell::RefCell;
use std::collections::BTreeMap;

use shared::decision::{Denial, Numbers, Verdict};
use shared::denials::Denials;
use shared::home::HomeName;
use shared::home::call::{CallId, ContactReply, Observing};
use shared::json;
use shared::lease;
use shared::lease::message::HolderId;
use shared::lease::{Answer, CallEnd, HeldUnits, Holder, Noted, WaiterId};
use shared::problem::ErrorCode;
use shared::time::Timestamp;
use shared::units::Units;

use crate::conclude::{self, Decided};
use crate::config::Config;
use crate::contract::Contact;
use crate::observe;
use crate::quick::Allowed;
use crate::region::Region;
use crate::step::{Deciding, Failure, Step};

mod denied;
mod known;
#[cfg(not(target_family = "wasm"))]
mod outlived;

pub(crate) use known::Again;
use known::Known;

/// Homes that one isolate holds leases of; requests for further ones are decided by their home.
const SEATS_MAX: usize = 1_000;
/// How long one background loop may live: the platform ends what outlives its request by more.
const LOOP_MS_MAX: u64 = 28_000;
/// After that long a further request takes over, so that idle units go back in time.
const LOOP_HANDOVER_MS: u64 = 14_000;
/// The shortest and longest nap of a background loop, in milliseconds.
const NAP_MS: (u64, u64) = (5, 500);
/// For how long a project that nobody knows is not asked for again, in milliseconds.
const UNKNOWN_MS: u64 = 1_000;
/// For how long a home without a policy is not asked again, in milliseconds.
const UNREADY_MS: u64 = 250;
/// An upstream that has not answered for so long will not, in milliseconds.
const HELD_MS_MAX: u64 = 600_000;
/// A request whose outcome was not fetched for so long is gone, in milliseconds.
const LOST_MS: u64 = 10_000;

/// What a decision leads to.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Do this.
    Step(Step),
    /// Serve this request.
    Allowed(Allowed),
    /// Ask for the outcome of that request later.
    Wait(u32),
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    holder: HolderId,
    id: WaiterId,
    since: Timestamp,
    asked: Asked,
}

/// What waits.
#[derive(Debug)]
enum Asked {
    Deciding(Deciding),
    /// Its key was not known.
    Observing(Observing),
}

/// The background loop of one holder. Its mark is a time, so that a loop that died is missed.
#[derive(Debug, Default, Clone, Copy)]
struct Loop {
    number: u32,
    since: Timestamp,
}

/// A holder, and the object that its contacts go to.
#[derive(Debug)]
struct Post {
    holder: Holder,
    object: String,
}

/// One home's holder here.
#[derive(Debug)]
struct Seat {
    post: Post,
    /// Holders that moved away from other objects and still owe something.
    leaving: Vec<Post>,
    /// The version of the terms that the post was chosen by.
    chosen_by: u64,
    used: Timestamp,
    /// When it was last looked whether somebody should look after the holder.
    looked: Timestamp,
    running: Loop,
    refused: Option<(String, Timestamp)>,
    waiting: BTreeMap<u32, Waiting>,
    held: BTreeMap<u32, Held>,
}

/// Units of a request that was allowed and is counted once its upstream answers.
#[derive(Debug)]
struct Held {
    holder: HolderId,
    units: HeldUnits,
    since: Timestamp,
}

/// The answer to a request that nothing is known of here any more.
fn gone() -> Turn {
    Turn::Step(Step::Answer(Failure::Home.answer()))
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Isolate {
    seats: BTreeMap<HomeName, Box<Seat>>,
    /// Questions that were allowed, by their numbers.
    known: Vec<Known>,
    /// What was left after the last answer that is known.
    left: [u64; 4],
    /// What was refused here.
    denials: Denials,
    /// Requests whose key is of no project.
    unknown_keys: u64,
    /// 128 random bits of this instance.
    id: u128,
    place: Place,
    /// Numbers seats, waiting requests and loops.
    last: u32,
}

thread_local! {
    static ISOLATE: RefCell<Isolate> = RefCell::default();
}

/// Where this isolate is, and how it begins with a project that it knows nothing of.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// Its region.
    pub(crate) region: Region,
    /// How many sub-homes are expected before a policy has said it; zero begins at the home.
    pub(crate) sub_homes: u32,
}

impl Place {
    fn object(&self, home: &HomeName, holder: HolderId, sub_homes: u32) -> String {
        match sub_homes {
            0 => home.to_string(),
            count => self.region.sub_home(home, holder, count),
        }
    }
}

/// Starts with empty hands, under random bits that no other instance has.
pub(crate) fn reset(id: u128, place: Place) {
    ISOLATE.set(Isolate { id, place, ..Isolate::default() });
}

/// One turn. `f` must not call this again.
pub(crate) fn with<T>(f: impl FnOnce(&mut Isolate) -> T) -> T {
    ISOLATE.with_borrow_mut(f)
}

impl Isolate {
    /// Decides a question with what is in hand, or says that it waits, or sends it to the home.
    pub(crate) fn decide(&mut self, config: &Config, deciding: Deciding, now: Timestamp) -> Turn {
        let Some(seat) = self.seat(&deciding.home, now) else { return Turn::Step(Step::Decide(deciding)) };
        seat.used = now;
        if let Some(code) = seat.refusal(now) {
            return Turn::Step(conclude::refused(config, deciding, &code, now));
        }
        let holder = seat.post.holder.id();
        match seat.post.holder.decide(now, &deciding.ask) {
            Answer::Wait(id) => {
                self.last = self.last.wrapping_add(1);
                let token = self.last;
                if let Some(seat) = self.seats.get_mut(&deciding.home) {
                    seat.looked = Timestamp::default();
                    let asked = Asked::Deciding(deciding);
                    seat.waiting.insert(token, Waiting { holder, id, since: now, asked });
                }
                Turn::Wait(token)
            }
            answer @ (Answer::Allow | Answer::Deny { .. } | Answer::AtHome | Answer::Unavailable) => {
                let held = seat.post.holder.take_held(None);
                let deciding = self.hold(holder, held, deciding, now);
                let Some(seat) = self.seats.get_mut(&deciding.home) else { return gone() };
                seat.conclude(config, (holder, deciding), answer, (now, Decided::Lease))
            }
        }
    }

    /// What became of a request that waited.
    pub(crate) fn outcome(&mut self, config: &Config, home: &HomeName, token: u32, now: Timestamp) -> Turn {
        let Some(seat) = self.seats.get_mut(home) else { return gone() };
        let Some(waiting) = seat.waiting.remove(&token) else { return gone() };
        if let Some(code) = seat.refusal(now) {
            seat.abandon(&waiting);
            return Turn::Step(match waiting.asked {
                Asked::Deciding(deciding) => conclude::refused(config, deciding, &code, now),
                Asked::Observing(_) => Step::Answer(conclude::failed(&code)),
            });
        }
        let Some(post) = seat.post_of(waiting.holder) else { return gone() };
        match post.holder.outcome(now, waiting.id) {
            Answer::Wait(_) => {
                seat.waiting.insert(token, waiting);
                Turn::Wait(token)
            }
            answer @ (Answer::Allow | Answer::Deny { .. } | Answer::AtHome | Answer::Unavailable) => {
                let held = post.holder.take_held(Some(waiting.id));
                let Waiting { holder, asked, .. } = waiting;
                let deciding = match asked {
                    Asked::Deciding(deciding) => deciding,
                    Asked::Observing(observing) => return self.observed(observing, answer, now),
                };
                let deciding = self.hold(holder, held, deciding, now);
                let Some(seat) = self.seats.get_mut(home) else { return gone() };
                let turn = seat.conclude(config, (holder, deciding), answer, (now, Decided::Home));
                // Whoever asks the new place next is not to find units out with the old one.
                seat.leave();
                turn
            }
        }
    }

    /// The contacts that are to be sent for a home now.
    pub(crate) fn contacts(&mut self, home: &HomeName, now: Timestamp) -> Vec<Contact> {
        let Some(seat) = self.seats.get_mut(home) else { return Vec::new() };
        seat.sweep(now);
        seat.leave();
        let mut due = Vec::new();
        for post in std::iter::once(&mut seat.post).chain(&mut seat.leaving) {
            for contact in post.holder.contacts(now) {
                due.push(Contact { object: post.object.clone(), contact: json::write(&contact) });
            }
        }
        due
    }

    /// What a home's holder can tell at once of calls that the home has decided, where others wait for it to hear of
    /// them. The reply is handed to [`Isolate::receive`].
    pub(crate) fn report_calls(
        &mut self,
        home: &HomeName,
        now: Timestamp,
    ) -> Option<lease::message::Contact> {
        let Post { holder, object } = &mut self.seats.get_mut(home)?.post;
        if *object == home.to_string() { holder.report_calls(now) } else { None }
    }

    /// Takes what a home or sub-home replied.
    pub(crate) fn receive(&mut self, home: &HomeName, reply: ContactReply, now: Timestamp) {
        let id = self.next_id();
        let Some(seat) = self.seats.get_mut(home) else { return };
        match reply {
            ContactReply::Reply(reply) => {
                if let Some(post) = seat.post_of(reply.holder) {
                    let before = post.holder.id();
                    post.holder.receive(now, *reply);
                    let after = post.holder.id();
                    // Whoever waits in a holder whose home has begun another life waits on: what it is given must be fetched.
                    let of_it = seat.waiting.values_mut().filter(|waiting| waiting.holder == before);
                    of_it.for_each(|waiting| waiting.holder = after);
                }
                seat.settle_down(home, &self.place, id);
            }
            ContactReply::Nobody => {}
            // Whoever has leases goes on with them, and asks again.
            ContactReply::Failed(_) if seat.post.holder.terms().is_some() => {}
            ContactReply::Failed(code) => {
                let code = conclude::told(code);
                let unknown = code == ErrorCode::ProjectUnknown.as_str();
                let until = now.plus_ms(if unknown { UNKNOWN_MS } else { UNREADY_MS });
                seat.refused = Some((code, until));
                if seat.post.holder.contact_failed() {
                    seat.post.holder = holder(id);
                }
            }
        }
    }

    /// Keeps what an allowed request holds, under a token that the request then carries.
    fn hold(
        &mut self,
        holder: HolderId,
        units: Option<HeldUnits>,
        mut deciding: Deciding,
        now: Timestamp,
    ) -> Deciding {
        let Some(units) = units else { return deciding };
        self.last = self.last.wrapping_add(1);
        let token = self.last;
        if let Some(seat) = self.seats.get_mut(&deciding.home) {
            seat.held.insert(token, Held { holder, units, since: now });
        }
        deciding.token = token;
        deciding
    }

    /// Takes the home's word on a call, if there is any. False where the call was given up meanwhile: nobody may be told.
    pub(crate) fn take_verdict(
        &mut self,
        deciding: &mut Deciding,
        verdict: Option<&mut Verdict>,
        now: Timestamp,
    ) -> bool {
        let end = match &verdict {
            Some(Verdict { denial: None, .. }) => CallEnd::Left,
            Some(Verdict { denial: Some(_), .. }) => CallEnd::Denied,
            None => CallEnd::Void,
        };
        if !self.end_call(deciding, end, now) {
            return false;
        }
        if let Some(verdict) = verdict {
            self.complete(deciding, &mut verdict.numbers, now);
            deciding.token = self.hold_at_home(deciding, verdict, now);
        }
        true
    }

    /// A holder that is forgotten is silent: its home counts what it was allowed.
    fn end_call(&mut self, deciding: &Deciding, end: CallEnd, now: Timestamp) -> bool {
        let Some(call) = deciding.call.filter(|call| call.number > 0) else { return true };
        let post = self.seats.get_mut(&deciding.home).and_then(|seat| seat.post_of(call.holder));
        post.is_none_or(|post| post.holder.end_call(now, call.number, end))
    }

    /// Keeps what the home has issued for a request that it has allowed and that is counted later;
    /// says under which token. The home has counted the others itself.
    fn hold_at_home(&mut self, deciding: &Deciding, verdict: &Verdict, now: Timestamp) -> u32 {
        let held = deciding.ask.held && verdict.denial.is_none();
        let Some(CallId { holder, .. }) = deciding.call.filter(|_| held) else { return 0 };
        self.last = self.last.wrapping_add(1);
        let token = self.last;
        let Some(seat) = self.seats.get_mut(&deciding.home) else { return 0 };
        let Some(post) = seat.post_of(holder) else { return 0 };
        let units = post.holder.held_at_home(&deciding.ask, verdict.numbers.now.minute(), verdict.paid);
        seat.held.insert(token, Held { holder, units, since: now });
        token
    }

    /// An upstream has answered the request of that token, or will not.
    pub(crate) fn conclude_held(&mut self, home: &HomeName, token: u32, is_answered: bool, now: Timestamp) {
        let Some(seat) = self.seats.get_mut(home) else { return };
        let Some(Held { holder, units, .. }) = seat.held.remove(&token) else { return };
        let Some(post) = seat.post_of(holder) else { return };
        if is_answered { post.holder.served(now, units) } else { post.holder.give_back(units) }
    }

    /// Notes what a client observed; one whose key is strange waits as requests do.
    pub(crate) fn note(&mut self, observing: Observing, now: Timestamp) -> Turn {
        match self.observe(&observing, now) {
            Noted::Here => Turn::Step(observe::noted(&observing, None)),
            Noted::KeyRevoked => Turn::Step(observe::noted(&observing, Some(Denial::KeyRevoked))),
            Noted::AtHome => Turn::Step(Step::Observe(observing)),
            Noted::Strange => self.await_key(observing, now),
        }
    }

    fn await_key(&mut self, observing: Observing, now: Timestamp) -> Turn {
        self.last = self.last.wrapping_add(1);
        let token = self.last;
        let Some(seat) = self.seats.get_mut(&observing.home) else { return gone() };
        let holder = &mut seat.post.holder;
        let Some(id) = holder.await_key(now, &observing.key, observing.kind) else {
            return Turn::Step(Step::Observe(observing));
        };
        let holder = holder.id();
        seat.looked = Timestamp::default();
        let asked = Asked::Observing(observing);
        seat.waiting.insert(token, Waiting { holder, id, since: now, asked });
        Turn::Wait(token)
    }

    /// What became of an observation whose key was strange.
    fn observed(&mut self, observing: Observing, answer: Answer, now: Timestamp) -> Turn {
        Turn::Step(match answer {
            Answer::Deny { denial, .. } => observe::noted(&observing, Some(denial)),
            Answer::Wait(_) | Answer::Unavailable => Step::Answer(Failure::Home.answer()),
            Answer::Allow | Answer::AtHome => match self.observe(&observing, now) {
                Noted::Here => observe::noted(&observing, None),
                Noted::KeyRevoked => observe::noted(&observing, Some(Denial::KeyRevoked)),
                Noted::AtHome | Noted::Strange => Step::Observe(observing),
            },
        })
    }

    /// Notes what was observed, with the next report of the home's holder if that can be.
    pub(crate) fn observe(&mut self, observing: &Observing, now: Timestamp) -> Noted {
        let Observing { home, key, kind, agent, observed } = observing;
        let Some(seat) = self.seat(home, now) else { return Noted::AtHome };
        seat.used = now;
        seat.post.holder.observe(now, key, (*kind, agent), *observed)
    }

    /// Whether somebody should look after a home's holder now: it owes something and no loop is alive, or a
    /// contact is due. Once in a millisecond is often enough for the latter, unless a request has to wait.
    pub(crate) fn is_restless(&mut self, home: &HomeName, now: Timestamp) -> bool {
        self.seats.get_mut(home).is_some_and(|seat| seat.is_restless(now))
    }

    /// Begins a background loop, unless one is young enough; returns its number.
    pub(crate) fn begin_loop(&mut self, home: &HomeName, now: Timestamp) -> Option<u32> {
        self.last = self.last.wrapping_add(1);
        let number = self.last;
        let seat = self.seats.get_mut(home)?;
        let alive = now.ms_since(seat.running.since) < LOOP_HANDOVER_MS;
        if alive || seat.is_drained() {
            return None;
        }
        seat.running = Loop { number, since: now };
        Some(number)
    }

    /// How long a background loop sleeps before it looks again; `None` ends it.
    pub(crate) fn nap(&mut self, home: &HomeName, number: u32, now: Timestamp) -> Option<u64> {
        let seat = self.seats.get_mut(home)?;
        if seat.running.number != number {
            return None;
        }
        let wake = seat.wake_at(now).filter(|_| !seat.is_drained());
        if wake.is_none() || now.ms_since(seat.running.since) >= LOOP_MS_MAX {
            seat.running = Loop::default();
            return None;
        }
        wake.map(|at| at.ms_since(now).clamp(NAP_MS.0, NAP_MS.1))
    }

    /// Completes a home's numbers by what is known here: what was served and not reported, and permits in hand.
    pub(crate) fn complete(&mut self, deciding: &Deciding, numbers: &mut Numbers, now: Timestamp) {
        let Some(seat) = self.seats.get(&deciding.home) else { return };
        let holder = &seat.post.holder;
        // Neither counts a unit twice: one is what the home knows, the other what it knew when it last wrote and what was
        // served here since.
        numbers.used = numbers.used.max(holder.used(numbers.period));
        let permits = u32::try_from(holder.in_hand(now).permits).unwrap_or(u32::MAX);
        numbers.rpm_remaining = numbers.rpm_remaining.saturating_add(permits).min(numbers.rpm);
        // What a sub-home has issued since it last wrote to the home is known here, not there; what the home has just
        // counted is not. A holder that knows of nothing left knows of no permits either.
        let is_newer = deciding.ask.dry_run && seat.post.object != deciding.home.to_string();
        let known = holder.numbers(now).filter(|_| is_newer && holder.is_fresh(now));
        let is_usable =
            |known: &Numbers| known.period == numbers.period && known.remaining() > Some(Units::ZERO);
        if let Some(known) = known.filter(is_usable) {
            numbers.rpm_remaining = known.rpm_remaining;
        }
    }

    fn next_id(&mut self) -> u128 {
        self.last = self.last.wrapping_add(1);
        self.id.wrapping_add(u128::from(self.last))
    }

    /// The holder of a home; `None` where there are too many that owe something.
    fn seat(&mut self, home: &HomeName, now: Timestamp) -> Option<&mut Seat> {
        if !self.seats.contains_key(home) {
            if self.seats.len() >= SEATS_MAX {
                let free = self.seats.iter().filter(|(_, seat)| seat.is_free(now));
                let oldest = free.min_by_key(|(_, seat)| seat.used).map(|(name, _)| name.clone())?;
                self.seats.remove(&oldest);
            }
            let id = self.next_id();
            let holder = holder(id);
            let object = self.place.object(home, holder.id(), self.place.sub_homes);
            let seat = Box::new(Seat {
                post: Post { holder, object },
                leaving: Vec::new(),
                chosen_by: 0,
                used: now,
                looked: Timestamp::default(),
                running: Loop::default(),
                refused: None,
                waiting: BTreeMap::new(),
                held: BTreeMap::new(),
            });
            self.seats.insert(home.clone(), seat);
        }
        self.seats.get_mut(home).map(Box::as_mut)
    }
}

impl Seat {
    /// The code of why the home cannot be asked at all.
    fn refusal(&self, now: Timestamp) -> Option<String> {
        let (code, until) = self.refused.as_ref()?;
        (now < *until).then(|| code.clone())
    }

    fn conclude(
        &mut self,
        config: &Config,
        (holder, deciding): (HolderId, Deciding),
        answer: Answer,
        (now, decided): (Timestamp, Decided),
    ) -> Turn {
        let denial = match answer {
            Answer::Allow => None,
            Answer::Deny { denial, .. } => Some(denial),
            Answer::AtHome => {
                return Turn::Step(Step::Decide(self.call_home(holder, deciding, now)));
            }
            Answer::Wait(_) | Answer::Unavailable => {
                let code = ErrorCode::HomeUnavailable.as_str();
                return Turn::Step(conclude::refused(config, deciding, code, now));
            }
        };
        // Nothing is decided before the first reply.
        let Some(numbers) = self.post_of(holder).and_then(|post| post.holder.numbers(now)) else {
            let code = ErrorCode::HomeUnavailable.as_str();
            return Turn::Step(conclude::refused(config, deciding, code, now));
        };
        if denial.is_none() {
            let paid = self.post_of(holder).and_then(|post| post.holder.take_paid());
            return Turn::Allowed(Allowed { deciding, numbers, now, decided, paid });
        }
        let verdict = Verdict { denial, numbers, paid: None };
        Turn::Step(conclude::decided(config, deciding, &verdict, now, decided))
    }

    /// Begins a call of the home. Where the holder writes to a sub-home it has no number: only the home knows of calls.
    fn call_home(&mut self, holder: HolderId, mut deciding: Deciding, now: Timestamp) -> Deciding {
        let is_at_home = self.post.object == deciding.home.to_string();
        let counts = is_at_home && !deciding.ask.dry_run;
        deciding.call = Some(if counts {
            CallId { holder: self.post.holder.id(), number: self.post.holder.begin_call(now) }
        } else {
            CallId { holder, number: 0 }
        });
        deciding.restless = counts && self.is_restless(now);
        deciding
    }

    fn is_restless(&mut self, now: Timestamp) -> bool {
        // Asked first: clocks stand still between I/O, and the last request may be the one that is served now.
        if now.ms_since(self.running.since) >= LOOP_HANDOVER_MS && !self.is_drained() {
            return true;
        }
        if self.looked == now {
            return false;
        }
        self.looked = now;
        self.wake_at(now).is_some_and(|at| at <= now)
    }

    fn is_free(&self, now: Timestamp) -> bool {
        self.owes_nothing() && self.waiting.values().all(|waiting| waiting.is_lost(now))
    }

    /// Whether nothing is owed, and nobody waits who may be gone.
    fn is_drained(&self) -> bool {
        self.owes_nothing() && self.waiting.is_empty()
    }

    fn owes_nothing(&self) -> bool {
        self.post.holder.is_drained() && self.leaving.is_empty() && self.held.is_empty()
    }

    fn wake_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let lost = self.waiting.values().next().map(|waiting| waiting.since.plus_ms(LOST_MS + 1));
        let posts = std::iter::once(&mut self.post).chain(&mut self.leaving);
        posts.filter_map(|post| post.holder.wake_at(now)).chain(lost).min()
    }

    fn post_of(&mut self, holder: HolderId) -> Option<&mut Post> {
        std::iter::once(&mut self.post).chain(&mut self.leaving).find(|post| post.holder.id() == holder)
    }

    /// Moves to where the newest terms say that this isolate belongs; `id` is a new holder's.
    fn settle_down(&mut self, home: &HomeName, place: &Place, id: u128) {
        let Some(terms) = self.post.holder.terms() else { return };
        // A sub-home may still have older terms than those that sent us to it.
        if terms.version <= self.chosen_by {
            return;
        }
        self.chosen_by = terms.version;
        let count = if terms.strict { 0 } else { terms.sub_homes };
        let holder = holder(id);
        let object = place.object(home, holder.id(), count);
        if object != self.post.object {
            let old = std::mem::replace(&mut self.post, Post { holder, object });
            self.leaving.push(old);
        }
    }

    /// Closes holders that moved away, once nobody waits in them, and drops those that owe nothing.
    fn leave(&mut self) {
        let (waiting, held) = (&self.waiting, &self.held);
        self.leaving.retain_mut(|post| {
            let id = post.holder.id();
            let owes = held.values().any(|held| held.holder == id);
            if owes || waiting.values().any(|waiting| waiting.holder == id) {
                return true;
            }
            post.holder.close();
            !post.holder.is_drained()
        });
    }

    /// Forgets requests whose client went away, and gives back what upstreams never answered.
    fn sweep(&mut self, now: Timestamp) {
        while let Some(oldest) = self.held.first_entry()
            && now.ms_since(oldest.get().since) > HELD_MS_MAX
        {
            let held = oldest.remove();
            if let Some(post) = self.post_of(held.holder) {
                post.holder.give_back(held.units);
            }
        }
        while let Some(oldest) = self.waiting.first_entry()
            && oldest.get().is_lost(now)
        {
            let lost = oldest.remove();
            self.abandon(&lost);
        }
    }

    fn abandon(&mut self, waiting: &Waiting) {
        if let Some(post) = self.post_of(waiting.holder) {
            post.holder.abandon(waiting.id);
        }
    }
}

impl Waiting {
    fn is_lost(&self, now: Timestamp) -> bool {
        now.ms_since(self.since) > LOST_MS
    }
}

fn holder(id: u128) -> Holder {
    let seed = u64::try_from(id & u128::from(u64::MAX)).unwrap_or_default();
    Holder::new(HolderId::from_bits(id), seed)
}

#[cfg(test)]
mod tests;
