//! The usage report by one dimension, as JSON and as CSV.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::{Mode, ProjectId};
use shared::kind::Kind;
use shared::time::Day;
use shared::units::Units;

use super::Usage;
use super::csv::quoted;

/// What units are added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupBy {
    /// Each day, also those without units.
    Day,
    /// Each agent, those with most units first.
    Agent,
    /// Each kind.
    Kind,
}

impl GroupBy {
    /// The dimension of that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "day" => Some(Self::Day),
            "agent" => Some(Self::Agent),
            "kind" => Some(Self::Kind),
            _ => None,
        }
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day => "day",
            Self::Agent => "agent",
            Self::Kind => "kind",
        })
    }
}

/// The body of `GET /api/v1/usage?group_by=…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Groups {
    project: ProjectId,
    mode: Mode,
    from: Day,
    to: Day,
    group_by: GroupBy,
    total: Units,
    groups: Vec<Group>,
    next: Option<String>,
}

/// The units of one day, agent or kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
struct Group {
    key: String,
    units: Units,
    /// Requests that were refused; of agents, lines by day, agent and kind tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    denied: Option<u64>,
}

impl Groups {
    /// Adds a report up by one dimension.
    #[must_use]
    pub fn new(usage: &Usage, by: GroupBy) -> Self {
        let groups = match by {
            GroupBy::Day => {
                let group = |day: &crate::metering::usage::UsageDay| Group {
                    key: day.date.to_string(),
                    units: day.units,
                    denied: Some(day.denied),
                };
                usage.days.iter().map(group).collect()
            }
            GroupBy::Agent => {
                let group = |agent: &crate::metering::usage::UsageAgent| Group {
                    key: agent.agent.as_str().to_owned(),
                    units: agent.units,
                    denied: None,
                };
                usage.agents.iter().map(group).collect()
            }
            GroupBy::Kind => {
                let of = |kind: Kind| {
                    let units = usage.days.iter().filter_map(|day| day.kinds.get(&kind));
                    let units = units.fold(Units::ZERO, |sum, units| sum.saturating_add(*units));
                    let denied = usage.days.iter().filter_map(|day| day.denied_kinds.get(&kind));
                    let denied = denied.fold(0, |sum: u64, count| sum.saturating_add(*count));
                    Group { key: kind.as_str().to_owned(), units, denied: Some(denied) }
                };
                Kind::ALL.map(of).into()
            }
        };
        Self {
            project: usage.project.clone(),
            mode: usage.mode,
            from: usage.from,
            to: usage.to,
            group_by: by,
            total: usage.total,
            groups,
            next: usage.next.clone().filter(|_| by == GroupBy::Agent),
        }
    }

    /// The groups as CSV (RFC 4180), with a head.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let head = match self.group_by {
            GroupBy::Agent => format!("{},units\r\n", self.group_by),
            GroupBy::Day => "day_utc,units,denied\r\n".to_owned(),
            GroupBy::Kind => format!("{},units,denied\r\n", self.group_by),
        };
        let line = |Group { key, units, denied }: &Group| {
            let denied = denied.map_or_else(String::new, |denied| format!(",{denied}"));
            format!("{},{units}{denied}\r\n", quoted(key))
        };
        std::iter::once(head).chain(self.groups.iter().map(line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metering::usage::page::{Order, Page};
    use crate::metering::usage::{Span, Sums, UsageAgent};
    use shared::denials::{DenialReason, Denials};
    use shared::ids::AgentId;

    #[test]
    fn groups_add_up_and_agents_with_commas_stay_one_field() {
        let day = |text| Day::parse(text).unwrap();
        let agent =
            |text: &str, units| UsageAgent { agent: AgentId::parse(text).unwrap(), units: Units::new(units) };
        let sums = Sums {
            by_day: vec![
                (day("2026-05-03"), Kind::Verify, Units::new(4)),
                (day("2026-05-03"), Kind::McpToolCall, Units::new(1)),
            ],
            by_agent: vec![agent("c", 3), agent("a,\"b\"", 2)],
            denials: [((day("2026-05-02"), Kind::McpToolCall), Denials::of(DenialReason::RateLimited, 2))]
                .into(),
            ..Sums::default()
        };
        let span = Span::new(day("2026-05-02"), day("2026-05-03")).unwrap();
        let catalogue = shared::plan::Catalogue::from_json(shared::plan::Catalogue::DEFAULT_JSON).unwrap();
        let project = ProjectId::parse("demo").unwrap();
        let page = Page { order: Order::Units, after: None, limit: 10 };
        let usage = Usage::report(project, (Mode::Live, span), (sums, &page), &catalogue).unwrap();
        for (by, csv) in [
            (GroupBy::Day, "day_utc,units,denied\r\n2026-05-02,0,2\r\n2026-05-03,5,0\r\n"),
            (GroupBy::Agent, "agent,units\r\nc,3\r\n\"a,\"\"b\"\"\",2\r\n"),
            (
                GroupBy::Kind,
                "kind,units,denied\r\nverify,4,0\r\nmcp_tool_call,1,2\r\nextension_event,0,0\r\n",
            ),
        ] {
            assert_eq!(Groups::new(&usage, by).to_csv(), csv);
            assert_eq!(GroupBy::parse(&by.to_string()), Some(by));
        }
    }
}
