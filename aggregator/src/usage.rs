//! The usage report: daily totals and the breakdown by agent, without gaps.
//!
//! Totals here are shown, not billed; they are held at the largest exact number instead of wrapping.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::{AgentId, Mode, ProjectId};
use shared::kind::Kind;
use shared::plan::Catalogue;
use shared::time::Day;
use shared::units::Units;

use crate::ledger::money::{Currency, Money};

/// The longest report: a leap year.
pub const DAYS_MAX: u32 = 366;

/// From and to, both included, at most [`DAYS_MAX`] days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    from: Day,
    to: Day,
}

/// Why two days are no span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanError {
    /// The last day is before the first.
    Reversed,
    /// More than [`DAYS_MAX`] days.
    TooLong,
}

impl Span {
    /// The days from `from` to `to`.
    ///
    /// # Errors
    /// When they are reversed or too far apart.
    pub fn new(from: Day, to: Day) -> Result<Self, SpanError> {
        match to.number().checked_sub(from.number()) {
            None => Err(SpanError::Reversed),
            Some(nights) if nights >= DAYS_MAX => Err(SpanError::TooLong),
            Some(_) => Ok(Self { from, to }),
        }
    }

    /// The first day.
    #[must_use]
    pub fn from(self) -> Day {
        self.from
    }

    /// The last day.
    #[must_use]
    pub fn to(self) -> Day {
        self.to
    }

    /// Every day of it.
    pub fn days(self) -> impl Iterator<Item = Day> {
        (self.from.number()..=self.to.number()).filter_map(Day::from_number)
    }
}

/// The sums that the books give for one report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// Units by day and kind; days without any are absent.
    pub by_day: Vec<(Day, Kind, Units)>,
    /// Units by agent, in any order.
    pub by_agent: Vec<(AgentId, Units)>,
    /// LLM tokens read.
    pub tokens_in: Units,
    /// LLM tokens written.
    pub tokens_out: Units,
}

/// The body of `GET /api/v1/usage`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Usage {
    /// Whose usage.
    pub project: ProjectId,
    /// Of which keys.
    pub mode: Mode,
    /// The first day.
    pub from: Day,
    /// The last day.
    pub to: Day,
    /// Units of all days.
    pub total: Units,
    /// Every day from first to last.
    pub days: Vec<UsageDay>,
    /// The agents, those with most units first.
    pub agents: Vec<UsageAgent>,
    /// What is counted but never billed.
    pub observed: Observed,
    /// What to send as `cursor` for the agents that follow; `null` where there are none.
    pub next: Option<String>,
}

/// One day of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UsageDay {
    /// The day.
    pub date: Day,
    /// Units of all kinds.
    pub units: Units,
    /// Units of each kind, all of them named.
    pub kinds: BTreeMap<Kind, Units>,
}

/// One agent of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UsageAgent {
    /// The agent.
    pub agent: AgentId,
    /// Its units.
    pub units: Units,
}

/// What is counted but never billed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Observed {
    /// LLM tokens read.
    pub tokens_in: Units,
    /// LLM tokens written.
    pub tokens_out: Units,
    /// What they are estimated to cost at the prices of the project's plan catalogue; never billed.
    pub cost_estimate: Money,
}

/// After which agent a page begins: the place that it has in the order of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    units: Units,
    agent: AgentId,
}

impl Cursor {
    /// Reads what a report said as `next`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (units, agent) = text.split_once('.')?;
        let units = units.parse().ok().filter(|units| *units <= Units::MAX.get())?;
        Some(Self { units: Units::new(units), agent: AgentId::parse(agent).ok()? })
    }

    fn of(agent: &UsageAgent) -> String {
        format!("{}.{}", agent.units, agent.agent)
    }

    /// Whether an agent comes later: those with most units first, those with as many by name.
    fn is_before(&self, agent: &UsageAgent) -> bool {
        agent.units < self.units || (agent.units == self.units && agent.agent > self.agent)
    }
}

impl Usage {
    /// The report with at most `limit` agents, those after `cursor`. Days and totals stay whole.
    #[must_use]
    pub fn page(mut self, cursor: Option<&Cursor>, limit: Option<usize>) -> Self {
        self.agents.retain(|agent| cursor.is_none_or(|cursor| cursor.is_before(agent)));
        let Some(limit) = limit.filter(|limit| *limit < self.agents.len()) else { return self };
        self.agents.truncate(limit);
        self.next = self.agents.last().map(Cursor::of);
        self
    }

