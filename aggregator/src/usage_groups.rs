//! The usage report by one dimension, as JSON and as CSV.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::{Mode, ProjectId};
use shared::kind::Kind;
use shared::time::Day;
use shared::units::Units;

use crate::usage::Usage;

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
                let group = |day: &crate::usage::UsageDay| Group {
                    key: day.date.to_string(),
                    units: day.units,
                    denied: Some(day.denied),
                };
                usage.days.iter().map(group).collect()
            }
            GroupBy::Agent => {
                let group = |agent: &crate::usage::UsageAgent| Group {
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
            GroupBy::Day | GroupBy::Kind => format!("{},units,denied\r\n", self.group_by),
        };
        let line = |Group { key, units, denied }: &Group| {
            let denied = denied.map_or_else(String::new, |denied| format!(",{denied}"));
            format!("{},{units}{denied}\r\n", quoted(key))
        };
        std::iter::once(head).chain(self.groups.iter().map(line)).collect()
    }
}

/// What a spreadsheet takes for a formula where a cell begins with it, also in the wide forms of East Asian text.
const FORMULA: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// A cell of text: in quotes where it would be taken for several, and behind an apostrophe where a spreadsheet would
/// compute it. Whoever flushes chooses the names of agents, and somebody else opens the export.
pub(crate) fn quoted(text: &str) -> String {
    let doubled = || text.replace('"', "\"\"");
    if text.starts_with(FORMULA) {
        format!("\"'{}\"", doubled())
    } else if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", doubled())
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::{Span, Sums, UsageAgent};
    use crate::usage_page::{Order, Page};
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
            (GroupBy::Day, "day,units,denied\r\n2026-05-02,0,2\r\n2026-05-03,5,0\r\n"),
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

    #[test]
    fn no_cell_of_an_export_is_a_formula_to_a_spreadsheet() {
        for (text, cell) in [
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(1)", "\"'@SUM(1)\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("\n=1", "\"'\n=1\""),
            ("\u{ff1d}1", "\"'\u{ff1d}1\""),
            ("=\"a\",b", "\"'=\"\"a\"\",b\""),
            ("a=1", "a=1"),
            ("bot-1", "bot-1"),
            ("a,=1", "\"a,=1\""),
            ("", ""),
        ] {
            assert_eq!(quoted(text), cell, "{text:?}");
        }
        let agent = UsageAgent { agent: AgentId::parse("=1+1").unwrap(), units: Units::new(2) };
        assert_eq!(agent.csv(), "\"'=1+1\",2\r\n");
    }
}
