//! The identity provider, where one is set.

use super::{Reader, settings};
use crate::identity::ProviderSettings;

/// The provider. The outer `None` is a refusal.
#[expect(clippy::option_option, reason = "not accepted and not there are two things")]
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Option<ProviderSettings>> {
    let issuer = reader.value(&settings::OIDC_ISSUER);
    let client_id = reader.value(&settings::OIDC_CLIENT_ID);
    let client_secret = reader.value(&settings::OIDC_CLIENT_SECRET);
    let name = reader.value(&settings::OIDC_NAME);
    let admissions = reader.value(&settings::OIDC_ADMIT);
    let (issuer, client_id, client_secret) = (issuer?, client_id?, client_secret?);
    let (name, admissions) = (name?, admissions?);
    let Some(issuer) = issuer else {
        if client_id.is_empty() && client_secret.is_empty() && name.is_none() && admissions.is_empty() {
            return Some(None);
        }
        let why = "got nothing, accepted is the provider that the other METER_OIDC_… are about";
        reader.refuse(&settings::OIDC_ISSUER.row, why);
        return None;
    };
    if client_id.is_empty() {
        let why = "got nothing, accepted is what the provider knows this meter by";
        reader.refuse(&settings::OIDC_CLIENT_ID.row, why);
        return None;
    }
    let client_secret = Some(client_secret).filter(|secret| !secret.is_empty());
    Some(Some(ProviderSettings { issuer, client_id, client_secret, name, admissions }))
}
