//! What is known only after a request was allowed: whether the upstream answered, and what it observed.
//!
//! Observations and answers travel with the next report; nothing here is waited for by a client,
//! except where a home itself must note an observation.

use shared::cell::Observed;
use shared::decision::Denial;
use shared::home::call::{HomeReply, Observing};
use shared::json;
use shared::lease::Noted;
use shared::time::Timestamp;
use shared::units::Units;
use shared::whole::whole;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::conclude;
use crate::contract::{Concluded, Instruction, Ticket, Upstream};
use crate::gate::{self, Head};
use crate::isolate::{self, Turn};
use crate::step::{Answer, Failure, ObserveAnswer, Step};
use crate::{config, told};

/// Statuses from here on are no answers of the governance service, or say that it failed.
const FAILED_STATUS: u16 = 500;

/// Notes the body of `POST /v1/observe`, and says what to do as `decide` does.
#[wasm_bindgen(js_name = observeBody)]
#[must_use]
pub fn observe_body(authorization: &str, agent: &str, body: &str, now_ms: u64) -> String {
    let head = Head::continued(authorization, agent);
    let now = Timestamp::from_ms(now_ms);
    let observing = match config::with(|config| gate::observation(config, &head, body)) {
        Ok(observing) => observing,
        Err(answer) => {
            isolate::with(|isolate| isolate.count(&answer, now));
            return Instruction::step(Step::Answer(*answer)).to_json();
        }
    };
    let home = observing.home.clone();
    told(isolate::with(|isolate| isolate.note(observing, now)), &home, now)
}

/// Turns the home's reply to an observation into the answer.
#[wasm_bindgen]
#[must_use]
pub fn observed(step: &str, reply: &str, now_ms: u64) -> String {
    let Ok(observing) = json::read::<Observing>(step) else {
        return Instruction::step(Step::Answer(Failure::Internal.answer())).to_json();
    };
    let step = match json::read(reply) {
        Ok(HomeReply::Observed(denial)) => noted(&observing, denial),
        Ok(HomeReply::Failed(code)) => Step::Answer(conclude::failed(&conclude::told(code))),
        Ok(HomeReply::Verdict(_)) | Err(_) => Step::Answer(Failure::Home.answer()),
    };
    told(Turn::Step(step), &observing.home, Timestamp::from_ms(now_ms))
}

/// What the upstream said to a forwarded request: its [`Ticket`] and what became of it as `Upstream`, answered with
/// `Concluded`, all in JSON.
#[wasm_bindgen]
#[must_use]
pub fn answered(ticket: &str, upstream: &str, now_ms: u64) -> String {
    let (Ok(ticket), Ok(upstream)) = (json::read::<Ticket>(ticket), json::read::<Upstream>(upstream)) else {
        return json::write(&Concluded::default());
    };
    json::write(&concluded(ticket, &upstream, Timestamp::from_ms(now_ms)))
}

fn concluded(ticket: Ticket, upstream: &Upstream, now: Timestamp) -> Concluded {
    let Ticket { home, kind, agent, key, token } = ticket;
    let is_answered = upstream.status > 0 && upstream.status < FAILED_STATUS;
    isolate::with(|isolate| isolate.conclude_held(&home, token, is_answered, now));
    let counted = token == 0 || is_answered;
    let observed = observed_of(&upstream.tokens_in, &upstream.tokens_out, &upstream.anchors);
    if !observed.is_empty() {
        let observing = Observing { home: home.clone(), key, kind, agent, observed };
        match isolate::with(|isolate| isolate.observe(&observing, now)) {
            // Whoever decided the request may know its key already.
            Noted::AtHome | Noted::Strange => {
                return Concluded { counted, restless: None, observe: Some(observing) };
            }
            Noted::Here | Noted::KeyRevoked => {}
        }
    }
    let restless = isolate::with(|isolate| isolate.is_restless(&home, now)).then_some(home);
    Concluded { counted, restless, observe: None }
}

/// What an upstream's headers say was observed.
pub(crate) fn observed_of(tokens_in: &str, tokens_out: &str, anchors: &str) -> Observed {
    Observed {
        tokens_in: count(tokens_in, Observed::TOKENS_MAX),
        tokens_out: count(tokens_out, Observed::TOKENS_MAX),
        anchors: count(anchors, Observed::ANCHORS_MAX),
    }
}

/// What a header counts; one that cannot be meant counts nothing.
fn count(text: &str, max: u64) -> Units {
    let number: Option<u64> = whole(text.trim_ascii());
    Units::new(number.filter(|number| *number <= max).unwrap_or(0))
}

/// The answer to an observation that was noted, or why it was not.
pub(crate) fn noted(observing: &Observing, denial: Option<Denial>) -> Step {
    let Observing { home, kind, agent, observed, .. } = observing;
    if let Some(denial) = denial {
        let asked = (home.clone(), *kind, agent.clone());
        return Step::Answer(gate::unauthorized_answer().denying(asked, denial.reason()));
    }
    let answer = ObserveAnswer { kind: *kind, agent, observed: *observed };
    Step::Answer(Answer::json(json::write(&answer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_counts_what_it_can_mean_and_nothing_else() {
        let cases = [("", 0), ("0", 0), ("17", 17), (" 17 ", 17), ("1000", 1_000), ("1001", 0), ("-1", 0)];
        for (text, expected) in cases.into_iter().chain([("1.5", 0), ("many", 0), ("1e3", 0), ("+5", 0)]) {
            assert_eq!(count(text, 1_000), Units::new(expected), "{text}");
        }
    }
}
