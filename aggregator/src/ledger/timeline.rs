//! The timeline: which plan, overage setting and standing was in force when.
//!
//! It is built from entries and answers for any instant, also a future one, so that a downgrade at the
//! end of paid time or a fall after the grace needs no job to come true and is exact to the millisecond
//! (I9). It must never be asked to change the past: `plan.rs` holds effective instants at the first
//! instant that is not closed.

use std::collections::BTreeSet;

use shared::plan::Plan;
use shared::policy::Status;
use shared::time::{Period, Timestamp};
use shared::units::Units;

use super::bill::Prices;
use super::entry::{Fact, OverageSetting};
use super::money::{Currency, Money};
use super::rate::Rate;
use super::terms::PlanTerms;

/// How long a past due project keeps its plan unless the catalogue says otherwise (design §5: "grace 7
/// days, overage off; then community").
pub const GRACE_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// Why overage is or is not served at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverageState {
    /// The plan has none, or no rate for it.
    NotOffered,
    /// The customer has not turned it on.
    Off,
    /// A payment is overdue.
    PastDue,
    /// It is served, at this rate, up to the cap where there is one.
    On {
        /// The rate of the plan.
        rate: Rate,
        /// The most that a month's overage may cost.
        cap: Option<Money>,
    },
}

impl OverageState {
    /// The state in one word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotOffered => "not_offered",
            Self::Off => "off",
            Self::PastDue => "past_due",
            Self::On { .. } => "on",
        }
    }
}

/// The included quota of a period, as far as the period has gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The terms of the largest plan in force in the period; the earliest of equals.
    pub terms: PlanTerms,
    /// 1 when the period begins, one more with each rise as it was told: crossings fire once per version (I6).
    pub version: u32,
}

impl Quota {
    /// The units of the quota.
    #[must_use]
    pub fn included(&self) -> Units {
        self.terms.included
    }
}

/// The largest overage that was allowed at any instant of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    /// None at all.
    Closed,
    /// Up to this amount.
    Capped(Money),
    /// Without a limit.
    Open,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Arrears {
    since: Timestamp,
    until: Option<Timestamp>,
    fallback: PlanTerms,
    grace_ms: u64,
}

impl Arrears {
    fn holds(&self, at: Timestamp) -> bool {
        self.since <= at && self.until.is_none_or(|until| at < until)
    }

    fn falls(&self) -> Timestamp {
        self.since.plus_ms(self.grace_ms)
    }
}

/// What was in force at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    at: Timestamp,
    terms: PlanTerms,
    overage: OverageState,
}

/// Plans, settings and standing over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// What was in force before and after each entry, in order. Entries may share an instant, also
    /// the first of a period, and a payment may be known as overdue only later: what was in force in
    /// between has served all the same.
    seen: Vec<State>,
    opened: PlanTerms,
    plans: Vec<(Timestamp, PlanTerms)>,
    overage: Vec<(Timestamp, OverageSetting)>,
    arrears: Vec<Arrears>,
    suspended: Vec<(Timestamp, Status)>,
    /// Rises of a month's quota that its states do not show: one that was told in the month and counts from before
    /// it, or one of a limit that is still below the largest. Each makes as many versions more.
    raised: Vec<(Timestamp, u32)>,
}

impl Timeline {
    pub(super) fn new(at: Timestamp, opened: PlanTerms) -> Self {
        let (seen, plans, overage, arrears, suspended) = (vec![], vec![], vec![], vec![], vec![]);
        let mut timeline = Self { seen, opened, plans, overage, arrears, suspended, raised: vec![] };
        timeline.seen.push(timeline.state(at));
        timeline
    }

    fn state(&self, at: Timestamp) -> State {
        State { at, terms: self.terms_at(at).clone(), overage: self.overage_at(at) }
    }

