//! `POST /api/v1/admin/projects/{project}/corrections`: units of a closed month that are taken back, with a reason.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use shared::problem::ErrorCode;
use shared::time::Period;
use shared::units::Units;

use super::credits::{REASON, REASON_CHARS_MAX, is_reason};
use crate::access::Permission;
use crate::app::App;
use crate::http::access::{Operate, Permitted};
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::{Field, Number, Text};
use crate::http::route::{Route, Who};
use crate::ledger::refusal::Refusal;
use crate::ledger::statement::{Statement, statement};
use crate::store::{Corrected, Correction};

const MONTH: &str = "a month such as 2026-05";

const UNITS: &str = "1 to 9007199254740991";

const CORRECTION: &[Field] = &[
    Field::required::<Period>("period", MONTH).such_as("\"2026-09\""),
    Field::required::<Number<1, { Units::MAX.get() }>>("units", UNITS).such_as("5"),
    Field::required::<Text<1, REASON_CHARS_MAX>>("reason", REASON).such_as("\"an outage\""),
];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/api/v1/admin/projects/{project}/corrections",
            Who::InProject(Permission::Operate),
            "Correct a bill",
            correct,
        )
        .body(CORRECTION)
        .answers::<Statement>(201, "The month's statement as it is now")
        .refuses(&[ErrorCode::CorrectionRefused]),
    ]
}

/// Takes units back.
pub(crate) async fn correct(
    on: Permitted<Operate>,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut fields = call.fields()?.of(CORRECTION)?;
    let period: Period = fields.required("period", MONTH)?;
    let units: Units = fields.required("units", UNITS)?;
    if units == Units::ZERO {
        return Err(Failure::field("units", "0", UNITS));
    }
    let reason: String = fields.required("reason", REASON)?;
    if !is_reason(&reason) {
        return Err(Failure::field("reason", &reason, REASON));
    }
    let now = app.clock.now();
    let mut change = call.begin_in(&app, &on.project.id).await?;
    match change.correct(&on.project.id, Correction { period, units, reason }, now).await? {
        Corrected::Book(book) => {
            tracing::info!(project.id = %on.project.id, token.id = on.token.id, period = %period, units = %units, "bill corrected");
            let view =
                statement(&book.ledger, book.seen(now), period).map_err(|refusal| refused(&refusal))?;
            change.answer(StatusCode::CREATED, &view).await
        }
        Corrected::ProjectUnknown => Err(Failure::project_unknown()),
        Corrected::Refused(refusal) => Err(refused(&refusal)),
    }
}

fn refused(refusal: &Refusal) -> Failure {
    if matches!(refusal, Refusal::NotClosed(_) | Refusal::MoreThanUsed { .. }) {
        Failure::new(ErrorCode::CorrectionRefused, format!("Nothing was corrected: {refusal}."))
    } else {
        Failure::internal(refusal)
    }
}
