//! Properties: arrival never matters before the close (I8), and the books always balance (I12).

use std::collections::BTreeMap;

use proptest::prelude::*;
use shared::cell::{Cell, CellKey, Counts};
use shared::denials::Denials;
use shared::ids::{AgentId, Incarnation, Mode, SourceId};
use shared::kind::Kind;
use shared::time::{Day, Period, Timestamp};
use shared::units::Units;

use super::super::audit::audit;
use super::super::cells::{Batch, Cells};
use super::super::close::{Final, adjust, close, correct};
use super::super::crossing::{Crossing, Levels, Position, crossings};
use super::super::entry::{Account, Dispute, LotId, OverageSetting, Posting, Usage};
use super::super::lots::{self, Purchase};
use super::super::money::Money;
use super::super::month::{Seen, free, month};
use super::super::parts::parts;
use super::super::plan;
use super::super::rate::{Rate, Tier};
use super::super::refusal::Refusal;
use super::super::state::Ledger;
use super::super::timeline::GRACE_MS;
use super::script::{books_left, edge_left, eur, instant, terms};

const RPM: u32 = 6_000;

/// A report of one cell: (day of November and December, source, agent, cumulative units).
type Report = (u32, u8, u8, u64);

fn batch(reports: &[Report]) -> Vec<Batch> {
    let first = Day::parse("2026-11-01").unwrap().number();
    let one = |(day, source, agent, units): &Report| {
        let key = CellKey {
            day: Day::from_number(first + day).unwrap(),
            kind: Kind::Verify,
            agent: AgentId::parse(&format!("agent{agent}")).unwrap(),
        };
        let counts = Counts { units: Units::new(*units), ..Counts::default() };
        Batch {
            mode: if *source == 9 { Mode::Test } else { Mode::Live },
            source: SourceId::parse(&format!("source{source}")).unwrap(),
            incarnation: Incarnation::parse("00000000").unwrap(),
            cells: vec![Cell { key, counts, denials: Denials::NONE }],
        }
    };
    reports.iter().map(one).collect()
}

