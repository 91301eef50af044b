//! The home: the one authority over a project's units and permits, as a state machine without I/O.
//!
//! A shell loads the rows, calls one method, writes the rows that changed in one durable write, and
//! only then lets the answer out. The home must never answer from a state that is not yet handed
//! over for writing, and its clock never runs backwards.

mod account;
pub mod call;
pub(crate) mod contact;
pub(crate) mod crowd;
pub(crate) mod denial;
pub(crate) mod desk;
mod flush;
mod keys;
pub mod leases;
mod lives;
mod moves;
mod observed;
pub(crate) mod offer;
pub mod open_calls;
pub mod question;
pub(crate) mod rows;
pub mod storage;
mod turns;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::cell::{CellKey, Counts};
use crate::decision::{Ask, Denial, Numbers, Verdict};
use crate::denials::Denials;
use crate::ids::{AgentId, IdError, Incarnation, Mode, ProjectId};
use crate::lease::message::HolderId;
use crate::lease::progress::Progress;
use crate::policy::{Policy, Status};
use crate::source::{Beyond, Funds, Paid};
use crate::time::{Day, Period, Timestamp};
use crate::units::Units;
use crate::window::Window;

use account::Account;
use crowd::Crowd;
use desk::Desk;
use flush::Pace;
use keys::Pulls;
use moves::Ended;
use open_calls::{Limits, OpenCalls};
use rows::Writes;

pub use flush::{FLUSH_INTERVAL_MS, FlushRound, RETRY_MS_MAX};
pub use keys::KeysKnown;
pub use lives::{Outstanding, Standing};
pub use moves::MOVED;
pub use rows::{CorruptRow, Row};

/// Distinct agents of a project and day; further ones are counted as [`AgentId::OTHER`] (design §4).
pub const AGENTS_PER_DAY_MAX: usize = 1_000;

/// By flush, what was settled in each period when it was written, and what was out with silent holders.
type Flights = BTreeMap<u64, BTreeMap<Period, (Units, Units)>>;

/// Which home: each mode of a project has its own. Written `demo/live`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HomeName {
    /// The project.
    pub project: ProjectId,
    /// Whether its units are billed.
    pub mode: Mode,
}

impl HomeName {
    /// Reads `project/mode`.
    ///
    /// # Errors
    /// When either part is not what it should be.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let (project, mode) = text.split_once('/').unwrap_or((text, ""));
        Ok(Self { project: ProjectId::parse(project)?, mode: Mode::parse(mode)? })
    }
}

impl TryFrom<String> for HomeName {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<HomeName> for String {
    fn from(name: HomeName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for HomeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.mode)
    }
}

/// A cell and the flush in which its latest change travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct OpenCell {
    #[serde(flatten)]
    counts: Counts,
    #[serde(default, skip_serializing_if = "Denials::is_empty")]
    denials: Denials,
    epoch: u64,
}

impl OpenCell {
    fn new(epoch: u64) -> Self {
        Self { counts: Counts::default(), denials: Denials::NONE, epoch }
    }
}

/// What belongs to the home as a whole; written with every change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    name: HomeName,
    incarnation: Incarnation,
    clock: Timestamp,
    window: Window,
    /// The number that the next flush will carry.
    epoch: u64,
    /// The highest flush that the aggregator has made durable.
    acked: u64,
    /// Whether the aggregator knows this life and has said what earlier ones may have issued.
    /// Needed only where the storage can be rolled back.
    #[serde(default)]
    registered: bool,
    /// The term of the seat that this life was begun for; zero where the homes never moved.
    #[serde(default, skip_serializing_if = "moves::is_first")]
    term: u64,
    /// That this life has ended in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
}

/// A project's authority. See the module's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    meta: Meta,
    policy: Option<Policy>,
    accounts: BTreeMap<Period, Account>,
    cells: BTreeMap<CellKey, OpenCell>,
    desk: Desk,
    calls: OpenCalls,
    crowd: Crowd,
    pace: Pace,
    pulls: Pulls,
    /// What was settled, and out with silent holders, when each flush under way was written.
    flights: Flights,
    writes: Writes,
}

