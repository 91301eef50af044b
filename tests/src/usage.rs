//! What the aggregator reports, read as a customer would.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use shared::time::Day;

use crate::client::{Answer, Call};
use crate::clock;
use crate::poll::eventually;
use crate::project::Project;
use crate::stack::Stack;

/// How soon usage must be in the report.
pub const REPORT_MAX: Duration = Duration::from_secs(5);

/// The body of `GET /api/v1/usage`. It is written out here on purpose: a renamed field must be seen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// Whose usage.
    pub project: String,
    /// The first day.
    pub from: String,
    /// The last day.
    pub to: String,
    /// Units of all days.
    pub total: u64,
    /// Every day.
    pub days: Vec<UsageDay>,
    /// Units by agent.
    pub agents: Vec<UsageAgent>,
    /// What is counted but not billed.
    pub observed: Observed,
    /// There is only one page.
    pub next: Option<Value>,
}

/// What is counted but not billed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Observed {
    /// LLM tokens that went in.
    pub tokens_in: u64,
    /// LLM tokens that came out.
    pub tokens_out: u64,
    /// What those tokens cost about, as an amount of money.
    pub cost_estimate: Value,
}

/// One day.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UsageDay {
    /// The date.
    pub date: String,
    /// Units of the day.
    pub units: u64,
    /// Units by kind.
    pub kinds: BTreeMap<String, u64>,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UsageAgent {
    /// The agent.
    pub agent: String,
    /// Its units.
    pub units: u64,
}

/// Units by name.
pub type Totals = BTreeMap<String, u64>;

impl Usage {
    /// Units by kind over all days; kinds without any are left out.
    #[must_use]
    pub fn by_kind(&self) -> Totals {
        let mut totals = Totals::new();
        for (kind, units) in self.days.iter().flat_map(|day| &day.kinds).filter(|(_, units)| **units > 0) {
            let total = totals.entry(kind.clone()).or_default();
            *total = total.saturating_add(*units);
        }
        totals
    }

    /// Units by agent.
    #[must_use]
    pub fn by_agent(&self) -> Totals {
        self.agents.iter().map(|agent| (agent.agent.clone(), agent.units)).collect()
    }

    /// Whether days, kinds and agents add up to the total.
    ///
    /// # Errors
    /// Says which do not.
    pub fn adds_up(&self) -> Result<()> {
        let days: u64 = self.days.iter().map(|day| day.units).sum();
        let agents: u64 = self.agents.iter().map(|agent| agent.units).sum();
        ensure!(days == self.total && agents == self.total, "{days} by day, {agents} by agent: {self:?}");
        for day in &self.days {
            ensure!(day.units == day.kinds.values().sum::<u64>(), "the kinds of {day:?}");
        }
        Ok(())
    }
}

impl Project {
    /// Asks for this project's usage with a query.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn usage_answer(&self, stack: &Stack, query: &str) -> Result<Answer> {
        Call::get(&format!("/api/v1/usage?{query}")).bearer(&self.token).send(stack.aggregator()).await
    }

    /// Usage of live keys from the day before yesterday to tomorrow, so that midnight changes nothing.
    ///
    /// # Errors
    /// When there is no such report, or it does not add up.
    pub async fn usage(&self, stack: &Stack) -> Result<Usage> {
        self.usage_of(stack, "live").await
    }

    /// Usage of that mode's keys.
    ///
    /// # Errors
    /// As [`Project::usage`].
    pub async fn usage_of(&self, stack: &Stack, mode: &str) -> Result<Usage> {
        let today = clock::now().day();
        let from = Day::from_number(today.number().saturating_sub(2)).unwrap_or(today);
        let query = format!("from={from}&to={}&mode={mode}", today.next());
        let usage: Usage = self.usage_answer(stack, &query).await?.ok()?;
        usage.adds_up()?;
        Ok(usage)
    }

    /// Waits until exactly `total` units are reported.
    ///
    /// # Errors
    /// When they are not within [`REPORT_MAX`].
    pub async fn reports(&self, stack: &Stack, total: u64) -> Result<Usage> {
        self.reports_within(stack, total, REPORT_MAX).await
    }

    /// Waits until exactly `total` units are reported.
    ///
    /// # Errors
    /// When they are not within that time; more than `total` is a failure at once.
    pub async fn reports_within(&self, stack: &Stack, total: u64, within: Duration) -> Result<Usage> {
        let usage = eventually("the usage report", within, async || {
            let usage = self.usage(stack).await?;
            ensure!(usage.total >= total, "{} of {total} units are reported", usage.total);
            Ok(Some(usage))
        });
        let usage = usage.await?;
        ensure!(usage.total == total, "{} units are reported, not {total}: {usage:?}", usage.total);
        Ok(usage)
    }
}
