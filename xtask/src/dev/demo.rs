//! The demo project, its keys and its tokens, made through the operator's own commands.
//!
//! Each step is remembered as soon as it is done, so that a run that was interrupted goes on where it was. It must
//! never make a second key where one is remembered.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::PROJECT;
use super::settings::Settings;

/// The plans of the catalogue.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Plan {
    Community,
    Pro,
    Business,
    Enterprise,
}

/// A number of the project's own, or back to its plan's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Plan,
    Own(u64),
}

/// The options that choose the demo project's limits.
#[derive(Debug, Args)]
#[command(next_help_heading = "Demo project")]
pub(crate) struct Limits {
    /// Its plan; community at first
    #[arg(long)]
    plan: Option<Plan>,
    /// Requests per minute; `plan` goes back to the plan's
    #[arg(long, value_name = "N", value_parser = limit)]
    rpm: Option<Limit>,
    /// Units included in a month; `plan` goes back to the plan's
    #[arg(long, value_name = "N", value_parser = limit)]
    included: Option<Limit>,
}

impl Limits {
    /// As options of `meter project set`.
    fn for_set(&self) -> Vec<String> {
        let plan = self.plan.and_then(|plan| plan.to_possible_value()).map(|plan| plan.get_name().to_owned());
        let text = |limit: Limit| match limit {
            Limit::Plan => "plan".to_owned(),
            Limit::Own(number) => number.to_string(),
        };
        let options =
            [("--plan", plan), ("--rpm", self.rpm.map(text)), ("--included", self.included.map(text))];
        let given =
            options.into_iter().filter_map(|(name, value)| value.map(|value| [name.to_owned(), value]));
        given.flatten().collect()
    }

    /// As options of `meter project create`, which needs a plan and takes numbers only.
    fn for_create(&self) -> Vec<String> {
        let own = |limit: Option<Limit>| limit.filter(|limit| *limit != Limit::Plan);
        let plan = self.plan.or(Some(Plan::Community));
        Self { plan, rpm: own(self.rpm), included: own(self.included) }.for_set()
    }
}

fn limit(text: &str) -> Result<Limit, String> {
    if text == "plan" {
        return Ok(Limit::Plan);
    }
    text.parse()
        .map(Limit::Own)
        .map_err(|_error| "expected a number, or `plan` for the plan's own".to_owned())
}

/// Makes what is missing and applies the limits; returns how the project stands.
pub(super) fn prepare(settings: &mut Settings, program: &Path, limits: &Limits) -> Result<Value> {
    if settings.has("PROJECT_ID") {
        let changes = limits.for_set();
        if !changes.is_empty() {
            meter(settings, program, &["project", "set", PROJECT, "--json"], &changes)?;
        }
    } else {
        meter(settings, program, &["project", "create", PROJECT, "--json"], &limits.for_create())?;
        settings.set("PROJECT_ID", PROJECT.to_owned());
        settings.save()?;
    }
    // Commands in a terminal with these settings are about the demo.
    settings.set("METER_PROJECT", PROJECT.to_owned());
    settings.save()?;
    if settings.has("FAKE_STRIPE_LISTEN") {
        // Without an account of the caller's nothing is sold that was not made here.
        meter(settings, program, &["stripe", "sync", "--json"], &[])?;
    }
    for (name, field, command) in [
        ("PROJECT_KEY", "key", &["key", "create", "--project", PROJECT, "--json"][..]),
        ("TEST_PROJECT_KEY", "key", &["key", "create", "--project", PROJECT, "--test", "--json"]),
        ("ADMIN_TOKEN", "token", &["token", "create", "--project", PROJECT, "--role", "admin", "--json"]),
        ("OPERATOR_TOKEN", "token", &["token", "create", "--operator", "--json"]),
    ] {
        if !settings.has(name) {
            let answer = meter(settings, program, command, &[])?;
            settings.set(name, text_field(&answer, field)?);
            settings.save()?;
        }
    }
    for (name, command) in [
        (
            "OWNER_ACCOUNT",
            &[
                "--email",
                "owner@demo.example",
                "--name",
                "Demo Owner",
                "--project",
                PROJECT,
                "--role",
                "owner",
            ][..],
        ),
        ("OPERATOR_ACCOUNT", &["--email", "operator@demo.example", "--name", "Demo Operator", "--operator"]),
    ] {
        if !settings.has(name) {
            let answer =
                meter(settings, program, &[&["account", "create", "--json"], command].concat(), &[])?;
            settings.set(name, text_field(&answer, "id")?);
            settings.save()?;
        }
    }
    meter(settings, program, &["project", "show", PROJECT, "--json"], &[])
}

