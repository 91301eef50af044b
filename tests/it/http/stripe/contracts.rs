//! Contracts: an operator has what a month came to invoiced at Stripe, once, whatever happens to the calls that do it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use shared::plan::Plan;
use tests::client::{Answer, Call};
use tests::clock;
use tests::operator::Operator;
use tests::poll::eventually;
use tests::stack::{Options, Part, Stack};

use super::shop::Shop;

const SOON: Duration = Duration::from_secs(60);
const DOCUMENTS: &str = "/api/v1/admin/contracts/acme/documents";
const SELLER: &str = r#"{"name":"Meter GmbH","party":{"street":"Weg 1","city":"Berlin","postcode":"10115","country":"DE",
"vat_id":"DE123456789","email":"billing@example.com"},"iban":"DE02120300000000202051","vat_percent":19,"due_days":14}"#;

struct Office {
    shop: Shop,
    operator: Operator,
}

impl Office {
    /// A contract of 200 units, 20.00 per 1,000 beyond and 100.00 for the term, of whose first month 700 were used; two
    /// months are over.
    async fn open() -> Result<Self> {
        let stack = Stack::start_with(Options {
            stripe: true,
            moving_clock: true,
            aggregator_settings: vec![
                ("METER_SELLER", SELLER.to_owned()),
                // So that the tax of the seller is a line of its own.
                ("STRIPE_AUTOMATIC_TAX", "0".to_owned()),
            ],
            later: vec![Part::Edge, Part::Upstream],
            ..Options::default()
        })
        .await?;
        let shop = Shop::on(stack, Plan::Community)?;
        let operator = Operator::of(&shop.stack)?;
        let office = Self { shop, operator };
        let terms = json!({
            "id": "acme", "customer": "Acme GmbH", "projects": ["demo"], "volume": 200, "minimum": 0,
            "tiers": [{ "up_to": null, "per_1000": 2_000 }], "base_fee": { "minor": 10_000, "per": "term" },
            "first_day": clock::now().period().first_day(), "sla": "none",
            "buyer": { "country": "DE", "email": "books@acme.example" },
        });
        let made = office.post("/api/v1/admin/contracts", &terms.to_string()).await?;
        ensure!(made.status == 201, "{}", made.text());
        office.shop.used(1, 700).await?;
        office.shop.later("70d").await?;
        Ok(office)
    }

    async fn post(&self, path: &str, body: &str) -> Result<Answer> {
        self.operator.send(Call::post(path, body.to_owned()).json()).await
    }

    /// The documents of the first two months, the earlier one first.
    async fn documents(&self) -> Result<[String; 2]> {
        eventually("two months' documents", SOON, async || {
            let told: Value = self.operator.send(Call::get(DOCUMENTS)).await?.ok()?;
            let all = told["documents"].as_array().context("no list")?;
            let mut names: Vec<&str> = all.iter().filter_map(|of| of["name"].as_str()).collect();
            names.sort_unstable();
            Ok(match names.as_slice() {
                [first, second, ..] => Some([(*first).to_owned(), (*second).to_owned()]),
                _ => None,
            })
        })
        .await
    }

    async fn collect(&self, document: &str) -> Result<Answer> {
        self.post(&format!("{DOCUMENTS}/{document}/stripe"), "").await
    }

    async fn at_stripe(&self) -> Result<Vec<Value>> {
        let all = self.shop.at_stripe("invoices?limit=100").await?;
        Ok(all["data"].as_array().cloned().unwrap_or_default())
    }
}

