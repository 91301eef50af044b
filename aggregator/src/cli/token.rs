//! `meter token`: make, list and revoke tokens of people and programs that administer projects.
//!
//! Tokens of operators are made on the books alone: no call over a network makes somebody an operator.

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::{Value, json};
use shared::ids::ProjectId;

use super::call::Call;
use super::key::shown_once;
use super::options::{self, Project};
use super::place::Place;
use super::print::{self, Column, Format};
use super::project::{self, lines};
use crate::access::Scope;
use crate::access::token::{TokenRole, TokenText};
use crate::http::TokenView;

const COLUMNS: &[Column] = &[
    ("TOKEN", "/id"),
    ("ROLE", "/role"),
    ("PROJECT", "/project"),
    ("CREATED", "/created_at"),
    ("REVOKED", "/revoked_at"),
];

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
    /// The project that the token is for; over HTTP it has to be named
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
            let context = place.only_books("`meter token create --operator`")?;
            let text = TokenText::generate(&Scope::Operator)?;
            let now = context.clock.now();
            let token = context.store.create_token(Scope::Operator, &text.hash(), now).await?;
            let mut new = serde_json::to_value(TokenView::from(token))?;
            new.as_object_mut()
                .context("a token is an object")?
                .insert("token".to_owned(), text.expose().into());
            print::remark(create.format, once);
            print::result(create.format, &new, |_| text.expose().to_owned())
        }
    }
}

async fn list(List { project, format }: List, place: &Place) -> anyhow::Result<()> {
    let none = "There are no tokens yet. Next: `meter token create --operator`.";
    let tokens = match project {
        Some(id) => place.ask(&Call::get(&[&project::path(&id)[..], &["tokens"]].concat())).await?,
        None => {
            let context = place.only_books("`meter token list` without --project")?;
            let tokens = context.store.all_tokens().await?;
            json!({ "tokens": tokens.into_iter().map(TokenView::from).collect::<Vec<_>>() })
        }
    };
    print::rows(format, &lines(tokens, "tokens", format, none), COLUMNS)
}

async fn revoke(Revoke { id, project, format }: Revoke, place: &Place) -> anyhow::Result<()> {
    let revoked: Value = match project {
        Some(project) => {
            let path = [&project::path(&project)[..], &["tokens", &id]].concat();
            place.ask(&Call::delete(&path).or_say(UNKNOWN)).await?
        }
        None => {
            let context = place.only_books("`meter token revoke` without --project")?;
            let revoked = context.store.revoke_token(&id, context.clock.now()).await?;
            let revoked = revoked.ok_or_else(|| anyhow!("there is no token {id}; {UNKNOWN}"))?;
            serde_json::to_value(TokenView::from(revoked))?
        }
    };
    print::rows(format, &revoked, COLUMNS)
}
