//! What several commands take: a project, a month, one of a few words.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use shared::ids::ProjectId;
use shared::plan::{Pack, Plan};
use shared::time::Period;
use shared::units::Units;

use super::print;
use crate::access::Role;
use crate::access::token::TokenRole;
use crate::webhooks::endpoint::Format;

/// The one way to name the project that a command is about.
#[derive(Debug, Clone, Args)]
pub(super) struct Project {
    /// The project; METER_PROJECT where it is left out, or else the one that METER_TOKEN is for
    #[arg(short, long, value_name = "ID")]
    pub(super) project: Option<ProjectId>,
}

/// A word of a list, as a type of its own.
fn word<T: Clone + Send + Sync + 'static>(
    words: impl IntoIterator<Item = &'static str>,
    parse: fn(&str) -> Option<T>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words).try_map(move |word| parse(&word).ok_or("a word that is not in its list"))
}

/// A plan.
pub(super) fn plan() -> impl TypedValueParser<Value = Plan> {
    word(Plan::ALL.map(Plan::as_str), Plan::parse)
}

/// A pack.
pub(super) fn pack() -> impl TypedValueParser<Value = Pack> {
    word(Pack::ALL.map(Pack::as_str), Pack::parse)
}

/// A role.
pub(super) fn role() -> impl TypedValueParser<Value = Role> {
    word(Role::ALL.map(Role::as_str), Role::parse)
}

/// What a token is for.
pub(super) fn token_role() -> impl TypedValueParser<Value = TokenRole> {
    word(TokenRole::ALL.map(TokenRole::as_str), TokenRole::parse)
}

/// How deliveries are written.
pub(super) fn format() -> impl TypedValueParser<Value = Format> {
    word(Format::ALL.map(Format::as_str), Format::parse)
}

/// A month.
pub(super) fn period(text: &str) -> Result<Period, String> {
    Period::parse(text).ok_or_else(|| "accepted is a month such as 2026-05".to_owned())
}

/// A number of units.
pub(super) fn units(text: &str) -> Result<Units, String> {
    let units = text.parse().ok().filter(|units| *units <= Units::MAX.get());
    units.map(Units::new).ok_or_else(|| format!("accepted are 0 to {}", Units::MAX))
}

/// A number of units, at least one.
pub(super) fn some_units(text: &str) -> Result<Units, String> {
    units(text)
        .ok()
        .filter(|units| *units > Units::ZERO)
        .ok_or_else(|| format!("accepted are 1 to {}", Units::MAX))
}

/// What lists something of a project takes.
#[derive(Debug, Args)]
pub(super) struct OfProject {
    #[command(flatten)]
    pub(super) project: Project,
    #[command(flatten)]
    pub(super) format: print::Format,
}
