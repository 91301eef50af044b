//! The usage report: daily totals and the breakdown by agent, without gaps.
//!
//! Totals here are shown, not billed; they are held at the largest exact number instead of wrapping.

pub mod agents;
pub(crate) mod csv;
pub mod groups;
pub mod page;
pub mod paid;
pub mod parts;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::denials::{DenialReason, Denials};
use shared::ids::{AgentId, Mode, ProjectId};
use shared::kind::Kind;
use shared::plan::Catalogue;
use shared::time::{Day, Period};
use shared::units::Units;

use crate::ledger::money::{Currency, Money};
use crate::metering::usage::page::Page;

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

    /// The days of a month.
    #[must_use]
    pub fn of(period: Period) -> Self {
        let next = period.next().first_day().number();
        let from = period.first_day();
        Self { from, to: Day::from_number(next.saturating_sub(1)).unwrap_or(from) }
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
    /// Units by agent, in the order that was asked for, one more than was asked for where others follow.
    pub by_agent: Vec<UsageAgent>,
    /// Requests that were refused, by day and kind.
    pub denials: BTreeMap<(Day, Kind), Denials>,
    /// The number of the last event of the live stream that these include.
    pub watermark: u64,
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
    /// The agents, those with most units first unless asked otherwise.
    pub agents: Vec<UsageAgent>,
    /// What is counted but never billed.
    pub observed: Observed,
    /// What was refused; never billed.
    pub denied: Denied,
    /// What shadow mode served, though it would have been refused; never billed.
    pub would_have_denied: Denied,
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
    /// Requests that were refused, of all kinds.
    pub denied: u64,
    /// The same of each kind.
    #[serde(skip)]
    pub(crate) denied_kinds: BTreeMap<Kind, u64>,
}

/// Requests that were refused. Each is one, whatever it would have cost; a dry run is none, unless its key is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Denied {
    /// All of them.
    pub total: u64,
    /// Those of each reason, which is the code of the answer that refused, or would have; all reasons are named.
    pub reasons: BTreeMap<DenialReason, u64>,
}

impl From<Denials> for Denied {
    fn from(denials: Denials) -> Self {
        let reasons = DenialReason::ALL.map(|reason| (reason, denials.get(reason))).into();
        Self { total: denials.total(), reasons }
    }
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

impl Usage {
    /// Builds a page of the report from the books' sums; `catalogue` is the one that tokens are estimated by.
    ///
    /// # Errors
    /// When the catalogue's currency cannot be read; one that was checked has a readable one.
    pub fn report(
        project: ProjectId,
        (mode, span): (Mode, Span),
        (mut sums, page): (Sums, &Page),
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
        let denials = &sums.denials;
        let day = |(date, kinds): (Day, BTreeMap<Kind, Units>)| {
            let of = |kind| denials.get(&(date, kind)).map_or(0, Denials::total);
            let denied_kinds: BTreeMap<Kind, u64> = Kind::ALL.map(|kind| (kind, of(kind))).into();
            let denied = denied_kinds.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
            UsageDay { date, units: sum(kinds.values()), kinds, denied, denied_kinds }
        };
        let days: Vec<UsageDay> = days.into_iter().map(day).collect();
        let denied = denials.values().fold(Denials::NONE, |sum, denials| sum.plus(*denials));
        let next = page.cut(&mut sums.by_agent);
        Ok(Self {
            project,
            mode,
            from: span.from,
            to: span.to,
            total: sum(days.iter().map(|day| &day.units)),
            days,
            agents: sums.by_agent,
            observed: Observed { tokens_in: sums.tokens_in, tokens_out: sums.tokens_out, cost_estimate },
            denied: denied.into(),
            would_have_denied: denied.let_through().into(),
            next,
        })
    }
}

fn sum<'a>(units: impl Iterator<Item = &'a Units>) -> Units {
    units.fold(Units::ZERO, |total, units| total.saturating_add(*units))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metering::usage::page::Order;

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
    fn gaps_are_zeros_and_a_page_says_where_the_next_begins() {
        let agent =
            |text: &str, units| UsageAgent { agent: AgentId::parse(text).unwrap(), units: Units::new(units) };
        let rate = DenialReason::RateLimited;
        let refused = Denials::of(rate, 2).plus(Denials::shadowed(rate, 9));
        let sums = Sums {
            watermark: 7,
            by_day: vec![
                (day("2026-05-03"), Kind::Verify, Units::new(4)),
                (day("2026-05-03"), Kind::McpToolCall, Units::new(1)),
            ],
            by_agent: vec![agent("c", 3), agent("a", 1), agent("b", 1)],
            denials: [((day("2026-05-02"), Kind::McpToolCall), refused)].into(),
            tokens_in: Units::new(1_000_000),
            tokens_out: Units::ZERO,
        };
        let span = Span::new(day("2026-05-02"), day("2026-05-03")).unwrap();
        let catalogue = Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap();
        let project = ProjectId::parse("demo").unwrap();
        let report = |limit| {
            let page = Page { order: Order::Units, after: None, limit };
            let sums = (sums.clone(), &page);
            Usage::report(project.clone(), (Mode::Live, span), sums, &catalogue).unwrap()
        };
        assert_eq!(
            serde_json::to_string(&report(3)).unwrap(),
            concat!(
                r#"{"project":"demo","mode":"live","from":"2026-05-02","to":"2026-05-03","total":5,"days":["#,
                r#"{"date":"2026-05-02","units":0,"kinds":{"verify":0,"mcp_tool_call":0,"extension_event":0},"denied":2},"#,
                r#"{"date":"2026-05-03","units":5,"kinds":{"verify":4,"mcp_tool_call":1,"extension_event":0},"denied":0}],"#,
                r#""agents":[{"agent":"c","units":3},{"agent":"a","units":1},{"agent":"b","units":1}],"#,
                r#""observed":{"tokens_in":1000000,"tokens_out":0,"cost_estimate":{"minor":"300","currency":"eur"}},"#,
                r#""denied":{"total":2,"reasons":{"unauthorized":0,"quota_exhausted":0,"project_suspended":0,"#,
                r#""agent_limit":0,"rate_limited":2,"quota_contended":0,"home_unavailable":0}},"#,
                r#""would_have_denied":{"total":9,"reasons":{"unauthorized":0,"quota_exhausted":0,"#,
                r#""project_suspended":0,"agent_limit":0,"rate_limited":9,"quota_contended":0,"home_unavailable":0}},"#,
                r#""next":null}"#
            )
        );
        let two = report(2);
        assert_eq!((two.agents.len(), two.next.as_deref(), two.total.get()), (2, Some("1.a"), 5));
    }
}
