//! How often somebody may try to sign in: an attempt counts before the password is looked at, so that many at once
//! have no more tries than one after the other. What succeeds is taken back.

use std::net::IpAddr;

use sha2::{Digest, Sha256};
use shared::time::Timestamp;

use super::account::Email;

/// So many failures, of one account and from one address, are let through within [`WINDOW_MS`].
pub const FAILURES_MAX: usize = 5;

/// Within this time.
pub const WINDOW_MS: u64 = 15 * 60 * 1_000;

/// Whose attempts are counted: an account, whether there is one or not, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject([u8; 32]);

impl Subject {
    /// Whoever signs in as that.
    #[must_use]
    pub fn account(email: &Email) -> Self {
        Self(Sha256::new().chain_update("account\0").chain_update(email.as_str()).finalize().into())
    }

    /// Whoever signs in from there.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self(Sha256::new().chain_update("address\0").chain_update(address.to_string()).finalize().into())
    }

    /// What attempts are stored under: what people type and where they are is not kept.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The beginning of the time that counts.
#[must_use]
pub fn window_start(now: Timestamp) -> Timestamp {
    Timestamp::from_ms(now.as_ms().saturating_sub(WINDOW_MS))
}

/// How many seconds to wait where these failures, the oldest first, are too many; `None` where one more is let through.
#[must_use]
pub fn wait_s(failures: &[Timestamp], now: Timestamp) -> Option<u64> {
    let start = window_start(now);
    let counted: Vec<Timestamp> = failures.iter().copied().filter(|at| *at > start).collect();
    // When that one no longer counts, there are fewer than the most.
    let last = counted.len().checked_sub(FAILURES_MAX)?;
    let free = counted.get(last)?.plus_ms(WINDOW_MS);
    Some(free.ms_since(now).div_ceil(1_000).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_waits_until_the_first_no_longer_counts() {
        let start = Timestamp::from_ms(1_000_000_000_000);
        let at = |minutes: u64| start.plus_ms(minutes * 60_000);
        for (failures, now, wait) in [
            (&[][..], 0, None),
            (&[0, 0, 0, 0], 0, None),
            (&[0, 0, 0, 0, 0], 0, Some(900)),
            (&[0, 1, 2, 3, 4], 5, Some(600)),
            (&[0, 1, 2, 3, 4], 15, None),
            (&[0, 1, 2, 3, 4, 5, 6], 7, Some(600)),
        ] {
            let failures: Vec<Timestamp> = failures.iter().map(|minutes| at(*minutes)).collect();
            assert_eq!(wait_s(&failures, at(now)), wait, "{failures:?} {now}");
        }
        assert_eq!(wait_s(&[at(0); 5], Timestamp::from_ms(at(15).as_ms() - 1)), Some(1), "never zero");
    }

    #[test]
    fn an_account_and_an_address_are_counted_apart() {
        let email = Email::parse("ada@example.com").unwrap();
        let capitals = Email::parse("ADA@example.com").unwrap();
        assert_eq!(Subject::account(&email), Subject::account(&capitals));
        assert_ne!(Subject::account(&email), Subject::address("192.0.2.1".parse().unwrap()));
    }
}
