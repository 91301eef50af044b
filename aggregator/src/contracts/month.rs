//! A contract's month: what its projects reported together, what the 72-hour rule makes of it, and what that costs.
//!
//! Volume, tiers and minimum are the contract's, over all its projects: each project's ledger says what that project
//! used, and this says what is billed. A document is never changed; what comes later is a further one, whose lines are
//! the difference of two rated totals, so that all documents of a month together are what it costs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::ids::{ContractId, ProjectId, SourceId};
use shared::time::{Day, Period, Timestamp};
use shared::units::Units;
use shared::whole::whole;

use super::agreement::Agreement;
use crate::ledger::money::{Currency, Money};
use crate::ledger::rate::{Rate, Tier};

/// What a project used on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DayUnits {
    /// The day.
    pub day: Day,
    /// Its units.
    pub units: Units,
}

/// What a project used in the month, within the contract's term.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectUnits {
    /// Which.
    pub project: ProjectId,
    /// Day by day.
    pub days: Vec<DayUnits>,
}

/// What is known of a contract's month.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What each project used.
    pub usage: Vec<ProjectUnits>,
    /// The reporters whose silence makes the month fall back to the minimum.
    pub silent: Vec<SourceId>,
    /// Why the minimum is waived, if it is.
    pub waived: Option<String>,
}

/// The figures of a month, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// What was reported.
    pub counted: Units,
    /// The minimum of the month, prorated.
    pub minimum: Units,
    /// The reporters whose silence makes the month fall back to it.
    pub silent: Vec<SourceId>,
    /// Why it is waived, if it is.
    pub waived: Option<String>,
    /// What is billed for: the larger of the two where a reporter was silent, else what was reported.
    pub billed: Units,
    /// What of it the volume covers.
    pub included: Units,
    /// What is beyond it.
    pub overage: Units,
    /// The overage by tier.
    pub bands: Vec<Band>,
    /// The fixed sum of the month, where one was agreed.
    #[serde(default)]
    pub base_fee: Option<Money>,
    /// What it costs.
    pub total: Money,
}

/// Overage at the rate of one tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Band {
    /// The last unit of overage at this rate.
    pub up_to: Option<Units>,
    /// Minor units per 1,000 units.
    pub per_1000: u64,
    /// Units in this tier.
    pub units: Units,
    /// Their share of the total, which is rounded once: the difference of two rounded prices.
    pub amount: Money,
}

/// Why there is a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The month was closed.
    Close,
    /// Cells came after the close.
    Adjustment,
    /// The minimum was waived.
    Waiver,
}

/// What a line is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Charge {
    /// The fixed sum of the month.
    BaseFee,
    /// Units beyond the volume.
    #[default]
    Overage,
}

/// One line of a document: the base fee, or units at the rate of one tier; fewer than none where something is taken
/// back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// What it is for.
    #[serde(default)]
    pub charge: Charge,
    /// The last unit of overage at this rate.
    pub up_to: Option<Units>,
    /// Minor units per 1,000 units; zero for the base fee, which has none.
    pub per_1000: u64,
    /// How many units more, or fewer; one for the base fee.
    pub quantity: i64,
    /// What that adds or takes back.
    pub amount: Money,
}

/// An invoice of a contract's month, or what is put right about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// The contract.
    pub contract: ContractId,
    /// Whom it is for.
    pub customer: String,
    /// The month.
    pub period: Period,
    /// 0 is the close; what is put right counts on.
    pub number: u32,
    /// Why it was written.
    pub cause: Cause,
    /// The day on which it was.
    pub issued: Day,
    /// What the month comes to with it.
    pub figures: Figures,
    /// What differs from the documents before.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub amount: Money,
    /// What was used, day by day: the evidence.
    pub evidence: Vec<ProjectUnits>,
}

impl Document {
    /// Its name, which no other document has.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}-{}", self.contract, self.period, self.number)
    }

    /// Which document of that contract a name names: its month, and its number in it.
    #[must_use]
    pub fn named(contract: &ContractId, name: &str) -> Option<(Period, u32)> {
        let rest = name.strip_prefix(contract.as_str())?.strip_prefix('-')?;
        let (period, number) = rest.rsplit_once('-')?;
        Some((Period::parse(period)?, whole(number)?))
    }
}

