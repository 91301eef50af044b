//! What is configured of a provider.

use std::fmt;

use openidconnect::IssuerUrl;
use url::{Host, Url};

use crate::access::stranger::Admission;

/// The address that names a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer(IssuerUrl);

impl Issuer {
    /// Reads an address: over https, or on this machine, where tests and first tries are.
    ///
    /// # Errors
    /// Says what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "got {text:?}, accepted is an https address without query such as https://login.example.com"
            )
        };
        // What the provider says of itself has to be the same, letter by letter: the text is kept as it is.
        let issuer = IssuerUrl::new(text.to_owned()).map_err(|_| refused())?;
        let url = issuer.url();
        let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if is_plain && may_be_asked(url) { Ok(Self(issuer)) } else { Err(refused()) }
    }

    /// As the protocol has it.
    #[must_use]
    pub(super) fn url(&self) -> &IssuerUrl {
        &self.0
    }

    /// The machine's name, for people.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.url().host_str().unwrap_or_default()
    }
}

/// Whether secrets may be sent there: over TLS, or without leaving this machine.
pub(super) fn may_be_asked(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback)
}

/// All that is configured of a provider.
#[derive(Clone)]
pub struct ProviderSettings {
    /// Who it is.
    pub issuer: Issuer,
    /// What it knows us by.
    pub client_id: String,
    /// What proves us to it; `None` where the code's verifier alone does.
    pub client_secret: Option<String>,
    /// What people call it; `None` calls it by its machine.
    pub name: Option<String>,
    /// Who becomes a member without being invited.
    pub admissions: Vec<Admission>,
}

impl ProviderSettings {
    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.issuer.host())
    }
}

/// Without the secret.
impl fmt::Display for ProviderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = if self.client_secret.is_some() { "set" } else { "none" };
        let issuer = self.issuer.0.as_str();
        write!(
            f,
            "METER_OIDC_ISSUER={issuer} METER_OIDC_CLIENT_ID={} METER_OIDC_CLIENT_SECRET={secret}",
            self.client_id
        )
    }
}

impl fmt::Debug for ProviderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProviderSettings({}, {})", self.issuer.0.as_str(), self.client_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_asked_over_tls_or_on_this_machine() {
        for (text, accepted) in [
            ("https://login.example.com", true),
            ("https://login.example.com/realms/one/", true),
            ("http://127.0.0.1:9000", true),
            ("http://[::1]:9000/", true),
            ("http://localhost:9000", true),
            ("http://login.example.com", false),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
            ("https://ada:secret@login.example.com", false),
            ("https://login.example.com/?a=1", false),
            ("https://login.example.com/#a", false),
            ("ftp://127.0.0.1", false),
            ("login.example.com", false),
            ("", false),
        ] {
            assert_eq!(Issuer::parse(text).is_ok(), accepted, "{text}");
        }
        assert_eq!(Issuer::parse("https://login.example.com/a").unwrap().host(), "login.example.com");
    }
}
