//! A document as a page that is printed: the same figures as the electronic invoice, for people.

use shared::units::Units;

use super::einvoice::{Invoice, Item, Sums, escaped, hundredths, note};
use super::month::ProjectUnits;
use super::party::Party;

const STYLE: &str = "body{font:14px/1.5 sans-serif;max-width:48em;margin:2em auto;padding:0 1em}\
                     table{width:100%;border-collapse:collapse;margin:1em 0}td,th{padding:.3em;text-align:left;\
                     border-bottom:1px solid #ccc}.n{text-align:right;font-variant-numeric:tabular-nums}\
                     address{font-style:normal;white-space:pre-line}@media print{body{margin:0}}";

/// The style's place in a content security policy, so that a page has no other.
#[must_use]
pub fn style() -> &'static str {
    STYLE
}

/// The page.
#[must_use]
pub fn html(invoice: &Invoice<'_>) -> String {
    let document = invoice.document;
    let currency = document.amount.currency().to_string().to_uppercase();
    let Sums { net, tax, gross } = invoice.sums();
    let kind = if document.number == 0 { "Invoice" } else { "Corrected invoice" };
    let name = escaped(&document.name());
    let price = |item: &Item| match item.price_of {
        1 => hundredths(item.price),
        of => format!("{} per {of}", hundredths(item.price)),
    };
    let line = |item: &Item| {
        row(&[item.name.clone(), item.quantity.to_string(), price(item), hundredths(item.amount)])
    };
    let lines: String = invoice.items().iter().map(line).collect();
    let sums: String =
        [("Net", net), (&*format!("VAT {} %", invoice.seller.vat_percent), tax), ("To be paid", gross)]
            .into_iter()
            .map(|(what, minor)| row(&[what.to_owned(), String::new(), String::new(), hundredths(minor)]))
            .collect();
    let reverse =
        if invoice.seller.vat_percent == 0 { "<p>Reverse charge: the buyer owes the tax.</p>" } else { "" };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}</title><style>{STYLE}</style></head>\
         <body><h1>{kind} {name}</h1>{seller}{buyer}\
         <p>Issued {issued}, to be paid by {due} to {iban}. Contract {contract}, {period}.</p><p>{note}</p>\
         <table><tr><th>What</th><th class=\"n\">Quantity</th><th class=\"n\">Price</th>\
         <th class=\"n\">{currency}</th></tr>{lines}{sums}</table>{reverse}\
         <h2>Usage</h2>{evidence}</body></html>\n",
        seller = address(&invoice.seller.name, &invoice.seller.party),
        buyer = address(&document.customer, invoice.buyer),
        issued = document.issued,
        due = invoice.due(),
        iban = escaped(&invoice.seller.iban),
        contract = escaped(document.contract.as_str()),
        period = document.period,
        note = escaped(&note(document)),
        evidence = document.evidence.iter().map(evidence).collect::<String>(),
    )
}

fn row(cells: &[String]) -> String {
    let cell = |(at, text): (usize, &String)| {
        let class = if at == 0 { "" } else { " class=\"n\"" };
        format!("<td{class}>{}</td>", escaped(text))
    };
    format!("<tr>{}</tr>", cells.iter().enumerate().map(cell).collect::<String>())
}

fn address(name: &str, party: &Party) -> String {
    let town = format!("{} {}", party.postcode, party.city);
    let lines = [name, &party.street, town.trim(), &party.country, &party.vat_id];
    let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).map(escaped).collect();
    format!("<address>{}</address>", lines.join("\n"))
}

fn evidence(of: &ProjectUnits) -> String {
    let total = of.days.iter().fold(Units::ZERO, |sum, day| sum.saturating_add(day.units));
    let days: String = of.days.iter().map(|day| row(&[day.day.to_string(), day.units.to_string()])).collect();
    let total = row(&["Together".to_owned(), total.to_string()]);
    format!(
        "<h3>{}</h3><table><tr><th>Day</th><th class=\"n\">Units</th></tr>{days}{total}</table>",
        escaped(of.project.as_str())
    )
}
