//! `POST /api/v1/admin/projects/{project}/credits`: units that are given, with a reason.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use shared::units::Units;

use crate::access::Permission;
use crate::app::App;
use crate::http::access::{Operate, Permitted};
use crate::http::billing::refused;
use crate::http::billing::view::{LotView, TopUps};
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::field::{Field, Number, Text};
use crate::http::route::{Route, Who};
use crate::store::{Credit, Credited};

/// The longest reason; it is one sentence of an operator.
pub(super) const REASON_CHARS_MAX: usize = 200;

const CREDIT: &[Field] = &[
    Field::required::<Number<1, { Units::MAX.get() }>>("units", "1 to 9007199254740991").such_as("5"),
    Field::required::<Text<1, REASON_CHARS_MAX>>("reason", REASON).such_as("\"an outage\""),
];

/// The endpoints of this module.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/api/v1/admin/projects/{project}/credits",
            Who::InProject(Permission::Operate),
            "Give units",
            give,
        )
        .body(CREDIT)
        .answers::<LotView>(201, "The lot that the units are now"),
    ]
}

/// Gives units as a lot.
pub(crate) async fn give(
    on: Permitted<Operate>,
    State(app): State<App>,
    call: Call,
) -> Result<Response, Failure> {
    let mut fields = call.fields()?.of(CREDIT)?;
    let accepts = format!("1 to {}", Units::MAX);
    let units: Units = fields.required("units", &accepts)?;
    if units == Units::ZERO {
        return Err(Failure::field("units", "0", &accepts));
    }
    let reason: String = fields.required("reason", "a text that says why")?;
    if !is_reason(&reason) {
        return Err(Failure::field("reason", &reason, REASON));
    }
    let mut change = call.begin_in(&app, &on.project.id).await?;
    let now = app.clock.now();
    match change.give_credit(&on.project.id, Credit { units, reason }, now).await? {
        Credited::Lot(book, lot) => {
            tracing::info!(project.id = %on.project.id, token.id = on.token.id, lot = %lot, units = %units, "credit given");
            let view = TopUps::new(&book, now).map_err(|refusal| refused(&refusal))?.into_lot(lot);
            let view = view.ok_or_else(|| Failure::internal(&"a lot that was written is not there"))?;
            change.answer(StatusCode::CREATED, &view).await
        }
        Credited::ProjectUnknown => Err(Failure::project_unknown()),
        Credited::Refused(refusal) => Err(refused(&refusal)),
    }
}

/// What is accepted as a reason.
pub(crate) const REASON: &str = "1 to 200 characters that are not only spaces";

/// Whether a text says why, as far as its form goes.
pub(crate) fn is_reason(text: &str) -> bool {
    crate::text::is_words(text, REASON_CHARS_MAX)
}
