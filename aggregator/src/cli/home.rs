//! `meter home`: at which place projects' homes are, and moves between places.
//!
//! What a move has come to is in the books: whoever stops this command and gives it again goes on where it was.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;
use shared::ids::ProjectId;
use shared::policy::Place as HomesAt;

use super::call::Call;
use super::place::{Place, Unanswered};
use super::print::{self, Column, Format, cell};
use super::project;

const COLUMNS: &[Column] = &[
    ("PROJECT", "/project"),
    ("HOMES AT", "/place"),
    ("MOVING TO", "/moving_to"),
    ("LIVE ENDED", "/ended/live"),
    ("TEST ENDED", "/ended/test"),
    ("STEPS", "/term"),
];

/// How many projects' homes are on their way at once: each is served again before the next ones wait.
const TOGETHER_MAX: usize = 16;
/// How often it is asked how far they are.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show where a project's homes are
    Show(Show),
    /// Move homes to another place, without losing or counting a unit twice; clients wait for some seconds
    ///
    /// Homes where they are grant nothing more, take in what isolates have, and end once everything is in the books;
    /// then the other place has them. Isolates that have died hold that up for twenty seconds. The same command again goes
    /// on where it was; one with the other place turns back.
    Move(Move),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The project
    project: ProjectId,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Move {
    /// The project
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    project: Option<ProjectId>,
    /// All projects, some at once
    #[arg(long)]
    all: bool,
    /// Where the homes are to be: durable_object or redis
    #[arg(long, value_parser = homes_at)]
    to: HomesAt,
    /// For how many seconds to wait until each has moved
    #[arg(long, default_value_t = 120)]
    wait: u32,
    #[command(flatten)]
    format: Format,
}

fn homes_at(text: &str) -> Result<HomesAt, String> {
    HomesAt::parse(text).ok_or_else(|| "accepted are durable_object and redis".to_owned())
}

pub(super) async fn run(command: Command, place: Place) -> anyhow::Result<()> {
    match command {
        Command::Show(Show { project, format }) => {
            let homes = place.ask(&Call::get(&path(project.as_str()))).await?;
            print::rows(format, &homes, COLUMNS)
        }
        Command::Move(wanted) => bring(wanted, &place).await,
    }
}

fn path(project: &str) -> [&str; 6] {
    ["api", "v1", "admin", "projects", project, "homes"]
}

async fn bring(wanted: Move, place: &Place) -> anyhow::Result<()> {
    let Move { project, to, wait, format, .. } = wanted;
    let projects = match project {
        Some(project) => vec![project.to_string()],
        None => all(place).await?,
    };
    let mut moved = Vec::new();
    for some in projects.chunks(TOGETHER_MAX) {
        moved.extend(together(some, (to, wait), format, place).await?);
    }
    if projects.len() > 1 {
        let count = projects.len();
        let next = format!(
            "The homes of all {count} projects are at {to}. Next: start the edge and `meter serve` with COUNTERS={to}, so that \
             isolates ask there first and new projects begin there."
        );
        print::remark(format, &next);
    }
    print::rows(format, &Value::Array(moved), COLUMNS)
}

/// The ids of all projects.
async fn all(place: &Place) -> anyhow::Result<Vec<String>> {
    let call = Call::get(&project::list_path());
    let projects = place.pages(&call, ("projects", "after"), usize::MAX).await?;
    let projects = projects.as_array().cloned().unwrap_or_default();
    Ok(projects.iter().filter_map(|project| Some(project.pointer("/id")?.as_str()?.to_owned())).collect())
}

/// Moves the homes of some projects, and waits until they are there.
async fn together(
    projects: &[String],
    (to, wait): (HomesAt, u32),
    format: Format,
    place: &Place,
) -> anyhow::Result<Vec<Value>> {
    let mut under_way = Vec::new();
    for project in projects {
        let homes = place.ask(&Call::post(&path(project)).field("to", to)).await?;
        under_way.push((project, homes, String::new()));
    }
    let looks = u64::from(wait).saturating_mul(4);
    for look in 0..=looks {
        for (project, homes, told) in &mut under_way {
            if look > 0 && !is_at(homes, to) {
                *homes = place.ask(&Call::get(&path(project))).await?;
            }
            let now = progress(homes, to);
            if now != *told {
                print::remark(format, &format!("{project}: {now}"));
                *told = now;
            }
        }
        if under_way.iter().all(|(_, homes, _)| is_at(homes, to)) {
            return Ok(under_way.into_iter().map(|(_, homes, _)| homes).collect());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    let waits = under_way.iter().filter(|(_, homes, _)| !is_at(homes, to));
    let waits: Vec<&str> = waits.map(|(project, ..)| project.as_str()).collect();
    let why = format!(
        "the homes of {} are still leaving, and grant nothing; `meter serve` brings them to {to} once its log says no more why \
         not. The same command waits again, and one with the other place turns back",
        waits.join(", ")
    );
    Err(Unanswered::Unreachable(why).into())
}

fn is_at(homes: &Value, to: HomesAt) -> bool {
    let at = |name: &str| homes.pointer(name).and_then(Value::as_str);
    at("/place") == Some(to.as_str()) && at("/moving_to").is_none()
}

/// How far it is, in words.
fn progress(homes: &Value, to: HomesAt) -> String {
    if is_at(homes, to) {
        return format!("at {to}");
    }
    let place = cell(homes.pointer("/place").unwrap_or(&Value::Null));
    let ended = |mode: &str| homes.pointer(&format!("/ended/{mode}")) == Some(&Value::Bool(true));
    let word = |mode: &str| if ended(mode) { "has ended" } else { "takes in what is out" };
    format!("leaving {place}: the home of live keys {}, that of test keys {}", word("live"), word("test"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_told_says_what_is_waited_for() {
        let of = |place: &str, moving_to: Option<&str>, live: bool| {
            progress(
                &json!({"place": place, "moving_to": moving_to, "ended": {"live": live, "test": true}}),
                HomesAt::Redis,
            )
        };
        assert_eq!(of("redis", None, false), "at redis");
        let waits = of("durable_object", Some("redis"), false);
        assert!(waits.starts_with("leaving durable_object: the home of live keys takes in"), "{waits}");
        assert!(waits.ends_with("test keys has ended"), "{waits}");
        assert_ne!(of("redis", Some("durable_object"), true), "at redis", "it is on its way from there");
    }
}
