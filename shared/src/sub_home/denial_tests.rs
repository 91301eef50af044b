//! What a sub-home makes of the home's refusals, by what is out with its own isolates.

use super::*;
use crate::decision::{Ask, Denial};
use crate::home::{Home, HomeName};
use crate::ids::{AgentId, KeyId};
use crate::kind::Kind;
use crate::lease::Holder;
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
        let now = Day::parse("2026-11-23").unwrap().start().plus_ms(12 * 3_600_000);
        let incarnation = || Incarnation::parse("inc00001").unwrap();
        let mut home = Home::new(HomeName::parse("demo/live").unwrap(), incarnation());
        let mut policy = community("demo");
        policy.allowance.included = Units::from(out);
        home.install(policy);
        let mut sub = SubHome::new(HolderId::from_bits(99), incarnation());
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
