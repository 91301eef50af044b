//! Our account at Stripe as the server uses it: the client, the books that follow it, and what may be asked.

use axum::http::Uri;

use super::client::Stripe;
use super::inbox::Inbox;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::payments::signature::WebhookSecrets;
use crate::store::Store;

/// The longest address that a customer is sent back to.
const URL_CHARS_MAX: usize = 2_048;

/// Our account.
#[derive(Debug)]
pub struct Account {
    /// The client.
    pub api: Stripe,
    /// What deliveries are signed with.
    pub secrets: WebhookSecrets,
    /// Where customers may be sent back to.
    pub return_urls: ReturnUrls,
    /// Whether Stripe computes taxes.
    pub automatic_tax: bool,
    /// Where deliveries queue for the books.
    pub inbox: Inbox,
    /// The books.
    pub store: Store,
    /// The clock.
    pub clock: Clock,
    /// Where alarms are counted.
    pub metrics: Metrics,
}

/// Where customers may be sent back to after they paid or gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnUrls(Vec<String>);

impl ReturnUrls {
    /// Reads `https://app.example.com/billing,…`: beginnings of addresses.
    ///
    /// # Errors
    /// Says what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let urls: Vec<String> = text.split(',').map(|url| url.trim().to_owned()).collect();
        match urls.iter().find(|url| !is_plain(url) || url.contains(['?', '#'])) {
            None => Ok(Self(urls)),
            Some(url) => {
                Err(format!("got {url:?}, accepted are addresses such as https://app.example.com/billing"))
            }
        }
    }

    /// Where customers are sent who named no address.
    #[must_use]
    pub fn default_url(&self, outcome: &str) -> String {
        let first = self.0.first().map_or("http://127.0.0.1:8080/", String::as_str);
        format!("{first}?checkout={outcome}")
    }

    /// Whether a customer may be sent there: the same address, or one below it.
    #[must_use]
    pub fn permit(&self, url: &str) -> bool {
        let below = |allowed: &String| {
            url.strip_prefix(allowed.as_str()).is_some_and(|rest| {
                rest.is_empty() || allowed.ends_with('/') || rest.starts_with(['/', '?', '#'])
            })
        };
        is_plain(url) && !url.contains("/..") && !url.contains('\\') && self.0.iter().any(below)
    }
}

/// An address with scheme and host, without credentials.
fn is_plain(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok().filter(|_| url.len() <= URL_CHARS_MAX);
    uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_are_sent_only_where_the_operator_allows() {
        let urls = ReturnUrls::parse("https://app.example.com/billing, http://127.0.0.1:8080/").unwrap();
        for good in [
            "https://app.example.com/billing",
            "https://app.example.com/billing?paid=1",
            "https://app.example.com/billing/done",
            "http://127.0.0.1:8080/x",
        ] {
            assert!(urls.permit(good), "{good}");
        }
        for bad in [
            "https://app.example.com/billing.evil.example",
            "https://app.example.com/billings",
            "https://app.example.com.evil.example/billing",
            "https://app.example.com@evil.example/billing",
            "https://app.example.com/billing/../admin",
            "http://app.example.com/billing",
            "javascript:alert(1)",
            "//evil.example",
            "",
        ] {
            assert!(!urls.permit(bad), "{bad}");
        }
        assert_eq!(urls.default_url("paid"), "https://app.example.com/billing?checkout=paid");
        for bad in ["", "app.example.com", "https://u:p@x/", "https://x/?a=1", "ftp://x/"] {
            assert!(ReturnUrls::parse(bad).is_err(), "{bad}");
        }
    }
}
