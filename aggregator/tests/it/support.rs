//! A running aggregator for one test, and a client that says exactly what is on the wire.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aggregator::access::account::{self, Email};
use aggregator::access::session::{self, Begun, SecretText};
use aggregator::access::token::TokenText;
use aggregator::access::{Role, Scope};
use aggregator::app::{App, Homes, Parts};
use aggregator::clock::Clock;
use aggregator::contracts::party::Seller;
use aggregator::edge::client::{EdgeClient, EdgeUrl};
use aggregator::http::{self, Connections, Site, Timeouts};
use aggregator::identity::Provider;
use aggregator::metrics::Metrics;
use aggregator::projects::policy::Basis;
use aggregator::projects::project::{NewProject, Setting};
use aggregator::store::Intake;
use aggregator::store::{
    Asked, Database, EndpointCreated, KeyCreated, MemberKept, NewAccount, NewEndpoint, Store, WhenMissing,
};
use aggregator::stripe::account::Account;
use aggregator::webhooks::Settings;
use aggregator::webhooks::endpoint::{Filter, Format};
use aggregator::webhooks::seal::SealKeys;
use aggregator::webhooks::target::Rules;
use shared::ids::{KeyId, Mode, ProjectId};
use shared::key::KeySecrets;
use shared::plan::Plan;
use shared::sign::{Purpose, Signed, SigningKeys};
use shared::time::{Day, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::backend;

/// Where every test's clock begins: in the middle of a month.
pub(crate) const NOON: &str = "2026-11-23";

/// How long a test waits for what must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) const SECRET_EDGE: &str = "e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1";
pub(crate) const SECRET_POLICY: &str = "b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1";
pub(crate) const SECRET_KEYS: &str = "c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1";

/// An edge that nobody can reach: connections to this port are refused.
fn no_edge() -> Homes {
    EdgeClient::new(EdgeUrl::parse("http://127.0.0.1:9").unwrap()).unwrap().into()
}

/// A folder and a database that are gone with the test.
pub(crate) struct Folder {
    path: PathBuf,
    name: String,
    database_url: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let name = format!("meter-test-{}", aggregator::random::id().unwrap());
        let path = std::env::temp_dir().join(&name);
        std::fs::create_dir(&path).unwrap();
        let database_url = backend::create(&path, &name);
        Self { path, name, database_url }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> Database {
        backend::parse(&self.database_url)
    }

    pub(crate) fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Whether somebody has made a database file; on Postgres nobody does.
    pub(crate) fn has_database_file(&self) -> bool {
        self.path.join("meter.db").exists()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind fails no test.
        drop(std::fs::remove_dir_all(&self.path));
        backend::remove(&self.name);
    }
}

pub(crate) fn signing_keys() -> SigningKeys {
    SigningKeys::parse(&format!("edge:e1:{SECRET_EDGE},policy:p1:{SECRET_POLICY}")).unwrap()
}

pub(crate) fn project_id(text: &str) -> ProjectId {
    ProjectId::parse(text).unwrap()
}

pub(crate) fn noon() -> Timestamp {
    Day::parse(NOON).unwrap().start().plus_ms(12 * 3_600_000)
}

/// Webhooks as in development: receivers on this machine, secrets sealed with a key of their own.
fn webhooks() -> Settings {
    let keys = KeySecrets::parse(&format!("1:{SECRET_KEYS}")).unwrap();
    Settings {
        rules: Rules { loopback: true, ..Rules::default() },
        keys: SealKeys::new(Some(&keys), &KeySecrets::none()),
    }
}

/// Who invoices contracts.
fn seller() -> Seller {
    Seller::parse(
        r#"{"name":"Meter & Söhne GmbH","party":{"street":"Weg 1","city":"Berlin","postcode":"10115","country":"DE",
            "vat_id":"DE123456789","email":"billing@example.com"},"iban":"DE02120300000000202051","vat_percent":19,"due_days":14}"#,
    )
    .unwrap()
}

pub(crate) fn basis() -> Basis {
    Basis::new("https://palveron.com/pricing".to_owned(), shared::policy::LeaseRules::default())
}

/// A running aggregator.
pub(crate) struct Meter {
    pub(crate) app: App,
    pub(crate) site: Site,
    pub(crate) address: SocketAddr,
    pub(crate) folder: Folder,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) server: JoinHandle<()>,
}