/// The ledger's bytes after the batches came in this order and both months closed.
fn closed_bytes(batches: &[Batch]) -> String {
    let start = instant("2026-11-01");
    let mut ledger = Ledger::open(start, terms("pro")).unwrap();
    let setting = OverageSetting::On { cap: Some(eur(5_000)) };
    ledger = ledger.clone().append(start, plan::set_overage(&ledger, start, setting).unwrap()).unwrap();
    let purchase =
        Purchase { order: "o".to_owned(), units: Units::new(5_000), paid: eur(2_500), paid_at: None };
    ledger = ledger.clone().append(start, lots::buy(&ledger, purchase).unwrap()).unwrap();
    let mut cells = Cells::default();
    let mut fired = std::collections::BTreeSet::new();
    for batch in batches {
        cells = cells.merge(batch, RPM);
        for (period, usage) in cells.totals().unwrap() {
            let quota = ledger.timeline().quota(period, start);
            let (quota_version, quota) = (quota.version, quota.included());
            let at = Position { period, quota_version, quota, used: usage.units, denied: false };
            let due: Vec<Crossing> = crossings(at, &Levels::default(), &fired);
            assert!(due.is_sorted(), "each level in rising order");
            fired.extend(due);
        }
    }
    let totals = cells.totals().unwrap();
    let now = instant("2027-01-01");
    for text in ["2026-11", "2026-12"] {
        let seen = Seen { totals: &totals, now };
        let period = Period::parse(text).unwrap();
        let provisional = month(&ledger, seen, period).unwrap();
        let postings = close(&ledger, seen, period, Final::default()).unwrap();
        ledger = ledger.append(now, postings).unwrap();
        let settled = month(&ledger, seen, period).unwrap();
        assert_eq!((provisional.allocation, provisional.bill), (settled.allocation, settled.bill));
    }
    assert_eq!(audit(ledger.entries(), ledger.balances(), &totals), vec![]);
    serde_json::to_string(&(ledger.entries(), &cells, fired)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batches_may_come_in_any_order_twice_and_in_pieces(
        reports in prop::collection::vec((0_u32..61, 7_u8..10, 0_u8..3, 0_u64..9_000_000), 1..40),
        small in prop::collection::vec((0_u32..61, 7_u8..10, 0_u8..3, 0_u64..3_000), 0..40),
        seed in any::<u64>(),
        pieces in 1_usize..7,
    ) {
        let mut reports = reports;
        reports.extend(small);
        let in_order = batch(&reports);
        let mut shuffled = in_order.clone();
        // A permutation and duplicates that follow from the seed alone.
        let mut state = seed | 1;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        for index in (1..shuffled.len()).rev() {
            shuffled.swap(index, next(index + 1));
        }
        for _ in 0..next(10) {
            let twice = shuffled[next(shuffled.len())].clone();
            shuffled.push(twice);
        }
        // Batches of several cells instead of one each.
        let mut joined: Vec<Batch> = Vec::new();
        for one in &shuffled {
            let fits = joined.iter_mut().rev().take(pieces)
                .find(|batch| batch.source == one.source && batch.cells.len() < pieces);
            match fits {
                Some(batch) => batch.cells.extend(one.cells.iter().cloned()),
                None => joined.push(one.clone()),
            }
        }
        let expected = closed_bytes(&in_order);
        prop_assert_eq!(&closed_bytes(&shuffled), &expected);
        prop_assert_eq!(&closed_bytes(&joined), &expected);
    }

    #[test]
    fn the_books_balance_after_any_history(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(&step);
            prop_assert_eq!(audit(world.ledger.entries(), world.ledger.balances(), &world.totals), vec![], "after {:?}", step);
            world.check();
        }
    }

    #[test]
    fn late_cells_cost_the_same_in_one_piece_and_in_many(
        before in 0_u64..14_000,
        pieces in prop::collection::vec(1_u64..700, 1..12),
        cap in prop::option::of(0_i128..4_000),
    ) {
        let closed = |late: &[u64]| {
            let (start, now) = (instant("2026-11-01"), instant("2026-12-02"));
            let mut ledger = Ledger::open(start, terms("pro")).unwrap();
            let setting = OverageSetting::On { cap: cap.map(eur) };
            ledger = ledger.clone().append(start, plan::set_overage(&ledger, start, setting).unwrap()).unwrap();
            let purchase = Purchase { order: "o".to_owned(), units: Units::new(1_000), paid: eur(500), paid_at: None };
            ledger = ledger.clone().append(start, lots::buy(&ledger, purchase).unwrap()).unwrap();
            let period = start.period();
            let mut usage = Usage { units: Units::new(before), anchors: Units::ZERO };
            let mut totals = BTreeMap::from([(period, usage)]);
            let postings = close(&ledger, Seen { totals: &totals, now }, period, Final::default()).unwrap();
            ledger = ledger.append(now, postings).unwrap();
            for more in late {
                usage.units = usage.units.checked_add(Units::new(*more)).unwrap();
                totals.insert(period, usage);
                let postings = adjust(&ledger, Seen { totals: &totals, now }, period).unwrap();
                ledger = ledger.append(now, postings).unwrap();
            }
            assert_eq!(audit(ledger.entries(), ledger.balances(), &totals), vec![]);
            let month = month(&ledger, Seen { totals: &totals, now }, period).unwrap();
            (month.bill.total(eur(0).currency()).unwrap(), month.allocation, ledger.balances().clone())
        };
        let whole: u64 = pieces.iter().sum();
        prop_assert_eq!(closed(&pieces), closed(&[whole]));
    }

    #[test]
    fn a_price_never_depends_on_how_it_was_reached_and_never_passes_its_cap(
        bounds in prop::collection::vec((1_u64..100_000, 0_u64..5_000), 0..4),
        last in 1_u64..5_000,
        units in 0_u64..1_000_000,
        cap in 0_u64..1_000_000,
    ) {
        let mut below = 0;
        let mut tiers: Vec<Tier> = bounds.iter().map(|(width, per_1000)| {
            below += width;
            Tier { up_to: Some(Units::new(below)), per_1000: *per_1000 }
        }).collect();
        tiers.push(Tier { up_to: None, per_1000: last });
        let rate = Rate::tiered(tiers).unwrap();
        let price = |units| rate.price_minor(Units::new(units));
        prop_assert!(price(units) <= price(units + 1));
        let within = rate.units_within(cap).unwrap().get();
        prop_assert!(price(within) <= i128::from(cap));
        // Two units more than the cap buys cost at least half a minor unit beyond it at these rates,
        // and a thousand more always cost a whole one.
        prop_assert!(price(within + 1_000) > i128::from(cap));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Use(u64),
    UseLastMonth(u64),
    Anchors(u64),
    Buy(u64),
    Credit(u64),
    Refund(usize, i128),
    Dispute(usize, u8),
    Plan(u8, bool),
    Overage(u8),
    PastDue,
    Recover,
    Close(u64),
    Adjust,
    Correct(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u64..15).prop_map(Step::Wait),
        4 => (1_u64..30_000).prop_map(Step::Use),
        1 => (1_u64..3_000).prop_map(Step::UseLastMonth),
        1 => (1_u64..100).prop_map(Step::Anchors),
        2 => (1_u64..6_000).prop_map(Step::Buy),
        1 => (1_u64..500).prop_map(Step::Credit),
        2 => (0_usize..6, 0_i128..=1_000).prop_map(|(lot, share)| Step::Refund(lot, share)),
        2 => (0_usize..6, 0_u8..4).prop_map(|(lot, how)| Step::Dispute(lot, how)),
        1 => (0_u8..3, any::<bool>()).prop_map(|(plan, later)| Step::Plan(plan, later)),
        1 => (0_u8..3).prop_map(Step::Overage),
        1 => Just(Step::PastDue),
        1 => Just(Step::Recover),
        3 => prop_oneof![Just(0), 1_u64..20_000].prop_map(Step::Close),
        2 => Just(Step::Adjust),
        1 => (1_u64..5_000).prop_map(Step::Correct),
    ]
}

