//! Those whose clocks move along with ours in tests and demonstrations: the edge, the simulated Stripe, a meter on
//! premise.

use axum::http::StatusCode;
use shared::moved::Moved;
use shared::sign::SigningKeys;

use super::client::{EdgeClient, EdgeUrl};

/// The path at the edge, and at the meter on premise, that is told.
const EDGE_PATH: &str = "/internal/clock";

/// The path at the simulated Stripe that is told; Stripe itself has none.
const STRIPE_PATH: &str = "/_fake/clock";

/// Who is told how far the clock was moved.
#[derive(Debug, Clone, Default)]
pub struct ClockPeers {
    edge: Option<(EdgeClient, SigningKeys)>,
    stripe: Option<EdgeClient>,
    reporter: Option<EdgeClient>,
}

impl ClockPeers {
    /// The edge, told under these keys, and the simulated Stripe and the meter on premise where there are any.
    ///
    /// # Errors
    /// When TLS is needed and the machine has no trusted certificates.
    pub fn new(
        edge: EdgeUrl,
        keys: SigningKeys,
        stripe: Option<EdgeUrl>,
        reporter: Option<EdgeUrl>,
    ) -> Result<Self, String> {
        let [stripe, reporter] = [stripe, reporter].map(|peer| peer.map(EdgeClient::new).transpose());
        Ok(Self { edge: Some((EdgeClient::new(edge)?, keys)), stripe: stripe?, reporter: reporter? })
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
        let others = [
            (&self.stripe, STRIPE_PATH, "the simulated Stripe"),
            (&self.reporter, EDGE_PATH, "the meter on premise"),
        ];
        for (peer, path, name) in others {
            if let Some(peer) = peer {
                let told = post(peer, path, &Moved { offset_ms }).await;
                failures.extend(told.err().map(|why| format!("{name}'s clock was not moved: {why}")));
            }
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
