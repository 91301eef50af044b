//! The aggregator of a run: the product's own ledger, in a process that the simulator cuts and crashes.
//!
//! Cells are merged, months allocated, crossings decided and policies compiled by the product's code. A run may
//! have the product's store beside it, which must come to the same after every flush. The auditor, which
//! judges, uses none of it.

use std::collections::{BTreeMap, BTreeSet};

use ::aggregator::ledger::audit::audit;
use ::aggregator::ledger::cells::{Batch, Cells};
use ::aggregator::ledger::close::closes_by;
use ::aggregator::ledger::crossing::Crossing;
use ::aggregator::ledger::entry::{Fact, OverageSetting, Posting};
use ::aggregator::ledger::lots;
use ::aggregator::ledger::money::Money;
use ::aggregator::ledger::month::month;
use ::aggregator::ledger::plan;
use ::aggregator::ledger::refusal::Refusal;
use ::aggregator::ledger::state::Ledger;
use ::aggregator::ledger::terms::PlanTerms;
use ::aggregator::projects::book::{Book, opening};
use ::aggregator::projects::policy::Basis;
use ::aggregator::projects::project::{Project, ProjectChange, Setting};
use shared::cell::{Cell, CellKey};
use shared::denials::Denials;
use shared::ids::{AgentId, Incarnation, KeyId};
use shared::plan::{Catalogue, Plan};
use shared::policy::{LeaseRules, Overage, Policy, Status};
use shared::time::{Period, Timestamp};
use shared::units::Units;
use shared::window::Window;
use shared::wire::{Flush, Merged};

use crate::audit::Auditor;
use crate::bugs::ShellBug;
use crate::shadow::Shadow;

/// Far above what any run counts in a day; what is implausible is not what runs are about.
const RPM_PLAUSIBLE: u32 = 1_000_000;

/// Overage costs one minor unit a unit, so that amounts and units can be compared.
const RATE_PER_1000: u64 = 1_000;

/// What is stored.
#[derive(Debug, Clone)]
struct Stored {
    book: Book,
    cells: Cells,
    watermarks: BTreeMap<String, u64>,
    lives: BTreeSet<String>,
    /// By life and period: what the flush of that number has told to be stranded.
    stranded: BTreeMap<(String, Period), (u64, Units)>,
    /// By life: what the flush of that number has told of permits.
    windows: BTreeMap<String, (u64, Window)>,
}

/// The aggregator.
#[derive(Debug)]
pub struct Aggregator {
    stored: Stored,
    catalogue: Catalogue,
    basis: Basis,
    keys: Vec<KeyId>,
    bug: Option<ShellBug>,
    volatile: BTreeSet<Crossing>,
    shadow: Option<Shadow>,
    /// The policy that homes are to have.
    pub policy: Policy,
    /// Since when which policy was the newest, the oldest first; homes need not have had each.
    given: Vec<(Timestamp, Policy)>,
    /// Crossings told to the customer, in order: the period, the version of its quota, and the percentage.
    pub told: Vec<(Period, u32, u8)>,
}

/// What a flush is answered.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// Of which life.
    pub life: Incarnation,
    /// The flush it answers.
    pub seq: u64,
    /// The highest flush of that life that is stored.
    pub watermark: u64,
    /// What is merged.
    pub merged: Vec<Merged>,
    /// The policy.
    pub policy: Policy,
}

impl Aggregator {
    /// An aggregator whose ledger gives that policy at `now`.
    #[must_use]
    pub fn new(policy: Policy, now: Timestamp, bug: Option<ShellBug>) -> Self {
        let catalogue = catalogue(&policy);
        let book = book(&policy, &catalogue, now).unwrap_or_else(|refusal| unreachable!("{refusal}"));
        let basis = Basis::new(policy.upgrade_url.clone(), policy.leases.clone());
        let stored = Stored {
            book,
            cells: Cells::default(),
            watermarks: BTreeMap::new(),
            lives: BTreeSet::new(),
            stranded: BTreeMap::new(),
            windows: BTreeMap::new(),
        };
        let keys = policy.keys.clone();
        let (volatile, told) = (BTreeSet::new(), Vec::new());
        let given = Vec::new();
        let mut new =
            Self { stored, catalogue, basis, keys, bug, volatile, shadow: None, policy, given, told };
        let wanted = new.policy.clone();
        new.compile(now);
        assert_eq!(new.policy, Policy { plan: Plan::Business, ..wanted }, "the ledger gives another policy");
        new
    }

