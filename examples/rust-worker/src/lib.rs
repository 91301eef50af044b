//! A worker of your own, in Rust, whose requests the meter decides by leases that this isolate holds: most of them without
//! any I/O. The homes are the deployed meter's Durable Objects, bound as `HOME` and `SUB_HOME`.

use meter_edge::guard::{Meter, Verdict};
use worker::{Context, Env, Request, Response, Result, event};

#[event(fetch)]
async fn fetch(mut request: Request, env: Env, ctx: Context) -> Result<Response> {
    let passed = match Meter::from_env(&env)?.check(&request, &ctx).await? {
        Verdict::Passed(passed) => passed,
        Verdict::Refused(answer) => return Ok(answer),
    };
    let said = request.text().await?.to_uppercase();
    passed.onto(Response::ok(said)?)
}
