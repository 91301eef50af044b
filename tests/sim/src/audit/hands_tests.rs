//! The auditor's own books of who has what, by messages as issuers and holders write them.

use serde_json::{Value, json};
use shared::lease::message::{Contact, HolderId, Reply};
use shared::time::{Day, Period, Timestamp};

use super::hands::{Hands, Issuer};

/// How long a refusal may rest on what was true, in milliseconds.
const LAG_MS: u64 = 2_000;

fn noon() -> Timestamp {
    Day::parse("2026-11-23").unwrap().start().plus_ms(12 * 3_600_000)
}

fn month() -> Period {
    noon().period()
}

/// A contact of that holder, which gives so many units back.
fn contact(holder: HolderId, nonce: u64, back: u64) -> Contact {
    let returns: Value = if back > 0 { json!({"units": {"2026-11": back}}) } else { json!({}) };
    serde_json::from_value(json!({"holder": holder, "lane": 0, "nonce": nonce, "returns": returns})).unwrap()
}

/// The answer to it, with so many units.
fn reply(holder: HolderId, nonce: u64, units: u64) -> Reply {
    let lease = json!({
        "incarnation": "inc00001", "now": noon(), "period": "2026-11", "units": units, "valid_ms": 1_000,
        "minute": noon().minute(), "permits": units, "minute_ms": 1_000, "fresh_ms": 1_000, "report_ms": 500,
        "lanes": 1, "idle_ms": 500, "allowance": 100, "risk": 2, "ack": 0,
    });
    let body = json!({"lease": lease});
    serde_json::from_value(json!({"holder": holder, "lane": 0, "nonce": nonce, "body": body})).unwrap()
}

/// The issuer takes a contact and answers it.
fn exchange(hands: &mut Hands, at: Timestamp, issuer: Issuer, of: (HolderId, u64), units: u64) {
    let (holder, nonce) = of;
    hands.taken(at, issuer, &contact(holder, nonce, 0));
    hands.issued(at, issuer, &reply(holder, nonce, units));
}

#[test]
fn what_a_silent_holder_has_is_out_of_reach_until_the_news_of_it_is_everywhere() {
    let holder = HolderId::from_bits(1);
    let mut hands = Hands::default();
    exchange(&mut hands, noon(), Issuer::Home, (holder, 1), 6);
    let unheard = |hands: &Hands, ms: u64| hands.unheard(noon().plus_ms(ms), LAG_MS, (holder, month()), None);
    assert_eq!([unheard(&hands, 0), unheard(&hands, 10_000), unheard(&hands, 10_001)], [0, 0, 6]);
    // The same contact, sent again, is a sign of life too.
    hands.taken(noon().plus_ms(9_000), Issuer::Home, &contact(holder, 1, 0));
    assert_eq!([unheard(&hands, 19_000), unheard(&hands, 19_001)], [0, 6]);
    // It comes back with all that it has; whoever was refused a moment before may still be told so.
    hands.taken(noon().plus_ms(20_000), Issuer::Home, &contact(holder, 2, 6));
    assert_eq!([unheard(&hands, 22_000), unheard(&hands, 22_001)], [6, 0]);
    hands.died(holder, Issuer::Home);
    assert_eq!(unheard(&hands, 22_000), 0, "it counts as lost by then");
}

#[test]
fn what_the_isolates_of_a_silent_sub_home_have_served_is_not_out_of_reach() {
    let (sub, isolate) = (HolderId::from_bits(1), HolderId::from_bits(2));
    let below = Issuer::Sub(0, 0);
    let mut hands = Hands::default();
    exchange(&mut hands, noon(), Issuer::Home, (sub, 1), 10);
    exchange(&mut hands, noon(), below, (isolate, 1), 4);
    hands.served(isolate, month(), 3);
    let unheard = |ms: u64| hands.unheard(noon().plus_ms(ms), LAG_MS, (sub, month()), Some(below));
    assert_eq!([unheard(10_000), unheard(10_001)], [0, 7]);
}

#[test]
fn what_a_later_life_issues_to_a_holder_that_is_gone_is_lost() {
    let (sub, next, isolate) = (HolderId::from_bits(1), HolderId::from_bits(2), HolderId::from_bits(3));
    let (first, second) = (Issuer::Sub(0, 0), Issuer::Sub(0, 1));
    let mut hands = Hands::default();
    exchange(&mut hands, noon(), Issuer::Home, (sub, 1), 5);
    exchange(&mut hands, noon(), first, (isolate, 1), 1);
    hands.served(isolate, month(), 1);
    hands.lost_sub(sub, first);
    assert_eq!(hands.lost(month()), 4, "its stock");
    hands.died(isolate, second);
    assert_eq!(hands.lost(month()), 4);
    // A copy of the first contact, which both lives answer under the same number.
    exchange(&mut hands, noon(), Issuer::Home, (next, 1), 3);
    exchange(&mut hands, noon(), second, (isolate, 1), 1);
    assert_eq!(hands.lost(month()), 5);
    assert_eq!(hands.out(next, month(), Some(second)), 2);
    // Sent again, the answer is the same.
    hands.issued(noon(), second, &reply(isolate, 1, 1));
    assert_eq!(hands.lost(month()), 5);
}
