//! Pages of a report: where one ends, the next goes on, whatever was counted meanwhile.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use shared::denials::{DenialReason, Denials};
use shared::ids::{AgentId, Mode, ProjectId};
use shared::kind::Kind;
use shared::time::Day;
use shared::units::Units;
use shared::whole::whole;

use crate::metering::usage::csv::quoted;
use crate::metering::usage::{Span, UsageAgent};

/// In which order agents are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Those with most units first, of as many by name. One that overtakes the end of a page while pages are read is
    /// not told on the next one.
    Units,
    /// By name: every agent comes exactly once, whatever is counted meanwhile.
    Agent,
}

impl Order {
    /// The order of that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "units" => Some(Self::Units),
            "agent" => Some(Self::Agent),
            _ => None,
        }
    }
}

/// Behind which agent a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Among those with most units first.
    Units(Units, AgentId),
    /// Among names.
    Agent(AgentId),
}

impl Place {
    /// Reads what a report of that order said as `next`.
    #[must_use]
    pub fn parse(text: &str, order: Order) -> Option<Self> {
        match order {
            Order::Units => {
                let (units, agent) = text.split_once('.')?;
                let units = whole(units).filter(|units| *units <= Units::MAX.get())?;
                Some(Self::Units(Units::new(units), AgentId::parse(agent).ok()?))
            }
            Order::Agent => AgentId::parse(text).ok().map(Self::Agent),
        }
    }

    fn of(agent: &UsageAgent, order: Order) -> Self {
        match order {
            Order::Units => Self::Units(agent.units, agent.agent.clone()),
            Order::Agent => Self::Agent(agent.agent.clone()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Units(units, agent) => write!(f, "{units}.{agent}"),
            Self::Agent(agent) => agent.fmt(f),
        }
    }
}

/// Which agents of a report are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In which order.
    pub order: Order,
    /// Those after which one.
    pub after: Option<Place>,
    /// How many at most.
    pub limit: usize,
}

impl Page {
    /// Takes away what was read beyond the page, and says where the next one begins, if there is one.
    pub(crate) fn cut(&self, agents: &mut Vec<UsageAgent>) -> Option<String> {
        let follows = agents.len() > self.limit;
        agents.truncate(self.limit);
        agents.last().filter(|_| follows).map(|last| Place::of(last, self.order).to_string())
    }
}

/// What was counted of one day, agent and kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UsageLine {
    /// The day.
    pub day: Day,
    /// The agent.
    pub agent: AgentId,
    /// The kind.
    pub kind: Kind,
    /// Units.
    pub units: Units,
    /// LLM tokens read; never billed.
    pub tokens_in: Units,
    /// LLM tokens written; never billed.
    pub tokens_out: Units,
    /// Blockchain anchors.
    pub anchors: Units,
    /// Requests that were refused, of each reason that has any; never billed.
    pub denied: Denials,
    /// Requests that shadow mode served, of each reason that it would have been refused for that has any; never billed.
    pub would_have_denied: Denials,
}

impl UsageLine {
    /// The head of lines as CSV: the columns of denials are in the order of their reasons, and so are those of what shadow
    /// mode let through.
    pub const CSV_HEAD: &'static str = "day_utc,agent,kind,units,tokens_in,tokens_out,anchors,denied_unauthorized,\
        denied_quota_exhausted,denied_project_suspended,denied_agent_limit,denied_rate_limited,\
        denied_quota_contended,denied_home_unavailable,would_have_denied_quota_exhausted,\
        would_have_denied_agent_limit,would_have_denied_rate_limited,would_have_denied_quota_contended,\
        would_have_denied_home_unavailable\r\n";

    /// A line of CSV (RFC 4180).
    #[must_use]
    pub fn csv(&self) -> String {
        let Self { day, agent, kind, units, tokens_in, tokens_out, anchors, denied, would_have_denied } =
            self;
        let denied = DenialReason::ALL.map(|reason| denied.get(reason).to_string()).join(",");
        let would = DenialReason::SHADOWED.map(|reason| would_have_denied.get(reason).to_string()).join(",");
        let agent = quoted(agent.as_str());
        format!("{day},{agent},{kind},{units},{tokens_in},{tokens_out},{anchors},{denied},{would}\r\n")
    }
}

impl UsageAgent {
    /// The head of agents as CSV.
    pub const CSV_HEAD: &'static str = "agent,units\r\n";

