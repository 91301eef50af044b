//! Envoy's rate limit quota service: its streams, and what is done for them. What is to be done is decided by
//! [`assignments`](crate::assignments).

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_response::BucketAction;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_response::bucket_action::{
    AbandonAction, BucketAction as Told, QuotaAssignmentAction,
};
use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_service_server::RateLimitQuotaService;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::{
    BucketId as Named, RateLimitQuotaResponse, RateLimitQuotaUsageReports,
};
use envoy_types::pb::envoy::r#type::v3::rate_limit_strategy::{BlanketRule, Strategy};
use envoy_types::pb::envoy::r#type::v3::{RateLimitStrategy, TokenBucket};
use envoy_types::pb::google::protobuf::{Duration as Lasting, UInt32Value};
use futures_util::future::{BoxFuture, Shared};
use meter_edge::remote::{Answer, Reserved};
use shared::decision::{Ask, Numbers};
use shared::problem::ErrorCode;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::assignments::{Action, Book, BucketId, Effect, FIRST_UNITS, Orphans, Taken};
use crate::descriptors::Question;
use crate::meter::Meter;
use crate::metrics::{Metrics, OfQuotas};
use crate::random;
use crate::response::is_undecided;

/// How often a stream is looked after without being written to.
const TICK: Duration = Duration::from_millis(100);
/// Answers that wait for an Envoy that does not read. One that has so many is gone.
const ANSWERS_MAX: usize = 256;
/// How long a stream goes on once this process is told to stop; what Envoy has served is reported by then.
pub const FINISH: Duration = Duration::from_millis(FINISH_MS);
/// The same in milliseconds.
const FINISH_MS: u64 = 13_000;
/// A token bucket is filled again after a year, when its assignment has long ended: Envoy knows none that is not.
const FILL_S: i64 = 31_536_000;
/// After how many milliseconds whoever has used up the month, or is not served at all, may ask again: upgrades and new
/// keys are known by then.
const ASK_AGAIN_MS: u64 = 5_000;
/// The same where no home answers.
const UNAVAILABLE_MS: u64 = 1_000;
/// The first assignment is that part of what is left, and at most so many units.
const FIRST_PART: u64 = 100;
/// The same.
const FIRST_UNITS_MAX: u64 = 500;
/// How many times to ask for less where there is not as much.
const TRIES_MAX: u32 = 12;

/// When this process is told to stop.
pub type Stop = Shared<BoxFuture<'static, ()>>;

/// The service. Clones are the same.
#[derive(Debug, Clone)]
pub struct Quotas(Arc<Parts>);

struct Parts {
    meter: Meter,
    metrics: Metrics,
    orphans: Mutex<Orphans<Reserved>>,
    stop: Stop,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// One Envoy's stream.
struct Line {
    quotas: Quotas,
    book: Book<Reserved>,
    answers: mpsc::Sender<Result<RateLimitQuotaResponse, Status>>,
    takes: mpsc::UnboundedSender<(BucketId, Taken<Reserved>)>,
}

impl Quotas {
    /// One that takes units of that meter, until it is told to stop.
    #[must_use]
    pub fn new(meter: Meter, metrics: Metrics, stop: Stop) -> Self {
        Self(Arc::new(Parts { meter, metrics, orphans: Mutex::default(), stop }))
    }

    fn orphans(&self) -> MutexGuard<'_, Orphans<Reserved>> {
        self.0.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forfeit(&self, parts: Vec<(Reserved, u64)>) {
        for (part, units) in parts {
            self.0.meter.forfeit(&part);
            self.0.metrics.quotas(OfQuotas::Forfeited, units);
        }
    }

    fn served(&self, part: &Reserved, units: u64) {
        let counted = self.0.meter.served(part, units);
        self.0.metrics.quotas(OfQuotas::Served, counted);
    }

