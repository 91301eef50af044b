//! A month of payments, told in any order: by each seed the ledger ends as if every event had come at once.
//!
//! Events come twice, late and shuffled; what was fetched may be overtaken before it is settled; the process
//! dies between fetching and settling and between settling two things. The same seed tells the same month.

use std::collections::BTreeMap;
use std::rc::Rc;

use shared::plan::{Catalogue, Pack, Plan};
use shared::random::Stream;
use shared::time::Timestamp;

use super::shop::{
    accounts, book, catalogue, context, dispute, eur, order, ours, overdue as due, refund, seen, start,
    subscription,
};
use crate::ledger::entry::{Account, Dispute};
use crate::ledger::state::Ledger;
use crate::ledger::terms::Interval;
use crate::payments::goods::Good;
use crate::payments::intent::Intent;
use crate::payments::order::{Order, OrderSeen};
use crate::payments::seen::Invoice;
use crate::payments::subscription::{Context, Mirror, SubscriptionSeen, settle, standing};
use crate::payments::table::BillStep;
use crate::projects::book::Book;

/// How many months are told each time: 13 seconds without optimization.
const SEEDS: u64 = 3_000;

/// How many are told where every account is compared: 3 seconds.
const SEEDS_OF_ONE_PACK: u64 = 1_000;

/// How many months are told where somebody asks for it.
const SEEDS_ALL: u64 = 10_000;

const PRO: Good = Good::Plan(Plan::Pro, Interval::Month);
const BUSINESS: Good = Good::Plan(Plan::Business, Interval::Month);
const PRO_BY_THE_YEAR: Good = Good::Plan(Plan::Pro, Interval::Year);

/// What an event makes us look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Order(usize),
    Plan,
    Bill,
}

/// Stripe, as it is at some moment.
#[derive(Clone)]
struct Stripe {
    orders: Vec<OrderSeen>,
    plan: SubscriptionSeen,
    bill: Invoice,
}

