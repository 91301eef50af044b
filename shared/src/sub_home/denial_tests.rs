//! What a sub-home makes of the home's refusals, by what is out with its own isolates.

use super::*;
use crate::decision::{Ask, Denial};
use crate::home::{Home, HomeName};
use crate::ids::{AgentId, KeyId};
use crate::kind::Kind;
use crate::lease::Holder;
use crate::lease::message::{AgentGrant, Need, Returns};
use crate::policy::tests::community;
use crate::time::Day;
use crate::units::Units;

/// The contact of an isolate that has one request of that cost.
fn contact(now: Timestamp, isolate: u64, cost: u32) -> Contact {
    let mut holder = Holder::new(HolderId::from_bits(u128::from(isolate)), isolate);
    let ask = Ask {
        key: KeyId::parse("k001").unwrap(),
        kind: Kind::Verify,
        agent: AgentId::none(),
        cost,
        dry_run: false,
        held: false,
    };
    holder.decide(now, &ask);
    holder.contacts(now).remove(0)
}

/// Sends an isolate's contact, and has the home say that the quota is exhausted wherever it refuses.
fn answer(now: Timestamp, home: &mut Home, sub: &mut SubHome, m: &Contact) -> Lease {
    let mut replies: Vec<Reply> = sub.contact(now, 1, m).into_iter().collect();
    for up in sub.contacts(now) {
        let mut reply = home.contact(now, 1, &up).unwrap().unwrap();
        if let Body::Lease(lease) = &mut reply.body {
            lease.refusals.iter_mut().for_each(|refusal| refusal.denial = Denial::QuotaExhausted);
        }
        replies.extend(sub.receive(now, 1, reply));
    }
    let lease = replies.into_iter().find(|reply| reply.holder == m.holder).map(|reply| reply.body);
    let Some(Body::Lease(lease)) = lease else { panic!("{lease:?}") };
    *lease
}

fn noon() -> Timestamp {
    Day::parse("2026-11-23").unwrap().start().plus_ms(12 * 3_600_000)
}

/// A home with so many units, and a sub-home.
fn project(included: u32) -> (Home, SubHome) {
    let incarnation = || Incarnation::parse("inc00001").unwrap();
    let mut home = Home::new(HomeName::parse("demo/live").unwrap(), incarnation());
    let mut policy = community("demo");
    policy.allowance.included = Units::from(included);
    home.install(policy);
    (home, SubHome::new(HolderId::from_bits(99), incarnation()))
}

/// An isolate gives five units back without permits; they are in stock, or on their way to the home, while another asks.
#[test]
fn the_quota_is_not_exhausted_while_units_wait_for_permits_or_are_on_their_way_back() {
    for is_idle in [false, true] {
        let (mut home, mut sub) = project(5);
        assert_eq!(answer(noon(), &mut home, &mut sub, &contact(noon(), 7, 5)).units, 5);
        let units = BTreeMap::from_iter([(noon().period(), 5)]);
        let incarnation = Some(sub.ware.incarnation.clone());
        let back = Contact {
            nonce: 2,
            incarnation,
            returns: Returns { units, ..Returns::default() },
            needs: Vec::new(),
            ..contact(noon(), 7, 5)
        };
        // The home's word holds for a while.
        let mut later = noon().plus_ms(100);
        answer(later, &mut home, &mut sub, &contact(later, 9, 1));
        later = later.plus_ms(50);
        sub.contact(later, 1, &back);
        if is_idle {
            later = noon().plus_ms(3_000);
            let lost = sub.contacts(later);
            assert!(lost.iter().any(|contact| !contact.returns.units.is_empty()), "{lost:?}");
            later = later.plus_ms(50);
        }
        let refused = answer(later, &mut home, &mut sub, &contact(later, 8, 1));
        let denials: Vec<Denial> = refused.refusals.iter().map(|refusal| refusal.denial).collect();
        assert_eq!(denials, [Denial::QuotaContended], "idle: {is_idle}");
    }
}

