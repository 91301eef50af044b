//! A project's book: its row, its ledger and the sums of its cells, and what a change to it writes.
//!
//! Pure: the store reads a book, asks what is to be written, and writes it in the same transaction.

use std::collections::{BTreeMap, BTreeSet};

use shared::plan::{Catalogue, Plan};
use shared::policy::Status;
use shared::time::{Period, Timestamp};
use shared::units::Units;

use crate::ledger::close::{self, Final};
use crate::ledger::crossing::{Crossing, Position, crossings};
use crate::ledger::entry::{EntryNumber, OverageSetting, Posting, Usage};
use crate::ledger::explain::{Standing, standing};
use crate::ledger::lots;
use crate::ledger::month::Seen;
use crate::ledger::plan;
use crate::ledger::refusal::Refusal;
use crate::ledger::state::Ledger;
use crate::ledger::terms::PlanTerms;
use crate::projects::project::{Project, ProjectChange};

/// How far a home's clock may be ahead of ours: a month that begins later has denied nobody yet.
const MS_AHEAD_MAX: u64 = 24 * 60 * 60 * 1_000;

/// Why an operator's suspension is in the ledger.
const BY_OPERATOR: &str = "by the operator";

/// One project as the books have it, all from one state of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    /// The project's row.
    pub project: Project,
    /// Its ledger.
    pub ledger: Ledger,
    /// The sums of its live cells.
    pub totals: BTreeMap<Period, Usage>,
    /// The crossings that have fired.
    pub fired: BTreeSet<Crossing>,
}

/// A crossing that is due, and what was seen when it became so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crossed {
    /// Which.
    pub crossing: Crossing,
    /// The quota that it is a percentage of.
    pub quota: Units,
    /// The units that reached it.
    pub used: Units,
}