/// The home has no policy yet: the shell pulls one and asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the home has no policy yet")]
pub struct NoPolicy;

impl Home {
    /// A home that has stored nothing yet. Nothing will be stored until a policy is installed.
    #[must_use]
    pub fn new(name: HomeName, incarnation: Incarnation) -> Self {
        Self::of(Meta {
            name,
            incarnation,
            clock: Timestamp::default(),
            window: Window::default(),
            epoch: 1,
            acked: 0,
            registered: false,
            term: 0,
            ended: None,
        })
    }

    fn of(meta: Meta) -> Self {
        Self {
            meta,
            policy: None,
            accounts: BTreeMap::new(),
            cells: BTreeMap::new(),
            desk: Desk::default(),
            calls: OpenCalls::default(),
            crowd: Crowd::default(),
            pace: Pace::default(),
            pulls: Pulls::default(),
            flights: Flights::new(),
            writes: Writes::default(),
        }
    }

    /// Which home this is.
    #[must_use]
    pub fn name(&self) -> &HomeName {
        &self.meta.name
    }

    /// How far a holder is with this home; one that was never heard is nowhere.
    #[must_use]
    pub fn progress_of(&self, holder: HolderId) -> Progress {
        self.desk.progress(holder)
    }

    /// The version of the installed policy.
    #[must_use]
    pub fn policy_version(&self) -> Option<u64> {
        self.policy.as_ref().map(|policy| policy.version)
    }

    /// Installs a policy if it is newer: a higher version, or the same restated for a later period. Says whether it did.
    ///
    /// A policy of another project is never installed.
    pub fn install(&mut self, mut policy: Policy) -> bool {
        if self.meta.name.mode == Mode::Test {
            policy.allowance = policy.allowance.for_tests();
        }
        let rank = |policy: &Policy| (policy.version, policy.allowance.period);
        let newer = self.policy.as_ref().is_none_or(|installed| rank(&policy) > rank(installed));
        let installs = newer && policy.project == self.meta.name.project;
        if installs {
            self.write_policy(&policy);
            self.policy = Some(policy);
            self.forget_revoked();
            self.look_after_seat();
            self.write_meta();
        }
        installs
    }

    /// Decides one request, all or nothing, and counts it if it is allowed.
    ///
    /// # Errors
    /// [`NoPolicy`] until a policy is installed; nothing is changed then.
    pub fn decide(&mut self, now: Timestamp, ask: &Ask) -> Result<Verdict, NoPolicy> {
        self.decide_for(now, ask, None)
    }

    /// As [`Home::decide`], for a client of that holder: what the holder itself has does not contend.
    ///
    /// # Errors
    /// As [`Home::decide`].
    pub fn decide_for(
        &mut self,
        now: Timestamp,
        ask: &Ask,
        asking: Option<HolderId>,
    ) -> Result<Verdict, NoPolicy> {
        let now = self.tick(now);
        let policy = self.policy.as_ref().ok_or(NoPolicy)?;
        let denial = self.denial(now, policy, ask, asking);
        let mut paid = None;
        if denial.is_none() && !ask.dry_run {
            let limits = Limits::of(policy, ask);
            paid = Some(self.count(now, ask, limits, asking.filter(|_| ask.held)));
        }
        Ok(Verdict { paid, ..self.told(now, ask, denial, asking)? })
    }

    /// The verdict on what was denied, or allowed and counted.
    fn told(
        &mut self,
        now: Timestamp,
        ask: &Ask,
        denial: Option<Denial>,
        asking: Option<HolderId>,
    ) -> Result<Verdict, NoPolicy> {
        if denial.is_some_and(Denial::is_spent) && !ask.dry_run {
            self.note_exhausted(now, self.live_for(now.period(), ask, asking));
            self.write_account(now.period());
        }
        Ok(Verdict { denial, numbers: self.numbers(now)?, paid: None })
    }

