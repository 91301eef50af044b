//! Calls that the home decides: counted once their answers have left, taken back if they never do.

use super::call::CallId;
use super::open_calls::SILENT_MS;
use super::question::Question;
use super::*;
use crate::ids::KeyId;
use crate::kind::Kind;
use crate::lease::message::{Batch, Contact, Returns};
use crate::lease::{Answer, CallEnd, Holder};
use crate::policy::LeaseRules;
use crate::policy::tests::community;
use crate::wire::Merged;

const NOW: Timestamp = Timestamp::from_ms(1_795_435_200_000);

fn at(ms: u64) -> Timestamp {
    NOW.plus_ms(ms)
}

fn strict(included: u64) -> Home {
    let mut home =
        Home::new(HomeName::parse("demo/live").unwrap(), Incarnation::parse("0123456789").unwrap());
    let mut policy = community("demo");
    policy.allowance.included = Units::new(included);
    let agents = [(AgentId::parse("bot").unwrap(), Units::new(1_000))].into();
    policy.leases = LeaseRules { strict: true, agents, ..LeaseRules::default() };
    home.install(policy);
    home
}

fn ask(cost: u32) -> Ask {
    let (key, agent) = (KeyId::parse("k001").unwrap(), AgentId::parse("bot").unwrap());
    Ask { key, kind: Kind::Verify, agent, cost, dry_run: false, held: false }
}

fn call(number: u64) -> CallId {
    CallId { holder: HolderId::from_bits(7), number }
}

/// The holder's word, on a lane's contact of that number.
fn says(home: &mut Home, now: Timestamp, nonce: u64, left: &[u64], void: &[u64]) {
    let contact = Contact {
        incarnation: Some(home.incarnation().clone()),
        batch: Batch { seq: nonce, calls: left.to_vec(), ..Batch::default() },
        returns: Returns { calls: void.to_vec(), ..Returns::default() },
        terms: 1,
        ..Contact::bare(HolderId::from_bits(7), nonce)
    };
    home.contact(now, 1, &contact).unwrap();
}

/// Net and settled units, units of the agent, and permits of the minute.
fn books(home: &Home, now: Timestamp) -> [u64; 4] {
    let account = home.accounts.get(&now.period()).unwrap();
    let agent = account.agent_units.values().next().copied().unwrap_or_default();
    let permits = home.meta.window.issued(now);
    [account.net().get(), account.settled.get(), agent.get(), permits.into()]
}

fn read_back(home: &mut Home, rows: &mut BTreeMap<String, String>, now: Timestamp) -> Home {
    for row in home.take_writes() {
        match row.value {
            Some(value) => drop(rows.insert(row.key, value)),
            None => drop(rows.remove(&row.key)),
        }
    }
    let rows = rows.iter().map(|(key, value)| (key.clone(), value.clone()));
    Home::load(rows.collect::<Vec<_>>(), now).unwrap().unwrap()
}

#[test]
fn a_call_is_billed_once_its_answer_has_left_and_comes_back_everywhere_if_it_never_does() {
    for (left, void, after) in
        [(vec![1], vec![], [3, 3, 3, 3]), (vec![], vec![1], [0, 0, 0, 0]), (vec![], vec![], [3, 0, 3, 3])]
    {
        let (mut home, mut rows) = (strict(1_000), BTreeMap::new());
        let verdict = home.decide_call(NOW, &ask(3), call(1)).unwrap().unwrap();
        assert_eq!((verdict.denial, books(&home, NOW)), (None, [3, 0, 3, 3]), "it counts against all limits");
        let mut home = read_back(&mut home, &mut rows, at(1));
        says(&mut home, at(2), 1, &left, &void);
        assert_eq!(books(&home, at(2)), after);
        let mut home = read_back(&mut home, &mut rows, at(3));
        says(&mut home, at(4), 2, &left, &void);
        assert_eq!(books(&home, at(4)), after, "said again it changes nothing");
    }
}

#[test]
fn who_lacks_the_room_that_open_calls_have_taken_waits_for_them() {
    let mut home = strict(1_000);
    let mut policy = community("demo");
    policy.version = 2;
    policy.leases = LeaseRules { strict: true, escrow: Some(Units::new(2)), ..LeaseRules::default() };
    home.install(policy);
    let life = home.incarnation().clone();
    home.acknowledge(NOW, &life, 0, &[Merged::nothing(NOW.period())]);
    let waits = |home: &Home, number| {
        let question = Question::Decide(ask(1), Some(call(number)));
        (question.waits_for_room(home, NOW), question.may_come_twice())
    };
    assert_eq!(waits(&home, 1), (false, true));
    for number in [1, 2] {
        assert_eq!(home.decide_call(NOW, &ask(1), call(number)).unwrap().unwrap().denial, None);
    }
    assert_eq!(waits(&home, 3), (true, true), "their answers are leaving");
    // What has left waits for the books; what never did has made room at once.
    says(&mut home, at(1), 1, &[1], &[2]);
    assert_eq!(waits(&home, 3), (false, true));
    assert!(!Question::Decide(ask(1), None).may_come_twice());
}

