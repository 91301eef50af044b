//! What watches the meter (`observe/`), in a real Prometheus that scrapes a real edge and a real aggregator: every query of
//! the alerts and of the dashboard is of numbers that are there, every alert has its page.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use shared::kind::Kind;
use shared::problem::ErrorCode;
use tests::client::Call;
use tests::config;
use tests::poll::eventually;
use tests::project::{Limits, Project, governed};
use tests::stack::{Options, Part, Stack};

use super::{Running, copy, repository, run};

const WITHIN: Duration = Duration::from_secs(40);
const TOKEN: &str = "a-token-for-metrics";

/// A copy of `observe/` with what a deployment adds: the token, and where the servers are.
fn observed(folder: &Path, stack: Option<&Stack>) -> Result<PathBuf> {
    let folder = folder.join("observe");
    copy(&repository("observe"), &folder)?;
    fs::write(folder.join("metrics-token"), TOKEN)?;
    if let Some(stack) = stack {
        let file = folder.join("prometheus.yml");
        let text = fs::read_to_string(&file)?.replace("15s", "1s");
        let text = text.replace("127.0.0.1:8080", &stack.aggregator().to_string());
        fs::write(&file, text.replace("127.0.0.1:8787", &stack.edge().to_string()))?;
    }
    Ok(folder)
}

#[test]
fn promtool_accepts_the_configuration_and_every_alert_fires_when_it_should() -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("meter-observe-{}", std::process::id()));
    let folder = observed(&scratch, None)?;
    let promtool = config::prometheus()?.join("promtool");
    for words in [
        ["check", "rules", "alerts.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let said = run(Command::new(&promtool).args(words).current_dir(&folder))?;
        ensure!(said.contains("SUCCESS"), "{words:?}: {said}");
    }
    let (rules, cases) = (read(&folder, "alerts.yml")?, read(&folder, "alerts_test.yml")?);
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    ensure!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        ensure!(cases.contains(&format!("alertname=\"{alert}\"")), "{alert} fires in no case");
    }
    fs::remove_dir_all(scratch)?;
    Ok(())
}

fn read(folder: &Path, name: &str) -> Result<String> {
    fs::read_to_string(folder.join(name)).with_context(|| name.to_owned())
}

/// A running Prometheus.
struct Prometheus {
    address: SocketAddr,
    _running: Running,
}

impl Prometheus {
    async fn start(folder: &Path, stack: &Stack) -> Result<Self> {
        let folder = observed(folder, Some(stack))?;
        let address = kit::ports::free()?;
        let mut command = Command::new(config::prometheus()?.join("prometheus"));
        command
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .current_dir(&folder);
        let running = Running::start(&mut command, &folder.join("log"))?;
        running.listens(address).await?;
        Ok(Self { address, _running: running })
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let answer: Value = Call::get(path).send(self.address).await?.ok()?;
        ensure!(answer["status"] == "success", "{path}: {answer}");
        Ok(answer["data"].clone())
    }

    /// The series that a query finds.
    async fn query(&self, query: &str) -> Result<Vec<Value>> {
        let encoded = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let data = self.get(&format!("/api/v1/query?query={encoded}")).await.context(query.to_owned())?;
        data["result"].as_array().cloned().context("no list")
    }

    async fn finds(&self, query: &str) -> Result<()> {
        eventually(query, WITHIN, async || Ok((!self.query(query).await?.is_empty()).then_some(()))).await
    }

    async fn rules(&self) -> Result<Vec<Value>> {
        let data = self.get("/api/v1/rules").await?;
        data["groups"][0]["rules"].as_array().cloned().context("no rules")
    }

    async fn state_of(&self, alert: &str) -> Result<String> {
        let rules = self.rules().await?;
        let rule = rules.iter().find(|rule| rule["name"] == alert).context("no such alert")?;
        Ok(rule["state"].as_str().unwrap_or_default().to_owned())
    }
}

/// The names of our numbers in a query.
fn names(query: &str) -> BTreeSet<String> {
    let word = |character: char| !character.is_ascii_alphanumeric() && character != '_';
    query.split(word).filter(|word| word.starts_with("meter_")).map(str::to_owned).collect()
}

