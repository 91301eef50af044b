//! A document as an electronic invoice: EN 16931 in the syntax of UBL 2.1, which XRechnung and Peppol take.
//!
//! What it says is the document's; it adds who invoices whom, the tax, and when it is to be paid. It must never round
//! anything but the tax.

use shared::time::Day;
use shared::units::Units;

use super::month::{Charge, Document, Line};
use super::party::{Party, Seller};

/// Currencies whose minor unit is a hundredth, as the amounts of these invoices are written.
const HUNDREDTHS: [&str; 4] = ["eur", "usd", "gbp", "chf"];

const CBC: &str = "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2";
const CAC: &str = "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2";

/// A document and whom it is between.
#[derive(Debug, Clone, Copy)]
pub struct Invoice<'a> {
    /// What is invoiced.
    pub document: &'a Document,
    /// By whom.
    pub seller: &'a Seller,
    /// Whose name the document has.
    pub buyer: &'a Party,
    /// How many units the volume covers, for the line that says so.
    pub volume: Units,
}

/// The sums of an invoice, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    /// Without tax.
    pub net: i128,
    /// The tax, rounded half away from zero once.
    pub tax: i128,
    /// What is to be paid.
    pub gross: i128,
}

/// A line as every form of an invoice has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What is charged.
    pub name: String,
    /// How many, fewer than none where something is taken back.
    pub quantity: i64,
    /// What as many as `price_of` cost, in minor units.
    pub price: i128,
    /// For how many the price is.
    pub price_of: u32,
    /// What they come to, in minor units.
    pub amount: i128,
}

