//! Refusals rest on a policy, and end with it.

use super::*;

const KINDS: [Denial; 6] = [
    Denial::Suspended,
    Denial::AgentLimit,
    Denial::AgentQuota,
    Denial::RateLimited,
    Denial::QuotaExhausted,
    Denial::QuotaContended,
];

fn refused(now: Timestamp, version: u64, denial: Denial) -> Lease {
    let refusal = Refusal { denial, agent: None, cost: 1, for_ms: 60_000 };
    Lease { version, refusals: vec![refusal], hold_ms: 60_000, ..lease(now, 0) }
}

#[test]
fn newer_terms_end_every_refusal_that_rests_on_older_ones_and_the_hold() {
    for denial in KINDS {
        let mut holder = holder();
        let (waiter, contact) = first_contact(&mut holder, start());
        let (_, second) = first_contact(&mut holder, start());
        holder.receive(start(), reply(&contact, refused(start(), 1, denial)));
        assert!(matches!(holder.outcome(start(), waiter), Answer::Deny { .. }));
        assert!(matches!(holder.decide(start(), &ask(1)), Answer::Deny { .. }));
        let newer = Lease { version: 2, terms: Some(Terms { version: 2, ..terms() }), ..lease(start(), 0) };
        holder.receive(start(), reply(&second, newer));
        assert!(matches!(holder.decide(start(), &ask(1)), Answer::Wait(_)), "{denial:?}");
        assert_eq!(holder.contacts(start()).len(), 1, "it does not stay away");
    }
}

#[test]
fn a_stored_answer_of_older_terms_refuses_only_who_had_asked() {
    for denial in KINDS {
        let mut holder = holder();
        let (waiter, contact) = first_contact(&mut holder, start());
        let newer = Some(Terms { version: 2, ..terms() });
        let stored = Lease { hold_ms: 0, terms: newer, ..refused(start(), 1, denial) };
        holder.receive(start(), reply(&contact, stored));
        assert!(matches!(holder.outcome(start(), waiter), Answer::Deny { .. }));
        assert!(matches!(holder.decide(start(), &ask(1)), Answer::Wait(_)), "{denial:?}");
    }
}
