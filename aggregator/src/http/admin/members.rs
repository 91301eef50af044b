//! `/api/v1/admin/projects/{project}/members`: a project's people, as many as its plan permits.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::problem::ErrorCode;

use crate::access::member::{Member, NAME, NAME_CHARS_MAX, is_name};
use crate::access::token::TokenText;
use crate::access::{Permission, ROLES, Role, Scope};
use crate::app::App;
use crate::http::access::{ManageMembers, NamedInPath, Permitted, Read};
use crate::http::body::Fields;
use crate::http::call::{Call, Change};
use crate::http::failure::Failure;
use crate::http::field::{Field, Text};
use crate::http::route::{Route, Who};
use crate::projects::project::Project;
use crate::store::MemberKept;

const NEW: &[Field] = &[
    Field::required::<Text<1, NAME_CHARS_MAX>>("name", NAME).such_as("\"ada@example.com\""),
    Field::required::<Role>("role", ROLES).such_as("\"viewer\""),
];

const CHANGE: &[Field] = &[Field::required::<Role>("role", ROLES).such_as("\"finance\"")];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let (read, manage) = (Who::InProject(Permission::Read), Who::InProject(Permission::ManageMembers));
    let refusals = [ErrorCode::NotFound, ErrorCode::LastOwner];
    vec![
        Route::get("/api/v1/admin/projects/{project}/members", read, "List members", list)
            .answers::<MemberList>(200, "The project's people"),
        Route::post("/api/v1/admin/projects/{project}/members", manage, "Add a member", add)
            .body(NEW)
            .answers::<NewMemberView>(201, "The member, with the text of a token that is shown this once")
            .refuses(&[ErrorCode::MemberLimit, ErrorCode::MemberExists]),
        Route::patch("/api/v1/admin/projects/{project}/members/{name}", manage, "Change a member", change)
            .body(CHANGE)
            .answers::<MemberView>(200, "The member, whose tokens have the role at once")
            .refuses(&refusals),
        Route::delete("/api/v1/admin/projects/{project}/members/{name}", manage, "Remove a member", remove)
            .answers::<MemberView>(200, "The member, whose tokens are refused from now on")
            .refuses(&refusals),
        Route::post(
            "/api/v1/admin/projects/{project}/members/{name}/token",
            manage,
            "Replace a member's token",
            replace_token,
        )
        .answers::<NewMemberView>(201, "The member, with the text of a token; those before are revoked")
        .refuses(&[ErrorCode::NotFound]),
    ]
}

/// A member as the project's people see it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MemberView {
    id: String,
    name: String,
    role: Role,
    /// Whether the member is a person who signs in, under an e-mail address; others have tokens alone.
    signs_in: bool,
    created_at: String,
    removed_at: Option<String>,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        Self {
            id: member.id,
            name: member.name,
            role: member.role,
            signs_in: member.account.is_some(),
            created_at: member.created.to_string(),
            removed_at: member.removed.map(|at| at.to_string()),
        }
    }
}

/// All members of a project.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct MemberList {
    members: Vec<MemberView>,
    /// How many the plan permits; null is any number.
    members_max: Option<u32>,
}

/// A member with a new token; the only answer that has its text.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NewMemberView {
    #[serde(flatten)]
    view: MemberView,
    token: String,
}

/// Lists a project's members.
pub(crate) async fn list(on: Permitted<Read>, State(app): State<App>) -> Result<Json<MemberList>, Failure> {
    let members = app.store.members(&on.project.id).await?;
    let members = members.into_iter().map(MemberView::from).collect();
    Ok(Json(MemberList { members, members_max: members_max(&app, &on.project).await? }))
}

/// Adds a member with a first token.
pub(crate) async fn add(
    on: Permitted<ManageMembers>,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut fields = call.fields()?.of(NEW)?;
    let name = name(&mut fields)?;
    let role: Role = fields.required("role", ROLES)?;
    let max = members_max(&app, &on.project).await?;
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let kept = change.add_member(&on.project.id, (name, role), max, app.clock.now()).await?;
    let member = member(kept)?;
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, member.id = member.id, role = %role, "member added");
    with_token(&app, &on.project, member, change).await
}

/// Gives a member another role.
pub(crate) async fn change(
    on: Permitted<ManageMembers>,
    NamedInPath(id): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let role: Role = call.fields()?.of(CHANGE)?.required("role", ROLES)?;
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let kept = change.change_member(&on.project.id, (&id, role), app.clock.now()).await?;
    let member = member(kept)?;
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, member.id = member.id, role = %role, "member changed");
    change.answer(StatusCode::OK, &MemberView::from(member)).await
}

/// Removes a member and revokes its tokens.
pub(crate) async fn remove(
    on: Permitted<ManageMembers>,
    NamedInPath(id): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let member = member(change.remove_member(&on.project.id, &id, app.clock.now()).await?)?;
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, member.id = member.id, "member removed");
    change.answer(StatusCode::OK, &MemberView::from(member)).await
}

/// Revokes a member's tokens and makes another.
pub(crate) async fn replace_token(
    on: Permitted<ManageMembers>,
    NamedInPath(id): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let member = change.member(&on.project.id, &id).await?.ok_or_else(Failure::member_unknown)?;
    change.revoke_member_tokens(&on.project.id, &id, app.clock.now()).await?;
    with_token(&app, &on.project, member, change).await
}

async fn with_token(
    app: &App,
    project: &Project,
    member: Member,
    mut change: Change,
) -> Result<Response, Failure> {
    let scope = Scope::Project { project: project.id.clone(), role: member.role };
    let text = TokenText::generate(&scope)?;
    change.create_member_token(scope, (&member.id, &text.hash()), app.clock.now()).await?;
    let new = NewMemberView { view: member.into(), token: text.expose().to_owned() };
    change.answer(StatusCode::CREATED, &new).await
}

/// How many members the plan in force permits.
pub(in crate::http) async fn members_max(app: &App, project: &Project) -> Result<Option<u32>, Failure> {
    let book = app.store.book(&project.id).await?.ok_or_else(Failure::project_unknown)?;
    Ok(app.basis.in_force(&book.project, &book.ledger, app.clock.now()).members_max)
}

/// The name that a call gives a member or a person.
pub(in crate::http) fn name(fields: &mut Fields) -> Result<String, Failure> {
    let name: String = fields.required("name", NAME)?;
    if is_name(&name) { Ok(name) } else { Err(Failure::field("name", &name, NAME)) }
}

pub(in crate::http) fn member(kept: MemberKept) -> Result<Member, Failure> {
    match kept {
        MemberKept::Member(member) => Ok(member),
        MemberKept::Unknown => Err(Failure::member_unknown()),
        MemberKept::NameTaken => Err(name_taken()),
        MemberKept::TooMany(max) => Err(too_many(max)),
        MemberKept::LastOwner => Err(Failure::new(
            ErrorCode::LastOwner,
            "This is the project's last owner. Make another member an owner first.",
        )),
    }
}

pub(super) fn name_taken() -> Failure {
    Failure::new(
        ErrorCode::MemberExists,
        "The project has a member of that name. Change that member, or choose another name.",
    )
}

pub(super) fn too_many(max: u32) -> Failure {
    Failure::new(
        ErrorCode::MemberLimit,
        format!("The plan permits {max} members, and all places are taken. Remove one, or change the plan."),
    )
}