impl Invoice<'_> {
    /// What keeps it from being an electronic invoice, if anything does.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn check(&self) -> Result<(), String> {
        let currency = self.currency();
        if !HUNDREDTHS.contains(&currency.as_str()) {
            return Err(format!("amounts in {currency} are not written as hundredths"));
        }
        if self.buyer.country.is_empty() {
            return Err("the contract's buyer has no country".to_owned());
        }
        if self.seller.vat_percent == 0 && self.buyer.vat_id.is_empty() {
            return Err("the buyer owes the tax, and the contract's buyer has no vat_id".to_owned());
        }
        Ok(())
    }

    fn currency(&self) -> String {
        self.document.amount.currency().to_string()
    }

    /// The sums.
    #[must_use]
    pub fn sums(&self) -> Sums {
        let net = self.document.amount.minor();
        let exact = net.unsigned_abs().saturating_mul(u128::from(self.seller.vat_percent));
        let tax = i128::try_from(exact.saturating_add(50).div_euclid(100)).unwrap_or(i128::MAX);
        let tax = if net < 0 { tax.saturating_neg() } else { tax };
        Sums { net, tax, gross: net.saturating_add(tax) }
    }

    /// The day on which it is to be paid.
    #[must_use]
    pub fn due(&self) -> Day {
        let day = self.document.issued.number().saturating_add(self.seller.due_days);
        Day::from_number(day).unwrap_or(Day::MAX)
    }

    /// The invoice as UBL.
    #[must_use]
    pub fn ubl(&self) -> String {
        let Document { period, number, issued, .. } = self.document;
        let currency = self.currency().to_uppercase();
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Invoice \
             xmlns=\"urn:oasis:names:specification:ubl:schema:xsd:Invoice-2\" xmlns:cac=\"{CAC}\" xmlns:cbc=\"{CBC}\">"
        );
        let kind = if *number == 0 { "380" } else { "384" };
        let mut say = |name: &str, text: &str| element(&mut xml, name, text);
        say("cbc:CustomizationID", "urn:cen.eu:en16931:2017");
        say("cbc:ID", &self.document.name());
        say("cbc:IssueDate", &issued.to_string());
        say("cbc:DueDate", &self.due().to_string());
        say("cbc:InvoiceTypeCode", kind);
        say("cbc:Note", &note(self.document));
        say("cbc:DocumentCurrencyCode", &currency);
        let reference = if self.buyer.reference.is_empty() {
            self.document.contract.as_str()
        } else {
            &self.buyer.reference
        };
        say("cbc:BuyerReference", reference);
        group(&mut xml, "cac:InvoicePeriod", |xml| {
            element(xml, "cbc:StartDate", &period.first_day().to_string());
            element(xml, "cbc:EndDate", &period.last_day().to_string());
        });
        if let Some(before) = number.checked_sub(1) {
            let before = Document { number: before, ..self.document.clone() };
            group(&mut xml, "cac:BillingReference", |xml| {
                group(xml, "cac:InvoiceDocumentReference", |xml| element(xml, "cbc:ID", &before.name()));
            });
        }
        group(&mut xml, "cac:ContractDocumentReference", |xml| {
            element(xml, "cbc:ID", self.document.contract.as_str());
        });
        group(&mut xml, "cac:AccountingSupplierParty", |xml| {
            party(xml, &self.seller.name, &self.seller.party);
        });
        group(&mut xml, "cac:AccountingCustomerParty", |xml| {
            party(xml, &self.document.customer, self.buyer);
        });
        group(&mut xml, "cac:PaymentMeans", |xml| {
            element(xml, "cbc:PaymentMeansCode", "30");
            group(xml, "cac:PayeeFinancialAccount", |xml| element(xml, "cbc:ID", &self.seller.iban));
        });
        self.totals(&mut xml);
        for (at, line) in self.items().iter().enumerate() {
            self.line(&mut xml, at.saturating_add(1), line);
        }
        xml.push_str("</Invoice>\n");
        xml
    }

    fn totals(&self, xml: &mut String) {
        let Sums { net, tax, gross } = self.sums();
        group(xml, "cac:TaxTotal", |xml| {
            self.amount(xml, "cbc:TaxAmount", tax);
            group(xml, "cac:TaxSubtotal", |xml| {
                self.amount(xml, "cbc:TaxableAmount", net);
                self.amount(xml, "cbc:TaxAmount", tax);
                group(xml, "cac:TaxCategory", |xml| self.category(xml, true));
            });
        });
        group(xml, "cac:LegalMonetaryTotal", |xml| {
            self.amount(xml, "cbc:LineExtensionAmount", net);
            self.amount(xml, "cbc:TaxExclusiveAmount", net);
            self.amount(xml, "cbc:TaxInclusiveAmount", gross);
            self.amount(xml, "cbc:PayableAmount", gross);
        });
    }

    /// The lines; in the first document also what the volume covers, because an invoice has to have one.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        let Document { number, figures, lines, .. } = self.document;
        let covered = if *number == 0 { figures.included } else { Units::ZERO };
        let included = Item {
            name: format!("Governance requests within the volume, up to {}", self.volume),
            quantity: i64::try_from(covered.get()).unwrap_or(i64::MAX),
            price: 0,
            price_of: 1_000,
            amount: 0,
        };
        let with_volume = *number == 0 || lines.is_empty();
        with_volume.then_some(included).into_iter().chain(lines.iter().map(Item::from)).collect()
    }

    fn line(&self, xml: &mut String, number: usize, line: &Item) {
        group(xml, "cac:InvoiceLine", |xml| {
            element(xml, "cbc:ID", &number.to_string());
            xml.push_str(&format!(
                "<cbc:InvoicedQuantity unitCode=\"C62\">{}</cbc:InvoicedQuantity>",
                line.quantity
            ));
            self.amount(xml, "cbc:LineExtensionAmount", line.amount);
            group(xml, "cac:Item", |xml| {
                element(xml, "cbc:Name", &line.name);
                group(xml, "cac:ClassifiedTaxCategory", |xml| self.category(xml, false));
            });
            group(xml, "cac:Price", |xml| {
                self.amount(xml, "cbc:PriceAmount", line.price);
                let of = line.price_of;
                xml.push_str(&format!("<cbc:BaseQuantity unitCode=\"C62\">{of}</cbc:BaseQuantity>"));
            });
        });
    }

    fn category(&self, xml: &mut String, with_reason: bool) {
        let percent = self.seller.vat_percent;
        element(xml, "cbc:ID", if percent == 0 { "AE" } else { "S" });
        element(xml, "cbc:Percent", &percent.to_string());
        if percent == 0 && with_reason {
            element(xml, "cbc:TaxExemptionReasonCode", "VATEX-EU-AE");
            element(xml, "cbc:TaxExemptionReason", "Reverse charge");
        }
        group(xml, "cac:TaxScheme", |xml| element(xml, "cbc:ID", "VAT"));
    }

    fn amount(&self, xml: &mut String, name: &str, minor: i128) {
        let currency = self.currency().to_uppercase();
        xml.push_str(&format!("<{name} currencyID=\"{currency}\">{}</{name}>", hundredths(minor)));
    }
}

