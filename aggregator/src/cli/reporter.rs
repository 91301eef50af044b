//! `meter reporter`: on-premise reporters and their keys.

use clap::Args;
use serde_json::Value;
use shared::ids::{ContractId, Incarnation, ProjectId, SourceId};
use shared::units::Units;

use super::call::Call;
use super::place::Place;
use super::print::{self, Column, Format};
use super::project::lines;
use super::{contract, options};
use crate::projects::project::RPM_MAX;

const COLUMNS: &[Column] = &[
    ("REPORTER", "/id"),
    ("CONTRACT", "/contract"),
    ("PROJECT", "/project"),
    ("ENVIRONMENT", "/environment"),
    ("RPM", "/rpm"),
    ("UNITS MAX", "/units_max"),
    ("STATE", "/state"),
    ("LAST HEARD", "/heard_at"),
    ("HOURS LEFT", "/hours_left"),
    ("FORKED", "/forked_at"),
];

const KEY_COLUMNS: &[Column] = &[("KEY", "/id"), ("CREATED", "/created_at"), ("REVOKED", "/revoked_at")];

const UNKNOWN: &str = "`meter reporter list` shows those there are";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a reporter under a contract; it needs a key to report
    Create(Create),
    /// List all reporters, or those of a contract
    List(List),
    /// Show one reporter
    Show(One),
    /// Let another data folder report under the name, such as a standby; the one before is refused from then on
    Promote(Promote),
    /// Retire a reporter with its keys: nothing is expected of it any more
    Retire(One),
    /// Make, list and revoke a reporter's keys
    #[command(subcommand)]
    Key(Key),
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Key {
    /// Make a key and print it; it is shown this once. Two may be in use while one takes the other's place
    Create(One),
    /// List a reporter's keys, revoked ones too
    List(One),
    /// Revoke a key; what is signed with it is refused from now on
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// 1 to 48 of a-z, 0-9 and inner hyphens
    id: SourceId,
    /// The contract that it works under
    #[arg(long)]
    contract: ContractId,
    /// The project that its units are of; may be left out where the contract covers one
    #[arg(short, long, value_name = "ID")]
    project: Option<ProjectId>,
    /// It is a test or staging system
    #[arg(long)]
    development: bool,
    /// Requests per minute on premise
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(RPM_MAX)))]
    rpm: u32,
    /// Units a month after which nothing is served on premise; without it overage is served
    #[arg(long, value_parser = options::units)]
    units_max: Option<Units>,
    /// Its reports are carried here by people
    #[arg(long)]
    air_gap: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those of this contract
    #[arg(long)]
    contract: Option<ContractId>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// The reporter
    id: SourceId,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Promote {
    /// The reporter
    id: SourceId,
    /// The life of the data folder, as the refusal says it
    incarnation: Incarnation,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The reporter
    id: SourceId,
    /// The key's id, which is the part before the secret in its text
    #[arg(long)]
    key: String,
    #[command(flatten)]
    format: Format,
}

fn path(id: &SourceId) -> [&str; 5] {
    ["api", "v1", "admin", "reporters", id.as_str()]
}

pub(super) async fn run(command: Command, place: Place) -> anyhow::Result<()> {
    let (call, format) = match command {
        Command::Create(create) => (self::create(&create).or_say(contract::UNKNOWN), create.format),
        Command::List(List { contract, format }) => {
            let call = Call::get(&["api", "v1", "admin", "reporters"]).maybe_query("contract", contract);
            let none = "There are no reporters yet. Next: `meter reporter create`.";
            let reporters = lines(place.ask(&call).await?, "reporters", format, none);
            return print::rows(format, &reporters, COLUMNS);
        }
        Command::Show(One { id, format }) => (Call::get(&path(&id)).or_say(UNKNOWN), format),
        Command::Promote(Promote { id, incarnation, format }) => {
            let path = [&path(&id)[..], &["promote"]].concat();
            (Call::post(&path).field("incarnation", incarnation).or_say(UNKNOWN), format)
        }
        Command::Retire(One { id, format }) => (Call::delete(&path(&id)).or_say(UNKNOWN), format),
        Command::Key(key) => return self::key(key, &place).await,
    };
    print::rows(format, &place.ask(&call).await?, COLUMNS)
}

fn create(create: &Create) -> Call {
    let environment = if create.development { "development" } else { "production" };
    Call::post(&[&contract::path(&create.contract)[..], &["reporters"]].concat())
        .field("id", &create.id)
        .maybe_field("project", create.project.as_ref())
        .field("environment", environment)
        .field("rpm", create.rpm)
        .maybe_field("units_max", create.units_max)
        .field("air_gap", create.air_gap)
}

async fn key(key: Key, place: &Place) -> anyhow::Result<()> {
    match key {
        Key::Create(One { id, format }) => {
            let call = Call::post(&[&path(&id)[..], &["keys"]].concat()).or_say(UNKNOWN);
            let made = place.ask(&call).await?;
            print::remark(
                format,
                "Keep this key now: it is shown this once. It is TELEMETRY_HMAC_KEY on premise.",
            );
            print::result(format, &made, |made| print::cell(made.get("key").unwrap_or(&Value::Null)))
        }
        Key::List(One { id, format }) => {
            let call = Call::get(&[&path(&id)[..], &["keys"]].concat()).or_say(UNKNOWN);
            let none = "The reporter has no keys yet. Next: `meter reporter key create`.";
            print::rows(format, &lines(place.ask(&call).await?, "keys", format, none), KEY_COLUMNS)
        }
        Key::Revoke(Revoke { id, key, format }) => {
            let call = Call::delete(&[&path(&id)[..], &["keys", &key]].concat()).or_say(UNKNOWN);
            print::rows(format, &place.ask(&call).await?, KEY_COLUMNS)
        }
    }
}
