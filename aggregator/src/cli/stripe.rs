//! `meter stripe`: what is sold, what waits for a person, and what was bought.

use clap::Args;
use serde_json::Value;
use shared::ids::ProjectId;

use super::call::Call;
use super::place::Place;
use super::print::{self, Column, Format, cell};
use super::project::lines;

const PATH: &[&str] = &["api", "v1", "admin", "stripe"];

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make products, prices and the portal at Stripe what the plan catalogue says; shows what differs first
    Sync(Sync),
    /// Show events and payments that need a person
    Parked(Parked),
    /// Process a parked event, a held order or a held bill (project/2026-11/0) again
    Retry(Retry),
    /// Show orders
    Orders(Orders),
    /// Show what closed months cost, and how far it is collected
    Bills(Orders),
}

#[derive(Debug, Args)]
pub(super) struct Sync {
    /// Only show what differs
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Parked {
    /// Also say of each event what processing it again would do; nothing is changed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Retry {
    /// The event's id, the order's id, or a bill as project/period/number
    id: String,
    /// Only say what processing the event again would do
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Orders {
    /// Only of this project
    #[arg(short, long, value_name = "ID")]
    project: Option<ProjectId>,
    #[command(flatten)]
    format: Format,
}

const ORDERS: &[Column] = &[
    ("ORDER", "/id"),
    ("PROJECT", "/project"),
    ("GOOD", "/good"),
    ("STATE", "/state"),
    ("PRICE", "/price"),
    ("CREATED", "/created"),
    ("AUTOMATIC", "/automatic"),
    ("NOTE", "/note"),
];

const BILLS: &[Column] = &[
    ("PROJECT", "/project"),
    ("MONTH", "/period"),
    ("NUMBER", "/number"),
    ("STEP", "/step"),
    ("AMOUNT", "/amount"),
    ("INVOICE", "/invoice"),
    ("NOTE", "/note"),
];

const EVENTS: &[Column] = &[
    ("EVENT", "/id"),
    ("TYPE", "/kind"),
    ("OBJECT", "/object"),
    ("RECEIVED", "/received"),
    ("NOTE", "/note"),
];

pub(super) async fn run(command: Command, place: Place) -> anyhow::Result<()> {
    match command {
        Command::Sync(sync) => self::sync(sync, &place).await,
        Command::Parked(show) => {
            let mut parked = place.ask(&Call::get(&[PATH, &["parked"]].concat())).await?;
            if show.dry_run {
                rehearse_each(&mut parked, &place).await?;
            }
            print::result(show.format, &parked, parked_text)
        }
        Command::Retry(retry) => again(retry, &place).await,
        Command::Orders(show) => list(show, "orders", ORDERS, &place).await,
        Command::Bills(show) => list(show, "bills", BILLS, &place).await,
    }
}

async fn list(show: Orders, what: &str, columns: &[Column], place: &Place) -> anyhow::Result<()> {
    let call = Call::get(&[PATH, &[what]].concat()).maybe_query("project", show.project);
    let answer = place.ask(&call).await?;
    print::rows(show.format, &lines(answer, what, show.format, &format!("There are no {what} yet.")), columns)
}

async fn sync(sync: Sync, place: &Place) -> anyhow::Result<()> {
    let call = Call::post(&[PATH, &["sync"]].concat()).field("dry_run", sync.dry_run);
    let synced = place.ask(&call).await?;
    print::result(sync.format, &synced, |synced| {
        let differences = synced.get("differences").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let lines = differences.iter().map(cell).collect::<Vec<_>>().join("\n");
        match synced.get("applied") {
            _ if lines.is_empty() => "Stripe is as the catalogue says.".to_owned(),
            Some(Value::Bool(true)) => format!("{lines}\nDone."),
            _ => lines,
        }
    })
}

/// What waits for a person: a table of each kind that has some.
fn parked_text(parked: &Value) -> String {
    let kinds = [("events", EVENTS), ("orders", ORDERS), ("bills", BILLS)];
    let tables = kinds.map(|(name, columns)| print::table(parked.get(name).unwrap_or(&Value::Null), columns));
    let drift = parked.pointer("/drift/findings").and_then(Value::as_array);
    let drift = drift.into_iter().flatten().map(cell).collect::<Vec<_>>().join("\n");
    let events = parked.get("events").and_then(Value::as_array);
    let would = events.into_iter().flatten().filter_map(|event| event.get("would").map(rehearsed_text));
    let would = would.collect::<Vec<_>>().join("\n\n");
    let parts: Vec<String> =
        tables.into_iter().chain([would, drift]).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "Nothing waits for a person.".to_owned() } else { parts.join("\n\n") }
}

/// What processing an event again would do.
async fn rehearse(id: &str, place: &Place) -> anyhow::Result<Value> {
    let call = Call::get(&[PATH, &["parked", id, "dry-run"]].concat());
    place.ask(&call.or_say("`meter stripe parked` shows those there are")).await
}

/// Puts what processing it again would do to each event.
async fn rehearse_each(parked: &mut Value, place: &Place) -> anyhow::Result<()> {
    for event in parked.get_mut("events").and_then(Value::as_array_mut).into_iter().flatten() {
        let id = event.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let would = rehearse(&id, place).await?;
        if let Some(event) = event.as_object_mut() {
            event.insert("would".to_owned(), would);
        }
    }
    Ok(())
}

fn rehearsed_text(rehearsed: &Value) -> String {
    let text = |name: &str| rehearsed.get(name).map(cell).unwrap_or_default();
    let note = rehearsed.get("note").filter(|note| !note.is_null()).map(|note| format!(": {}", cell(note)));
    let changes = rehearsed.get("changes").and_then(Value::as_array);
    let lines = changes.into_iter().flatten().filter_map(|change| change.get("says").map(cell));
    let lines: String = lines.map(|line| format!("\n  {line}")).collect();
    let nothing = if lines.is_empty() { "\n  nothing would change" } else { "" };
    format!("{} would be {}{}{lines}{nothing}", text("id"), text("state"), note.unwrap_or_default())
}

async fn again(retry: Retry, place: &Place) -> anyhow::Result<()> {
    if retry.dry_run {
        let rehearsed = rehearse(&retry.id, place).await?;
        return print::result(retry.format, &rehearsed, rehearsed_text);
    }
    let call = Call::post(&[PATH, &["parked", &retry.id, "retry"]].concat());
    let done = place.ask(&call.or_say("`meter stripe parked` shows those there are")).await?;
    print::result(retry.format, &done, |_| format!("{} is processed again by the server.", retry.id))
}
