//! Which limit stops a project first, and what happens then.

use schemars::JsonSchema;
use serde::Serialize;
use shared::time::Timestamp;
use shared::units::Units;

use crate::ledger::explain::NoOverage;

/// What a project may do, as far as it bears on which limit is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Whether the project serves nothing at present.
    pub suspended: bool,
    /// Units of this month.
    pub used: Units,
    /// What is left before requests are denied; `None` is without a limit.
    pub left: Option<Units>,
    /// What is beyond quota and lots.
    pub beyond: Beyond,
    /// Whether the month's units are those of a contract.
    pub contract: bool,
    /// Named agents of this month, and how many may be used in one.
    pub agents: (u64, Option<u32>),
    /// Units of the last minute, and how many may be used in one.
    pub rpm: (u64, u32),
    /// Whether packs are bought by themselves.
    pub tops_up: bool,
    /// When the month begins anew.
    pub resets_at: Timestamp,
}

/// What is beyond quota and lots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// Overage without an end.
    Open,
    /// Overage up to a cap.
    Capped,
    /// Nothing.
    Nothing(NoOverage),
}

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// The operator has suspended the project.
    Suspended,
    /// The month's quota and its lots.
    MonthlyQuota,
    /// The month's quota, its lots and overage up to its cap.
    OverageCap,
    /// The units of a contract.
    Contract,
    /// Agents that may be used in a month.
    Agents,
    /// Requests per minute.
    Rpm,
}

/// What changes what happens when a limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// Overage, on or off.
    AutoOverage,
    /// The most that overage may cost.
    OverageCap,
    /// A payment that is overdue.
    PayOverdue,
    /// Another plan.
    ChangePlan,
}

/// The limit that is reached first, as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LimitView {
    /// Which.
    pub binding: Binding,
    /// How much of it is used: units, agents, or units of the last minute.
    pub used: u64,
    /// Of how much.
    pub of: u64,
    /// The same in whole percent, rounded down.
    pub percent: u64,
    /// What happens at 100 percent, in a sentence.
    pub at_full: String,
    /// What changes that; `null` where only the operator can.
    pub switch: Option<Switch>,
}

/// The limit that is used most; where several are, the month's before the others. Without any there is none.
#[must_use]
pub fn limit(room: &Room) -> Option<LimitView> {
    if room.suspended {
        let at_full =
            "The project is suspended: every request is denied until the operator resumes it.".to_owned();
        return Some(LimitView {
            binding: Binding::Suspended,
            used: 0,
            of: 0,
            percent: 100,
            at_full,
            switch: None,
        });
    }
    let month = room.left.map(|left| {
        let of = room.used.saturating_add(left).get();
        (month(room), room.used.get(), of)
    });
    let agents = room.agents.1.map(|max| (Binding::Agents, room.agents.0, u64::from(max)));
    let rpm = Some((Binding::Rpm, room.rpm.0, u64::from(room.rpm.1)));
    let mut most: Option<(Binding, u64, u64)> = None;
    for candidate in [month, agents, rpm].into_iter().flatten() {
        if most.is_none_or(|most| is_fuller(candidate, most)) {
            most = Some(candidate);
        }
    }
    most.map(|(binding, used, of)| {
        let (at_full, switch) = at_full(binding, of, room);
        LimitView { binding, used, of, percent: percent(used, of), at_full, switch }
    })
}

fn month(room: &Room) -> Binding {
    match room.beyond {
        Beyond::Open | Beyond::Nothing(NoOverage::NotOffered | NoOverage::Off | NoOverage::PastDue) => {
            if room.contract { Binding::Contract } else { Binding::MonthlyQuota }
        }
        Beyond::Capped | Beyond::Nothing(NoOverage::CapReached) => Binding::OverageCap,
    }
}

/// Whether one part is larger than another: by products, so that nothing is rounded.
fn is_fuller((_, used, of): (Binding, u64, u64), (_, than, whole): (Binding, u64, u64)) -> bool {
    // Of nothing everything is used.
    let parts = |used: u64, of: u64| if of == 0 { (1, 1) } else { (u128::from(used), u128::from(of)) };
    let ((used, of), (than, whole)) = (parts(used, of), parts(than, whole));
    used.saturating_mul(whole) > than.saturating_mul(of)
}

/// Whole percent, rounded down; of nothing everything is used.
#[must_use]
pub fn percent(used: u64, of: u64) -> u64 {
    let whole = u128::from(used).saturating_mul(100).checked_div(u128::from(of)).unwrap_or(100);
    u64::try_from(whole).unwrap_or(u64::MAX)
}

