//! The Redis that has the homes, where one has.

use shared::policy::Place;

use super::{Reader, settings};
use crate::counters::settings::RedisSettings;

/// Reads them. The outer `None` is a refusal.
#[expect(clippy::option_option, reason = "not accepted and not there are two things")]
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Option<RedisSettings>> {
    let address = reader.value(&settings::REDIS);
    let replicas = reader.value(&settings::REDIS_REPLICAS);
    let accepted_loss = reader.value(&settings::REDIS_LOSS);
    let first = reader.value(&settings::COUNTERS);
    let (address, replicas, accepted_loss, first) = (address?, replicas?, accepted_loss?, first?);
    let first = first.unwrap_or(Place::Redis);
    Some(address.map(|address| RedisSettings { address, replicas, accepted_loss, first }))
}
