//! `meter webhooks`: where a project is told what, and what became of it.

use anyhow::{anyhow, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use shared::time::Timestamp;

use super::call::Call;
use super::key::shown_once;
use super::listen::{self, Listen};
use super::options::{self, Project};
use super::place::Place;
use super::print::{self, Column, Format as Output, cell};
use super::project::lines;
use crate::http::SINCE;
use crate::webhooks::endpoint::{DESCRIPTION_CHARS_MAX, Format};
use crate::webhooks::event::EventType;

const COLUMNS: &[Column] = &[
    ("WEBHOOK", "/id"),
    ("STATUS", "/status"),
    ("URL", "/url"),
    ("EVENTS", "/events"),
    ("FORMAT", "/format"),
    ("DESCRIPTION", "/description"),
    ("CREATED", "/created_at"),
];

const DELIVERY: &[Column] = &[
    ("DELIVERY", "/id"),
    ("TYPE", "/type"),
    ("AT", "/timestamp"),
    ("STATE", "/state"),
    ("ATTEMPTS", "/attempts"),
    ("LAST", "/last_attempt/outcome"),
    ("STATUS", "/last_attempt/status"),
    ("NEXT TRY", "/next_attempt_at"),
];

const UNKNOWN: &str = "`meter webhooks list` shows those the project has";

/// Deliveries that are listed where nothing else is asked for.
const LISTED: u32 = 20;

/// The most deliveries that are listed.
const LISTED_MAX: u32 = 10_000;

/// Deliveries in one answer.
const PAGE: u32 = 100;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a webhook and print its secret; it is shown this once
    Create(Create),
    /// List a project's webhooks
    List(List),
    /// Change a webhook, turn it off or on again
    Set(Set),
    /// Delete a webhook with its log
    Delete(Named),
    /// Give a webhook a new secret; the one before signs too for a day
    Rotate(Named),
    /// Send an event that says only that it is a test
    Test(Named),
    /// List a webhook's deliveries, the newest first
    Deliveries(Deliveries),
    /// Send a delivery again, or everything since a time that the webhook has not got
    Replay(Replay),
    /// Receive a project's events on this machine, verify them and print them, until Ctrl-C
    Listen(Listen),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    project: Project,
    /// Where deliveries go
    #[arg(long)]
    url: String,
    /// Only events of this type; may be given several times
    #[arg(long, value_parser = events())]
    event: Vec<String>,
    /// How deliveries are written
    #[arg(long, default_value = "standard", value_parser = options::format())]
    format: Format,
    /// What it is for
    #[arg(long, default_value = "", value_parser = description)]
    description: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    project: Project,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The webhook's id, as `meter webhooks list` shows it
    id: String,
    #[command(flatten)]
    project: Project,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    named: Named,
    /// Where deliveries go
    #[arg(long)]
    url: Option<String>,
    /// Only events of this type; may be given several times; * is all
    #[arg(long, value_parser = events())]
    event: Vec<String>,
    /// What it is for
    #[arg(long, value_parser = description)]
    description: Option<String>,
    /// true turns it off, false on again
    #[arg(long)]
    disabled: Option<bool>,
}

#[derive(Debug, Args)]
pub(super) struct Deliveries {
    #[command(flatten)]
    named: Named,
    /// How many
    #[arg(long, default_value_t = LISTED, value_parser = clap::value_parser!(u32).range(1..=i64::from(LISTED_MAX)))]
    limit: u32,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false, id = "what", args = ["delivery", "since"])]
pub(super) struct Replay {
    #[command(flatten)]
    named: Named,
    /// The delivery's id
    #[arg(long)]
    delivery: Option<String>,
    /// A date such as 2026-11-01, or an instant of RFC 3339 such as 2026-11-01T12:00:00Z
    #[arg(long, value_parser = since)]
    since: Option<String>,
}