/// A home takes what was served of a sub-home's earlier life for served of the present one. So it may believe that
/// nothing is out there, while an isolate's unit is.
#[test]
fn the_quota_is_not_exhausted_while_the_isolates_have_units_that_may_come_back() {
    // How many units another isolate has, the cost of what is asked for, and what it is refused with.
    for (out, cost, denial) in [
        (1, 1, Denial::QuotaContended),
        (5, 5, Denial::QuotaContended),
        (5, 6, Denial::QuotaExhausted),
        (0, 1, Denial::QuotaExhausted),
    ] {
        let (now, (mut home, mut sub)) = (noon(), project(out));
        if out > 0 {
            let has = answer(now, &mut home, &mut sub, &contact(now, 7, out));
            assert_eq!(has.units, u64::from(out));
        }
        let later = now.plus_ms(100);
        let refused = answer(later, &mut home, &mut sub, &contact(later, 8, cost));
        let denials: Vec<Denial> = refused.refusals.iter().map(|refusal| refusal.denial).collect();
        assert_eq!(denials, [denial], "{out} units are out, {cost} are asked for");
    }
}

/// Its last isolate dies, and nobody else comes.
#[test]
fn the_home_hears_once_of_units_that_nobody_spends_any_more() {
    let (mut home, mut sub) = project(5);
    assert_eq!(answer(noon(), &mut home, &mut sub, &contact(noon(), 7, 5)).units, 5);
    let (mut now, mut told) = (noon(), Vec::new());
    while now < noon().plus_ms(60_000) {
        now = now.plus_ms(100);
        for up in sub.contacts(now) {
            told.push(up.stranded);
            let reply = home.contact(now, 1, &up).unwrap().unwrap();
            sub.receive(now, 1, reply);
        }
    }
    assert!(told.len() > 5 && told.iter().filter(|stranded| **stranded == 5).count() == 1, "{told:?}");
    assert_eq!(home.leases(now).stranded, Units::new(5));
}

fn bot() -> AgentId {
    AgentId::parse("bot").unwrap()
}

/// A sub-home that has two units of the bot's own limit, and nothing else in stock.
fn with_some_of_an_agents_limit(now: Timestamp) -> (Home, SubHome) {
    let (mut home, mut sub) = project(10);
    let mut policy = community("demo");
    policy.version += 1;
    policy.leases.agents = BTreeMap::from_iter([(bot(), Units::new(3))]);
    home.install(policy);
    let m = Contact { needs: vec![Need { agent: Some(bot()), cost: 1, count: 1 }], ..contact(now, 7, 1) };
    assert!(sub.contact(now, 1, &m).is_none());
    let up = sub.contacts(now).remove(0);
    let mut reply = home.contact(now, 1, &up).unwrap().unwrap();
    let Body::Lease(lease) = &mut reply.body else { panic!("{reply:?}") };
    (lease.units, lease.permits, lease.next) = (1, 1, None);
    lease.agents = vec![AgentGrant { agent: bot(), units: 3 }];
    assert_eq!(sub.receive(now, 1, reply).len(), 1);
    assert!(sub.ware.stock.units == 0 && sub.ware.book.units(&bot(), now.period()) == 2);
    (home, sub)
}

/// The home has issued it to this sub-home and would refuse the agent for want of just that.
#[test]
fn what_is_here_of_an_agents_limit_is_not_asked_for() {
    let (_, mut sub) = with_some_of_an_agents_limit(noon());
    let later = noon().plus_ms(100);
    let needs = vec![Need { agent: Some(bot()), cost: 1, count: 3 }];
    assert!(sub.contact(later, 1, &Contact { needs, ..contact(later, 8, 1) }).is_none());
    let up = sub.contacts(later).remove(0);
    let asked: Vec<_> = up.needs.iter().map(|need| (need.agent.clone(), need.count)).collect();
    assert_eq!(asked, [(None, 2), (Some(bot()), 1)]);
}

/// The home brings a unit, and for the rest says neither yes nor no. Who cannot be served asks again.
#[test]
fn what_the_home_has_brought_is_given_to_whom_it_serves() {
    let (mut home, mut sub) = with_some_of_an_agents_limit(noon());
    let later = noon().plus_ms(100);
    let needs = vec![Need { agent: Some(bot()), cost: 1, count: 1 }, Need { agent: None, cost: 4, count: 1 }];
    let m = Contact { needs, ..contact(later, 8, 1) };
    assert!(sub.contact(later, 1, &m).is_none());
    let mut reply = home.contact(later, 1, &sub.contacts(later).remove(0)).unwrap().unwrap();
    let Body::Lease(lease) = &mut reply.body else { panic!("{reply:?}") };
    (lease.units, lease.permits) = (1, 1);
    lease.refusals.clear();
    let replies = sub.receive(later, 1, reply);
    let [Reply { body: Body::Lease(lease), .. }] = &replies[..] else { panic!("{replies:?}") };
    assert!(lease.units == 1 && lease.refusals.is_empty(), "{lease:?}");
}
