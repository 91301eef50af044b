//! `/api/v1/admin/reporters`: on-premise reporters and their keys, which are shown once when they are made.

use axum::Json;
use axum::extract::{RawPathParams, State as Shared};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use shared::ids::{ContractId, Incarnation, ProjectId, SourceId};
use shared::problem::ErrorCode;
use shared::report::Environment;
use shared::time::Timestamp;
use shared::units::Units;

use super::contracts;
use crate::app::App;
use crate::contracts::reporter::{KEYS_MAX, KeyView, NewReporter, Reporter};
use crate::contracts::standing::{Standing, State, standing};
use crate::http::access::{NamedInPath, Operator};
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::{Field, Number};
use crate::http::query::Query;
use crate::http::route::{Route, Who};
use crate::projects::project::RPM_MAX;
use crate::store::{ReporterKept, ReporterKeyMade};

const ID: Field = Field::required::<SourceId>("id", "1 to 48 of a-z, 0-9 and inner hyphens; not home");
const PROJECT: Field = Field::optional::<ProjectId>(
    "project",
    "a project that the contract covers; its only one where it is absent",
);
const ENVIRONMENT: Field =
    Field::optional::<Environment>("environment", "production or development; production where it is absent")
        .such_as("\"production\"");
const RPM: Field =
    Field::required::<Number<1, 1_000_000>>("rpm", "1 to 1000000 requests a minute").such_as("6000");
const UNITS_MAX: Field = Field::optional::<Units>(
    "units_max",
    "units a month after which nothing is served on premise; without it overage is served",
);
const AIR_GAP: Field = Field::optional::<bool>(
    "air_gap",
    "whether its reports are carried here by people; false where it is absent",
)
.such_as("false");

const NEW: &[Field] = &[ID, PROJECT, ENVIRONMENT, RPM, UNITS_MAX, AIR_GAP];

const QUERY: &[Field] =
    &[Field::optional::<ContractId>("contract", "the id of a contract; those of all where it is absent")];

const PROMOTE: &[Field] =
    &[Field::required::<Incarnation>("incarnation", "8 to 32 of a-z and 0-9").such_as("\"bbbbbbbbbbbb\"")];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    let (who, unknown) = (Who::Operator, [ErrorCode::NotFound]);
    vec![
        Route::post("/api/v1/admin/contracts/{name}/reporters", who, "Make a reporter", create)
            .body(NEW)
            .answers::<ReporterView>(201, "The reporter, which needs a key to report")
            .refuses(&[ErrorCode::NotFound, ErrorCode::ReporterExists]),
        Route::get("/api/v1/admin/reporters", who, "List reporters", list)
            .query(QUERY)
            .answers::<ReporterList>(200, "All reporters"),
        Route::get("/api/v1/admin/reporters/{name}", who, "Show a reporter", show)
            .answers::<ReporterView>(200, "The reporter")
            .refuses(&unknown),
        Route::delete("/api/v1/admin/reporters/{name}", who, "Retire a reporter", retire)
            .answers::<ReporterView>(200, "The reporter, of which nothing is expected any more")
            .refuses(&unknown),
        Route::post("/api/v1/admin/reporters/{name}/promote", who, "Promote a data folder", promote)
            .body(PROMOTE)
            .answers::<ReporterView>(200, "The reporter, of which that life reports from now on")
            .refuses(&unknown),
        Route::get("/api/v1/admin/reporters/{name}/keys", who, "List a reporter's keys", keys)
            .answers::<ReporterKeyList>(200, "All keys that it ever had")
            .refuses(&unknown),
        Route::post("/api/v1/admin/reporters/{name}/keys", who, "Make a reporter's key", create_key)
            .answers::<NewReporterKeyView>(201, "The key, with the text that is shown this once")
            .refuses(&unknown),
        Route::delete(
            "/api/v1/admin/reporters/{name}/keys/{key}",
            who,
            "Revoke a reporter's key",
            revoke_key,
        )
        .answers::<KeyView>(200, "The key, which is refused from now on")
        .refuses(&[ErrorCode::KeyUnknown, ErrorCode::NotFound]),
    ]
}

/// A reporter as operators see it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReporterView {
    id: SourceId,
    contract: ContractId,
    project: ProjectId,
    environment: Environment,
    rpm: u32,
    /// Units a month on premise; `null` where overage is served.
    units_max: Option<Units>,
    air_gap: bool,
    state: State,
    /// The life of its data folder that reports.
    incarnation: Option<Incarnation>,
    heard_at: Option<String>,
    /// When it was last heard, or had to begin reporting.
    silent_since: String,
    /// When the contracted minimum is billed unless it is heard before; past where that is so.
    silent_at: String,
    /// Whole hours until then.
    hours_left: u64,
    /// When another data folder reported under its name last, unless one was promoted since.
    forked_at: Option<String>,
    /// Reports of other data folders, which were refused.
    forks: Vec<ForkView>,
    created_at: String,
    retired_at: Option<String>,
}

