//! The calls of the edge: `/v1/check`, `/v1/quota`, `/v1/observe` and gateway calls. The gate says what is asked, the
//! home decides, and neither is written here.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;
use meter_edge::premise::{self, Answer, Next, Premise, Question};
use shared::decision::Verdict;
use shared::denials::{DenialReason, Denials};
use shared::ids::AgentId;
use shared::kind::Kind;
use shared::problem::ErrorCode;
use shared::time::Timestamp;

use super::{App, answer, body, is_of_a_page, problem};

pub(super) async fn call(State(app): State<App>, request: Request) -> Response {
    let path = request.uri().path();
    // What is forwarded is judged by whom it is forwarded to.
    if matches!(path, "/v1/check" | "/v1/observe") && is_of_a_page(&request) {
        return problem(
            ErrorCode::Forbidden,
            "Requests by pages of a browser (those with an Origin) are not accepted here.",
        );
    }
    let (head, body) = request.into_parts();
    let next = enter(&app, &head);
    app.follow(next, head, body).await
}

fn enter(app: &App, head: &Parts) -> Next {
    let text = |name: header::HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let agent = head.headers.get("palveron-agent").map(|value| String::from_utf8_lossy(value.as_bytes()));
    let bytes: usize =
        head.headers.iter().map(|(name, value)| name.as_str().len().saturating_add(value.len())).sum();
    let length = text(header::CONTENT_LENGTH).map_or(0, |length| length.parse().unwrap_or(u32::MAX));
    app.premise().enter(&premise::Request {
        method: head.method.as_str(),
        target: head.uri.path_and_query().map_or("/", |target| target.as_str()),
        host: text(header::HOST).unwrap_or_default(),
        agent: agent.as_deref().unwrap_or_default(),
        header_bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        body_bytes: length,
        upgrades: head.headers.contains_key(header::UPGRADE),
    })
}

impl App {
    /// Does what comes next until there is an answer.
    async fn follow(&self, next: Next, head: Parts, body: Body) -> Response {
        let next = match next {
            Next::Read(reading) => {
                let bytes_max = usize::try_from(reading.bytes_max()).unwrap_or(usize::MAX);
                match body::text(body, bytes_max).await {
                    Ok(text) => {
                        let next = self.premise().read(reading, &text);
                        return self.decide(next).await.map_or_else(
                            |forward| {
                                // A check and an observation are never forwarded.
                                drop(forward);
                                answer(Premise::unavailable())
                            },
                            answer,
                        );
                    }
                    Err(refused) => return answer(refused),
                }
            }
            other @ (Next::Answer(_) | Next::Decide(_) | Next::Observe(_) | Next::Forward(_)) => other,
        };
        match self.decide(next).await {
            Ok(told) => answer(told),
            Err(forward) => self.forward(*forward, head, body).await,
        }
    }

    /// Has the home decide; what is allowed may be to be forwarded.
    async fn decide(&self, next: Next) -> Result<Answer, Box<premise::Forward>> {
        match next {
            Next::Decide(question) => {
                let agent = self.agents().of(&question.ask().agent);
                self.ask(question.for_agent(agent)).await
            }
            Next::Observe(mut observing) => {
                observing.agent = self.agents().of(&observing.agent);
                let noted = self.0.meter.act(|core, now| {
                    core.home.observe(
                        now,
                        &observing.key,
                        (observing.kind, &observing.agent),
                        observing.observed,
                    )
                });
                let Ok(Ok(denial)) = noted.await else { return Ok(Premise::unavailable()) };
                let next = self.premise().noted(&observing, denial);
                Ok(told(next))
            }
            Next::Answer(answer) => Ok(answer),
            Next::Forward(forward) => Err(Box::new(forward)),
            // A body is read once.
            Next::Read(_) => Ok(Premise::unavailable()),
        }
    }

    async fn ask(&self, question: Question) -> Result<Answer, Box<premise::Forward>> {
        let decided: Result<Option<(Verdict, Timestamp)>, _> = self
            .0
            .meter
            .act(|core, now| core.home.decide(now, question.ask()).ok().map(|verdict| (verdict, now)))
            .await;
        let Ok(Some((verdict, now))) = decided else {
            let next = self.premise().undecided(question, self.0.meter.clock().now());
            return match next {
                Next::Forward(forward) => Err(Box::new(forward)),
                next @ (Next::Answer(_) | Next::Read(_) | Next::Decide(_) | Next::Observe(_)) => {
                    Ok(told(next))
                }
            };
        };
        if verdict.denial.is_none() && !question.ask().dry_run {
            self.0.metrics.counted(question.ask().cost.into());
        }
        let next = self.premise().conclude(question, &verdict, now);
        match next {
            Next::Forward(forward) => {
                if let Some(reason) = forward.let_through {
                    self.let_through((forward.kind, &forward.agent), reason);
                }
                Err(Box::new(forward))
            }
            next @ (Next::Answer(_) | Next::Read(_) | Next::Decide(_) | Next::Observe(_)) => {
                let answer = told(next);
                if let Some((kind, agent, reason)) = &answer.let_through {
                    self.let_through((*kind, agent), *reason);
                }
                if let Some((kind, agent, reason)) = &answer.refused {
                    self.0.metrics.denied();
                    // Nobody is billed for it, so that nobody waits for its commit.
                    self.0.meter.note(|core, now| core.home.count_denied(now, (*kind, agent), *reason));
                }
                Ok(answer)
            }
        }
    }

    /// Counts what shadow mode let through. Nobody is billed for it, so that nobody waits for its commit.
    fn let_through(&self, (kind, agent): (Kind, &AgentId), reason: DenialReason) {
        let denials = Denials::shadowed(reason, 1);
        self.0.meter.note(|core, now| core.home.count_denials(now, (kind, agent), denials));
    }
}

fn told(next: Next) -> Answer {
    match next {
        Next::Answer(answer) => answer,
        Next::Read(_) | Next::Decide(_) | Next::Observe(_) | Next::Forward(_) => Premise::unavailable(),
    }
}
