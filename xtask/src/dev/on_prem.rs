//! `--on-prem`: a meter on premise beside the rest, under a contract of its own.
//!
//! Its project, contract and key are made once, and remembered like the demo's.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

use super::demo::{meter, text_field};
use super::ports::{self, address};
use super::services::Services;
use super::settings::Settings;
use crate::native::Programs;

/// The project, the contract and the reporter.
const PROJECT: &str = "plant";
const CONTRACT: &str = "plant-contract";
const REPORTER: &str = "plant-1";

/// A demo is looked at within minutes: the least that a reporter takes.
const INTERVAL_SECONDS: &str = "60";

/// The options about it.
#[derive(Debug, Args)]
pub(crate) struct OnPrem {
    /// Start meter-reporter too, under a contract of its own
    #[arg(long)]
    on_prem: bool,
    /// Where meter-reporter listens
    #[arg(
        long,
        env = "METER_REPORTER_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8790",
        value_parser = address
    )]
    reporter_listen: SocketAddr,
}

impl OnPrem {
    /// What is built beside the rest.
    pub(super) fn programs(&self) -> &'static [&'static str] {
        if self.on_prem { &["-p", "meter-reporter", "--bin", "meter-reporter"] } else { &[] }
    }

    /// Makes sure that its address is free.
    pub(super) fn check_free(&self) -> Result<()> {
        if self.on_prem {
            TcpListener::bind(self.reporter_listen).with_context(|| {
                format!("{} is taken; --reporter-listen names another address", self.reporter_listen)
            })?;
        }
        Ok(())
    }

    /// Tells the others where it will be, so that its clock moves along, or that it is not there this time.
    pub(super) fn announce(&self, settings: &mut Settings) {
        if self.on_prem {
            settings.set("REPORTER_URL", format!("http://{}", ports::reachable(self.reporter_listen)));
        } else {
            settings.forget("REPORTER_URL");
        }
    }

    /// Makes what is missing and starts the reporter.
    pub(super) fn start(
        &self,
        services: &mut Services,
        settings: &mut Settings,
        programs: &Programs,
        folder: &Path,
    ) -> Result<()> {
        if !self.on_prem {
            return Ok(());
        }
        if !settings.has("TELEMETRY_HMAC_KEY") {
            agree(settings, programs.get("meter")?)?;
        }
        let url = settings.get("AGGREGATOR_URL")?.to_owned();
        settings.set("TELEMETRY_ENDPOINT", url);
        settings.set("TELEMETRY_INTERVAL_SECONDS", INTERVAL_SECONDS.to_owned());
        settings.set("METER_REPORTER_DATA", folder.join("reporter").display().to_string());
        settings.set("METER_REPORTER_LISTEN", self.reporter_listen.to_string());
        settings.save()?;
        let mut command = Command::new(programs.get("meter-reporter")?);
        // Whoever starts this may have the settings of the demo's edge in the same terminal.
        for name in OF_THE_EDGE {
            command.env_remove(name);
        }
        for name in OWN {
            command.env(name, settings.get(name)?);
        }
        if settings.has("METER_TEST") {
            command.env("METER_TEST", "1");
        }
        services.start("reporter", &mut command, &folder.join("logs"))?;
        services.wait_for("reporter", self.reporter_listen, "/healthz")
    }

    /// Titles and lines to paste, where it runs.
    pub(super) fn lines(&self, settings: &Settings) -> Vec<(&'static str, String)> {
        if !self.on_prem {
            return Vec::new();
        }
        let get = |name: &str| settings.get(name).unwrap_or_default();
        let (reporter, operator) = (get("REPORTER_URL"), get("OPERATOR_TOKEN"));
        vec![
            (
                "on premise: what was served is counted, without a key",
                format!(
                    "curl -s {reporter}/count -d '{{\"kind\":\"verify\",\"agent\":\"line-3\",\"units\":12}}'"
                ),
            ),
            (
                "on premise: may one more be served?",
                format!("curl -s {reporter}/v1/check -d '{{\"kind\":\"verify\",\"agent\":\"line-3\"}}'"),
            ),
            ("on premise: report now instead of within a minute", format!("curl -s -X POST {reporter}/send")),
            (
                "how the reporter stands, and when the contract's minimum would be billed",
                format!(
                    "curl -s {}/api/v1/admin/reporters -H 'Authorization: Bearer {operator}'",
                    get("AGGREGATOR_URL")
                ),
            ),
        ]
    }
}

/// What of `target/dev/env` is the edge's alone: a reporter that is told of it does not start.
const OF_THE_EDGE: [&str; 3] = ["METER_KEY_SECRETS", "UPSTREAM_URL", "COUNTERS"];

/// What the reporter is told.
const OWN: [&str; 5] = [
    "TELEMETRY_ENDPOINT",
    "TELEMETRY_HMAC_KEY",
    "TELEMETRY_INTERVAL_SECONDS",
    "METER_REPORTER_DATA",
    "METER_REPORTER_LISTEN",
];

/// Makes the project, the contract, the reporter and its key; a run that was interrupted goes on where it was.
fn agree(settings: &mut Settings, program: &Path) -> Result<()> {
    let made =
        |settings: &Settings, words: &[&str]| -> Result<Value> { meter(settings, program, words, &[]) };
    let project = made(settings, &["project", "show", PROJECT, "--json"])
        .or_else(|_| made(settings, &["project", "create", PROJECT, "--plan", "community", "--json"]))?;
    // By the clock of the books, which may have been moved.
    let created = text_field(&project, "created_at")?;
    let first_day = created.get(..10).context("a project was created on a day")?;
    if made(settings, &["contract", "show", CONTRACT, "--json"]).is_err() {
        let terms = ["--volume", "1000000", "--tier", "500000:100", "--tier", "80", "--minimum", "600000"];
        let whom = ["--customer", "Plant Ltd", "--sla", "99.9 % a month", "--project", PROJECT];
        let begin = ["contract", "create", CONTRACT, "--from", first_day, "--json"];
        made(settings, &[&begin[..], &terms, &whom].concat())?;
    }
    if made(settings, &["reporter", "show", REPORTER, "--json"]).is_err() {
        let words = ["reporter", "create", REPORTER, "--contract", CONTRACT, "--rpm", "6000", "--json"];
        made(settings, &words)?;
    }
    let key = made(settings, &["reporter", "key", "create", REPORTER, "--json"])?;
    settings.set("TELEMETRY_HMAC_KEY", text_field(&key, "key")?);
    settings.save()
}
