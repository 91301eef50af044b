//! A project as the books know it: its plan, and where its limits differ from the plan's.

use shared::ids::{KeyId, Mode, ProjectId};
use shared::plan::{Catalogue, Plan};
use shared::policy::Status;
use shared::time::Timestamp;
use shared::units::Units;

use crate::ledger::crossing::Levels;
use crate::ledger::state::Ledger;
use crate::ledger::terms::Limits;
use crate::projects::stay::Stay;

/// The most requests per minute that a project may be given: far above what one home can decide.
pub const RPM_MAX: u32 = Catalogue::RPM_MAX;

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
    /// At which percentages of the quota it is told, where they differ from the plan's.
    pub levels_own: Option<Levels>,
    /// Whether the customer asked for overage where the plan offers it.
    pub auto_overage: bool,
    /// The largest requests per minute it ever had, which bounds what is plausible.
    pub rpm_max: u32,
    /// Rises with every change that the edge must know.
    pub policy_version: u64,
    /// Where its homes are; `None` where they never moved.
    pub homes: Option<Stay>,
    /// When it was made.
    pub created: Timestamp,
}

impl Project {
    /// Requests per minute in force.
    #[must_use]
    pub fn rpm(&self, limits: &Limits) -> u32 {
        self.rpm_own.unwrap_or(limits.rpm)
    }

    /// The levels in force, in percent of the quota.
    #[must_use]
    pub fn levels<'a>(&'a self, limits: &'a Limits) -> &'a Levels {
        self.levels_own.as_ref().unwrap_or(&limits.levels)
    }

    /// The project with `change` made. The version is the store's to raise, what a plan gives the ledger's to say.
    #[must_use]
    pub fn changed(&self, change: &ProjectChange) -> Self {
        Self {
            plan: change.plan.unwrap_or(self.plan),
            rpm_own: change.rpm.map_or(self.rpm_own, Setting::own),
            included_own: change.included.map_or(self.included_own, Setting::own),
            status: change.status.unwrap_or(self.status),
            levels_own: change.levels.clone().map_or_else(|| self.levels_own.clone(), Setting::own),
            ..self.clone()
        }
    }

    /// The project with what follows from its ledger: the plan it has subscribed to, of which catalogue, and the
    /// largest requests per minute it may have had.
    #[must_use]
    pub fn following(self, ledger: &Ledger, now: Timestamp) -> Self {
        let (subscribed, in_force) = (ledger.timeline().subscribed_at(now), ledger.timeline().terms_at(now));
        let rpm_max = self.rpm_max.max(self.rpm(&subscribed.limits)).max(self.rpm(&in_force.limits));
        Self { plan: subscribed.plan, catalogue: subscribed.catalogue, rpm_max, ..self }
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectChange {
    /// The plan.
    pub plan: Option<Plan>,
    /// Requests per minute.
    pub rpm: Option<Setting<u32>>,
    /// Units a month.
    pub included: Option<Setting<Units>>,
    /// Whether it is served.
    pub status: Option<Status>,
    /// At which percentages of the quota it is told.
    pub levels: Option<Setting<Levels>>,
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
