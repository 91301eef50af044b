//! Who invoices and who is invoiced, as an invoice has to name them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest text of a field; an address has no longer lines.
const CHARS_MAX: usize = 200;

/// No value added tax is higher.
const VAT_PERCENT_MAX: u32 = 50;

/// Where somebody is, and under which numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Party {
    /// Street and number.
    pub street: String,
    /// The town.
    pub city: String,
    /// The town's code.
    pub postcode: String,
    /// The country, by two capital letters (ISO 3166-1).
    pub country: String,
    /// The number for value added tax, with the country before it.
    pub vat_id: String,
    /// Where invoices are sent to.
    pub email: String,
    /// What the buyer wants to see on invoices, such as a routing id.
    pub reference: String,
}

impl Party {
    /// What is wrong with it: the field, and what is accepted.
    ///
    /// # Errors
    /// Says which field.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let Self { street, city, postcode, country, vat_id, email, reference } = self;
        for (name, text) in [
            ("street", street),
            ("city", city),
            ("postcode", postcode),
            ("vat_id", vat_id),
            ("email", email),
            ("reference", reference),
        ] {
            if !text.is_empty() && !crate::text::is_words(text, CHARS_MAX) {
                return Err((name, "at most 200 characters that are not only spaces"));
            }
        }
        let is_code = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
        if country.is_empty() || is_code {
            Ok(())
        } else {
            Err(("country", "two capital letters such as DE"))
        }
    }
}

/// Who invoices: what `METER_SELLER` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seller {
    /// The name of the company.
    pub name: String,
    /// Where it is.
    #[serde(default)]
    pub party: Party,
    /// The account that is paid to.
    pub iban: String,
    /// The value added tax, in percent. With none the buyer owes it (reverse charge).
    pub vat_percent: u32,
    /// In how many days an invoice is to be paid.
    pub due_days: u32,
}

impl Seller {
    /// Reads the setting.
    ///
    /// # Errors
    /// Says what is not of the form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let accepted = "accepted is JSON such as {\"name\":\"Meter GmbH\",\"party\":{\"street\":\"Weg 1\",\"city\":\"Berlin\",\
                        \"postcode\":\"10115\",\"country\":\"DE\",\"vat_id\":\"DE123456789\",\"email\":\"billing@example.com\"},\
                        \"iban\":\"DE02…\",\"vat_percent\":19,\"due_days\":14}";
        let seller: Self = serde_json::from_str(text).map_err(|error| format!("{error}; {accepted}"))?;
        seller.party.check().map_err(|(field, accepts)| format!("{field}: accepted are {accepts}"))?;
        let is_complete = !seller.party.country.is_empty() && !seller.party.vat_id.is_empty();
        if !is_complete || seller.name.trim().is_empty() || seller.vat_percent > VAT_PERCENT_MAX {
            return Err(format!("name, country and vat_id are needed, and at most 50 percent; {accepted}"));
        }
        Ok(seller)
    }
}
