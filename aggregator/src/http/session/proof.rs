//! What proves who somebody is: a password, compared at a rate and in a time that tell a stranger nothing.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use shared::problem::ErrorCode;
use tokio::sync::Semaphore;

use crate::access::account::{Account, Email};
use crate::access::attempts::Subject;
use crate::access::password;
use crate::app::App;
use crate::http::failure::Failure;
use crate::http::places::Place;
use crate::http::site::Site;
use crate::random::NoRandomness;
use crate::store::{Attempting, Known};

/// Passwords that one process hashes at once: each takes 19 MiB and a processor.
const HASHES_MAX: usize = 4;

/// How long a password waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

static HASHES: Semaphore = Semaphore::const_new(HASHES_MAX);

/// From which machine a call comes; `None` where all come through a proxy.
#[derive(Debug, Clone, Copy)]
pub(super) struct From(Option<IpAddr>);

impl FromRequestParts<Site> for From {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Site) -> Result<Self, Failure> {
        Ok(Self(parts.extensions.get::<Place>().and_then(Place::machine)))
    }
}

/// Compares a password with an account's, if there were not too many failures of that account or from there.
pub(super) async fn by_password(
    app: &App,
    from: From,
    (email, password): (&Email, String),
) -> Result<Account, Failure> {
    let of_account = Subject::account(email);
    let subjects: Vec<Subject> =
        [Some(of_account.clone()), from.0.map(Subject::address)].into_iter().flatten().collect();
    let attempt = match app.store.attempt(&subjects, app.clock.now()).await? {
        Attempting::LetThrough(id) => id,
        Attempting::Wait(wait_s) => {
            let detail = format!(
                "Too many attempts to sign in failed. Wait {wait_s} s, or ask the operator for a sign-in link."
            );
            return Err(Failure::wait(ErrorCode::TooManyAttempts, detail, wait_s));
        }
    };
    let known = app.store.account_of(email).await?.filter(|known| known.account.disabled.is_none());
    let (account, stored) = known.map(|Known { account, password }| (account, password)).unzip();
    let is_right = hashing(move || password::is_password(stored.flatten().as_deref(), &password)).await?;
    let Some(account) = account.filter(|_| is_right) else { return Err(rejected()) };
    app.store.attempt_succeeded(&attempt, &of_account).await?;
    Ok(account)
}

/// What to store of a new password.
pub(super) async fn hash(password: String) -> Result<String, Failure> {
    hashing(move || password::hash(&password)).await
}

/// The one answer to whoever does not prove who it is.
pub(super) fn rejected() -> Failure {
    Failure::new(
        ErrorCode::SignInRejected,
        "No account signs in with this address and password. Check both, or ask the operator for a sign-in link.",
    )
}

/// Hashes where nobody else waits for it, a few at once.
async fn hashing<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NoRandomness> + Send + 'static,
) -> Result<T, Failure> {
    let turn = tokio::time::timeout(PATIENCE, HASHES.acquire()).await;
    let Ok(Ok(_turn)) = turn else { return Err(Failure::not_ready()) };
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| Failure::internal(&error))?;
    Ok(done?)
}
