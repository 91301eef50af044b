//! The promises of a holder, each as a sentence.

use super::*;
use crate::ids::{Incarnation, KeyId};
use crate::kind::Kind;
use crate::lease::WAIT_MS_MAX;
use crate::lease::message::{AgentGrant, Body, Contact, Lease, NextPermits, Refusal, Reply};
use crate::source::Beyond;
use crate::time::Day;

/// 20 s before a minute ends, by a clock that agrees with the home's.
fn start() -> Timestamp {
    Day::parse("2026-11-23").unwrap().start().plus_ms(12 * 3_600_000 + 40_000)
}

fn ask(cost: u32) -> Ask {
    Ask {
        key: KeyId::parse("k001").unwrap(),
        kind: Kind::Verify,
        agent: AgentId::none(),
        cost,
        dry_run: false,
        held: false,
    }
}

fn holder() -> Holder {
    Holder::new(HolderId::from_bits(7), 7)
}

fn terms() -> Terms {
    Terms {
        version: 1,
        status: Status::Active,
        plan: crate::plan::Plan::Pro,
        keys: vec![KeyId::parse("k001").unwrap()],
        rpm: 1_000,
        agents_max: None,
        upgrade_url: "https://palveron.com/pricing".to_owned(),
        strict: false,
        agents_limited: false,
        capped: Vec::new(),
        sub_homes: 0,
        tells_sources: true,
    }
}

/// A reply written at `now` with that many units and permits.
fn lease(now: Timestamp, units: u64) -> Lease {
    Lease {
        incarnation: Incarnation::parse("inc00001").unwrap(),
        written: now,
        version: 1,
        now,
        now_slack_ms: 0,
        period: now.period(),
        units,
        beyond: Beyond::NONE,
        valid_ms: now.period().end().ms_since(now),
        minute: now.minute(),
        permits: units,
        minute_ms: now.minute().end().ms_since(now),
        next: None,
        agents: Vec::new(),
        fresh_ms: 10_000,
        refusals: Vec::new(),
        admitted: Vec::new(),
        revoked: Vec::new(),
        hold_ms: 0,
        report_ms: 500,
        lanes: 4,
        idle_ms: 2_000,
        recall: false,
        ample: true,
        open: false,
        allowance: 1_000,
        left: 0,
        used: 0,
        permits_left: 0,
        risk: 20,
        ack: 0,
        terms: Some(terms()),
    }
}

fn reply(contact: &Contact, lease: Lease) -> Reply {
    let body = Body::Lease(Box::new(lease));
    Reply { holder: contact.holder, lane: contact.lane, nonce: contact.nonce, body }
}

/// Asks once and gives the contact that it causes.
fn first_contact(holder: &mut Holder, now: Timestamp) -> (WaiterId, Contact) {
    let Answer::Wait(waiter) = holder.decide(now, &ask(1)) else { panic!("nothing is in hand yet") };
    (waiter, holder.contacts(now).remove(0))
}

/// A holder that has just been given `units`, one of which is spent.
fn supplied(now: Timestamp, units: u64) -> Holder {
    let mut holder = holder();
    let (waiter, contact) = first_contact(&mut holder, now);
    holder.receive(now, reply(&contact, lease(now, units)));
    assert_eq!(holder.outcome(now, waiter), Answer::Allow);
    holder
}

fn returned(contacts: &[Contact]) -> u64 {
    contacts.iter().flat_map(|contact| contact.returns.units.values()).sum()
}

#[test]
fn what_is_in_hand_is_spent_without_asking_and_not_a_unit_more() {
    let mut holder = supplied(start(), 3);
    assert_eq!(holder.decide(start(), &ask(1)), Answer::Allow);
    assert_eq!(holder.decide(start(), &ask(1)), Answer::Allow);
    assert!(matches!(holder.decide(start(), &ask(1)), Answer::Wait(_)));
    assert_eq!(holder.unsettled(), 3);
}

#[test]
fn permits_of_the_next_minute_wait_for_it() {
    let mut holder = holder();
    let (_, contact) = first_contact(&mut holder, start());
    let next = NextPermits { minute: start().minute().next(), count: 5, from_ms: 20_000, until_ms: 80_000 };
    holder.receive(start(), reply(&contact, Lease { permits: 1, next: Some(next), ..lease(start(), 6) }));
    assert!(matches!(holder.decide(start(), &ask(1)), Answer::Wait(_)), "the minute's one permit is spent");
    holder.contacts(start());
    let turn = start().plus_ms(20_000);
    for (after, served) in [(0, false), (39, false), (40, true)] {
        let now = turn.plus_ms(after);
        let mut then = holder.clone();
        then.stock.fresh_until = now.plus_ms(1);
        assert_eq!(then.decide(now, &ask(1)).is_allowed(), served, "{after} ms after the turn");
    }
}

