//! Those whose clocks move along with ours in tests and demonstrations: the edge and the simulated Stripe.

use axum::http::StatusCode;
use shared::moved::Moved;
use shared::sign::SigningKeys;

use super::client::{EdgeClient, EdgeUrl};

/// The path at the edge that is told.
const EDGE_PATH: &str = "/internal/clock";

/// The path at the simulated Stripe that is told; Stripe itself has none.
const STRIPE_PATH: &str = "/_fake/clock";

/// Who is told how far the clock was moved.
#[derive(Debug, Clone, Default)]
pub struct ClockPeers {
    edge: Option<(EdgeClient, SigningKeys)>,
    stripe: Option<EdgeClient>,
}

impl ClockPeers {
    /// The edge, told under these keys, and the simulated Stripe where there is one.
    ///
    /// # Errors
    /// When TLS is needed and the machine has no trusted certificates.
    pub fn new(edge: EdgeUrl, keys: SigningKeys, stripe: Option<EdgeUrl>) -> Result<Self, String> {
        let stripe = stripe.map(EdgeClient::new).transpose()?;
        Ok(Self { edge: Some((EdgeClient::new(edge)?, keys)), stripe })
    }

    /// Tells each how far the clock is ahead in all, and who could not be told and why. Telling again changes
    /// nothing, because their clocks never go back.
    pub async fn tell(&self, offset_ms: u64) -> Vec<String> {
        let mut failures = Vec::new();
        if let Some((edge, keys)) = &self.edge {
            let moved = Moved { offset_ms };
            let told = match moved.sign(keys) {
                Ok(signed) => post(edge, EDGE_PATH, &signed).await,
                Err(error) => Err(error),
            };
            failures.extend(told.err().map(|why| format!("the edge's clock was not moved: {why}")));
        }
        if let Some(stripe) = &self.stripe {
            let told = post(stripe, STRIPE_PATH, &Moved { offset_ms }).await;
            failures
                .extend(told.err().map(|why| format!("the simulated Stripe's clock was not moved: {why}")));
        }
        failures
    }
}

async fn post(client: &EdgeClient, path: &str, body: &impl serde::Serialize) -> Result<(), String> {
    let body = serde_json::to_vec(body).map_err(|error| error.to_string())?;
    match client.post_json(path, body).await {
        Ok((StatusCode::OK, _)) => Ok(()),
        Ok((StatusCode::NOT_FOUND, _)) => Err("it does not run with METER_TEST=1".to_owned()),
        Ok((status, _)) => Err(format!("it answered {status}")),
        Err(error) => Err(error.to_string()),
    }
}
