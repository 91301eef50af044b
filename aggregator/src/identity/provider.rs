//! The conversation with a provider: authorization code with PKCE, state and nonce (OpenID Connect Core §3.1).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::DateTime;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdToken, CoreIdTokenClaims,
    CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreUserInfoClaims,
};
use openidconnect::{
    AccessToken, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    EndUserEmail, EndpointMaybeSet, EndpointNotSet, EndpointSet, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, TokenResponse, UserInfoError,
};
use shared::time::Timestamp;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use url::Url;

use super::settings::ProviderSettings;
use super::wire::{Wire, WireError};
use crate::access::account::Email;
use crate::access::errand::Errand;
use crate::access::stranger::Proven;

/// How long a provider's document and keys are believed: it changes them seldom, and announces new keys before it
/// signs with them.
const KNOWN_MS_MAX: u64 = 5 * 60 * 1_000;

/// How often unknown keys are looked for at most, whatever people send.
const LOOKED_MS: u64 = 10 * 1_000;

/// Conversations of one process at once: nobody has us ask a provider as fast as they can send.
const TURNS_MAX: usize = 8;

/// How long somebody waits for such a turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// What tokens may be signed with: all that needs no secret of ours, and never nothing.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Why nobody is proven. The texts are for the log: they name no person.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be reached, or says what cannot be understood.
    #[error("the identity provider fails: {0}")]
    Failing(String),
    /// It refuses the code, or its token is not right.
    #[error("the identity provider's answer is refused: {0}")]
    Refused(String),
    /// It does not say that it has verified the person's address.
    #[error("the identity provider has not verified the e-mail address")]
    Unverified,
}

/// A provider.
pub struct Provider {
    settings: ProviderSettings,
    wire: Wire,
    known: Mutex<Option<(Timestamp, CoreProviderMetadata)>>,
    turns: Semaphore,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({:?})", self.settings)
    }
}

impl Provider {
    /// That provider; nothing is asked of it until somebody signs in, so that we start without it.
    ///
    /// # Errors
    /// When TLS is needed and the machine has no trusted certificates.
    pub fn new(settings: ProviderSettings) -> Result<Self, String> {
        let wire = Wire::new(settings.issuer.url().url().scheme() == "https")?;
        Ok(Self { settings, wire, known: Mutex::default(), turns: Semaphore::new(TURNS_MAX) })
    }

