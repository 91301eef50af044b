//! What an isolate does with its holders, against a real home in memory.

use shared::decision::Ask;
use shared::denials::DenialReason;
use shared::home::Home;
use shared::ids::{AgentId, Incarnation, KeyId};
use shared::kind::Kind;
use shared::policy::{AllowanceParts, LeaseRules, Policy, Status};

use super::*;
use crate::step::{Answer as HttpAnswer, Then};
use crate::test_policy;

mod paid;

const NOW: Timestamp = Timestamp::from_ms(1_795_435_200_000);

fn at(ms: u64) -> Timestamp {
    NOW.plus_ms(ms)
}

fn name() -> HomeName {
    HomeName::parse("demo/live").unwrap()
}

fn config() -> Config {
    let key = |purpose: &str, byte: &str| format!("{purpose}:k1:{}", byte.repeat(32));
    let keys = [key("edge", "11"), key("policy", "22"), key("upstream", "33")].join(",");
    Config::read(&format!("1:{}", "44".repeat(32)), &keys, "").unwrap()
}

fn home(leases: LeaseRules) -> Home {
    test_policy::home(policy(leases))
}

fn policy(leases: LeaseRules) -> Policy {
    test_policy::policy(NOW, 100_000, leases)
}

fn asking() -> Deciding {
    let agent = AgentId::parse("bot").unwrap();
    let ask = Ask {
        key: KeyId::parse("k001").unwrap(),
        kind: Kind::Verify,
        agent,
        cost: 1,
        dry_run: false,
        held: false,
    };
    Deciding::new(name(), ask, Then::Check)
}

/// Sends what is due; returns how many contacts were for the home itself.
fn exchange(isolate: &mut Isolate, home: &mut Home, now: Timestamp) -> usize {
    let (contacts, mut to_home) = (isolate.contacts(&name(), now), 0);
    for Contact { object, contact } in &contacts {
        to_home += usize::from(*object == name().to_string());
        let contact = json::read(contact).unwrap();
        let reply = match home.contact(now, 7, &contact).unwrap() {
            Some(reply) => ContactReply::Reply(Box::new(reply)),
            None => ContactReply::Nobody,
        };
        // As it travels.
        let reply = json::read(&json::write(&reply)).unwrap();
        isolate.receive(&name(), reply, now);
    }
    to_home
}

fn answered(turn: Turn) -> HttpAnswer {
    match turn {
        Turn::Step(Step::Answer(answer)) => answer,
        Turn::Allowed(allowed) => {
            let step = allowed.into_step(&config());
            let Step::Answer(answer) = step else { panic!("{step:?}") };
            answer
        }
        Turn::Step(_) | Turn::Wait(_) => panic!("{turn:?}"),
    }
}

/// Serves one request that must wait for its home.
fn first(isolate: &mut Isolate, home: &mut Home, now: Timestamp) -> HttpAnswer {
    let Turn::Wait(token) = isolate.decide(&config(), asking(), now) else { panic!("it does not wait") };
    assert!(matches!(isolate.outcome(&config(), &name(), token, now), Turn::Wait(same) if same == token));
    assert_eq!(exchange(isolate, home, now), 1);
    answered(isolate.outcome(&config(), &name(), token, now))
}

fn timing(answer: &HttpAnswer) -> Option<&str> {
    answer.headers.iter().find(|(name, _)| name == "Server-Timing").map(|(_, value)| value.as_str())
}

