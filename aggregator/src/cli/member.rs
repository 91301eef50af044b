//! `meter member`: the people of a project.

use anyhow::{anyhow, bail};
use clap::Args;
use serde::Serialize;
use shared::ids::ProjectId;
use shared::time::Timestamp;

use super::Context;
use super::print::{self, Format};
use super::project::unknown;
use super::token::role;
use crate::access::{Role, Scope};
use crate::http::MemberView;
use crate::member::{Member, NAME, is_name};
use crate::store::{MemberKept, StoreError, Work};
use crate::token::TokenText;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Add a member and print a token for that person; it is shown this once
    Add(Add),
    /// List the members of a project
    List(List),
    /// Give a member another role, which that person's tokens have at once
    Set(Set),
    /// Remove a member and revoke that person's tokens
    Remove(Named),
    /// Revoke a member's tokens and print another
    Token(Named),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// The project
    #[arg(long)]
    project: ProjectId,
    /// Such as an e-mail address
    #[arg(long)]
    name: String,
    /// owner, admin, finance or viewer
    #[arg(long, value_parser = role)]
    role: Role,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The project
    #[arg(long)]
    project: ProjectId,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    of: Named,
    /// owner, admin, finance or viewer
    #[arg(long, value_parser = role)]
    role: Role,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The member's id, as `meter member list` shows it
    id: String,
    /// The project
    #[arg(long)]
    project: ProjectId,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct WithToken {
    #[serde(flatten)]
    view: MemberView,
    token: String,
}

pub(super) async fn run(command: Command, context: Context) -> anyhow::Result<()> {
    match command {
        Command::Add(add) => self::add(add, &context).await,
        Command::List(list) => self::list(list, &context).await,
        Command::Set(Set { of: Named { id, project, format }, role }) => {
            let now = context.clock.now();
            let change = async |work: &mut Work| work.change_member(&project, (&id, role), now).await;
            finish(context.store.change_in(&project, change).await?, format)
        }
        Command::Remove(Named { id, project, format }) => {
            let now = context.clock.now();
            let change = async |work: &mut Work| work.remove_member(&project, &id, now).await;
            finish(context.store.change_in(&project, change).await?, format)
        }
        Command::Token(Named { id, project, format }) => {
            let now = context.clock.now();
            let change = async |work: &mut Work| {
                let Some(member) = work.member(&project, &id).await? else {
                    return Ok(Err(MemberKept::Unknown));
                };
                work.revoke_member_tokens(&project, &id, now).await?;
                with_token(work, &project, member, now).await.map(Ok)
            };
            told(context.store.change_in(&project, change).await?, format)
        }
    }
}

async fn add(Add { project, name, role, format }: Add, context: &Context) -> anyhow::Result<()> {
    if !is_name(&name) {
        bail!("--name: accepted are {NAME}");
    }
    let now = context.clock.now();
    let book = context.store.book(&project).await?.ok_or_else(|| unknown(&project))?;
    let max = context.basis.in_force(&book.project, &book.ledger, now).members_max;
    let change =
        async |work: &mut Work| match work.add_member(&project, (name.clone(), role), max, now).await? {
            MemberKept::Member(member) => with_token(work, &project, member, now).await.map(Ok),
            refused @ (MemberKept::Unknown
            | MemberKept::NameTaken
            | MemberKept::TooMany(_)
            | MemberKept::LastOwner) => Ok(Err(refused)),
        };
    told(context.store.change_in(&project, change).await?, format)
}

async fn list(List { project, format }: List, context: &Context) -> anyhow::Result<()> {
    context.store.project(&project).await?.ok_or_else(|| unknown(&project))?;
    let members = context.store.members(&project).await?;
    let members: Vec<MemberView> = members.into_iter().map(MemberView::from).collect();
    if members.is_empty() {
        print::remark(format, "The project has no members yet. Next: `meter member add --project <id>`.");
    }
    print::result(format, &members, |members| {
        members.iter().map(MemberView::line).collect::<Vec<_>>().join("\n")
    })
}

async fn with_token(
    work: &mut Work,
    project: &ProjectId,
    member: Member,
    now: Timestamp,
) -> Result<(Member, TokenText), StoreError> {
    let scope = Scope::Project { project: project.clone(), role: member.role };
    let text = TokenText::generate(&scope)?;
    work.create_member_token(scope, (&member.id, &text.hash()), now).await?;
    Ok((member, text))
}

fn told(made: Result<(Member, TokenText), MemberKept>, format: Format) -> anyhow::Result<()> {
    let (member, text) = match made {
        Ok(made) => made,
        Err(refused) => return finish(refused, format),
    };
    print::remark(format, "Keep this token now: it is shown this once.");
    let new = WithToken { view: member.into(), token: text.expose().to_owned() };
    print::result(format, &new, |new| new.token.clone())
}

fn finish(kept: MemberKept, format: Format) -> anyhow::Result<()> {
    let member = member(kept)?;
    print::result(format, &MemberView::from(member), MemberView::line)
}

fn member(kept: MemberKept) -> anyhow::Result<Member> {
    match kept {
        MemberKept::Member(member) => Ok(member),
        MemberKept::Unknown => {
            Err(anyhow!("there is no such member; `meter member list --project <id>` shows those there are"))
        }
        MemberKept::NameTaken => Err(anyhow!("the project has a member of that name already")),
        MemberKept::TooMany(max) => Err(anyhow!(
            "the plan permits {max} members, and all places are taken; remove one, or change the plan"
        )),
        MemberKept::LastOwner => {
            Err(anyhow!("this is the project's last owner; make another member an owner first"))
        }
    }
}