struct World {
    now: Timestamp,
    ledger: Ledger,
    totals: BTreeMap<Period, Usage>,
    orders: u64,
    /// The bill of each closed month, and how many corrections it has had.
    billed: BTreeMap<Period, (i128, usize)>,
}

impl World {
    fn new() -> Self {
        let now = instant("2026-11-10");
        let ledger = Ledger::open(now, terms("pro")).unwrap();
        Self { now, ledger, totals: BTreeMap::new(), orders: 0, billed: BTreeMap::new() }
    }

    fn count(&mut self, period: Period, units: u64, anchors: u64) {
        let usage = self.totals.entry(period).or_default();
        usage.units = usage.units.checked_add(Units::new(units)).unwrap();
        usage.anchors = usage.anchors.checked_add(Units::new(anchors)).unwrap();
    }

    fn paid_lot(&self, index: usize) -> Option<(LotId, Money)> {
        let paid = self.ledger.lots().iter().filter_map(|(id, lot)| Some((*id, lot.paid?)));
        paid.clone().nth(index % paid.count().max(1))
    }

    fn last_closed(&self) -> Option<Period> {
        let last = |day: Day| Day::from_number(day.number() - 1).unwrap().period();
        Some(last(self.ledger.first_open().first_day()))
            .filter(|period| self.ledger.closed(*period).is_some())
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Wait(days) => self.now = self.now.plus_ms(days * 86_400_000),
            Step::Use(units) => self.count(self.now.period(), *units, 0),
            Step::UseLastMonth(units) => {
                let period = self.last_closed().unwrap_or(self.now.period());
                self.count(period, *units, 0);
            }
            Step::Anchors(anchors) => self.count(self.now.period(), 0, *anchors),
            Step::Buy(_)
            | Step::Credit(_)
            | Step::Refund(..)
            | Step::Dispute(..)
            | Step::Plan(..)
            | Step::Overage(_)
            | Step::PastDue
            | Step::Recover
            | Step::Close(_)
            | Step::Adjust
            | Step::Correct(_) => match self.decide(step) {
                Ok(postings) => {
                    let written =
                        self.ledger.clone().append(self.now, postings).expect("what was decided fits");
                    let seen = Seen { totals: &self.totals, now: self.now };
                    self.ledger = lots::reclaim(written, seen).expect("what is left fits");
                }
                // Only these may be refused: everything else that is decided here is well-formed.
                Err(Refusal::NotEnded { .. } | Refusal::MoreThanUsed { .. }) => {}
                Err(other) => panic!("{step:?}: {other}"),
            },
        }
    }

    fn decide(&mut self, step: &Step) -> Result<Vec<Posting>, Refusal> {
        let seen = Seen { totals: &self.totals, now: self.now };
        let (ledger, now) = (&self.ledger, self.now);
        match step {
            Step::Buy(units) => {
                self.orders += 1;
                let paid = eur(i128::from(*units) + 7);
                // Told up to six days late.
                let paid_at = Some(Timestamp::from_ms(now.as_ms() - units % 7 * 86_400_000));
                lots::buy(
                    ledger,
                    Purchase { order: self.orders.to_string(), units: Units::new(*units), paid, paid_at },
                )
            }
            Step::Credit(units) => lots::credit(ledger, Units::new(*units), "sorry".to_owned()),
            Step::Refund(index, share) => self.paid_lot(*index).map_or(Ok(vec![]), |(lot, paid)| {
                lots::refund(ledger, seen, lot, eur((paid.minor() * share).div_euclid(1_000)))
            }),
            Step::Dispute(index, how) => self.paid_lot(*index).map_or(Ok(vec![]), |(lot, paid)| {
                let half = eur(paid.minor().div_euclid(2));
                let ways = [Dispute::Open, Dispute::None, Dispute::Lost(paid), Dispute::Lost(half)];
                lots::dispute(ledger, seen, lot, ways[usize::from(*how)])
            }),
            Step::Plan(plan, later) => {
                let plan = ["community", "pro", "business"][usize::from(*plan)];
                let until = later.then(|| now.plus_ms(20 * 86_400_000));
                match until {
                    Some(_) => plan::change(ledger, now, terms(plan), until),
                    // Told three days late.
                    None => {
                        let paid_at = Timestamp::from_ms(now.as_ms() - 3 * 86_400_000);
                        plan::bought(ledger, now, terms(plan), Some(paid_at))
                    }
                }
            }
            Step::Overage(how) => {
                let on = |cap| OverageSetting::On { cap };
                let how = [OverageSetting::Off, on(None), on(Some(eur(1_234)))][usize::from(*how)];
                plan::set_overage(ledger, now, how)
            }
            Step::PastDue => Ok(plan::past_due(ledger, now, now, terms("community"), GRACE_MS)),
            Step::Recover => Ok(plan::recovered(ledger, now, None)),
            Step::Close(floor) => {
                let last = Final { forfeited: Units::new(3), floor: Units::new(*floor) };
                close(ledger, seen, ledger.first_open(), last)
            }
            Step::Adjust => self.last_closed().map_or(Ok(vec![]), |period| adjust(ledger, seen, period)),
            Step::Correct(units) => self.last_closed().map_or(Ok(vec![]), |period| {
                correct(ledger, period, Units::new(*units), "goodwill".to_owned())
            }),
            Step::Wait(_) | Step::Use(_) | Step::UseLastMonth(_) | Step::Anchors(_) => Ok(vec![]),
        }
    }

    /// What the home is told and what the ledger says of the present month agree to the unit.
    fn check_allowance(&self, seen: Seen<'_>) {
        let present = self.now.period();
        let first = parts(&self.ledger, self.now).period;
        assert!(first <= present);
        let (left, told) = (edge_left(&self.ledger, seen), books_left(&self.ledger, seen));
        if first.next() < present {
            // A close that is more than a month late is not told apart by the parts.
            return;
        }
        assert_eq!(told, left);
        let uncovered = month(&self.ledger, seen, present).unwrap().allocation.uncovered;
        assert!(left.is_some_and(|left| left == Units::ZERO) || uncovered == Units::ZERO);
    }

    /// What holds beside the audit.
    fn check(&mut self) {
        let seen = Seen { totals: &self.totals, now: self.now };
        let left = free(&self.ledger, seen).unwrap();
        for (id, lot) in self.ledger.lots() {
            assert!(left[id] <= lot.units, "a lot never grows");
            let returned = self.ledger.units(Account::Returned(*id));
            assert!(returned <= lot.units, "no more is taken back than was bought");
            let owes = self.ledger.units(Account::Shortfall(*id)) > Units::ZERO;
            assert!(!owes || left[id] == Units::ZERO, "what is left settles what is owed");
        }
        self.check_allowance(seen);
        let mut period = Period::parse("2026-11").unwrap();
        while period < self.ledger.first_open() {
            let month = month(&self.ledger, seen, period).unwrap();
            let price = month.bill.total(eur(0).currency()).unwrap().minor();
            let corrections = self
                .ledger
                .entries()
                .iter()
                .filter(|entry| matches!(entry.fact, super::super::entry::Fact::Corrected { .. }))
                .count();
            let (before, corrected) = self.billed.insert(period, (price, corrections)).unwrap_or((0, 0));
            assert!(price >= before || corrections > corrected, "a billed figure never falls silently");
            assert!(price >= 0, "nobody is paid for using");
            period = period.next();
        }
    }
}