impl Meter {
    pub(crate) async fn start() -> Self {
        Self::start_with(Folder::new(), Clock::manual(noon()), Timeouts::default()).await
    }

    /// A meter that keeps to these rules about where webhooks may go.
    pub(crate) async fn start_ruled(rules: Rules) -> Self {
        let settings = Settings { rules, ..webhooks() };
        Self::start_as(Folder::new(), Clock::manual(noon()), Timeouts::default(), settings).await
    }

    pub(crate) async fn start_with(folder: Folder, clock: Clock, timeouts: Timeouts) -> Self {
        Self::start_as(folder, clock, timeouts, webhooks()).await
    }

    async fn start_as(folder: Folder, clock: Clock, timeouts: Timeouts, webhooks: Settings) -> Self {
        let parts = (folder, clock, timeouts, Connections::default(), basis());
        Self::start_parts(parts, (webhooks, None), |_, _, _| None).await
    }

    /// A meter that all come to from one address.
    pub(crate) async fn start_behind_a_proxy() -> Self {
        Self::start_connected(Timeouts::default(), Connections { address: None, ..Connections::default() })
            .await
    }

    pub(crate) async fn start_connected(timeouts: Timeouts, connections: Connections) -> Self {
        let parts = (Folder::new(), Clock::manual(noon()), timeouts, connections, basis());
        Self::start_parts(parts, (webhooks(), None), |_, _, _| None).await
    }

    /// A meter whose policies are compiled from this.
    pub(crate) async fn start_on(basis: Basis) -> Self {
        let (timeouts, connections) = (Timeouts::default(), Connections::default());
        let parts = (Folder::new(), Clock::manual(noon()), timeouts, connections, basis);
        Self::start_parts(parts, (webhooks(), None), |_, _, _| None).await
    }

    /// A meter that people sign in to by a provider.
    pub(crate) async fn start_with_provider(clock: Clock, provider: Provider) -> Self {
        let (timeouts, connections) = (Timeouts::default(), Connections::default());
        let parts = (Folder::new(), clock, timeouts, connections, basis());
        Self::start_parts(parts, (webhooks(), Some(provider)), |_, _, _| None).await
    }

    /// Starts with an account at Stripe.
    pub(crate) async fn start_taking_payments(
        clock: Clock,
        account: impl FnOnce(&Store, &Clock, Metrics) -> Account,
    ) -> Self {
        let parts = (Folder::new(), clock, Timeouts::default(), Connections::default(), basis());
        Self::start_parts(parts, (webhooks(), None), |store, clock, metrics| {
            Some(account(store, clock, metrics))
        })
        .await
    }

    async fn start_parts(
        (folder, clock, timeouts, connections, basis): (Folder, Clock, Timeouts, Connections, Basis),
        (webhooks, provider): (Settings, Option<Provider>),
        account: impl FnOnce(&Store, &Clock, Metrics) -> Option<Account>,
    ) -> Self {
        let store = Store::open(&folder.database(), WhenMissing::Create).await.unwrap();
        let metrics = Metrics::default();
        let stripe = account(&store, &clock, metrics.clone());
        let app = App::new(Parts {
            intake: Intake::start(&store, &clock),
            store,
            clock,
            basis,
            key_secrets: KeySecrets::parse(&format!("1:{SECRET_KEYS}")).unwrap(),
            signing_keys: signing_keys(),
            homes: no_edge(),
            webhooks,
            test_clock: Some(aggregator::edge::peers::ClockPeers::default()),
            metrics,
            seller: Some(seller()),
            stripe,
            provider,
        });
        let site = Site::new(app.clone(), timeouts);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(http::serve(
            listener,
            http::router(site.clone()),
            timeouts,
            connections,
            async move { drop(stopped.await) },
        ));
        Self { app, site, address, folder, stop: Some(stop), server }
    }