impl Book {
    /// What is known beside the entries.
    #[must_use]
    pub fn seen(&self, now: Timestamp) -> Seen<'_> {
        Seen { totals: &self.totals, now }
    }

    /// Writes postings behind the last entry.
    ///
    /// # Errors
    /// When the ledger refuses them.
    pub fn append(mut self, now: Timestamp, postings: Vec<Posting>) -> Result<Self, Refusal> {
        self.ledger = self.ledger.append(now, postings)?;
        Ok(self)
    }

    /// What every write ends with: a lot whose price went back gives up what it has left.
    ///
    /// # Errors
    /// When an amount is too large.
    pub fn settled(mut self, now: Timestamp) -> Result<Self, Refusal> {
        self.ledger = lots::reclaim(self.ledger, Seen { totals: &self.totals, now })?;
        Ok(self)
    }

    /// Where the project stands, by what is enforced.
    ///
    /// # Errors
    /// When an amount is too large.
    pub fn standing(&self, now: Timestamp) -> Result<Standing, Refusal> {
        standing(&self.ledger, self.seen(now), self.project.included_own)
    }

    /// The crossings of an open period that are due and have not fired, in rising order. `denied` is the
    /// quota under which a home denied a request in it, if it did.
    #[must_use]
    pub fn due(&self, period: Period, denied: Option<Units>, now: Timestamp) -> Vec<Crossed> {
        // Units from before the project's first period belong to no quota; later cells of a closed one
        // are an adjustment, and nobody is warned of a month that is over and billed.
        if period < self.ledger.first_open() {
            return vec![];
        }
        let timeline = self.ledger.timeline();
        let quota = timeline.quota(period, now);
        let used = self.seen(now).usage(period).units;
        let enforced = self.project.included_own.unwrap_or(quota.included());
        // Percentages are of what is enforced; a limit of now was not that of a month that is over.
        let counts = if period < now.period() { quota.included() } else { enforced };
        // A denial under less than what is enforced now was one of the quota before its rise.
        let begun = period <= now.plus_ms(MS_AHEAD_MAX).period();
        let denied = begun && denied.is_some_and(|under| under >= enforced);
        let at = Position { period, quota_version: quota.version, quota: counts, used, denied };
        let crossed = |crossing| Crossed { crossing, quota: at.quota, used };
        crossings(at, self.project.levels(&timeline.terms_at(now).limits), &self.fired)
            .into_iter()
            .map(crossed)
            .collect()
    }

    /// Takes in cells of a closed period as a numbered adjustment; nothing where it is open.
    ///
    /// # Errors
    /// When the ledger refuses it.
    pub fn adjusted(self, period: Period, now: Timestamp) -> Result<Self, Refusal> {
        if self.ledger.closed(period).is_none() {
            return Ok(self);
        }
        let postings = close::adjust(&self.ledger, self.seen(now), period)?;
        self.append(now, postings)
    }

    /// Closes every period that is due by the clock alone, the oldest first.
    ///
    /// # Errors
    /// When the ledger refuses it.
    pub fn closed(mut self, now: Timestamp) -> Result<Self, Refusal> {
        loop {
            let period = self.ledger.first_open();
            if now < close::closes_by(period) {
                return Ok(self);
            }
            let postings = close::close(&self.ledger, self.seen(now), period, Final::default())?;
            self = self.append(now, postings)?;
        }
    }

    /// Makes a change: to the row, and to plan and standing by entries. `catalogue` is the one whose terms a
    /// change of plan or of the project's own quota takes.
    ///
    /// # Errors
    /// When the ledger refuses it.
    pub fn changed(
        self,
        change: &ProjectChange,
        catalogue: &Catalogue,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let before = self.project.clone();
        let mut book = Self { project: before.changed(change), ..self };
        if change.plan.is_some() || before.included_own != book.project.included_own {
            let terms = book.terms(catalogue, book.project.plan)?;
            let postings = plan::change(&book.ledger, now, terms, None)?;
            book = book.append(now, postings)?;
        }
        if before.status != book.project.status {
            let postings = status(book.project.status);
            book = book.append(now, postings)?;
        }
        Ok(book.following(now))
    }

    /// What brings every present and planned term to another version of the catalogue. Contracts keep what was agreed
    /// and take the limits beside it.
    ///
    /// # Errors
    /// When the catalogue lacks a plan or is in another currency.
    pub fn migration(&self, catalogue: &Catalogue, now: Timestamp) -> Result<Vec<Posting>, Refusal> {
        let of = |old: &PlanTerms| {
            let new = self.terms(catalogue, old.plan)?;
            Ok(match old.plan {
                Plan::Enterprise => PlanTerms { catalogue: new.catalogue, limits: new.limits, ..old.clone() },
                Plan::Community | Plan::Pro | Plan::Business => new,
            })
        };
        plan::migrate(&self.ledger, now, of)
    }

    /// A plan's terms in a catalogue, with the project's own quota where it has one.
    ///
    /// # Errors
    /// When the catalogue lacks the plan.
    pub fn terms(&self, catalogue: &Catalogue, plan: Plan) -> Result<PlanTerms, Refusal> {
        terms(catalogue, plan, self.project.included_own)
    }

    /// The book without the project's own quota where a larger plan that was paid for gives more: an
    /// operator's limit on what was free must not withhold what is paid. A larger own quota stays.
    ///
    /// # Errors
    /// When the catalogue lacks the plan.
    pub fn freed_by_upgrade(mut self, catalogue: &Catalogue, from: Plan, to: Plan) -> Result<Self, Refusal> {
        let gives = PlanTerms::of(catalogue, to)?.included;
        if to > from && self.project.included_own.is_some_and(|own| own < gives) {
            self.project.included_own = None;
        }
        Ok(self)
    }

    /// The book with its row as the ledger says.
    #[must_use]
    pub fn following(mut self, now: Timestamp) -> Self {
        self.project = self.project.following(&self.ledger, now);
        self
    }

    /// The number that the next entry gets.
    #[must_use]
    pub fn next_number(&self) -> EntryNumber {
        self.ledger.next_number()
    }
}

/// The ledger that a project begins with.
///
/// # Errors
/// When the catalogue lacks the plan.
pub fn opening(project: &Project, catalogue: &Catalogue) -> Result<Ledger, Refusal> {
    let at = project.created;
    let ledger = Ledger::open(at, terms(catalogue, project.plan, project.included_own)?)?;
    let overage = if project.auto_overage { OverageSetting::On { cap: None } } else { OverageSetting::Off };
    let postings = plan::set_overage(&ledger, at, overage)?;
    let ledger = ledger.append(at, postings)?;
    match project.status {
        Status::Active => Ok(ledger),
        Status::Suspended => ledger.append(at, status(Status::Suspended)),
    }
}

/// The plan's terms, with the project's own quota where it has one.
fn terms(catalogue: &Catalogue, plan: Plan, included_own: Option<Units>) -> Result<PlanTerms, Refusal> {
    let terms = PlanTerms::of(catalogue, plan)?;
    Ok(PlanTerms { included: included_own.unwrap_or(terms.included), ..terms })
}

fn status(status: Status) -> Vec<Posting> {
    match status {
        Status::Active => plan::resume(),
        Status::Suspended => plan::suspend(BY_OPERATOR.to_owned()),
    }
}
