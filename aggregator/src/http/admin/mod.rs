//! The administrators' interface: projects, their keys and tokens.

mod accounts;
mod audit;
mod catalogues;
mod clock;
mod contract_documents;
mod contracts;
mod corrections;
mod credits;
mod homes;
mod invitations;
mod keys;
mod leases;
mod members;
mod migration;
mod operator_tokens;
mod plans;
mod projects;
mod quarantine;
mod reporters;
mod stripe;
mod stripe_sync;
mod tokens;
mod what_if;

pub use audit::AuditView;
pub(crate) use credits::{REASON, is_reason};
pub use keys::KeyView;
pub use members::MemberView;
pub(super) use members::{member, members_max, name};
pub use projects::ProjectView;
pub use quarantine::QuarantinedView;
pub use stripe::ParkedView;
pub use tokens::TokenView;

use super::route::Route;

/// The endpoints of these modules.
pub(super) fn routes() -> Vec<Route> {
    [
        projects::routes(),
        keys::routes(),
        leases::routes(),
        homes::routes(),
        credits::routes(),
        tokens::routes(),
        operator_tokens::routes(),
        corrections::routes(),
        invitations::routes(),
        members::routes(),
        accounts::routes(),
        quarantine::routes(),
        contracts::routes(),
        contract_documents::routes(),
        what_if::routes(),
        catalogues::routes(),
        plans::routes(),
        migration::routes(),
        reporters::routes(),
        stripe::routes(),
        stripe_sync::routes(),
        audit::routes(),
        clock::routes(),
    ]
    .concat()
}