    /// Tells the server to stop; requests that were begun go on.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn project(&self, id: &str, plan: Plan) {
        let new = NewProject { id: project_id(id), plan, rpm: Setting::Plan, included: Setting::Plan };
        self.app.store.create_project(new, self.app.clock.now()).await.unwrap().unwrap();
    }

    pub(crate) async fn key(&self, project: &str) -> KeyId {
        match self.app.store.create_key(&project_id(project), Mode::Live, self.app.clock.now()).await.unwrap()
        {
            KeyCreated::Key(key) => key.id,
            refused @ (KeyCreated::ProjectUnknown | KeyCreated::TooMany) => panic!("{refused:?}"),
        }
    }

    /// The project's newest webhook, made if there is none: its id, and its secret if it was made.
    pub(crate) async fn webhook(&self, project: &str, url: &str) -> (String, String) {
        let (id, now) = (project_id(project), self.app.clock.now());
        if let Some(there) = self.app.store.webhooks(&id).await.unwrap().pop() {
            return (there.id, String::new());
        }
        let new = NewEndpoint {
            url: url.to_owned(),
            events: Filter::All,
            format: Format::Standard,
            description: String::new(),
        };
        let mut work = self.app.store.begin_in(&id).await.unwrap();
        let made = work.create_webhook(&id, new, &self.app.webhooks.keys, now).await.unwrap();
        work.commit().await.unwrap();
        let EndpointCreated::Endpoint(endpoint, secret) = made else { panic!("{made:?}") };
        (endpoint.id, secret.expose())
    }

    /// A new delivery to the project's newest webhook.
    pub(crate) async fn delivery(&self, project: &str) -> String {
        let id = project_id(project);
        let (webhook, _) = self.webhook(project, "https://example.com/").await;
        let mut work = self.app.store.begin_in(&id).await.unwrap();
        let asked = work.test_webhook(&id, &webhook, self.app.clock.now()).await.unwrap();
        work.commit().await.unwrap();
        let Asked::Done(delivery) = asked else { panic!("{asked:?}") };
        delivery
    }

    /// Makes a token: its id and its text.
    pub(crate) async fn token(&self, scope: Scope) -> (String, String) {
        let text = TokenText::generate(&scope).unwrap();
        let token = self.app.store.create_token(scope, &text.hash(), self.app.clock.now()).await.unwrap();
        (token.id, text.expose().to_owned())
    }

    /// Makes an account of an address that nobody has yet.
    pub(crate) async fn account(&self, operator: bool) -> account::Account {
        let email = Email::parse(&format!("{}@example.com", aggregator::random::id().unwrap())).unwrap();
        let new = NewAccount { email, name: "Ada".to_owned(), operator, password: None };
        let mut work = self.app.store.begin().await.unwrap();
        let account = work.create_account(new, self.app.clock.now()).await.unwrap().unwrap();
        work.commit().await.unwrap();
        account
    }

    /// Signs in a new operator, or a new member in that role.
    pub(crate) async fn session(&self, member: Option<(&str, Role)>) -> Session {
        let (account, now) = (self.account(member.is_none()).await, self.app.clock.now());
        let secret = SecretText::generate(session::Purpose::Session).unwrap();
        let mut work = self.app.store.begin().await.unwrap();
        if let Some((project, role)) = member {
            let kept = work.add_person(&project_id(project), (&account, role), None, now).await.unwrap();
            assert!(matches!(kept, MemberKept::Member(_)), "{kept:?}");
        }
        work.begin_session((&account, Begun::Link), &secret.hash(), now).await.unwrap();
        work.commit().await.unwrap();
        Session { account, secret }
    }

    pub(crate) async fn operator(&self) -> String {
        self.token(Scope::Operator).await.1
    }

    pub(crate) async fn member(&self, project: &str, role: Role) -> String {
        self.token(Scope::Project { project: project_id(project), role }).await.1
    }

    /// Sends a request with these headers and reads the answer.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.raw(request(method, path, headers, body).as_bytes()).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", path, &[("authorization", &format!("Bearer {token}"))], "").await
    }

    /// Sends JSON as the holder of a token.
    pub(crate) async fn json(&self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        self.send(
            method,
            path,
            &[("authorization", &authorization), ("content-type", "application/json")],
            body,
        )
        .await
    }

    /// Sends exactly these bytes and reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Answer {
        raw(self.address, bytes).await
    }

    /// Posts a flush signed now.
    pub(crate) async fn flush(&self, body: &str) -> Answer {
        let signature = sign("/ingest", body, self.app.clock.now());
        self.signed_flush(&signature, body).await
    }

    pub(crate) async fn signed_flush(&self, signature: &str, body: &str) -> Answer {
        let headers = [("palveron-signature", signature), ("content-type", "application/json")];
        self.send("POST", "/ingest", &headers, body).await
    }

    pub(crate) async fn cells(&self, project: &str) -> Vec<String> {
        self.app.store.cells_as_text(&project_id(project)).await.unwrap()
    }

    pub(crate) async fn version(&self, project: &str) -> u64 {
        self.app.store.project(&project_id(project)).await.unwrap().unwrap().policy_version
    }
}

