//! Units and places that are on their way: with messages that did not come, with resends, with lives that ended.

use std::collections::BTreeMap;

use super::lease_tests::{batch, contact, home, leased, noon};
use super::*;
use crate::lease::message::{Body, Contact, Need, Returns};
use crate::sub_home::SubHome;

fn refused(home: &mut Home, at: Timestamp, m: &Contact) -> Vec<Denial> {
    let lease = leased(home.contact(at, 1, m).unwrap());
    lease.refusals.iter().map(|refusal| refusal.denial).collect()
}

fn need(agent: Option<&str>, cost: u32) -> Need {
    Need { agent: agent.map(|agent| AgentId::parse(agent).unwrap()), cost, count: 1 }
}

/// The answer to another lane may be lost or late, and what it brings may not be needed any more.
#[test]
fn units_on_their_way_to_who_asks_are_spent_only_once_it_says_so() {
    // What the holder says that it has served, and how five more are refused.
    for (unreported, denial) in
        [(0, Denial::QuotaContended), (5, Denial::QuotaContended), (6, Denial::QuotaExhausted)]
    {
        let mut home = home(|policy| policy.allowance.included = Units::new(10));
        assert_eq!(refused(&mut home, noon(), &contact(1, 1, 6)), []);
        let other = Contact { lane: 1, unreported, needs: vec![need(None, 5)], ..contact(1, 1, 0) };
        assert_eq!(refused(&mut home, noon().plus_ms(20), &other), [denial], "{unreported} are served");
    }
}

#[test]
fn a_single_unit_that_is_refused_while_one_is_on_its_way_passes_no_level() {
    let mut home = home(|policy| policy.allowance.included = Units::new(10));
    let all = Contact { needs: vec![Need { count: 11, ..need(None, 1) }], ..contact(1, 1, 0) };
    assert_eq!(refused(&mut home, noon(), &all), [Denial::QuotaContended]);
    assert!(home.accounts.values().all(|account| account.exhausted.is_none()));
    let served =
        Contact { incarnation: Some(home.meta.incarnation.clone()), batch: batch(1, 10), ..contact(1, 2, 1) };
    assert_eq!(refused(&mut home, noon().plus_ms(20), &served), [Denial::QuotaExhausted]);
    assert!(home.accounts.values().any(|account| account.exhausted.is_some()));
}

#[test]
fn a_holder_that_sends_the_same_again_is_present() {
    let mut home = home(|policy| policy.allowance.included = Units::new(6));
    for second in 0..15 {
        home.contact(noon().plus_ms(second * 1_000), 1, &contact(1, 1, 6)).unwrap();
    }
    assert_eq!(refused(&mut home, noon().plus_ms(15_000), &contact(2, 1, 1)), [Denial::QuotaContended]);
    assert_eq!(refused(&mut home, noon().plus_ms(30_000), &contact(2, 2, 1)), [Denial::QuotaExhausted]);
}

#[test]
fn what_was_cut_is_not_made_up_by_what_comes_back() {
    // What comes back after the allowance was cut to ten, and how one more unit is refused.
    for (live, denial) in [(10_u32, Denial::QuotaExhausted), (11, Denial::QuotaContended)] {
        let mut home = home(|policy| policy.allowance.included = Units::new(20));
        assert_eq!(refused(&mut home, noon(), &contact(1, 1, 20 - live)), []);
        assert_eq!(refused(&mut home, noon().plus_ms(11_000), &contact(2, 1, live)), []);
        let mut cut = home.policy.clone().unwrap();
        (cut.version, cut.allowance.included) = (2, Units::new(10));
        home.install(cut);
        assert_eq!(
            refused(&mut home, noon().plus_ms(11_010), &contact(3, 1, 1)),
            [denial],
            "{live} are live"
        );
    }
}

#[test]
fn an_agent_that_gets_nothing_takes_no_place() {
    let mut home = home(|policy| {
        policy.allowance.included = Units::new(10);
        policy.agents_max = Some(1);
    });
    let both = Contact { needs: vec![need(Some("costly"), 11), need(Some("bot"), 1)], ..contact(1, 1, 0) };
    let lease = leased(home.contact(noon(), 1, &both).unwrap());
    let denials: Vec<Denial> = lease.refusals.iter().map(|refusal| refusal.denial).collect();
    assert_eq!((lease.units, denials), (1, vec![Denial::QuotaExhausted]));
    let third = Contact { needs: vec![need(Some("third"), 1), need(Some("bot"), 1)], ..contact(1, 2, 0) };
    assert_eq!(refused(&mut home, noon(), &third), [Denial::AgentLimit]);
}

