//! A key that the terms do not have: it may be new.

use super::*;

fn key(id: &str) -> KeyId {
    KeyId::parse(id).unwrap()
}

fn with_key(id: &str) -> Ask {
    Ask { key: key(id), ..ask(1) }
}

/// Terms of that version with one key more.
fn newer(version: u64, added: &str) -> Terms {
    Terms { version, keys: vec![key("k001"), key(added)], ..terms() }
}

/// The answer of a home that is sure: what it does not have is revoked.
fn answer(contact: &Contact, now: Timestamp, terms: Option<Terms>) -> Reply {
    let known = terms.as_ref().map_or_else(|| vec![key("k001")], |terms| terms.keys.clone());
    let revoked = contact.keys.iter().filter(|key| !known.contains(key)).cloned().collect();
    reply(contact, Lease { terms, revoked, ..lease(now, 0) })
}

/// The answer of a home that cannot tell.
fn unsure(contact: &Contact, now: Timestamp) -> Reply {
    reply(contact, lease(now, 0))
}

fn waits(holder: &mut Holder, now: Timestamp, ask: &Ask) -> WaiterId {
    let answer = holder.decide(now, ask);
    let Answer::Wait(id) = answer else { panic!("it does not wait: {answer:?}") };
    id
}

const REVOKED: Answer = Answer::Deny { denial: Denial::KeyRevoked, retry_ms: 0 };

#[test]
fn requests_with_a_new_key_wait_for_one_question_and_are_all_served() {
    let mut holder = supplied(start(), 8);
    let waiters: Vec<WaiterId> = (0..3).map(|_| waits(&mut holder, start(), &with_key("k002"))).collect();
    let contacts = holder.contacts(start());
    assert_eq!((contacts.len(), &contacts[0].keys, contacts[0].terms), (1, &vec![key("k002")], 1));
    assert!(contacts[0].needs.is_empty(), "units are not asked for before the key is known");
    let late = waits(&mut holder, start().plus_ms(5), &with_key("k002"));
    assert_eq!(holder.contacts(start().plus_ms(5)), [], "the question is under way");
    holder.receive(start().plus_ms(10), answer(&contacts[0], start(), Some(newer(2, "k002"))));
    for waiter in waiters.into_iter().chain([late]) {
        assert_eq!(holder.outcome(start().plus_ms(10), waiter), Answer::Allow);
    }
    assert_eq!(holder.decide(start().plus_ms(20), &with_key("k002")), Answer::Allow);
}

#[test]
fn a_new_key_is_known_while_a_revoked_one_is_refused() {
    let mut holder = supplied(start(), 8);
    let revoked = waits(&mut holder, start(), &with_key("k666"));
    let question = holder.contacts(start()).remove(0);
    holder.receive(start().plus_ms(10), answer(&question, start(), None));
    assert_eq!(holder.outcome(start().plus_ms(10), revoked), REVOKED);
    let mut questions = 0;
    for ms in (20..3_020).step_by(20) {
        let now = start().plus_ms(ms);
        let before = holder.clone();
        let refused = holder.decide(now, &with_key("k666"));
        for question in holder.contacts(now).iter().filter(|contact| !contact.keys.is_empty()) {
            questions += 1;
            holder.receive(now, answer(question, now, None));
        }
        if let Answer::Wait(id) = refused {
            assert_eq!(holder.outcome(now, id), REVOKED);
        } else {
            assert_eq!(refused, REVOKED);
        }
        // A key that was made just now waits for the next question, and is never refused.
        let mut then = before;
        let new = waits(&mut then, now, &with_key("k002"));
        let at = (0..=1_000).map(|ms| now.plus_ms(ms)).find_map(|at| {
            let question =
                then.contacts(at).into_iter().find(|contact| contact.keys.contains(&key("k002")))?;
            then.receive(at, answer(&question, at, Some(newer(2, "k002"))));
            Some(at)
        });
        let outcome = then.outcome(at.unwrap(), new);
        assert!(!matches!(outcome, Answer::Deny { .. } | Answer::Unavailable), "{ms}: {outcome:?}");
    }
    assert_eq!(questions, 3, "one a second");
}

