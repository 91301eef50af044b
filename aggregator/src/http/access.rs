//! Permission as the type of a handler's argument: a handler that has it may do what it names.
//!
//! The order of refusals is the same for everything: 401 without a token or session, 404 for what the caller
//! does not reach, 403 for what the caller's role may not do. What exists elsewhere never shows.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::header;
use axum::http::request::Parts;
use shared::ids::ProjectId;
use shared::key::bearer;

use super::failure::Failure;
use super::query::Query;
use super::session::person::Person;
use crate::access::token::TokenHash;
use crate::access::trail::Actor;
use crate::access::{Permission, Scope};
use crate::app::App;
use crate::http::site::Site;
use crate::projects::project::Project;
use crate::store::Token;
use crate::traces;

/// Marks a request as one that this process makes of itself for a command: whoever can open the books is an
/// operator. Nothing that comes from a network has it.
#[derive(Debug, Clone)]
pub(crate) struct Commanded(pub(crate) Actor);

/// Who is calling: a token that is not revoked, or a person who signed in.
#[derive(Debug)]
pub(super) struct Caller {
    /// The token; of a person, one that the session stands for.
    pub(super) token: Token,
    /// Whether it is a person's.
    pub(super) is_person: bool,
}

impl FromRequestParts<Site> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Failure> {
        if let Some(Commanded(actor)) = parts.extensions.get().cloned() {
            let id = actor.name().to_owned();
            parts.extensions.insert(actor);
            let created = site.app.clock.now();
            let token = Token { id, scope: Scope::Operator, member: None, created, revoked: None };
            return Ok(Self { token, is_person: false });
        }
        // A token counts before a session: only programs send one.
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            let person = Person::of(parts, &site.app).await?;
            let named = match path_parameter(parts, site, "project").await {
                Some(named) => Some(named),
                None => queried_project(parts),
            };
            return Ok(Self { token: person.acting(parts, named.as_deref())?, is_person: true });
        }
        let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(Failure::unauthorized()) };
        let text = value.to_str().ok().and_then(bearer).ok_or_else(Failure::unauthorized)?;
        let hash = TokenHash::of_client_text(text).ok_or_else(Failure::unauthorized)?;
        let token = site.app.store.active_token(&hash).await?.ok_or_else(Failure::unauthorized)?;
        // What the call changes is changed on behalf of this token: `Call` finds it here.
        parts.extensions.insert(Actor::token(&token.id, &token.scope));
        Ok(Self { token, is_person: false })
    }
}

/// The project that a query names. Whether the query is accepted, its endpoint decides.
fn queried_project(parts: &Parts) -> Option<String> {
    let query = parts.uri.query().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "project").map(|(_, value)| value.into_owned())
}

impl Caller {
    /// Loads a project for a purpose, or refuses.
    pub(super) async fn project(
        &self,
        app: &App,
        id: &str,
        permission: Permission,
    ) -> Result<Project, Failure> {
        let scope = &self.token.scope;
        let id = ProjectId::parse(id).map_err(|_| Failure::project_unknown())?;
        if !scope.reaches(&id) {
            return Err(Failure::project_unknown());
        }
        let project = app.store.project(&id).await?.ok_or_else(Failure::project_unknown)?;
        traces::concerns(&project.id);
        if scope.may(permission) { Ok(project) } else { Err(Failure::forbidden(scope.role_name())) }
    }
}

impl Caller {
    /// The project that the query names: a token's own unless it says otherwise; operators have to name one.
    pub(super) async fn named_project(
        &self,
        app: &App,
        query: &Query,
        permission: Permission,
    ) -> Result<Project, Failure> {
        let own = match &self.token.scope {
            Scope::Operator => None,
            Scope::Project { project, .. } | Scope::Emitter { project } => Some(project.as_str()),
        };
        let named = query
            .get("project")
            .or(own)
            .ok_or_else(|| Failure::missing("project", "a project id, which operators have to name"))?;
        self.project(app, named, permission).await
    }
}

/// The right to do what concerns no single project.
#[derive(Debug)]
pub(super) struct Operator(pub(super) Token);

impl FromRequestParts<Site> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Failure> {
        let is_commanded = parts.extensions.get::<Commanded>().is_some();
        if !is_commanded && !parts.headers.contains_key(header::AUTHORIZATION) {
            return Person::of(parts, &site.app).await?.operating(parts).map(Self);
        }
        let Caller { token, .. } = Caller::from_request_parts(parts, site).await?;
        match token.scope {
            Scope::Operator => Ok(Self(token)),
            Scope::Project { .. } | Scope::Emitter { .. } => Err(Failure::forbidden(token.scope.role_name())),
        }
    }
}

/// The right to `P` in the project that the path names.
#[derive(Debug)]
pub(super) struct Permitted<P> {
    /// The project.
    pub(super) project: Project,
    /// Who is calling.
    pub(super) token: Token,
    permission: PhantomData<P>,
}

/// A permission as a type.
pub(super) trait Right {
    /// The permission.
    const PERMISSION: Permission;
}

/// Sees the project.
#[derive(Debug)]
pub(super) struct Read;

/// Makes and revokes its keys.
#[derive(Debug)]
pub(super) struct ManageKeys;

/// Makes, changes and removes its members.
#[derive(Debug)]
pub(super) struct ManageMembers;

/// Sets its limits and hands out its tokens.
#[derive(Debug)]
pub(super) struct Operate;

impl Right for Read {
    const PERMISSION: Permission = Permission::Read;
}

impl Right for ManageKeys {
    const PERMISSION: Permission = Permission::ManageKeys;
}

impl Right for ManageMembers {
    const PERMISSION: Permission = Permission::ManageMembers;
}

impl Right for Operate {
    const PERMISSION: Permission = Permission::Operate;
}

impl<P: Right> FromRequestParts<Site> for Permitted<P> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Failure> {
        let caller = Caller::from_request_parts(parts, site).await?;
        let id = path_parameter(parts, site, "project").await.ok_or_else(Failure::project_unknown)?;
        let project = caller.project(&site.app, &id, P::PERMISSION).await?;
        Ok(Self { project, token: caller.token, permission: PhantomData })
    }
}

/// The last segment of a path such as `…/keys/{name}`.
#[derive(Debug)]
pub(super) struct NamedInPath(pub(super) String);

impl FromRequestParts<Site> for NamedInPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Failure> {
        // A name that is not text names nothing; the handler says what was not found.
        Ok(Self(path_parameter(parts, site, "name").await.unwrap_or_default()))
    }
}

async fn path_parameter(parts: &mut Parts, site: &Site, name: &str) -> Option<String> {
    let parameters = RawPathParams::from_request_parts(parts, site).await.ok()?;
    parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}
