//! A process with leases of a real home in memory, as a server drives it.

use shared::home::Home;
use shared::home::call::{CallId, ContactReply, HomeReply};
use shared::ids::{KeyId, Mode, ProjectId};
use shared::key::ProjectKey;
use shared::kind::Kind;
use shared::policy::LeaseRules;
use shared::units::Units;

use super::*;
use crate::test_policy;

const NOW: Timestamp = Timestamp::from_ms(1_795_435_200_000);

fn at(ms: u64) -> Timestamp {
    NOW.plus_ms(ms)
}

fn secrets() -> KeySecrets {
    KeySecrets::parse(&format!("1:{}", "44".repeat(32))).unwrap()
}

fn name() -> HomeName {
    HomeName::parse("demo/live").unwrap()
}

fn key() -> String {
    let (project, id) = (ProjectId::parse("demo").unwrap(), KeyId::parse("k001").unwrap());
    secrets().mint(&ProjectKey { project, mode: Mode::Live, id })
}

fn remote(shadow: bool) -> Remote {
    let settings = Settings { key_secrets: secrets(), region: "", sub_homes: 0, shadow };
    Remote::new(settings, [1, 2, 3, 4]).unwrap()
}

fn home(units: u64, strict: bool) -> Home {
    test_policy::home(test_policy::policy(NOW, units, LeaseRules { strict, ..LeaseRules::default() }))
}

fn ask<'a>(key: &'a str, agent: &'a str, cost: u32) -> Check<'a> {
    Check { key, kind: Kind::Verify, agent: Some(agent), cost, dry_run: false }
}

/// Sends every contact that is due, and hands the replies in.
fn exchange(remote: &mut Remote, home: &mut Home, now: Timestamp) -> usize {
    let contacts = remote.contacts(&name(), now);
    for contact in &contacts {
        assert_eq!(contact.object, "demo/live");
        let reply = home.contact(now, 7, &json::read(&contact.text).unwrap()).unwrap();
        let reply = reply.map_or(ContactReply::Nobody, |reply| ContactReply::Reply(Box::new(reply)));
        remote.receive(&name(), &json::write(&reply), now).unwrap();
    }
    contacts.len()
}

/// Decides one question, whatever it takes.
fn decided(remote: &mut Remote, home: &mut Home, check: &Check<'_>, now: Timestamp) -> Answer {
    let next = remote.decide(check, now);
    followed(remote, home, next, now)
}

fn followed(remote: &mut Remote, home: &mut Home, begun: Next, now: Timestamp) -> Answer {
    let mut next = begun;
    for ms in 0..100 {
        let now = now.plus_ms(ms);
        next = match next {
            Next::Answer(answer) => return answer,
            Next::Wait(waiting) => {
                exchange(remote, home, now);
                remote.outcome(&waiting, now)
            }
            Next::Ask(question) => {
                let [ask, call] = question.arguments();
                let call = CallId::parse(&call).unwrap();
                let verdict = home.decide_call(now, &json::read(&ask).unwrap(), call).unwrap().unwrap();
                remote.conclude(*question, &json::write(&HomeReply::Verdict(verdict)), now)
            }
        };
    }
    panic!("it was never decided")
}

fn value<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_hard_stop_is_reached_to_the_unit_and_told_as_the_edge_tells_it() {
    for strict in [false, true] {
        let (mut remote, mut home, key) = (remote(false), home(50, strict), key());
        let mut allowed = 0;
        for ms in 0..60 {
            let answer = decided(&mut remote, &mut home, &ask(&key, "bot", 1), at(ms * 1_000));
            let numbers = answer.numbers.clone().unwrap();
            assert_eq!(numbers.allowance, Some(Units::new(50)));
            if answer.allowed {
                allowed += 1;
                assert_eq!((answer.code.as_str(), answer.body.as_str()), ("ok", ""));
                assert_eq!(numbers.remaining(), Some(Units::new(50 - allowed)), "strict {strict}");
            } else {
                assert_eq!(answer.code, "quota_exhausted");
                assert!(answer.body.contains("\"upgrade_url\""), "{}", answer.body);
                assert!(value(&answer, "Retry-After").is_some());
            }
            assert!(value(&answer, "RateLimit").unwrap().contains("\"month\";r="));
        }
        assert_eq!(allowed, 50, "strict {strict}");
        exchange(&mut remote, &mut home, at(70_000));
        assert_eq!(home.outstanding(NOW.period()).settled, Units::new(50));
    }
}

