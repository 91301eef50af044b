//! `/api/v1/admin/clock`: time for tests and demonstrations. Real meters answer 404.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::problem::ErrorCode;
use shared::time::Timestamp;

use crate::app::App;
use crate::clock::duration_ms;
use crate::edge::followers;
use crate::edge::peers::ClockPeers;
use crate::http::access::Operator;
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::Field;
use crate::http::route::{Route, Who};

const DURATION: &str = "a duration such as 3d, 12h, 30m, 10s or 1d12h";

const ADVANCE: &[Field] = &[Field::required::<String>("advance", DURATION).such_as("\"3d\"")];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/admin/clock", Who::Operator, "Show the clock of a meter for tests", show)
            .answers::<ClockView>(200, "What time it is, and how far the clock was moved")
            .refuses(&[ErrorCode::NotFound]),
        Route::post("/api/v1/admin/clock", Who::Operator, "Move the clock of a meter for tests", advance)
            .body(ADVANCE)
            .answers::<ClockView>(200, "What time it is now, here and at the edge")
            .refuses(&[ErrorCode::NotFound]),
    ]
}

/// The clock of a meter for tests.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ClockView {
    /// How far it is ahead of the machine's, in milliseconds.
    offset_ms: u64,
    now: String,
}

/// Shows the clock.
pub(crate) async fn show(_: Operator, State(app): State<App>) -> Result<Json<ClockView>, Failure> {
    peers(&app)?;
    let offset_ms = app.store.clock_offset_ms().await?;
    Ok(Json(ClockView { offset_ms, now: app.clock.now().to_string() }))
}

/// Moves the clock forward, and those of edge and simulated Stripe with it.
pub(crate) async fn advance(
    Operator(token): Operator,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let peers = peers(&app)?;
    let text: String = call.fields()?.of(ADVANCE)?.required("advance", DURATION)?;
    let by_ms = duration_ms(&text).map_err(|_| Failure::field("advance", &text, DURATION))?;
    let mut change = call.begin(&app).await?;
    let offset_ms = change.advance_clock(by_ms, app.clock.now()).await?;
    let before_ms = app.clock.offset_ms();
    let now = app.clock.now().plus_ms(offset_ms.saturating_sub(before_ms));
    let answer = change.answer(StatusCode::OK, &view(offset_ms, now)).await?;
    app.clock.shift(offset_ms);
    tracing::info!(token.id = token.id, offset_ms, "clock moved");
    for failure in followers::wait(&app.store, offset_ms).await? {
        tracing::warn!(offset_ms, "{failure}");
    }
    // Who cannot be told now is told by the job until they know.
    for failure in peers.tell(offset_ms).await {
        tracing::warn!(offset_ms, "{failure}");
    }
    Ok(answer)
}

fn view(offset_ms: u64, now: Timestamp) -> ClockView {
    ClockView { offset_ms, now: now.to_string() }
}

fn peers(app: &App) -> Result<&ClockPeers, Failure> {
    app.test_clock.as_ref().ok_or_else(|| {
        Failure::new(ErrorCode::NotFound, "The clock moves only with METER_TEST=1, which no real meter has.")
    })
}