fn at_full(binding: Binding, of: u64, room: &Room) -> (String, Option<Switch>) {
    let resets = room.resets_at;
    let denied = format!("At {of} units requests are denied until {resets}");
    match binding {
        Binding::Suspended => (String::new(), None),
        Binding::Agents => (
            format!("With {of} agents in use, another one is denied until {resets}; those in use go on."),
            Some(Switch::ChangePlan),
        ),
        Binding::Rpm => (
            format!("Beyond {of} requests in a minute, requests are denied until the minute is over."),
            Some(Switch::ChangePlan),
        ),
        Binding::OverageCap => (format!("{denied}, because overage has a cap."), Some(Switch::OverageCap)),
        Binding::MonthlyQuota | Binding::Contract => {
            let bought = if room.tops_up { ", unless a pack is bought by itself before" } else { "" };
            let (why, switch) = match room.beyond {
                Beyond::Nothing(NoOverage::Off) => ("; overage is off", Switch::AutoOverage),
                Beyond::Nothing(NoOverage::PastDue) => {
                    ("; there is no overage while a payment is overdue", Switch::PayOverdue)
                }
                Beyond::Nothing(NoOverage::NotOffered) => ("; the plan has no overage", Switch::ChangePlan),
                Beyond::Nothing(NoOverage::CapReached) | Beyond::Open | Beyond::Capped => {
                    ("", Switch::OverageCap)
                }
            };
            (format!("{denied}{bought}{why}."), Some(switch))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Beyond = Beyond::Nothing(NoOverage::Off);

    /// 5 of 10 units, 1 of 10 agents, 2 of 10 requests in the last minute.
    fn room() -> Room {
        Room {
            suspended: false,
            used: Units::new(5),
            left: Some(Units::new(5)),
            beyond: OFF,
            contract: false,
            agents: (1, Some(10)),
            rpm: (2, 10),
            tops_up: false,
            resets_at: Timestamp::parse("2026-12-01T00:00:00Z").unwrap(),
        }
    }

    #[test]
    fn the_limit_that_is_used_most_is_named() {
        use Binding::{Agents, Contract, MonthlyQuota, OverageCap, Rpm, Suspended};
        let usual = room();
        for (room, binding, used, of, percent, switch) in [
            (usual, MonthlyQuota, 5, 10, 50, Some(Switch::AutoOverage)),
            (Room { agents: (5, Some(10)), ..usual }, MonthlyQuota, 5, 10, 50, Some(Switch::AutoOverage)),
            (Room { agents: (6, Some(10)), ..usual }, Agents, 6, 10, 60, Some(Switch::ChangePlan)),
            (Room { rpm: (51, 100), ..usual }, Rpm, 51, 100, 51, Some(Switch::ChangePlan)),
            (Room { left: None, beyond: Beyond::Open, ..usual }, Rpm, 2, 10, 20, Some(Switch::ChangePlan)),
            (Room { beyond: Beyond::Capped, ..usual }, OverageCap, 5, 10, 50, Some(Switch::OverageCap)),
            (Room { contract: true, ..usual }, Contract, 5, 10, 50, Some(Switch::AutoOverage)),
            (
                Room { beyond: Beyond::Nothing(NoOverage::PastDue), ..usual },
                MonthlyQuota,
                5,
                10,
                50,
                Some(Switch::PayOverdue),
            ),
            (
                Room { used: Units::ZERO, left: Some(Units::ZERO), ..usual },
                MonthlyQuota,
                0,
                0,
                100,
                Some(Switch::AutoOverage),
            ),
            (Room { suspended: true, ..usual }, Suspended, 0, 0, 100, None),
            (Room { rpm: (u64::MAX, 1), ..usual }, Rpm, u64::MAX, 1, u64::MAX, Some(Switch::ChangePlan)),
        ] {
            let got = limit(&room).unwrap();
            assert_eq!(
                (got.binding, got.used, got.of, got.percent, got.switch),
                (binding, used, of, percent, switch),
                "{room:?}"
            );
            assert!(got.at_full.ends_with('.'), "{got:?}");
        }
    }

    #[test]
    fn what_happens_at_the_end_is_said_with_its_reason() {
        let says = |room: &Room| limit(room).unwrap().at_full;
        let until = "At 10 units requests are denied until 2026-12-01T00:00:00Z";
        for (beyond, tops_up, expected) in [
            (OFF, false, "; overage is off."),
            (OFF, true, ", unless a pack is bought by itself before; overage is off."),
            (Beyond::Nothing(NoOverage::NotOffered), false, "; the plan has no overage."),
            (Beyond::Nothing(NoOverage::PastDue), false, "; there is no overage while a payment is overdue."),
            (Beyond::Capped, false, ", because overage has a cap."),
        ] {
            assert_eq!(says(&Room { beyond, tops_up, ..room() }), format!("{until}{expected}"));
        }
    }

    #[test]
    fn parts_are_compared_without_rounding() {
        // 2/3 and 0.666 are the same in whole percent.
        let room =
            Room { used: Units::new(666), left: Some(Units::new(334)), agents: (2, Some(3)), ..room() };
        assert_eq!(limit(&room).unwrap().binding, Binding::Agents);
        assert_eq!((percent(2, 3), percent(0, 0), percent(199, 100)), (66, 100, 199));
    }
}
