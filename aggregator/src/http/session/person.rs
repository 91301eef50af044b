//! A person who signed in, as the type of a handler's argument. Whatever changes something has to come from our own page.

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;

use super::cookie;
use crate::access::Scope;
use crate::access::account::{Reached, reached};
use crate::access::session::SecretText;
use crate::access::trail::Actor;
use crate::app::App;
use crate::http::failure::Failure;
use crate::http::site::Site;
use crate::store::{SignedIn, Token};

/// Who signed in, and with what.
#[derive(Debug)]
pub(crate) struct Person {
    /// Who.
    pub(crate) signed_in: SignedIn,
    /// The session's secret.
    pub(crate) secret: SecretText,
}

impl Person {
    /// Who signed in, if the call comes with a session that goes on.
    pub(crate) async fn of(parts: &Parts, app: &App) -> Result<Self, Failure> {
        let secret = cookie::secret(&parts.headers).ok_or_else(Failure::unauthorized)?;
        let now = app.clock.now();
        let signed_in = app.store.signed_in(&secret.hash(), now).await?.ok_or_else(Failure::unauthorized)?;
        if parts.method != Method::GET && parts.method != Method::HEAD {
            cookie::require_own_page(&parts.headers, &secret)?;
        }
        Ok(Self { signed_in, secret })
    }

    /// What the person may do with a call that names a project, or none: as the holder of a token of the same role.
    pub(crate) fn acting(&self, parts: &mut Parts, named: Option<&str>) -> Result<Token, Failure> {
        let SignedIn { id, times, account, memberships, .. } = &self.signed_in;
        match reached(account.operator, memberships, named) {
            Reached::Scope(scope, member) => {
                let account = account.id.clone();
                parts.extensions.insert(Actor::Person { account, role: scope.role_name() });
                Ok(Token { id: id.clone(), scope, member, created: times.began, revoked: None })
            }
            Reached::Elsewhere => Err(Failure::project_unknown()),
            Reached::Unnamed => {
                Err(Failure::missing("project", "the id of a project that you are a member of"))
            }
        }
    }

    /// The right of operators, where the person is one.
    pub(crate) fn operating(&self, parts: &mut Parts) -> Result<Token, Failure> {
        if self.signed_in.account.operator {
            return self.acting(parts, None);
        }
        let role = match self.signed_in.memberships.as_slice() {
            [only] => Scope::Project { project: only.project.clone(), role: only.role }.role_name(),
            _ => "a member's",
        };
        Err(Failure::forbidden(role))
    }
}

impl FromRequestParts<Site> for Person {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Failure> {
        Self::of(parts, &site.app).await
    }
}
