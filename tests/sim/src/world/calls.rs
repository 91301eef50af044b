//! Calls that the home itself decides: the way there, the home's word, and the way back.

use shared::decision::{Ask, Denial};
use shared::home::call::CallId;
use shared::lease::message::HolderId;
use shared::lease::{CallEnd, WAIT_MS_MAX};

use super::center::Persisted;
use super::seats::{Place, Request};
use super::{Event, Target, World};
use crate::audit::{Serve, Verdict};

/// What a request that the home itself decides is sent with.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) place: Place,
    pub(super) request: Request,
    id: CallId,
    sent_us: u64,
}

impl Call {
    pub(super) fn ask(&self) -> &Ask {
        &self.request.ask
    }
}

/// What the home says of a call.
#[derive(Debug, Clone)]
pub(super) enum Word {
    /// It was allowed, and is counted as this.
    Allowed(Serve),
    /// It was denied.
    Denied(Denial),
    /// The home cannot decide it, or nobody waits for it any more.
    Unavailable,
}

impl World {
    /// Sends a request to the home. It has a number where the holder writes to the home itself: only the home knows of
    /// calls.
    pub(super) fn call_home(&mut self, place: Place, request: &Request) {
        let local = self.local(place.isolate);
        let seat = self.isolates[place.isolate].seats.last_mut().filter(|seat| seat.target == Target::Home);
        let id = match seat {
            Some(seat) if !request.ask.dry_run => {
                let number = seat.holder.begin_call(local);
                seat.wake_us = self.now_us + 1_000;
                let wake = Event::WakeSeat { isolate: place.isolate, serial: seat.serial };
                let id = CallId { holder: seat.holder.id(), number };
                self.after_ms(1, wake);
                id
            }
            _ => CallId { holder: place.holder, number: 0 },
        };
        let call = Call { place, request: request.clone(), id, sent_us: self.now_us };
        self.send_center(|| Event::Strict(Box::new(call.clone())));
    }

    /// Decides a call; `waited`: it has waited for the policy already.
    pub(super) fn decide_at_home(&mut self, call: Box<Call>, waited: bool) -> Verdict {
        if self.home.home.is_none() {
            return Ok(());
        }
        let Some(sure) = self.can_tell(std::slice::from_ref(&call.ask().key), waited) else {
            self.wait_for_policy(Event::Strict(call));
            return Ok(());
        };
        let (now, ask) = (self.home_now(), call.ask());
        let Some(home) = self.home.home.as_mut() else { return Ok(()) };
        let verdict = home.decide_call(now, ask, call.id).ok().flatten().filter(|_| sure);
        let persisted = self.persist_home();
        let word = match verdict.map(|verdict| verdict.denial) {
            None => Word::Unavailable,
            Some(Some(denial)) => Word::Denied(denial),
            Some(None) => Word::Allowed(self.serve_of(ask)),
        };
        if persisted != Persisted::Lost
            && !ask.dry_run
            && let Word::Allowed(serve) = &word
        {
            self.book_at_home(call.id, serve)?;
        }
        if persisted == Persisted::Done {
            if self.config.faults.late_answers && call.id.number > 0 {
                self.send_center(|| Event::Decided(call.clone(), word.clone()));
            } else {
                self.take_decision(&call, word)?;
            }
        }
        self.alarm_home();
        Ok(())
    }

    /// The home has allowed a call, and knows that also after a crash.
    fn book_at_home(&mut self, id: CallId, serve: &Serve) -> Verdict {
        if id.number == 0 {
            self.meters.at_home += 1;
            self.auditor.hands.decided_at_home(serve.at, &serve.key.agent, serve.units);
            return self.auditor.serve(serve);
        }
        let lives = self.caller(id.holder).is_some();
        self.auditor.call_allowed(id, serve, lives);
        Ok(())
    }

    /// Where the holder sits, while it lives.
    fn caller(&self, holder: HolderId) -> Option<(usize, usize)> {
        let living = self.isolates.iter().enumerate().filter(|(_, isolate)| isolate.alive);
        living
            .filter_map(|(number, isolate)| {
                Some((number, isolate.seats.iter().position(|seat| seat.holder.id() == holder)?))
            })
            .next()
    }

    /// The home's word comes back to who asked: in time, or when nobody waits any more.
    pub(super) fn take_decision(&mut self, call: &Call, word: Word) -> Verdict {
        let Place { isolate, .. } = call.place;
        if call.id.number == 0 {
            match word {
                Word::Denied(denial) => self.refuse(call.place, &call.request, denial),
                Word::Unavailable => self.meters.unavailable += 1,
                Word::Allowed(_) => {}
            }
            return Ok(());
        }
        let Some((number, seat)) = self.caller(call.id.holder) else {
            self.meters.unavailable += 1;
            return Ok(());
        };
        let is_late = self.now_us >= call.sent_us + WAIT_MS_MAX * 1_000;
        let end = match &word {
            _ if is_late => CallEnd::Void,
            Word::Allowed(_) => CallEnd::Left,
            Word::Denied(_) => CallEnd::Denied,
            Word::Unavailable => CallEnd::Void,
        };
        let local = self.local(number);
        let is_first = self.isolates[number].seats[seat].holder.end_call(local, call.id.number, end);
        match word {
            Word::Allowed(serve) if is_first && end == CallEnd::Left => {
                self.meters.at_home += 1;
                self.note(|| format!("isolate {isolate} serves {} for {}", serve.units, serve.key.agent));
                self.auditor.call_left(call.id, &serve)?;
            }
            Word::Denied(denial) if is_first && end == CallEnd::Denied => {
                self.refuse(call.place, &call.request, denial);
            }
            _ if is_first => {
                self.note(|| format!("isolate {isolate} does not hear in time"));
                self.meters.unavailable += 1;
            }
            Word::Allowed(_) | Word::Denied(_) | Word::Unavailable => {}
        }
        self.pump(number, seat, local)
    }
}