    /// The project's numbers at `now`, counting nothing. What present holders have and did not report is left.
    ///
    /// # Errors
    /// [`NoPolicy`] until a policy is installed.
    pub fn numbers(&self, now: Timestamp) -> Result<Numbers, NoPolicy> {
        let policy = self.policy.as_ref().ok_or(NoPolicy)?;
        let now = self.meta.clock.max(now);
        let period = now.period();
        let used = self.used(period);
        let live = Units::new(self.live_at(now));
        let permits = u32::try_from(self.crowd.permits_in_stock(now)).unwrap_or(u32::MAX);
        let permits = self.meta.window.remaining(now, policy.rpm).saturating_add(permits);
        Ok(Numbers {
            now,
            period,
            plan: policy.plan,
            included: policy.allowance.included_in(period),
            allowance: self.allowance(policy, period),
            used,
            forfeited: self.net(period).saturating_sub(used).saturating_sub(live),
            rpm: policy.rpm,
            rpm_remaining: permits.min(policy.rpm),
            agents_max: policy.agents_max,
            upgrade_url: policy.upgrade_url.clone(),
        })
    }

    /// The home's clock: it never runs backwards, so neither minutes nor periods ever return (I9).
    fn tick(&mut self, now: Timestamp) -> Timestamp {
        self.meta.clock = self.meta.clock.max(now);
        self.crowd.forget(self.meta.clock);
        self.meta.clock
    }

    fn net(&self, period: Period) -> Units {
        self.accounts.get(&period).map_or(Units::ZERO, Account::net)
    }

    /// Units that were served, as far as is known here: what was reported, and what was decided here and not taken back.
    fn used(&self, period: Period) -> Units {
        let settled = self.accounts.get(&period).map_or(Units::ZERO, |account| account.settled);
        settled.saturating_add(self.calls.units_of(period))
    }

    fn allowance(&self, policy: &Policy, period: Period) -> Option<Units> {
        policy.allowance.allowance(period, self.beyond_before(policy, period))
    }

    /// What pays for the period's units before overage does.
    fn funds(&self, policy: &Policy, period: Period) -> Funds {
        policy.allowance.funds(period, self.beyond_before(policy, period))
    }

    /// Units beyond the included quota that months before have had, as far as the policy does not know of them.
    fn beyond_before(&self, policy: &Policy, period: Period) -> Units {
        let parts = &policy.allowance;
        self.accounts
            .range(parts.period..)
            .take_while(|(month, _)| **month < period)
            .map(|(month, account)| account.net().saturating_sub(parts.included_in(*month)))
            .fold(Units::ZERO, Units::saturating_add)
    }

    /// Issues units of the period, and says what of them is beyond the plan's.
    fn issue_units(&mut self, period: Period, units: Units) -> Beyond {
        let none = Funds { included: 0, lots: 0 };
        let funds = self.policy.as_ref().map_or(none, |policy| self.funds(policy, period));
        self.accounts.entry(period).or_default().issue(funds, units)
    }

    /// Why the request is denied. The quota is looked at before the minute, because a client that
    /// has no quota left gains nothing by waiting for the next minute.
    fn denial(&self, now: Timestamp, policy: &Policy, ask: &Ask, asking: Option<HolderId>) -> Option<Denial> {
        let period = now.period();
        let account = self.accounts.get(&period);
        let spent = |units: Units| self.net(period).checked_add(units);
        let fits = |allowance: Units| spent(Units::from(ask.cost)).is_some_and(|total| total <= allowance);
        if !policy.keys.contains(&ask.key) {
            Some(Denial::KeyRevoked)
        } else if policy.status == Status::Suspended {
            Some(Denial::Suspended)
        } else if policy.agents_max.is_some_and(|max| !account::admits(account, &ask.agent, max)) {
            Some(Denial::AgentLimit)
        } else if !self.agent_fits(policy, account, ask) {
            Some(Denial::AgentQuota)
        } else if !self.allowance(policy, period).is_none_or(fits) {
            Some(self.spent_denial(period, ask.cost, self.live_for(period, ask, asking)))
        } else if self.room(policy, period).is_some_and(|room| room < Units::from(ask.cost)) {
            Some(Denial::QuotaContended)
        } else if self.meta.window.remaining(now, policy.rpm) < ask.cost {
            Some(Denial::RateLimited)
        } else {
            None
        }
    }

