//! A simulated OpenID provider on loopback. It keeps to the protocol (discovery, authorization code, PKCE, client secret,
//! signed tokens) and signs whatever a test has it say, right or wrong: nobody can type a password into it.

#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::indexing_slicing,
    reason = "most of what is said wrongly is wrong in one place, and JSON that is made here has the places that are written"
)]

mod people;
mod server;
mod token;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::people::State;
pub use self::people::{Person, Said};
use self::token::Keys;

/// What the client is known by.
pub const CLIENT_ID: &str = "meter";

/// What proves the client.
pub const CLIENT_SECRET: &str = "a secret / with+signs";

/// A running provider, which ends with the runtime that it was started on.
#[derive(Clone)]
pub struct Provider {
    address: SocketAddr,
    keys: Arc<Keys>,
    now_s: Arc<dyn Fn() -> u64 + Send + Sync>,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({})", self.address)
    }
}

impl Provider {
    /// Starts one whose clock shows these seconds since 1970.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(now_s: impl Fn() -> u64 + Send + Sync + 'static) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let provider = Self {
            address: listener.local_addr()?,
            keys: Arc::new(Keys::new()?),
            now_s: Arc::new(now_s),
            state: Arc::default(),
        };
        let router = server::router(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(provider)
    }

    /// What names it.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Who sits before the browser from now on.
    pub fn is(&self, person: Person) {
        self.state().person = person;
    }

    /// What it says from now on.
    pub fn says(&self, said: Said) {
        self.state().said = said;
    }

    /// Where it sends a browser that comes with that address: back, with a code and the state.
    #[must_use]
    pub fn visit(&self, address: &str) -> Option<String> {
        let (path, query) = address.strip_prefix(&self.issuer())?.split_once('?')?;
        (path == "/authorize").then(|| self.authorize(query)).flatten()
    }

    /// How often codes were asked to be exchanged.
    #[must_use]
    pub fn exchanges(&self) -> usize {
        self.state().exchanges
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