/// A person in a browser, at `https://meter`.
pub(crate) struct Session {
    pub(crate) account: account::Account,
    pub(crate) secret: SecretText,
}

impl Session {
    /// What a page of ours has a browser send.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        vec![
            ("cookie", format!("__Host-meter_session={}", self.secret.expose())),
            ("origin", "https://meter".to_owned()),
            ("palveron-csrf", self.secret.csrf()),
        ]
    }
}

/// The signature of a flush to `path` by the edge's key.
pub(crate) fn sign(path: &str, body: &str, at: Timestamp) -> String {
    let keys = signing_keys();
    Signed { method: "POST", path, body: body.as_bytes() }.sign(keys.current(Purpose::Edge).unwrap(), at)
}

/// A request as text, on a connection that is closed after it.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: meter\r\nconnection: close\r\n");
    for (name, value) in headers {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    if !body.is_empty() {
        write!(text, "content-length: {}\r\n", body.len()).unwrap();
    }
    write!(text, "\r\n{body}").unwrap();
    text
}

pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read everything that is too large.
    drop(stream.write_all(bytes).await);
    read_answer(&mut stream).await
}

/// Reads until the server closes; a test that waits longer than the deadline fails.
pub(crate) async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(DEADLINE, async {
        let mut chunk = [0; 4_096];
        // A reset after the answer loses nothing that was read.
        while let Ok(count) = stream.read(&mut chunk).await
            && count > 0
        {
            bytes.extend_from_slice(&chunk[..count]);
        }
    });
    read.await.expect("the server neither answered nor closed");
    let answer = Answer::parse(&String::from_utf8(bytes).unwrap());
    let chunked = answer.header("transfer-encoding") == Some("chunked");
    if chunked { Answer { body: unchunked(&answer.body), ..answer } } else { answer }
}

/// A body of chunks, each behind its length; what broke off stays as it came.
fn unchunked(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n")
        && let Ok(length) = usize::from_str_radix(length, 16)
        && let Some((chunk, rest)) = rest.split_at_checked(length)
    {
        body.push_str(chunk);
        chunks = rest.strip_prefix("\r\n").unwrap_or(rest);
    }
    body + chunks
}

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 0 if the connection was closed without one.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).map_or(0, |code| code.parse().unwrap());
        let headers =
            lines.filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.to_lowercase(), v.to_owned()));
        Self { status, headers: headers.collect(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn value(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A field of the JSON body as text.
    pub(crate) fn field(&self, name: &str) -> String {
        let value = self.value();
        let field = value.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"));
        field.as_str().map_or_else(|| field.to_string(), str::to_owned)
    }

    /// A field of the JSON body as text; empty where there is none.
    pub(crate) fn field_or_empty(&self, name: &str) -> String {
        self.value().get(name).and_then(|field| field.as_str()).unwrap_or_default().to_owned()
    }

    /// Checks that this is the problem of that code, with its status, type and media type.
    pub(crate) fn is_problem(&self, code: &str, what: &str) {
        let expected = shared::problem::ErrorCode::parse(code).unwrap();
        assert_eq!(self.status, expected.status(), "{what}: {self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{what}: {self:?}");
        assert_eq!(self.field("code"), code, "{what}");
        assert_eq!(self.field("status"), expected.status().to_string(), "{what}");
        assert!(self.field("type").ends_with(&format!("/errors/{code}")), "{what}");
        assert!(!self.field("detail").is_empty(), "{what}");
    }

    /// Checks that this refuses that field.
    pub(crate) fn refuses(&self, field: &str, what: &str) {
        self.is_problem("field_rejected", what);
        assert_eq!(self.field("field"), field, "{what}");
    }
}

/// Asks again until the answer is yes.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let asked = tokio::time::timeout(DEADLINE, async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    asked.await.unwrap_or_else(|_| panic!("in vain: {what}"));
}