    fn agent_fits(&self, policy: &Policy, account: Option<&Account>, ask: &Ask) -> bool {
        policy.leases.agents.get(&ask.agent).is_none_or(|limit| {
            let used = account.and_then(|account| account.agent_units.get(&ask.agent).copied());
            used.unwrap_or_default().saturating_add(Units::from(ask.cost)) <= *limit
        })
    }

    /// Counts an allowed request; one that is held goes out to its holder, which will report it. Says what pays for it.
    fn count(&mut self, now: Timestamp, ask: &Ask, limits: Limits, holder: Option<HolderId>) -> Paid {
        let (day, period, cost) = (now.day(), now.period(), Units::from(ask.cost));
        let beyond = self.charge(now, ask, limits);
        match holder {
            Some(holder) => {
                self.desk.issued_anew(holder, period, cost.get());
                self.desk.write_holder(holder, &mut self.writes);
            }
            None => {
                let key = CellKey { day, kind: ask.kind, agent: ask.agent.clone() };
                self.settle_cell(now, &key, cost);
            }
        }
        self.charged(now);
        beyond.of(cost.get())
    }

    /// Counts an allowed request against every limit, and says what of it is beyond the plan's units.
    fn charge(&mut self, now: Timestamp, ask: &Ask, limits: Limits) -> Beyond {
        let (period, cost) = (now.period(), Units::from(ask.cost));
        self.meta.window.issue(now, ask.cost);
        let beyond = self.issue_units(period, cost);
        let account = self.accounts.entry(period).or_default();
        if limits.agents && ask.agent.is_named() {
            account.agents.insert(ask.agent.clone());
        }
        if limits.units {
            let used = account.agent_units.entry(ask.agent.clone()).or_default();
            *used = used.saturating_add(cost);
        }
        beyond
    }

    /// Writes what that has changed.
    fn charged(&mut self, now: Timestamp) {
        self.write_account(now.period());
        self.write_meta();
        self.forget(now);
    }

    /// Adds units that were served for certain to their cell and their period's account.
    fn settle_cell(&mut self, now: Timestamp, key: &CellKey, units: Units) {
        let period = key.day.period();
        let account = self.accounts.entry(period).or_default();
        let before = account.settled;
        account.settled = before.saturating_add(units);
        let after = account.settled;
        let key = self.folded(key);
        let epoch = self.meta.epoch;
        let cell = self.cells.entry(key.clone()).or_insert_with(|| OpenCell::new(epoch));
        cell.counts.units = cell.counts.units.saturating_add(units);
        cell.epoch = epoch;
        let crosses = self
            .policy
            .as_ref()
            .is_some_and(|policy| account::crosses(before, after, policy.allowance.included_in(period)));
        self.pace.counted(now, crosses);
        self.write_cell(&key);
    }

    /// The cell that units of that one are counted in.
    fn folded(&self, key: &CellKey) -> CellKey {
        // Who is counted already needs no look at all others.
        if self.cells.contains_key(key) {
            return key.clone();
        }
        CellKey { agent: self.fold(key.day, &key.agent), ..key.clone() }
    }

    /// The agent that a unit is counted for: beyond the day's limit all new ones are one.
    fn fold(&self, day: Day, agent: &AgentId) -> AgentId {
        self.fold_beyond(AGENTS_PER_DAY_MAX, day, agent)
    }

    /// The same under another limit.
    fn fold_beyond(&self, agents_max: usize, day: Day, agent: &AgentId) -> AgentId {
        let of_day = || self.cells.keys().filter(|key| key.day == day);
        if !agent.is_named() || self.cells.len() < agents_max || of_day().any(|key| key.agent == *agent) {
            return agent.clone();
        }
        let named: BTreeSet<_> = of_day().map(|key| &key.agent).filter(|agent| agent.is_named()).collect();
        if named.len() < agents_max { agent.clone() } else { AgentId::other() }
    }
}

#[cfg(test)]
mod call_tests;
#[cfg(test)]
mod contention_tests;
#[cfg(test)]
mod lease_tests;
#[cfg(test)]
mod loss_tests;
#[cfg(test)]
mod move_tests;
#[cfg(test)]
mod on_the_way_tests;
#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod tests;
