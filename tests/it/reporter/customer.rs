//! A customer under a contract: the real books, a project, and a reporter whose way to them can be cut.
//!
//! The books begin in the first minute of a month, so that a test says on which day of it something happens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use shared::time::{Period, Timestamp};
use tests::client::{Answer, Call};
use tests::clock;
use tests::on_premise::OnPremise;
use tests::poll::eventually;
use tests::stack::{Options, Part, Stack};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

pub(super) const HOUR_MS: u64 = 3_600_000;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;
/// Jobs look at once when the clock moves; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

const CONTRACTS: &str = "/api/v1/admin/contracts";
const REPORTERS: &str = "/api/v1/admin/reporters";

const SELLER: &str = r#"{"name":"Meter GmbH","party":{"street":"Weg 1","city":"Berlin","postcode":"10115","country":"DE",
"vat_id":"DE123456789","email":"billing@example.com"},"iban":"DE02120300000000202051","vat_percent":19,"due_days":14}"#;

/// The way to the books, which can be cut and healed.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) address: SocketAddr,
    open: Arc<AtomicBool>,
}

impl Line {
    async fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (address, open) = (listener.local_addr()?, Arc::new(AtomicBool::new(true)));
        let is_open = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                // Whoever comes while it is cut hears nothing and loses the connection.
                if is_open.load(Ordering::SeqCst) {
                    tokio::spawn(async move {
                        let mut there = TcpStream::connect(target).await?;
                        copy_bidirectional(&mut here, &mut there).await
                    });
                }
            }
        });
        Ok(Self { address, open })
    }

    pub(super) fn cut(&self) {
        self.open.store(false, Ordering::SeqCst);
    }

    pub(super) fn heal(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

/// The customer.
#[derive(Debug)]
pub(super) struct Customer {
    pub(super) stack: Stack,
    pub(super) line: Line,
    pub(super) reporter: OnPremise,
    /// The month in whose first minute everything begins.
    pub(super) month: Period,
    operator: String,
    owner: String,
    pub(super) offset_ms: u64,
}

impl Customer {
    /// Volume 1,000 units; overage 20.00 per 1,000 up to 500 and 10.00 beyond; minimum 1,200. The reporter `berlin` runs.
    pub(super) async fn new() -> Result<Self> {
        let mut customer = Self::without_reporter().await?;
        let key = customer.reporter_key("berlin").await?;
        customer.reporter.set("TELEMETRY_HMAC_KEY", &key);
        customer.start().await?;
        customer.reporter.is_heard().await?;
        Ok(customer)
    }

    /// The same without a reporter; `customer.reporter` has no key yet.
    pub(super) async fn without_reporter() -> Result<Self> {
        let stack = Stack::start_with(Options {
            moving_clock: true,
            aggregator_settings: vec![("METER_SELLER", SELLER.to_owned())],
            later: vec![Part::Edge, Part::Upstream],
            ..Options::default()
        })
        .await?;
        let line = Line::to(stack.aggregator()).await?;
        let reporter = OnPremise::new(&format!("http://{}", line.address))?;
        let token = |who: &[&str]| -> Result<String> {
            let made: Value =
                serde_json::from_str(&stack.meter(&[&["token", "create", "--json"], who].concat())?)?;
            Ok(made["token"].as_str().context("no token")?.to_owned())
        };
        let now = clock::now();
        let month = now.period().next();
        let operator = token(&["--operator"])?;
        stack.meter(&["project", "create", "acme", "--plan", "community"])?;
        let owner = token(&["--project", "acme", "--role", "owner"])?;
        let mut customer = Self { stack, line, reporter, month, operator, owner, offset_ms: 0 };
        customer.advance(month.start().ms_since(now).saturating_add(5_000))?;
        let terms = json!({
            "id": "acme", "customer": "Acme GmbH", "projects": ["acme"], "volume": 1_000,
            "tiers": [{ "up_to": 500, "per_1000": 2_000 }, { "up_to": null, "per_1000": 1_000 }],
            "minimum": 1_200, "first_day": month.first_day(), "sla": "99.9 percent a month",
            "buyer": { "street": "Am Wall 3", "city": "Bremen", "postcode": "28195", "country": "DE",
                       "vat_id": "DE987654321", "reference": "4711" },
        });
        customer.make(CONTRACTS, &terms).await?;
        Ok(customer)
    }

    /// Starts the reporter, at the time of the books.
    pub(super) async fn start(&mut self) -> Result<()> {
        self.reporter.start().await?;
        self.reporter.move_clock(self.offset_ms).await
    }

    /// Makes a reporter under the contract; the text of its key.
    pub(super) async fn reporter_key(&self, id: &str) -> Result<String> {
        let body = json!({ "id": id, "rpm": 6_000 });
        self.make(&format!("{CONTRACTS}/acme/reporters"), &body).await?;
        let made = self.make(&format!("{REPORTERS}/{id}/keys"), &json!({})).await?;
        Ok(made["key"].as_str().context("no key")?.to_owned())
    }

    /// Moves every clock by that much more.
    pub(super) fn advance(&mut self, ms: u64) -> Result<()> {
        let by = format!("{}s", ms.div_euclid(1_000));
        let reporter = format!("http://{}", self.reporter.address());
        let moved =
            self.stack.meter_with(&["clock", "advance", &by, "--json"], &[("REPORTER_URL", &reporter)])?;
        let moved: Value = serde_json::from_str(&moved)?;
        self.offset_ms = moved["offset_ms"].as_u64().context("no offset")?;
        Ok(())
    }

    /// Moves every clock up to that instant.
    pub(super) fn advance_to(&mut self, at: Timestamp) -> Result<()> {
        // A second is the least by which a clock is moved.
        self.advance(at.ms_since(self.now()).max(1_000))
    }

    /// The time of the books.
    pub(super) fn now(&self) -> Timestamp {
        clock::now().plus_ms(self.offset_ms)
    }

    /// Keeps the reporter heard, every two days, up to that instant.
    pub(super) async fn alive_until(&mut self, until: Timestamp) -> Result<()> {
        while self.now() < until {
            let next = self.now().plus_ms(2 * DAY_MS).min(until.plus_ms(1_000));
            self.advance_to(next)?;
            self.report().await?;
        }
        Ok(())
    }

    /// Has the reporter report now; a receipt must come.
    pub(super) async fn report(&self) -> Result<()> {
        let outcome = self.reporter.send().await?;
        ensure!(outcome["failure"].is_null(), "{outcome}");
        Ok(())
    }

    /// What the month of the contract came to so far: of each document what was counted, billed, added, and the sum.
    pub(super) async fn documents(&mut self, count: usize) -> Result<Vec<Value>> {
        let path = format!("{CONTRACTS}/acme/documents");
        let month = self.month.to_string();
        eventually("the month's documents", PATIENCE, async || {
            // One job waits for another: both look again when the clock moves.
            self.advance(1_000)?;
            let told = self.get(&path).await?;
            let all = told["documents"].as_array().context("no list")?;
            let mine: Vec<Value> = all.iter().filter(|of| of["period"] == month.as_str()).cloned().collect();
            Ok((mine.len() >= count).then_some(mine))
        })
        .await
    }

    /// Usage of the month, as its owner sees it.
    pub(super) async fn usage(&self) -> Result<Value> {
        let (first, last) = (self.month.first_day(), self.month.last_day());
        let path = format!("/api/v1/usage?project=acme&from={first}&to={last}");
        Call::get(&path).bearer(&self.owner).send(self.stack.aggregator()).await?.ok()
    }

    /// How the books see a reporter.
    pub(super) async fn standing(&self, id: &str) -> Result<Value> {
        self.get(&format!("{REPORTERS}/{id}")).await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        self.page(path).await?.ok()
    }

    /// An answer to the operator that is no JSON.
    pub(super) async fn page(&self, path: &str) -> Result<Answer> {
        Call::get(path).bearer(&self.operator).send(self.stack.aggregator()).await
    }

    /// Makes what the body says; it must be accepted.
    pub(super) async fn make(&self, path: &str, body: &Value) -> Result<Value> {
        self.posted(path, body, 201).await
    }

    /// Changes what the path names as the body says; it must be accepted.
    pub(super) async fn change(&self, path: &str, body: &Value) -> Result<Value> {
        self.posted(path, body, 200).await
    }

    async fn posted(&self, path: &str, body: &Value, status: u16) -> Result<Value> {
        let call = Call::post(path, body.to_string()).json().bearer(&self.operator);
        let answer = call.send(self.stack.aggregator()).await?;
        ensure!(answer.status == status, "{}: {}", answer.status, answer.text());
        Ok(serde_json::from_str(&answer.text())?)
    }

    /// Exports a file of that name in the reporter's folder.
    pub(super) async fn export(&self, name: &str) -> Result<PathBuf> {
        let file = self.reporter.folder().join(name);
        let (well, _, told) = self.reporter.run(&["export", &file.display().to_string()]).await?;
        ensure!(well, "{told}");
        Ok(file)
    }

    /// Has the books take a file; the last receipt.
    pub(super) fn ingest(&self, file: &std::path::Path) -> Result<Value> {
        Ok(serde_json::from_str(&self.stack.meter(&["ingest", &file.display().to_string(), "--json"])?)?)
    }

    /// The page that a refusal names is there.
    pub(super) async fn is_explained(&self, code: &str) -> Result<()> {
        let page = Call::get(&format!("/errors/{code}")).send(self.stack.aggregator()).await?;
        ensure!(page.status == 200 && page.text().contains(code), "{code}: {}", page.status);
        Ok(())
    }
}
