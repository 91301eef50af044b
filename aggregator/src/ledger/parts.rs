//! What a home may spend: the ledger's side of the policy.
//!
//! The parts depend on entries and time alone, never on usage, so that two policies of one version and
//! period are the same text. They are stated for the oldest open period: only when a month is final
//! and closed is it known what it left of the lots, and until then the home subtracts what it issued
//! itself (design §3: "lots that open month M+1 exclude everything M issued beyond its included quota,
//! until M is final").

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
    let (mut lots, mut credits) = (Units::ZERO, Units::ZERO);
    for (id, lot) in ledger.lots() {
        let left = ledger.units(Account::Lot(*id));
        let sum = if lot.since < period.start() { &mut lots } else { &mut credits };
        *sum = sum.saturating_add(left);
    }
    let following = period.next().max(now.period());
    AllowanceParts {
        period,
        included: timeline.quota(period, now).included(),
        lots,
        credits,
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