    /// Builds the report from the books' sums; `catalogue` is the one that tokens are estimated by.
    ///
    /// # Errors
    /// When the catalogue's currency cannot be read; one that was checked has a readable one.
    pub fn report(
        project: ProjectId,
        mode: Mode,
        span: Span,
        sums: Sums,
        catalogue: &Catalogue,
    ) -> Result<Self, String> {
        let estimate = catalogue.tokens.estimate(sums.tokens_in, sums.tokens_out);
        let estimate = i128::try_from(estimate).unwrap_or(i128::MAX);
        let cost_estimate = Money::new(estimate, Currency::parse(&catalogue.currency)?);
        let mut days: BTreeMap<Day, BTreeMap<Kind, Units>> =
            span.days().map(|day| (day, Kind::ALL.map(|kind| (kind, Units::ZERO)).into())).collect();
        for (day, kind, units) in sums.by_day {
            if let Some(slot) = days.get_mut(&day).and_then(|kinds| kinds.get_mut(&kind)) {
                *slot = slot.saturating_add(units);
            }
        }
        let days: Vec<UsageDay> = days
            .into_iter()
            .map(|(date, kinds)| UsageDay { date, units: sum(kinds.values()), kinds })
            .collect();
        let mut agents: Vec<UsageAgent> =
            sums.by_agent.into_iter().map(|(agent, units)| UsageAgent { agent, units }).collect();
        agents.sort_by(|a, b| b.units.cmp(&a.units).then_with(|| a.agent.cmp(&b.agent)));
        Ok(Self {
            project,
            mode,
            from: span.from,
            to: span.to,
            total: sum(days.iter().map(|day| &day.units)),
            days,
            agents,
            observed: Observed { tokens_in: sums.tokens_in, tokens_out: sums.tokens_out, cost_estimate },
            next: None,
        })
    }
}

fn sum<'a>(units: impl Iterator<Item = &'a Units>) -> Units {
    units.fold(Units::ZERO, |total, units| total.saturating_add(*units))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::parse(text).unwrap()
    }

    #[test]
    fn spans_hold_at_most_a_leap_year() {
        assert_eq!(Span::new(day("2028-01-01"), day("2028-12-31")).map(|span| span.days().count()), Ok(366));
        assert_eq!(Span::new(day("2028-01-01"), day("2029-01-01")), Err(SpanError::TooLong));
        assert_eq!(Span::new(day("2028-01-02"), day("2028-01-01")), Err(SpanError::Reversed));
        assert_eq!(Span::new(day("2028-01-01"), day("2028-01-01")).map(|span| span.days().count()), Ok(1));
    }

    #[test]
    fn gaps_are_zeros_and_agents_are_sorted_by_units_then_name() {
        let agent = |text: &str, units| (AgentId::parse(text).unwrap(), Units::new(units));
        let sums = Sums {
            by_day: vec![
                (day("2026-05-03"), Kind::Verify, Units::new(4)),
                (day("2026-05-03"), Kind::McpToolCall, Units::new(1)),
            ],
            by_agent: vec![agent("b", 1), agent("c", 3), agent("a", 1)],
            tokens_in: Units::new(1_000_000),
            tokens_out: Units::ZERO,
        };
        let span = Span::new(day("2026-05-02"), day("2026-05-03")).unwrap();
        let catalogue = Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap();
        let project = ProjectId::parse("demo").unwrap();
        let report = Usage::report(project, Mode::Live, span, sums, &catalogue).unwrap();
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            concat!(
                r#"{"project":"demo","mode":"live","from":"2026-05-02","to":"2026-05-03","total":5,"days":["#,
                r#"{"date":"2026-05-02","units":0,"kinds":{"verify":0,"mcp_tool_call":0,"extension_event":0}},"#,
                r#"{"date":"2026-05-03","units":5,"kinds":{"verify":4,"mcp_tool_call":1,"extension_event":0}}],"#,
                r#""agents":[{"agent":"c","units":3},{"agent":"a","units":1},{"agent":"b","units":1}],"#,
                r#""observed":{"tokens_in":1000000,"tokens_out":0,"cost_estimate":{"minor":"300","currency":"eur"}},"#,
                r#""next":null}"#
            )
        );
        // Agents in pages: what was said as `next` goes on behind it, and nobody is lost or told twice.
        let mut told = Vec::new();
        let mut next = None;
        loop {
            let cursor = next.as_deref().map(|text| Cursor::parse(text).unwrap());
            let page = report.clone().page(cursor.as_ref(), Some(1));
            assert_eq!((page.total, page.days.len()), (report.total, 2));
            told.extend(page.agents);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(told, report.agents);
        for bad in ["", "x", "1", "1.", ".a", "-1.a", "9007199254740992.a", "1.a b"] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
        assert!(Cursor::parse("1.a.b").is_some(), "agents may have dots");
    }
}