#[test]
fn what_is_refused_before_any_home_is_asked_says_nothing_of_a_project() {
    let (mut remote, key) = (remote(false), key());
    for (key, agent, cost, code) in [
        ("", "bot", 1, "unauthorized"),
        ("pk_live_demo_k001_1_00000000000000000000000000000000", "bot", 1, "unauthorized"),
        (&key, "~other", 1, "field_rejected"),
        (&key, "bot", 0, "field_rejected"),
        (&key, "bot", 1_001, "field_rejected"),
    ] {
        let Next::Answer(answer) = remote.decide(&ask(key, agent, cost), NOW) else { panic!("it is asked") };
        assert_eq!(
            (answer.allowed, answer.code.as_str(), answer.numbers),
            (false, code, None),
            "{agent} {cost}"
        );
    }
    assert_eq!(remote.isolate.refused().1, 2);
    assert!(remote.contacts(&name(), NOW).is_empty());
}

#[test]
fn who_does_not_wait_any_more_is_not_billed() {
    let (mut remote, mut home, key) = (remote(false), home(50, false), key());
    let Next::Wait(waiting) = remote.decide(&ask(&key, "bot", 5), NOW) else { panic!("it does not wait") };
    exchange(&mut remote, &mut home, NOW);
    remote.abandon(&waiting);
    for ms in (0..10_000).step_by(100) {
        exchange(&mut remote, &mut home, at(ms));
    }
    let left = home.outstanding(NOW.period());
    assert_eq!((left.settled, left.net), (Units::ZERO, Units::ZERO));
    assert_eq!(remote.rest_ms(&name(), at(10_000)), None, "nobody has to look after it");
}

#[test]
fn whoever_closes_gives_everything_back_and_reports_the_rest() {
    let (mut remote, mut home, key) = (remote(false), home(50_000, false), key());
    for ms in 0..20 {
        assert!(decided(&mut remote, &mut home, &ask(&key, "bot", 1), at(ms)).allowed);
    }
    assert!(home.outstanding(NOW.period()).out > Units::ZERO, "it holds leases");
    assert_eq!(remote.close(), [name()]);
    // A report waits for company as long as ever, but no longer than until nobody has asked for two seconds.
    for ms in (100..2_100).step_by(10) {
        exchange(&mut remote, &mut home, at(ms));
    }
    let left = home.outstanding(NOW.period());
    assert_eq!((left.out, left.settled), (Units::ZERO, Units::new(20)));
    assert!(remote.close().is_empty());
    let late = remote.decide(&ask(&key, "bot", 1), at(3_000));
    assert!(matches!(late, Next::Answer(Answer { allowed: false, .. })), "{late:?}");
}

#[test]
fn shadow_mode_denies_nobody_for_a_limit() {
    let (mut remote, mut home, key) = (remote(true), home(3, false), key());
    for number in 0..6 {
        let answer = decided(&mut remote, &mut home, &ask(&key, "bot", 1), at(number * 1_000));
        let would_deny = if number < 3 { "" } else { "quota_exhausted" };
        assert_eq!((answer.allowed, answer.would_deny.as_str()), (true, would_deny), "{number}");
    }
}

#[test]
fn what_was_reserved_is_billed_as_far_as_it_was_served_comes_back_or_is_nobodys() {
    for strict in [false, true] {
        let (mut remote, mut home, key) = (remote(false), home(50, strict), key());
        let reserve = |remote: &mut Remote, home: &mut Home, cost| {
            let next = remote.reserve(&ask(&key, "bot", cost), NOW);
            followed(remote, home, next, NOW)
        };
        let reserved: Vec<_> =
            (0..3).map(|_| reserve(&mut remote, &mut home, 10).reserved.unwrap()).collect();
        let refused = reserve(&mut remote, &mut home, 21);
        assert_eq!((refused.allowed, refused.reserved), (false, None), "strict {strict}");
        let more = reserve(&mut remote, &mut home, 20).reserved.unwrap();
        assert_eq!(home.outstanding(NOW.period()).settled, Units::ZERO, "nothing is billed yet");
        assert_eq!(remote.served(&reserved[0], 4, NOW), 4);
        assert_eq!(remote.served(&reserved[0], 9, NOW), 6, "ten at most");
        assert_eq!(remote.served(&reserved[0], 1, NOW), 0);
        assert_eq!(remote.served(&reserved[1], 3, NOW), 3);
        remote.give_back(&reserved[1]);
        remote.forfeit(&reserved[2]);
        remote.give_back(&more);
        for gone in reserved.iter().chain([&more]) {
            // What was said once stays so, however often it is said.
            assert_eq!(remote.served(gone, 10, NOW), 0);
            remote.give_back(gone);
        }
        for ms in (0..10_000).step_by(100) {
            exchange(&mut remote, &mut home, at(ms));
        }
        let left = home.outstanding(NOW.period());
        assert_eq!((left.settled, left.net), (Units::new(13), Units::new(23)), "strict {strict}");
    }
}
