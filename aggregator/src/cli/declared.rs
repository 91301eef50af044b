//! Projects and their webhooks as a file of plans says them: what differs from what is there, and what is done about it.
//!
//! What a file does not say stays as it is, and a project that it does not name is never touched. What is accepted is judged
//! by the interface, as for every other command. Slack's addresses are secrets, which belong into no file: those webhooks are
//! neither compared nor deleted.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use shared::ids::ProjectId;
use shared::plan::Plan;
use shared::problem::ErrorCode;
use shared::units::Units;

use super::call::Call;
use super::place::{Place, Unanswered};
use super::{print, project, webhooks};
use crate::ledger::crossing::Levels;
use crate::projects::project::RPM_MAX;
use crate::webhooks::endpoint::{DESCRIPTION_CHARS_MAX, Filter, Format};

/// The projects that a file names.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Declared(BTreeMap<ProjectId, Project>);

/// A project, as far as a file says something of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Project {
    plan: Plan,
    /// `null` is the plan's, here and below.
    #[serde(default, deserialize_with = "said")]
    rpm: Option<Option<u32>>,
    #[serde(default, deserialize_with = "said")]
    included: Option<Option<Units>>,
    #[serde(default, deserialize_with = "said")]
    thresholds: Option<Option<Vec<u8>>>,
    suspended: Option<bool>,
    /// All that there are, but for Slack's.
    webhooks: Option<Vec<Webhook>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    url: String,
    #[serde(default = "all")]
    events: Vec<String>,
    #[serde(default)]
    description: String,
}

fn all() -> Vec<String> {
    Filter::All.names().into_iter().map(str::to_owned).collect()
}

/// Tells what is `null` from what is not said.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Something that is not as a file says, and the call that makes it so.
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    project: ProjectId,
    /// `project` where there is none, a field of it, or the address of a webhook.
    field: String,
    from: Value,
    to: Value,
    /// What was made by it and is shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Value>,
    #[serde(skip)]
    call: Call,
}

impl Declared {
    /// How many projects are named.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whatever cannot be meant.
    pub(super) fn problems(&self) -> Vec<String> {
        self.0.iter().flat_map(|(id, project)| project.problems(&format!("projects.{id}"))).collect()
    }

    /// What differs from what is there.
    pub(super) async fn differences(&self, place: &Place) -> anyhow::Result<Vec<Difference>> {
        let mut found = Vec::new();
        for (id, declared) in &self.0 {
            let differences = declared.differences(id, place).await;
            found.extend(differences.with_context(|| format!("project {id}"))?);
        }
        Ok(found)
    }

    /// Makes what is there as the file says, and gives what was changed and what was left. Webhooks that the file lacks are
    /// deleted only with `delete`.
    pub(super) async fn apply(
        &self,
        place: &Place,
        delete: bool,
    ) -> anyhow::Result<(Vec<Difference>, Vec<Difference>)> {
        if let Place::Books(books) = place
            && self.0.values().any(|project| project.webhooks.is_some())
        {
            books.context.config.key_secrets()?;
        }
        let (mut done, mut left) = (Vec::new(), Vec::new());
        for (id, declared) in &self.0 {
            for mut one in declared.differences(id, place).await? {
                if one.is_deletion() && !delete {
                    left.push(one);
                    continue;
                }
                let answer = place.ask(&one.call).await;
                let answer = answer.with_context(|| format!("project {id}, {}", one.field))?;
                one.secret = answer.get("secret").cloned();
                done.push(one);
            }
        }
        Ok((done, left))
    }
}

impl Difference {
    fn is_deletion(&self) -> bool {
        self.call.method == axum::http::Method::DELETE
    }

    /// What it says to a person.
    pub(super) fn line(&self) -> String {
        let Self { project, field, from, to, secret, .. } = self;
        let secret =
            secret.as_ref().map(|secret| format!("; its secret, shown this once: {}", print::cell(secret)));
        format!("{project}: {field}: {from} → {to}{}", secret.unwrap_or_default())
    }
}

