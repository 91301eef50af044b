//! The tables, row by row, against a real ledger; and what is held instead of believed.

use shared::plan::{Pack, Plan};
use shared::time::Timestamp;

use super::shop::{
    accounts, book, catalogue, context, dispute, order, ours, pack, plan, refund, seen, start, subscription,
};
use crate::ledger::terms::Interval;
use crate::payments::goods::Good;
use crate::payments::intent::Intent;
use crate::payments::order::{Order, OrderSeen};
use crate::payments::seen::Invoice;
use crate::payments::subscription::{Mirror, settle};
use crate::payments::table::{
    BillStep, DISPUTES, DisputeEffect, INVOICES, InvoiceState, ORDERS, OrderEffect, OrderState, Payable,
    REFUNDS, SUBSCRIPTIONS, Standing, Status,
};

fn shown(order: &Order, payable: Payable) -> OrderSeen {
    let mut shown = match payable {
        Payable::Open => seen(order, "open", "unpaid"),
        Payable::Processing | Payable::Failed => seen(order, "complete", "unpaid"),
        Payable::Paid => seen(order, "complete", "paid"),
        Payable::Expired => seen(order, "expired", "unpaid"),
    };
    if payable == Payable::Failed {
        shown.payment.as_mut().unwrap().status = "requires_payment_method".to_owned();
    }
    shown
}

#[test]
fn every_row_of_the_orders_does_what_it_says_and_again_nothing() {
    for ((state, payable), (after, effect)) in ORDERS {
        let order = Order { state: *state, ..pack("o", Pack::Small) };
        let shown = shown(&order, *payable);
        assert_eq!(shown.payable(), *payable);
        let mut book = book(Plan::Pro, 0);
        if *state == OrderState::Paid {
            // What is paid has its lot.
            let bought = Order { state: OrderState::Open, ..order.clone() };
            book = bought.settle(book, &seen(&order, "complete", "paid"), ours(start())).unwrap().book;
        }
        let before = accounts(&book, &order);
        let settled = order.settle(book, &shown, ours(start())).unwrap();
        let what = format!("{state:?} {payable:?}");
        assert_eq!(settled.order.state, *after, "{what}");
        let credited = accounts(&settled.book, &settled.order);
        match effect {
            OrderEffect::Nothing => assert_eq!((credited, settled.alarm), (before, None), "{what}"),
            OrderEffect::Fulfil => {
                assert_eq!((credited, settled.alarm), (Some((5_000, 0, 0, 0)), None), "{what}")
            }
            OrderEffect::FulfilLate => {
                assert_eq!(credited, Some((5_000, 0, 0, 0)), "{what}");
                assert!(settled.alarm.is_some(), "{what}");
            }
        }
        let again = settled.order.clone().settle(settled.book.clone(), &shown, ours(start())).unwrap();
        assert_eq!((again.book, again.order), (settled.book, settled.order), "{what} again");
    }
}

#[test]
fn a_payment_that_is_not_what_was_ordered_is_held_and_told() {
    type Change = fn(&mut OrderSeen);
    let cases: [(&str, Change); 15] = [
        ("livemode", |seen| seen.session.livemode = true),
        ("session", |seen| seen.session.id = "cs_other".to_owned()),
        ("client_reference_id", |seen| seen.session.client_reference_id = Some("other".to_owned())),
        ("customer", |seen| seen.session.customer = None),
        ("currency", |seen| seen.session.currency = Some("usd".to_owned())),
        ("amount_subtotal", |seen| seen.session.amount_subtotal = Some(1)),
        ("amount_total", |seen| seen.session.amount_total = Some(1)),
        ("lines", |seen| seen.lines.clear()),
        ("lines", |seen| seen.lines[0].quantity = Some(2)),
        ("lines", |seen| seen.lines[0].price = None),
        ("payment_intent", |seen| seen.payment = None),
        ("payment.status", |seen| seen.payment.as_mut().unwrap().status = "processing".to_owned()),
        ("payment.customer", |seen| seen.payment.as_mut().unwrap().customer = None),
        ("payment.currency", |seen| seen.payment.as_mut().unwrap().currency = "usd".to_owned()),
        ("payment.amount_received", |seen| seen.payment.as_mut().unwrap().amount_received = 1),
    ];
    for (field, change) in cases {
        let order = Order { session: Some("cs_o".to_owned()), ..pack("o", Pack::Small) };
        let mut shown = seen(&order, "complete", "paid");
        change(&mut shown);
        let settled = order.settle(book(Plan::Pro, 0), &shown, ours(start())).unwrap();
        assert_eq!(settled.order.state, OrderState::Held, "{field}");
        let note = settled.order.note.clone().unwrap();
        assert!(note.starts_with(&format!("{field}: got")), "{field}: {note}");
        assert!(settled.alarm.is_some() && accounts(&settled.book, &settled.order).is_none(), "{field}");
        // Held is held, until a person takes it out of review.
        let again = settled.order.settle(settled.book, &shown, ours(start())).unwrap();
        assert_eq!((again.order.state, again.alarm), (OrderState::Held, None), "{field}");
    }
}

