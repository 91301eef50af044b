//! A meter with an account at the simulated Stripe, and what customers, banks and the network do there.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::time::Timestamp;
use tests::client::{Answer, Call};
use tests::clock;
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};

/// Long enough for whatever has to happen, on a machine that does other things too.
const SOON: Duration = Duration::from_secs(45);

pub(super) struct Shop {
    pub(super) stack: Stack,
    pub(super) project: Project,
    /// How far the clocks of the meter and of Stripe are ahead of the machine's.
    moved_ms: Cell<u64>,
}

impl Shop {
    /// A shop with its prices at Stripe, and a project on that plan. There is no edge.
    pub(super) async fn open(plan: shared::plan::Plan) -> Result<Self> {
        Self::open_on(plan, None).await
    }

    /// As [`Shop::open`], on the second of a month, whatever day it is. For tests whose hours or days must lie in one
    /// month: what is used belongs to its month, and with the next one its quota begins anew.
    pub(super) async fn open_early_in_a_month(plan: shared::plan::Plan) -> Result<Self> {
        let shop = Self::open(plan).await?;
        let now = shop.now();
        let second = now.period().end().day().next().start();
        shop.later(&format!("{}s", now.seconds_until(second))).await?;
        Ok(shop)
    }

    /// As [`Shop::open`], with its books in that Postgres database where one is named.
    pub(super) async fn open_on(plan: shared::plan::Plan, database: Option<String>) -> Result<Self> {
        let options = Options { database, ..Options::payments() };
        Self::on(Stack::start_with(options).await?, plan)
    }

    pub(super) fn on(stack: Stack, plan: shared::plan::Plan) -> Result<Self> {
        stack.meter(&["stripe", "sync"])?;
        let project = Project::create(&stack, "demo", Limits { plan, rpm: None, included: None })?;
        Ok(Self { stack, project, moved_ms: Cell::default() })
    }

    /// Ends a passed test: all that was sent to Stripe was judged, and nothing has panicked.
    pub(super) async fn finish(self) -> Result<()> {
        super::conformance::all_were_judged(&self).await?;
        self.stack.finish()
    }

    /// Asks for a checkout as an admin, with an `Idempotency-Key` where one is given.
    pub(super) async fn wish(&self, body: &Value, key: Option<&str>) -> Result<Answer> {
        let call = Call::post("/api/v1/stripe/checkout", body.to_string()).json().bearer(&self.project.token);
        let call = match key {
            Some(key) => call.header("idempotency-key", key),
            None => call,
        };
        call.send(self.stack.aggregator()).await
    }

    /// Buys, and says which order and which session that is.
    pub(super) async fn buy(&self, body: &Value, key: Option<&str>) -> Result<(String, String)> {
        named(&self.wish(body, key).await?.ok()?)
    }

    pub(super) async fn buy_pack(&self, pack: &str) -> Result<(String, String)> {
        self.buy(&json!({ "pack": pack }), None).await
    }

    /// Subscribes by card and waits until the plan is there.
    pub(super) async fn subscribe(&self, plan: &str, interval: &str) -> Result<()> {
        let (_, session) = self.buy(&json!({ "plan": plan, "interval": interval }), None).await?;
        self.pay(&session, "card").await?;
        self.has_plan(plan).await
    }

    /// Asks for another plan of a live subscription, and confirms it on the hosted page.
    pub(super) async fn change(&self, plan: &str, interval: &str) -> Result<()> {
        let (_, portal) = self.buy(&json!({ "plan": plan, "interval": interval }), None).await?;
        self.control("POST", &format!("portal/{portal}"), &json!({ "action": "confirm" })).await.map(drop)
    }