#[test]
fn a_holder_without_terms_asks_for_the_keys_of_all_its_requests_at_once() {
    let mut holder = holder();
    let known = waits(&mut holder, start(), &ask(1));
    let revoked = waits(&mut holder, start(), &with_key("k666"));
    let contacts = holder.contacts(start());
    assert_eq!((contacts.len(), &contacts[0].keys), (1, &vec![key("k001"), key("k666")]));
    let new = waits(&mut holder, start().plus_ms(1), &with_key("k002"));
    let second = holder.contacts(start().plus_ms(1)).remove(0);
    let first = Lease { revoked: vec![key("k666")], ..lease(start(), 2) };
    holder.receive(start().plus_ms(2), reply(&contacts[0], first));
    assert_eq!(holder.outcome(start().plus_ms(2), known), Answer::Allow);
    assert_eq!(holder.outcome(start().plus_ms(2), revoked), REVOKED);
    assert_eq!(
        holder.outcome(start().plus_ms(2), new),
        Answer::Wait(new),
        "another contact asks for its key"
    );
    holder.receive(start().plus_ms(3), answer(&second, start(), Some(newer(2, "k002"))));
    assert_eq!(holder.outcome(start().plus_ms(3), new), Answer::Allow);
}

#[test]
fn under_strict_terms_and_for_a_dry_run_the_home_decides_once_the_key_is_known() {
    for strict in [true, false] {
        let mut holder = supplied(start(), 1);
        holder.terms = Some(Terms { strict, ..terms() });
        let asked = Ask { dry_run: !strict, ..with_key("k002") };
        let new = waits(&mut holder, start(), &asked);
        let question = holder.contacts(start()).remove(0);
        let terms = Terms { strict, ..newer(2, "k002") };
        holder.receive(start(), answer(&question, start(), Some(terms)));
        assert_eq!(holder.outcome(start(), new), Answer::AtHome, "strict: {strict}");
        assert_eq!(holder.decide(start(), &asked), Answer::AtHome);
    }
}

#[test]
fn nothing_is_served_from_the_reserve_for_a_key_that_nobody_knows() {
    let mut holder = holder();
    let (known, contact) = first_contact(&mut holder, start());
    holder.receive(start(), reply(&contact, Lease { open: true, ..lease(start(), 1) }));
    assert_eq!(holder.outcome(start(), known), Answer::Allow);
    let unknown = waits(&mut holder, start(), &with_key("k666"));
    let dry_run = waits(&mut holder, start(), &Ask { dry_run: true, ..with_key("k002") });
    let late = start().plus_ms(WAIT_MS_MAX);
    assert_eq!(holder.outcome(late, unknown), Answer::Unavailable);
    assert_eq!(holder.outcome(late, dry_run), Answer::Unavailable);
    assert_eq!(holder.unsettled(), 1);
}

#[test]
fn a_home_that_cannot_tell_refuses_nobody_and_is_asked_again() {
    let mut holder = supplied(start(), 8);
    let new = waits(&mut holder, start(), &with_key("k002"));
    let question = holder.contacts(start()).remove(0);
    holder.receive(start().plus_ms(10), unsure(&question, start()));
    let late = waits(&mut holder, start().plus_ms(20), &with_key("k002"));
    assert_eq!(holder.outcome(start().plus_ms(20), new), Answer::Wait(new));
    assert!(
        holder.contacts(start().plus_ms(990)).iter().all(|contact| contact.keys.is_empty()),
        "once a second"
    );
    let at = start().plus_ms(1_000);
    let again = holder.contacts(at).into_iter().find(|contact| !contact.keys.is_empty()).unwrap();
    holder.receive(at, answer(&again, at, Some(newer(2, "k002"))));
    for waiter in [new, late] {
        assert_eq!(holder.outcome(at, waiter), Answer::Allow);
    }
}

#[test]
fn a_stored_answer_that_a_key_is_revoked_says_nothing_against_newer_terms() {
    let mut holder = supplied(start(), 8);
    let new = waits(&mut holder, start(), &with_key("k002"));
    let question = holder.contacts(start()).remove(0);
    let stored = Lease { revoked: vec![key("k002")], terms: Some(newer(2, "k002")), ..lease(start(), 0) };
    holder.receive(start(), reply(&question, stored));
    assert_eq!(holder.outcome(start(), new), Answer::Allow);
    assert_eq!(holder.decide(start(), &with_key("k002")), Answer::Allow);
}

#[test]
fn a_key_that_comes_while_its_question_is_lost_is_asked_for_by_the_same_contact_again() {
    let mut holder = supplied(start(), 8);
    let new = waits(&mut holder, start(), &with_key("k002"));
    let question = holder.contacts(start()).remove(0);
    let again = holder.contacts(start().plus_ms(600));
    assert_eq!(again.iter().filter(|contact| !contact.keys.is_empty()).collect::<Vec<_>>(), [&question]);
    holder.receive(start().plus_ms(610), answer(&question, start().plus_ms(600), Some(newer(2, "k002"))));
    assert_eq!(holder.outcome(start().plus_ms(610), new), Answer::Allow);
}
