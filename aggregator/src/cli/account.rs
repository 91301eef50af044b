//! `meter account`: people who sign in to the dashboard. Operators are made, and signed in, on the books alone.

use clap::Args;
use serde_json::Value;
use shared::ids::ProjectId;

use super::call::Call;
use super::options;
use super::place::Place;
use super::print::{self, Column, Format};
use super::project::lines;
use crate::access::Role;

const COLUMNS: &[Column] = &[
    ("ACCOUNT", "/id"),
    ("E-MAIL", "/email"),
    ("NAME", "/name"),
    ("OPERATOR", "/operator"),
    ("CREATED", "/created_at"),
    ("DISABLED", "/disabled_at"),
];

const ERASED: &[Column] = &[("ACCOUNT", "/account"), ("ERASED", "/erased_at")];

const UNKNOWN: &str = "`meter account list` shows those there are";

const PATH: [&str; 4] = ["api", "v1", "admin", "accounts"];

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make an account; `meter account link` signs its person in for the first time
    Create(Create),
    /// Make a link that signs in once, within an hour, and print it; links of that account before it are refused
    Link(Link),
    /// List all accounts, disabled ones too
    List(List),
    /// Disable an account at once: its sessions are over, and nobody signs in with it
    Disable(Disable),
    /// Erase an account for good: address, name, password, sessions, memberships and invitations; the audit log keeps its id
    Erase(Erase),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// By which the person signs in
    #[arg(long)]
    email: String,
    /// What the person is called
    #[arg(long)]
    name: String,
    /// Make an operator's account, which may do everything; on the books only, not over HTTP
    #[arg(long, conflicts_with_all = ["project", "role"])]
    operator: bool,
    /// A project that the person becomes a member of
    #[arg(short, long, value_name = "ID", requires = "role")]
    project: Option<ProjectId>,
    /// As what
    #[arg(long, value_parser = options::role(), requires = "project")]
    role: Option<Role>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Link {
    /// The account's id or its e-mail address
    account: String,
    /// Where the person opens the dashboard, such as https://meter.example.com; METER_URL or METER_LISTEN else
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Disable {
    /// The account's id or its e-mail address
    account: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Erase {
    /// The account's id or its e-mail address
    account: String,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(command: Command, place: Place) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => self::create(create, &place).await,
        Command::Link(link) => self::link(link, &place).await,
        Command::List(List { format }) => {
            let none =
                "There are no accounts yet. Next: `meter account create --email <address> --name <name>`.";
            print::rows(
                format,
                &lines(place.ask(&Call::get(&PATH)).await?, "accounts", format, none),
                COLUMNS,
            )
        }
        Command::Disable(Disable { account, format }) => {
            let id = id(&place, &account).await?;
            let path = [&PATH[..], &[&id]].concat();
            print::rows(format, &place.ask(&Call::delete(&path).or_say(UNKNOWN)).await?, COLUMNS)
        }
        Command::Erase(Erase { account, format }) => {
            let id = id(&place, &account).await?;
            let path = [&PATH[..], &[&id, "erase"]].concat();
            let erased = place.ask(&Call::post(&path).or_say(UNKNOWN)).await?;
            print::remark(format, "The audit log goes on naming this id, and shows it as erased.");
            print::rows(format, &erased, ERASED)
        }
    }
}

async fn create(create: Create, place: &Place) -> anyhow::Result<()> {
    let Create { email, name, operator, project, role, format } = create;
    let call = Call::post(&PATH).field("email", email).field("name", name);
    let call = if operator { call.field("operator", true) } else { call };
    let call = call.maybe_field("project", project).maybe_field("role", role);
    let account = place.ask(&call).await?;
    print::remark(format, "Next: `meter account link <e-mail>` prints what signs this person in once.");
    print::rows(format, &account, COLUMNS)
}

async fn link(Link { account, url, format }: Link, place: &Place) -> anyhow::Result<()> {
    let id = id(place, &account).await?;
    let path = [&PATH[..], &[&id, "links"]].concat();
    let mut link = place.ask(&Call::post(&path).or_say(UNKNOWN)).await?;
    let token = link.get("token").and_then(Value::as_str).unwrap_or_default();
    let base = url.unwrap_or_else(|| place.address());
    let address = format!("{}/#link={token}", base.trim_end_matches('/'));
    if let Value::Object(fields) = &mut link {
        fields.insert("url".to_owned(), address.clone().into());
    }
    print::remark(format, "It signs in once, within an hour; whoever opens it is that person.");
    print::result(format, &link, |_| address)
}

/// The id of the account that was named by its id or its address.
async fn id(place: &Place, named: &str) -> anyhow::Result<String> {
    if !named.contains('@') {
        return Ok(named.to_owned());
    }
    let accounts = place.ask(&Call::get(&PATH)).await?;
    let accounts = accounts.get("accounts").and_then(Value::as_array).cloned().unwrap_or_default();
    let of = |account: &Value, field: &str| account.get(field).and_then(Value::as_str).map(str::to_owned);
    let wanted = named.trim().to_lowercase();
    let found = accounts.iter().find(|account| of(account, "email").as_deref() == Some(&wanted));
    found
        .and_then(|account| of(account, "id"))
        .ok_or_else(|| anyhow::anyhow!("there is no account {named}; {UNKNOWN}"))
}
