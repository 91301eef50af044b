//! Permission for one endpoint, as the type of a handler's argument. The project is the token's own unless the query
//! names one; what the path names is looked for within it only.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use crate::access::Permission;
use crate::http::access::Caller;
use crate::http::failure::Failure;
use crate::http::field::{Field, PROJECT};
use crate::http::query::Query;
use crate::http::site::Site;
use crate::projects::project::Project;
use crate::store::Token;

/// What a call on an endpoint does.
pub(crate) trait OfWebhook {
    /// The permission that it needs.
    const PERMISSION: Permission;
    /// The parameters that its query may have.
    const QUERY: &'static [Field];
}

/// Sees it.
#[derive(Debug)]
pub(crate) struct Reads;

/// Sees its deliveries, page by page.
#[derive(Debug)]
pub(crate) struct Lists;

/// Changes it, or has it do something.
#[derive(Debug)]
pub(crate) struct Manages;

impl OfWebhook for Reads {
    const PERMISSION: Permission = Permission::Read;
    const QUERY: &'static [Field] = &[PROJECT];
}

impl OfWebhook for Lists {
    const PERMISSION: Permission = Permission::Read;
    const QUERY: &'static [Field] = super::deliveries::PAGE_QUERY;
}

impl OfWebhook for Manages {
    const PERMISSION: Permission = Permission::ManageWebhooks;
    const QUERY: &'static [Field] = &[PROJECT];
}

/// The right to make the call `C` on what the path names.
#[derive(Debug)]
pub(crate) struct OnWebhook<C> {
    /// The project.
    pub(crate) project: Project,
    /// Who is calling.
    pub(crate) token: Token,
    /// The endpoint's id, which may be none of the project's.
    pub(crate) webhook: String,
    /// The delivery's id where the path has one.
    pub(crate) delivery: String,
    /// The query.
    pub(crate) query: Query,
    call: PhantomData<C>,
}

impl<C: OfWebhook> FromRequestParts<Site> for OnWebhook<C> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Failure> {
        let caller = Caller::from_request_parts(parts, site).await?;
        let query = Query::of(&parts.uri, C::QUERY)?;
        let project = caller.named_project(&site.app, &query, C::PERMISSION).await?;
        let parameters = RawPathParams::from_request_parts(parts, site).await;
        let parameters = parameters.map_err(|_| Failure::webhook_unknown())?;
        let named = |name: &str| {
            let found = parameters.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        let (webhook, delivery) = (named("webhook"), named("delivery"));
        Ok(Self { project, token: caller.token, webhook, delivery, query, call: PhantomData })
    }
}
