//! Closed months under a draft of the plans, worked out by hand.

use shared::plan::{Catalogue, Plan};
use shared::time::Period;
use shared::units::Units;

use super::super::month::Seen;
use super::super::rerate::{Rerated, rerate};
use super::super::terms::PlanTerms;
use super::script::{eur, play};

/// September: pro with a pack and 3,000 units of overage; October: pro without overage, beyond its quota.
const MONTHS: &str = "
    at 2026-09-01
    open pro
    overage on
    buy small
    use 18000
    anchors 10
    at 2026-10-05
    close 2026-09
    overage off
    use 4000
    at 2026-11-05
    close 2026-10
";

fn draft(changes: &[(&str, &str)]) -> Catalogue {
    let changed = changes.iter().fold(Catalogue::DEFAULT_JSON.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    Catalogue::from_json(&changed).unwrap()
}

fn rerated(script: &str, period: &str, catalogue: &Catalogue) -> Option<Rerated> {
    let (ledger, totals, now) = play(script);
    let seen = Seen { totals: &totals, now };
    let came = rerate(&ledger, seen, Period::parse(period).unwrap(), |plan| PlanTerms::of(catalogue, plan));
    assert_eq!(ledger, play(script).0, "a question writes nothing");
    came.unwrap()
}

#[test]
fn a_draft_that_changes_nothing_changes_no_amount() {
    for period in ["2026-09", "2026-10"] {
        let came = rerated(MONTHS, period, &draft(&[])).unwrap();
        assert_eq!(came.before, came.after, "{period}");
        assert_eq!(came.plan, Plan::Pro);
    }
}

#[test]
fn what_the_draft_changes_is_rated_anew_with_the_months_own_lots() {
    let came = rerated(MONTHS, "2026-09", &draft(&[])).unwrap();
    // 10,000 of the quota, 5,000 of the pack, 3,000 at 6.00 a thousand, and ten anchors at 0.02.
    assert_eq!((came.before.cost, came.before.from_lots), (eur(1_820), Units::new(5_000)));
    let dearer = draft(&[("\"overage_per_1000\": 600", "\"overage_per_1000\": 700")]);
    assert_eq!(rerated(MONTHS, "2026-09", &dearer).unwrap().after.cost, eur(2_120));
    let smaller = draft(&[("\"included\": 10000", "\"included\": 8000")]);
    assert_eq!(rerated(MONTHS, "2026-09", &smaller).unwrap().after.cost, eur(3_020));
    let larger = draft(&[("\"included\": 10000", "\"included\": 16000")]);
    let came = rerated(MONTHS, "2026-09", &larger).unwrap();
    assert_eq!((came.after.cost, came.after.from_lots), (eur(20), Units::new(2_000)));
    let stopping = draft(&[
        ("\"rpm\": 600, \"overage\": \"optional\"", "\"rpm\": 600, \"overage\": \"stop\""),
        ("\"overage_per_1000\": 600", "\"overage_per_1000\": null"),
    ]);
    let came = rerated(MONTHS, "2026-09", &stopping).unwrap();
    assert_eq!((came.after.cost, came.after.unpaid), (eur(20), Units::new(3_000)));
}

#[test]
fn a_month_that_is_open_or_not_there_is_not_rated() {
    assert_eq!(rerated(MONTHS, "2026-11", &draft(&[])), None);
    assert_eq!(rerated(MONTHS, "2026-08", &draft(&[])), None);
}