/// The figures of a month.
#[must_use]
pub fn figures(agreement: &Agreement, period: Period, facts: &Facts) -> Figures {
    let terms = &agreement.terms;
    let days = facts.usage.iter().flat_map(|project| &project.days);
    let within = |day: &Day| {
        day.period() == period && *day >= terms.first_day && terms.last_day.is_none_or(|last| *day <= last)
    };
    let counted = days.filter(|of| within(&of.day)).fold(Units::ZERO, |sum, of| sum.saturating_add(of.units));
    let minimum = terms.minimum_of(period);
    let falls = !facts.silent.is_empty() && facts.waived.is_none();
    let billed = if falls { counted.max(minimum) } else { counted };
    let included = billed.min(terms.volume);
    let overage = billed.saturating_sub(included);
    let base_fee = terms.base_fee_of(period).map(|minor| Money::new(i128::from(minor), terms.currency));
    let price = terms.rate.price_minor(overage);
    let total = price.saturating_add(base_fee.map_or(0, Money::minor));
    Figures {
        counted,
        minimum,
        silent: facts.silent.clone(),
        waived: facts.waived.clone(),
        billed,
        included,
        overage,
        bands: bands(&terms.rate, overage, terms.currency),
        base_fee,
        total: Money::new(total, terms.currency),
    }
}

/// Overage by tier; the amounts together are the price of the whole.
fn bands(rate: &Rate, overage: Units, currency: Currency) -> Vec<Band> {
    let mut below = Units::ZERO;
    let mut bands = Vec::new();
    for Tier { up_to, per_1000 } in Vec::<Tier>::from(rate.clone()) {
        let end = up_to.map_or(overage, |bound| bound.min(overage)).max(below);
        let amount = rate.price_minor(end).saturating_sub(rate.price_minor(below));
        let units = end.saturating_sub(below);
        bands.push(Band { up_to, per_1000, units, amount: Money::new(amount, currency) });
        below = end;
    }
    bands
}

/// The document that brings a month from what was billed to its figures; nothing where nothing differs.
#[must_use]
pub fn document(
    agreement: &Agreement,
    (period, facts): (Period, Facts),
    last: Option<&Document>,
    now: Timestamp,
) -> Option<Document> {
    let figures = figures(agreement, period, &facts);
    let (number, cause) = match last {
        None => (0, Cause::Close),
        Some(last) if last.figures == figures => return None,
        Some(last) if last.figures.waived != figures.waived => (last.number.checked_add(1)?, Cause::Waiver),
        Some(last) => (last.number.checked_add(1)?, Cause::Adjustment),
    };
    let currency = agreement.terms.currency;
    let before = |at: usize| last.and_then(|last| last.figures.bands.get(at));
    let line = |(at, band): (usize, &Band)| {
        let (units, amount) =
            before(at).map_or((Units::ZERO, Money::zero(currency)), |band| (band.units, band.amount));
        let signed = |units: Units| i64::try_from(units.get()).unwrap_or(i64::MAX);
        Line {
            charge: Charge::Overage,
            up_to: band.up_to,
            per_1000: band.per_1000,
            quantity: signed(band.units).saturating_sub(signed(units)),
            amount: Money::new(band.amount.minor().saturating_sub(amount.minor()), currency),
        }
    };
    let overage = figures.bands.iter().enumerate().map(line).filter(|line| line.quantity != 0);
    let lines: Vec<Line> = base_fee_line(&figures, last, currency).into_iter().chain(overage).collect();
    let before = last.map_or(0, |last| last.figures.total.minor());
    let amount = Money::new(figures.total.minor().saturating_sub(before), currency);
    Some(Document {
        contract: agreement.id.clone(),
        customer: agreement.customer.clone(),
        period,
        number,
        cause,
        issued: now.day(),
        figures,
        lines,
        amount,
        evidence: facts.usage,
    })
}

