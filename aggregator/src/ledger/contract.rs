//! Contracts: what enterprise projects and on-premise deployments have agreed to.
//!
//! Contracts are invoiced outside self-service (seed: "Enterprise plans run on individual contracts");
//! this file only says what they come to. It must never decide when a reporter was silent: that is
//! `silence.rs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::plan::{Catalogue, OverageRule, Plan};
use shared::time::{Day, Period};
use shared::units::Units;

use super::money::Currency;
use super::rate::Rate;
use super::refusal::Refusal;
use super::terms::PlanTerms;

/// A fixed sum, whatever is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BaseFee {
    /// In minor units, at most 2^53 - 1.
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    pub minor: u64,
    /// For how long.
    pub per: FeePer,
}

/// For how long a fixed sum is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FeePer {
    /// For a month; by days in one that the term covers in part.
    Month,
    /// For the whole term, with its first month.
    Term,
}

/// The terms of a contract (design §5: "volume, overage rate (tiers), minimum, term, SLA text").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// Units a month (seed: "Negotiated request volume").
    pub volume: Units,
    /// The contracted overage rate.
    pub rate: Rate,
    /// Units that a month in silence bills at least.
    pub minimum: Units,
    /// The first day of the term.
    pub first_day: Day,
    /// The last day of the term; `None` while it runs on.
    pub last_day: Option<Day>,
    /// What amounts are in.
    pub currency: Currency,
    /// The dedicated SLA, in words.
    pub sla: String,
    /// What is paid beside overage, whatever is used.
    #[serde(default)]
    pub base_fee: Option<BaseFee>,
}

impl Contract {
    /// The contract as plan terms, for the ledger; overage is then turned on by an entry.
    ///
    /// # Errors
    /// When the catalogue, which gives the limits beside units, lacks the plan.
    pub fn terms(&self, catalogue: &Catalogue) -> Result<PlanTerms, Refusal> {
        let enterprise = PlanTerms::of(catalogue, Plan::Enterprise)?;
        Ok(PlanTerms {
            included: self.volume,
            overage: OverageRule::Optional,
            rate: Some(self.rate.clone()),
            currency: self.currency,
            ..enterprise
        })
    }

    /// The minimum of a period: in a month that the term covers in part, by days and rounded down, so
    /// that nobody pays for more than the share of the month that was agreed (design §5: "partial
    /// months prorate the minimum").
    #[must_use]
    pub fn minimum_of(&self, period: Period) -> Units {
        Units::new(self.share(self.minimum.get(), period))
    }

    /// The base fee of a period in minor units, where one was agreed: that of a month by days and rounded down, that of
    /// the term with its first month.
    #[must_use]
    pub fn base_fee_of(&self, period: Period) -> Option<u64> {
        let BaseFee { minor, per } = self.base_fee?;
        Some(match per {
            FeePer::Month => self.share(minor, period),
            FeePer::Term if period == self.first_day.period() => minor,
            FeePer::Term => 0,
        })
    }

    /// What of a month's whole falls on the days of it that the term covers.
    fn share(&self, of: u64, period: Period) -> u64 {
        let first = self.first_day.max(period.first_day());
        let last = self.last_day.map_or(period.last_day(), |day| day.min(period.last_day()));
        let covered = days(first, last);
        let whole = days(period.first_day(), period.last_day());
        let share = u128::from(of).saturating_mul(u128::from(covered));
        share.checked_div(u128::from(whole)).and_then(|share| u64::try_from(share).ok()).unwrap_or(0)
    }
}

/// Days from `first` to `last`, both counted; none where they are the wrong way round.
fn days(first: Day, last: Day) -> u32 {
    if last < first { 0 } else { last.number().saturating_sub(first.number()).saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_is_prorated_by_days_and_rounded_down() {
        // Of 10,000: November has 30 days, so 16–30 is 15/30; February 2028 has 29, so 1–10 is 10/29
        // = 3,448.27; one day of 31 is 322.58.
        for (first, last, period, units) in [
            ("2026-01-01", None, "2026-11", 10_000),
            ("2026-11-16", None, "2026-11", 5_000),
            ("2026-11-16", None, "2026-12", 10_000),
            ("2026-11-16", None, "2026-10", 0),
            ("2026-01-01", Some("2028-02-10"), "2028-02", 3_448),
            ("2026-12-31", None, "2026-12", 322),
            ("2026-12-05", Some("2026-12-05"), "2026-12", 322),
            ("2026-01-01", Some("2026-11-30"), "2026-12", 0),
        ] {
            let contract = Contract {
                volume: Units::new(1_000_000),
                rate: Rate::flat(100),
                minimum: Units::new(10_000),
                first_day: Day::parse(first).unwrap(),
                last_day: last.map(|day| Day::parse(day).unwrap()),
                currency: Currency::parse("eur").unwrap(),
                sla: "99.9 %".to_owned(),
                base_fee: Some(BaseFee { minor: 10_000, per: FeePer::Month }),
            };
            let period = Period::parse(period).unwrap();
            assert_eq!(contract.minimum_of(period), Units::new(units), "{first} {last:?} {period}");
            // A fee of as much is shared alike; that of the term comes once and whole, with the first month.
            assert_eq!(contract.base_fee_of(period), Some(units), "{first} {last:?} {period}");
            let whole = Contract { base_fee: Some(BaseFee { minor: 7, per: FeePer::Term }), ..contract };
            let is_first = whole.first_day.period() == period;
            assert_eq!(whole.base_fee_of(period), Some(if is_first { 7 } else { 0 }));
            assert_eq!(Contract { base_fee: None, ..whole }.base_fee_of(period), None);
        }
    }
}
