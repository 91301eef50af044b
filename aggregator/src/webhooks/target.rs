//! Where an endpoint's deliveries go: a URL, parsed once as the URL standard says, and judged before any connection.
//!
//! Nothing else may parse a receiver's URL, or two parsers could understand it differently.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

use super::address::{is_loopback, judge};
use crate::text::is_unseen;

/// The longest URL that is taken.
pub const URL_BYTES_MAX: usize = 2_048;

/// What is accepted as a receiver's URL.
pub const ACCEPTED: &str =
    "an https URL without user name and password, of a host that is reached from the Internet";

/// What an operator permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The ports that receivers may listen on.
    pub ports: BTreeSet<u16>,
    /// Whether receivers on the machine itself are permitted, over http and on any port too: for development only.
    pub loopback: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { ports: BTreeSet::from([443, 8443]), loopback: false }
    }
}

/// Why a URL or an address is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// A receiver's URL that the rules permit, as far as it can be told without asking for its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    name: String,
    literal: Option<IpAddr>,
    port: u16,
    is_tls: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl Target {
    /// Reads and judges a URL.
    ///
    /// # Errors
    /// Says what about it is refused.
    pub fn parse(text: &str, rules: &Rules) -> Result<Self, Refused> {
        let refused = |what: &str| Err(Refused(what.to_owned()));
        if text.len() > URL_BYTES_MAX {
            return Err(Refused(format!("the URL has {} bytes, accepted are {URL_BYTES_MAX}", text.len())));
        }
        // The standard drops such characters silently; nobody writes them for a good reason.
        if text.contains(|character: char| {
            is_unseen(character) || character.is_whitespace() || character == '\\'
        }) {
            return refused("the URL has spaces, control characters or backslashes");
        }
        let Ok(mut url) = Url::parse(text) else { return refused("that is no URL") };
        url.set_fragment(None);
        if !url.username().is_empty() || url.password().is_some() {
            return refused("the URL has a user name or password");
        }
        let (name, literal) = match url.host() {
            Some(Host::Domain(name)) => (name.trim_end_matches('.').to_owned(), None),
            Some(Host::Ipv4(address)) => (address.to_string(), Some(IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => (address.to_string(), Some(IpAddr::V6(address))),
            None => return refused("the URL has no host"),
        };
        let is_local = literal.map_or_else(|| is_localhost(&name), is_loopback);
        let is_tls = match url.scheme() {
            "https" => true,
            "http" if rules.loopback && is_local => false,
            _ => return refused("the URL's scheme is not https"),
        };
        let port = url.port_or_known_default().unwrap_or_default();
        let target = Self { name, literal, port, is_tls, url };
        if rules.loopback && is_local {
            return Ok(target);
        }
        match literal.map(judge) {
            Some(Err(what)) => return Err(Refused(format!("the address is {what}"))),
            Some(Ok(())) => {}
            None if is_local || !target.name.contains('.') => return refused("the host is a local name"),
            None => {}
        }
        if !rules.ports.contains(&port) {
            let ports = rules.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            return Err(Refused(format!("the port is {port}, accepted are {ports}")));
        }
        Ok(target)
    }

    /// The host's name, or its address as text.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address, where the URL has one instead of a name.
    #[must_use]
    pub fn literal(&self) -> Option<IpAddr> {
        self.literal
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Host and port as the Host header names them.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Path and query as the request's line has them.
    #[must_use]
    pub fn path_and_query(&self) -> String {
        self.url
            .query()
            .map_or_else(|| self.url.path().to_owned(), |query| format!("{}?{query}", self.url.path()))
    }

    /// The sockets to connect to, from all addresses that the host's name has at this moment.
    ///
    /// # Errors
    /// When there is none, or when any of them may not be connected to: a name that has one such address among
    /// others is not to be trusted with any.
    pub fn sockets(&self, addresses: &[IpAddr], rules: &Rules) -> Result<Vec<SocketAddr>, Refused> {
        if addresses.is_empty() {
            return Err(Refused("the host has no address".to_owned()));
        }
        for address in addresses {
            if rules.loopback && is_loopback(*address) {
                continue;
            }
            judge(*address).map_err(|what| Refused(format!("one of the host's addresses is {what}")))?;
            if !self.is_tls {
                return Err(Refused("http goes to the machine itself only".to_owned()));
            }
        }
        Ok(addresses.iter().map(|address| SocketAddr::new(*address, self.port)).collect())
    }
}

/// A URL as it is shown of a receiver whose path is itself a secret.
#[must_use]
pub fn origin(text: &str) -> String {
    Url::parse(text)
        .map_or_else(|_| "…".to_owned(), |url| format!("{}/…", url.origin().ascii_serialization()))
}

/// Names that mean the machine itself, whatever a resolver says (RFC 6761).
fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(loopback: bool) -> Rules {
        Rules { loopback, ..Rules::default() }
    }

    #[test]
    fn ordinary_receivers_are_taken() {
        for (text, host, path) in [
            ("https://example.com", "example.com", "/"),
            ("https://example.com:8443/hooks?a=b#part", "example.com:8443", "/hooks?a=b"),
            ("https://EXAMPLE.com./x", "example.com.", "/x"),
            ("https://b\u{fc}cher.example/", "xn--bcher-kva.example", "/"),
            ("https://8.8.8.8/", "8.8.8.8", "/"),
            ("https://[2606:4700::1111]/", "[2606:4700::1111]", "/"),
        ] {
            let target = Target::parse(text, &rules(false)).unwrap();
            assert_eq!(
                (target.authority().as_str(), target.path_and_query().as_str()),
                (host, path),
                "{text}"
            );
        }
    }

    #[test]
    fn the_machine_itself_is_taken_only_in_development() {
        for text in
            ["http://127.0.0.1:9999/x", "https://[::1]:9/", "http://localhost:81/", "http://a.localhost/"]
        {
            assert!(Target::parse(text, &rules(false)).is_err(), "{text}");
            assert!(Target::parse(text, &rules(true)).is_ok(), "{text}");
        }
        for text in [
            "http://10.0.0.1/",
            "http://example.com/",
            "http://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/",
        ] {
            assert!(Target::parse(text, &rules(true)).is_err(), "{text}");
        }
    }

    #[test]
    fn one_bad_address_spoils_a_name() {
        let target = Target::parse("https://example.com/", &rules(false)).unwrap();
        let sockets = |texts: &[&str], loopback| {
            let addresses: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
            target.sockets(&addresses, &rules(loopback)).map(|sockets| sockets.len())
        };
        assert_eq!(sockets(&["8.8.8.8", "2606:4700::1111"], false), Ok(2));
        for bad in [&["8.8.8.8", "127.0.0.1"][..], &["::1"], &[], &["8.8.8.8", "::ffff:192.168.0.1"]] {
            assert!(sockets(bad, false).is_err(), "{bad:?}");
        }
        assert!(sockets(&["10.0.0.1"], true).is_err());
        let plain = Target::parse("http://localhost:81/", &rules(true)).unwrap();
        let away = "8.8.8.8".parse().unwrap();
        assert!(plain.sockets(&[away], &rules(true)).is_err(), "a resolver that lies about localhost");
    }
}
