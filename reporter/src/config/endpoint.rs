//! An address that requests go to: its scheme, host and port, and nothing that could travel with it.

use std::fmt;

use axum::http::Uri;
use url::{Host, Url};

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    /// Whether over TLS.
    pub tls: bool,
    /// The host as it is resolved and as its certificate names it.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// Reads `https://meter.example.com`, to which `path` may be appended. Without TLS only this machine is accepted.
    ///
    /// # Errors
    /// Says what is accepted; never repeats what could be a password.
    pub fn parse(text: &str, path: &str) -> Result<Self, String> {
        let accepts = || {
            let or = if path.is_empty() { String::new() } else { format!(", with or without {path}") };
            format!("accepted is an address such as https://meter.example.com{or}; http only to this machine")
        };
        let url = Url::parse(text).map_err(|_| accepts())?;
        let is_ours = matches!(url.path(), "/" | "") || url.path() == path;
        let plain = url.query().is_none() && url.fragment().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        let tls = url.scheme() == "https";
        let here = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let reachable = tls || (url.scheme() == "http" && here);
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(accepts());
        };
        if !(is_ours && plain && anonymous && reachable) {
            return Err(accepts());
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { tls, host, port, url })
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        self.origin().split_once("://").map_or_else(String::new, |(_, authority)| authority.to_owned())
    }

    /// The address of that path there.
    ///
    /// # Errors
    /// When the path is none.
    pub fn join(&self, path: &str) -> Result<Uri, String> {
        format!("{}{path}", self.origin()).parse().map_err(|_| format!("{path:?} is no path"))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_or_the_whole_address_is_the_same_endpoint() {
        for text in
            ["https://meter.example.com", "https://meter.example.com/", "https://meter.example.com/ingest"]
        {
            let endpoint = Endpoint::parse(text, "/ingest").unwrap();
            assert_eq!(
                (endpoint.host.as_str(), endpoint.port, endpoint.tls),
                ("meter.example.com", 443, true)
            );
            assert_eq!(endpoint.join("/ingest").unwrap().to_string(), "https://meter.example.com/ingest");
        }
        let here = Endpoint::parse("http://[::1]:8080", "/ingest").unwrap();
        assert_eq!((here.host.as_str(), here.authority().as_str()), ("::1", "[::1]:8080"));
    }

    #[test]
    fn what_would_leave_in_clear_or_with_more_than_an_address_is_refused() {
        for text in [
            "http://meter.example.com",
            "ftp://127.0.0.1",
            "https://user:hunter2@meter.example.com",
            "https://meter.example.com/ingest?x=hunter2",
            "https://meter.example.com/elsewhere",
            "meter.example.com",
            "",
        ] {
            let error = Endpoint::parse(text, "/ingest").unwrap_err();
            assert!(error.starts_with("accepted is") && !error.contains("hunter2"), "{error}");
        }
    }
}
