//! The server that commands are sent to, where they do not work on the books themselves.

use std::fmt;

use super::{EdgeUrl, Reader, settings};

/// A server, and what it knows the caller by.
#[derive(Clone)]
pub struct Server {
    /// Where it is.
    pub url: EdgeUrl,
    token: String,
}

impl Server {
    /// The token, which is a secret.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.url)
    }
}

/// The server, where one is set. The outer `None` is a refusal.
#[expect(clippy::option_option, reason = "not accepted and not there are two things")]
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Option<Server>> {
    let url = reader.value(&settings::SERVER);
    let token = reader.value(&settings::TOKEN);
    match (url?, token?) {
        (None, token) if token.is_empty() => Some(None),
        (Some(url), token) if !token.is_empty() => Some(Some(Server { url, token })),
        (Some(_), _) => {
            let why = "got nothing, accepted is a token beside METER_URL, as `meter token create` prints it";
            reader.refuse(&settings::TOKEN.row, why);
            None
        }
        (None, _) => {
            let why =
                "got nothing, accepted is the server that METER_TOKEN is for, such as http://127.0.0.1:8080";
            reader.refuse(&settings::SERVER.row, why);
            None
        }
    }
}