#[test]
fn after_the_first_request_the_next_ones_need_no_home() {
    let (mut isolate, mut home) = (Isolate::default(), home(LeaseRules::default()));
    let answer = first(&mut isolate, &mut home, at(0));
    assert!(answer.body.starts_with(r#"{"allowed":true"#), "{}", answer.body);
    assert_eq!(timing(&answer), Some("meter;desc=home"));
    for number in 2_u64..6 {
        let answer = answered(isolate.decide(&config(), asking(), at(number)));
        assert_eq!(timing(&answer), Some("meter;desc=lease"));
        let remaining = format!(r#""remaining":{}"#, 100_000 - number);
        assert!(answer.body.contains(&remaining), "{remaining}: {}", answer.body);
    }
}

#[test]
fn what_is_in_hand_is_no_usage_and_what_is_not_reported_is() {
    let (mut isolate, mut home) = (Isolate::default(), home(LeaseRules::default()));
    first(&mut isolate, &mut home, at(0));
    let told = |isolate: &mut Isolate, home: &Home, ms| {
        let mut numbers = home.numbers(at(ms)).unwrap();
        isolate.complete(&asking(), &mut numbers, at(ms));
        let Numbers { used, forfeited, rpm_remaining, .. } = numbers;
        (used.get(), forfeited.get(), numbers.remaining().unwrap().get(), rpm_remaining)
    };
    assert!(home.outstanding(NOW.period()).net > Units::new(1));
    assert_eq!(told(&mut isolate, &home, 1), (1, 0, 99_999, 59_999));
    for ms in (500..9_000).step_by(500) {
        exchange(&mut isolate, &mut home, at(ms));
        assert_eq!(told(&mut isolate, &home, ms + 1).0, 1, "after {ms} ms");
    }
    assert_eq!(home.outstanding(NOW.period()).settled, Units::new(1));
}

#[test]
fn another_isolates_units_are_left_until_it_is_not_heard_of_any_more_and_never_used() {
    let mut home = home(LeaseRules::default());
    first(&mut Isolate::default(), &mut home, at(0));
    let mut isolate = Isolate { id: 1 << 64, ..Isolate::default() };
    let answer = first(&mut isolate, &mut home, at(1));
    // The other may have served its one request or not: only it knows.
    let remaining = |answer: &HttpAnswer| {
        let (_, rest) = answer.body.split_once(r#""remaining":"#).unwrap();
        rest.split(',').next().unwrap().parse::<u64>().unwrap()
    };
    assert!((99_998..100_000).contains(&remaining(&answer)), "{}", answer.body);
    let numbers = home.numbers(at(2)).unwrap();
    assert_eq!((numbers.used, numbers.forfeited), (Units::ZERO, Units::ZERO));
    // Nothing was heard of anybody for a while.
    let mut later = home.clone();
    let id = isolate.seats.get(&name()).unwrap().post.holder.id();
    let out = later.outstanding(NOW.period()).out;
    exchange(&mut isolate, &mut later, at(15_000));
    let numbers = later.numbers(at(15_001)).unwrap();
    assert_eq!(numbers.used, Units::new(1), "what {id} has reported");
    assert!(numbers.forfeited > Units::ZERO && numbers.forfeited < out, "{numbers:?}");
}

#[test]
fn through_a_sub_home_the_quota_tells_what_is_known_here_or_at_the_home_whichever_is_more() {
    let place = Place { region: Region::of("here", ""), sub_homes: 8 };
    let mut isolate = Isolate { place, ..Isolate::default() };
    let mut home = home(LeaseRules { sub_homes: 8, ..LeaseRules::default() });
    let Turn::Wait(token) = isolate.decide(&config(), asking(), at(0)) else { panic!("it does not wait") };
    assert_eq!(exchange(&mut isolate, &mut home, at(0)), 0);
    answered(isolate.outcome(&config(), &name(), token, at(0)));
    let mut used = |at_home, ms| {
        let mut numbers = Numbers { used: Units::new(at_home), ..home.numbers(at(ms)).unwrap() };
        isolate.complete(&asking(), &mut numbers, at(ms));
        numbers.used.get()
    };
    for ms in [1, 20_000] {
        assert_eq!((used(0, ms), used(1, ms), used(900, ms)), (1, 1, 900), "after {ms} ms");
    }
}

#[test]
fn a_background_loop_reports_returns_and_ends() {
    let (mut isolate, mut home) = (Isolate::default(), home(LeaseRules::default()));
    first(&mut isolate, &mut home, at(0));
    assert!(isolate.is_restless(&name(), at(0)));
    let number = isolate.begin_loop(&name(), at(0)).unwrap();
    assert_eq!(isolate.begin_loop(&name(), at(1)), None, "one loop is enough");
    assert!(!isolate.is_restless(&name(), at(1)));
    let mut now = at(1);
    while let Some(nap) = isolate.nap(&name(), number, now) {
        assert!((NAP_MS.0..=NAP_MS.1).contains(&nap), "{nap}");
        now = now.plus_ms(nap);
        exchange(&mut isolate, &mut home, now);
        assert!(now < at(15_000), "the loop does not end");
    }
    let of_month = home.outstanding(NOW.period());
    assert_eq!((of_month.net, of_month.settled), (Units::new(1), Units::new(1)));
}

#[test]
fn what_is_served_in_the_very_millisecond_of_the_last_look_is_looked_after_too() {
    let mut home = home(LeaseRules::default());
    let mut isolate = Isolate::default();
    let Turn::Wait(token) = isolate.decide(&config(), asking(), NOW) else { panic!("it does not wait") };
    let looks = |isolate: &mut Isolate| {
        isolate.is_restless(&name(), NOW).then(|| isolate.begin_loop(&name(), NOW)).flatten()
    };
    // The worker looks once while nothing is owed yet; its clock stands still until the reply, or beyond.
    let before = looks(&mut isolate);
    exchange(&mut isolate, &mut home, NOW);
    assert_eq!(answered(isolate.outcome(&config(), &name(), token, NOW)).status, 200);
    assert!(before.is_some() || looks(&mut isolate).is_some(), "nobody reports what was served");
}

#[test]
fn a_loop_that_died_is_replaced_and_the_old_one_ends_if_it_wakes() {
    let (mut isolate, mut home) = (Isolate::default(), home(LeaseRules::default()));
    first(&mut isolate, &mut home, at(0));
    let old = isolate.begin_loop(&name(), at(0)).unwrap();
    let later = at(LOOP_HANDOVER_MS);
    assert!(isolate.is_restless(&name(), later));
    let new = isolate.begin_loop(&name(), later).unwrap();
    assert_eq!(isolate.nap(&name(), old, later), None);
    assert!(isolate.nap(&name(), new, later).is_some());
}

#[test]
fn a_strict_project_asks_its_home_for_each_request() {
    let strict = LeaseRules { strict: true, ..LeaseRules::default() };
    let (mut isolate, mut home) = (Isolate::default(), home(strict));
    let Turn::Wait(token) = isolate.decide(&config(), asking(), at(0)) else { panic!("it does not wait") };
    exchange(&mut isolate, &mut home, at(0));
    let outcome = isolate.outcome(&config(), &name(), token, at(0));
    assert!(matches!(outcome, Turn::Step(Step::Decide(Deciding { call: Some(_), .. }))));
    let next = isolate.decide(&config(), asking(), at(1));
    assert!(matches!(next, Turn::Step(Step::Decide(_))));
}

#[test]
fn an_unknown_project_is_refused_for_a_second_and_holders_with_leases_do_not_mind() {
    let (mut isolate, mut home) = (Isolate::default(), home(LeaseRules::default()));
    let failed = || ContactReply::Failed("project_unknown".to_owned());
    let Turn::Wait(token) = isolate.decide(&config(), asking(), at(0)) else { panic!("it does not wait") };
    isolate.receive(&name(), failed(), at(1));
    assert_eq!(answered(isolate.outcome(&config(), &name(), token, at(2))).status, 401);
    assert_eq!(answered(isolate.decide(&config(), asking(), at(UNKNOWN_MS))).status, 401);
    assert_eq!(first(&mut isolate, &mut home, at(UNKNOWN_MS + 1)).status, 200);
    isolate.receive(&name(), failed(), at(UNKNOWN_MS + 2));
    assert_eq!(answered(isolate.decide(&config(), asking(), at(UNKNOWN_MS + 3))).status, 200);
}

#[test]
fn whoever_waits_too_long_or_asks_in_a_lost_instance_is_told_to_come_again() {
    let mut isolate = Isolate::default();
    let Turn::Wait(token) = isolate.decide(&config(), asking(), at(0)) else { panic!("it does not wait") };
    assert_eq!(answered(isolate.outcome(&config(), &name(), token, at(1_500))).status, 503);
    assert_eq!(answered(isolate.outcome(&config(), &name(), token, at(1_501))).status, 503);
    assert_eq!(answered(Isolate::default().outcome(&config(), &name(), 1, at(0))).status, 503);
}

#[test]
fn a_policy_with_sub_homes_moves_the_holder_and_the_old_one_gives_everything_back() {
    let of = |sub_homes, version| {
        let mut home = home(LeaseRules { sub_homes, ..LeaseRules::default() });
        let policy = Policy { version, ..policy(LeaseRules { sub_homes, ..LeaseRules::default() }) };
        home.install(policy);
        home
    };
    let mut home = of(8, 2);
    let mut isolate = Isolate::default();
    assert_eq!(first(&mut isolate, &mut home, at(0)).status, 200);
    // The home's reply named eight sub-homes: the next request asks one of them.
    let Turn::Wait(_) = isolate.decide(&config(), asking(), at(1)) else { panic!("it does not wait") };
    let contacts = isolate.contacts(&name(), at(1));
    let objects: Vec<&str> = contacts.iter().map(|contact| contact.object.as_str()).collect();
    assert_eq!(objects, ["demo/live/others/0", "demo/live"]);
    let reply = home.contact(at(2), 7, &json::read(&contacts[1].contact).unwrap()).unwrap().unwrap();
    isolate.receive(&name(), ContactReply::Reply(Box::new(reply)), at(2));
    let of_month = home.outstanding(NOW.period());
    assert_eq!((of_month.net, of_month.settled), (Units::new(1), Units::new(1)));
    assert!(isolate.contacts(&name(), at(3)).is_empty(), "nothing is owed to the home any more");
}

/// What it has not reported would look like units that it may give back to whoever asks the new place.
#[test]
fn a_holder_that_moves_reports_at_once_though_nothing_else_is_left_in_its_hands() {
    let leases = LeaseRules { sub_homes: 8, ..LeaseRules::default() };
    let mut home = test_policy::home(test_policy::policy(NOW, 1, leases));
    let mut isolate = Isolate::default();
    assert_eq!(first(&mut isolate, &mut home, at(0)).status, 200);
    assert!(isolate.is_restless(&name(), at(0)), "somebody looks after it");
    assert_eq!(exchange(&mut isolate, &mut home, at(0)), 1);
    assert_eq!(home.outstanding(NOW.period()).settled, Units::new(1));
}

#[test]
fn an_isolate_that_expects_sub_homes_begins_at_one_and_comes_home_if_there_are_none() {
    let place = Place { region: Region::of("here", ""), sub_homes: 8 };
    let mut isolate = Isolate { place, ..Isolate::default() };
    let Turn::Wait(token) = isolate.decide(&config(), asking(), at(0)) else { panic!("it does not wait") };
    let contacts = isolate.contacts(&name(), at(0));
    let Contact { object, contact } = &contacts[0];
    assert_eq!(object, "demo/live/here/0");
    // The sub-home passes on what the home says, terms without sub-homes among it.
    let mut home = home(LeaseRules::default());
    let reply = home.contact(at(1), 7, &json::read(contact).unwrap()).unwrap().unwrap();
    isolate.receive(&name(), ContactReply::Reply(Box::new(reply)), at(1));
    assert_eq!(answered(isolate.outcome(&config(), &name(), token, at(1))).status, 200);
    assert_eq!(first(&mut isolate, &mut home, at(2)).status, 200);
}

/// An isolate that knows one question, by the number 0; one unit of 100,000 was spent before, and one for it.
fn knowing(home: &mut Home, deciding: impl Fn() -> Deciding) -> Isolate {
    let mut isolate = Isolate::default();
    first(&mut isolate, home, at(0));
    let Turn::Allowed(allowed) = isolate.decide(&config(), deciding(), at(1)) else {
        panic!("it is not allowed")
    };
    assert_eq!(isolate.know(allowed), 0);
    isolate
}

fn again(number: usize) -> Again {
    Again { number, header_bytes: 16 * 1024, body_bytes: 0 }
}

#[test]
fn a_known_question_is_decided_and_counted_each_time_and_told_what_is_left() {
    let mut home = home(LeaseRules::default());
    let mut isolate = knowing(&mut home, asking);
    let left = |isolate: &Isolate| [0, 1, 2, 3].map(|place| isolate.left(place));
    // 14:00:00.000 on the 24th, six and a half days before the month ends.
    let end = NOW.period().end();
    assert_eq!(left(&isolate), [59_998, 60, 99_998, at(1).seconds_until(end)]);
    for number in 3_u64..8 {
        let now = at(number * 10);
        assert!(isolate.again(again(0), now).is_some());
        assert_eq!(left(&isolate), [60_000 - number, 60, 100_000 - number, now.seconds_until(end)]);
    }
    exchange(&mut isolate, &mut home, at(2_000));
    assert_eq!(home.outstanding(NOW.period()).settled, Units::new(7));
}

#[test]
fn a_known_question_is_no_longer_answered_so_once_anything_but_what_is_left_changes() {
    type Change = fn(Policy) -> Policy;
    let changes: [(Change, bool); 6] = [
        (|policy| Policy { upgrade_url: "https://palveron.com/more".to_owned(), ..policy }, true),
        (|policy| Policy { rpm: 50_000, ..policy }, false),
        (|policy| Policy { keys: vec![KeyId::parse("k002").unwrap()], ..policy }, false),
        (|policy| Policy { status: Status::Suspended, ..policy }, false),
        (|policy| Policy { leases: LeaseRules { strict: true, ..policy.leases }, ..policy }, false),
        (
            |policy| {
                let allowance = AllowanceParts { lots: Units::new(5), ..policy.allowance };
                Policy { allowance, ..policy }
            },
            false,
        ),
    ];
    for (index, (change, is_as_before)) in changes.into_iter().enumerate() {
        let mut home = home(LeaseRules::default());
        let mut isolate = knowing(&mut home, asking);
        home.install(Policy { version: 2, ..change(policy(LeaseRules::default())) });
        let holder = |isolate: &Isolate| isolate.seats.get(&name()).unwrap().post.holder.clone();
        let is_new = |holder: Holder| holder.terms().is_some_and(|terms| terms.version == 2);
        let mut now = at(2);
        while !is_new(holder(&isolate)) {
            assert!(isolate.again(again(0), now).is_some(), "change {index}");
            now = now.plus_ms(50);
            exchange(&mut isolate, &mut home, now);
        }
        let before = holder(&isolate).unsettled();
        assert_eq!(isolate.again(again(0), now).is_some(), is_as_before, "change {index}");
        assert_eq!(holder(&isolate).unsettled(), before + u64::from(is_as_before), "change {index}");
    }
}

#[test]
fn a_known_question_that_cannot_be_paid_from_what_is_in_hand_is_asked_at_length() {
    let mut home = home(LeaseRules::default());
    let mut isolate = knowing(&mut home, asking);
    let served = (0..100_000).take_while(|_| isolate.again(again(0), at(2)).is_some()).count();
    assert!(served < 1_000, "{served} of a slice");
    assert!(matches!(isolate.decide(&config(), asking(), at(2)), Turn::Wait(_)));
}

#[test]
fn a_question_is_known_in_this_instance_by_its_number_and_within_its_size() {
    let mut home = home(LeaseRules::default());
    let mut isolate = knowing(&mut home, asking);
    assert_eq!(Isolate::default().again(again(0), at(2)), None);
    assert_eq!(isolate.again(again(1), at(2)), None);
    assert_eq!(isolate.again(Again { header_bytes: 16 * 1024 + 1, ..again(0) }, at(2)), None);
    assert_eq!(isolate.again(Again { body_bytes: u32::MAX, ..again(0) }, at(2)), None);
    assert!(isolate.again(again(0), at(2)).is_some());
}

#[test]
fn who_asks_is_signed_anew_in_each_second_that_a_known_question_is_forwarded_in() {
    let forward = || {
        let then = Then::Forward { method: "POST".to_owned(), path: "/v1/verify".to_owned() };
        Deciding { then, ..asking() }
    };
    let mut home = home(LeaseRules::default());
    let mut isolate = knowing(&mut home, forward);
    assert!(isolate.again(again(0), at(999)).is_some());
    assert_eq!(isolate.again(again(0), at(1_000)), None);
}

#[test]
fn a_question_is_known_after_its_project_was_refused_for_a_moment() {
    let (mut isolate, mut home) = (Isolate::default(), home(LeaseRules::default()));
    let Turn::Wait(_) = isolate.decide(&config(), asking(), at(0)) else { panic!("it does not wait") };
    isolate.receive(&name(), ContactReply::Failed("home_unavailable".to_owned()), at(1));
    let later = at(1 + UNREADY_MS);
    assert_eq!(first(&mut isolate, &mut home, later).status, 200);
    let Turn::Allowed(allowed) = isolate.decide(&config(), asking(), later) else {
        panic!("it is not allowed")
    };
    let number = isolate.know(allowed);
    assert!(isolate.again(again(number), later).is_some());
}

#[test]
fn as_many_questions_are_known_as_there_is_room_for() {
    let mut home = home(LeaseRules::default());
    let mut isolate = knowing(&mut home, asking);
    let mut numbers = Vec::new();
    for _ in 0..2_000 {
        let numbers_now = isolate.seats.get(&name()).unwrap().post.holder.numbers(at(2)).unwrap();
        let allowed = Allowed {
            deciding: asking(),
            numbers: numbers_now,
            now: at(2),
            decided: Decided::Lease,
            paid: None,
        };
        numbers.push(isolate.know(allowed));
    }
    assert_eq!(numbers, (1..1_000).chain(0..1_000).chain(0..1).collect::<Vec<_>>());
}

/// Sends each contact to the home, or lets it fail where it has no policy yet.
fn replies(contacts: &[Contact], home: &mut Home, now: Timestamp) -> Vec<ContactReply> {
    let sent = contacts.iter().map(|due| json::read(&due.contact).unwrap());
    sent.map(|contact| match home.contact(now, 7, &contact) {
        Ok(reply) => ContactReply::Reply(Box::new(reply.unwrap())),
        Err(_) => ContactReply::Failed("home_unavailable".to_owned()),
    })
    .collect()
}

#[test]
fn a_project_that_is_just_being_made_strands_nothing_of_what_its_home_issues() {
    let mut isolate = Isolate::default();
    let mut home = Home::new(name(), Incarnation::parse("0123456789").unwrap());
    let mut contacts = Vec::new();
    for _ in 0..2 {
        assert!(matches!(isolate.decide(&config(), asking(), at(0)), Turn::Wait(_)));
        contacts.push(isolate.contacts(&name(), at(0)));
    }
    let failed = replies(&contacts[0], &mut home, at(1));
    home.install(policy(LeaseRules::default()));
    let issued = replies(&contacts[1], &mut home, at(2));
    // The failure of the first comes before what the second was issued.
    for reply in failed.into_iter().chain(issued) {
        isolate.receive(&name(), reply, at(3));
    }
    assert!(home.outstanding(NOW.period()).out > Units::ZERO, "nothing was issued");
    // Nobody fetches the outcomes: the clients are gone, and what was allowed to them goes back.
    for ms in (10..20_000).step_by(10) {
        let contacts = isolate.contacts(&name(), at(ms));
        for reply in replies(&contacts, &mut home, at(ms)) {
            isolate.receive(&name(), reply, at(ms));
        }
    }
    let left = home.outstanding(NOW.period());
    assert_eq!(left.out, Units::ZERO, "{left:?}");
}

#[test]
fn a_holder_whose_contacts_have_all_failed_begins_anew() {
    let mut isolate = Isolate::default();
    for ms in [0, 2_000] {
        for _ in 0..2 {
            assert!(matches!(isolate.decide(&config(), asking(), at(ms)), Turn::Wait(_)));
        }
        let sent: usize = (0..2).map(|_| isolate.contacts(&name(), at(ms)).len()).sum();
        for _ in 0..sent {
            isolate.receive(&name(), ContactReply::Failed("project_unknown".to_owned()), at(ms));
        }
        assert!(isolate.contacts(&name(), at(ms + 1_000)).is_empty(), "nothing is sent again");
    }
}

fn observing(key: &str) -> Observing {
    Observing {
        home: name(),
        key: KeyId::parse(key).unwrap(),
        kind: Kind::Verify,
        agent: AgentId::parse("bot").unwrap(),
        observed: shared::cell::Observed { tokens_in: Units::new(7), ..Default::default() },
    }
}

#[test]
fn what_a_strange_key_observed_waits_for_the_home_as_its_requests_do() {
    let (mut isolate, mut home) = (Isolate::default(), home(LeaseRules::default()));
    first(&mut isolate, &mut home, at(0));
    let Turn::Wait(new) = isolate.note(observing("k002"), at(10)) else { panic!("it does not wait") };
    let Turn::Wait(revoked) = isolate.note(observing("k666"), at(10)) else { panic!("it does not wait") };
    let keys = ["k001", "k002"].map(|id| KeyId::parse(id).unwrap()).to_vec();
    let pulled = Policy { version: 2, keys, ..policy(LeaseRules::default()) };
    let asked = ["k002", "k666"].map(|id| KeyId::parse(id).unwrap());
    home.keys_known(at(10), &asked);
    home.pull_begins(at(10));
    home.pulled(at(10), pulled);
    assert_eq!(exchange(&mut isolate, &mut home, at(10)), 1, "both are asked for at once");
    assert_eq!(answered(isolate.outcome(&config(), &name(), new, at(11))).status, 200);
    assert_eq!(answered(isolate.outcome(&config(), &name(), revoked, at(11))).status, 401);
    assert_eq!(answered(isolate.note(observing("k002"), at(12))).status, 200);
    assert_eq!(answered(isolate.note(observing("k666"), at(12))).status, 401);
}

#[test]
fn what_a_strange_key_observed_is_not_refused_while_nobody_can_tell() {
    let (mut isolate, mut home) = (Isolate::default(), home(LeaseRules::default()));
    first(&mut isolate, &mut home, at(0));
    let Turn::Wait(token) = isolate.note(observing("k002"), at(10)) else { panic!("it does not wait") };
    exchange(&mut isolate, &mut home, at(10));
    assert!(matches!(isolate.outcome(&config(), &name(), token, at(11)), Turn::Wait(_)));
    assert_eq!(answered(isolate.outcome(&config(), &name(), token, at(2_000))).status, 503);
}

/// A project without a lease, all of whose requests are refused, is told of with one contact a second.
#[test]
fn what_is_refused_reaches_the_home_without_a_lease() {
    let refusing = Policy { status: Status::Suspended, ..policy(LeaseRules::default()) };
    let mut home = Home::new(name(), Incarnation::parse("0123456789").unwrap());
    home.install(refusing);
    let mut isolate = Isolate::default();
    let answer = first(&mut isolate, &mut home, at(0));
    let reason = answer.denied.as_ref().map(|denied| denied.reason);
    assert_eq!(reason, Some(DenialReason::ProjectSuspended));
    isolate.count(&answer, at(0));
    let mut count: u64 = 1;
    for ms in (1..900).step_by(10) {
        if let Turn::Step(Step::Answer(answer)) = isolate.decide(&config(), asking(), at(ms)) {
            isolate.count(&answer, at(ms));
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
    assert!(isolate.is_restless(&name(), at(900)), "somebody has to report it");
    for ms in (900..4_000).step_by(100) {
        exchange(&mut isolate, &mut home, at(ms));
    }
    let cells = home.flush(at(4_000)).unwrap().messages.remove(0).cells;
    let told: u64 = cells.iter().map(|cell| cell.denials.get(DenialReason::ProjectSuspended)).sum();
    assert_eq!(told, count);
    assert!(cells.iter().all(|cell| cell.counts.units == Units::ZERO));
    assert_eq!(isolate.refused().0.total(), count);
}

/// What strangers send is one number, however much it is.
#[test]
fn a_key_of_no_project_takes_no_place() {
    let mut isolate = Isolate::default();
    for _ in 0..100 {
        isolate.count(&crate::gate::unauthorized_answer(), at(0));
    }
    assert!(isolate.seats.is_empty());
    let (denials, unknown_keys, _) = isolate.refused();
    assert_eq!((denials, unknown_keys), (Denials::NONE, 100));
}

/// A life that was lost, or that has ended because the homes moved: what the next one grants is for those who wait.
#[test]
fn whoever_waits_while_the_home_begins_another_life_is_served_by_that_one() {
    let (mut isolate, mut before) = (Isolate::default(), home(LeaseRules::default()));
    first(&mut isolate, &mut before, at(0));
    // Everything goes back and is reported, and the next request waits.
    for ms in (500..9_000).step_by(500) {
        exchange(&mut isolate, &mut before, at(ms));
    }
    let Turn::Wait(token) = isolate.decide(&config(), asking(), at(60_000)) else {
        panic!("it does not wait")
    };
    let mut after = home(LeaseRules::default());
    // It gives no permit of the minute that it begins in, which is over.
    after.begin_life(at(9_000), Incarnation::parse("inc00002").unwrap());
    for ms in 60_001..60_004 {
        exchange(&mut isolate, &mut after, at(ms));
    }
    let answer = answered(isolate.outcome(&config(), &name(), token, at(60_010)));
    assert_eq!(answer.status, 200, "{}", answer.body);
    for ms in (70_000..80_000).step_by(500) {
        exchange(&mut isolate, &mut after, at(ms));
    }
    let there = after.outstanding(NOW.period());
    assert_eq!((there.settled, there.out), (Units::new(1), Units::ZERO), "nothing is left with nobody");
}
