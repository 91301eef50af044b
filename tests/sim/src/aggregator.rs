//! A model of the aggregator: it merges cells by the larger count and keeps a simple ledger.
//!
//! It is written anew here, so that a mistake of the product's aggregator cannot hide itself.

use std::collections::{BTreeMap, BTreeSet};

use shared::cell::CellKey;
use shared::ids::{AgentId, Incarnation};
use shared::policy::Policy;
use shared::time::Period;
use shared::units::Units;
use shared::wire::{Denied, Flush, Merged};

use crate::bugs::ShellBug;

/// What is stored.
#[derive(Debug, Clone, Default)]
struct Store {
    cells: BTreeMap<(String, CellKey), u64>,
    watermarks: BTreeMap<String, u64>,
    lives: BTreeSet<String>,
    crossings: BTreeSet<(Period, u64, u8)>,
}

/// The aggregator.
#[derive(Debug, Clone)]
pub struct Aggregator {
    store: Store,
    bug: Option<ShellBug>,
    volatile_crossings: BTreeSet<(Period, u64, u8)>,
    /// The policy that homes are to have.
    pub policy: Policy,
    /// Crossings told to the customer, in order.
    pub told: Vec<(Period, u64, u8)>,
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
    /// An aggregator that has stored nothing.
    #[must_use]
    pub fn new(policy: Policy, bug: Option<ShellBug>) -> Self {
        Self { store: Store::default(), bug, volatile_crossings: BTreeSet::new(), policy, told: Vec::new() }
    }

    /// Merges a flush. `cut`: the process dies before the store is written.
    pub fn ingest(&mut self, flush: &Flush, periods: &[Period], cut: bool) -> Option<Receipt> {
        let life = flush.incarnation.as_str().to_owned();
        let before = self.store.clone();
        self.store.lives.insert(life.clone());
        for cell in &flush.cells {
            let count = self.store.cells.entry((life.clone(), cell.key.clone())).or_insert(0);
            let units = cell.counts.units.get();
            *count = match self.bug {
                Some(ShellBug::LastWriteWins) => units,
                Some(ShellBug::DeltaMerge) => *count + units,
                Some(
                    ShellBug::HomeSendsBeforePersist
                    | ShellBug::SubHomeSendsBeforePersist
                    | ShellBug::AckBeforePersist
                    | ShellBug::VolatileCrossings
                    | ShellBug::IdReused,
                )
                | None => units.max(*count),
            };
        }
        let watermark = self.store.watermarks.entry(life).or_insert(0);
        *watermark = flush.seq.max(*watermark);
        let told = self.cross(&flush.denied);
        let receipt = self.receipt(flush, periods);
        if cut {
            self.store = before;
            self.volatile_crossings.clear();
            return (self.bug == Some(ShellBug::AckBeforePersist)).then_some(receipt);
        }
        self.told.extend(told);
        Some(receipt)
    }

    /// The process dies; what was stored stays.
    pub fn crash(&mut self) {
        self.volatile_crossings.clear();
    }

    fn receipt(&self, flush: &Flush, periods: &[Period]) -> Receipt {
        let life = flush.incarnation.as_str();
        let lives = self.store.lives.iter().filter(|other| other.as_str() != life).count();
        let merged = periods
            .iter()
            .map(|period| Merged {
                period: *period,
                units: Units::new(self.billed(*period)),
                lives: u32::try_from(lives).unwrap_or(u32::MAX),
                agents: self.limited_agents(*period).into_iter().collect(),
            })
            .collect();
        Receipt {
            life: flush.incarnation.clone(),
            seq: flush.seq,
            watermark: self.store.watermarks.get(life).copied().unwrap_or(0),
            merged,
            policy: self.policy.clone(),
        }
    }

    fn limited_agents(&self, period: Period) -> BTreeMap<AgentId, Units> {
        let units = |agent: &AgentId| {
            let of = |key: &CellKey| key.day.period() == period && key.agent == *agent;
            Units::new(self.store.cells.iter().filter(|((_, key), _)| of(key)).map(|(_, n)| n).sum())
        };
        let limited = self.policy.leases.agents.keys();
        let used = self.store.cells.keys().map(|(_, key)| key).filter(|key| key.day.period() == period);
        let named = used.map(|key| &key.agent).filter(|agent| agent.is_named());
        limited.chain(named).map(|agent| (agent.clone(), units(agent))).collect()
    }

    /// Units billed in a period.
    #[must_use]
    pub fn billed(&self, period: Period) -> u64 {
        self.store.cells.iter().filter(|((_, key), _)| key.day.period() == period).map(|(_, n)| n).sum()
    }

    /// Units billed of every cell, all lives together.
    #[must_use]
    pub fn cells(&self) -> BTreeMap<CellKey, u64> {
        let mut all = BTreeMap::new();
        for ((_, key), units) in &self.store.cells {
            *all.entry(key.clone()).or_insert(0) += units;
        }
        all
    }

    /// The crossings that this flush makes: 80 before 100, each once.
    fn cross(&mut self, denied: &[Denied]) -> Vec<(Period, u64, u8)> {
        let periods: BTreeSet<Period> = self.store.cells.keys().map(|(_, key)| key.day.period()).collect();
        let mut told = Vec::new();
        for period in periods.iter().chain(denied.iter().map(|denied| &denied.period)) {
            let included = self.policy.allowance.included_in(*period);
            let used = Units::new(self.billed(*period));
            for percent in [80, 100] {
                let crossing = (*period, included.get(), percent);
                let reached = used.reaches(percent, included)
                    || denied.iter().any(|denied| denied.period == *period && denied.quota >= included);
                let known = if self.bug == Some(ShellBug::VolatileCrossings) {
                    &mut self.volatile_crossings
                } else {
                    &mut self.store.crossings
                };
                if reached && known.insert(crossing) {
                    told.push(crossing);
                }
            }
        }
        told
    }
}