    /// Takes units for a bucket, as many as there are.
    async fn take(&self, id: &BucketId, units: u64) -> Taken<Reserved> {
        let entries = id.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let Ok(question) = Question::of_entries(entries) else {
            self.0.metrics.assigned(ErrorCode::FieldRejected.as_str(), 0);
            return Taken::Refused { wait_ms: ASK_AGAIN_MS };
        };
        let (mut parts, mut wanted, mut rest, mut tries) = (Vec::new(), units, units, 0);
        let (mut left, mut month) = (0, 0);
        while rest > 0 {
            let cost = u32::try_from(rest).unwrap_or(u32::MAX).min(Ask::COST_MAX);
            let answer = self.0.meter.reserve(&Question { cost, ..question.clone() }).await;
            if answer.allowed {
                let Some(reserved) = answer.reserved else {
                    self.give_back(parts);
                    self.0.metrics.assigned(&answer.would_deny, 0);
                    return Taken::Shadowed;
                };
                parts.push((*reserved, u64::from(cost)));
                left = answer.numbers.as_ref().map_or(0, of_anybody);
                month = answer.numbers.as_ref().map_or(0, of_month);
                wanted = wanted.saturating_sub(u64::from(cost));
                if units == FIRST_UNITS && parts.len() == 1 {
                    // The demand is known only in five seconds; where there is much, more of it is no risk.
                    wanted = wanted.max(left.div_euclid(FIRST_PART).min(FIRST_UNITS_MAX));
                }
                // What is in hand here may not be among what is known to be left.
                rest = wanted.min(left.max(1));
                continue;
            }
            let known = answer.numbers.as_ref().map_or(0, of_anybody).max(1);
            tries += 1;
            rest = if tries < TRIES_MAX { u64::from(cost).div_euclid(2).min(known) } else { 0 };
            if rest == 0 && parts.is_empty() {
                self.0.metrics.assigned(&answer.code, 0);
                return refused(&answer);
            }
        }
        let taken = parts.iter().fold(0, |sum, (_, units)| sum + units);
        self.0.metrics.assigned("ok", taken);
        Taken::Units { parts, left, month }
    }

    fn give_back(&self, parts: Vec<(Reserved, u64)>) {
        for (part, units) in parts {
            self.0.meter.give_back(&part);
            self.0.metrics.quotas(OfQuotas::Returned, units);
        }
    }

    async fn serve(
        self,
        mut reports: Streaming<RateLimitQuotaUsageReports>,
        answers: mpsc::Sender<Result<RateLimitQuotaResponse, Status>>,
        serial: u32,
    ) {
        let (takes, mut taken) = mpsc::unbounded_channel();
        let mut line = Line { quotas: self.clone(), book: Book::new(serial), answers, takes };
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut stop, mut until) = (Some(self.0.stop.clone()), None);
        self.0.metrics.streams(1);
        loop {
            let stopped = async {
                match &mut stop {
                    Some(stop) => stop.await,
                    None => std::future::pending().await,
                }
            };
            let now = || self.0.meter.now();
            let effects = tokio::select! {
                report = reports.message() => match report {
                    Ok(Some(report)) => {
                        let usages = usages(report, &self.0.metrics);
                        line.book.report(now(), usages)
                    }
                    Ok(None) | Err(_) => break,
                },
                Some((id, taken)) = taken.recv() => line.book.taken(now(), &id, taken),
                _ = ticks.tick() => line.book.tick(now()),
                () = stopped => {
                    (stop, until) = (None, Some(now().plus_ms(FINISH_MS)));
                    line.book.close(now())
                }
            };
            let is_over = until.is_some_and(|until| line.book.is_empty() || now() >= until);
            if !line.carry_out(effects) || is_over {
                break;
            }
        }
        self.0.metrics.streams(-1);
        // What is being taken goes back when nobody is told of it.
        drop(taken);
        let Line { book, answers, .. } = line;
        self.end(book, answers).await;
    }

    /// Waits for what a stream has left to be reported on another.
    async fn end(&self, book: Book<Reserved>, answers: mpsc::Sender<Result<RateLimitQuotaResponse, Status>>) {
        let now = self.0.meter.now();
        let left = book.end();
        if left.is_empty() {
            return;
        }
        for (id, parts) in left {
            self.orphans().add(now, id, parts);
        }
        // Envoy comes back once it sees that its stream has ended.
        drop(answers);
        sleep(Duration::from_millis(Orphans::<Reserved>::WAIT_MS)).await;
        let gone = self.orphans().expire(self.0.meter.now());
        self.forfeit(gone);
    }
}

impl Line {
    /// Does what is to be done. False where Envoy cannot be told.
    fn carry_out(&self, effects: Vec<Effect<Reserved>>) -> bool {
        let quotas = &self.quotas;
        let mut actions = Vec::new();
        for effect in effects {
            match effect {
                Effect::Served(part, units) => quotas.served(&part, units),
                Effect::GiveBack(part, units) => quotas.give_back(vec![(part, units)]),
                Effect::Forfeit(part, units) => quotas.forfeit(vec![(part, units)]),
                Effect::Unassigned(id, units) => {
                    let of_others = quotas.orphans().served(&id, units);
                    let known = of_others.iter().fold(0, |sum, (_, units)| sum + units);
                    for (part, units) in of_others {
                        quotas.served(&part, units);
                    }
                    quotas.0.metrics.quotas(OfQuotas::Unassigned, units.saturating_sub(known));
                }
                Effect::Take(id, units) => self.begin_to_take(id, units),
                Effect::Tell(id, action) => actions.push(told(id, action)),
            }
        }
        actions.is_empty()
            || self.answers.try_send(Ok(RateLimitQuotaResponse { bucket_action: actions })).is_ok()
    }