    /// Has the product's store run beside, which must come to the same.
    pub fn shadow(&mut self) {
        self.shadow = Some(Shadow::new(&self.stored.book, &self.catalogue, &self.basis));
    }

    fn compile(&mut self, now: Timestamp) {
        let Book { project, ledger, .. } = &self.stored.book;
        self.policy = self.basis.compile(project, ledger, self.keys.clone(), now);
        if self.given.last().is_none_or(|(_, last)| last.version != self.policy.version) {
            self.given.push((now, self.policy.clone()));
        }
    }

    /// Every policy so far, the newest among them.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.given.iter().map(|(_, policy)| policy).chain([&self.policy])
    }

    /// The newest version of the policy at an instant.
    fn version_at(&self, at: Timestamp) -> u64 {
        let known = self.given.iter().rev().find(|(since, _)| *since <= at);
        known.or(self.given.first()).map_or(0, |(_, policy)| policy.version)
    }

    /// Merges a flush. `cut`: the process dies before the store is written.
    ///
    /// # Errors
    /// When the store that runs beside comes to something else.
    pub fn ingest(
        &mut self,
        flush: &Flush,
        periods: &[Period],
        now: Timestamp,
        cut: bool,
    ) -> Result<Option<Receipt>, String> {
        let life = flush.incarnation.as_str().to_owned();
        let before = self.stored.clone();
        self.merge(flush);
        self.stored.lives.insert(life.clone());
        for told in &flush.stranded {
            let known = self.stored.stranded.entry((life.clone(), told.period)).or_default();
            if flush.seq >= known.0 {
                *known = (flush.seq, told.units);
            }
        }
        if let Some(window) = flush.window {
            let known = self.stored.windows.entry(life.clone()).or_default();
            if flush.seq >= known.0 {
                *known = (flush.seq, window);
            }
        }
        let watermark = self.stored.watermarks.entry(life).or_insert(0);
        *watermark = flush.seq.max(*watermark);
        let told = self.cross(flush, now);
        self.compile(now);
        let receipt = self.receipt(flush, periods);
        if cut {
            self.stored = before;
            self.volatile.clear();
            return Ok((self.bug == Some(ShellBug::AckBeforePersist)).then_some(receipt));
        }
        self.told.extend(told);
        if let Some(shadow) = &self.shadow {
            shadow.merge(flush, now, &self.stored.book)?;
        }
        Ok(Some(receipt))
    }

    fn merge(&mut self, flush: &Flush) {
        let cells = flush.cells.iter().map(|cell| self.as_merged(flush, cell)).collect();
        let (mode, source) = (flush.mode, flush.source.clone());
        let batch = Batch { mode, source, incarnation: flush.incarnation.clone(), cells };
        let cells = std::mem::take(&mut self.stored.cells);
        let cells = if self.bug == Some(ShellBug::LastWriteWins) { without(&cells, &batch) } else { cells };
        self.stored.cells = cells.merge(&batch, RPM_PLAUSIBLE);
        self.stored.book.totals = self.stored.cells.totals().unwrap_or_default();
    }

    /// A cell as it goes into the merge; one planted bug adds where it should take the larger.
    fn as_merged(&self, flush: &Flush, cell: &Cell) -> Cell {
        let mut cell = cell.clone();
        if self.bug == Some(ShellBug::DeltaMerge) {
            let same = |key: &CellKey, life: &Incarnation| *key == cell.key && *life == flush.incarnation;
            let stored = self.stored.cells.rows().find(|(_, life, key, _)| same(key, life));
            let stored = stored.map_or(Units::ZERO, |(_, _, _, counts)| counts.units);
            cell.counts.units = cell.counts.units.saturating_add(stored);
        }
        cell
    }

    /// The crossings that this flush makes: 80 before 100, each once.
    fn cross(&mut self, flush: &Flush, now: Timestamp) -> Vec<(Period, u32, u8)> {
        let mut looks: BTreeMap<Period, Option<Units>> =
            flush.cells.iter().map(|cell| (cell.key.day.period(), None)).collect();
        for denied in &flush.denied {
            let under = looks.entry(denied.period).or_default();
            *under = (*under).max(Some(denied.quota));
        }
        let forgets = self.bug == Some(ShellBug::VolatileCrossings);
        if forgets {
            self.stored.book.fired = self.volatile.clone();
        }
        let mut told = Vec::new();
        for (period, denied) in looks {
            for crossed in self.stored.book.due(period, denied, now) {
                let Crossing { period, quota_version, percent } = crossed.crossing;
                self.stored.book.fired.insert(crossed.crossing);
                told.push((period, quota_version, percent));
            }
        }
        if forgets {
            self.volatile = std::mem::take(&mut self.stored.book.fired);
        }
        told
    }

    /// The process dies; what was stored stays.
    pub fn crash(&mut self) {
        self.volatile.clear();
        if let Some(shadow) = &mut self.shadow {
            shadow.crash();
        }
    }

    fn receipt(&self, flush: &Flush, periods: &[Period]) -> Receipt {
        let life = flush.incarnation.as_str();
        let lives = self.stored.lives.iter().filter(|other| other.as_str() != life).count();
        let merged = periods
            .iter()
            .map(|period| Merged {
                period: *period,
                units: Units::new(self.billed(*period)),
                lives: u32::try_from(lives).unwrap_or(u32::MAX),
                stranded: self.stranded(life, *period),
                agents: self.limited_agents(*period).into_iter().collect(),
                window: self.told_window(life),
                recent: Some(u32::try_from(lives).unwrap_or(u32::MAX)),
            })
            .collect();
        Receipt {
            life: flush.incarnation.clone(),
            seq: flush.seq,
            watermark: self.stored.watermarks.get(life).copied().unwrap_or(0),
            merged,
            policy: self.policy.clone(),
        }
    }

    /// What lives other than this one have told to be stranded.
    fn stranded(&self, life: &str, period: Period) -> Units {
        let of = |(told, (_, units)): (&(String, Period), &(u64, Units))| {
            (told.0 != life && told.1 == period).then_some(*units)
        };
        self.stored.stranded.iter().filter_map(of).fold(Units::ZERO, Units::saturating_add)
    }

    /// The most permits that lives other than this one have told.
    fn told_window(&self, life: &str) -> Option<Window> {
        let others = self.stored.windows.iter().filter(|(told, _)| told.as_str() != life);
        others.map(|(_, (_, window))| *window).reduce(Window::most)
    }

    fn limited_agents(&self, period: Period) -> BTreeMap<AgentId, Units> {
        let mut agents: BTreeMap<AgentId, Units> =
            self.policy.leases.agents.keys().map(|agent| (agent.clone(), Units::ZERO)).collect();
        for (_, _, key, counts) in self.stored.cells.rows() {
            let limited = agents.contains_key(&key.agent);
            if key.day.period() == period && (limited || key.agent.is_named()) {
                let sum = agents.entry(key.agent.clone()).or_default();
                *sum = sum.saturating_add(counts.units);
            }
        }
        agents
    }

    /// Units billed in a period.
    #[must_use]
    pub fn billed(&self, period: Period) -> u64 {
        self.stored.book.totals.get(&period).map_or(0, |usage| usage.units.get())
    }

    /// Units billed of every cell, all lives together.
    #[must_use]
    pub fn cells(&self) -> BTreeMap<CellKey, u64> {
        let mut all = BTreeMap::new();
        for (_, _, key, counts) in self.stored.cells.rows() {
            *all.entry(key.clone()).or_insert(0) += counts.units.get();
        }
        all
    }
}

