//! What Rust and the worker's scripts say to each other, as JSON with named fields.
//!
//! `edge/js/contract.d.ts` has the same for the scripts' compiler, and `edge/js/contract.examples.ts` an example of
//! each that a test here writes, so that neither side can change alone.

use serde::{Deserialize, Serialize};
use shared::home::HomeName;
use shared::home::call::Observing;
use shared::ids::{AgentId, KeyId};
use shared::json;
use shared::kind::Kind;

use crate::quick::Form;
use crate::step::Step;

/// The next thing to do with a request.
#[derive(Debug, Serialize)]
pub(crate) struct Instruction {
    /// What that is.
    #[serde(flatten)]
    pub(crate) next: Next,
    /// The home that wants background work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) restless: Option<HomeName>,
    /// Under what the same question can be asked again, and what its answer is then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) known: Option<Remembered>,
}

/// What is to be done next.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Next {
    Step(Step),
    Wait(Wait),
}

/// Wait for the home's word, and call `outcome`.
#[derive(Debug, Serialize)]
#[serde(tag = "do", rename = "wait")]
pub(crate) struct Wait {
    pub(crate) home: HomeName,
    pub(crate) token: u32,
}

/// A question that was allowed.
#[derive(Debug, Serialize)]
pub(crate) struct Remembered {
    /// Its number, to ask it `again` with; 0 says that all others are forgotten.
    pub(crate) number: usize,
    /// Whose leases decide it.
    pub(crate) home: HomeName,
    #[serde(flatten)]
    pub(crate) form: Form,
}

/// A contact that is to be sent.
#[derive(Debug, Serialize)]
pub(crate) struct Contact {
    /// The object that it goes to: the home itself, or a sub-home.
    pub(crate) object: String,
    /// What it says, in JSON.
    pub(crate) contact: String,
}

/// What was decided of a request that is forwarded, for [`answered`](crate::answered).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) home: HomeName,
    pub(crate) kind: Kind,
    pub(crate) agent: AgentId,
    pub(crate) key: KeyId,
    /// Under what the isolate keeps its units until it is answered; 0 is nothing.
    pub(crate) token: u32,
}

/// What became of a forwarded request: the upstream's status, and the texts of its headers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upstream {
    /// Zero says that it never answered.
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) tokens_in: String,
    #[serde(default)]
    pub(crate) tokens_out: String,
    #[serde(default)]
    pub(crate) anchors: String,
}

/// What that means.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Concluded {
    /// Whether the request is counted.
    pub(crate) counted: bool,
    /// The home that wants background work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) restless: Option<HomeName>,
    /// What the home has to be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) observe: Option<Observing>,
}

/// The worker's settings, by the texts of its variables; a variable that is not set is an empty text.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) key_secrets: String,
    pub(crate) signing_keys: String,
    pub(crate) routes: String,
    pub(crate) bill: String,
    pub(crate) shadow: String,
    pub(crate) metrics_token: String,
    pub(crate) region: String,
    /// Where the first request came from, as the platform tells it.
    pub(crate) continent: String,
    pub(crate) sub_homes: String,
    pub(crate) counters: String,
    pub(crate) redis_url: String,
    pub(crate) redis_replicas: String,
    pub(crate) redis_accept_loss: String,
}

/// How often a path was answered with a status.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answers {
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) count: u64,
}

impl Instruction {
    /// A step that wants nothing else.
    pub(crate) fn step(step: Step) -> Self {
        Self { next: Next::Step(step), restless: None, known: None }
    }

    /// Wait.
    pub(crate) fn wait(home: HomeName, token: u32) -> Self {
        Self { next: Next::Wait(Wait { home, token }), restless: None, known: None }
    }