impl Project {
    fn problems(&self, place: &str) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(Some(rpm)) = self.rpm
            && !(1..=RPM_MAX).contains(&rpm)
        {
            problems
                .push(format!("{place}.rpm: got {rpm}, accepted is 1 to {RPM_MAX}, or null for the plan's"));
        }
        if let Some(Some(levels)) = &self.thresholds
            && let Err(problem) = Levels::new(levels.iter().copied())
        {
            problems.push(format!("{place}.thresholds: {problem}"));
        }
        let mut urls = BTreeSet::new();
        for webhook in self.webhooks.iter().flatten() {
            let place = format!("{place}.webhooks: {}", webhook.url);
            if !urls.insert(webhook.url.as_str()) {
                problems.push(format!("{place}: it is there twice"));
            }
            if Filter::parse(webhook.events.iter().map(String::as_str)).is_err() {
                problems.push(format!("{place}: events: accepted is {}", Filter::accepted()));
            }
            if !crate::text::is_line(&webhook.description, DESCRIPTION_CHARS_MAX) {
                problems
                    .push(format!("{place}: description: accepted are {DESCRIPTION_CHARS_MAX} characters"));
            }
        }
        problems
    }

    async fn differences(&self, id: &ProjectId, place: &Place) -> anyhow::Result<Vec<Difference>> {
        let Some(there) = found(place.ask(&Call::get(&project::path(id))).await)? else {
            let mut differences = vec![self.made(id)];
            // What it is to be beside its plan is compared with what it begins as.
            differences
                .extend(self.changed(id, &json!({ "plan": self.plan, "suspended": false, "own": {} })));
            differences.extend(self.webhooks(id, &[]));
            return Ok(differences);
        };
        let mut differences = self.changed(id, &there);
        if self.webhooks.is_some() {
            let listed = place.ask(&Call::get(&webhooks::path(None)).with_query("project", id)).await?;
            let listed = listed.get("webhooks").and_then(Value::as_array).cloned().unwrap_or_default();
            differences.extend(self.webhooks(id, &listed));
        }
        Ok(differences)
    }

    /// That there is no such project, and the call that makes it.
    fn made(&self, id: &ProjectId) -> Difference {
        let call = Call::post(&project::list_path()).field("id", id).field("plan", self.plan);
        Difference {
            project: id.clone(),
            field: "project".to_owned(),
            from: Value::Null,
            to: json!(self.plan),
            secret: None,
            call,
        }
    }

    /// The fields that are other than said, a call for each.
    fn changed(&self, id: &ProjectId, there: &Value) -> Vec<Difference> {
        let said = [
            ("plan", "/plan", Some(json!(self.plan))),
            ("rpm", "/own/rpm", self.rpm.map(|rpm| json!(rpm))),
            ("included", "/own/included", self.included.map(|included| json!(included))),
            ("thresholds", "/own/thresholds", self.thresholds.as_ref().map(sorted)),
            ("suspended", "/suspended", self.suspended.map(Value::from)),
        ];
        let changed = |(field, at, to): (&str, &str, Option<Value>)| {
            let (from, to) = (there.pointer(at).cloned().unwrap_or(Value::Null), to?);
            let call = Call::patch(&project::path(id)).field(field, &to);
            let field = field.to_owned();
            (from != to).then(|| Difference { project: id.clone(), field, from, to, secret: None, call })
        };
        said.into_iter().filter_map(changed).collect()
    }

    /// The webhooks that are to be made, changed and deleted.
    fn webhooks(&self, id: &ProjectId, there: &[Value]) -> Vec<Difference> {
        let Some(said) = &self.webhooks else { return Vec::new() };
        let is_ours =
            |one: &&Value| one.get("format").and_then(Value::as_str) != Some(Format::Slack.as_str());
        let mut left: BTreeMap<&str, &Value> =
            there.iter().filter(is_ours).filter_map(|one| Some((one.get("url")?.as_str()?, one))).collect();
        let difference = |field: &str, from: Value, to: Value, call: Call| Difference {
            project: id.clone(),
            field: format!("webhook {field}"),
            from,
            to,
            secret: None,
            call: call.with_query("project", id),
        };
        let mut differences = Vec::new();
        for webhook in said {
            let to = webhook.fields();
            let fill = |call: Call| to.iter().fold(call, |call, (name, value)| call.field(name, value));
            match left.remove(webhook.url.as_str()) {
                None => {
                    let call = fill(Call::post(&webhooks::path(None)).field("url", &webhook.url));
                    differences.push(difference(&webhook.url, Value::Null, Value::Object(to.clone()), call));
                }
                Some(one) => {
                    let from: Map<String, Value> = to
                        .keys()
                        .map(|name| (name.clone(), one.get(name).cloned().unwrap_or(Value::Null)))
                        .collect();
                    if from != to {
                        let call = fill(Call::patch(&webhooks::path(one.get("id").and_then(Value::as_str))));
                        let (from, to) = (Value::Object(from), Value::Object(to.clone()));
                        differences.push(difference(&webhook.url, from, to, call));
                    }
                }
            }
        }
        differences.extend(left.into_iter().map(|(url, one)| {
            let call = Call::delete(&webhooks::path(one.get("id").and_then(Value::as_str)));
            difference(url, json!({ "events": one.get("events") }), Value::Null, call)
        }));
        differences
    }
}

impl Webhook {
    /// What is said of it beside its address, as the interface shows it.
    fn fields(&self) -> Map<String, Value> {
        let events = Filter::parse(self.events.iter().map(String::as_str));
        // What is not accepted is refused by the interface, in its words.
        let events = events.map_or_else(|_| json!(self.events), |filter| json!(filter.names()));
        Map::from_iter([
            ("events".to_owned(), events),
            ("description".to_owned(), Value::from(self.description.as_str())),
        ])
    }
}

/// Levels in their order, as the interface shows them.
fn sorted(levels: &Option<Vec<u8>>) -> Value {
    json!(levels.as_ref().map(|levels| levels.iter().collect::<BTreeSet<_>>()))
}

/// What was answered, or nothing where there is no such project.
fn found(answer: anyhow::Result<Value>) -> anyhow::Result<Option<Value>> {
    match answer {
        Ok(there) => Ok(Some(there)),
        Err(error)
            if error.downcast_ref().is_some_and(|e: &Unanswered| e.says(ErrorCode::ProjectUnknown)) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