#[test]
fn a_call_that_is_sent_again_under_its_number_counts_nothing_and_is_answered_alike() {
    let mut home = strict(1_000);
    for _ in 0..20 {
        let verdict = home.decide_call(NOW, &ask(1), call(1)).unwrap().unwrap();
        assert_eq!((verdict.denial, books(&home, NOW)), (None, [1, 0, 1, 1]));
    }
    says(&mut home, at(1), 1, &[1], &[]);
    for _ in 0..20 {
        assert_eq!(home.decide_call(at(2), &ask(1), call(1)).unwrap(), None, "nobody waits for it");
        assert_eq!(books(&home, at(2)), [1, 1, 1, 1]);
    }
}

#[test]
fn a_call_that_comes_after_it_was_given_up_is_not_decided() {
    let (mut home, mut rows) = (strict(1_000), BTreeMap::new());
    says(&mut home, NOW, 1, &[], &[1]);
    let mut home = read_back(&mut home, &mut rows, at(1));
    assert_eq!(home.decide_call(at(1), &ask(1), call(1)).unwrap(), None);
    assert_eq!(home.outstanding(NOW.period()).net, Units::ZERO);
    assert!(home.decide_call(at(1), &ask(1), call(2)).unwrap().is_some(), "others are");
}

#[test]
fn what_a_silent_holder_was_allowed_is_billed_and_a_home_that_was_stopped_too_waits_longer() {
    let cases = [(SILENT_MS - 1, 0, 1), (SILENT_MS, 1, SILENT_MS), (SILENT_MS + 60_000, 0, SILENT_MS)];
    for (looks, billed, pause) in cases {
        let (mut home, mut rows) = (strict(1_000), BTreeMap::new());
        home.decide_call(NOW, &ask(1), call(1)).unwrap();
        let mut home = read_back(&mut home, &mut rows, NOW);
        assert_eq!(home.flush_due(), Some(at(SILENT_MS)));
        drop(home.flush(at(looks)));
        assert_eq!(home.outstanding(NOW.period()).settled, Units::new(billed), "{looks}");
        let later = at(looks + pause);
        drop(home.flush(later));
        assert_eq!(home.outstanding(NOW.period()).settled, Units::new(1), "{looks}");
        says(&mut home, later, 1, &[], &[1]);
        assert_eq!(home.outstanding(NOW.period()).settled, Units::new(1), "a billed unit is billed");
    }
}

#[test]
fn a_hard_stop_is_exact_while_calls_are_open_and_what_comes_back_is_served() {
    let mut home = strict(3);
    let mut decide = |ms, number| {
        let verdict = home.decide_call(at(ms), &ask(1), call(number)).unwrap();
        verdict.unwrap().denial
    };
    assert_eq!(
        [1, 2, 3, 4].map(|number| decide(0, number)),
        [None, None, None, Some(Denial::QuotaExhausted)]
    );
    says(&mut home, at(1), 1, &[1, 2], &[3]);
    let allowed = home.decide_call(at(2), &ask(1), call(5)).unwrap().unwrap();
    assert_eq!((allowed.denial, books(&home, at(2))), (None, [3, 2, 3, 3]));
    let denied = home.decide_call(at(3), &ask(1), call(6)).unwrap().unwrap();
    assert_eq!(denied.denial, Some(Denial::QuotaExhausted));
}

#[test]
fn a_call_that_was_denied_is_not_decided_again_after_a_crash() {
    let (mut home, mut rows) = (strict(1), BTreeMap::default());
    assert_eq!(home.decide_call(at(0), &ask(1), call(1)).unwrap().unwrap().denial, None);
    let denied = home.decide_call(at(1), &ask(1), call(2)).unwrap().unwrap();
    assert_eq!(denied.denial, Some(Denial::QuotaExhausted));
    let mut home = read_back(&mut home, &mut rows, at(2));
    let mut policy = home.policy.clone().unwrap();
    (policy.version, policy.allowance.included) = (policy.version + 1, Units::new(10));
    home.install(policy);
    // A copy of the message comes late. Its holder has told the denial, and will say nothing of this answer.
    assert_eq!(home.decide_call(at(3), &ask(1), call(2)).unwrap(), None);
    assert_eq!(books(&home, at(3)), [1, 0, 1, 1]);
}

#[test]
fn numbers_are_known_in_any_order_and_cost_little() {
    let mut home = strict(1_000_000);
    let numbers = (1_u64..200).map(|n| if n % 2 == 0 { n - 1 } else { n + 1 });
    for number in numbers.clone() {
        home.decide_call(at(number * 100_000), &ask(1), call(number)).unwrap();
    }
    let before = home.take_writes().len();
    assert!(before > 200, "each is in a row of its own");
    home.decide_call(at(100_000_000), &ask(1), call(201)).unwrap();
    let row = home.take_writes().into_iter().find(|row| row.key.starts_with("holder/")).unwrap();
    assert!(row.value.unwrap().len() < 200, "none of them is remembered by itself any more");
}

