//! The server that commands are sent to, where they do not work on the books themselves.

use std::fmt;

use shared::ids::ProjectId;

use super::{EdgeUrl, Reader};

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

/// The server, and the project where a command names none, as far as they are set. `None` is a refusal.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<(Option<Server>, Option<ProjectId>)> {
    let project = reader.value("METER_PROJECT", "", |text| match text {
        "" => Ok(None),
        _ => ProjectId::parse(text).map(Some).map_err(|error| error.to_string()),
    });
    let server = server(reader);
    Some((server?, project?))
}

#[expect(clippy::option_option, reason = "not accepted and not there are two things")]
fn server(reader: &mut Reader<'_>) -> Option<Option<Server>> {
    let url = reader.value("METER_URL", "", |text| match text {
        "" => Ok(None),
        _ => EdgeUrl::parse(text).map(Some),
    });
    let token = reader.value("METER_TOKEN", "", |text| {
        let accepted = text.is_empty() || text.starts_with("pat_") || text.starts_with("pot_");
        // Not repeated: it may be a secret of something else.
        let refused = "accepted is what `meter token create` printed: pat_… or pot_… for operators";
        if accepted && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(text.to_owned())
        } else {
            Err(refused.to_owned())
        }
    });
    match (url?, token?) {
        (None, token) if token.is_empty() => Some(None),
        (Some(url), token) if !token.is_empty() => Some(Some(Server { url, token })),
        (Some(_), _) => {
            let why = "METER_TOKEN: got nothing, accepted is a token beside METER_URL, as `meter token create` prints it";
            reader.problems.push(why.to_owned());
            None
        }
        (None, _) => {
            let why = "METER_URL: got nothing, accepted is the server that METER_TOKEN is for, such as http://127.0.0.1:8080";
            reader.problems.push(why.to_owned());
            None
        }
    }
}
