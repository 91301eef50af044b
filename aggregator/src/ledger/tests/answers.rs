//! Whole answers: the statement, the reasons of a bill, a lot's history, and what stays unbilled.

use shared::cell::{Cell, CellKey, Counts};
use shared::denials::Denials;
use shared::ids::{AgentId, Incarnation, Mode, SourceId};
use shared::kind::Kind;
use shared::plan::{Catalogue, Plan};
use shared::policy::Overage;
use shared::time::{Day, Period};
use shared::units::Units;

use super::super::cells::{Batch, Cells};
use super::super::contract::Contract;
use super::super::entry::{EntryNumber, LotId};
use super::super::explain::{Verdict, standing, why_billed};
use super::super::lots::may_buy;
use super::super::money::Currency;
use super::super::month::Seen;
use super::super::parts::parts;
use super::super::rate::{Rate, Tier};
use super::super::state::Ledger;
use super::super::statement::{lot_history, statement};
use super::script::{check, eur, instant, play, terms};

/// 10,000 of the quota, 5,000 of lot 3, 500 × 0.6 = 300 at the close, then 10 × 0.6 = 6.
const MONTH: &str = "
    at 2026-11-01
    open pro
    overage on
    buy small as a
    use 15500
    at 2026-12-02
    close 2026-11
    late 2026-11 10
";