#[tokio::test]
async fn a_document_is_one_invoice_at_stripe_however_often_it_is_asked_for() -> Result<()> {
    let office = Office::open().await?;
    let [first, second] = office.documents().await?;
    let shop = &office.shop;
    for call in ["POST /v1/customers", "POST /v1/invoices", "POST /v1/invoiceitems", "POST /v1/invoices/"] {
        shop.fault(&json!({ "matches": call, "times": 1, "drop_after": true })).await?;
        shop.fault(&json!({ "matches": call, "times": 1, "status": 500 })).await?;
    }
    let made: Value = eventually("the invoice", SOON, async || {
        let answer = office.collect(&first).await?;
        if answer.status == 200 {
            return answer.ok::<Value>().map(Some);
        }
        answer.problem(shared::problem::ErrorCode::PaymentsUnavailable)?;
        Ok(None)
    })
    .await?;
    // 100.00 and 500 units at 20.00 per 1,000 are 110.00; with 19 percent 130.90.
    assert_eq!((&made["status"], &made["total"]["minor"]), (&json!("open"), &json!("13090")), "{made}");
    let (one, two) = tokio::join!(office.collect(&first), office.collect(&first));
    assert_eq!((one?.ok::<Value>()?, two?.ok::<Value>()?), (made.clone(), made.clone()));
    let settings = [("METER_SELLER", SELLER), ("STRIPE_AUTOMATIC_TAX", "0")];
    let words = ["contract", "collect", "acme", "--document", &first, "--json"];
    let told = shop.stack.meter_with(&words, &settings)?;
    assert_eq!(serde_json::from_str::<Value>(&told)?, made, "the command asks the same");
    let all = office.at_stripe().await?;
    assert_eq!(all.len(), 1, "{all:?}");
    let lines = all[0]["lines"]["data"].as_array().context("no lines")?;
    let mut amounts: Vec<i64> = lines.iter().filter_map(|line| line["amount"].as_i64()).collect();
    amounts.sort_unstable();
    assert_eq!(amounts, [1_000, 2_090, 10_000], "{lines:?}");
    assert_eq!(all[0]["collection_method"], "send_invoice", "nothing is charged by itself");
    assert_eq!(all[0]["metadata"]["palveron_document"], first.as_str());
    // What is asked for nothing is no invoice, and the one that is there is no drift.
    office.collect(&second).await?.problem(shared::problem::ErrorCode::NotBillable)?;
    shop.is_quiet().await?;
    shop.later("2h").await?;
    assert_eq!(shop.metric("meter_stripe_drift").await?, 0);
    let audit = office.operator.send(Call::get("/api/v1/admin/audit")).await?;
    assert_eq!(audit.text().matches("contract.collected").count(), 1);
    office.shop.finish().await
}

#[tokio::test]
async fn a_draft_that_is_not_the_document_is_never_made_final() -> Result<()> {
    let office = Office::open().await?;
    let [first, _] = office.documents().await?;
    let shop = &office.shop;
    // It has all its lines and is not made final; then somebody adds one at Stripe.
    shop.fault(&json!({ "matches": "POST /v1/invoices/", "times": 1, "drop": true })).await?;
    office.collect(&first).await?.problem(shared::problem::ErrorCode::PaymentsUnavailable)?;
    let draft = office.at_stripe().await?.pop().context("no draft")?;
    let text = |name: &str| draft[name].as_str().unwrap_or_default().to_owned();
    let (id, customer) = (text("id"), text("customer"));
    shop.by_owner("invoiceitems", &format!("customer={customer}&invoice={id}&amount=1&currency=eur")).await?;
    let held = office.collect(&first).await?;
    assert!(held.text().contains("delete it there"), "{}", held.text());
    held.problem(shared::problem::ErrorCode::NotBillable)?;
    assert_eq!(office.at_stripe().await?[0]["status"], "draft");
    // They delete it, and the document gets another.
    let delete = Call::new("DELETE".parse()?, &format!("/v1/invoices/{id}")).bearer(shop.stack.stripe_key());
    delete.send(shop.stack.stripe()).await?.ok::<Value>()?;
    let made: Value = office.collect(&first).await?.ok()?;
    assert_eq!((&made["total"]["minor"], &made["status"]), (&json!("13090"), &json!("open")));
    assert_ne!(made["invoice"], id.as_str());
    office.shop.finish().await
}
