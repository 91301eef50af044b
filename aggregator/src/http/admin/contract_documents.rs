//! `/api/v1/admin/contracts/{contract}/documents` and `…/waivers`: what months of contracts came to, in three forms.

use axum::Json;
use axum::extract::{RawPathParams, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::ids::ContractId;
use shared::problem::ErrorCode;
use shared::time::Period;

use super::contracts;
use super::credits::{REASON, REASON_CHARS_MAX, is_reason};
use crate::app::App;
use crate::contracts::agreement::Agreement;
use crate::contracts::einvoice::Invoice;
use crate::contracts::month::Document;
use crate::contracts::printable;
use crate::http::access::{NamedInPath, Operator};
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::{Field, Text};
use crate::http::route::{Route, Who};
use crate::http::stripe;
use crate::ledger::money::Money;
use crate::store::Waived;
use crate::stripe::contract;

const MONTH: &str = "a month such as 2026-12";

const WAIVER: &[Field] = &[
    Field::required::<Period>("period", MONTH).such_as("\"2026-12\""),
    Field::required::<Text<1, REASON_CHARS_MAX>>("reason", REASON).such_as("\"an outage\""),
];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let (who, unknown) = (Who::Operator, [ErrorCode::NotFound]);
    let refused = [ErrorCode::NotFound, ErrorCode::ContractRefused];
    vec![
        Route::get("/api/v1/admin/contracts/{name}/documents", who, "List a contract's documents", list)
            .answers::<DocumentList>(200, "Invoices and what was put right, the latest month first")
            .refuses(&unknown),
        Route::get("/api/v1/admin/contracts/{name}/documents/{document}", who, "Show a document", show)
            .answers::<DocumentView>(200, "The document with its evidence")
            .refuses(&unknown),
        Route::get("/api/v1/admin/contracts/{name}/documents/{document}/page", who, "Print a document", page)
            .answers_text(200, "The document as a page that is printed", "text/html")
            .refuses(&refused),
        Route::get(
            "/api/v1/admin/contracts/{name}/documents/{document}/xml",
            who,
            "Show a document as an electronic invoice",
            xml,
        )
        .answers_text(200, "The document in EN 16931, as UBL 2.1", "application/xml")
        .refuses(&refused),
        Route::post(
            "/api/v1/admin/contracts/{name}/documents/{document}/stripe",
            who,
            "Invoice a document at Stripe",
            collect,
        )
        .answers::<AtStripeView>(
            200,
            "The invoice at Stripe; asking again makes no other and shows how it stands",
        )
        .refuses(&[
            ErrorCode::NotFound,
            ErrorCode::ContractRefused,
            ErrorCode::NotBillable,
            ErrorCode::PaymentsUnavailable,
        ]),
        Route::post("/api/v1/admin/contracts/{name}/waivers", who, "Waive a month's minimum", waive)
            .body(WAIVER)
            .answers::<WaiverView>(201, "The waiver, and the document that takes back what was billed")
            .refuses(&refused),
    ]
}

/// A document, by its name.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DocumentView {
    /// The contract, the month and the document's number in it.
    name: String,
    #[serde(flatten)]
    document: Document,
}

impl From<Document> for DocumentView {
    fn from(document: Document) -> Self {
        Self { name: document.name(), document }
    }
}

/// A contract's documents.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DocumentList {
    documents: Vec<DocumentView>,
}

/// A minimum that is waived.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WaiverView {
    contract: ContractId,
    period: Period,
    reason: String,
    /// What was put right by it; `null` where the month was not invoiced yet.
    document: Option<DocumentView>,
}

/// A document's invoice at Stripe.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AtStripeView {
    /// The document.
    document: String,
    /// The invoice's id at Stripe.
    invoice: String,
    /// `open`, `paid`, `void` or `uncollectible`.
    status: String,
    /// What it asks for, taxes included.
    total: Money,
    /// The page where it is paid.
    url: Option<String>,
}

async fn list(
    _: Operator,
    NamedInPath(name): NamedInPath,
    State(app): State<App>,
) -> Result<Json<DocumentList>, Failure> {
    let id = contracts::named(&name)?;
    app.store.contract(&id).await?.ok_or_else(contracts::unknown)?;
    let documents = app.store.documents(&id).await?.into_iter().map(DocumentView::from).collect();
    Ok(Json(DocumentList { documents }))
}