    /// Takes in what an entry says about plan and standing; other facts change nothing here.
    pub(super) fn note(&mut self, at: Timestamp, fact: &Fact) {
        let (before, quota) = (self.state(at), self.quota(at.period(), at));
        let raises_own = self.raises_own(at, fact);
        match fact {
            Fact::PlanChanged { terms, effective } => {
                self.plans.retain(|(planned, _)| planned < effective);
                self.plans.push((*effective, terms.clone()));
            }
            Fact::OverageChanged(setting) => self.overage.push((at, *setting)),
            Fact::PastDue { since, fallback, grace_ms } => self.arrears.push(Arrears {
                since: *since,
                until: None,
                fallback: fallback.clone(),
                grace_ms: *grace_ms,
            }),
            Fact::Recovered => self.recover(at),
            Fact::RecoveredAt { paid_at } => self.recover(*paid_at),
            Fact::Suspended { .. } => self.suspended.push((at, Status::Suspended)),
            Fact::Resumed => self.suspended.push((at, Status::Active)),
            Fact::Opened(_)
            | Fact::LotBought { .. }
            | Fact::CreditGiven { .. }
            | Fact::LotRefunded { .. }
            | Fact::LotDisputed { .. }
            | Fact::Shortfall { .. }
            | Fact::ShortfallCovered { .. }
            | Fact::PeriodClosed { .. }
            | Fact::Adjustment { .. }
            | Fact::ForfeitReleased { .. }
            | Fact::Corrected { .. } => return,
        }
        self.seen.extend([before, self.state(at)]);
        let became = self.quota(at.period(), at);
        let rises = raises_own || became.included() > quota.included();
        let version = if rises { quota.version.saturating_add(1) } else { quota.version };
        if became.version < version {
            self.raised.push((at, version.saturating_sub(became.version)));
        }
    }

    fn recover(&mut self, at: Timestamp) {
        for arrears in self.arrears.iter_mut().filter(|arrears| arrears.until.is_none()) {
            arrears.until = Some(at.max(arrears.since));
        }
    }

    /// Whether a fact gives more units on the same plan from now on: a limit that was set below the month's largest
    /// quota is raised.
    fn raises_own(&self, at: Timestamp, fact: &Fact) -> bool {
        let Fact::PlanChanged { terms, effective } = fact else { return false };
        let before = self.subscribed_at(at);
        *effective <= at && terms.plan == before.plan && terms.included > before.included
    }

    /// The terms that the customer has subscribed to at an instant, whatever is overdue.
    #[must_use]
    pub fn subscribed_at(&self, at: Timestamp) -> &PlanTerms {
        let in_force = self.plans.iter().rev().find(|(effective, _)| *effective <= at);
        in_force.map_or(&self.opened, |(_, terms)| terms)
    }

    /// The changes of plan that are planned for after an instant, in order.
    pub fn planned_after(&self, at: Timestamp) -> impl Iterator<Item = &(Timestamp, PlanTerms)> {
        self.plans.iter().filter(move |(effective, _)| *effective > at)
    }

    /// When a project that is past due falls, if it is; it may have fallen already.
    #[must_use]
    pub fn falls_at(&self, at: Timestamp) -> Option<Timestamp> {
        self.arrears.iter().find(|arrears| arrears.holds(at)).map(Arrears::falls)
    }

    /// The terms in force at an instant: the subscribed ones, or community once the grace is over.
    #[must_use]
    pub fn terms_at(&self, at: Timestamp) -> &PlanTerms {
        let fallen = self.arrears.iter().find(|arrears| arrears.holds(at) && arrears.falls() <= at);
        fallen.map_or_else(|| self.subscribed_at(at), |arrears| &arrears.fallback)
    }

    pub(super) fn currency(&self) -> Currency {
        self.opened.currency
    }

    /// Since when a payment is overdue at an instant, if one is; never before the month that was open when it was told.
    #[must_use]
    pub fn overdue_since(&self, at: Timestamp) -> Option<Timestamp> {
        self.arrears.iter().find(|arrears| arrears.holds(at)).map(|arrears| arrears.since)
    }

    /// Whether a payment is overdue at an instant.
    #[must_use]
    pub fn is_past_due(&self, at: Timestamp) -> bool {
        self.arrears.iter().any(|arrears| arrears.holds(at))
    }

    /// Whether requests are served at all.
    #[must_use]
    pub fn status_at(&self, at: Timestamp) -> Status {
        self.suspended
            .iter()
            .rev()
            .find(|(from, _)| *from <= at)
            .map_or(Status::Active, |(_, status)| *status)
    }

    /// What the customer has set for overage; off until they turn it on.
    #[must_use]
    pub fn setting_at(&self, at: Timestamp) -> OverageSetting {
        let set = self.overage.iter().rev().find(|(from, _)| *from <= at);
        set.map_or(OverageSetting::Off, |(_, setting)| *setting)
    }

    /// Whether overage is served at an instant, and if not, why not.
    #[must_use]
    pub fn overage_at(&self, at: Timestamp) -> OverageState {
        let Some(rate) = self.terms_at(at).offered_rate() else { return OverageState::NotOffered };
        match self.setting_at(at) {
            OverageSetting::Off => OverageState::Off,
            OverageSetting::On { .. } if self.is_past_due(at) => OverageState::PastDue,
            OverageSetting::On { cap } => OverageState::On { rate: rate.clone(), cap },
        }
    }

