//! Every endpoint, in one table that the router is built from and that tests walk through.

use axum::Router;
use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use shared::problem::ErrorCode;

use super::failure::Failure;
use super::{admin, billing, health, ingest, limits, metrics, usage};
use crate::access::Permission;
use crate::app::App;

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Anybody.
    Anyone,
    /// Machines that sign with a shared key.
    Signed,
    /// Operators, for what concerns no single project.
    Operator,
    /// Tokens that have this permission in the project that the call names.
    InProject(Permission),
}

/// One endpoint.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with `{project}` and `{name}` where they vary.
    pub path: &'static str,
    /// Who may call it.
    pub who: Who,
    handler: fn() -> MethodRouter<App>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({:?})", self.method, self.path, self.who)
    }
}

const fn route(method: Method, path: &'static str, who: Who, handler: fn() -> MethodRouter<App>) -> Route {
    Route { method, path, who, handler }
}

const READ: Who = Who::InProject(Permission::Read);
const KEYS: Who = Who::InProject(Permission::ManageKeys);
const BILLING: Who = Who::InProject(Permission::ManageBilling);
const OPERATE: Who = Who::InProject(Permission::Operate);

/// Every endpoint.
pub static ROUTES: &[Route] = &[
    route(Method::GET, "/healthz", Who::Anyone, || get(health::alive)),
    route(Method::GET, "/readyz", Who::Anyone, || get(health::ready)),
    route(Method::GET, "/metrics", Who::Anyone, || get(metrics::show)),
    route(Method::POST, shared::wire::INGEST_PATH, Who::Signed, || post(ingest::flush)),
    route(Method::GET, "/api/v1/usage", READ, || get(usage::report)),
    route(Method::GET, "/api/v1/billing/plan", READ, || get(billing::plan)),
    route(Method::PUT, "/api/v1/billing/plan", BILLING, || put(billing::set_plan)),
    route(Method::GET, "/api/v1/billing/top-ups", READ, || get(billing::top_ups)),
    route(Method::GET, "/api/v1/explain", READ, || get(billing::explain)),
    route(Method::GET, "/api/v1/admin/projects", Who::Operator, || get(admin::projects::list)),
    route(Method::POST, "/api/v1/admin/projects", Who::Operator, || post(admin::projects::create)),
    route(Method::GET, "/api/v1/admin/projects/{project}", READ, || get(admin::projects::show)),
    route(Method::PATCH, "/api/v1/admin/projects/{project}", OPERATE, || patch(admin::projects::change)),
    route(Method::GET, "/api/v1/admin/projects/{project}/keys", READ, || get(admin::keys::list)),
    route(Method::POST, "/api/v1/admin/projects/{project}/keys", KEYS, || post(admin::keys::create)),
    route(Method::DELETE, "/api/v1/admin/projects/{project}/keys/{name}", KEYS, || {
        delete(admin::keys::revoke)
    }),
    route(Method::POST, "/api/v1/admin/projects/{project}/credits", OPERATE, || post(admin::credits::give)),
    route(Method::GET, "/api/v1/admin/projects/{project}/tokens", OPERATE, || get(admin::tokens::list)),
    route(Method::POST, "/api/v1/admin/projects/{project}/tokens", OPERATE, || post(admin::tokens::create)),
    route(Method::DELETE, "/api/v1/admin/projects/{project}/tokens/{name}", OPERATE, || {
        delete(admin::tokens::revoke)
    }),
];

/// The router of every endpoint, with problems for all that is none.
pub fn router(app: App) -> Router {
    ROUTES
        .iter()
        .fold(Router::new(), |router, route| router.route(route.path, (route.handler)()))
        .fallback(|| async {
            Failure::new(
                ErrorCode::NotFound,
                "Nothing is at this path. Check its spelling and the slash at its end.",
            )
        })
        .method_not_allowed_fallback(|| async {
            Failure::new(
                ErrorCode::MethodNotAllowed,
                "This path does not take that method. The Allow header lists those it takes.",
            )
        })
        .layer(axum::middleware::from_fn(limits::keep))
        .with_state(app)
}
