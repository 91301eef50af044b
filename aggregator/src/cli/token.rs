//! `meter token`: make, list and revoke tokens of people and programs that administer projects.

use clap::Args;
use serde_json::Value;
use shared::ids::ProjectId;

use super::call::Call;
use super::key::shown_once;
use super::options::{self, Project};
use super::place::Place;
use super::print::{self, Column, Format};
use super::project::{self, lines};
use crate::access::token::TokenRole;

const COLUMNS: &[Column] = &[
    ("TOKEN", "/id"),
    ("ROLE", "/role"),
    ("PROJECT", "/project"),
    ("CREATED", "/created_at"),
    ("REVOKED", "/revoked_at"),
];

const ALL: &[&str] = &["api", "v1", "admin", "tokens"];

const UNKNOWN: &str = "`meter token list` shows those there are";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a token and print it; it is shown this once and only its hash is kept
    Create(Create),
    /// List tokens, revoked ones too
    List(List),
    /// Revoke a token at once
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Make an operator's token, which may do everything
    #[arg(long, conflicts_with_all = ["project", "role"])]
    operator: bool,
    #[command(flatten)]
    project: Project,
    /// What its holder may do in the project; an emitter reports units that were served elsewhere, and nothing else
    #[arg(long, value_parser = options::token_role(), required_unless_present = "operator")]
    role: Option<TokenRole>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only this project's tokens
    #[arg(short, long, value_name = "ID")]
    project: Option<ProjectId>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The token's id, as `meter token list` shows it
    id: String,
    /// The project that the token is for, which its admins have to name; operators need not
    #[arg(short, long, value_name = "ID")]
    project: Option<ProjectId>,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(command: Command, place: Place) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => self::create(create, &place).await,
        Command::List(list) => self::list(list, &place).await,
        Command::Revoke(revoke) => self::revoke(revoke, &place).await,
    }
}

async fn create(create: Create, place: &Place) -> anyhow::Result<()> {
    let once = "Keep this token now: it is shown this once.";
    match create.role {
        Some(role) => {
            let project = place.project(&create.project).await?;
            let call = Call::post(&[&project::path(&project)[..], &["tokens"]].concat()).field("role", role);
            let token = place.ask(&call).await?;
            print::remark(create.format, once);
            shown_once(create.format, token, &project, "token")
        }
        None => {
            let new = place.ask(&Call::post(ALL)).await?;
            print::remark(create.format, once);
            print::result(create.format, &new, |new| new.get("token").map(print::cell).unwrap_or_default())
        }
    }
}

/// Where the tokens of a project are, or those of all.
fn path(project: Option<&ProjectId>) -> Vec<&str> {
    project.map_or_else(|| ALL.to_vec(), |id| [&project::path(id)[..], &["tokens"]].concat())
}

async fn list(List { project, format }: List, place: &Place) -> anyhow::Result<()> {
    let none = "There are no tokens yet. Next: `meter token create --operator`.";
    let tokens = place.ask(&Call::get(&path(project.as_ref()))).await?;
    print::rows(format, &lines(tokens, "tokens", format, none), COLUMNS)
}

async fn revoke(Revoke { id, project, format }: Revoke, place: &Place) -> anyhow::Result<()> {
    let path = [path(project.as_ref()), vec![id.as_str()]].concat();
    let revoked: Value = place.ask(&Call::delete(&path).or_say(UNKNOWN)).await?;
    print::rows(format, &revoked, COLUMNS)
}