/// What operators and customers do.
impl Aggregator {
    /// Gives units beyond the plan.
    pub fn credit(&mut self, now: Timestamp, units: Units) {
        self.post(now, |book| lots::credit(&book.ledger, units, "a run".to_owned()));
    }

    /// Sets the project's own quota, also below what is used.
    pub fn set_included(&mut self, now: Timestamp, units: Units) {
        self.change(now, ProjectChange { included: Some(Setting::Own(units)), ..ProjectChange::default() });
    }

    /// Sets the requests per minute.
    pub fn set_rpm(&mut self, now: Timestamp, rpm: u32) {
        self.change(now, ProjectChange { rpm: Some(Setting::Own(rpm)), ..ProjectChange::default() });
    }

    /// Suspends the project, or resumes it.
    pub fn set_status(&mut self, now: Timestamp, status: Status) {
        self.change(now, ProjectChange { status: Some(status), ..ProjectChange::default() });
    }

    /// Sets the keys that are not revoked.
    pub fn set_keys(&mut self, now: Timestamp, keys: Vec<KeyId>) {
        self.keys = keys;
        self.stored.book.project.policy_version += 1;
        if let Some(shadow) = &self.shadow {
            shadow.make_key(now);
        }
        self.compile(now);
    }

    /// Enlarges the quota from now on, and keeps what was planned for next month.
    pub fn raise(&mut self, now: Timestamp, more: Units) {
        self.post(now, |book| {
            let (present, planned) = (present(book, now), planned(book, now));
            let included = present.included.saturating_add(more);
            let mut postings = vec![changed(PlanTerms { included, ..present }, now)];
            postings.extend(planned.map(|(at, terms)| changed(terms, at)));
            Ok(postings)
        });
    }