#[test]
fn what_is_in_hand_is_not_spent_after_ten_seconds_without_the_home() {
    for (after, served) in [(9_999, true), (10_000, false)] {
        let mut holder = supplied(start(), 8);
        assert_eq!(holder.decide(start().plus_ms(after), &ask(1)).is_allowed(), served, "{after}");
    }
}

#[test]
fn a_recall_takes_everything_and_what_an_older_reply_still_brings() {
    let mut holder = holder();
    let (_, first) = first_contact(&mut holder, start());
    let Answer::Wait(_) = holder.decide(start(), &ask(1)) else { panic!("nothing is in hand yet") };
    let second = holder.contacts(start()).remove(0);
    let later = start().plus_ms(50);
    let recall = Lease { recall: true, ..lease(later, 4) };
    holder.receive(later, reply(&second, recall));
    assert_eq!(holder.unsettled(), 0);
    let older = lease(start().plus_ms(10), 9);
    holder.receive(start().plus_ms(60), reply(&first, older));
    let contacts = holder.contacts(start().plus_ms(400));
    assert_eq!(holder.unsettled() + returned(&contacts), 13);
    assert!(holder.stock.is_empty(), "nothing stays in hand");
}

#[test]
fn an_idle_holder_empties_its_hands_before_it_writes() {
    let mut holder = supplied(start(), 8);
    let contacts = holder.contacts(start().plus_ms(2_000));
    assert_eq!(returned(&contacts), 7);
    assert_eq!(contacts[0].batch.lines[0].units, 1);
    assert!(holder.stock.is_empty());
}

/// The minute of what was granted has ended on the way, and the home has no more: nobody is told that the quota is spent.
#[test]
fn units_that_come_too_late_for_their_minute_are_asked_for_again() {
    let mut holder = holder();
    let waiters: Vec<Answer> = (0..8).map(|_| holder.decide(start(), &ask(1))).collect();
    let contact = holder.contacts(start()).remove(0);
    let refusal = Refusal { denial: Denial::QuotaExhausted, agent: None, cost: 1, for_ms: 2_000 };
    let late = Lease { minute_ms: 100, refusals: vec![refusal.clone()], ..lease(start(), 5) };
    let now = start().plus_ms(100);
    holder.receive(now, reply(&contact, late));
    let again = holder.contacts(now).remove(0);
    assert_eq!((returned(core::slice::from_ref(&again)), again.needs[0].count), (5, 8));
    holder.receive(now, reply(&again, Lease { refusals: vec![refusal], ..lease(now, 5) }));
    let outcomes = waiters.into_iter().map(|waiter| {
        let Answer::Wait(id) = waiter else { panic!("nothing is in hand yet") };
        holder.outcome(now, id)
    });
    assert_eq!(outcomes.filter(|outcome| outcome.is_allowed()).count(), 5);
}

#[test]
fn a_reply_is_taken_once() {
    let mut holder = holder();
    let (_, contact) = first_contact(&mut holder, start());
    for _ in 0..3 {
        holder.receive(start(), reply(&contact, lease(start(), 5)));
    }
    assert_eq!(holder.stock.units, 4);
}

#[test]
fn a_reply_counts_from_the_first_sending_and_what_comes_too_late_goes_back() {
    let mut holder = holder();
    let (_, contact) = first_contact(&mut holder, start());
    let late = start().plus_ms(19_970);
    holder.receive(late, reply(&contact, lease(start().plus_ms(30), 5)));
    assert_eq!(holder.stock.permits(late), 0);
    let contacts = holder.contacts(late.plus_ms(200));
    let permits: u64 = contacts.iter().flat_map(|contact| contact.returns.permits.values()).sum();
    assert_eq!(permits, 5);
}

#[test]
fn units_of_a_month_end_with_it() {
    let end = start().period().end();
    let last = Timestamp::from_ms(end.as_ms() - 1_000);
    for (left, served) in [(41, true), (40, false)] {
        let mut holder = supplied(last, 5);
        let now = Timestamp::from_ms(end.as_ms() - left);
        assert_eq!(holder.decide(now, &ask(1)).is_allowed(), served, "{left} ms before the end");
    }
}