/// What isolates served of a lost storage is reported by the life that follows. It was never among what that one has.
#[test]
fn a_sub_homes_new_life_may_give_back_all_that_it_has() {
    let mut home = home(|policy| policy.allowance.included = Units::new(20));
    let life = |text| Incarnation::parse(text).unwrap();
    let mut sub_home = SubHome::new(HolderId::from_bits(99), life("inc00001"));
    let exchange = |home: &mut Home, sub_home: &mut SubHome, at: Timestamp, m: Option<&Contact>| {
        let mut replies: Vec<_> = m.and_then(|m| sub_home.contact(at, 1, m)).into_iter().collect();
        for up in sub_home.contacts(at) {
            let reply = home.contact(at, 1, &up).unwrap().unwrap();
            replies.extend(sub_home.receive(at, 1, reply));
        }
        replies
    };
    exchange(&mut home, &mut sub_home, noon(), Some(&contact(1, 1, 5)));
    let lost = home.outstanding(noon().period()).net;
    sub_home.begin_life(HolderId::from_bits(100), life("inc00002"));
    // Another isolate gets units of the new life, and the first reports under a new name what it had served.
    let at = noon().plus_ms(100);
    let replies = exchange(&mut home, &mut sub_home, at, Some(&contact(2, 1, 4)));
    assert!(replies.iter().any(|reply| matches!(&reply.body, Body::Lease(lease) if lease.units >= 4)));
    let incarnation = Some(life("inc00002"));
    let report = Contact { incarnation: incarnation.clone(), batch: batch(1, 5), ..contact(3, 1, 0) };
    for ms in [200, 800, 1_400] {
        let m = (ms == 200).then_some(&report);
        exchange(&mut home, &mut sub_home, noon().plus_ms(ms), m);
    }
    assert_eq!(home.outstanding(noon().period()).settled, Units::new(5));
    // Nobody asks any more, and all that the new life has goes back.
    let units = BTreeMap::from_iter([(noon().period(), 4)]);
    let back = Contact { incarnation, returns: Returns { units, ..Returns::default() }, ..contact(2, 2, 0) };
    exchange(&mut home, &mut sub_home, noon().plus_ms(1_500), Some(&back));
    for ms in (2_000..8_000).step_by(500) {
        exchange(&mut home, &mut sub_home, noon().plus_ms(ms), None);
    }
    assert_eq!(home.outstanding(noon().period()).net, lost);
}

/// A month may have begun since, or units may have come back.
#[test]
fn an_answer_that_is_given_again_refuses_no_longer_than_it_did() {
    let mut home = home(|policy| policy.allowance.included = Units::new(1));
    let m = Contact { needs: vec![need(None, 2)], ..contact(1, 1, 0) };
    let refused_at = |home: &mut Home, ms: u64| refused(home, noon().plus_ms(ms), &m);
    assert_eq!(refused_at(&mut home, 0), [Denial::QuotaExhausted]);
    assert_eq!(refused_at(&mut home, 0), [Denial::QuotaExhausted], "sent twice");
    assert_eq!(refused_at(&mut home, 60_000), []);
}

#[test]
fn what_was_served_when_a_contact_was_written_may_have_been_settled_since() {
    // How many batches there were when it was written, and how five units are refused while four are left.
    for (batches, denial) in
        [(Some(0), Denial::QuotaContended), (Some(1), Denial::QuotaExhausted), (None, Denial::QuotaExhausted)]
    {
        let mut home = home(|policy| policy.allowance.included = Units::new(10));
        assert_eq!(refused(&mut home, noon(), &contact(1, 1, 6)), []);
        let incarnation = Some(home.meta.incarnation.clone());
        let served = Contact { incarnation, batch: batch(1, 4), ..contact(1, 2, 0) };
        assert_eq!(refused(&mut home, noon().plus_ms(20), &served), []);
        let late =
            Contact { lane: 1, unreported: 4, batches, needs: vec![need(None, 5)], ..contact(1, 1, 0) };
        assert_eq!(refused(&mut home, noon().plus_ms(40), &late), [denial], "{batches:?}");
    }
}

/// Its answers are lost, one after the other, and then the home restarts.
#[test]
fn whoever_sends_the_same_again_is_present_after_a_restart() {
    let mut home = home(|policy| policy.allowance.included = Units::new(6));
    let mut rows = BTreeMap::new();
    let mut store = |home: &mut Home| {
        for Row { key, value } in home.take_writes() {
            match value {
                Some(value) => drop(rows.insert(key, value)),
                None => drop(rows.remove(&key)),
            }
        }
        rows.clone()
    };
    for second in 0..15 {
        home.contact(noon().plus_ms(second * 1_000), 1, &contact(1, 1, 6)).unwrap();
    }
    let mut home = Home::load(store(&mut home), noon().plus_ms(15_000)).unwrap().unwrap();
    assert_eq!(refused(&mut home, noon().plus_ms(15_000), &contact(2, 1, 1)), [Denial::QuotaContended]);
}
