//! Envoy's rate limit service: one question, one answer.

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tonic::{Request, Response, Status};

use crate::clock::Clock;
use crate::descriptors::Question;
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::response::{is_undecided, refusal, response};

/// More descriptors than anybody can mean; each is answered with a status.
const DESCRIPTORS_MAX: usize = 100;

/// The service.
#[derive(Debug)]
pub struct RateLimits {
    meter: Meter,
    metrics: Metrics,
}

impl RateLimits {
    /// One that asks that meter.
    #[must_use]
    pub fn new(meter: Meter, metrics: Metrics) -> Self {
        Self { meter, metrics }
    }
}

#[tonic::async_trait]
impl RateLimitService for RateLimits {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let RateLimitRequest { descriptors, hits_addend, .. } = request.into_inner();
        if descriptors.is_empty() || descriptors.len() > DESCRIPTORS_MAX {
            let got = descriptors.len();
            let accepts = format!("got {got} descriptors, accepted are 1 to {DESCRIPTORS_MAX}");
            return Err(Status::invalid_argument(accepts));
        }
        let clock = Clock::default();
        let (answer, cost) = match Question::of(&descriptors, hits_addend) {
            Ok(question) => (self.meter.decide(&question).await, question.cost),
            Err(problem) => (refusal(&problem), 0),
        };
        self.metrics.decided(&answer, cost, clock.elapsed());
        if is_undecided(&answer) {
            // What happens then is for whoever runs Envoy to say: failure_mode_deny.
            return Err(Status::unavailable("home_unavailable: the project's home could not be asked"));
        }
        Ok(Response::new(response(answer, descriptors.len())))
    }
}