/// Something that happens at Stripe, and what the events are about that it sends.
type Happening = (fn(&mut Stripe), &'static [Topic]);

/// What was fetched for an event, and how much had been settled before.
struct Fetched {
    event: usize,
    settled: u64,
    stripe: Rc<Stripe>,
}

/// Our side.
#[derive(Clone)]
struct Books {
    book: Book,
    orders: Vec<Order>,
    mirror: Option<Mirror>,
    bill: Intent,
    settled: u64,
}

fn pack_paid(stripe: &mut Stripe, index: usize) {
    let order = orders().swap_remove(index);
    let before = &stripe.orders[index];
    stripe.orders[index] = OrderSeen {
        refunds: before.refunds.clone(),
        disputes: before.disputes.clone(),
        ..seen(&order, "complete", "paid")
    };
}

/// Packs by card, by debit that arrives and by debit that fails; a plan by debit, upgraded, overdue, paid
/// again, cancelled and taken back; refunds in parts of which one fails; a dispute; a bill that fails first.
const MONTH: [Happening; 25] = [
    (|s| pack_paid(s, 0), &[Topic::Order(0), Topic::Order(0)]),
    (|s| s.orders[1] = seen(&orders()[1], "complete", "unpaid"), &[Topic::Order(1)]),
    (|s| s.plan.subscription.status = "active".to_owned(), &[Topic::Plan, Topic::Order(3)]),
    (|s| s.orders[0].refunds.push(refund("r1", 3_000, "pending")), &[Topic::Order(0)]),
    (|s| s.plan.paid = true, &[Topic::Plan]),
    (|s| s.orders[0].refunds[0] = refund("r1", 3_000, "succeeded"), &[Topic::Order(0)]),
    (|s| s.orders[2] = seen(&orders()[2], "complete", "unpaid"), &[Topic::Order(2)]),
    (|s| pack_paid(s, 1), &[Topic::Order(1), Topic::Order(1)]),
    (|s| s.plan.good = Some(BUSINESS), &[Topic::Plan]),
    (
        |s| s.orders[1].disputes.push(dispute("d1", 2_900, "needs_response")),
        &[Topic::Order(1), Topic::Order(1)],
    ),
    (|s| s.orders[0].refunds.push(refund("r2", 5_000, "succeeded")), &[Topic::Order(0)]),
    (|s| s.plan.subscription.cancel_at_period_end = true, &[Topic::Plan]),
    (|s| fail(s), &[Topic::Order(2)]),
    (|s| s.bill.status = Some("open".to_owned()), &[]),
    (|s| s.bill.attempt_count = 1, &[Topic::Bill]),
    (|s| s.orders[0].refunds[1] = refund("r2", 5_000, "failed"), &[Topic::Order(0)]),
    (|s| s.plan.subscription.cancel_at_period_end = false, &[Topic::Plan]),
    (|s| overdue(s), &[Topic::Plan, Topic::Plan]),
    (|s| s.orders[1].disputes[0] = dispute("d1", 2_900, "lost"), &[Topic::Order(1), Topic::Order(1)]),
    (|s| s.bill.status = Some("paid".to_owned()), &[Topic::Bill]),
    (|s| s.plan.subscription.status = "active".to_owned(), &[Topic::Plan]),
    (|s| s.plan.good = Some(PRO), &[Topic::Plan]),
    (|s| waits(s, Some(PRO_BY_THE_YEAR)), &[Topic::Plan]),
    (|s| waits(s, None), &[Topic::Plan]),
    (|s| waits(s, Some(BUSINESS)), &[Topic::Plan, Topic::Plan]),
];

fn fail(stripe: &mut Stripe) {
    stripe.orders[2].payment.as_mut().unwrap().status = "requires_payment_method".to_owned();
}

fn overdue(stripe: &mut Stripe) {
    stripe.plan.subscription.status = "past_due".to_owned();
    stripe.plan.due = vec![due("in_due", start().plus_ms(77_000))];
}

fn waits(stripe: &mut Stripe, good: Option<Good>) {
    stripe.plan.coming = good.map(|good| (start().period().end(), Some(good))).into_iter().collect();
}

fn orders() -> Vec<Order> {
    let goods = [Good::Pack(Pack::Medium), Good::Pack(Pack::Small), Good::Pack(Pack::Large), PRO];
    goods.into_iter().enumerate().map(|(index, good)| order(&format!("o{index}"), good)).collect()
}

impl Stripe {
    fn new() -> Self {
        let bill = serde_json::json!({
            "id": "in_1", "status": "draft", "customer": "cus_1", "subtotal": 600, "currency": "eur",
            "created": 5, "livemode": false,
        });
        Self {
            orders: orders().iter().map(|order| seen(order, "open", "unpaid")).collect(),
            plan: subscription("sub_1", "incomplete", Some(PRO), false),
            bill: serde_json::from_value(bill).unwrap(),
        }
    }
}

impl Books {
    fn new() -> Self {
        let bill = Intent {
            project: shared::ids::ProjectId::parse("demo").unwrap(),
            period: start().period(),
            number: 0,
            bill: Default::default(),
            amount: eur(600),
            step: BillStep::Lined,
            attempt: 1,
            customer: Some("cus_1".to_owned()),
            invoice: Some("in_1".to_owned()),
            first_sent: None,
            overdue_since: None,
            created: start(),
            note: None,
        };
        Self { book: book(Plan::Pro, 20_000), orders: orders(), mirror: None, bill, settled: 0 }
    }

    /// As the store does it: all or nothing, and nothing where something else was settled meanwhile.
    fn settle(&mut self, topic: Topic, fetched: &Fetched, catalogue: &Catalogue, now: Timestamp) -> bool {
        if fetched.settled != self.settled {
            return false;
        }
        let context = Context { bills_overdue_since: self.bill.overdue_since, ..context(catalogue, now) };
        let book = match topic {
            Topic::Order(index) => {
                let settled = self.orders[index].clone();
                let settled =
                    settled.settle(self.book.clone(), &fetched.stripe.orders[index], ours(now)).unwrap();
                self.orders[index] = settled.order;
                settled.book
            }
            Topic::Plan => {
                let plan = [fetched.stripe.plan.clone()];
                let settled = settle(self.book.clone(), self.mirror.clone(), &plan, context).unwrap();
                self.mirror = settled.mirror;
                settled.book
            }
            Topic::Bill => {
                self.bill = self.bill.clone().settle(&fetched.stripe.bill, false);
                let since = self.mirror.as_ref().and_then(|mirror| mirror.overdue_since);
                let since = [since, self.bill.overdue_since].into_iter().flatten().min();
                standing(self.book.clone(), since, None, context).unwrap()
            }
        };
        self.book = book.settled(now).unwrap();
        self.settled += 1;
        true
    }

    /// What the month came to, in everything that somebody could be charged or served by.
    fn came_to(&self, now: Timestamp) -> String {
        let ledger = &self.book.ledger;
        let sum = |of: fn(crate::ledger::entry::LotId) -> Account| -> u64 {
            ledger.lots().keys().map(|lot| ledger.units(of(*lot)).get()).sum()
        };
        let left = i128::from(sum(Account::Lot) + sum(Account::Frozen)) - i128::from(sum(Account::Shortfall));
        let lots: BTreeMap<_, _> = ledger
            .lots()
            .values()
            .map(|lot| {
                let lost = matches!(lot.dispute, Dispute::Lost(_));
                (
                    lot.order.clone().unwrap(),
                    (lot.units, lot.paid, lot.refunded.map_or(0, |m| m.minor()), lost),
                )
            })
            .collect();
        let states: Vec<_> = self.orders.iter().map(|order| order.state.as_str()).collect();
        let timeline = ledger.timeline();
        let plans = (timeline.subscribed_at(now).plan, timeline.subscribed_at(Timestamp::MAX).plan);
        let due = timeline.is_past_due(now);
        format!("{left} {lots:?} {states:?} {plans:?} {due} {:?} {:?}", self.bill.step, self.mirror)
    }
}

/// The instant after so many steps.
fn at(step: u64) -> Timestamp {
    start().plus_ms(100_000 + step * 1_000)
}

/// Every event is delivered and settled before anything else happens.
fn calm(month: &[Happening], catalogue: &Catalogue) -> Books {
    let (mut stripe, mut books) = (Stripe::new(), Books::new());
    for (step, (happen, topics)) in (0..).zip(month) {
        happen(&mut stripe);
        for topic in *topics {
            let fetched = Fetched { event: 0, settled: books.settled, stripe: Rc::new(stripe.clone()) };
            assert!(books.settle(*topic, &fetched, catalogue, at(step)));
        }
    }
    books
}

/// The same month as the seed has it.
fn troubled(month: &[Happening], catalogue: &Catalogue, seed: u64) -> Books {
    let mut random = Stream::new(seed);
    let (mut stripe, mut books) = (Rc::new(Stripe::new()), Books::new());
    let mut coming = month.iter();
    let mut events: Vec<Topic> = Vec::new();
    let (mut under_way, mut inbox, mut delivered) = (Vec::new(), Vec::new(), Vec::new());
    let mut fetched: Vec<Fetched> = Vec::new();
    let pick = |random: &mut Stream, len: usize| -> usize {
        usize::try_from(random.between(0, u64::try_from(len - 1).unwrap())).unwrap()
    };
    for step in 0.. {
        let over = coming.len() == 0 && under_way.is_empty() && inbox.is_empty() && fetched.is_empty();
        if over {
            break;
        }
        match random.between(0, 12) {
            0 | 1 => {
                let Some((happen, topics)) = coming.next() else { continue };
                happen(Rc::make_mut(&mut stripe));
                for topic in *topics {
                    under_way.push(events.len());
                    events.push(*topic);
                }
            }
            2..=4 if !under_way.is_empty() => {
                let event = under_way.swap_remove(pick(&mut random, under_way.len()));
                delivered.push(event);
                inbox.push(event);
            }
            // It comes once more while other things go on.
            5 if !delivered.is_empty() && coming.len() > 0 => {
                let event = delivered[pick(&mut random, delivered.len())];
                if !inbox.contains(&event) {
                    inbox.push(event);
                }
            }
            6..=8 if !inbox.is_empty() => {
                let event = inbox[pick(&mut random, inbox.len())];
                fetched.push(Fetched { event, settled: books.settled, stripe: Rc::clone(&stripe) });
            }
            9..=11 if !fetched.is_empty() => {
                let one = fetched.swap_remove(pick(&mut random, fetched.len()));
                if books.settle(events[one.event], &one, catalogue, at(step)) {
                    inbox.retain(|event| *event != one.event);
                }
            }
            // The process dies: what was fetched is forgotten, what is in the books stays.
            12 if random.between(0, 3) == 0 => fetched.clear(),
            _ => {}
        }
    }
    books
}

#[test]
fn troubled_months_end_as_the_calm_one_does() {
    tell(0..SEEDS);
}

#[test]
#[ignore = "minutes without optimization: cargo test -p aggregator --lib ten_thousand -- --ignored"]
fn ten_thousand_troubled_months_end_as_the_calm_one_does() {
    tell(0..SEEDS_ALL);
}

fn tell(seeds: std::ops::Range<u64>) {
    let catalogue = catalogue();
    let last = at(1_000_000);
    let expected = calm(&MONTH, &catalogue).came_to(last);
    for seed in seeds {
        let books = troubled(&MONTH, &catalogue, seed);
        assert_eq!(books.came_to(last), expected, "seed {seed}");
        if seed % 100 == 0 {
            let entries = books.book.ledger.entries().to_vec();
            assert_eq!(Ledger::replay(entries).unwrap(), books.book.ledger, "seed {seed}");
        }
    }
}

#[test]
fn with_one_pack_every_account_ends_the_same() {
    let catalogue = catalogue();
    // Whatever happens to the other packs is left out: which lot pays first is the order of crediting.
    let month: Vec<Happening> = MONTH
        .into_iter()
        .filter(|(_, topics)| !topics.iter().any(|topic| matches!(topic, Topic::Order(1 | 2))))
        .collect();
    let expected = calm(&month, &catalogue);
    let accounts_of = |books: &Books| accounts(&books.book, &books.orders[0]);
    for seed in 0..SEEDS_OF_ONE_PACK {
        let books = troubled(&month, &catalogue, seed);
        assert_eq!(accounts_of(&books), accounts_of(&expected), "seed {seed}");
    }
}

#[test]
fn a_month_whose_events_are_all_lost_is_caught_up_by_one_look_at_each_thing() {
    let catalogue = catalogue();
    let mut stripe = Stripe::new();
    MONTH.iter().for_each(|(happen, _)| happen(&mut stripe));
    let mut books = Books::new();
    for (step, topic) in
        (0..).zip([Topic::Bill, Topic::Plan, Topic::Order(2), Topic::Order(1), Topic::Order(0)])
    {
        let fetched = Fetched { event: 0, settled: books.settled, stripe: Rc::new(stripe.clone()) };
        assert!(books.settle(topic, &fetched, &catalogue, at(step)));
    }
    let last = at(1_000_000);
    assert_eq!(books.came_to(last), calm(&MONTH, &catalogue).came_to(last));
}
