//! A project as the books know it: its plan, and where its limits differ from the plan's.

use shared::ids::{KeyId, Mode, ProjectId};
use shared::plan::{Catalogue, Plan, Terms};
use shared::policy::Status;
use shared::time::Timestamp;
use shared::units::Units;

/// The most requests per minute that a project may be given: far above what one home can decide.
pub const RPM_MAX: u32 = 1_000_000;

/// The most keys a project may have that are not revoked: all of them travel in its policy.
pub const ACTIVE_KEYS_MAX: usize = 100;

/// The longest time that a key which was rotated out goes on being accepted: a week of work to replace it.
pub const OVERLAP_S_MAX: u64 = 7 * 86_400;

/// How long it is where nobody says so.
pub const OVERLAP_S: u64 = 86_400;

/// One project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its plan.
    pub plan: Plan,
    /// Requests per minute where they differ from the plan's.
    pub rpm_own: Option<u32>,
    /// Units a month where they differ from the plan's.
    pub included_own: Option<Units>,
    /// Whether it is served.
    pub status: Status,
    /// The version of the catalogue that its terms are of.
    pub catalogue: u32,
    /// Whether the customer asked for overage where the plan offers it.
    pub auto_overage: bool,
    /// The largest requests per minute it ever had, which bounds what is plausible.
    pub rpm_max: u32,
    /// Rises with every change that the edge must know.
    pub policy_version: u64,
    /// When it was made.
    pub created: Timestamp,
}

impl Project {
    /// Requests per minute in force.
    #[must_use]
    pub fn rpm(&self, terms: &Terms) -> u32 {
        self.rpm_own.unwrap_or(terms.rpm)
    }

    /// Units a month in force.
    #[must_use]
    pub fn included(&self, terms: &Terms) -> Units {
        self.included_own.unwrap_or(terms.included)
    }

    /// The project with `change` made, or `None` if nothing would differ. The version is the store's to raise.
    #[must_use]
    pub fn changed(&self, change: ProjectChange, catalogue: &Catalogue) -> Option<Self> {
        let mut next = Self {
            plan: change.plan.unwrap_or(self.plan),
            rpm_own: change.rpm.map_or(self.rpm_own, Setting::own),
            included_own: change.included.map_or(self.included_own, Setting::own),
            status: change.status.unwrap_or(self.status),
            ..self.clone()
        };
        if let Some(terms) = catalogue.terms(next.plan) {
            next.rpm_max = next.rpm_max.max(next.rpm(terms));
        }
        (next != *self).then_some(next)
    }
}

/// A limit that is the plan's or the project's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting<T> {
    /// As the plan says, also when the plan changes.
    Plan,
    /// As the operator says.
    Own(T),
}

impl<T> Setting<T> {
    /// The project's own value, if it has one.
    pub fn own(self) -> Option<T> {
        match self {
            Self::Plan => None,
            Self::Own(value) => Some(value),
        }
    }
}

/// What a new project begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProject {
    /// Its id.
    pub id: ProjectId,
    /// Its plan.
    pub plan: Plan,
    /// Requests per minute.
    pub rpm: Setting<u32>,
    /// Units a month.
    pub included: Setting<Units>,
}

/// What to change about a project; `None` leaves it as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProjectChange {
    /// The plan.
    pub plan: Option<Plan>,
    /// Requests per minute.
    pub rpm: Option<Setting<u32>>,
    /// Units a month.
    pub included: Option<Setting<Units>>,
    /// Whether it is served.
    pub status: Option<Status>,
}

/// One key of a project; its secret part is never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// Whether its units are billed.
    pub mode: Mode,
    /// When it was made.
    pub created: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// When it is revoked by itself, because another took its place.
    pub expires: Option<Timestamp>,
}