async fn started() -> Result<(Stack, Prometheus)> {
    let token = || vec![("METER_METRICS_TOKEN", TOKEN.to_owned())];
    let options =
        Options { leases: true, edge_settings: token(), aggregator_settings: token(), ..Options::default() };
    let stack = Stack::start_with(options).await?;
    Call::get("/metrics").send(stack.aggregator()).await?.problem(ErrorCode::Unauthorized)?;
    let limits = Limits { included: Some(5), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "watched", limits).await?;
    for _ in 0..8 {
        project.verify().await?;
    }
    governed("pk_live_nobody_k001_1_00", Kind::Verify, "bot").send(stack.edge()).await?;
    let prometheus = Prometheus::start(stack.scratch(), &stack).await?;
    prometheus.finds(r#"up{job="meter"} == 1"#).await?;
    prometheus.finds(r#"up{job="meter-edge"} == 1"#).await?;
    prometheus.finds(r#"meter_denied_requests_total{reason="quota_exhausted"} >= 3"#).await?;
    Ok((stack, prometheus))
}

#[tokio::test]
async fn every_alert_asks_for_numbers_that_are_there_is_silent_here_and_has_a_page() -> Result<()> {
    let (mut stack, prometheus) = started().await?;
    let known = prometheus.get("/api/v1/label/__name__/values").await?;
    let known: BTreeSet<_> = known.as_array().context("names")?.iter().filter_map(Value::as_str).collect();
    eventually("every rule was evaluated", WITHIN, async || {
        let rules = prometheus.rules().await?;
        Ok((!rules.is_empty() && rules.iter().all(|rule| rule["health"] == "ok")).then_some(()))
    })
    .await?;
    for rule in prometheus.rules().await? {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (alert, query) = (text(&rule["name"]), text(&rule["query"]));
        assert_eq!(rule["state"], "inactive", "{alert}: {query}");
        for name in names(&query) {
            ensure!(known.contains(name.as_str()), "{alert} asks for {name}, which is not there");
        }
        let page = text(&rule["annotations"]["runbook_url"]);
        let page = page.strip_prefix("https://docs.palveron.com/runbook/").context("where runbooks are")?;
        let page = read(&repository("docs/runbook"), &format!("{page}.md")).context(alert.clone())?;
        ensure!(page.contains(&format!("Alert `{alert}`")), "the page of {alert} is another's");
        ensure!(page.contains(&format!("severity `{}`", text(&rule["labels"]["severity"]))), "{alert}");
        ensure!(page.contains(&text(&rule["annotations"]["summary"])), "{alert}");
    }
    stack.kill(Part::Edge)?;
    eventually("the alert that an edge is down", WITHIN, async || {
        Ok((prometheus.state_of("MeterEdgeDown").await? != "inactive").then_some(()))
    })
    .await?;
    assert_eq!(prometheus.state_of("MeterDown").await?, "inactive");
    drop(prometheus);
    stack.finish()
}

#[tokio::test]
async fn every_query_of_the_dashboard_finds_something() -> Result<()> {
    let (stack, prometheus) = started().await?;
    let dashboard: Value = serde_json::from_str(&read(&repository("observe"), "grafana.json")?)?;
    let panels = dashboard["panels"].as_array().context("panels")?;
    let mut ids = BTreeSet::new();
    let mut queries = 0_usize;
    for panel in panels {
        let title = panel["title"].as_str().context("a title")?;
        ensure!(ids.insert(panel["id"].to_string()), "{title}: its id is another's");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().context("a query")?.replace("$__rate_interval", "1m");
            prometheus.finds(&query).await.with_context(|| title.to_owned())?;
            queries = queries.saturating_add(1);
        }
    }
    ensure!(queries > 25, "{queries} queries");
    drop(prometheus);
    stack.finish()
}

#[test]
fn every_command_that_a_runbook_names_exists() -> Result<()> {
    let meter = config::meter_program()?;
    let mut commands = BTreeSet::new();
    for page in fs::read_dir(repository("docs/runbook"))? {
        let text = fs::read_to_string(page?.path())?;
        for code in text.split('`').skip(1).step_by(2) {
            let mut words = code.split_whitespace();
            if words.next() == Some("meter") {
                let plain = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
                commands.insert(words.take_while(plain).map(str::to_owned).collect::<Vec<_>>());
            }
        }
    }
    ensure!(commands.len() > 5, "{commands:?}");
    for command in commands {
        run(Command::new(&meter).args(&command).arg("--help"))?;
    }
    Ok(())
}
