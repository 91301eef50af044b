//! `POST /count`: what endpoints of the customer have served without asking. It is answered once it is durable.

use axum::extract::{Request, State};
use axum::response::Response;
use meter_edge::premise::{Answer, Count, Premise};
use serde::Serialize;
use shared::json;
use shared::problem::{ErrorCode, Problem};

use super::{App, answer, body};
use crate::named::Reused;
use crate::outbox::hash;

/// Room for as many counts as are accepted.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// What was counted.
#[derive(Debug, Serialize)]
struct Counted {
    /// Units of all counts together.
    counted: u64,
}

/// The header by which a count that is sent again counts once.
const NAME: &str = "idempotency-key";
const NAME_CHARS_MAX: usize = 128;

pub(super) async fn count(State(app): State<App>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let header = |name: &str| {
        let value = head.headers.get(name);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
    };
    let (agent, name) = (header("palveron-agent"), header(NAME));
    if name.len() > NAME_CHARS_MAX || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        let accepts = "1 to 128 visible ASCII characters";
        return answer(Answer::of(&Problem::field("Idempotency-Key", &name, accepts)));
    }
    let text = match body::text(body, BYTES_MAX).await {
        Ok(text) => text,
        Err(refused) => return answer(refused),
    };
    let counts = app.premise().counts(&agent, &text);
    match counts {
        Ok(counts) => {
            let name = (!name.is_empty()).then(|| (name, hash(&format!("{agent}\n{text}"))));
            answer(app.counted(counts, name).await)
        }
        Err(refused) => answer(refused),
    }
}

impl App {
    async fn counted(&self, mut counts: Vec<Count>, name: Option<(String, String)>) -> Answer {
        for count in &mut counts {
            count.agent = self.agents().of(&count.agent);
        }
        match self.0.meter.act(|core, now| core.count(&counts, name, now)).await {
            Ok(Ok((counted, is_new))) => {
                self.0.metrics.counted(if is_new { counted } else { 0 });
                Answer::json(json::write(&Counted { counted }))
            }
            Ok(Err(Reused)) => Answer::of(&Problem::new(
                ErrorCode::IdempotencyKeyReused,
                "The Idempotency-Key was that of another body, and nothing was counted. Give each body a name of its own.",
            )),
            Err(_) => Premise::unavailable(),
        }
    }
}
