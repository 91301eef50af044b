//! `POST /count`: what endpoints of the customer have served without asking. It is answered once it is durable.

use axum::extract::{Request, State};
use axum::response::Response;
use meter_edge::premise::{Answer, Count, Premise};
use serde::Serialize;
use shared::json;

use super::{App, answer, body};

/// Room for as many counts as are accepted.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// What was counted.
#[derive(Debug, Serialize)]
struct Counted {
    /// Units of all counts together.
    counted: u64,
}

pub(super) async fn count(State(app): State<App>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let agent = head.headers.get("palveron-agent").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let text = match body::text(body, BYTES_MAX).await {
        Ok(text) => text,
        Err(refused) => return answer(refused),
    };
    let counts = app.premise().counts(agent, &text);
    match counts {
        Ok(counts) => answer(app.counted(counts).await),
        Err(refused) => answer(refused),
    }
}

impl App {
    async fn counted(&self, counts: Vec<Count>) -> Answer {
        let done = self.0.meter.act(|core, now| {
            let mut units = 0_u64;
            for count in &counts {
                let agent = self.agents().of(&count.agent);
                core.home.count_served(now, (count.kind, &agent), count.units, count.observed);
                units = units.saturating_add(count.units.get());
            }
            units
        });
        match done.await {
            Ok(counted) => {
                self.0.metrics.counted(counted);
                Answer::json(json::write(&Counted { counted }))
            }
            Err(_) => Premise::unavailable(),
        }
    }
}