/// The document that a path names, and its contract.
async fn found(app: &App, name: &str, parameters: &RawPathParams) -> Result<(Agreement, Document), Failure> {
    let id = contracts::named(name)?;
    let agreement = app.store.contract(&id).await?.ok_or_else(contracts::unknown)?;
    let wanted = parameters.iter().find(|(key, _)| *key == "document").map_or("", |(_, value)| value);
    let none = || {
        let detail = "The contract has no such document. GET …/documents lists the names of those it has.";
        Failure::new(ErrorCode::NotFound, detail)
    };
    let which = Document::named(&id, wanted).ok_or_else(none)?;
    let document = app.store.document(&id, which).await?.filter(|document| document.name() == wanted);
    let document = document.ok_or_else(none)?;
    Ok((agreement, document))
}

async fn show(
    _: Operator,
    NamedInPath(name): NamedInPath,
    parameters: RawPathParams,
    State(app): State<App>,
) -> Result<Json<DocumentView>, Failure> {
    let (_, document) = found(&app, &name, &parameters).await?;
    Ok(Json(document.into()))
}

/// The invoice, or why there is none.
fn invoice<'a>(
    app: &'a App,
    agreement: &'a Agreement,
    document: &'a Document,
) -> Result<Invoice<'a>, Failure> {
    let lacks = |why: &str| Failure::new(ErrorCode::ContractRefused, format!("It is no invoice yet: {why}."));
    let seller = app.seller.as_ref().ok_or_else(|| lacks("METER_SELLER does not say who invoices"))?;
    let invoice = Invoice { document, seller, buyer: &agreement.buyer, volume: agreement.terms.volume };
    invoice.check().map_err(|why| lacks(&why)).map(|()| invoice)
}

async fn page(
    _: Operator,
    NamedInPath(name): NamedInPath,
    parameters: RawPathParams,
    State(app): State<App>,
) -> Result<Response, Failure> {
    let (agreement, document) = found(&app, &name, &parameters).await?;
    let html = printable::html(&invoice(&app, &agreement, &document)?);
    let style = STANDARD.encode(Sha256::digest(printable::style()));
    let policy = format!("default-src 'none'; style-src 'sha256-{style}'");
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    Ok((headers, html).into_response())
}

async fn xml(
    _: Operator,
    NamedInPath(name): NamedInPath,
    parameters: RawPathParams,
    State(app): State<App>,
) -> Result<Response, Failure> {
    let (agreement, document) = found(&app, &name, &parameters).await?;
    let xml = invoice(&app, &agreement, &document)?.ubl();
    let file = format!("attachment; filename=\"{}.xml\"", document.name());
    let headers = [
        (header::CONTENT_TYPE, "application/xml; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, file),
    ];
    Ok((headers, xml).into_response())
}

async fn collect(
    Operator(token): Operator,
    NamedInPath(name): NamedInPath,
    parameters: RawPathParams,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    call.answered(&app).await?;
    let account = stripe::account(&app)?;
    let (agreement, document) = found(&app, &name, &parameters).await?;
    let invoice = invoice(&app, &agreement, &document)?;
    let seen = contract::collect(account, &invoice).await.map_err(stripe::refused)?;
    let view = AtStripeView {
        document: document.name(),
        status: seen.status.unwrap_or_default(),
        total: Money::new(i128::from(seen.total), document.amount.currency()),
        url: seen.hosted_invoice_url,
        invoice: seen.id,
    };
    let mut change = call.begin(&app).await?;
    change.contract_collected(&document, &view.invoice, app.clock.now()).await?;
    tracing::info!(document = %view.document, token.id = token.id, "a contract's document is invoiced at Stripe");
    change.answer(StatusCode::OK, &view).await
}

async fn waive(
    Operator(token): Operator,
    NamedInPath(name): NamedInPath,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut fields = call.fields()?.of(WAIVER)?;
    let period: Period = fields.required("period", MONTH)?;
    let reason: String = fields.required("reason", REASON)?;
    if !is_reason(&reason) {
        return Err(Failure::field("reason", &reason, REASON));
    }
    let (contract, now) = (contracts::named(&name)?, app.clock.now());
    let mut change = call.begin(&app).await?;
    let document = match change.waive_minimum(&contract, (period, &reason), now).await? {
        Waived::Waived(document) => document.map(|document| DocumentView::from(*document)),
        Waived::Unknown => return Err(contracts::unknown()),
        Waived::Refused(why) => return Err(Failure::new(ErrorCode::ContractRefused, format!("{why}."))),
    };
    tracing::info!(contract.id = %contract, period = %period, token.id = token.id, "a minimum was waived");
    change.answer(StatusCode::CREATED, &WaiverView { contract, period, reason, document }).await
}
