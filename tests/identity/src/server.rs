//! What it answers over HTTP.

use std::collections::BTreeMap;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::people::{Given, Person, Said};
use crate::token::about;
use crate::{CLIENT_ID, CLIENT_SECRET, Provider};

pub(crate) fn router(provider: Provider) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(document))
        .route("/keys", get(keys))
        .route("/authorize", get(authorize))
        .route("/token", post(token))
        .route("/person", get(person))
        .route("/is", post(is))
        .with_state(provider)
}

async fn document(State(provider): State<Provider>) -> Response {
    let said = provider.state().said;
    if said == Said::Broken {
        return (StatusCode::INTERNAL_SERVER_ERROR, "<html>down</html>").into_response();
    }
    let at = provider.issuer();
    let issuer = if said == Said::OtherName { "https://other.example.com" } else { &at };
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{at}/authorize"),
        "token_endpoint": format!("{at}/token"),
        "userinfo_endpoint": format!("{at}/person"),
        "jwks_uri": format!("{at}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
    }))
    .into_response()
}

async fn keys(State(provider): State<Provider>) -> Json<Value> {
    Json(provider.keys.published())
}

async fn authorize(State(provider): State<Provider>, RawQuery(query): RawQuery) -> Response {
    match provider.authorize(&query.unwrap_or_default()) {
        Some(back) => Redirect::to(&back).into_response(),
        None => (StatusCode::BAD_REQUEST, "that is no sign-in").into_response(),
    }
}

/// Whoever drives a browser says who sits before it: `{"subject", "email", "verified"}`, and `broken` where the provider is.
async fn is(State(provider): State<Provider>, Json(told): Json<Value>) -> StatusCode {
    let get = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let flag = |name: &str| told.get(name).and_then(Value::as_bool);
    let verified = flag("verified");
    provider.is(Person { verified, ..Person::of(&get("subject"), &get("email")) });
    provider.says(if flag("broken") == Some(true) { Said::Broken } else { Said::Right });
    StatusCode::NO_CONTENT
}

/// Exchanges a code, once, for whoever has begun and knows the client's secret.
async fn token(State(provider): State<Provider>, headers: HeaderMap, body: String) -> Response {
    let refused = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    let asked: BTreeMap<String, String> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let (now_s, issuer) = ((provider.now_s)(), provider.issuer());
    let mut state = provider.state();
    state.exchanges += 1;
    if !is_client(&headers) {
        return refused("invalid_client");
    }
    let get = |name: &str| asked.get(name).map(String::as_str);
    let given = get("code").and_then(|code| state.codes.remove(code));
    let verifier = get("code_verifier").unwrap_or_default();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    let fits = |given: &Given| given.challenge == challenge && Some(&*given.back) == get("redirect_uri");
    let Some(given) = given.filter(fits).filter(|_| get("grant_type") == Some("authorization_code")) else {
        return refused("invalid_grant");
    };
    let Ok(token) = provider.keys.token(&given, state.said, &issuer, now_s) else {
        return refused("server_error");
    };
    let access = format!("access-{}", state.exchanges);
    state.tokens.insert(access.clone(), given.person);
    let mut answer = json!({ "access_token": access, "token_type": "Bearer", "expires_in": 300 });
    if state.said != Said::NoToken {
        answer["id_token"] = token.into();
    }
    Json(answer).into_response()
}

/// The page about a person.
async fn person(State(provider): State<Provider>, headers: HeaderMap) -> Response {
    let state = provider.state();
    let token =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(person) = token.and_then(|token| state.tokens.get(token)) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let subject = if state.said == Said::PageOfAnother { "subject-0" } else { &person.subject };
    let mut said = json!({ "sub": subject });
    for (name, value) in about(person) {
        said[name] = value;
    }
    Json(said).into_response()
}

/// RFC 6749 §2.3.1: both are form-encoded before they are put together.
fn is_client(headers: &HeaderMap) -> bool {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let expected = STANDARD.encode(format!("{}:{}", encode(CLIENT_ID), encode(CLIENT_SECRET)));
    let sent =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    sent == Some(&*expected)
}