#[test]
fn taxes_on_top_are_paid_and_refunds_are_parts_of_them() {
    let order = pack("o", Pack::Medium);
    let mut shown = seen(&order, "complete", "paid");
    // 11,900 and 19 % of it.
    shown.session.amount_total = Some(14_161);
    shown.payment.as_mut().unwrap().amount_received = 14_161;
    shown.refunds = vec![refund("r", 14_161, "succeeded")];
    let settled = order.settle(book(Plan::Pro, 0), &shown, ours(start())).unwrap();
    assert_eq!(accounts(&settled.book, &settled.order), Some((0, 0, 25_000, 0)));
}

#[test]
fn every_row_of_the_refunds_counts_as_it_says() {
    for (status, counts) in REFUNDS {
        let order = pack("o", Pack::Medium);
        let mut shown = seen(&order, "complete", "paid");
        shown.refunds = vec![refund("r", 5_950, status)];
        // 10,000 of the quota and 20,000 of the lot are used.
        let settled = order.settle(book(Plan::Pro, 30_000), &shown, ours(start())).unwrap();
        let expected = if *counts { (20_000, 0, 12_500, 7_500) } else { (25_000, 0, 0, 0) };
        assert_eq!(accounts(&settled.book, &settled.order), Some(expected), "{status}");
        // It fails after all: everything is as before.
        shown.refunds = vec![refund("r", 5_950, "failed")];
        let restored = settled.order.settle(settled.book, &shown, ours(start())).unwrap();
        assert_eq!(accounts(&restored.book, &restored.order), Some((25_000, 0, 0, 0)), "{status}");
    }
}

#[test]
fn every_row_of_the_disputes_does_what_it_says() {
    for (status, effect) in DISPUTES {
        let order = pack("o", Pack::Medium);
        let mut shown = seen(&order, "complete", "paid");
        shown.disputes = vec![dispute("d", 11_900, status)];
        let settled = order.settle(book(Plan::Pro, 30_000), &shown, ours(start())).unwrap();
        let expected = match effect {
            DisputeEffect::None => (25_000, 0, 0, 0),
            DisputeEffect::Frozen => (20_000, 5_000, 0, 0),
            DisputeEffect::Lost => (20_000, 0, 25_000, 20_000),
        };
        assert_eq!(accounts(&settled.book, &settled.order), Some(expected), "{status}");
    }
}

#[test]
fn refund_and_lost_dispute_of_one_payment_take_the_larger_not_the_sum() {
    let order = pack("o", Pack::Medium);
    let mut shown = seen(&order, "complete", "paid");
    shown.refunds = vec![refund("r", 5_950, "succeeded")];
    shown.disputes = vec![dispute("d", 11_900, "lost")];
    let settled = order.settle(book(Plan::Pro, 0), &shown, ours(start())).unwrap();
    assert_eq!(accounts(&settled.book, &settled.order), Some((0, 0, 25_000, 0)));
}

#[test]
fn three_partial_refunds_come_to_the_same_in_any_order() {
    let refunds =
        [refund("a", 1_000, "succeeded"), refund("b", 2_000, "pending"), refund("c", 3_000, "succeeded")];
    let mut results = std::collections::BTreeSet::new();
    for sequence in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let (mut order, mut book) = (pack("o", Pack::Medium), book(Plan::Pro, 30_000));
        let mut shown = seen(&order, "complete", "paid");
        for index in sequence {
            shown.refunds.push(refunds[index].clone());
            let settled = order.settle(book, &shown, ours(start())).unwrap();
            (order, book) = (settled.order, settled.book);
        }
        results.insert(accounts(&book, &order));
    }
    // 25,000 × 6,000 / 11,900 = 12,605 of which 5,000 were there.
    assert_eq!(results.into_iter().collect::<Vec<_>>(), [Some((20_000, 0, 12_605, 7_605))]);
}