    /// Enlarges the quota of the next month.
    pub fn raise_next(&mut self, now: Timestamp, more: Units) {
        self.post(now, |book| {
            let terms = planned(book, now).map_or_else(|| present(book, now), |(_, terms)| terms);
            let included = terms.included.saturating_add(more);
            Ok(vec![changed(PlanTerms { included, ..terms }, now.period().end())])
        });
    }

    /// Sets what happens beyond quota and lots.
    pub fn set_overage(&mut self, now: Timestamp, overage: Overage) {
        self.post(now, |book| plan::set_overage(&book.ledger, now, setting(overage, &book.ledger)));
    }

    /// Sets among how many sub-homes isolates spread.
    pub fn set_sub_homes(&mut self, now: Timestamp, count: u32) {
        self.rebase(now, |leases| leases.sub_homes = count);
    }

    /// Sets how many units a period one agent has.
    pub fn set_agent_limit(&mut self, now: Timestamp, agent: &AgentId, units: Units) {
        self.rebase(now, |leases| {
            leases.agents.insert(agent.clone(), units);
        });
    }

    fn rebase(&mut self, now: Timestamp, change: impl FnOnce(&mut LeaseRules)) {
        let before = self.basis.fingerprint();
        change(&mut self.basis.leases);
        if self.basis.fingerprint() != before {
            self.stored.book.project.policy_version += 1;
        }
        if let Some(shadow) = &self.shadow {
            shadow.rebase(&self.basis, now);
        }
        self.compile(now);
    }

    fn post(&mut self, now: Timestamp, decide: impl Fn(&Book) -> Result<Vec<Posting>, Refusal>) {
        let book = written(self.stored.book.clone(), now, &decide);
        let mut book = book.unwrap_or_else(|refusal| unreachable!("{refusal}"));
        self.note_due(&mut book, now);
        self.stored.book = book;
        if let Some(shadow) = &self.shadow {
            shadow.post(now, decide);
        }
        self.compile(now);
    }

    fn change(&mut self, now: Timestamp, change: ProjectChange) {
        let before = self.stored.book.clone();
        let book = before.clone().changed(&change, &self.catalogue, now).and_then(|book| book.settled(now));
        let mut book = book.unwrap_or_else(|refusal| unreachable!("{refusal}"));
        if book.project != before.project || book.next_number() != before.next_number() {
            book.project.policy_version += 1;
            self.note_due(&mut book, now);
        }
        self.stored.book = book;
        if let Some(shadow) = &self.shadow {
            shadow.change(now, change);
        }
        self.compile(now);
    }

    /// Notes the crossings that a larger quota made due.
    fn note_due(&mut self, book: &mut Book, now: Timestamp) {
        for crossed in book.due(now.period(), None, now) {
            let Crossing { period, quota_version, percent } = crossed.crossing;
            book.fired.insert(crossed.crossing);
            self.told.push((period, quota_version, percent));
        }
    }

    /// Closes every month of the run, and checks what they come to.
    ///
    /// Units that nothing pays may be there only where the home could not know better: it began the month with a
    /// policy older than the newest, because a cut was under way to it, or it served from reserves.
    ///
    /// # Errors
    /// Says which figure is not what the cells give.
    pub fn close(&mut self, periods: &[Period], auditor: &Auditor) -> Result<(), String> {
        let last = periods.iter().copied().max().ok_or("a run without months")?;
        let now = closes_by(last);
        let text = |refusal: Refusal| format!("I12: {refusal}");
        let book = self.stored.book.clone().closed(now).map_err(text)?;
        let findings = audit(book.ledger.entries(), book.ledger.balances(), &book.totals);
        if !findings.is_empty() {
            return Err(format!("I12: {findings:?}"));
        }
        for period in periods {
            let figures = month(&book.ledger, book.seen(now), *period).map_err(text)?;
            let (paid, billed) = (figures.allocation, self.billed(*period));
            let sum = paid.included.get() + paid.of_lots().get() + paid.overage.get() + paid.uncovered.get();
            if figures.provisional || sum != billed || paid.included > figures.quota {
                return Err(format!("I12: {billed} units of {period} are allocated as {paid:?}"));
            }
            let price = figures.bill.total(book.ledger.currency()).map_err(text)?.minor();
            if figures.bill.lines.len() > 1 || price != i128::from(paid.overage.get()) {
                return Err(format!("I7: {} units of overage in {period} cost {price}", paid.overage));
            }
            let knew = auditor.version_at(period.start()) >= self.version_at(period.start());
            if knew && !auditor.rolled_back && paid.uncovered.get() > auditor.reserved(*period) {
                return Err(format!("I1: {} units of {period} were served and nothing pays", paid.uncovered));
            }
        }
        if let Some(shadow) = &self.shadow {
            shadow.close(now, &book)?;
        }
        self.stored.book = book;
        Ok(())
    }
}