    fn begin_to_take(&self, id: BucketId, units: u64) {
        let (quotas, takes) = (self.quotas.clone(), self.takes.clone());
        tokio::spawn(async move {
            let taken = quotas.take(&id, units).await;
            if let Err(mpsc::error::SendError((_, Taken::Units { parts, .. }))) = takes.send((id, taken)) {
                quotas.give_back(parts);
            }
        });
    }
}

#[tonic::async_trait]
impl RateLimitQuotaService for Quotas {
    type StreamRateLimitQuotasStream =
        Pin<Box<dyn Stream<Item = Result<RateLimitQuotaResponse, Status>> + Send>>;

    async fn stream_rate_limit_quotas(
        &self,
        request: Request<Streaming<RateLimitQuotaUsageReports>>,
    ) -> Result<Response<Self::StreamRateLimitQuotasStream>, Status> {
        let serial = random::words().map_err(|error| Status::internal(error.to_string()))?[0];
        let (answers, told) = mpsc::channel(ANSWERS_MAX);
        tokio::spawn(self.clone().serve(request.into_inner(), answers, serial));
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }
}

fn usages(report: RateLimitQuotaUsageReports, metrics: &Metrics) -> Vec<(BucketId, u64, u64)> {
    let usages = report.bucket_quota_usages.into_iter().filter_map(|usage| {
        metrics.quotas(OfQuotas::Denied, usage.num_requests_denied);
        // Those that its configuration denies without asking have no name.
        let id: BucketId = usage.bucket_id.filter(|id| !id.bucket.is_empty())?.bucket.into_iter().collect();
        Some((id, usage.num_requests_allowed, usage.num_requests_denied))
    });
    usages.collect()
}

/// What is left for anybody, in this minute and in the month.
fn of_anybody(numbers: &Numbers) -> u64 {
    of_month(numbers).min(numbers.rpm_remaining.into())
}

fn of_month(numbers: &Numbers) -> u64 {
    numbers.remaining().map_or(u64::MAX, |units| units.get())
}

/// Why nothing was taken, and when to ask again.
fn refused(answer: &Answer) -> Taken<Reserved> {
    if is_undecided(answer) {
        return Taken::None { wait_ms: UNAVAILABLE_MS };
    }
    let is = |code: ErrorCode| answer.code == code.as_str();
    let header = answer.headers.iter().find(|(name, _)| name == "Retry-After");
    let wait_s: Option<u64> = header.and_then(|(_, value)| value.parse().ok());
    let wait_ms = wait_s.map_or(ASK_AGAIN_MS, |seconds| seconds.saturating_mul(1_000));
    if is(ErrorCode::RateLimited) || is(ErrorCode::QuotaContended) {
        Taken::None { wait_ms }
    } else if is(ErrorCode::QuotaExhausted) || is(ErrorCode::AgentLimit) {
        Taken::None { wait_ms: wait_ms.min(ASK_AGAIN_MS) }
    } else {
        Taken::Refused { wait_ms: ASK_AGAIN_MS }
    }
}

fn told(id: BucketId, action: Action) -> BucketAction {
    let assignment = |life_s: u64, strategy: Strategy| {
        Told::QuotaAssignmentAction(QuotaAssignmentAction {
            assignment_time_to_live: Some(lasting(life_s)),
            rate_limit_strategy: Some(RateLimitStrategy { strategy: Some(strategy) }),
        })
    };
    let action = match action {
        Action::Serve { units, serial, life_s } => {
            let nanos = i32::try_from(serial).unwrap_or(i32::MAX);
            let once = TokenBucket {
                max_tokens: u32::try_from(units).unwrap_or(u32::MAX),
                tokens_per_fill: Some(UInt32Value { value: 1 }),
                fill_interval: Some(Lasting { seconds: FILL_S, nanos }),
            };
            assignment(life_s, Strategy::TokenBucket(once))
        }
        Action::AllowAll(life_s) => assignment(life_s, Strategy::BlanketRule(BlanketRule::AllowAll.into())),
        Action::DenyAll(life_s) => assignment(life_s, Strategy::BlanketRule(BlanketRule::DenyAll.into())),
        Action::Abandon => Told::AbandonAction(AbandonAction {}),
    };
    BucketAction { bucket_id: Some(Named { bucket: id.into_iter().collect() }), bucket_action: Some(action) }
}

fn lasting(seconds: u64) -> Lasting {
    Lasting { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 }
}
