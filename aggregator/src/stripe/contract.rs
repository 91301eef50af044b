//! Idempotent: an invoice at Stripe for what a contract's month came to, once, when an operator asks for it.
//!
//! What is there is looked at before each call, and each call has a key of its own; whoever is asked again goes on where it
//! stopped. Nothing is made final whose sum is not the document's, so that a doubled line could never be collected. It is
//! sent to the customer to be paid, and never charged by itself: contracts pay by transfer.

use super::account::Account;
use super::checkout::BuyError;
use super::client::CallError;
use crate::contracts::einvoice::Invoice;
use crate::contracts::month::Document;
use crate::payments::goods::TAX_BEHAVIOR;
use crate::payments::intent::{fields, metadata_fields};
use crate::payments::order::Form;
use crate::payments::seen::{Customer, Invoice as Seen, InvoiceItem};
use crate::store::ContractInvoice;

/// How many rounds an invoice takes at most; what is not done by then goes on when it is asked for again.
const ROUNDS_MAX: usize = 4;

/// A line at Stripe.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    name: String,
    minor: i128,
    text: String,
}

/// The invoice of a document at Stripe, made where there is none and brought on where it is a draft.
///
/// # Errors
/// When there can be none, or Stripe or the books fail: the same call may then be made again.
pub async fn collect(account: &Account, of: &Invoice<'_>) -> Result<Seen, BuyError> {
    let (document, now) = (of.document, account.clock.now());
    let lines = lines(of, account.automatic_tax)?;
    for _ in 0..ROUNDS_MAX {
        let row = account.store.contract_invoice(document, now).await?;
        let Some(customer) = account.store.contract_customer(&document.contract).await? else {
            make_customer(account, of, &row).await?;
            continue;
        };
        let Some(id) = &row.invoice else {
            make(account, of, (&customer, &row)).await?;
            continue;
        };
        match account.api.invoice(id).await {
            Ok(seen) if seen.status.as_deref() != Some("draft") => return Ok(seen),
            Ok(_) => complete(account, document, (&customer, id, &row), &lines).await?,
            // A person has deleted the draft.
            Err(error) if error.is_missing() => {
                account.store.contract_invoice_again(document, &row, true).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(BuyError::Stripe(CallError::Busy { status: 409 }))
}

/// The lines that cost something, and the tax where Stripe does not compute it: what is collected is what the invoice says.
fn lines(of: &Invoice<'_>, automatic_tax: bool) -> Result<Vec<Line>, BuyError> {
    let refused = |why: &str| Err(BuyError::NotBillable(why.to_owned()));
    if of.document.amount.minor() <= 0 {
        return refused(
            "The document asks for nothing: there is no invoice of nothing, or of less, at Stripe.",
        );
    }
    if of.buyer.email.is_empty() {
        return refused("The contract's buyer has no email, to which Stripe sends the invoice.");
    }
    let period = of.document.period;
    let items = of.items().into_iter().enumerate().filter(|(_, item)| item.amount != 0);
    let line = |(at, item): (usize, crate::contracts::einvoice::Item)| {
        let quantity = if item.price_of == 1 { String::new() } else { format!("{} × ", item.quantity) };
        Line { name: at.to_string(), minor: item.amount, text: format!("{period}: {quantity}{}", item.name) }
    };
    let mut lines: Vec<Line> = items.map(line).collect();
    let tax = of.sums().tax;
    if !automatic_tax && tax != 0 {
        let text = format!("{period}: VAT {} %", of.seller.vat_percent);
        lines.push(Line { name: "tax".to_owned(), minor: tax, text });
    }
    Ok(lines)
}

fn metadata(document: &Document) -> Vec<(&'static str, String)> {
    vec![
        ("palveron_contract", document.contract.to_string()),
        ("palveron_document", document.name()),
        ("palveron_kind", "contract".to_owned()),
    ]
}

fn key(document: &Document, call: &str, row: &ContractInvoice) -> String {
    format!("pm:contract:{}:{call}:{}", document.name(), row.attempt)
}

/// Two of them that are made at once are one too many: the first that is noted is the contract's, the other has nothing.
async fn make_customer(account: &Account, of: &Invoice<'_>, row: &ContractInvoice) -> Result<(), BuyError> {
    let document = of.document;
    let form = fields(&[
        ("name", &document.customer),
        ("email", &of.buyer.email),
        ("description", "a contract of Palveron"),
        ("metadata[palveron_contract]", document.contract.as_str()),
    ]);
    let made = account.api.make::<Customer>("/customers", &form, &key(document, "customer", row)).await;
    let made = renewed(account, document, row, made).await?;
    Ok(account.store.contract_customer_made(&document.contract, &made.id).await?)
}

async fn make(
    account: &Account,
    of: &Invoice<'_>,
    (customer, row): (&str, &ContractInvoice),
) -> Result<(), BuyError> {
    let document = of.document;
    let all: Vec<Seen> = account.api.list("/invoices", &[("customer", customer)]).await?;
    let name = document.name();
    let is_it = |invoice: &Seen| invoice.metadata.get("palveron_document") == Some(&name);
    let id = match all.into_iter().find(is_it) {
        Some(found) => found.id,
        None => {
            let form = invoice_form(of, customer, account.automatic_tax);
            let made = account.api.make::<Seen>("/invoices", &form, &key(document, "invoice", row)).await;
            renewed(account, document, row, made).await?.id
        }
    };
    Ok(account.store.contract_invoice_made(document, &id).await?)
}

fn invoice_form(of: &Invoice<'_>, customer: &str, automatic_tax: bool) -> Form {
    let document = of.document;
    let mut form = fields(&[
        ("customer", customer),
        ("auto_advance", "false"),
        ("collection_method", "send_invoice"),
        ("days_until_due", &of.seller.due_days.max(1).to_string()),
        ("pending_invoice_items_behavior", "exclude"),
        ("currency", &document.amount.currency().to_string()),
        ("description", &format!("Contract {}, {}: {}", document.contract, document.period, document.name())),
        ("automatic_tax[enabled]", if automatic_tax { "true" } else { "false" }),
    ]);
    form.extend(metadata_fields(&metadata(document)));
    form
}

/// Puts what is missing on the draft, and makes it final once its sum is the document's.
async fn complete(
    account: &Account,
    document: &Document,
    (customer, id, row): (&str, &str, &ContractInvoice),
    lines: &[Line],
) -> Result<(), BuyError> {
    let items: Vec<InvoiceItem> = account.api.list("/invoiceitems", &[("invoice", id)]).await?;
    let is_there =
        |line: &&Line| items.iter().any(|item| item.metadata.get("palveron_line") == Some(&line.name));
    for line in lines.iter().filter(|line| !is_there(line)) {
        let mut form = fields(&[
            ("customer", customer),
            ("invoice", id),
            ("amount", &line.minor.to_string()),
            ("currency", &document.amount.currency().to_string()),
            ("description", &line.text),
            ("tax_behavior", TAX_BEHAVIOR),
        ]);
        let mut metadata = metadata(document);
        metadata.push(("palveron_line", line.name.clone()));
        form.extend(metadata_fields(&metadata));
        let key = key(document, &format!("line:{}", line.name), row);
        let made = account.api.make::<InvoiceItem>("/invoiceitems", &form, &key).await;
        renewed(account, document, row, made).await?;
    }
    let expected = lines.iter().fold(0_i128, |sum, line| sum.saturating_add(line.minor));
    let draft = account.api.invoice(id).await?;
    if draft.status.as_deref() != Some("draft") {
        return Ok(());
    }
    if i128::from(draft.subtotal) != expected {
        account.metrics.stripe_alarm();
        return Err(BuyError::NotBillable(format!(
            "The draft {id} at Stripe comes to {} and the document to {expected}: delete it there and ask again.",
            draft.subtotal
        )));
    }
    let (path, form) = (format!("/invoices/{id}/finalize"), fields(&[("auto_advance", "true")]));
    let made = account.api.make::<Seen>(&path, &form, &key(document, "finalize", row)).await;
    renewed(account, document, row, made).await.map(drop)
}

/// After a failure that Stripe remembers under the key the next call goes under another; what is there by then is looked
/// at first.
async fn renewed<T>(
    account: &Account,
    document: &Document,
    row: &ContractInvoice,
    made: Result<T, CallError>,
) -> Result<T, BuyError> {
    if let Err(CallError::Broken { .. }) = made {
        account.store.contract_invoice_again(document, row, false).await?;
    }
    Ok(made?)
}
