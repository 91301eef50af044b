//! A worker of your own, in Rust, that decides each request with the meter's library.
//!
//! It holds leases of its own: most requests are decided without any I/O. The homes are the deployed
//! meter's Durable Objects, bound as `HOME` and `SUB_HOME`.

mod platform;

use std::cell::Cell;

use meter_edge::library::{self, Check, Kind};
use worker::{Context, Env, Request, Response, Result, event};

use platform::Cloudflare;

thread_local! {
    static CONFIGURED: Cell<bool> = const { Cell::new(false) };
}

/// Once in the life of an isolate.
fn configure(env: &Env) -> Result<()> {
    if !CONFIGURED.get() {
        let secrets = env.var("METER_KEY_SECRETS")?.to_string();
        library::configure(&secrets, platform::random_words()).map_err(worker::Error::RustError)?;
        CONFIGURED.set(true);
    }
    Ok(())
}

#[event(fetch)]
async fn fetch(mut request: Request, env: Env, ctx: Context) -> Result<Response> {
    configure(&env)?;
    let authorization = request.headers().get("authorization")?.unwrap_or_default();
    let agent = request.headers().get("x-agent")?;
    let meter = Cloudflare::new(env);
    let check = Check {
        key: authorization.trim_start_matches("Bearer "),
        kind: Kind::Verify,
        agent: agent.as_deref(),
        cost: 1,
        dry_run: false,
    };
    let decision = library::check(&meter, &check).await;
    if let Some(home) = decision.restless {
        // Reports what was served, after the answer has left.
        ctx.wait_until(async move { library::background(&meter, &home).await });
    }
    if !decision.allowed {
        let status = if decision.code == "unauthorized" { 401 } else { 429 };
        return Ok(Response::ok(format!("refused: {}", decision.code))?.with_status(status));
    }
    let said = request.text().await?.to_uppercase();
    Response::ok(format!("{said}, {} left", decision.remaining.unwrap_or_default()))
}
