//! A home's promises where homes move, each as a sentence.

use super::lease_tests::{batch, contact, home, leased, noon};
use super::question::Question;
use super::*;
use crate::lease::message::{Contact, Returns};
use crate::policy::{Place, Seat};
use crate::wire::{Flush, Merged, Retired, Stranded};

fn units(n: u64) -> Units {
    Units::new(n)
}

fn at(version: u64, place: Place, term: u64, open: bool) -> Policy {
    let mut policy = crate::policy::tests::community("demo");
    (policy.version, policy.rpm, policy.agents_max) = (version, 100, None);
    policy.allowance.included = units(50);
    policy.leases.seat = Some(Seat { place, term, open });
    policy.leases.escrow = (place == Place::Redis).then_some(units(20));
    policy
}

fn told(home: &mut Home, now: Timestamp) -> Option<Flush> {
    let mut round = home.flush(now)?;
    let last = round.messages.pop()?;
    home.flushed(now, round.seq);
    Some(last)
}

fn reply(home: &mut Home, now: Timestamp, m: Contact) -> String {
    home.reply(now, 1, &Question::Contact(alloc::boxed::Box::new(m)), true).unwrap()
}

fn from(home: &Home, m: Contact) -> Contact {
    Contact { incarnation: Some(home.incarnation().clone()), ..m }
}

const MOVED_REPLY: &str = r#"{"failed":"home_moved"}"#;

#[test]
fn a_home_that_is_to_end_grants_nothing_and_ends_once_everything_is_back() {
    let mut home = home(|policy| policy.allowance.included = units(50));
    assert_eq!(leased(home.contact(noon(), 1, &contact(1, 1, 10)).unwrap()).units, 10);
    home.install(at(2, Place::DurableObject, 1, false));
    let now = noon().plus_ms(1_000);
    let refused = leased(home.contact(now, 1, &contact(2, 1, 1)).unwrap());
    assert_eq!((refused.units, refused.permits, refused.recall), (0, 0, true));
    assert_eq!(refused.refusals, [], "nobody is told that anything is used up");
    assert!(told(&mut home, now).is_none(), "ten are out");
    assert_eq!(home.flush_due(), Some(now.plus_ms(250)), "it looks again");
    assert!(!home.is_moved());
    let mut returns = Returns::default();
    returns.add_units(now.period(), 7, crate::source::Beyond::default());
    let report = from(&home, Contact { batch: batch(1, 3), returns, ..contact(1, 2, 5) });
    assert_eq!(leased(home.contact(now, 1, &report).unwrap()).units, 0);
    let last = told(&mut home, now.plus_ms(300)).unwrap();
    let Retired { place, term, window } = last.retired.unwrap();
    assert_eq!((place, term, window.issued(now)), (Place::DurableObject, 1, 10));
    assert_eq!(last.stranded, [Stranded { period: now.period(), units: units(0) }]);
    assert_eq!(last.cells.iter().map(|cell| cell.counts.units).collect::<Vec<_>>(), [units(3)]);
    assert!(home.is_moved());
    assert_eq!(reply(&mut home, now.plus_ms(400), contact(3, 1, 1)), MOVED_REPLY);
    let rows = home.take_writes().into_iter().filter_map(|row| Some((row.key, row.value?)));
    let mut read = Home::load(rows, now).unwrap().unwrap();
    assert_eq!(reply(&mut read, now.plus_ms(400), contact(3, 1, 1)), MOVED_REPLY, "a crash changes nothing");
}

#[test]
fn what_silent_holders_have_is_told_and_a_report_of_it_is_taken_at_any_time() {
    let mut home = home(|policy| policy.allowance.included = units(50));
    leased(home.contact(noon(), 1, &contact(1, 1, 10)).unwrap());
    home.install(at(2, Place::DurableObject, 1, false));
    assert!(told(&mut home, noon().plus_ms(19_999)).is_none(), "it may be alive");
    let now = noon().plus_ms(20_000);
    let last = told(&mut home, now).unwrap();
    assert_eq!(last.stranded, [Stranded { period: now.period(), units: units(10) }]);
    let report = from(&home, Contact { batch: batch(1, 4), ..contact(1, 2, 3) });
    assert!(reply(&mut home, now, report).contains("\"units\":0"));
    let late = told(&mut home, now.plus_ms(2_000)).unwrap();
    assert_eq!((late.stranded[0].units, late.cells[0].counts.units), (units(6), units(4)));
    assert!(late.retired.is_some());
}