    /// The quota of a period as of `now`: that of the largest plan in force so far (design §5).
    #[must_use]
    pub fn quota(&self, period: Period, now: Timestamp) -> Quota {
        let mut states = self.states(period, now).into_iter();
        let first = states.next().map_or_else(|| self.opened.clone(), |state| state.terms);
        let raised = self.raised.iter().filter(|(at, _)| at.period() == period && *at <= now);
        let raised = raised.fold(0_u32, |sum, (_, versions)| sum.saturating_add(*versions));
        let quota = states.fold(Quota { terms: first, version: 1 }, |quota, state| {
            if state.terms.included > quota.terms.included {
                Quota { terms: state.terms, version: quota.version.saturating_add(1) }
            } else {
                quota
            }
        });
        Quota { version: quota.version.saturating_add(raised), ..quota }
    }

    /// The largest overage allowed at any instant of a period so far.
    ///
    /// What was served beyond the lots was allowed when it was served (I1), so a cap that was lowered,
    /// a toggle turned off or a missed payment never turns it into something nobody pays for.
    #[must_use]
    pub fn ceiling(&self, period: Period, now: Timestamp) -> Ceiling {
        let states = self.states(period, now).into_iter().map(|state| state.overage);
        states.fold(Ceiling::Closed, |ceiling, state| match (ceiling, state) {
            (Ceiling::Open, _) | (_, OverageState::On { cap: None, .. }) => Ceiling::Open,
            (Ceiling::Capped(most), OverageState::On { cap: Some(cap), .. }) => {
                Ceiling::Capped(if cap.minor() > most.minor() { cap } else { most })
            }
            (Ceiling::Closed, OverageState::On { cap: Some(cap), .. }) => Ceiling::Capped(cap),
            (_, OverageState::NotOffered | OverageState::Off | OverageState::PastDue) => ceiling,
        })
    }

    /// What a period's overage and anchors cost: overage at the rate of the plan at its end, or of the
    /// last one in it that had a rate; anchors as the largest plan has them.
    #[must_use]
    pub fn prices(&self, period: Period, now: Timestamp) -> Prices {
        let states = self.states(period, now);
        let rate = states.iter().rev().find_map(|state| state.terms.offered_rate());
        let largest = self.quota(period, now).terms;
        Prices { rate: rate.cloned(), anchor: largest.anchor_price, currency: largest.currency }
    }

    /// The plan whose rate a period's overage has.
    #[must_use]
    pub fn rated_plan(&self, period: Period, now: Timestamp) -> Option<Plan> {
        let states = self.states(period, now);
        states.iter().rev().find(|state| state.terms.offered_rate().is_some()).map(|state| state.terms.plan)
    }

    /// Whether a contract was in force at any instant of a period: the month is then invoiced by the contract alone,
    /// whichever plan's quota was the largest in it.
    #[must_use]
    pub fn is_contracted(&self, period: Period) -> bool {
        self.states(period, period.end()).iter().any(|state| state.terms.plan == Plan::Enterprise)
    }

    /// The next instant after `now` at which something changes without a further entry; the policy
    /// must be compiled anew then.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.changes().range(now.plus_ms(1)..).next().copied()
    }

    /// Everything that was in force in a period up to `now`, in order.
    fn states(&self, period: Period, now: Timestamp) -> Vec<State> {
        let inside = |at: &Timestamp| *at > period.start() && *at < period.end() && *at <= now;
        let turns = std::iter::once(period.start()).chain(self.changes().into_iter().filter(inside));
        let mut states: Vec<State> = self
            .seen
            .iter()
            .filter(|state| inside(&state.at) || (state.at == period.start() && state.at <= now))
            .cloned()
            .collect();
        states.extend(turns.map(|at| self.state(at)));
        // The sort is stable: of one instant, what entries brought comes first, in their order.
        states.sort_by_key(|state| state.at);
        states
    }

    fn changes(&self) -> BTreeSet<Timestamp> {
        let plans = self.plans.iter().map(|(at, _)| *at);
        let settings = self.overage.iter().map(|(at, _)| *at);
        let arrears = self.arrears.iter().flat_map(|arrears| {
            let fall = Some(arrears.falls()).filter(|at| arrears.holds(*at));
            [Some(arrears.since), fall, arrears.until].into_iter().flatten()
        });
        plans.chain(settings).chain(arrears).collect()
    }
}
