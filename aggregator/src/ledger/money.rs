//! Money: whole minor units of one currency.
//!
//! Amounts are integers and every sum is checked (design §5 rates units to "minor units"). Nothing here
//! converts between currencies or rounds; only `rate.rs` rounds, once per amount.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An ISO 4217 code in lower case, such as `eur`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// Reads a code of three lowercase letters.
    ///
    /// # Errors
    /// For any other text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let code: Option<[u8; 3]> = text.as_bytes().try_into().ok();
        code.filter(|code| code.iter().all(u8::is_ascii_lowercase))
            .map(Self)
            .ok_or_else(|| format!("currency: got {text:?}, accepted are three lowercase letters"))
    }
}

impl TryFrom<String> for Currency {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.to_string()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

/// An amount in minor units (cents) of a currency; negative amounts are owed to the customer.
///
/// It travels as text, because minor units may pass 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Money {
    #[serde(with = "as_text")]
    #[schemars(with = "String", regex(pattern = "^-?[0-9]+$"))]
    minor: i128,
    currency: Currency,
}

impl Money {
    /// So many minor units.
    #[must_use]
    pub const fn new(minor: i128, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// The amount in minor units.
    #[must_use]
    pub const fn minor(self) -> i128 {
        self.minor
    }

    /// The amount as a spending cap: nothing where it is negative, and held at 2^64 − 1.
    #[must_use]
    pub fn as_cap(self) -> u64 {
        u64::try_from(self.minor.max(0)).unwrap_or(u64::MAX)
    }

    /// The currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// The sum, or `None` when the currencies differ or it is too large.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let minor = self.minor.checked_add(other.minor)?;
        (self.currency == other.currency).then_some(Self { minor, ..self })
    }

    /// The difference, or `None` when the currencies differ or it is too large.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        let minor = self.minor.checked_sub(other.minor)?;
        (self.currency == other.currency).then_some(Self { minor, ..self })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.minor, self.currency)
    }
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(minor: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(minor)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|_| de::Error::custom(format_args!("minor: got {text:?}, accepted is a whole number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_different_currencies_have_no_sum() {
        let (eur, usd) = (Currency::parse("eur").unwrap(), Currency::parse("usd").unwrap());
        assert_eq!(Money::new(5, eur).checked_add(Money::new(7, eur)), Some(Money::new(12, eur)));
        assert_eq!(Money::new(5, eur).checked_add(Money::new(7, usd)), None);
        assert_eq!(Money::new(5, eur).checked_sub(Money::new(7, eur)), Some(Money::new(-2, eur)));
        assert_eq!(Money::new(i128::MAX, eur).checked_add(Money::new(1, eur)), None);
    }

    #[test]
    fn amounts_travel_as_text_and_currencies_are_checked() {
        let text = r#"{"minor":"-9007199254740993","currency":"eur"}"#;
        let amount: Money = serde_json::from_str(text).unwrap();
        assert_eq!(amount.minor(), -9_007_199_254_740_993);
        assert_eq!(serde_json::to_string(&amount).unwrap(), text);
        for bad in ["EUR", "eu", "euro", "€"] {
            assert!(Currency::parse(bad).is_err(), "{bad}");
        }
    }
}
