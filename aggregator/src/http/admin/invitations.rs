//! `/api/v1/admin/projects/{project}/invitations`: people who may become members; each keeps a member's place.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::problem::ErrorCode;

use super::members::{members_max, name_taken, too_many};
use crate::access::account::{EMAIL, Email};
use crate::access::session::{Purpose, SecretText};
use crate::access::{Permission, ROLES, Role};
use crate::app::App;
use crate::http::access::{ManageMembers, NamedInPath, Permitted};
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::{EmailText, Field};
use crate::http::route::{Route, Who};
use crate::store::{Invitation, Invited};

const NEW: &[Field] = &[
    Field::required::<EmailText>("email", EMAIL).such_as("\"ada@example.com\""),
    Field::required::<Role>("role", ROLES).such_as("\"viewer\""),
];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let manage = Who::InProject(Permission::ManageMembers);
    vec![
        Route::get("/api/v1/admin/projects/{project}/invitations", manage, "List invitations", list)
            .answers::<InvitationList>(200, "Invitations that can be accepted"),
        Route::post("/api/v1/admin/projects/{project}/invitations", manage, "Invite a person", invite)
            .body(NEW)
            .answers::<NewInvitationView>(201, "The invitation, with the text that is shown this once")
            .refuses(&[ErrorCode::MemberLimit, ErrorCode::MemberExists]),
        Route::delete(
            "/api/v1/admin/projects/{project}/invitations/{name}",
            manage,
            "Withdraw an invitation",
            withdraw,
        )
        .answers::<InvitationView>(200, "The invitation, which is refused from now on")
        .refuses(&[ErrorCode::NotFound]),
    ]
}

/// An invitation as the project's owners see it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct InvitationView {
    id: String,
    email: String,
    role: Role,
    created_at: String,
    expires_at: String,
}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id,
            email: invitation.email.as_str().to_owned(),
            role: invitation.role,
            created_at: invitation.created.to_string(),
            expires_at: invitation.expires.to_string(),
        }
    }
}

/// A project's invitations.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct InvitationList {
    invitations: Vec<InvitationView>,
}

/// A new invitation; the only answer that has its text.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NewInvitationView {
    #[serde(flatten)]
    view: InvitationView,
    /// What the person accepts it with: `/#invitation=` and this, at this server's address.
    token: String,
}

/// Lists a project's invitations.
async fn list(on: Permitted<ManageMembers>, State(app): State<App>) -> Result<Json<InvitationList>, Failure> {
    let invitations = app.store.invitations(&on.project.id, app.clock.now()).await?;
    Ok(Json(InvitationList { invitations: invitations.into_iter().map(InvitationView::from).collect() }))
}

/// Invites a person.
async fn invite(
    on: Permitted<ManageMembers>,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut fields = call.fields()?.of(NEW)?;
    let email: Email = fields.required("email", EMAIL)?;
    let role: Role = fields.required("role", ROLES)?;
    let max = members_max(&app, &on.project).await?;
    let secret = SecretText::generate(Purpose::Invitation)?;
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let new = (email, role, &secret.hash());
    let invitation = match change.invite(&on.project.id, new, max, app.clock.now()).await? {
        Invited::Invitation(invitation) => invitation,
        Invited::MemberExists => return Err(name_taken()),
        Invited::TooMany(max) => return Err(too_many(max)),
    };
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, invitation.id = invitation.id, role = %role, "member invited");
    let new = NewInvitationView { view: invitation.into(), token: secret.expose().to_owned() };
    change.answer(StatusCode::CREATED, &new).await
}

/// Withdraws an invitation.
async fn withdraw(
    on: Permitted<ManageMembers>,
    NamedInPath(id): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let withdrawn = change.withdraw_invitation(&on.project.id, &id, app.clock.now()).await?;
    let invitation = withdrawn.ok_or_else(|| {
        let detail = "The project has no such invitation. GET …/invitations lists the ids of those it has.";
        Failure::new(ErrorCode::NotFound, detail)
    })?;
    tracing::info!(project.id = %on.project.id, token.id = on.token.id, invitation.id = id, "invitation withdrawn");
    change.answer(StatusCode::OK, &InvitationView::from(invitation)).await
}
