//! Every endpoint, in one list that the router, `/openapi.json` and the tests of access are made from.
//!
//! A new endpoint is a row in its module's `routes`; nothing else has to be told of it. CONTRIBUTING.md shows how.

use axum::Router;
use axum::http::{HeaderMap, Method, Uri};
use shared::openapi::AnyObject;
use shared::problem::ErrorCode;

use super::failure::Failure;
use super::route::{Route, Who};
use super::site::Site;
use super::{
    admin, billing, cloud_events, dashboard, docs, focus, health, ingest, invoices, limits, metrics, offers,
    openapi, overview, pages, reports, requests, retry, session, start, streams, stripe, usage, webhooks,
};

/// Every endpoint, in the order of the modules that have them.
#[must_use]
pub fn routes() -> Vec<Route> {
    let own = vec![
        Route::get("/metrics", Who::Anyone, "Show metrics", metrics::show)
            .answers_text(
                200,
                "This process's numbers in the text format of OpenMetrics",
                metrics::MEDIA_TYPE,
            )
            .refuses(&[ErrorCode::Unauthorized]),
        Route::get("/openapi.json", Who::Anyone, "Show the interface", openapi::show)
            .answers::<AnyObject>(200, "This document"),
        Route::get("/openapi-edge.json", Who::Anyone, "Show the edge's interface", openapi::show_edge)
            .answers::<AnyObject>(200, "The edge's document, in OpenAPI 3.1"),
        start::route(),
        Route::get("/errors/{code}", Who::Anyone, "Explain an error code", pages::error)
            .answers_text(200, "When it happens and what to do", "text/plain")
            .refuses(&[ErrorCode::NotFound]),
    ];
    [
        own,
        health::routes(),
        session::routes(),
        ingest::routes(),
        vec![cloud_events::route()],
        reports::routes(),
        overview::routes(),
        usage::routes(),
        vec![focus::route()],
        streams::routes(),
        billing::routes(),
        vec![offers::route()],
        invoices::routes(),
        webhooks::routes(),
        stripe::routes(),
        admin::routes(),
    ]
    .concat()
}

/// The router of every endpoint, with problems for all that is none.
pub fn router(site: Site) -> Router {
    routes()
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, route.handler()))
        .fallback(|method: Method, uri: Uri, headers: HeaderMap| async move {
            let page = docs::at(&method, uri.path(), &headers);
            page.or_else(|| dashboard::at(&method, &uri, &headers)).ok_or_else(|| {
                Failure::new(
                    ErrorCode::NotFound,
                    "Nothing is at this path. Check its spelling and the slash at its end.",
                )
            })
        })
        .method_not_allowed_fallback(|| async {
            Failure::new(
                ErrorCode::MethodNotAllowed,
                "This path does not take that method. The Allow header lists those it takes.",
            )
        })
        .layer(axum::middleware::from_fn(retry::run))
        .layer(axum::middleware::from_fn_with_state(site.clone(), requests::count))
        .layer(axum::middleware::from_fn(limits::keep))
        .with_state(site)
}
