//! `meter webhooks`: where a project is told what, and what became of it.

use anyhow::{anyhow, bail};
use clap::Args;
use serde::Serialize;
use shared::ids::ProjectId;
use shared::time::Timestamp;

use super::print::{self, Format as Output};
use super::{Context, project};
use crate::http::{DeliveryView, REPLAY_MAX, SINCE, WebhookView, WithSecret};
use crate::store::{Asked, EndpointCreated, NewEndpoint, Page, Work};
use crate::webhook::endpoint::{DESCRIPTION_CHARS_MAX, ENDPOINTS_MAX, EndpointChange, Filter, Format};
use crate::webhook::target::Target;

/// Deliveries that are listed where nothing else is asked for.
const LISTED: u32 = 20;

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
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The project
    #[arg(long)]
    project: ProjectId,
    /// Where deliveries go
    #[arg(long)]
    url: String,
    /// Only events of this type; may be given several times
    #[arg(long)]
    event: Vec<String>,
    /// standard or slack
    #[arg(long, default_value = "standard", value_parser = format)]
    format: Format,
    /// What it is for
    #[arg(long, default_value = "", value_parser = description)]
    description: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The project
    #[arg(long)]
    project: ProjectId,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The project
    #[arg(long)]
    project: ProjectId,
    /// The webhook's id, as `meter webhooks list` shows it
    id: String,
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
    #[arg(long)]
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
    #[arg(long, default_value_t = LISTED)]
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
    since: Option<Timestamp>,
}

#[derive(Serialize)]
struct Begun {
    delivery: String,
}

#[derive(Serialize)]
struct Replayed {
    replayed: u64,
}

pub(super) async fn run(command: Command, context: Context) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => self::create(create, &context).await,
        Command::List(list) => self::list(list, &context).await,
        Command::Set(set) => self::set(set, &context).await,
        Command::Delete(named) => {
            let now = context.clock.now();
            let removed = context
                .store
                .change_in(&named.project, async |work| {
                    work.delete_webhook(&named.project, &named.id, now).await
                })
                .await?;
            let removed = removed.ok_or_else(|| unknown(&named))?;
            print::result(named.output, &WebhookView::from(removed), WebhookView::line)
        }
        Command::Rotate(named) => rotate(named, &context).await,
        Command::Test(named) => {
            let now = context.clock.now();
            let asked = context
                .store
                .change_in(&named.project, async |work| {
                    work.test_webhook(&named.project, &named.id, now).await
                })
                .await?;
            print::result(named.output, &Begun { delivery: done(asked, &named)? }, |begun| {
                begun.delivery.clone()
            })
        }
        Command::Deliveries(deliveries) => self::deliveries(deliveries, &context).await,
        Command::Replay(replay) => self::replay(replay, &context).await,
    }
}

async fn create(create: Create, context: &Context) -> anyhow::Result<()> {
    let settings = context.config.webhooks();
    context.config.key_secrets()?;
    let new = NewEndpoint {
        url: url(&create.url, context)?,
        events: events(&create.event)?.unwrap_or(Filter::All),
        format: create.format,
        description: create.description,
    };
    let now = context.clock.now();
    let created = context
        .store
        .change_in(&create.project, async |work| {
            work.create_webhook(&create.project, new.clone(), &settings.keys, now).await
        })
        .await?;
    let (endpoint, secret) = match created {
        EndpointCreated::Endpoint(endpoint, secret) => (endpoint, secret),
        EndpointCreated::ProjectUnknown => return Err(project::unknown(&create.project)),
        EndpointCreated::TooMany => {
            bail!("{} has {ENDPOINTS_MAX} webhooks; delete one first", create.project)
        }
        EndpointCreated::NoSealKey => bail!("there is no key to seal secrets with; set METER_SECRET_KEY"),
    };
    print::remark(create.output, "Keep this secret now: it is shown this once.");
    print::result(create.output, &WithSecret::new(endpoint, &secret), |_| secret.expose())
}

async fn list(list: List, context: &Context) -> anyhow::Result<()> {
    context.store.project(&list.project).await?.ok_or_else(|| project::unknown(&list.project))?;
    let webhooks = context.store.webhooks(&list.project).await?;
    let webhooks: Vec<WebhookView> = webhooks.into_iter().map(WebhookView::from).collect();
    if webhooks.is_empty() {
        print::remark(list.output, "The project has no webhooks yet. Next: `meter webhooks create`.");
    }
    print::result(list.output, &webhooks, |webhooks| {
        webhooks.iter().map(WebhookView::line).collect::<Vec<_>>().join("\n")
    })
}

