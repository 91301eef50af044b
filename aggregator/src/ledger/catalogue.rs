//! What differs between two versions of the plan catalogue, or between the terms of a project before and after.
//!
//! Compared as they are written, so that no field can be forgotten.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;
use shared::plan::Catalogue;

use crate::ledger::terms::PlanTerms;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which, such as `plans.pro.price_month`.
    pub field: String,
    /// What it was, as JSON; `null` where it was not there.
    pub from: Value,
    /// What it is.
    pub to: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} → {}", self.field, self.from, self.to)
    }
}

/// What differs between two catalogues, beside their versions.
#[must_use]
pub fn differences(old: &Catalogue, new: &Catalogue) -> Vec<Difference> {
    compared(old, new, "version")
}

/// What differs between two terms, beside the versions that they are of.
#[must_use]
pub fn terms_differences(old: &PlanTerms, new: &PlanTerms) -> Vec<Difference> {
    compared(old, new, "catalogue")
}

fn compared<T: Serialize>(old: &T, new: &T, beside: &str) -> Vec<Difference> {
    let (old, mut new) = (fields(old), fields(new));
    let mut differences = Vec::new();
    for (field, from) in old {
        let to = new.remove(&field).unwrap_or_default();
        if from != to && field != beside {
            differences.push(Difference { field, from, to });
        }
    }
    let added = new.into_iter().filter(|(field, _)| field != beside);
    differences.extend(added.map(|(field, to)| Difference { field, from: Value::Null, to }));
    differences
}

/// Every field with its path; lists stay whole, because their order says something.
fn fields<T: Serialize>(value: &T) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    let mut left = vec![(String::new(), serde_json::to_value(value).unwrap_or_default())];
    while let Some((path, value)) = left.pop() {
        match value {
            Value::Object(object) => {
                let below = |(name, value): (String, Value)| {
                    (if path.is_empty() { name } else { format!("{path}.{name}") }, value)
                };
                left.extend(object.into_iter().map(below));
            }
            value
            @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                fields.insert(path, value);
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::plan::Plan;

    #[test]
    fn each_field_that_differs_is_named_with_both_values() {
        let old = Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap();
        let text = Catalogue::DEFAULT_JSON
            .replace("\"version\": 1", "\"version\": 2")
            .replace("\"price_month\": 4900", "\"price_month\": 5900")
            .replace("\"thresholds\": [80, 100]", "\"thresholds\": [50, 100]")
            .replace("\"agents_max\": 25,", "\"agents_max\": null,");
        let new = Catalogue::from_json(&text).unwrap();
        let told: Vec<String> = differences(&old, &new).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "plans.pro.agents_max: 25 → null",
                "plans.pro.price_month: 4900 → 5900",
                "thresholds: [80,100] → [50,100]"
            ]
        );
        assert_eq!(differences(&old, &old), []);
        let terms = |catalogue| PlanTerms::of(catalogue, Plan::Pro).unwrap();
        let told: Vec<String> =
            terms_differences(&terms(&old), &terms(&new)).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["limits.agents_max: 25 → null", "limits.levels: [80,100] → [50,100]"]);
    }
}