#[test]
fn every_row_of_the_subscriptions_gives_the_plan_that_it_says() {
    let (catalogue, good) = (catalogue(), Good::Plan(Plan::Pro, Interval::Month));
    for ((status, paid), standing) in SUBSCRIPTIONS {
        let shown = [subscription("sub_1", status.as_str(), Some(good), *paid)];
        let now = start().plus_ms(10_000);
        // Before anything was given, and where this subscription has given the plan before.
        let fresh = settle(book(Plan::Community, 0), None, &shown, context(&catalogue, now)).unwrap();
        let active = [subscription("sub_1", "active", Some(good), true)];
        let given = settle(book(Plan::Community, 0), None, &active, context(&catalogue, start())).unwrap();
        let later = settle(given.book, given.mirror, &shown, context(&catalogue, now)).unwrap();
        let plan_of = |book: &crate::projects::book::Book| book.ledger.timeline().terms_at(now).plan;
        let is_past_due = |book: &crate::projects::book::Book| book.ledger.timeline().is_past_due(now);
        let (first, second, due, alarm) = match standing {
            Standing::Unchanged => (Plan::Community, Plan::Pro, false, false),
            Standing::Subscribed => (Plan::Pro, Plan::Pro, false, false),
            Standing::PastDue => (Plan::Pro, Plan::Pro, true, false),
            Standing::Ended => (Plan::Community, Plan::Community, false, false),
            Standing::Parked => (Plan::Community, Plan::Pro, false, true),
        };
        let what = format!("{status:?} {paid}");
        assert_eq!((plan_of(&fresh.book), plan_of(&later.book)), (first, second), "{what}");
        assert_eq!((is_past_due(&later.book), later.alarm.is_some()), (due, alarm), "{what}");
        assert_eq!(later.book.project.plan, second, "{what}: the project's row follows");
        let again =
            settle(later.book.clone(), later.mirror.clone(), &shown, context(&catalogue, now)).unwrap();
        assert_eq!((again.book, again.mirror), (later.book, later.mirror), "{what} again");
    }
}

fn ends(mirror: &Mirror) -> Option<Timestamp> {
    mirror.ends
}

#[test]
fn a_cancellation_is_planned_undone_and_planned_again() {
    let (catalogue, good) = (catalogue(), Good::Plan(Plan::Pro, Interval::Month));
    let (mut book, mut mirror) = (book(Plan::Community, 0), None);
    let end = start().period().end();
    for (cancel, at_end) in
        [(false, Plan::Pro), (true, Plan::Community), (false, Plan::Pro), (true, Plan::Community)]
    {
        let mut shown = subscription("sub_1", "active", Some(good), true);
        shown.subscription.cancel_at_period_end = cancel;
        for _ in 0..2 {
            let settled =
                settle(book, mirror, std::slice::from_ref(&shown), context(&catalogue, start())).unwrap();
            (book, mirror) = (settled.book, settled.mirror);
        }
        let timeline = book.ledger.timeline();
        assert_eq!(timeline.terms_at(Timestamp::from_ms(end.as_ms() - 1)).plan, Plan::Pro, "paid until then");
        assert_eq!(timeline.terms_at(end).plan, at_end);
        assert_eq!(ends(mirror.as_ref().unwrap()).is_some(), cancel);
    }
    assert_eq!(book.ledger.entries().len(), 1 + 1 + 1 + 1 + 1, "nothing is written twice");
}

