//! What a home may spend: the ledger's side of the policy.
//!
//! The parts depend on entries and time alone, never on usage, so that two policies of one version and
//! period are the same text. They are stated for the oldest open period: only when a month is final
//! and closed is it known what it left of the lots, and until then the home subtracts what it issued
//! itself (design §3: "lots that open month M+1 exclude everything M issued beyond its included quota,
//! until M is final"). Lots that came once the period had ended are told apart, because
//! it cannot have used them.

use shared::policy::{AllowanceParts, Overage};
use shared::time::Timestamp;
use shared::units::Units;

use super::entry::Account;
use super::state::Ledger;
use super::timeline::OverageState;

/// The allowance parts of live mode as of `now`.
///
/// Closing more than a month late would leave `next_included` to stand for two months; the close runs
/// within 72 hours of a month's end, so only the present and the previous month are ever open.
#[must_use]
pub fn parts(ledger: &Ledger, now: Timestamp) -> AllowanceParts {
    let now = ledger.held(now);
    let period = ledger.first_open();
    let timeline = ledger.timeline();
    let left_since = |from: Timestamp, until: Timestamp| {
        let of_then = ledger.lots().iter().filter(|(_, lot)| from <= lot.since && lot.since < until);
        of_then.fold(Units::ZERO, |sum, (id, _)| sum.saturating_add(ledger.units(Account::Lot(*id))))
    };
    let credits_after = left_since(period.end(), Timestamp::MAX);
    let following = period.next().max(now.period());
    AllowanceParts {
        period,
        included: timeline.quota(period, now).included(),
        lots: left_since(Timestamp::from_ms(0), period.start()),
        credits: left_since(period.start(), period.end()).saturating_add(credits_after),
        credits_after,
        next_included: timeline.quota(following, now).included(),
        overage: overage(timeline.overage_at(now)),
    }
}

/// What the edge enforces beyond quota and lots.
#[must_use]
pub fn overage(state: OverageState) -> Overage {
    match state {
        OverageState::NotOffered | OverageState::Off | OverageState::PastDue => Overage::Stop,
        OverageState::On { cap: None, .. } => Overage::Open,
        OverageState::On { cap: Some(cap), rate } => {
            let units = rate.units_within(cap.as_cap());
            units.map_or(Overage::Open, |units| Overage::Capped { units })
        }
    }
}
