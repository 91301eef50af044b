//! The secrets of one stack, fresh for each.

use anyhow::{Context, Result};
use shared::key::KeySecrets;
use shared::sign::SigningKeys;

/// What the parts of one stack share.
#[derive(Debug)]
pub(crate) struct Secrets {
    /// The text of `METER_KEY_SECRETS`.
    pub(crate) key_secrets: String,
    /// The text of `METER_SIGNING_KEYS`.
    pub(crate) signing_keys: String,
    /// The key of the account at the simulated Stripe.
    pub(crate) stripe_key: String,
    /// With which the simulated Stripe signs: two, as while one is rotated.
    pub(crate) stripe_webhook: String,
}

impl Secrets {
    /// Draws new ones.
    pub(crate) fn draw() -> Result<Self> {
        let signing_keys = format!("edge:e1:{},policy:p1:{},upstream:u1:{}", hex()?, hex()?, hex()?);
        Ok(Self {
            key_secrets: format!("1:{}", hex()?),
            signing_keys,
            stripe_key: format!("sk_test_{}", hex()?),
            stripe_webhook: format!("whsec_{},whsec_{}", hex()?, hex()?),
        })
    }

    /// Under which project keys are made.
    pub(crate) fn keys(&self) -> Result<KeySecrets> {
        KeySecrets::parse(&self.key_secrets).map_err(anyhow::Error::msg)
    }

    /// The signing keys of all machines.
    pub(crate) fn signing(&self) -> Result<SigningKeys> {
        SigningKeys::parse(&self.signing_keys).map_err(anyhow::Error::msg)
    }
}

/// 256 random bits as hex.
fn hex() -> Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).context("the system has no randomness")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
