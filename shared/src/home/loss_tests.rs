//! What a life that follows a lost one knows of it, each promise as a sentence.

use alloc::collections::BTreeMap;

use super::lease_tests::{batch, contact, home, leased, noon};
use super::*;
use crate::lease::message::{Batch, Contact, Returns};
use crate::wire::Merged;

const ESCROW: u64 = 50;

fn units(n: u64) -> Units {
    Units::new(n)
}

fn nothing() -> Merged {
    Merged { recent: Some(0), ..Merged::nothing(noon().period()) }
}

/// A project's home in its first life.
fn first(rpm: u32) -> Home {
    let mut home = home(|policy| {
        policy.leases.escrow = Some(units(ESCROW));
        policy.rpm = rpm;
    });
    let life = home.incarnation().clone();
    home.acknowledge(noon(), &life, 0, &[nothing()]);
    home
}

/// The home of the next life, after the books have said that of the one before.
fn second(mut home: Home, now: Timestamp, merged: Merged) -> Home {
    home.begin_life(now, Incarnation::parse("inc00002").unwrap());
    let life = home.incarnation().clone();
    home.acknowledge(now, &life, 0, &[merged]);
    home
}

#[test]
fn a_new_life_permits_what_the_books_leave_of_the_minute() {
    let mut home = first(600);
    assert_eq!(leased(home.contact(noon(), 1, &contact(1, 1, 30)).unwrap()).permits, 30);
    home.contact(noon(), 1, &Contact { batch: batch(1, 30), ..contact(1, 2, 0) }).unwrap();
    let told = home.flush(noon()).unwrap().messages.remove(0).window;
    assert_eq!(told.map(|window| window.issued(noon())), Some(30));
    // It goes on, tells nothing more, and is lost.
    home.contact(noon(), 1, &contact(1, 3, 20)).unwrap();
    let now = noon().plus_ms(4_000);
    let merged = Merged { units: units(30), lives: 1, stranded: units(7), window: told, ..nothing() };
    let left = |recent| {
        let merged = Merged { recent, ..merged.clone() };
        second(home.clone(), now, merged).numbers(now).unwrap().rpm_remaining
    };
    let unknown = u32::try_from(ESCROW).unwrap() + 7;
    assert_eq!(left(Some(1)), 600 - 30 - unknown, "what it may have issued since is within the escrow");
    assert_eq!(left(Some(3)), 600 - 30 - unknown - 100, "and so is what each of the others may have");
    assert_eq!(left(None), 0, "a release before does not tell");
    let mut strict = home.clone();
    let mut policy = crate::policy::tests::community("demo");
    (policy.version, policy.rpm, policy.leases.strict) = (9, 600, true);
    policy.leases.escrow = Some(units(ESCROW));
    strict.install(policy);
    let strict = second(strict, now, Merged { recent: Some(1), ..merged.clone() });
    assert_eq!(strict.numbers(now).unwrap().rpm_remaining, 0, "whose holders do not know of it yet");
    let of_a_clock_ahead = Merged { recent: Some(1), ..merged };
    let before = Timestamp::from_ms(noon().as_ms() - 1_000);
    let first_of_all = super::lease_tests::home(|policy| policy.leases.escrow = Some(units(ESCROW)));
    assert_eq!(second(first_of_all, before, of_a_clock_ahead).numbers(before).unwrap().rpm_remaining, 0);
}

#[test]
fn what_holders_let_go_of_an_earlier_life_can_be_issued_again_once() {
    let merged = Merged { units: units(300), lives: 1, ..nothing() };
    let mut home = second(first(1_000_000), noon(), Merged { recent: Some(1), ..merged });
    let at = |home: &Home| {
        let told = home.outstanding(noon().period());
        (told.net.get(), told.void.get())
    };
    assert_eq!(at(&home), (350, 50));
    let lets_go = |seq, n| Batch { seq, let_go: BTreeMap::from([(noon().period(), n)]), ..Batch::default() };
    let tell = |home: &mut Home, holder, nonce, batch| {
        home.contact(noon(), 1, &Contact { batch, ..contact(holder, nonce, 0) }).unwrap();
    };
    tell(&mut home, 1, 1, lets_go(1, 20));
    assert_eq!(at(&home), (330, 30));
    // The same batch comes again, in the same contact and in another.
    tell(&mut home, 1, 1, lets_go(1, 20));
    tell(&mut home, 1, 2, lets_go(1, 20));
    assert_eq!(at(&home), (330, 30));
    // What it had served of that life is used, and held back no longer.
    tell(&mut home, 2, 1, batch(1, 25));
    assert_eq!(at(&home), (330, 5));
    // Nobody can let go more than was held back.
    tell(&mut home, 3, 1, lets_go(1, 9));
    assert_eq!(at(&home), (325, 0));
}

/// Simulator, seed 2001635: nothing had been counted since, so that nobody looked, and the next waited for ever.
#[test]
fn who_waits_until_it_is_told_what_the_dead_have_has_it_told() {
    let mut home = first(1_000_000);
    let all = u32::try_from(ESCROW).unwrap();
    assert_eq!(leased(home.contact(noon(), 1, &contact(1, 1, all)).unwrap()).units, ESCROW);
    assert_eq!(home.flush_due(), None, "nothing is served yet");
    let later = noon().plus_ms(3_000);
    assert_eq!(leased(home.contact(later, 1, &contact(2, 1, 7)).unwrap()).units, 0);
    assert!(home.flush_due().is_some_and(|due| due <= later));
    let round = home.flush(later).unwrap();
    home.flushed(later, round.seq);
    assert_eq!(leased(home.contact(later, 1, &contact(2, 2, 7)).unwrap()).units, 7);
}

#[test]
fn what_a_sub_home_gives_back_of_an_earlier_life_can_be_issued_again() {
    let merged = Merged { lives: 1, recent: Some(1), ..nothing() };
    let mut home = second(first(1_000_000), noon(), merged);
    let child = |nonce, need| Contact { child: true, ..contact(1, nonce, need) };
    let own = leased(home.contact(noon(), 1, &child(1, 5)).unwrap()).units;
    // Its isolates gave back ten that they had of the life before, beside what this one has issued.
    let returns = Returns { units: BTreeMap::from([(noon().period(), own + 10)]), ..Returns::default() };
    home.contact(noon(), 1, &Contact { returns, ..child(2, 0) }).unwrap();
    let told = home.outstanding(noon().period());
    assert_eq!((told.net, told.void, told.out), (units(40), units(40), units(0)));
}