#[test]
fn what_cannot_be_understood_changes_nothing_in_neither_direction() {
    let (catalogue, good) = (catalogue(), Good::Plan(Plan::Pro, Interval::Month));
    let live = [subscription("sub_1", "active", Some(good), true)];
    let given = settle(book(Plan::Community, 0), None, &live, context(&catalogue, start())).unwrap();
    let mut two = subscription("sub_1", "active", Some(good), true);
    two.subscription.items.data[0].quantity = Some(2);
    let mut other_mode = subscription("sub_1", "active", Some(good), true);
    other_mode.subscription.livemode = true;
    let unknown_price = subscription("sub_1", "active", None, true);
    let a_pack = subscription("sub_1", "active", Some(Good::Pack(Pack::Small)), true);
    let later_status = subscription("sub_1", "hibernating", Some(good), true);
    for shown in [two, other_mode, unknown_price, a_pack, later_status] {
        let settled = settle(
            given.book.clone(),
            given.mirror.clone(),
            std::slice::from_ref(&shown),
            context(&catalogue, start()),
        );
        let settled = settled.unwrap();
        assert_eq!((settled.book, settled.mirror), (given.book.clone(), given.mirror.clone()), "{shown:?}");
        assert!(settled.alarm.is_some(), "{shown:?}");
    }
}

#[test]
fn of_two_paid_subscriptions_the_larger_counts_and_a_person_is_told() {
    let catalogue = catalogue();
    let pro = subscription("sub_1", "active", Some(Good::Plan(Plan::Pro, Interval::Year)), true);
    let business = subscription("sub_2", "active", Some(Good::Plan(Plan::Business, Interval::Month)), true);
    for shown in [[pro.clone(), business.clone()], [business, pro]] {
        let settled = settle(book(Plan::Community, 0), None, &shown, context(&catalogue, start())).unwrap();
        assert_eq!(settled.book.project.plan, Plan::Business);
        assert!(settled.alarm.unwrap().contains("2 subscriptions"));
    }
}

#[test]
fn what_an_operator_set_by_hand_stays_until_stripe_says_something_new() {
    let (catalogue, good) = (catalogue(), Good::Plan(Plan::Pro, Interval::Month));
    let live = [subscription("sub_1", "active", Some(good), true)];
    let given = settle(book(Plan::Community, 0), None, &live, context(&catalogue, start())).unwrap();
    let change = crate::projects::project::ProjectChange { plan: Some(Plan::Business), ..Default::default() };
    let by_hand = given.book.changed(&change, &catalogue, start()).unwrap();
    let same = settle(by_hand, given.mirror, &live, context(&catalogue, start())).unwrap();
    assert_eq!(same.book.project.plan, Plan::Business);
    let over = [subscription("sub_1", "canceled", Some(good), true)];
    let ended = settle(same.book, same.mirror, &over, context(&catalogue, start())).unwrap();
    assert_eq!(ended.book.project.plan, Plan::Business, "it was not the subscription that gave it");
}

#[test]
fn a_paid_upgrade_ends_an_own_quota_that_is_smaller_than_what_was_paid_for() {
    let catalogue = catalogue();
    let paid = |plan| [subscription("sub_1", "active", Some(Good::Plan(plan, Interval::Month)), true)];
    let cases = [
        // (plan before, own quota, plan that is paid for, own quota after, the month's units after)
        (Plan::Community, Some(50), Plan::Pro, None, 10_000),
        (Plan::Community, Some(9_999), Plan::Pro, None, 10_000),
        (Plan::Community, Some(10_000), Plan::Pro, Some(10_000), 10_000),
        (Plan::Community, Some(20_000), Plan::Pro, Some(20_000), 20_000),
        (Plan::Community, Some(0), Plan::Business, None, 100_000),
        (Plan::Community, None, Plan::Pro, None, 10_000),
        (Plan::Pro, Some(50), Plan::Business, None, 100_000),
        (Plan::Pro, Some(50), Plan::Pro, Some(50), 50),
        (Plan::Business, Some(50), Plan::Pro, Some(50), 50),
    ];
    for (from, own, to, after, included) in cases {
        let change = crate::projects::project::ProjectChange {
            included: own.map(|own| crate::projects::project::Setting::Own(shared::units::Units::new(own))),
            ..Default::default()
        };
        let begun = book(from, 0).changed(&change, &catalogue, start()).unwrap();
        let settled = settle(begun, None, &paid(to), context(&catalogue, start())).unwrap();
        let basis = crate::projects::policy::Basis::new(String::new(), Default::default());
        let next = start().period().end();
        let what = format!("{from} {own:?} {to}");
        assert_eq!(settled.book.project.included_own.map(|own| own.get()), after, "{what}");
        let enforced = basis.in_force(&settled.book.project, &settled.book.ledger, next).included;
        assert_eq!(enforced.get(), included, "{what}");
        let again =
            settle(settled.book.clone(), settled.mirror.clone(), &paid(to), context(&catalogue, start()));
        assert_eq!(again.unwrap().book, settled.book, "{what} again");
    }
}