#[test]
fn a_refusal_holds_for_its_cost_and_more() {
    let mut holder = holder();
    let Answer::Wait(waiter) = holder.decide(start(), &ask(5)) else { panic!("nothing is in hand yet") };
    let contact = holder.contacts(start()).remove(0);
    let refusal = Refusal { denial: Denial::QuotaExhausted, agent: None, cost: 5, for_ms: 500 };
    holder.receive(start(), reply(&contact, Lease { refusals: vec![refusal], ..lease(start(), 0) }));
    let denied = Answer::Deny { denial: Denial::QuotaExhausted, retry_ms: 500 };
    assert_eq!(holder.outcome(start(), waiter), denied);
    assert_eq!(holder.decide(start(), &ask(9)), denied);
    assert!(matches!(holder.decide(start(), &ask(4)), Answer::Wait(_)));
    assert!(matches!(holder.decide(start().plus_ms(500), &ask(5)), Answer::Wait(_)));
}

#[test]
fn a_contact_is_sent_again_as_it_was_until_it_is_answered() {
    let mut holder = holder();
    let (_, contact) = first_contact(&mut holder, start());
    let shed = Body::Shed { hold_ms: 700 };
    let busy = Reply { holder: contact.holder, lane: contact.lane, nonce: contact.nonce, body: shed };
    holder.receive(start(), busy);
    assert_eq!(holder.contacts(start().plus_ms(600)), []);
    assert_eq!(holder.contacts(start().plus_ms(700)), std::slice::from_ref(&contact));
    assert_eq!(holder.contacts(start().plus_ms(700)), []);
    assert_eq!(holder.contacts(start().plus_ms(3_000)), [contact]);
}

#[test]
fn a_request_that_waited_too_long_is_refused_or_served_from_the_reserve() {
    let late = start().plus_ms(WAIT_MS_MAX);
    let mut hard_stop = holder();
    let (waiter, _) = first_contact(&mut hard_stop, start());
    assert_eq!(hard_stop.outcome(late, waiter), Answer::Unavailable);

    let mut open = holder();
    let (_, contact) = first_contact(&mut open, start());
    let unlimited = Lease { open: true, ..lease(start(), 1) };
    open.receive(start(), reply(&contact, unlimited));
    let served = (0..150)
        .filter(|_| {
            let Answer::Wait(waiter) = open.decide(start(), &ask(1)) else {
                panic!("nothing is left in hand")
            };
            open.outcome(late, waiter) == Answer::Allow
        })
        .count();
    assert_eq!(served, 100);
}

#[test]
fn a_new_life_of_the_home_voids_leases_and_keeps_what_was_not_reported_yet() {
    let mut holder = supplied(start(), 8);
    let id = holder.id();
    let contact = holder.contacts(start().plus_ms(500)).remove(0);
    assert_eq!(holder.decide(start().plus_ms(500), &ask(1)), Answer::Allow);
    let body = Body::Resync { incarnation: Incarnation::parse("inc00002").unwrap() };
    let answer = Reply { holder: id, lane: contact.lane, nonce: contact.nonce, body };
    holder.receive(start().plus_ms(510), answer);
    assert_ne!(holder.id(), id);
    assert!(holder.stock.is_empty());
    assert_eq!(holder.unsettled(), 1, "the frozen batch may have been counted: it is not sent again");
}

#[test]
fn what_is_in_hand_of_a_life_that_is_over_is_named_to_the_next_once() {
    let resync = |contact: &Contact, life: &str| {
        let body = Body::Resync { incarnation: Incarnation::parse(life).unwrap() };
        Reply { holder: contact.holder, lane: contact.lane, nonce: contact.nonce, body }
    };
    let named = |contact: &Contact| contact.batch.let_go.values().sum::<u64>();
    let at = |ms| start().plus_ms(ms);
    let mut holder = supplied(start(), 8);
    let report = holder.contacts(at(500)).remove(0);
    holder.receive(at(510), resync(&report, "inc00002"));
    let next = holder.contacts(at(1_500)).remove(0);
    assert_eq!((named(&next), next.batch.lines.len()), (7, 0), "one of eight was spent: {next:?}");
    // It may have been taken: it is not named again, by whatever is told of lives.
    holder.receive(at(1_510), resync(&next, "inc00003"));
    assert_eq!(holder.contacts(at(4_000)).iter().map(named).sum::<u64>(), 0);
    // What is on its way back may have been taken, and issued to somebody else.
    let mut giving = supplied(start(), 8);
    let back =
        giving.contacts(at(6_000)).into_iter().find(|contact| !contact.returns.units.is_empty()).unwrap();
    assert_eq!(returned(std::slice::from_ref(&back)), 7);
    giving.receive(at(6_010), resync(&back, "inc00002"));
    assert_eq!(giving.contacts(at(9_000)).iter().map(named).sum::<u64>(), 0);
    // The same life goes on knowing what it has issued.
    let mut same = supplied(start(), 8);
    let report = same.contacts(at(500)).remove(0);
    same.receive(at(510), resync(&report, "inc00001"));
    assert_eq!(same.contacts(at(1_500)).iter().map(named).sum::<u64>(), 0);
}