pub(super) async fn run(command: Command, place: Place) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => self::create(create, &place).await,
        Command::List(List { project, output }) => {
            let call = Call::get(&path(None)).with_query("project", &place.project(&project).await?);
            let none = "The project has no webhooks yet. Next: `meter webhooks create --url <address>`.";
            let webhooks = place.ask(&call).await?;
            print::rows(output, &lines(webhooks, "webhooks", output, none), COLUMNS)
        }
        Command::Set(set) => self::set(set, &place).await,
        Command::Delete(named) => {
            let call = on(&named, &[], Call::delete, &place).await?;
            print::rows(named.output, &place.ask(&call).await?, COLUMNS)
        }
        Command::Rotate(named) => {
            let project = place.project(&named.project).await?;
            let rotated = place.ask(&on(&named, &["rotate"], Call::post, &place).await?).await?;
            let once = "Keep this secret now: it is shown this once. The one before signs too for a day.";
            print::remark(named.output, once);
            shown_once(named.output, rotated, &project, "secret")
        }
        Command::Test(named) => {
            let begun = place.ask(&on(&named, &["test"], Call::post, &place).await?).await?;
            print::result(named.output, &begun, |begun| cell(&begun["delivery"]))
        }
        Command::Deliveries(Deliveries { named, limit }) => {
            let call = on(&named, &["deliveries"], Call::get, &place).await?;
            let call = call.with_query("limit", &limit.min(PAGE));
            let max = usize::try_from(limit).unwrap_or(usize::MAX);
            let deliveries = place.pages(&call, ("deliveries", "before"), max).await?;
            print::rows(named.output, &deliveries, DELIVERY)
        }
        Command::Replay(replay) => self::replay(replay, &place).await,
        Command::Listen(listen) => listen::run(listen, &place).await,
    }
}

/// The path of a webhook in the interface, or of them all.
pub(super) fn path(webhook: Option<&str>) -> Vec<&str> {
    [&["api", "v1", "webhooks"][..], webhook.as_slice()].concat()
}

async fn on(named: &Named, more: &[&str], call: fn(&[&str]) -> Call, place: &Place) -> anyhow::Result<Call> {
    let path = [&path(Some(&named.id))[..], more].concat();
    Ok(call(&path).with_query("project", &place.project(&named.project).await?).or_say(UNKNOWN))
}

async fn create(create: Create, place: &Place) -> anyhow::Result<()> {
    let project = place.project(&create.project).await?;
    if let Place::Books(books) = place {
        books.context.config.key_secrets()?;
    }
    let call = Call::post(&path(None))
        .with_query("project", &project)
        .field("url", create.url)
        .maybe_field("events", some(create.event))
        .field("format", create.format.as_str())
        .field("description", create.description);
    let made = place.ask(&call).await?;
    print::remark(create.output, "Keep this secret now: it is shown this once.");
    shown_once(create.output, made, &project, "secret")
}

async fn set(set: Set, place: &Place) -> anyhow::Result<()> {
    let call = on(&set.named, &[], Call::patch, place)
        .await?
        .maybe_field("url", set.url)
        .maybe_field("events", some(set.event))
        .maybe_field("description", set.description)
        .maybe_field("disabled", set.disabled);
    if call.is_empty() {
        bail!("nothing to set; give at least one of --url, --event, --description and --disabled");
    }
    print::rows(set.named.output, &place.ask(&call).await?, COLUMNS)
}

async fn replay(replay: Replay, place: &Place) -> anyhow::Result<()> {
    let Replay { named, delivery, since } = replay;
    if let Some(delivery) = &delivery {
        let call = on(&named, &["deliveries", delivery, "replay"], Call::post, place).await?;
        let call = call.or_say("`meter webhooks deliveries` shows those the webhook has");
        return print::rows(named.output, &place.ask(&call).await?, DELIVERY);
    }
    let call = on(&named, &["replay"], Call::post, place).await?.maybe_field("since", since);
    let replayed = place.ask(&call).await?;
    print::result(named.output, &replayed, |replayed| {
        format!("{} deliveries are sent again.", cell(&replayed["replayed"]))
    })
}

/// The names that were given, if any were.
pub(super) fn some(events: Vec<String>) -> Option<Vec<String>> {
    (!events.is_empty()).then_some(events)
}

/// The types of events, and `*` for all.
pub(super) fn events() -> PossibleValuesParser {
    let kinds = EventType::ALL.iter().filter(|kind| kind.is_subscribable()).map(|kind| kind.as_str());
    PossibleValuesParser::new(kinds.chain(["*"]))
}

fn description(text: &str) -> anyhow::Result<String> {
    let fits = crate::text::is_line(text, DESCRIPTION_CHARS_MAX);
    if fits { Ok(text.to_owned()) } else { Err(anyhow!("accepted are {DESCRIPTION_CHARS_MAX} characters")) }
}

fn since(text: &str) -> anyhow::Result<String> {
    Timestamp::parse(text).map(|_| text.to_owned()).ok_or_else(|| anyhow!("accepted is {SINCE}"))
}