/// The base fee, or what it differs from the document before.
fn base_fee_line(figures: &Figures, last: Option<&Document>, currency: Currency) -> Option<Line> {
    let minor = |figures: &Figures| figures.base_fee.map_or(0, Money::minor);
    let differs = minor(figures).saturating_sub(last.map_or(0, |last| minor(&last.figures)));
    let amount = Money::new(differs, currency);
    let quantity = if differs < 0 { -1 } else { 1 };
    let line = Line { charge: Charge::BaseFee, up_to: None, per_1000: 0, quantity, amount };
    (differs != 0).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contracts::agreement::tests::agreement;
    use crate::ledger::contract::{BaseFee, FeePer};

    /// A month of a contract, told line by line: what happened, and what the documents come to.
    ///
    /// Volume 1,000; overage 20.00 per 1,000 up to 500 and 10.00 beyond; minimum 1,200; minor units are cents.
    const MONTH: &str = "
        # what                 counted  billed  overage  amount   total
        close 800              800      800     0        0        0
        close 1000             1000     1000    0        0        0
        close 1001             1001     1001    1        2        2
        close 1700             1700     1700    700      1200     1200
        silent 800             800      1200    200      400      400
        silent 1199            1199     1200    200      400      400
        silent 1300            1300     1300    300      600      600
        # silent, then late cells below the minimum, above it, then a waiver, then more
        silent 800             800      1200    200      400      400
        late 1100              1100     1200    200      0        400
        late 1300              1300     1300    300      200      600
        waive 1300             1300     1300    300      0        600
        late 1600              1600     1600    600      500      1100
        # silent, waived, and late cells are billed as reported
        silent 800             800      1200    200      400      400
        waive 800              800      800     0        -400     0
        late 1100              1100     1100    100      200      200
    ";

    /// The same with 4.90 a month: nothing gives it back, and it is on the first document alone.
    const WITH_FEE: &str = "
        close 0                0        0        0        490      490
        close 1700             1700     1700     700      1690     1690
        silent 800             800      1200     200      890      890
        waive 800              800      800      0        -400     490
        late 1100              1100     1100     100      200      690
    ";

    fn contract() -> Agreement {
        let mut of = agreement("2026-11-01", None);
        let tier = |up_to: Option<u64>, per_1000| Tier { up_to: up_to.map(Units::new), per_1000 };
        of.terms.volume = Units::new(1_000);
        of.terms.minimum = Units::new(1_200);
        of.terms.rate = Rate::tiered(vec![tier(Some(500), 2_000), tier(None, 1_000)]).unwrap();
        of
    }

    fn facts(counted: u64) -> Facts {
        let day = Day::parse("2026-11-23").unwrap();
        let days = vec![DayUnits { day, units: Units::new(counted) }];
        let project = ProjectId::parse("acme").unwrap();
        Facts { usage: vec![ProjectUnits { project, days }], ..Facts::default() }
    }

    #[test]
    fn a_month_is_billed_as_the_table_says() {
        check(&contract(), MONTH);
        let mut of = contract();
        of.terms.base_fee = Some(BaseFee { minor: 490, per: FeePer::Month });
        check(&of, WITH_FEE);
    }

    fn check(of: &Agreement, table: &str) {
        let period = Period::parse("2026-11").unwrap();
        let now = period.end().plus_ms(1);
        let mut last: Option<Document> = None;
        let (mut silent, mut waived) = (vec![], None);
        for row in table.lines().map(str::trim).filter(|row| !row.is_empty() && !row.starts_with('#')) {
            let words: Vec<&str> = row.split_whitespace().collect();
            match words[0] {
                "close" | "silent" => {
                    (last, waived) = (None, None);
                    let berlin = SourceId::parse("berlin").unwrap();
                    silent = if words[0] == "silent" { vec![berlin] } else { vec![] };
                }
                "waive" => waived = Some("an outage of ours".to_owned()),
                _ => {}
            }
            let facts =
                Facts { silent: silent.clone(), waived: waived.clone(), ..facts(words[1].parse().unwrap()) };
            let made = document(of, (period, facts.clone()), last.as_ref(), now).unwrap();
            let told = [made.figures.counted, made.figures.billed, made.figures.overage].map(Units::get);
            let told = told.map(|units| units.to_string()).into_iter();
            let money = [made.amount, made.figures.total].map(|amount| amount.minor().to_string());
            assert_eq!(told.chain(money).collect::<Vec<_>>(), words[2..], "{row}");
            let sum = made.lines.iter().map(|line| line.amount.minor()).sum::<i128>();
            assert_eq!(sum, made.amount.minor(), "{row}: the lines are the amount");
            assert_eq!(made.number, last.map_or(0, |last| last.number + 1));
            assert_eq!(Document::named(&of.id, &made.name()), Some((period, made.number)));
            assert_eq!(document(of, (period, facts), Some(&made), now), None, "{row}: again nothing");
            last = Some(made);
        }
    }

    #[test]
    fn the_bands_are_the_price_of_the_whole_whatever_is_rounded() {
        let of = contract();
        let tier = |up_to: Option<u64>, per_1000| Tier { up_to: up_to.map(Units::new), per_1000 };
        let rate = Rate::tiered(vec![tier(Some(3), 333), tier(Some(10), 77), tier(None, 5)]).unwrap();
        for overage in (0..40).map(Units::new) {
            let bands = bands(&rate, overage, of.terms.currency);
            let units = bands.iter().fold(Units::ZERO, |sum, band| sum.saturating_add(band.units));
            let sum = bands.iter().map(|band| band.amount.minor()).sum::<i128>();
            assert_eq!((units, sum), (overage, rate.price_minor(overage)), "{overage}");
        }
    }

    #[test]
    fn days_outside_the_term_are_not_billed_under_it() {
        let mut of = contract();
        of.terms.first_day = Day::parse("2026-11-16").unwrap();
        let period = Period::parse("2026-11").unwrap();
        let mut known = facts(5_000);
        known.usage[0].days.push(DayUnits { day: Day::parse("2026-11-15").unwrap(), units: Units::new(9) });
        known.silent = vec![SourceId::parse("berlin").unwrap()];
        let half = figures(&of, period, &known);
        assert_eq!((half.counted, half.minimum), (Units::new(5_000), Units::new(600)));
    }
}