    /// What the customer does in the portal, opened for payments in general.
    pub(super) async fn in_portal(&self, action: &str) -> Result<()> {
        let portal = self.get("/api/v1/stripe/portal").await?;
        let id = portal["url"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
        self.control("POST", &format!("portal/{id}"), &json!({ "action": action })).await.map(drop)
    }

    /// What the payer does on the hosted page.
    pub(super) async fn pay(&self, session: &str, method: &str) -> Result<Value> {
        self.control("POST", &format!("checkout/{session}/pay"), &json!({ "method": method })).await
    }

    /// A control call of the simulated Stripe.
    pub(super) async fn control(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let path = format!("/_fake/{path}");
        let call = if body.is_null() {
            Call::new(method.parse()?, &path)
        } else {
            Call::post(&path, body.to_string())
        };
        call.send(self.stack.stripe()).await?.ok()
    }

    /// Makes the next calls that begin so fail in some way.
    pub(super) async fn fault(&self, fault: &Value) -> Result<()> {
        self.control("POST", "faults", fault).await.map(drop)
    }

    /// Everything that we sent to Stripe so far, as `METHOD /path`.
    pub(super) async fn requests(&self, call: &str) -> Result<Vec<Value>> {
        let all = self.control("GET", "requests", &Value::Null).await?;
        let all = all["requests"].as_array().cloned().unwrap_or_default();
        Ok(all.into_iter().filter(|request| request["call"] == call).collect())
    }

    /// Reads at Stripe, as the account's owner would.
    pub(super) async fn at_stripe(&self, path: &str) -> Result<Value> {
        Call::get(&format!("/v1/{path}"))
            .bearer(self.stack.stripe_key())
            .send(self.stack.stripe())
            .await?
            .ok()
    }

    /// Changes something at Stripe, as the account's owner would.
    pub(super) async fn by_owner(&self, path: &str, form: &str) -> Result<Value> {
        Call::post(&format!("/v1/{path}"), form.to_owned())
            .bearer(self.stack.stripe_key())
            .header("content-type", "application/x-www-form-urlencoded")
            .send(self.stack.stripe())
            .await?
            .ok()
    }

    /// Turns auto-overage on, without a cap.
    pub(super) async fn overage_on(&self) -> Result<()> {
        let body = json!({ "auto_overage": true }).to_string();
        let call = Call::new("PUT".parse()?, "/api/v1/billing/plan").json().bearer(&self.project.token);
        call.with_body(body).send(self.stack.aggregator()).await?.ok::<Value>().map(drop)
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        Call::get(path).bearer(&self.project.token).send(self.stack.aggregator()).await?.ok()
    }

    /// Where the project stands.
    pub(super) async fn plan(&self) -> Result<Value> {
        self.get("/api/v1/billing/plan").await
    }

    pub(super) async fn has_plan(&self, plan: &str) -> Result<()> {
        let what = format!("the plan {plan}");
        eventually(&what, SOON, async || Ok((self.plan().await?["plan"] == plan).then_some(()))).await
    }

    /// The lots: (units, left), the oldest first.
    pub(super) async fn lots(&self) -> Result<Vec<(u64, u64)>> {
        let lots = self.get("/api/v1/billing/top-ups").await?;
        let lots = lots["lots"].as_array().cloned().unwrap_or_default();
        let number = |lot: &Value, name: &str| lot[name].as_u64().unwrap_or_default();
        Ok(lots.iter().map(|lot| (number(lot, "units"), number(lot, "left"))).collect())
    }

    pub(super) async fn has_lots(&self, expected: &[(u64, u64)]) -> Result<()> {
        let what = format!("the lots {expected:?}");
        let found =
            eventually(&what, SOON, async || Ok((self.lots().await? == expected).then_some(()))).await;
        match found {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(format!("there are {:?}", self.lots().await?))),
        }
    }

    /// Reports that so many units were used.
    pub(super) async fn used(&self, seq: u64, units: u64) -> Result<()> {
        let now = self.now();
        let flush = tests::ingest::flush_at("demo", seq, units, now);
        let answer =
            tests::ingest::signed_at(&self.stack, &flush, now)?.send(self.stack.aggregator()).await?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(())
    }

    /// What the clocks of the meter and of Stripe show.
    pub(super) fn now(&self) -> Timestamp {
        clock::now().plus_ms(self.moved_ms.get())
    }