    /// A line of CSV (RFC 4180).
    #[must_use]
    pub fn csv(&self) -> String {
        format!("{},{}\r\n", quoted(self.agent.as_str()), self.units)
    }
}

/// Behind which line a page begins. Lines are told in the order of day, agent and kind, which never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinePlace {
    /// Its day.
    pub day: Day,
    /// Its kind.
    pub kind: Kind,
    /// Its agent.
    pub agent: AgentId,
}

impl LinePlace {
    /// Reads what a report said as `next`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (day, rest) = text.split_once('.')?;
        let (kind, agent) = rest.split_once('.')?;
        Some(Self { day: Day::parse(day)?, kind: Kind::parse(kind)?, agent: AgentId::parse(agent).ok()? })
    }
}

/// The body of `GET /api/v1/usage?group_by=day,agent,kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Lines {
    project: ProjectId,
    mode: Mode,
    from: Day,
    to: Day,
    group_by: &'static str,
    groups: Vec<UsageLine>,
    next: Option<String>,
}

impl Lines {
    /// What this grouping is called.
    pub const NAME: &'static str = "day,agent,kind";

    /// A page of at most `limit` lines, of which one more may have been read.
    #[must_use]
    pub fn page(
        (project, mode, span): (ProjectId, Mode, Span),
        mut groups: Vec<UsageLine>,
        limit: usize,
    ) -> Self {
        let follows = groups.len() > limit;
        groups.truncate(limit);
        let next = groups.last().filter(|_| follows);
        let next = next.map(|UsageLine { day, agent, kind, .. }| format!("{day}.{kind}.{agent}"));
        let (from, to) = (span.from(), span.to());
        Self { project, mode, from, to, group_by: Self::NAME, groups, next }
    }

    /// The lines as CSV, with a head.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let head = UsageLine::CSV_HEAD.to_owned();
        std::iter::once(head).chain(self.groups.iter().map(UsageLine::csv)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_column_for_each_reason() {
        let line = UsageLine {
            day: Day::parse("2026-05-01").unwrap(),
            agent: AgentId::parse("bot").unwrap(),
            kind: Kind::Verify,
            units: Units::new(4),
            tokens_in: Units::ZERO,
            tokens_out: Units::ZERO,
            anchors: Units::ZERO,
            denied: Denials::of(DenialReason::RateLimited, 3),
            would_have_denied: Denials::of(DenialReason::QuotaExhausted, 2),
        };
        let heads = UsageLine::CSV_HEAD.trim_end().split(',').skip(7).map(ToOwned::to_owned);
        let refused = DenialReason::ALL.map(|reason| format!("denied_{reason}"));
        let let_through = DenialReason::SHADOWED.map(|reason| format!("would_have_denied_{reason}"));
        assert_eq!(heads.collect::<Vec<_>>(), refused.into_iter().chain(let_through).collect::<Vec<_>>());
        assert_eq!(line.csv(), "2026-05-01,bot,verify,4,0,0,0,0,0,0,0,3,0,0,2,0,0,0,0\r\n");
        let end = r#""denied":{"rate_limited":3},"would_have_denied":{"quota_exhausted":2}}"#;
        assert!(serde_json::to_string(&line).unwrap().ends_with(end));
    }

    #[test]
    fn places_are_read_back_and_what_is_none_is_refused() {
        for text in ["5.a", "0.~none", "9007199254740991.a.b,c"] {
            assert_eq!(Place::parse(text, Order::Units).unwrap().to_string(), text);
            assert_eq!(Place::parse(text, Order::Agent).unwrap().to_string(), text, "agents may have dots");
        }
        for bad in ["", "x", "1", "1.", ".a", "-1.a", "9007199254740992.a", "1.a b"] {
            assert_eq!(Place::parse(bad, Order::Units), None, "{bad}");
        }
        assert_eq!(Place::parse("a b", Order::Agent), None);
        let place = LinePlace::parse("2026-05-01.mcp_tool_call.a.b").unwrap();
        assert_eq!((place.day.to_string().as_str(), place.agent.as_str()), ("2026-05-01", "a.b"));
        for bad in
            ["", "2026-05-01", "2026-05-01.verify", "2026-05-01.verify.", "2026-02-30.verify.a", "1.2.3"]
        {
            assert_eq!(LinePlace::parse(bad), None, "{bad}");
        }
    }
}
