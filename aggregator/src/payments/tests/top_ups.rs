//! Automatic top-ups, row by row: when a pack is bought, when buying stops, and what an invoice shows of one.

use serde_json::json;
use shared::plan::{Pack, Plan};
use shared::time::Timestamp;
use shared::units::Units;

use super::shop::{book, eur, ours, pack, seen, start};
use crate::payments::order::Order;
use crate::payments::seen::{Invoice, Session};
use crate::payments::table::{OrderState, Payable};
use crate::payments::top_up::{AutoTopUp, Bought, FAILURES_MAX, Look, PAUSE_MS, Rule};

const NONE: Bought = Bought { this_month: 0, under_way: false };

fn rule() -> AutoTopUp {
    AutoTopUp::new(Rule { pack: Pack::Small, below: Units::new(2_000), monthly_limit: 3 })
}

#[test]
fn a_pack_is_bought_when_less_than_the_level_is_left_and_the_limit_allows_it() {
    let now = start().plus_ms(1_000);
    let (on, wait) = (rule(), |until| Look::Wait(Units::new(until)));
    let stopped = AutoTopUp { stopped: true, ..rule() };
    let waiting = AutoTopUp { not_before: now.plus_ms(1), ..rule() };
    let due = AutoTopUp { not_before: now, ..rule() };
    let bought = |this_month| Bought { this_month, under_way: false };
    let under_way = Bought { this_month: 1, under_way: true };
    let cases = [
        (&on, Plan::Pro, 0, NONE, wait(8_001)),
        (&on, Plan::Pro, 8_000, NONE, wait(8_001)),
        (&on, Plan::Pro, 8_001, NONE, Look::Buy(Pack::Small)),
        (&on, Plan::Pro, 1_000_000, bought(2), Look::Buy(Pack::Small)),
        (&on, Plan::Pro, 1_000_000, bought(3), Look::Wait(Units::MAX)),
        (&on, Plan::Pro, 1_000_000, under_way, Look::Later),
        (&on, Plan::Community, 1_000_000, NONE, Look::Wait(Units::MAX)),
        (&stopped, Plan::Pro, 1_000_000, NONE, Look::Later),
        (&waiting, Plan::Pro, 1_000_000, NONE, Look::Later),
        (&due, Plan::Pro, 1_000_000, NONE, Look::Buy(Pack::Small)),
    ];
    for (top_up, plan, used, bought, expected) in cases {
        let look = top_up.look(&book(plan, used), bought, now).unwrap();
        assert_eq!(look, expected, "{plan} {used} {bought:?} {top_up:?}");
    }
}

#[test]
fn what_has_failed_waits_then_stops_and_another_method_or_a_payment_begins_anew() {
    let now = start();
    let mut top_up = AutoTopUp { failed_with: Some("pm_1".to_owned()), ..rule() };
    for failures in 1..=FAILURES_MAX {
        top_up = top_up.failed("card_declined", now);
        assert_eq!((top_up.failures, top_up.stopped), (failures, failures == FAILURES_MAX));
        assert_eq!(top_up.not_before, now.plus_ms(PAUSE_MS));
        assert_eq!(top_up.reason.as_deref(), Some("card_declined"));
    }
    assert_eq!(top_up.clone().pays_with("pm_1"), top_up, "the method that failed");
    assert_eq!(top_up.clone().pays_with("pm_2"), rule());
    assert_eq!(top_up.paid(), rule());
    assert_eq!(rule().pays_with("pm_2"), rule(), "nothing had failed");
}

fn invoice(status: &str, payment: Option<&str>, due: i64) -> Invoice {
    let payments = payment.map(
        |status| json!({ "data": [{ "payment": { "payment_intent": { "id": "pi_o", "status": status } } }] }),
    );
    serde_json::from_value(json!({
        "id": "in_o", "status": status, "customer": "cus_1", "currency": "eur", "subtotal": 2_900, "total": 3_451,
        "amount_due": due, "livemode": false, "attempt_count": 1, "payments": payments,
        "metadata": { "palveron_order": "o" },
        "lines": { "data": [{ "quantity": 1, "pricing": { "price_details": { "price": "price_palveron_pack_small" } } }] },
    }))
    .unwrap()
}

#[test]
fn an_invoice_is_read_as_the_session_that_somebody_would_have_paid() {
    let order = automatic();
    let cases = [
        ("draft", None, Payable::Open),
        ("open", None, Payable::Open),
        // It is voided before the order has failed.
        ("open", Some("requires_payment_method"), Payable::Open),
        ("open", Some("processing"), Payable::Processing),
        ("paid", Some("succeeded"), Payable::Paid),
        ("paid", None, Payable::Paid),
        ("void", Some("canceled"), Payable::Failed),
        ("uncollectible", None, Payable::Failed),
    ];
    for (status, payment, expected) in cases {
        let mut shown = seen(&order, "open", "unpaid");
        shown.session = Session::of_invoice(&invoice(status, payment, 3_451));
        assert_eq!(shown.payable(), expected, "{status} {payment:?}");
    }
}

fn automatic() -> Order {
    Order { automatic: true, session: Some("in_o".to_owned()), ..pack("o", Pack::Small) }
}

/// An order settled by its paid invoice, of which money paid `due` and a balance the rest.
fn settled(due: i64, received: i64, change: impl FnOnce(&mut Invoice)) -> (OrderState, Option<i128>) {
    let order = automatic();
    let mut invoice = invoice("paid", (due > 0).then_some("succeeded"), due);
    change(&mut invoice);
    let mut shown = seen(&order, "complete", "paid");
    shown.session = Session::of_invoice(&invoice);
    shown.lines = invoice.session_lines();
    if let Some(payment) = &mut shown.payment {
        payment.amount_received = received;
    }
    shown.payment = shown.payment.filter(|_| due > 0);
    let settled =
        order.settle(book(Plan::Pro, 0), &shown, ours(Timestamp::from_ms(start().as_ms()))).unwrap();
    let paid = settled.order.lot(&settled.book).and_then(|lot| settled.book.ledger.lot(lot).ok()?.paid);
    (settled.order.state, paid.map(|paid| paid.minor()))
}

#[test]
fn a_top_up_is_credited_only_for_the_money_and_the_pack_that_were_ordered() {
    let total = eur(3_451).minor();
    assert_eq!(settled(3_451, 3_451, |_| ()), (OrderState::Paid, Some(total)));
    assert_eq!(settled(1_000, 1_000, |_| ()), (OrderState::Paid, Some(total)), "a balance paid the rest");
    assert_eq!(settled(0, 0, |_| ()), (OrderState::Paid, Some(total)), "a balance paid all");
    let held = (OrderState::Held, None);
    assert_eq!(settled(3_451, 3_450, |_| ()), held, "less money than is due");
    assert_eq!(settled(3_451, 3_451, |invoice| invoice.subtotal = 2_899), held);
    assert_eq!(settled(3_451, 3_451, |invoice| invoice.currency = "usd".to_owned()), held);
    assert_eq!(settled(3_451, 3_451, |invoice| invoice.lines = None), held);
    assert_eq!(settled(3_451, 3_451, |invoice| invoice.metadata.clear()), held);
    assert_eq!(settled(3_451, 3_451, |invoice| invoice.livemode = true), held);
    assert_eq!(settled(3_451, 3_451, |invoice| invoice.id = "in_other".to_owned()), held);
}