async fn set(set: Set, context: &Context) -> anyhow::Result<()> {
    let change = EndpointChange {
        url: set.url.as_deref().map(|text| url(text, context)).transpose()?,
        events: events(&set.event)?,
        description: set.description,
        disabled: set.disabled,
    };
    let Named { project, id, output } = &set.named;
    let now = context.clock.now();
    let changed = context
        .store
        .change_in(project, async |work| work.change_webhook(project, id, change.clone(), now).await)
        .await?;
    let changed = changed.ok_or_else(|| unknown(&set.named))?;
    print::result(*output, &WebhookView::from(changed), WebhookView::line)
}

async fn rotate(named: Named, context: &Context) -> anyhow::Result<()> {
    let (keys, now) = (context.config.webhooks().keys, context.clock.now());
    let rotated = context
        .store
        .change_in(&named.project, async |work| {
            work.rotate_webhook(&named.project, &named.id, &keys, now).await
        })
        .await?;
    let (endpoint, secret) = rotated.ok_or_else(|| unknown(&named))?;
    print::remark(
        named.output,
        "Keep this secret now: it is shown this once. The one before signs too for a day.",
    );
    print::result(named.output, &WithSecret::new(endpoint, &secret), |_| secret.expose())
}

async fn deliveries(asked: Deliveries, context: &Context) -> anyhow::Result<()> {
    let Named { project, id, output } = &asked.named;
    let page = Page { before: u64::MAX, limit: asked.limit };
    let found = context.store.deliveries(project, id, page).await?;
    let found: Vec<DeliveryView> =
        found.ok_or_else(|| unknown(&asked.named))?.into_iter().map(DeliveryView::from).collect();
    print::result(*output, &found, |found| {
        found.iter().map(DeliveryView::line).collect::<Vec<_>>().join("\n")
    })
}

async fn replay(replay: Replay, context: &Context) -> anyhow::Result<()> {
    let (Named { project, id, output }, now) = (&replay.named, context.clock.now());
    if let Some(delivery) = &replay.delivery {
        let change = async |work: &mut Work| work.replay_delivery(project, id, delivery, now).await;
        let asked = context.store.change_in(project, change).await?;
        let delivery = done(asked, &replay.named)?;
        return print::result(*output, &DeliveryView::from(delivery), DeliveryView::line);
    }
    let since = replay.since.unwrap_or(now);
    let change = async |work: &mut Work| work.replay_since(project, id, (since, now), REPLAY_MAX).await;
    let asked = context.store.change_in(project, change).await?;
    let replayed = Replayed { replayed: done(asked, &replay.named)? };
    print::result(*output, &replayed, |replayed| format!("{} deliveries are sent again.", replayed.replayed))
}

fn done<T>(asked: Asked<T>, named: &Named) -> anyhow::Result<T> {
    match asked {
        Asked::Done(done) => Ok(done),
        Asked::Unknown => Err(unknown(named)),
        Asked::Disabled => {
            bail!("{} is disabled; turn it on with `meter webhooks set --disabled false` first", named.id)
        }
    }
}

fn unknown(Named { project, id, .. }: &Named) -> anyhow::Error {
    anyhow!(
        "{project} has no webhook {id} with that; `meter webhooks list --project {project}` shows those it has"
    )
}

fn url(text: &str, context: &Context) -> anyhow::Result<String> {
    let target = Target::parse(text, &context.config.webhook_rules);
    target.map(|target| target.to_string()).map_err(|refused| anyhow!("--url: {refused}"))
}

fn events(names: &[String]) -> anyhow::Result<Option<Filter>> {
    if names.is_empty() {
        return Ok(None);
    }
    let parsed = Filter::parse(names.iter().map(String::as_str));
    parsed.map(Some).map_err(|name| anyhow!("--event: got {name:?}, accepted is {}", Filter::accepted()))
}

fn format(text: &str) -> Result<Format, String> {
    Format::parse(text).ok_or_else(|| "accepted are standard and slack".to_owned())
}

fn description(text: &str) -> Result<String, String> {
    let fits = crate::text::is_line(text, DESCRIPTION_CHARS_MAX);
    if fits { Ok(text.to_owned()) } else { Err(format!("accepted are {DESCRIPTION_CHARS_MAX} characters")) }
}

fn since(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| format!("accepted is {SINCE}"))
}
