//! Nothing leaves but what the page names.

use std::collections::BTreeSet;

use proptest::prelude::*;
use shared::cell::Observed;
use shared::home::Home;
use shared::ids::{KeyId, Mode, ProjectId};

use super::*;
use crate::agents::AgentNames;
use crate::outbox::{Chain, Reporting};
use crate::policy;
use meter_edge::premise::{Count, Premise, Rules};

fn premise() -> Premise {
    let home = shared::home::HomeName { project: ProjectId::parse("plant-7").unwrap(), mode: Mode::Live };
    Premise::new(home, KeyId::parse("onpremise").unwrap(), Rules::default())
}

/// What a reporter would send of these counts.
fn sent(counts: &[Count], names: &AgentNames) -> String {
    let now = Timestamp::parse("2026-11-23T12:00:00Z").unwrap();
    let who = Reporting { source: SourceId::parse("plant-7").unwrap(), environment: Environment::Production };
    let name = policy::home_of(&who.source).unwrap();
    let life = Incarnation::parse("abcdefgh").unwrap();
    let mut home = Home::new(name.clone(), life.clone());
    home.install(policy::provisional(&name, now).unwrap());
    for count in counts {
        let agent = names.of(&count.agent);
        home.count_served(now, (count.kind, &agent), count.units, count.observed);
        home.count_denied(now, (count.kind, &agent), DenialReason::RateLimited);
    }
    let round = home.flush(now);
    Chain::default().freeze(&who, &life, round, now).into_iter().map(|frozen| frozen.body).collect()
}

/// Whether a body holds named fields of their form, and nothing else.
fn check(body: &str) {
    let value: Value = serde_json::from_str(body).unwrap();
    let named: BTreeSet<&str> = FIELDS.iter().map(|(path, _, _)| *path).collect();
    for (path, value) in paths(&value) {
        assert!(named.contains(path.as_str()), "{path} is not on the page");
        let fits = match (path.as_str(), value) {
            ("source", Value::String(text)) => SourceId::parse(text).is_ok(),
            ("incarnation", Value::String(text)) => Incarnation::parse(text).is_ok(),
            ("previous", Value::String(text)) => {
                text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
            }
            ("environment", Value::String(text)) => matches!(text.as_str(), "production" | "development"),
            ("cells[].day", Value::String(text)) => shared::time::Day::parse(text).is_some(),
            ("cells[].kind", Value::String(text)) => Kind::parse(text).is_some(),
            ("cells[].agent", Value::String(text)) => AgentId::parse(text).is_ok(),
            (_, value) => value.is_u64(),
        };
        assert!(fits, "{path}: {value}");
    }
}

#[test]
fn the_page_names_every_field_of_the_types() {
    let body = json::write(&example().unwrap());
    let value: Value = serde_json::from_str(&body).unwrap();
    let there: BTreeSet<String> = paths(&value).into_iter().map(|(path, _)| path).collect();
    let named: BTreeSet<String> = FIELDS.iter().map(|(path, _, _)| (*path).to_owned()).collect();
    assert_eq!(there, named);
    check(&body);
}

fn file() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/egress.md")
}

#[test]
fn the_page_is_what_the_program_sends() {
    assert_eq!(std::fs::read_to_string(file()).unwrap(), page().unwrap());
}

#[test]
#[ignore = "writes docs/egress.md"]
fn write_the_page() {
    std::fs::write(file(), page().unwrap()).unwrap();
}

proptest! {
    #[test]
    fn whatever_is_posted_no_other_field_leaves(
        agents in prop::collection::vec("\\PC{0,140}", 1..6),
        units in 0_u64..2_000_000,
        tokens in any::<u64>(),
    ) {
        let body = |agent: &String| serde_json::json!({"kind": "verify", "agent": agent, "units": units, "tokens_in": tokens});
        let accepted: Vec<Count> = agents
            .iter()
            .filter_map(|agent| premise().counts("", &body(agent).to_string()).ok())
            .flatten()
            .collect();
        check(&sent(&accepted, &AgentNames::Plain));
    }

    #[test]
    fn a_field_that_is_not_named_is_refused_whatever_it_is(name in "\\PC{0,20}", value in "\\PC{0,40}") {
        const NAMED: [&str; 6] = ["kind", "agent", "units", "tokens_in", "tokens_out", "anchors"];
        prop_assume!(!NAMED.contains(&name.as_str()));
        let body = serde_json::json!({"kind": "verify", name: value});
        prop_assert!(premise().counts("", &body.to_string()).is_err());
    }

    #[test]
    fn with_a_salt_no_name_of_an_agent_leaves(agent in "[a-zA-Z]{1,3}[!-~]{4,120}") {
        let names = AgentNames::parse("0123456789abcdef").unwrap();
        let count = Count {
            kind: Kind::Verify,
            agent: AgentId::parse(&agent).unwrap(),
            units: Units::new(1),
            observed: Observed::default(),
        };
        let body = sent(&[count], &names);
        check(&body);
        let value: Value = serde_json::from_str(&body).unwrap();
        for (path, value) in paths(&value) {
            if path == "cells[].agent" {
                prop_assert!(value.as_str().is_some_and(|name| name.len() == 32 && name != agent));
            }
        }
    }
}