/// Addresses that sign in once, and whom: made anew for each run, because an hour later they are refused.
pub(super) fn sign_in(settings: &Settings, program: &Path) -> Result<Vec<(&'static str, String)>> {
    let link = |(name, whom)| {
        let url = ["--url".to_owned(), settings.get("AGGREGATOR_URL")?.to_owned()];
        let words = ["account", "link", settings.get(name)?, "--json"];
        Ok((whom, text_field(&meter(settings, program, &words, &url)?, "url")?))
    };
    [("OWNER_ACCOUNT", "as the demo's owner"), ("OPERATOR_ACCOUNT", "as the operator")]
        .map(link)
        .into_iter()
        .collect()
}

/// Whether what the edge enforces for the project is what the aggregator says.
pub(super) fn is_in_force(project: &Value, quota: &Value) -> bool {
    [("/plan", "/plan"), ("/rpm", "/rpm/limit"), ("/included", "/included")]
        .iter()
        .all(|(said, enforced)| project.pointer(said) == quota.pointer(enforced))
}

/// Runs one of the operator's commands on the demo's database.
pub(super) fn meter(settings: &Settings, program: &Path, words: &[&str], more: &[String]) -> Result<Value> {
    let mut command = Command::new(program);
    settings.give_to(&mut command).args(words).args(more).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!("`meter {}` failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("`meter {}` did not answer with JSON", words.join(" ")))
}

pub(super) fn text_field(answer: &Value, field: &str) -> Result<String> {
    let value = answer.get(field).and_then(Value::as_str);
    Ok(value.with_context(|| format!("`meter … --json` answered without \"{field}\""))?.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_given_becomes_an_option() {
        let none = Limits { plan: None, rpm: None, included: None };
        assert!(none.for_set().is_empty());
        assert_eq!(none.for_create().join(" "), "--plan community");
        let some = Limits { plan: Some(Plan::Pro), rpm: Some(Limit::Plan), included: Some(Limit::Own(0)) };
        assert_eq!(some.for_set().join(" "), "--plan pro --rpm plan --included 0");
        assert_eq!(some.for_create().join(" "), "--plan pro --included 0");
    }

    #[test]
    fn limits_are_numbers_or_the_plans() {
        assert_eq!(limit("60"), Ok(Limit::Own(60)));
        assert_eq!(limit("plan"), Ok(Limit::Plan));
        for refused in ["", "-1", "many", "1.5"] {
            assert!(limit(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_policy_is_in_force_when_every_limit_agrees() {
        let project = json!({"plan": "pro", "rpm": 7, "included": 10, "policy_version": 3});
        let quota = |rpm: u32| json!({"plan": "pro", "rpm": {"limit": rpm, "remaining": 1}, "included": 10});
        assert!(is_in_force(&project, &quota(7)));
        assert!(!is_in_force(&project, &quota(8)));
        assert!(!is_in_force(&project, &json!({"status": 503})));
    }

    #[test]
    fn an_answer_without_the_field_is_an_error() {
        assert_eq!(text_field(&json!({"key": "pk_live_x"}), "key").unwrap(), "pk_live_x");
        assert!(text_field(&json!({"key": 7}), "key").is_err());
    }
}
