//! How the reporter is, and what its operator has it do now.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use meter_edge::premise::{Answer, Premise};
use serde::{Deserialize, Serialize};
use shared::json;
use shared::moved::Moved;
use shared::problem::{ErrorCode, Problem};
use shared::report::Environment;
use shared::time::Timestamp;

use super::{App, answer, body, problem};
use crate::cli::{export, receipt};
use crate::config::Config;
use crate::meter::Core;
use crate::standing::{Failure, Standing, hours};

/// The body of a moved clock.
const CLOCK_BYTES_MAX: usize = 1_024;
/// Receipts have the whole policy in each; these are some thousand.
const RECEIPTS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How the reporter is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// Which reporter.
    pub source: String,
    /// Which life of its data folder.
    pub incarnation: String,
    /// What the deployment is for.
    pub environment: Environment,
    /// State, what to do about it, and the countdown.
    #[serde(flatten)]
    pub standing: Standing,
    /// The last attempt, where it failed.
    pub failure: Option<Failure>,
    /// The number of the last report that was made.
    pub seq: u64,
    /// The number of the last one that a receipt came for.
    pub acknowledged: u64,
    /// When the last receipt came.
    pub heard_at: Option<String>,
    /// When the contracted minimum is billed at least, by the aggregator's clock.
    pub silent_at: Option<String>,
    /// What the units are counted for.
    pub project: Option<String>,
    /// The first day whose units are billed, where the contract has not begun yet.
    pub billed_from: Option<String>,
    /// The version of the policy that is enforced; zero allows and counts everything.
    pub policy_version: u64,
    /// Units counted this month.
    pub used: u64,
    /// When a file was last exported.
    pub exported_at: Option<String>,
}

impl Status {
    /// How it is, as far as that memory knows.
    #[must_use]
    pub fn of(config: &Config, core: &Core, now: Timestamp) -> Self {
        let life = core.home.incarnation();
        let heard = core.heard.as_ref();
        let of_this_life = heard.filter(|heard| heard.receipt.incarnation == *life);
        Self {
            source: config.source.to_string(),
            incarnation: life.to_string(),
            environment: config.environment,
            standing: Standing::of(config.is_air_gap(), heard, core.failure.as_ref(), now),
            failure: core.failure.clone(),
            seq: core.chain.seq,
            acknowledged: of_this_life.map_or(0, |heard| heard.receipt.watermark),
            heard_at: heard.map(|heard| heard.at.to_string()),
            silent_at: heard.map(|heard| heard.receipt.silent_at.to_string()),
            project: heard.map(|heard| heard.receipt.project.to_string()),
            billed_from: heard
                .and_then(|heard| heard.receipt.billed_from)
                .filter(|day| now.day() < *day)
                .map(|day| day.to_string()),
            policy_version: core.home.policy_version().unwrap_or_default(),
            used: core.home.numbers(now).map_or(0, |numbers| numbers.used.get()),
            exported_at: core.exported.map(|at| at.to_string()),
        }
    }

    /// As people read it.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { standing, .. } = self;
        let mut text = format!("{} ({})\n  {}\n", standing.state, self.source, standing.advice);
        let mut line = |what: &str, value: &str| text.push_str(&format!("  {what:<16}{value}\n"));
        line("life", &format!("{}, {:?}", self.incarnation, self.environment));
        line("reports", &format!("{} made, {} acknowledged", self.seq, self.acknowledged));
        line("last receipt", self.heard_at.as_deref().unwrap_or("never"));
        line("offline", &standing.offline_ms.map_or_else(|| "since it began".to_owned(), hours));
        line("left", &standing.left_ms.map_or_else(|| "no receipt has said so yet".to_owned(), hours));
        line("counted", &format!("{} units this month", self.used));
        line(
            "policy",
            &match self.policy_version {
                0 => "none yet: everything is counted and allowed".to_owned(),
                version => format!("version {version} of {}", self.project.as_deref().unwrap_or_default()),
            },
        );
        if let Some(day) = &self.billed_from {
            line("contract", &format!("begins on {day}: what is counted before is shown and not billed"));
        }
        if let Some(at) = &self.exported_at {
            line("last export", at);
        }
        if let Some(Failure { since, attempts, detail, .. }) = &self.failure {
            line("failing", &format!("{attempts} times since {since}: {detail}"));
        }
        text
    }
}

pub(super) async fn healthz() -> Response {
    answer(Answer::json(r#"{"status":"ok"}"#.to_owned()))
}

pub(super) async fn status(State(app): State<App>) -> Response {
    let status = app.0.meter.look(|core, now| Status::of(&app.0.config, core, now));
    answer(Answer::json(json::write(&status)))
}

pub(super) async fn metrics(State(app): State<App>, request: Request) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = app.0.config.metrics_token.as_ref();
    if token.is_some_and(|token| !token.is_shown_in(shown.unwrap_or_default())) {
        let detail = "Send the token of METER_METRICS_TOKEN as `Authorization: Bearer …`.";
        return problem(ErrorCode::Unauthorized, detail);
    }
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let standing = app.0.meter.look(|core, now| {
        Standing::of(app.0.config.is_air_gap(), core.heard.as_ref(), core.failure.as_ref(), now)
    });
    match app.0.metrics.text(&standing) {
        Ok(text) => ([(header::CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS))], text).into_response(),
        Err(_) => problem(ErrorCode::Internal, "The numbers cannot be written."),
    }
}

/// Sends now.
pub(super) async fn send(State(app): State<App>) -> Response {
    let Some(sender) = &app.0.sender else {
        return problem(ErrorCode::NotFound, "In air-gap mode nothing is sent; export a file.");
    };
    match sender.send().await {
        Ok(outcome) => answer(Answer::json(json::write(&outcome))),
        Err(error) => {
            tracing::error!(error = %error, "nothing can be reported");
            answer(Premise::unavailable())
        }
    }
}

/// Everything that no receipt acknowledges, signed, a report a line.
pub(super) async fn export(State(app): State<App>) -> Response {
    match export::lines(&app.0.config, &app.0.meter).await {
        Ok(lines) => lines.into_response(),
        Err(error) => {
            tracing::error!(error = %error, "nothing can be exported");
            answer(Premise::unavailable())
        }
    }
}

/// Takes receipts that people have carried, a line each.
pub(super) async fn receipts(State(app): State<App>, request: Request) -> Response {
    let lines = match body::text(request.into_body(), RECEIPTS_BYTES_MAX).await {
        Ok(lines) => lines,
        Err(refused) => return answer(refused),
    };
    match receipt::take(&app.0.config, &app.0.meter, &lines).await {
        Ok(told) => told.into_response(),
        Err(error) => answer(Answer::of(&Problem::new(ErrorCode::FieldRejected, format!("{error:#}")))),
    }
}

/// Moves the clock of a reporter for tests.
pub(super) async fn clock(State(app): State<App>, request: Request) -> Response {
    if !app.0.config.test {
        return problem(ErrorCode::NotFound, "There is nothing at this path.");
    }
    let text = match body::text(request.into_body(), CLOCK_BYTES_MAX).await {
        Ok(text) => text,
        Err(refused) => return answer(refused),
    };
    match json::read::<Moved>(&text) {
        Ok(Moved { offset_ms }) if offset_ms <= Moved::MS_MAX => {
            app.0.meter.clock().shift(offset_ms);
            answer(Answer::json(text))
        }
        Ok(_) | Err(_) => {
            answer(Answer::of(&Problem::field("offset_ms", &text, "milliseconds, up to a hundred years")))
        }
    }
}