#[test]
fn a_pack_and_a_plan_begin_when_they_were_paid_while_that_month_is_open() {
    let (catalogue, november) = (catalogue(), start().period());
    let paid_at = Some(Timestamp::from_ms(november.end().as_ms() - 600_000));
    let now = november.end().plus_ms(1);
    let order = pack("o", Pack::Small);
    let told = OrderSeen { paid_at, ..seen(&order, "complete", "paid") };
    let settled = order.settle(book(Plan::Pro, 14_000), &told, ours(now)).unwrap();
    let month = |book: &crate::projects::book::Book| {
        crate::ledger::month::month(&book.ledger, book.seen(now), november).unwrap().allocation
    };
    let allocated = month(&settled.book);
    assert_eq!((allocated.of_lots().get(), allocated.uncovered.get()), (4_000, 0));
    let mut business =
        subscription("sub_1", "active", Some(Good::Plan(Plan::Business, Interval::Month)), true);
    business.paid_at = paid_at;
    let settled = settle(book(Plan::Pro, 14_000), None, &[business], context(&catalogue, now)).unwrap();
    assert_eq!(month(&settled.book).included.get(), 14_000);
}

#[test]
fn a_contracts_project_is_left_alone() {
    let catalogue = catalogue();
    let good = Good::Plan(Plan::Pro, Interval::Month);
    let shown = [subscription("sub_1", "active", Some(good), true)];
    let before = book(Plan::Enterprise, 0);
    let settled = settle(before.clone(), None, &shown, context(&catalogue, start())).unwrap();
    assert_eq!((settled.book, settled.mirror), (before, None));
    assert!(settled.alarm.is_some());
}

fn invoice(state: InvoiceState, subtotal: i64) -> Invoice {
    let status = if state == InvoiceState::Failed { "open" } else { state.as_str() };
    let attempts = u64::from(state == InvoiceState::Failed);
    serde_json::from_value(serde_json::json!({
        "id": "in_1", "status": status, "customer": "cus_1", "subtotal": subtotal, "currency": "eur",
        "created": 5, "attempt_count": attempts, "status_transitions": { "finalized_at": 7 }, "livemode": false,
    }))
    .unwrap()
}

fn intent(step: BillStep) -> Intent {
    Intent {
        project: shared::ids::ProjectId::parse("demo").unwrap(),
        period: start().period(),
        number: 0,
        bill: Default::default(),
        amount: super::shop::eur(1_234),
        step,
        attempt: 1,
        customer: Some("cus_1".to_owned()),
        invoice: Some("in_1".to_owned()),
        first_sent: None,
        overdue_since: None,
        created: start(),
        note: None,
    }
}

#[test]
fn every_row_of_the_invoices_moves_the_bill_as_it_says() {
    for before in BillStep::ALL {
        for (state, after, overdue) in INVOICES {
            let settled = intent(*before).settle(&invoice(*state, 1_234), false);
            assert_eq!(settled.step, *after, "{before:?} {state:?}");
            assert_eq!(
                settled.overdue_since,
                overdue.then(|| Timestamp::from_ms(7_000)),
                "{before:?} {state:?}"
            );
        }
        let drafted = intent(*before).settle(&invoice(InvoiceState::Draft, 1_234), false);
        assert_eq!(drafted, intent(*before), "drafts move by our own calls alone");
    }
}

#[test]
fn a_debit_under_way_has_not_failed() {
    let mut shown = serde_json::json!({
        "id": "in_1", "status": "open", "customer": "cus_1", "subtotal": 1_234, "currency": "eur",
        "attempt_count": 1, "livemode": false,
        "payments": { "data": [{ "payment": { "payment_intent": { "id": "pi_1", "status": "processing" } } }] },
    });
    let read = |shown: &serde_json::Value| serde_json::from_value::<Invoice>(shown.clone()).unwrap();
    assert_eq!(intent(BillStep::Lined).settle(&read(&shown), false).step, BillStep::Collecting);
    shown["payments"]["data"][0]["payment"]["payment_intent"]["status"] = "requires_payment_method".into();
    assert_eq!(intent(BillStep::Collecting).settle(&read(&shown), false).step, BillStep::Overdue);
    shown["payments"]["data"][0]["payment"]["payment_intent"] = "pi_1".into();
    assert_eq!(intent(BillStep::Collecting).settle(&read(&shown), false).step, BillStep::Overdue);
}

