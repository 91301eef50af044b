//! Changes that wait at Stripe: planned, taken back, and come true.

use shared::plan::Plan;

use super::shop::{book, catalogue, context, start, subscription};
use crate::ledger::terms::Interval;
use crate::payments::goods::Good;
use crate::payments::subscription::settle;

#[test]
fn what_waits_at_stripe_is_planned_taken_back_and_comes_true_whichever_way_it_goes() {
    let (catalogue, end) = (catalogue(), start().period().end());
    let of = |plan, interval| Good::Plan(plan, interval);
    let cases = [
        (of(Plan::Business, Interval::Month), of(Plan::Pro, Interval::Month)),
        (of(Plan::Pro, Interval::Year), of(Plan::Business, Interval::Month)),
        (of(Plan::Pro, Interval::Year), of(Plan::Pro, Interval::Month)),
    ];
    for (now_paid, waits) in cases {
        let (Good::Plan(before, _), Good::Plan(after, _)) = (now_paid, waits) else { unreachable!() };
        let plain = subscription("sub_1", "active", Some(now_paid), true);
        let mut waiting = plain.clone();
        waiting.coming = vec![(end, Some(waits))];
        let (mut book, mut mirror) = (book(Plan::Community, 0), None);
        // Told, told again, taken back, told.
        for (shown, planned) in
            [(&plain, before), (&waiting, after), (&waiting, after), (&plain, before), (&waiting, after)]
        {
            let shown = std::slice::from_ref(shown);
            let settled = settle(book, mirror, shown, context(&catalogue, start())).unwrap();
            (book, mirror) = (settled.book, settled.mirror);
            assert_eq!((book.project.plan, settled.alarm), (before, None), "{now_paid} {waits}");
            assert_eq!(book.ledger.timeline().subscribed_at(end).plan, planned, "{now_paid} {waits}");
        }
        assert_eq!(mirror.as_ref().unwrap().waiting.len(), 1);
        let entries = book.ledger.entries().len();
        assert_eq!(entries, if before == after { 2 } else { 5 }, "nothing is written twice");
        // It comes true by itself; Stripe tells of it afterwards.
        let come = [subscription("sub_1", "active", Some(waits), true)];
        let settled = settle(book.following(end), mirror, &come, context(&catalogue, end)).unwrap();
        assert_eq!((settled.book.project.plan, settled.mirror.unwrap().waiting), (after, vec![]));
        assert_eq!(settled.book.ledger.entries().len(), entries, "{now_paid} {waits}");
    }
}

#[test]
fn what_waits_for_a_price_that_we_do_not_know_is_told_and_the_rest_goes_on() {
    let (catalogue, end) = (catalogue(), start().period().end());
    let mut shown = subscription("sub_1", "active", Some(Good::Plan(Plan::Pro, Interval::Month)), true);
    shown.coming = vec![(end, None)];
    let settled =
        settle(book(Plan::Community, 0), None, std::slice::from_ref(&shown), context(&catalogue, start()))
            .unwrap();
    assert_eq!((settled.book.project.plan, settled.mirror.unwrap().waiting), (Plan::Pro, vec![]));
    assert!(settled.alarm.unwrap().contains("is not one of ours"));
    // A schedule that cancels is a cancellation; what would come after it does not.
    shown.coming = vec![(end, Some(Good::Plan(Plan::Business, Interval::Month)))];
    shown.schedule_ends = Some(end);
    let settled =
        settle(book(Plan::Community, 0), None, std::slice::from_ref(&shown), context(&catalogue, start()));
    let settled = settled.unwrap();
    assert_eq!(settled.book.ledger.timeline().subscribed_at(end).plan, Plan::Community);
    assert_eq!(settled.mirror.unwrap().waiting, []);
}

#[test]
fn a_planned_upgrade_that_comes_true_ends_a_smaller_own_quota() {
    let (catalogue, end) = (catalogue(), start().period().end());
    let own = crate::projects::project::Setting::Own(shared::units::Units::new(50));
    let change = crate::projects::project::ProjectChange { included: Some(own), ..Default::default() };
    let year = [subscription("sub_1", "active", Some(Good::Plan(Plan::Pro, Interval::Year)), true)];
    let given = settle(book(Plan::Pro, 0), None, &year, context(&catalogue, start())).unwrap();
    let begun = given.book.changed(&change, &catalogue, start()).unwrap();
    let mut waiting = year.clone();
    waiting[0].coming = vec![(end, Some(Good::Plan(Plan::Business, Interval::Month)))];
    let planned = settle(begun, given.mirror, &waiting, context(&catalogue, start())).unwrap();
    let come = [subscription("sub_1", "active", Some(Good::Plan(Plan::Business, Interval::Month)), true)];
    let book = planned.book.following(end);
    assert_eq!(book.project.plan, Plan::Business);
    let settled = settle(book, planned.mirror, &come, context(&catalogue, end)).unwrap();
    let quota = settled.book.ledger.timeline().quota(end.period(), end).included();
    assert_eq!((settled.book.project.included_own, quota.get()), (None, 100_000));
}