/// A holder that knows the terms, and the home it is of.
fn known() -> (Holder, Home) {
    let (mut holder, mut home) = (Holder::new(HolderId::from_bits(7), 7), strict(1_000));
    let Answer::Wait(id) = holder.decide(NOW, &ask(1)) else { panic!("it does not wait") };
    exchange(&mut holder, &mut home, NOW);
    assert_eq!(holder.outcome(NOW, id), Answer::AtHome);
    (holder, home)
}

fn exchange(holder: &mut Holder, home: &mut Home, now: Timestamp) {
    for contact in holder.contacts(now) {
        let reply = home.contact(now, 7, &contact).unwrap().unwrap();
        holder.receive(now, reply);
    }
}

#[test]
fn a_holder_says_of_each_call_what_became_of_it_and_is_not_drained_before() {
    for (end, billed) in [(Some(CallEnd::Left), 1), (Some(CallEnd::Void), 0), (None, 0)] {
        let (mut holder, mut home) = known();
        let number = holder.begin_call(NOW);
        let id = CallId { holder: holder.id(), number };
        home.decide_call(NOW, &ask(1), id).unwrap();
        if let Some(end) = end {
            assert!(holder.end_call(at(5), number, end));
        }
        let mut now = at(5);
        while !holder.is_drained() {
            now = holder.wake_at(now).unwrap().max(now.plus_ms(1));
            exchange(&mut holder, &mut home, now);
            drop(home.flush(now));
        }
        let after = home.outstanding(NOW.period());
        assert_eq!((after.net, after.settled), (Units::new(billed), Units::new(billed)), "{end:?}");
        assert!(!holder.end_call(now, number, CallEnd::Left), "nobody is served after that");
    }
}

/// A home that no process keeps: it is read anew for each act.
struct Rows(crate::home::storage::Stored);

impl Rows {
    fn act<T>(&mut self, now: Timestamp, act: impl FnOnce(&mut Home) -> T) -> T {
        let mut copy = crate::home::storage::Copy::read(self.0.clone(), || strict(100), now).unwrap();
        let (told, commit) = copy.act(act);
        copy.accepted(&commit);
        for row in commit.rows {
            self.0.rows.retain(|(key, _)| *key != row.key);
            self.0.rows.extend(row.value.map(|value| (row.key, value)));
        }
        self.0.version += 1;
        told
    }

    /// Somebody looks after it whenever that is due, up to then; units that are settled.
    fn looked_after(&mut self, from: Timestamp, until: Timestamp) -> u64 {
        let mut now = from;
        for _ in 0..100 {
            let Some(due) = self.act(now, |home| home.look_due(now)).filter(|due| *due <= until) else {
                break;
            };
            now = due.max(now.plus_ms(1));
            self.act(now, |home| {
                if let Some(round) = home.flush(now) {
                    home.flushed(now, round.seq);
                }
            });
        }
        self.act(until, |home| books(home, until)[1])
    }
}

#[test]
fn calls_of_the_dead_are_counted_where_no_process_keeps_the_home_and_those_of_the_living_are_not() {
    let minutes = 60_000 + 2 * SILENT_MS;
    for is_heard in [false, true] {
        let mut rows = Rows(crate::home::storage::Stored::default());
        rows.act(NOW, |home| {
            home.install(strict(100).policy.clone().unwrap());
            home.decide_call(NOW, &ask(3), call(1)).unwrap().unwrap();
        });
        let silent = at(60_000 + SILENT_MS);
        assert_eq!(rows.looked_after(NOW, silent), 0, "its time is not over");
        if is_heard {
            // It was cut off, and says now that the answer never left.
            rows.act(silent, |home| says(home, silent, 1, &[], &[1]));
        }
        let end = at(minutes + 1_000);
        assert_eq!(rows.looked_after(silent, end), if is_heard { 0 } else { 3 });
        assert_eq!(rows.act(end, |home| books(home, end)[0]), if is_heard { 0 } else { 3 });
        // Whatever comes later changes nothing.
        rows.act(end, |home| says(home, end, 2, &[1], &[]));
        assert_eq!(rows.act(end, |home| books(home, end)[1]), if is_heard { 0 } else { 3 });
    }
}

#[test]
fn whoever_is_heard_after_the_notice_has_its_whole_time_again() {
    let mut rows = Rows(crate::home::storage::Stored::default());
    rows.act(NOW, |home| {
        home.install(strict(100).policy.clone().unwrap());
        home.decide_call(NOW, &ask(1), call(1)).unwrap().unwrap();
        home.decide_call(NOW, &ask(1), call(2)).unwrap().unwrap();
    });
    let heard = at(60_000 + SILENT_MS + 10_000);
    assert_eq!(rows.looked_after(NOW, heard), 0);
    rows.act(heard, |home| says(home, heard, 1, &[1], &[]));
    // The other one is under way still.
    assert_eq!(rows.looked_after(heard, heard.plus_ms(2 * SILENT_MS - 1_000)), 1);
    assert_eq!(
        rows.looked_after(heard.plus_ms(2 * SILENT_MS - 1_000), heard.plus_ms(2 * SILENT_MS + 1_000)),
        2
    );
}