    pub(crate) fn to_json(&self) -> String {
        json::write(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::decision::Ask;
    use shared::ids::Mode;
    use shared::ids::ProjectId;
    use shared::problem::{ErrorCode, Problem};
    use shared::units::Units;

    use super::*;
    use crate::step::{Answer, Caller, Deciding, Reading, Then, pair};

    /// The examples, which the scripts' compiler reads.
    const EXAMPLES: &str = "js/contract.examples.ts";

    fn name() -> HomeName {
        HomeName { project: ProjectId::parse("demo").unwrap(), mode: Mode::Live }
    }

    fn ticket() -> Ticket {
        let (agent, key) = (AgentId::parse("bot").unwrap(), KeyId::parse("k001").unwrap());
        Ticket { home: name(), kind: Kind::Verify, agent, key, token: 7 }
    }

    fn observing() -> Observing {
        let Ticket { home, kind, agent, key, .. } = ticket();
        let observed =
            shared::cell::Observed { tokens_in: Units::new(5), ..shared::cell::Observed::default() };
        Observing { home, key, kind, agent, observed }
    }

    fn told() -> Vec<Instruction> {
        let Ticket { home, kind, agent, key, .. } = ticket();
        let ask = Ask { key: key.clone(), kind, agent: agent.clone(), cost: 1, dry_run: false, held: false };
        let caller = || Caller { home: home.clone(), key: key.clone(), agent: agent.clone() };
        let headers = vec![pair(("RateLimit", "\"rpm\";r=1;t=2".to_owned()))];
        let forward = Step::Forward {
            headers,
            identity: vec![pair(("Palveron-Project", "demo".to_owned()))],
            ticket: ticket(),
            would_deny: String::new(),
            source: "included",
        };
        let limit = ["\"rpm\";r=", ";t=", ""].map(ToOwned::to_owned).to_vec();
        let form = Form { limit, body: vec!["{\"remaining\":".to_owned(), "}".to_owned()] };
        let known = Some(Remembered { number: 3, home: home.clone(), form });
        let allowed = Step::Answer(Answer::json("{\"remaining\":1}".to_owned()));
        let steps = [
            Step::Answer(Answer::problem(&Problem::new(ErrorCode::NotFound, "There is nothing."))),
            Step::ReadBody(Reading { bytes_max: 4096, caller: caller() }),
            Step::ReadObservation(Reading { bytes_max: 4096, caller: caller() }),
            Step::Observe(observing()),
            Step::Decide(Deciding::new(home.clone(), ask, Then::Check)),
            Step::ReadPolicy { bytes_max: 4096 },
            Step::ReadLeases { bytes_max: 4096 },
            Step::Leases { homes: vec![home.to_string()] },
            Step::Metrics,
            Step::Install { homes: vec![home.to_string()], version: 3 },
        ];
        let with = |step, known| Instruction { next: Next::Step(step), restless: Some(home.clone()), known };
        let mut all: Vec<Instruction> = steps.into_iter().map(Instruction::step).collect();
        all.extend([with(allowed, known), with(forward, None), Instruction::wait(home.clone(), 9)]);
        all
    }

    /// The file as it should be. Types that Rust only reads are given as the scripts write them.
    fn examples() -> String {
        let upstream = json!({"status": 200, "tokens_in": "5", "tokens_out": "6", "anchors": "7"});
        let settings = json!({
            "key_secrets": "", "signing_keys": "", "routes": "", "bill": "", "shadow": "", "metrics_token": "",
            "region": "", "continent": "", "sub_homes": "", "counters": "", "redis_url": "",
            "redis_replicas": "", "redis_accept_loss": "",
        });
        let answers = json!({"path": "/v1/check", "status": 200, "count": 3});
        // What is not a field, or is missing, is noticed on this side.
        assert!(json::read::<Upstream>(&upstream.to_string()).is_ok());
        assert!(json::read::<Settings>(&settings.to_string()).is_ok());
        assert!(json::read::<Answers>(&answers.to_string()).is_ok());
        let contact = Contact { object: "demo/live/eu/0".to_owned(), contact: "{}".to_owned() };
        let concluded = Concluded { counted: true, restless: Some(name()), observe: Some(observing()) };
        let value = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        let told: Vec<Value> = told().iter().map(|told| value(told.to_json())).collect();
        let listed = [
            ("Instruction[]", Value::Array(told)),
            ("Contact", value(json::write(&contact))),
            ("Ticket", value(json::write(&ticket()))),
            ("Upstream", upstream),
            ("Concluded", value(json::write(&concluded))),
            ("Settings", settings),
            ("Answers", answers),
        ];
        let mut text = "// What Rust writes and reads, by its own test; the scripts' compiler judges it by the types.\n\
            // Written by `cargo test -p meter-edge write_the_examples -- --ignored`.\n\n\
            import type { Answers, Concluded, Contact, Settings, Ticket, Instruction, Upstream } from './contract';\n"
            .to_owned();
        for (number, (kind, value)) in listed.iter().enumerate() {
            let shown = serde_json::to_string_pretty(value).unwrap();
            text += &format!("\nexport const example{number}: {kind} = {shown};\n");
        }
        text
    }

    #[test]
    fn the_scripts_know_what_rust_writes_and_reads() {
        let kept = std::fs::read_to_string(EXAMPLES).unwrap();
        assert_eq!(kept, examples(), "write them anew, and see whether the scripts' compiler takes them");
    }

    #[test]
    #[ignore = "writes the examples that the other test reads"]
    fn write_the_examples() {
        std::fs::write(EXAMPLES, examples()).unwrap();
    }

    #[test]
    fn a_setting_that_is_not_known_is_refused() {
        assert!(json::read::<Settings>(r#"{"regions":"eu"}"#).is_err());
    }
}