impl From<&Line> for Item {
    fn from(line: &Line) -> Self {
        let (quantity, amount) = (line.quantity, line.amount.minor());
        match line.charge {
            // A price is never below zero: what is taken back is fewer than none of it.
            Charge::BaseFee => {
                let price = amount.saturating_mul(i128::from(quantity));
                Self { name: "Base fee".to_owned(), quantity, price, price_of: 1, amount }
            }
            Charge::Overage => {
                let bound =
                    line.up_to.map_or_else(|| "without limit".to_owned(), |units| format!("up to {units}"));
                let name = format!("Governance requests beyond the volume, {bound}");
                Self { name, quantity, price: i128::from(line.per_1000), price_of: 1_000, amount }
            }
        }
    }
}

/// What a document says of itself beside its lines.
#[must_use]
pub fn note(document: &Document) -> String {
    let figures = &document.figures;
    let mut note = format!(
        "{}: {} units reported, {} billed, {} of them within the volume.",
        document.period, figures.counted, figures.billed, figures.included
    );
    if !figures.silent.is_empty() {
        let silent: Vec<&str> = figures.silent.iter().map(shared::ids::SourceId::as_str).collect();
        note.push_str(&format!(
            " Silent for more than 72 hours: {}; the minimum is {}.",
            silent.join(", "),
            figures.minimum
        ));
    }
    if let Some(reason) = &figures.waived {
        note.push_str(&format!(" The minimum is waived: {reason}."));
    }
    note
}

fn party(xml: &mut String, name: &str, party: &Party) {
    group(xml, "cac:Party", |xml| {
        if !party.email.is_empty() {
            xml.push_str(&format!(
                "<cbc:EndpointID schemeID=\"EM\">{}</cbc:EndpointID>",
                escaped(&party.email)
            ));
        }
        group(xml, "cac:PostalAddress", |xml| {
            optional(xml, "cbc:StreetName", &party.street);
            optional(xml, "cbc:CityName", &party.city);
            optional(xml, "cbc:PostalZone", &party.postcode);
            group(xml, "cac:Country", |xml| element(xml, "cbc:IdentificationCode", &party.country));
        });
        if !party.vat_id.is_empty() {
            group(xml, "cac:PartyTaxScheme", |xml| {
                element(xml, "cbc:CompanyID", &party.vat_id);
                group(xml, "cac:TaxScheme", |xml| element(xml, "cbc:ID", "VAT"));
            });
        }
        group(xml, "cac:PartyLegalEntity", |xml| element(xml, "cbc:RegistrationName", name));
    });
}

/// An amount of hundredths, such as `-49.05`.
#[must_use]
pub fn hundredths(minor: i128) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    format!("{sign}{}.{:02}", minor.div_euclid(100), minor.rem_euclid(100))
}

fn optional(xml: &mut String, name: &str, text: &str) {
    if !text.is_empty() {
        element(xml, name, text);
    }
}

fn element(xml: &mut String, name: &str, text: &str) {
    xml.push_str(&format!("<{name}>{}</{name}>", escaped(text)));
}

fn group(xml: &mut String, name: &str, inside: impl FnOnce(&mut String)) {
    xml.push_str(&format!("<{name}>"));
    inside(xml);
    xml.push_str(&format!("</{name}>"));
}

/// A text as XML and HTML take it between tags.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