impl ReporterView {
    async fn new(app: &App, reporter: Reporter) -> Result<Self, Failure> {
        let now = app.clock.now();
        let gone = || Failure::internal(&"a reporter's contract is not there");
        let agreement = app.store.contract(&reporter.contract).await?.ok_or_else(gone)?;
        let (refused, downtime) = (app.store.refused(&reporter.id).await?, app.store.downtime().await?);
        let Standing { state, silence, silent_at } =
            standing(&reporter, &agreement, (refused, &downtime), now);
        let forks = app.store.forks(&reporter.id).await?.into_iter();
        let fork = |(incarnation, seq, at): (String, u64, Timestamp)| ForkView {
            incarnation,
            seq,
            at: at.to_string(),
        };
        Ok(Self {
            id: reporter.id,
            contract: reporter.contract,
            project: reporter.project,
            environment: reporter.environment,
            rpm: reporter.rpm,
            units_max: reporter.units_max,
            air_gap: reporter.air_gap,
            state,
            incarnation: reporter.living,
            heard_at: reporter.heard.map(|at| at.to_string()),
            silent_since: silence.from.to_string(),
            silent_at: silent_at.to_string(),
            hours_left: silent_at.ms_since(now).div_euclid(3_600_000),
            forked_at: refused.forked.map(|at| at.to_string()),
            forks: forks.map(fork).collect(),
            created_at: reporter.created.to_string(),
            retired_at: reporter.retired.map(|at| at.to_string()),
        })
    }
}

/// A report of another data folder.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ForkView {
    incarnation: String,
    seq: u64,
    at: String,
}

/// Reporters.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReporterList {
    reporters: Vec<ReporterView>,
}

/// A reporter's keys.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReporterKeyList {
    keys: Vec<KeyView>,
}

/// A new key; the only answer that has its text.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NewReporterKeyView {
    #[serde(flatten)]
    view: KeyView,
    /// What TELEMETRY_HMAC_KEY is set to on premise.
    key: String,
}

async fn list(_: Operator, Shared(app): Shared<App>, uri: Uri) -> Result<Json<ReporterList>, Failure> {
    let query = Query::of(&uri, QUERY)?;
    let accepts = "1 to 48 of a-z, 0-9 and inner hyphens";
    let contract = query
        .get("contract")
        .map(|text| ContractId::parse(text).map_err(|_| Failure::field("contract", text, accepts)));
    let reporters = app.store.reporters(contract.transpose()?.as_ref()).await?;
    let mut views = Vec::new();
    for reporter in reporters {
        views.push(ReporterView::new(&app, reporter).await?);
    }
    Ok(Json(ReporterList { reporters: views }))
}

async fn show(
    _: Operator,
    NamedInPath(name): NamedInPath,
    Shared(app): Shared<App>,
) -> Result<Json<ReporterView>, Failure> {
    let reporter = app.store.reporter(&named(&name)?).await?.ok_or_else(unknown)?;
    Ok(Json(ReporterView::new(&app, reporter).await?))
}

/// The reporter that a path names.
fn named(name: &str) -> Result<SourceId, Failure> {
    SourceId::parse(name).map_err(|_| unknown())
}

fn unknown() -> Failure {
    let detail = "There is no such reporter, or it is retired. GET /api/v1/admin/reporters lists their ids.";
    Failure::new(ErrorCode::NotFound, detail)
}

async fn create(
    Operator(token): Operator,
    NamedInPath(name): NamedInPath,
    Shared(app): Shared<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut fields = call.fields()?.of(NEW)?;
    let contract = contracts::named(&name)?;
    let new = NewReporter {
        id: fields.read(&ID)?,
        project: fields.optional(PROJECT.name, PROJECT.accepts)?,
        environment: fields
            .optional(ENVIRONMENT.name, ENVIRONMENT.accepts)?
            .unwrap_or(Environment::Production),
        rpm: fields.read(&RPM)?,
        units_max: fields.optional(UNITS_MAX.name, UNITS_MAX.accepts)?,
        air_gap: fields.optional(AIR_GAP.name, AIR_GAP.accepts)?.unwrap_or(false),
    };
    if !(1..=RPM_MAX).contains(&new.rpm) {
        return Err(Failure::field(RPM.name, &new.rpm.to_string(), RPM.accepts));
    }
    let named = new.project.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let mut change = call.begin(&app).await?;
    let reporter = match change.create_reporter(&contract, new, app.clock.now()).await? {
        ReporterKept::Reporter(reporter) => *reporter,
        ReporterKept::Unknown | ReporterKept::ContractUnknown => return Err(contracts::unknown()),
        ReporterKept::Exists => {
            let detail = "There is already a reporter of that id. Choose another.";
            return Err(Failure::new(ErrorCode::ReporterExists, detail));
        }
        ReporterKept::ProjectNotCovered => {
            let accepts =
                "a project that the contract covers, which has to be named unless it is the only one";
            return Err(Failure::field(PROJECT.name, &named, accepts));
        }
    };
    tracing::info!(reporter.id = %reporter.id, contract.id = %contract, token.id = token.id, "reporter made");
    change.answer(StatusCode::CREATED, &ReporterView::new(&app, reporter).await?).await
}