#[test]
fn an_invoice_that_is_not_the_bill_is_held() {
    let wrong = intent(BillStep::Lined).settle(&invoice(InvoiceState::Open, 2_468), false);
    assert_eq!(wrong.step, BillStep::Held);
    assert!(wrong.note.unwrap().starts_with("subtotal: got 2468"));
    let other_mode = intent(BillStep::Lined).settle(&invoice(InvoiceState::Paid, 1_234), true);
    assert_eq!(other_mode.step, BillStep::Held);
}

#[test]
fn an_unpaid_bill_is_past_due_until_it_is_paid() {
    let catalogue = catalogue();
    let good = Good::Plan(Plan::Pro, Interval::Month);
    let live = [subscription("sub_1", "active", Some(good), true)];
    let (since, day) = (start().plus_ms(5_000), 24 * 3_600_000);
    let given = settle(book(Plan::Community, 0), None, &live, context(&catalogue, start())).unwrap();
    let due = crate::payments::subscription::Context {
        bills_overdue_since: Some(since),
        ..context(&catalogue, start().plus_ms(9_000))
    };
    let settled = settle(given.book, given.mirror, &live, due).unwrap();
    let timeline = settled.book.ledger.timeline();
    assert_eq!(
        timeline.terms_at(since.plus_ms(7 * day - 1)).plan,
        Plan::Pro,
        "the last instant of the grace"
    );
    assert_eq!(timeline.terms_at(since.plus_ms(7 * day)).plan, Plan::Community);
    for (recovers, expected) in [(7 * day - 1_000, Plan::Pro), (7 * day + 1_000, Plan::Pro)] {
        let now = since.plus_ms(recovers);
        let paid =
            settle(settled.book.clone(), settled.mirror.clone(), &live, context(&catalogue, now)).unwrap();
        assert_eq!(paid.book.ledger.timeline().terms_at(now).plan, expected, "{recovers}");
        assert!(!paid.book.ledger.timeline().is_past_due(now));
    }
}

#[test]
fn the_first_debit_gives_the_plan_only_when_it_has_arrived() {
    let catalogue = catalogue();
    let good = Good::Plan(Plan::Pro, Interval::Month);
    let order = plan("o", Plan::Pro, Interval::Month);
    let waiting = seen(&order, "complete", "unpaid");
    let settled = order.settle(book(Plan::Community, 0), &waiting, ours(start())).unwrap();
    assert_eq!(settled.order.state, OrderState::Processing);
    let active = [subscription("sub_1", "active", Some(good), false)];
    let early = settle(settled.book, None, &active, context(&catalogue, start())).unwrap();
    assert_eq!((early.book.project.plan, early.mirror.clone()), (Plan::Community, None));
    let arrived = [subscription("sub_1", "active", Some(good), true)];
    let late = settle(early.book, early.mirror, &arrived, context(&catalogue, start())).unwrap();
    assert_eq!(late.book.project.plan, Plan::Pro);
    let mut failed = waiting;
    failed.subscription = Some(Status::IncompleteExpired);
    let failed = settled.order.settle(late.book, &failed, ours(start())).unwrap();
    assert_eq!(failed.order.state, OrderState::Failed);
}

fn order_of_a_plan_has_no_lot(order: &Order) -> bool {
    order.lot(&book(Plan::Pro, 0)).is_none()
}

#[test]
fn an_order_of_a_plan_makes_no_lot() {
    let order = order("o", Good::Plan(Plan::Business, Interval::Year));
    let shown = seen(&order, "complete", "paid");
    let settled = order.settle(book(Plan::Community, 0), &shown, ours(start())).unwrap();
    assert_eq!((settled.order.state, settled.alarm), (OrderState::Paid, None));
    assert!(order_of_a_plan_has_no_lot(&settled.order) && settled.book.ledger.lots().is_empty());
}