#[test]
fn rows_of_an_earlier_stay_issue_nothing_before_they_have_learned_from_the_books() {
    let mut home = home(|policy| policy.allowance.included = units(50));
    leased(home.contact(noon(), 1, &contact(1, 1, 10)).unwrap());
    let report = from(&home, Contact { batch: batch(1, 10), ..contact(1, 2, 0) });
    home.contact(noon(), 1, &report).unwrap();
    home.install(at(2, Place::DurableObject, 1, false));
    let now = noon().plus_ms(1_000);
    let before = home.incarnation().clone();
    assert!(told(&mut home, now).unwrap().retired.is_some());
    home.install(at(3, Place::DurableObject, 4, true));
    // Without the answer of the books nobody is granted anything, in whatever way they ask.
    assert_eq!(leased(home.contact(now, 1, &contact(2, 1, 5)).unwrap()).units, 0);
    assert_eq!(home.decide(now, &tests::ask("bot")).unwrap().denial, Some(Denial::QuotaContended));
    let asked = Question::Contact(alloc::boxed::Box::new(contact(2, 2, 5)));
    assert_eq!(home.reply(now, 1, &asked, false), None, "it pulls");
    home.begin_stay(now, Incarnation::parse("inc00009").unwrap());
    assert!(home.needs_registration() && *home.incarnation() != before);
    home.pull_begins(now);
    let mut window = crate::window::Window::default();
    window.issue(now, 90);
    let merged = Merged { units: units(45), window: Some(window), ..Merged::nothing(now.period()) };
    home.pull_told(now, 0, &[merged]);
    let lease = leased(home.contact(now, 1, &contact(3, 1, 9)).unwrap());
    assert_eq!(
        (lease.units, lease.permits_left),
        (5, 5),
        "five are left, and ten of the minute's permits were"
    );
    assert!(
        home.reply(now, 1, &Question::Contact(alloc::boxed::Box::new(report)), true)
            .unwrap()
            .contains("resync")
    );
}

#[test]
fn a_home_that_the_books_take_for_another_ends_before_it_is_open() {
    let mut home = home(|policy| policy.allowance.included = units(50));
    leased(home.contact(noon(), 1, &contact(1, 1, 10)).unwrap());
    home.install(at(2, Place::DurableObject, 2, true));
    assert!(!home.must_begin_life(), "ten are out");
    assert_eq!(leased(home.contact(noon(), 1, &contact(2, 1, 5)).unwrap()).units, 0);
    let report = from(&home, Contact { batch: batch(1, 10), ..contact(1, 2, 0) });
    home.contact(noon(), 1, &report).unwrap();
    let last = told(&mut home, noon().plus_ms(300)).unwrap();
    assert_eq!((last.retired.map(|life| life.term), last.cells.len()), (Some(2), 1));
    assert!(home.must_begin_life());
}

#[test]
fn a_home_that_was_never_asked_ends_at_once_and_rows_of_the_last_release_are_read() {
    let name = HomeName::parse("demo/test").unwrap();
    let mut home = Home::new(name, Incarnation::parse("inc00001").unwrap());
    home.install(at(1, Place::Redis, 1, false));
    let last = told(&mut home, noon()).unwrap();
    assert_eq!(last.retired.map(|life| (life.place, life.term)), Some((Place::Redis, 1)));
    let mut old = self::home(|_| {});
    let rows: Vec<(String, String)> =
        old.take_writes().into_iter().filter_map(|row| Some((row.key, row.value?))).collect();
    assert!(
        rows.iter()
            .all(|(_, row)| !row.contains("ended") && !row.contains("\"term\"") && !row.contains("seat"))
    );
}
