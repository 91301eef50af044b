//! Refusals and failures as HTTP answers. A failure is logged here, once, and nowhere before.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use shared::problem::{self, ErrorCode, Problem};

use super::retry::TakenBack;
use super::{call, docs};
use crate::idempotency::FirstAnswer;
use crate::random::NoRandomness;
use crate::store::IntakeError;
use crate::store::StoreError;

/// How long a client should wait when the store cannot be used, in seconds.
const RETRY_AFTER_S: &str = "1";

/// What ends a handler early: a problem, or what an earlier call was answered.
#[derive(Debug)]
pub(crate) struct Failure(Box<End>, Option<TakenBack>);

#[derive(Debug)]
enum End {
    Problem(Problem),
    /// A problem that is over after so many seconds.
    Wait(Problem, u64),
    Again(FirstAnswer),
}

impl Failure {
    pub(crate) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self(Box::new(End::Problem(Problem::new(code, detail))), None)
    }

    pub(crate) fn field(field: &str, got: &str, accepts: &str) -> Self {
        Self(Box::new(End::Problem(Problem::field(field, got, accepts))), None)
    }

    pub(crate) fn missing(field: &str, accepts: &str) -> Self {
        Self(Box::new(End::Problem(Problem::missing(field, accepts))), None)
    }

    /// A problem that is over after so many seconds.
    pub(super) fn wait(code: ErrorCode, detail: impl Into<String>, wait_s: u64) -> Self {
        Self(Box::new(End::Wait(Problem::new(code, detail), wait_s)), None)
    }

    /// No failure at all: the call was made before, and this is what it was answered.
    pub(super) fn again(answer: FirstAnswer) -> Self {
        Self(Box::new(End::Again(answer)), None)
    }

    /// The one answer to every token and session that is missing, garbled, unknown, revoked or over.
    pub(crate) fn unauthorized() -> Self {
        Self::new(
            ErrorCode::Unauthorized,
            "Send a token that is not revoked as `Authorization: Bearer pat_…` (operators: pot_…), or sign in.",
        )
    }

    /// The one answer to every project that does not exist or is another tenant's.
    pub(crate) fn project_unknown() -> Self {
        Self::new(
            ErrorCode::ProjectUnknown,
            "There is no such project, or this token is not for it. Check its id.",
        )
    }

    pub(crate) fn key_unknown() -> Self {
        Self::new(
            ErrorCode::KeyUnknown,
            "The project has no such key. GET …/keys lists the ids of those it has.",
        )
    }

    pub(crate) fn token_unknown() -> Self {
        Self::new(
            ErrorCode::NotFound,
            "The project has no such token. GET …/tokens lists the ids of those it has.",
        )
    }

    pub(crate) fn member_unknown() -> Self {
        Self::new(
            ErrorCode::NotFound,
            "The project has no such member. GET …/members lists the ids of those it has.",
        )
    }

    pub(crate) fn webhook_unknown() -> Self {
        Self::new(
            ErrorCode::NotFound,
            "The project has no such webhook. GET /api/v1/webhooks lists the ids of those it has.",
        )
    }

    pub(crate) fn delivery_unknown() -> Self {
        Self::new(
            ErrorCode::NotFound,
            "The webhook has no such delivery. GET …/deliveries lists the ids of those it has.",
        )
    }

    pub(crate) fn cell_unknown() -> Self {
        Self::new(
            ErrorCode::NotFound,
            "There is no such cell in the project's quarantine. GET …/quarantine lists the ids of those there are.",
        )
    }

    pub(crate) fn forbidden(role: &str) -> Self {
        Self::new(
            ErrorCode::Forbidden,
            format!("Your role is {role}, which may not do that here. Ask an owner or the operator."),
        )
    }

    pub(crate) fn not_ready() -> Self {
        Self::new(
            ErrorCode::NotReady,
            "The store cannot be used at present. Nothing was changed; send the request again.",
        )
    }

    /// Something that must not happen: logged in full here, told to the client without any of it.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %error, "a request failed");
        Self::new(ErrorCode::Internal, "Something broke on our side and was logged. Try again later.")
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if error.is_passing() {
            tracing::warn!(error = %error, "the store cannot be used at present");
            let Self(end, _) = Self::not_ready();
            Self(end, error.is_taken_back().then_some(TakenBack))
        } else {
            Self::internal(&error)
        }
    }
}

impl From<IntakeError> for Failure {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Full => {
                tracing::warn!("a flush was turned away: too many are waiting");
                Self::not_ready()
            }
            IntakeError::Store(error) if error.is_passing() => {
                tracing::warn!(error = %error, "the store cannot be used at present");
                Self::not_ready()
            }
            IntakeError::Store(error) => Self::internal(&error),
        }
    }
}

impl From<NoRandomness> for Failure {
    fn from(error: NoRandomness) -> Self {
        Self::internal(&error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (problem, wait_s) = match *self.0 {
            End::Problem(problem) => (problem, None),
            End::Wait(problem, wait_s) => (problem, Some(wait_s)),
            End::Again(answer) => {
                let mut answer = call::respond(answer);
                answer.headers_mut().insert(call::REPLAYED_HEADER, HeaderValue::from_static("true"));
                return answer;
            }
        };
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = (status, problem.to_json()).into_response();
        // What `type` names is the same everywhere; this is where its page is on this very server.
        let page = format!("<{}>; rel=\"help\"", docs::page_of(&problem.code));
        if let Ok(page) = HeaderValue::from_str(&page) {
            answer.headers_mut().insert(header::LINK, page);
        }
        if let Some(taken_back) = self.1 {
            answer.extensions_mut().insert(taken_back);
        }
        let mut set = |name, value| answer.headers_mut().insert(name, HeaderValue::from_static(value));
        set(header::CONTENT_TYPE, problem::CONTENT_TYPE);
        match status {
            StatusCode::UNAUTHORIZED => {
                set(header::WWW_AUTHENTICATE, "Bearer");
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                set(header::RETRY_AFTER, RETRY_AFTER_S);
            }
            // What is left of the request must not be taken for the next one.
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {
                set(header::CONNECTION, "close");
            }
            _ => {}
        }
        if let Some(wait_s) = wait_s {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait_s));
        }
        answer
    }
}