/// What a write to a ledger leaves: as the store does it.
fn written(
    book: Book,
    now: Timestamp,
    decide: impl Fn(&Book) -> Result<Vec<Posting>, Refusal>,
) -> Result<Book, Refusal> {
    let postings = decide(&book)?;
    if postings.is_empty() {
        return Ok(book);
    }
    let mut book = book.append(now, postings)?.following(now).settled(now)?;
    book.project.policy_version += 1;
    Ok(book)
}

fn changed(terms: PlanTerms, effective: Timestamp) -> Posting {
    Posting::of(Fact::PlanChanged { terms, effective })
}

fn present(book: &Book, now: Timestamp) -> PlanTerms {
    book.ledger.timeline().subscribed_at(now).clone()
}

fn planned(book: &Book, now: Timestamp) -> Option<(Timestamp, PlanTerms)> {
    book.ledger.timeline().planned_after(now).next().cloned()
}

fn setting(overage: Overage, ledger: &Ledger) -> OverageSetting {
    match overage {
        Overage::Stop => OverageSetting::Off,
        Overage::Capped { units } => {
            OverageSetting::On { cap: Some(Money::new(i128::from(units.get()), ledger.currency())) }
        }
        Overage::Open => OverageSetting::On { cap: None },
    }
}

/// The catalogue of a run: business gives what the run's policy says.
fn catalogue(policy: &Policy) -> Catalogue {
    let mut document: serde_json::Value =
        serde_json::from_str(Catalogue::DEFAULT_JSON).unwrap_or_else(|error| unreachable!("{error}"));
    let business = &mut document["plans"]["business"];
    business["included"] = policy.allowance.included.get().into();
    business["agents_max"] = policy.agents_max.into();
    business["overage_per_1000"] = RATE_PER_1000.into();
    Catalogue::from_json(&document.to_string()).unwrap_or_else(|error| unreachable!("{error}"))
}

/// A project of the month before, whose lots have rolled over, as a run finds it.
fn book(policy: &Policy, catalogue: &Catalogue, now: Timestamp) -> Result<Book, Refusal> {
    let parts = &policy.allowance;
    let created = Timestamp::from_ms(parts.period.start().as_ms() - 1).period().start();
    let project = Project {
        id: policy.project.clone(),
        plan: Plan::Business,
        rpm_own: Some(policy.rpm),
        included_own: None,
        status: Status::Active,
        catalogue: catalogue.version,
        levels_own: None,
        auto_overage: false,
        rpm_max: policy.rpm,
        policy_version: policy.version,
        homes: None,
        created,
    };
    let ledger = opening(&project, catalogue)?;
    let project = project.following(&ledger, created);
    let book = Book { project, ledger, totals: BTreeMap::new(), fired: BTreeSet::new() };
    let book = book.clone().append(created, first(&book, parts.lots)?)?;
    let book = book.closed(now)?;
    let postings = plan::set_overage(&book.ledger, now, setting(parts.overage, &book.ledger))?;
    let book = book.append(now, postings)?;
    if parts.next_included == parts.included {
        return Ok(book);
    }
    let terms = PlanTerms { included: parts.next_included, ..present(&book, now) };
    book.append(now, vec![changed(terms, parts.period.end())])
}

fn first(book: &Book, lots: Units) -> Result<Vec<Posting>, Refusal> {
    if lots == Units::ZERO { Ok(vec![]) } else { lots::credit(&book.ledger, lots, "before".to_owned()) }
}

/// The cells without those that a batch has, so that its report is the last word: a planted bug.
fn without(cells: &Cells, batch: &Batch) -> Cells {
    let kept = cells.rows().filter(|(source, life, key, _)| {
        let same = **source == batch.source && **life == batch.incarnation;
        !same || batch.cells.iter().all(|cell| cell.key != **key)
    });
    kept.fold(Cells::default(), |all, (source, life, key, counts)| {
        let cells = vec![Cell { key: key.clone(), counts, denials: Denials::NONE }];
        let (source, incarnation) = (source.clone(), life.clone());
        all.merge(&Batch { mode: batch.mode, source, incarnation, cells }, RPM_PLAUSIBLE)
    })
}
