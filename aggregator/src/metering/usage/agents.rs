//! Days of some agents: what a heat map and lines in a table are drawn from, without reading what all others used.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::{AgentId, Mode, ProjectId};
use shared::time::Day;
use shared::units::Units;

use super::Span;
use super::csv::quoted;

/// The most agents that one call asks for: their days are looked up one by one, and more than these nobody sees at once.
pub const AGENTS_MAX: usize = 50;

/// What is accepted as agents, in words.
pub const AGENTS: &str = "1 to 50 agents, parted by spaces";

/// Reads agents; one that is named twice is asked for once.
#[must_use]
pub fn parse(text: &str) -> Option<Vec<AgentId>> {
    let mut agents = Vec::new();
    for part in text.split(' ') {
        let agent = AgentId::parse(part).ok()?;
        if !agents.contains(&agent) {
            agents.push(agent);
        }
    }
    (agents.len() <= AGENTS_MAX).then_some(agents)
}

/// The body of `GET /api/v1/usage?group_by=day,agent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AgentDays {
    project: ProjectId,
    mode: Mode,
    from: Day,
    to: Day,
    group_by: &'static str,
    /// The agents in the order in which they were asked for.
    agents: Vec<AgentSeries>,
}

/// One agent, day by day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct AgentSeries {
    agent: AgentId,
    units: Units,
    /// Units of every day from first to last.
    days: Vec<Units>,
}

impl AgentDays {
    /// What this grouping is called.
    pub const NAME: &'static str = "day,agent";

    /// Builds the report of these agents from the units of each day that has any.
    #[must_use]
    pub fn new(
        (project, mode, span): (ProjectId, Mode, Span),
        agents: Vec<AgentId>,
        counted: Vec<(Day, AgentId, Units)>,
    ) -> Self {
        let mut found: BTreeMap<(AgentId, Day), Units> = BTreeMap::new();
        for (day, agent, units) in counted {
            let sum = found.entry((agent, day)).or_default();
            *sum = sum.saturating_add(units);
        }
        let series = |agent: AgentId| {
            let of = |day| found.get(&(agent.clone(), day)).copied().unwrap_or_default();
            let days: Vec<Units> = span.days().map(of).collect();
            AgentSeries { units: super::sum(days.iter()), agent, days }
        };
        let agents = agents.into_iter().map(series).collect();
        Self { project, mode, from: span.from(), to: span.to(), group_by: Self::NAME, agents }
    }

    /// The days as CSV (RFC 4180), with a head: each agent's days, also those without units.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut csv = "agent,day_utc,units\r\n".to_owned();
        for AgentSeries { agent, days, .. } in &self.agents {
            let agent = quoted(agent.as_str());
            let dates = (self.from.number()..).filter_map(Day::from_number);
            csv.extend(dates.zip(days).map(|(day, units)| format!("{agent},{day},{units}\r\n")));
        }
        csv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_told_in_the_order_they_are_asked_for_without_gaps() {
        let day = |text| Day::parse(text).unwrap();
        let agent = |text: &str| AgentId::parse(text).unwrap();
        let of = (
            ProjectId::parse("demo").unwrap(),
            Mode::Live,
            Span::new(day("2026-05-02"), day("2026-05-04")).unwrap(),
        );
        let counted = vec![
            (day("2026-05-04"), agent("a,b"), Units::new(4)),
            (day("2026-05-02"), agent("a,b"), Units::new(1)),
            (day("2026-05-02"), agent("c"), Units::new(9)),
        ];
        let report = AgentDays::new(of, parse("c gone a,b c").unwrap(), counted);
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            concat!(
                r#"{"project":"demo","mode":"live","from":"2026-05-02","to":"2026-05-04","group_by":"day,agent","agents":["#,
                r#"{"agent":"c","units":9,"days":[9,0,0]},{"agent":"gone","units":0,"days":[0,0,0]},"#,
                r#"{"agent":"a,b","units":5,"days":[1,0,4]}]}"#
            )
        );
        let lines = report.to_csv();
        assert_eq!(lines.lines().count(), 10);
        assert!(lines.ends_with("\"a,b\",2026-05-03,0\r\n\"a,b\",2026-05-04,4\r\n"), "{lines}");
    }

    #[test]
    fn as_many_agents_as_are_accepted_are_read() {
        let names = |count: usize| (0..count).map(|n| format!("a{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(parse(&names(AGENTS_MAX)).map(|agents| agents.len()), Some(AGENTS_MAX));
        for bad in ["", " ", "a  b", "a b ", "~mine", "a\tb", &names(AGENTS_MAX + 1)] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
