//! Answers say what pays for them.

use shared::policy::Overage;
use shared::source::Source;

use super::*;

fn paid_home() -> Home {
    let allowance = |policy: &Policy| AllowanceParts {
        included: Units::new(20),
        lots: Units::new(10),
        overage: Overage::Open,
        ..policy.allowance.clone()
    };
    let policy = policy(LeaseRules::default());
    test_policy::home(Policy { allowance: allowance(&policy), ..policy })
}

fn header(answer: &HttpAnswer) -> Option<&str> {
    answer.headers.iter().find(|(name, _)| name == "Palveron-Source").map(|(_, value)| value.as_str())
}

fn costing(cost: u32) -> Deciding {
    let mut deciding = asking();
    deciding.ask.cost = cost;
    deciding
}

/// Asks until it is answered, as the clock goes on.
fn ask(isolate: &mut Isolate, home: &mut Home, deciding: Deciding, now: &mut Timestamp) -> HttpAnswer {
    let mut turn = isolate.decide(&config(), deciding, *now);
    while let Turn::Wait(token) = turn {
        *now = now.plus_ms(5);
        exchange(isolate, home, *now);
        turn = isolate.outcome(&config(), &name(), token, *now);
    }
    answered(turn)
}

#[test]
fn headers_and_bodies_say_what_pays_and_a_mixture_is_told_in_full() {
    let (mut isolate, mut home, mut now) = (Isolate::default(), paid_home(), at(0));
    let cases = [
        (17, "included", ""),
        (5, "lot", r#","paid_by":{"included":3,"lot":2,"overage":0}"#),
        (8, "lot", ""),
        (1, "overage", ""),
    ];
    for (cost, source, paid_by) in cases {
        let answer = ask(&mut isolate, &mut home, costing(cost), &mut now);
        assert_eq!(header(&answer), Some(source), "{}", answer.body);
        let end = format!(r#","source":"{source}"{paid_by}}}"#);
        assert!(answer.body.ends_with(&end), "{end}: {}", answer.body);
    }
    let mut looking = asking();
    looking.ask.dry_run = true;
    assert_eq!(home.decide(now, &looking.ask).unwrap().paid, None, "nothing is counted");
}

#[test]
fn a_known_question_is_asked_at_length_where_something_else_pays_for_it() {
    let (mut isolate, mut home, mut now) = (Isolate::default(), paid_home(), at(0));
    let mut told = Vec::new();
    let mut number = None;
    while told.len() < 45 {
        now = now.plus_ms(1);
        if let Some((known, source)) = number
            && isolate.again(again(known), now).is_some()
        {
            told.push(source);
            continue;
        }
        let mut turn = isolate.decide(&config(), asking(), now);
        while let Turn::Wait(token) = turn {
            now = now.plus_ms(5);
            exchange(&mut isolate, &mut home, now);
            turn = isolate.outcome(&config(), &name(), token, now);
        }
        let Turn::Allowed(allowed) = turn else { panic!("{turn:?}") };
        let source = allowed.source().unwrap();
        told.push(source);
        number = Some((isolate.know(allowed), source));
    }
    let of = |source| told.iter().filter(|told| **told == source).count();
    assert_eq!(Source::ALL.map(of), [20, 10, 15]);
}

#[test]
fn what_a_home_that_does_not_tell_has_issued_is_told_by_nobody() {
    let (mut isolate, mut home) = (Isolate::default(), paid_home());
    let Turn::Wait(token) = isolate.decide(&config(), asking(), at(0)) else { panic!("it does not wait") };
    for text in isolate.contacts(&name(), at(0)) {
        let contact = json::read(&text.contact).unwrap();
        let reply = ContactReply::Reply(Box::new(home.contact(at(0), 7, &contact).unwrap().unwrap()));
        let before = json::write(&reply).replace(r#","tells_sources":true"#, "");
        assert_ne!(before, json::write(&reply));
        isolate.receive(&name(), json::read(&before).unwrap(), at(0));
    }
    let answer = answered(isolate.outcome(&config(), &name(), token, at(0)));
    assert_eq!((answer.status, header(&answer)), (200, None));
}