#[test]
fn strict_projects_are_decided_at_home() {
    let mut holder = supplied(start(), 8);
    holder.terms = Some(Terms { strict: true, ..terms() });
    assert_eq!(holder.decide(start(), &ask(1)), Answer::AtHome);
}

/// Seen once under load: "402 quota_exhausted, 0 of 5 used". The replies of two lanes had crossed.
#[test]
fn what_one_lane_is_refused_does_not_refuse_what_another_was_granted() {
    let mut holder = holder();
    let wait = |holder: &mut Holder| match holder.decide(start(), &ask(1)) {
        Answer::Wait(id) => id,
        answer @ (Answer::Allow | Answer::Deny { .. } | Answer::AtHome | Answer::Unavailable) => {
            panic!("{answer:?}")
        }
    };
    let granted = wait(&mut holder);
    let first = holder.contacts(start()).remove(0);
    let refused = wait(&mut holder);
    let second = holder.contacts(start()).remove(0);
    assert_ne!(first.lane, second.lane);
    let reply = |contact: &Contact, lease: Lease| Reply {
        holder: contact.holder,
        lane: contact.lane,
        nonce: contact.nonce,
        body: Body::Lease(Box::new(lease)),
    };
    let exhausted = Refusal { denial: Denial::QuotaExhausted, agent: None, cost: 1, for_ms: 1_000 };
    let nothing_left = Lease { refusals: vec![exhausted], ..lease(start(), 0) };
    holder.receive(start().plus_ms(1), reply(&second, nothing_left));
    assert!(matches!(holder.outcome(start().plus_ms(1), refused), Answer::Deny { .. }));
    assert_eq!(holder.outcome(start().plus_ms(1), granted), Answer::Wait(granted));
    holder.receive(start().plus_ms(2), reply(&first, lease(start(), 1)));
    assert_eq!(holder.outcome(start().plus_ms(2), granted), Answer::Allow);
}

mod keys;
mod refused;

#[test]
fn a_home_that_has_no_answer_yet_is_asked_again_a_moment_later_and_not_at_once() {
    let mut holder = supplied(start(), 1);
    let (waiter, contact) = first_contact(&mut holder, start());
    holder.receive(start(), reply(&contact, Lease { terms: None, ..lease(start(), 0) }));
    assert_eq!(holder.outcome(start(), waiter), Answer::Wait(waiter));
    assert!(holder.contacts(start()).is_empty());
    let later = holder.wake_at(start()).unwrap();
    assert!((10..=100).contains(&later.ms_since(start())), "{later:?}");
    let again = holder.contacts(later).remove(0);
    holder.receive(later, reply(&again, lease(later, 1)));
    assert_eq!(holder.outcome(later, waiter), Answer::Allow);
}

/// The issuer has given it to this holder and would refuse the agent for want of just that.
#[test]
fn an_agent_with_some_of_its_own_limit_in_hand_is_not_named() {
    let bot = AgentId::parse("bot").unwrap();
    let mut holder = holder();
    let (waiter, contact) = first_contact(&mut holder, start());
    let grant = AgentGrant { agent: bot.clone(), units: 2 };
    let terms = Terms { capped: vec![bot.clone()], ..terms() };
    let lease = Lease { agents: vec![grant], terms: Some(terms), ..lease(start(), 1) };
    holder.receive(start(), reply(&contact, lease));
    assert_eq!(holder.outcome(start(), waiter), Answer::Allow);
    for _ in 0..3 {
        let asks = Ask { agent: bot.clone(), ..ask(1) };
        assert!(matches!(holder.decide(start(), &asks), Answer::Wait(_)));
    }
    let needs = holder.contacts(start()).remove(0).needs;
    let named: Vec<_> = needs.iter().map(|need| (need.agent.as_ref(), need.count)).collect();
    assert_eq!(named, [(None, 2), (Some(&bot), 1)]);
}