    /// What is configured of it.
    #[must_use]
    pub fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    /// Where to send the browser that goes on this errand.
    ///
    /// # Errors
    /// When the provider cannot be reached or understood.
    pub async fn entrance(&self, errand: &Errand, back: &str, now: Timestamp) -> Result<Url, ProviderError> {
        let _turn = self.turn().await?;
        let client = self.client(self.metadata(now, KNOWN_MS_MAX).await?, back)?;
        let (state, nonce) = (CsrfToken::new(errand.state()), Nonce::new(errand.nonce()));
        let challenge =
            PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(errand.verifier()));
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let (url, _, _) = client
            .authorize_url(flow, move || state, move || nonce)
            .add_scope(Scope::new("email".to_owned()))
            .add_scope(Scope::new("profile".to_owned()))
            .set_pkce_challenge(challenge)
            .url();
        Ok(url)
    }

    /// Who came back from this errand with that code.
    ///
    /// # Errors
    /// When the provider cannot be reached, refuses the code, or does not prove a verified address.
    pub async fn prove(
        &self,
        errand: &Errand,
        (code, back): (String, &str),
        now: Timestamp,
    ) -> Result<Proven, ProviderError> {
        let _turn = self.turn().await?;
        let client = self.client(self.metadata(now, KNOWN_MS_MAX).await?, back)?;
        let answer = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| ProviderError::Failing(error.to_string()))?
            .set_pkce_verifier(PkceCodeVerifier::new(errand.verifier()))
            .request_async(&self.wire)
            .await
            .map_err(of_code)?;
        let token = answer.id_token();
        let token = token.ok_or_else(|| ProviderError::Refused("there is no ID token".to_owned()))?;
        let nonce = Nonce::new(errand.nonce());
        let (client, claims) = match claims(&client, token, &nonce, now) {
            // Its keys may have turned since we looked.
            Err(ClaimsVerificationError::SignatureVerification(_)) => {
                let client = self.client(self.metadata(now, LOOKED_MS).await?, back)?;
                let claims = claims(&client, token, &nonce, now);
                (client, claims)
            }
            judged => (client, judged),
        };
        let claims = claims.map_err(|error| ProviderError::Refused(error.to_string()))?;
        let (email, name) = match (claims.email(), claims.email_verified()) {
            (Some(email), verified) => (verified_email(email, verified)?, named(&claims)),
            // Some providers keep the address out of the token.
            (None, _) => self.asked(&client, answer.access_token(), &claims).await?,
        };
        let (issuer, subject) = (self.settings.issuer.url().to_string(), claims.subject().to_string());
        Ok(Proven { issuer, subject, email, name })
    }

    /// The address and the name as the provider's own page about the person says.
    async fn asked(
        &self,
        client: &Client,
        token: &AccessToken,
        claims: &CoreIdTokenClaims,
    ) -> Result<(Email, Option<String>), ProviderError> {
        let Ok(question) = client.user_info(token.clone(), Some(claims.subject().clone())) else {
            return Err(ProviderError::Unverified);
        };
        let said: CoreUserInfoClaims = question.request_async(&self.wire).await.map_err(|error| {
            if let UserInfoError::ClaimsVerification(error) = &error {
                ProviderError::Refused(error.to_string())
            } else {
                ProviderError::Failing(with_cause(&error))
            }
        })?;
        let name = said.name().and_then(|name| name.get(None)).map(|name| name.to_string());
        let email = said.email().ok_or(ProviderError::Unverified)?;
        Ok((verified_email(email, said.email_verified())?, name))
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, ProviderError> {
        match tokio::time::timeout(PATIENCE, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(ProviderError::Failing("too many people sign in at once".to_owned())),
        }
    }

    /// The provider's document and keys, no older than that.
    async fn metadata(&self, now: Timestamp, age_ms: u64) -> Result<CoreProviderMetadata, ProviderError> {
        let mut known = self.known.lock().await;
        if let Some((at, metadata)) = known.as_ref()
            && *at <= now
            && now.ms_since(*at) < age_ms
        {
            return Ok(metadata.clone());
        }
        let found =
            CoreProviderMetadata::discover_async(self.settings.issuer.url().clone(), &self.wire).await;
        let metadata = found.map_err(|error| ProviderError::Failing(with_cause(&error)))?;
        *known = Some((now, metadata.clone()));
        Ok(metadata)
    }

    fn client(&self, metadata: CoreProviderMetadata, back: &str) -> Result<Client, ProviderError> {
        let ProviderSettings { client_id, client_secret, .. } = &self.settings;
        let failing = |error: url::ParseError| ProviderError::Failing(error.to_string());
        let ways = metadata.token_endpoint_auth_methods_supported();
        let in_body = ways.is_some_and(|ways| {
            ways.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !ways.contains(&CoreClientAuthMethod::ClientSecretBasic)
        });
        let secret = client_secret.clone().map(ClientSecret::new);
        let client = CoreClient::from_provider_metadata(metadata, ClientId::new(client_id.clone()), secret)
            .set_auth_type(if in_body { AuthType::RequestBody } else { AuthType::BasicAuth })
            .set_redirect_uri(RedirectUrl::new(back.to_owned()).map_err(failing)?);
        Ok(client)
    }
}

/// What a token says, if it is signed by the provider, for us, for this errand, and now.
fn claims(
    client: &Client,
    token: &CoreIdToken,
    nonce: &Nonce,
    now: Timestamp,
) -> Result<CoreIdTokenClaims, ClaimsVerificationError> {
    let now = i64::try_from(now.as_ms()).ok().and_then(DateTime::from_timestamp_millis);
    let verifier = client
        .id_token_verifier()
        .set_allowed_algs(ALGORITHMS)
        // A time that no calendar has expires every token.
        .set_time_fn(move || now.unwrap_or(DateTime::<chrono::Utc>::MAX_UTC));
    token.claims(&verifier, nonce).cloned()
}

fn named(claims: &CoreIdTokenClaims) -> Option<String> {
    claims.name().and_then(|name| name.get(None)).map(|name| name.to_string())
}

/// An address that the provider does not say it has verified may be somebody else's.
fn verified_email(email: &EndUserEmail, verified: Option<bool>) -> Result<Email, ProviderError> {
    let email = Email::parse(email).filter(|_| verified == Some(true));
    email.ok_or(ProviderError::Unverified)
}

/// What came of sending the code.
fn of_code<E: openidconnect::ErrorResponse + 'static>(
    error: RequestTokenError<WireError, E>,
) -> ProviderError {
    match error {
        // `invalid_grant` and the like: the code was used, is too old, or is another's.
        RequestTokenError::ServerResponse(said) => {
            let said: BTreeMap<String, serde_json::Value> = serde_json::to_value(said)
                .ok()
                .and_then(|said| serde_json::from_value(said).ok())
                .unwrap_or_default();
            let code = said.get("error").and_then(serde_json::Value::as_str).unwrap_or("no reason");
            ProviderError::Refused(format!("it says {code}"))
        }
        RequestTokenError::Parse(error, _) => ProviderError::Refused(error.to_string()),
        error @ (RequestTokenError::Request(_) | RequestTokenError::Other(_)) => {
            ProviderError::Failing(with_cause(&error))
        }
    }
}

/// An error and what it came of, in one line.
fn with_cause(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}
