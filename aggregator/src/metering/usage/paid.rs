//! What paid for each day. A month is billed as a whole, so its units are paid in the order of its days: by the quota, then by
//! lots, the oldest first, then by overage. What is left over is not billed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::{Mode, ProjectId};
use shared::time::{Day, Period, Timestamp};
use shared::units::Units;

use super::Span;
use crate::ledger::allocation::Allocation;
use crate::ledger::entry::LotId;
use crate::ledger::month::month;
use crate::ledger::refusal::Refusal;
use crate::projects::book::Book;

/// The body of `GET /api/v1/usage?group_by=day,source`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PaidDays {
    project: ProjectId,
    mode: Mode,
    from: Day,
    to: Day,
    group_by: &'static str,
    /// Units of all days.
    total: Units,
    /// Every day from first to last.
    days: Vec<PaidDay>,
}

/// What paid for one day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
struct Payers {
    /// Units that the quota paid for.
    included: Units,
    /// Units that lots paid for.
    lot: Units,
    /// Units of overage.
    overage: Units,
    /// Units that nothing paid for, and that are not billed.
    unbilled: Units,
    /// What each lot paid for, in the order in which they paid.
    lots: Vec<PaidByLot>,
}

/// One day, and what paid for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
struct PaidDay {
    /// The day.
    date: Day,
    /// Units of all kinds.
    units: Units,
    #[serde(flatten)]
    payers: Payers,
}

/// What a lot paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
struct PaidByLot {
    lot: LotId,
    units: Units,
}

impl PaidDays {
    /// What this grouping is called.
    pub const NAME: &'static str = "day,source";

    /// Builds the report of a book from the live units of each day of all months that the span is in.
    ///
    /// # Errors
    /// When an amount is too large.
    pub fn new(
        book: &Book,
        span: Span,
        daily: &BTreeMap<Day, Units>,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let mut days = Vec::new();
        let mut period = span.from().period();
        loop {
            let allocation = month(&book.ledger, book.seen(now), period)?.allocation;
            let within = |paid: &PaidDay| (span.from()..=span.to()).contains(&paid.date);
            days.extend(spread(period, daily, allocation).into_iter().filter(within));
            if period >= span.to().period() {
                break;
            }
            period = period.next();
        }
        Ok(Self {
            project: book.project.id.clone(),
            mode: Mode::Live,
            from: span.from(),
            to: span.to(),
            group_by: Self::NAME,
            total: super::sum(days.iter().map(|day| &day.units)),
            days,
        })
    }

    /// The days as CSV (RFC 4180), with a head.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut csv = "day_utc,units,included,lot,overage,unbilled\r\n".to_owned();
        let line = |PaidDay { date, units, payers }: &PaidDay| {
            let Payers { included, lot, overage, unbilled, .. } = payers;
            format!("{date},{units},{included},{lot},{overage},{unbilled}\r\n")
        };
        csv.extend(self.days.iter().map(line));
        csv
    }
}

/// Spreads what paid for a month over its days, in their order.
fn spread(period: Period, daily: &BTreeMap<Day, Units>, mut left: Allocation) -> Vec<PaidDay> {
    let mut days = Vec::new();
    for date in Span::of(period).days() {
        let units = daily.get(&date).copied().unwrap_or_default();
        let mut unpaid = units;
        let mut pay = |purse: &mut Units| {
            let paid = unpaid.min(*purse);
            *purse = purse.saturating_sub(paid);
            unpaid = unpaid.saturating_sub(paid);
            paid
        };
        let mut payers = Payers { included: pay(&mut left.included), ..Payers::default() };
        for (lot, purse) in &mut left.lots {
            let units = pay(purse);
            if units > Units::ZERO {
                payers.lots.push(PaidByLot { lot: *lot, units });
            }
        }
        payers.overage = pay(&mut left.overage);
        payers.lot = super::sum(payers.lots.iter().map(|part| &part.units));
        payers.unbilled = unpaid;
        days.push(PaidDay { date, units, payers });
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::entry::EntryNumber;

    #[test]
    fn a_month_is_paid_in_the_order_of_its_days_and_to_the_unit() {
        let lot = |number| LotId(EntryNumber(number));
        let allocation = Allocation {
            included: Units::new(10),
            lots: vec![(lot(3), Units::new(4)), (lot(7), Units::new(5))],
            overage: Units::new(6),
            uncovered: Units::new(2),
        };
        let day = |number: u32| Day::parse(&format!("2026-05-{number:02}")).unwrap();
        let daily = [(day(2), 8), (day(3), 5), (day(5), 9), (day(31), 5)];
        let daily = daily.map(|(day, units)| (day, Units::new(units))).into();
        let days = spread(Period::parse("2026-05").unwrap(), &daily, allocation);
        assert_eq!(days.len(), 31);
        let told: Vec<String> = days
            .iter()
            .filter(|day| day.units > Units::ZERO)
            .map(|PaidDay { date, units, payers }| {
                let lots: Vec<String> =
                    payers.lots.iter().map(|part| format!("{}x{}", part.lot.0.0, part.units)).collect();
                let Payers { included, lot, overage, unbilled, .. } = payers;
                format!("{date}: {units} = {included} + {lot} + {overage} + {unbilled}, {}", lots.join(" "))
            })
            .collect();
        assert_eq!(
            told,
            [
                "2026-05-02: 8 = 8 + 0 + 0 + 0, ",
                "2026-05-03: 5 = 2 + 3 + 0 + 0, 3x3",
                "2026-05-05: 9 = 0 + 6 + 3 + 0, 3x1 7x5",
                "2026-05-31: 5 = 0 + 0 + 3 + 2, ",
            ]
        );
    }
}