    /// Moves the clocks of the meter and of Stripe: first the meter's, if it runs, so that it takes what Stripe
    /// delivers then.
    pub(super) async fn later(&self, by: &str) -> Result<()> {
        // The command would tell Stripe at once, whose deliveries the meter then refuses until it has followed.
        let untold = [("STRIPE_API_BASE", "")];
        let moved = self.stack.meter_with(&["clock", "advance", by, "--json"], &untold)?;
        let moved: Value = serde_json::from_str(&moved)?;
        let offset_ms = moved["offset_ms"].as_u64().context("clock advance names no offset_ms")?;
        self.moved_ms.set(offset_ms);
        eventually("the meter's clock", SOON, async || self.has_moved().await).await?;
        self.control("POST", "clock", &json!({ "offset_ms": offset_ms })).await.map(drop)
    }

    /// The answer to the first `call` is lost, and so are those that follow it until the meter is killed.
    pub(super) async fn loses(&self, call: &str, delay_ms: u32) -> Result<()> {
        self.fault(&json!({ "matches": call, "times": 1, "drop_after": true })).await?;
        self.fault(&json!({ "matches": call, "times": 1, "drop": true, "delay_ms": delay_ms })).await
    }

    /// The meter dies after its first `call`, and comes back when nobody at Stripe remembers the key: a day later.
    pub(super) async fn comes_back_forgotten(&mut self, call: &str) -> Result<()> {
        eventually("the first call", SOON, async || {
            Ok((!self.requests(call).await?.is_empty()).then_some(()))
        })
        .await?;
        self.stack.kill(Part::Aggregator)?;
        self.control("DELETE", "idempotency", &Value::Null).await?;
        self.later("25h").await?;
        self.stack.begin(&[Part::Aggregator]).await
    }

    /// Whether the meter takes a delivery of now; one that does not run has nothing to wait for.
    async fn has_moved(&self) -> Result<Option<()>> {
        let body = json!({
            "id": format!("evt_clock_{}", self.moved_ms.get()), "type": "product.updated", "livemode": false,
            "data": { "object": { "id": "prod" } },
        });
        let answer = self.deliver(body.to_string().as_bytes()).await;
        Ok(answer.map_or(true, |answer| answer.status == 200).then_some(()))
    }

    /// Waits until every delivery has arrived and every event is settled.
    pub(super) async fn is_quiet(&self) -> Result<()> {
        eventually("all events settled", SOON, async || {
            let waiting = self.control("GET", "deliveries", &Value::Null).await?;
            Ok((waiting["waiting"] == 0 && self.parked()?["waiting"] == 0).then_some(()))
        })
        .await
    }

    pub(super) async fn metrics(&self) -> Result<String> {
        Ok(Call::get("/metrics").send(self.stack.aggregator()).await?.text())
    }

    /// The number of a metric.
    pub(super) async fn metric(&self, name: &str) -> Result<u64> {
        let metrics = self.metrics().await?;
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        Ok(line.with_context(|| format!("no metric {name}"))?.parse()?)
    }

    /// What operators see as held or parked.
    pub(super) fn parked(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.stack.meter(&["stripe", "parked", "--json"])?)?)
    }

    /// Delivers a body signed with the endpoint's secret, as of now.
    pub(super) async fn deliver(&self, body: &[u8]) -> Result<Answer> {
        let header = signature(self.stack.stripe_secret(), &self.now().as_seconds().to_string(), body);
        self.deliver_as(body, &header).await
    }

    pub(super) async fn deliver_as(&self, body: &[u8], header: &str) -> Result<Answer> {
        Call::post("/api/v1/stripe/webhook", body.to_vec())
            .header("stripe-signature", header)
            .send(self.stack.aggregator())
            .await
    }
}

/// The order and the session of a checkout's answer.
pub(super) fn named(answer: &Value) -> Result<(String, String)> {
    let text = |name: &str| answer[name].as_str().map(str::to_owned).with_context(|| format!("{answer}"));
    let url = text("url")?;
    let session = url.rsplit('/').next().unwrap_or_default().to_owned();
    Ok((text("id")?, session))
}

/// The header that Stripe would send.
pub(super) fn signature(secret: &str, time: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mut mac = mac.expect("a key of any length will do");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={hex}")
}