#[test]
fn the_statement_says_which_lot_paid_for_what() {
    let (ledger, totals, now) = play(MONTH);
    let seen = Seen { totals: &totals, now };
    let told = statement(&ledger, seen, Period::parse("2026-11").unwrap()).unwrap();
    let rate = r#"{"overage":[{"up_to":null,"per_1000":600}]}"#;
    let expected = r#"{"period":"2026-11","provisional":false,"plan":"pro","catalogue":1,"quota":10000,"#
        .to_owned()
        + r#""counted":{"units":15510,"anchors":0},"included":10000,"#
        + r#""lots":[{"lot":3,"units":5000,"left":0}],"overage":510,"uncovered":0,"bill":["#
        + &format!(r#"{{"kind":{rate},"quantity":500,"amount":{{"minor":"300","currency":"eur"}}}},"#)
        + &format!(r#"{{"kind":{rate},"quantity":10,"amount":{{"minor":"6","currency":"eur"}}}}],"#)
        + r#""total":{"minor":"306","currency":"eur"}}"#;
    assert_eq!(serde_json::to_string(&told).unwrap(), expected);
}

#[test]
fn a_bill_names_the_entries_it_rests_on() {
    let (ledger, totals, now) = play(MONTH);
    let seen = Seen { totals: &totals, now };
    let reasons = why_billed(&ledger, seen, Period::parse("2026-11").unwrap()).unwrap();
    let entries: Vec<Option<u64>> = reasons.iter().map(|reason| Some(reason.entry?.0)).collect();
    assert_eq!(entries, [Some(4), Some(5)]);
    let moved = serde_json::to_string(&reasons[0].movements).unwrap();
    let expected = r#"[{"from":{"included":"2026-11"},"to":{"used":"2026-11"},"units":10000},"#.to_owned()
        + r#"{"from":{"lot":3},"to":{"used":"2026-11"},"units":5000},"#
        + r#"{"from":{"overage":"2026-11"},"to":{"used":"2026-11"},"units":500}]"#;
    assert_eq!(moved, expected);
    let provisional = why_billed(&ledger, seen, now.period()).unwrap();
    assert_eq!(provisional.len(), 1);
    assert_eq!(provisional[0].entry, None);
    // Plan and standing rest on the opening and on the overage toggle.
    assert_eq!(standing(&ledger, seen, None).unwrap().rests_on, [EntryNumber(1), EntryNumber(2)]);
}

#[test]
fn a_lots_history_begins_with_its_purchase() {
    let (ledger, _, _) = play(&format!("{MONTH}\nrefund a 1000\nbuy small as b\n"));
    let history = lot_history(&ledger, LotId(EntryNumber(3)));
    // Bought (3), spent at the close (4), refunded when nothing was left (7: 2,000 short), made good (9).
    let entries: Vec<u64> = history.iter().map(|event| event.entry.0).collect();
    assert_eq!(entries, [3, 4, 7, 9]);
    let units: Vec<u64> =
        history.iter().flat_map(|event| &event.movements).map(|movement| movement.units.get()).collect();
    assert_eq!(units, [5_000, 5_000, 2_000, 2_000]);
}

#[test]
fn a_catalogue_migration_bills_the_month_at_the_rate_of_its_end() {
    check(
        "
        at 2026-11-01
        open pro
        overage on
        use 12000
        expect overage 2000 price 1200
        at 2026-11-20
        terms pro rate 700
        expect overage 2000 price 1400 version 1
        ",
    );
}

#[test]
fn tests_are_never_billed_and_never_touch_what_was_bought() {
    let batch = |mode, units| Batch {
        mode,
        source: SourceId::home(),
        incarnation: Incarnation::parse("00000000").unwrap(),
        cells: vec![Cell {
            key: CellKey {
                day: Day::parse("2026-11-02").unwrap(),
                kind: Kind::Verify,
                agent: AgentId::none(),
            },
            counts: Counts { units: Units::new(units), ..Counts::default() },
            denials: Denials::NONE,
        }],
    };
    let cells = Cells::default().merge(&batch(Mode::Test, 900), 60);
    assert_eq!(cells, Cells::default());
    let cells = cells.merge(&batch(Mode::Live, 5), 60).merge(&batch(Mode::Test, 900), 60);
    let totals = cells.totals().unwrap();
    assert_eq!(totals[&Period::parse("2026-11").unwrap()].units, Units::new(5));
    let (ledger, _, now) = play("open pro\noverage on\nbuy small as a\n");
    let parts = parts(&ledger, now).for_tests();
    assert_eq!((parts.included, parts.lots, parts.credits), (Units::new(10_000), Units::ZERO, Units::ZERO));
    assert_eq!(parts.overage, Overage::Stop);
}

#[test]
fn a_cell_beyond_what_the_rate_limit_admits_is_kept_apart_in_any_order() {
    // 60 requests a minute are 86,400 a day.
    let cell = |units| Batch {
        mode: Mode::Live,
        source: SourceId::home(),
        incarnation: Incarnation::parse("00000000").unwrap(),
        cells: vec![Cell {
            key: CellKey {
                day: Day::parse("2026-11-02").unwrap(),
                kind: Kind::Verify,
                agent: AgentId::none(),
            },
            counts: Counts { units: Units::new(units), ..Counts::default() },
            denials: Denials::NONE,
        }],
    };
    let merge = |reports: &[u64]| {
        reports.iter().fold(Cells::default(), |cells, units| cells.merge(&cell(*units), 60))
    };
    let cells = merge(&[100, 86_401, 86_400, 90_000]);
    assert_eq!(cells.totals().unwrap()[&Period::parse("2026-11").unwrap()].units, Units::new(86_400));
    let apart: Vec<Units> = cells.quarantined().map(|(_, _, claimed)| claimed).collect();
    assert_eq!(apart, [Units::new(90_000)]);
    assert_eq!(merge(&[90_000, 86_400, 100, 86_401]), cells);
    assert_eq!(merge(&[86_400]).quarantined().count(), 0);
}

#[test]
fn packs_are_sold_where_the_plan_sells_them() {
    let start = instant("2026-11-01");
    let at = |plan| may_buy(&Ledger::open(start, terms(plan)).unwrap(), start);
    let catalogue = Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap();
    for plan in Plan::ALL {
        assert_eq!(at(plan.as_str()), catalogue.terms(plan).unwrap().top_ups, "{plan}");
    }
    assert!(!at("community"));
    assert!(at("pro"));
}

#[test]
fn a_contract_is_rated_by_its_tiers() {
    // 1,000,000 a month; the next 500,000 at 300 per 1,000, what is beyond at 200.
    let tiers =
        vec![Tier { up_to: Some(Units::new(500_000)), per_1000: 300 }, Tier { up_to: None, per_1000: 200 }];
    let contract = Contract {
        volume: Units::new(1_000_000),
        rate: Rate::tiered(tiers).unwrap(),
        minimum: Units::new(800_000),
        first_day: Day::parse("2026-11-01").unwrap(),
        last_day: None,
        currency: Currency::parse("eur").unwrap(),
        sla: "99.95 %".to_owned(),
        base_fee: None,
    };
    let catalogue = Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap();
    let terms = contract.terms(&catalogue).unwrap();
    let price = |units| terms.offered_rate().unwrap().price_minor(Units::new(units));
    assert_eq!(terms.included, Units::new(1_000_000));
    // 150,000 at the first tier's price, 100,000 × 0.2 at the second's.
    assert_eq!(eur(price(600_000)), eur(150_000 + 20_000));
}

#[test]
fn where_a_project_stands_is_what_the_edge_enforces_under_a_quota_of_its_own() {
    let scripts = [
        "",
        "use 40",
        "use 9990",
        "credit 5000 as c\nuse 40",
        "credit 5000 as c\nuse 12000",
        "overage on\nuse 12000",
        "overage cap 600\nuse 10500",
        "overage cap 600\ncredit 200 as c\nuse 30",
    ];
    for script in scripts {
        let (ledger, totals, now) = play(&format!("at 2026-11-10\nopen pro\n{script}\n"));
        let seen = Seen { totals: &totals, now };
        let used = seen.usage(now.period()).units;
        for own in [0, 30, 40, 9_999, 10_000] {
            let own = Units::new(own);
            let parts = shared::policy::AllowanceParts { included: own, ..parts(&ledger, now) };
            let edge = parts.allowance(now.period(), Units::ZERO).map(|all| all.saturating_sub(used));
            let stands = standing(&ledger, seen, Some(own)).unwrap();
            let books = match stands.verdict {
                Verdict::Served(left) => left,
                Verdict::QuotaExhausted(_) => Some(Units::ZERO),
                Verdict::Suspended => unreachable!(),
            };
            assert_eq!(books, edge, "{script:?} under {own}");
            assert_eq!((stands.quota, stands.billed_quota.get()), (own, 10_000), "{script:?} under {own}");
        }
    }
}
