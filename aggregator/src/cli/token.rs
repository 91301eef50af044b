//! `meter token`: make, list and revoke tokens of people and programs that administer projects.

use anyhow::anyhow;
use clap::Args;
use serde::Serialize;
use shared::ids::ProjectId;

use super::print::{self, Format};
use super::{Context, project};
use crate::access::{Role, Scope};
use crate::http::TokenView;
use crate::token::TokenText;

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
#[group(required = true, multiple = false, id = "scope", args = ["operator", "project"])]
pub(super) struct Create {
    /// Make an operator's token, which may do everything
    #[arg(long)]
    operator: bool,
    /// The project that the token is for
    #[arg(long, requires = "role")]
    project: Option<ProjectId>,
    /// owner, admin, finance or viewer
    #[arg(long, value_parser = role, requires = "project")]
    role: Option<Role>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only this project's tokens
    #[arg(long)]
    project: Option<ProjectId>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The token's id, as `meter token list` shows it
    id: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct NewToken {
    #[serde(flatten)]
    view: TokenView,
    token: String,
}

pub(super) async fn run(command: Command, context: Context) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => self::create(create, &context).await,
        Command::List(list) => self::list(list, &context).await,
        Command::Revoke(revoke) => {
            let revoked = context.store.revoke_token(&revoke.id, context.clock.now()).await?;
            let revoked = revoked.ok_or_else(|| {
                anyhow!("there is no token {}; `meter token list` shows those there are", revoke.id)
            })?;
            print::result(revoke.format, &TokenView::from(revoked), TokenView::line)
        }
    }
}

async fn create(create: Create, context: &Context) -> anyhow::Result<()> {
    let scope = match (create.project, create.role) {
        (Some(project), Some(role)) => {
            context.store.project(&project).await?.ok_or_else(|| project::unknown(&project))?;
            Scope::Project { project, role }
        }
        (None, None) => Scope::Operator,
        (Some(_), None) | (None, Some(_)) => return Err(anyhow!("--project and --role go together")),
    };
    let text = TokenText::generate(&scope)?;
    let token = context.store.create_token(scope, &text.hash(), context.clock.now()).await?;
    print::remark(create.format, "Keep this token now: it is shown this once.");
    let new = NewToken { view: token.into(), token: text.expose().to_owned() };
    print::result(create.format, &new, |new| new.token.clone())
}

async fn list(list: List, context: &Context) -> anyhow::Result<()> {
    let tokens = match &list.project {
        None => context.store.all_tokens().await?,
        Some(id) => {
            context.store.project(id).await?.ok_or_else(|| project::unknown(id))?;
            context.store.project_tokens(id).await?
        }
    };
    let tokens: Vec<TokenView> = tokens.into_iter().map(TokenView::from).collect();
    if tokens.is_empty() {
        print::remark(list.format, "There are no tokens yet. Next: `meter token create --operator`.");
    }
    print::result(list.format, &tokens, |tokens| {
        tokens.iter().map(TokenView::line).collect::<Vec<_>>().join("\n")
    })
}

pub(super) fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "accepted are owner, admin, finance and viewer".to_owned())
}