async fn retire(
    Operator(token): Operator,
    NamedInPath(name): NamedInPath,
    Shared(app): Shared<App>,
    call: Call,
) -> Result<Response, Failure> {
    let id = named(&name)?;
    let mut change = call.begin(&app).await?;
    let ReporterKept::Reporter(reporter) = change.retire_reporter(&id, app.clock.now()).await? else {
        return Err(unknown());
    };
    tracing::info!(reporter.id = %id, token.id = token.id, "reporter retired");
    change.answer(StatusCode::OK, &ReporterView::new(&app, *reporter).await?).await
}

async fn promote(
    Operator(token): Operator,
    NamedInPath(name): NamedInPath,
    Shared(app): Shared<App>,
    call: Call,
) -> Result<Response, Failure> {
    let incarnation: Incarnation =
        call.fields()?.of(PROMOTE)?.required("incarnation", "8 to 32 of a-z and 0-9")?;
    let id = named(&name)?;
    let mut change = call.begin(&app).await?;
    let promoted = change.promote_reporter(&id, &incarnation, app.clock.now()).await?;
    let ReporterKept::Reporter(reporter) = promoted else { return Err(unknown()) };
    tracing::info!(reporter.id = %id, incarnation = %incarnation, token.id = token.id, "reporter promoted");
    // What is read beside this change does not know of it yet.
    let view = ReporterView { forked_at: None, ..ReporterView::new(&app, *reporter).await? };
    change.answer(StatusCode::OK, &view).await
}

async fn keys(
    _: Operator,
    NamedInPath(name): NamedInPath,
    Shared(app): Shared<App>,
) -> Result<Json<ReporterKeyList>, Failure> {
    let id = named(&name)?;
    app.store.reporter(&id).await?.ok_or_else(unknown)?;
    Ok(Json(ReporterKeyList { keys: app.store.reporter_keys(&id).await? }))
}

async fn create_key(
    Operator(token): Operator,
    NamedInPath(name): NamedInPath,
    Shared(app): Shared<App>,
    call: Call,
) -> Result<Response, Failure> {
    let id = named(&name)?;
    let mut change = call.begin(&app).await?;
    let made = change.create_reporter_key(&id, &app.webhooks.keys, app.clock.now()).await?;
    let (view, key) = match made {
        ReporterKeyMade::Key(view, text) => (view, text),
        ReporterKeyMade::Unknown => return Err(unknown()),
        ReporterKeyMade::TooMany => {
            let accepts = format!("at most {KEYS_MAX} keys that are not revoked; revoke one first");
            return Err(Failure::field("keys", "one more", &accepts));
        }
        ReporterKeyMade::NoSealKey => {
            return Err(Failure::internal(&"there is no key to seal secrets with: set METER_SECRET_KEY"));
        }
    };
    tracing::info!(reporter.id = %id, key.id = view.id, token.id = token.id, "reporter key made");
    change.answer(StatusCode::CREATED, &NewReporterKeyView { view, key }).await
}

async fn revoke_key(
    Operator(token): Operator,
    NamedInPath(name): NamedInPath,
    parameters: RawPathParams,
    Shared(app): Shared<App>,
    call: Call,
) -> Result<Response, Failure> {
    let (id, now) = (named(&name)?, app.clock.now());
    let key = parameters.iter().find(|(name, _)| *name == "key").map(|(_, value)| value.to_owned());
    let key = key.unwrap_or_default();
    let mut change = call.begin(&app).await?;
    let view = change.revoke_reporter_key(&id, &key, now).await?.ok_or_else(Failure::key_unknown)?;
    tracing::info!(reporter.id = %id, key.id = key, token.id = token.id, "reporter key revoked");
    change.answer(StatusCode::OK, &view).await
}
