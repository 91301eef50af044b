//! The receivers of `examples/webhook-receivers`: real deliveries of a real aggregator, each kept once, and nothing else.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tests::client::{Answer, Call};
use tests::clock;
use tests::config;
use tests::ingest::{flush_of, signed};
use tests::poll::eventually;
use tests::project::{Limits, Project};
use tests::stack::{Options, Part, Stack};

use super::{Running, compile, repository};

const WITHIN: Duration = Duration::from_secs(30);

/// How a language's receiver is started in a folder.
type Start = fn(&Path, SocketAddr) -> Result<Command>;

fn typescript(folder: &Path, _: SocketAddr) -> Result<Command> {
    compile(&repository("examples/webhook-receivers/typescript"), folder, "receiver.ts")?;
    let mut node = Command::new("node");
    node.arg(folder.join("receiver.js"));
    Ok(node)
}

fn python(_: &Path, _: SocketAddr) -> Result<Command> {
    let mut python = Command::new(config::openapi_python()?);
    python.arg(repository("examples/webhook-receivers/python/receiver.py"));
    Ok(python)
}

fn php(_: &Path, address: SocketAddr) -> Result<Command> {
    let mut php = Command::new(config::php()?);
    php.arg("-S").arg(address.to_string());
    php.arg(repository("examples/webhook-receivers/php/receiver.php"));
    Ok(php)
}

/// A rightly signed message of that age.
fn message(secret: &str, id: &str, body: &str, age_seconds: u64) -> Result<Call> {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").context("a secret")?).ok().context("base64")?;
    let timestamp = clock::now().as_seconds().saturating_sub(age_seconds);
    let mut mac = Hmac::<Sha256>::new_from_slice(&key)?;
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    Ok(Call::post("/hooks", body.to_owned())
        .json()
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", signature))
}

/// Who receives, of which webhook.
struct Subscribed {
    stack: Stack,
    project: Project,
    address: SocketAddr,
    id: String,
    secret: String,
}

impl Subscribed {
    async fn start(language: &str) -> Result<Self> {
        let later = vec![Part::Edge, Part::Upstream];
        let stack = Stack::start_with(Options { later, ..Options::default() }).await?;
        let project = Project::create(&stack, language, Limits::COMMUNITY)?;
        let address = kit::ports::free()?;
        let events = ["usage.threshold_reached"];
        let body = json!({ "url": format!("http://{address}/hooks"), "events": events }).to_string();
        let call = Call::post("/api/v1/webhooks", body).json().bearer(&project.token);
        let made: Value = call_ok(&call.send(stack.aggregator()).await?)?;
        let text = |field: &str| made[field].as_str().map(str::to_owned).context("a text");
        let (id, secret) = (text("id")?, text("secret")?);
        Ok(Self { stack, project, address, id, secret })
    }

    async fn deliveries(&self) -> Result<Vec<(String, String)>> {
        let call = Call::get(&format!("/api/v1/webhooks/{}/deliveries", self.id)).bearer(&self.project.token);
        let page: Value = call.send(self.stack.aggregator()).await?.ok()?;
        let one = |one: &Value| Some((one["id"].as_str()?.to_owned(), one["state"].as_str()?.to_owned()));
        page["deliveries"]
            .as_array()
            .context("a list")?
            .iter()
            .map(|found| one(found).context("one"))
            .collect()
    }

    async fn all_delivered(&self, count: usize) -> Result<Vec<(String, String)>> {
        eventually("everything is delivered", WITHIN, async || {
            let found = self.deliveries().await?;
            let done = found.len() == count && found.iter().all(|(_, state)| state == "delivered");
            Ok(done.then_some(found))
        })
        .await
    }

    async fn post(&self, path: &str) -> Result<()> {
        let path = format!("/api/v1/webhooks/{}/{path}", self.id);
        let call = Call::post(&path, "{}").json().bearer(&self.project.token);
        call_ok(&call.send(self.stack.aggregator()).await?)?;
        Ok(())
    }
}

fn call_ok(answer: &Answer) -> Result<Value> {
    ensure!((200..300).contains(&answer.status), "got {}: {}", answer.status, answer.text());
    Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// The events that are kept, by the name of their file.
fn kept(inbox: &Path) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(inbox)? {
        let path = entry?.path();
        ensure!(path.extension().is_some_and(|end| end == "json"), "{} is left", path.display());
        found.push(serde_json::from_slice(&fs::read(path)?)?);
    }
    Ok(found)
}

async fn receives(language: &'static str, start: Start) -> Result<()> {
    let subscribed = Subscribed::start(language).await?;
    let Subscribed { stack, address, secret, .. } = &subscribed;
    let folder = stack.scratch().join(language);
    let inbox = folder.join("inbox");
    fs::create_dir_all(&inbox)?;
    let mut command = start(&folder, *address)?;
    command.env("WEBHOOK_SECRET", secret).env("INBOX", &inbox).env("PORT", address.port().to_string());
    let receiver = Running::start(&mut command, &folder.join("log"))?;
    receiver.listens(*address).await?;

    // 130 % at once are two events, and another flush of the same is none.
    for _ in 0..2 {
        call_ok(&signed(stack, &flush_of(language, 1, 1_300))?.send(stack.aggregator()).await?)?;
    }
    let deliveries = subscribed.all_delivered(2).await?;
    let mut levels: Vec<_> = kept(&inbox)?.iter().map(|one| one["data"]["threshold"].as_u64()).collect();
    levels.sort_unstable();
    assert_eq!(levels, [Some(80), Some(100)]);

    // Both secrets sign after a rotation; the receiver has the one before.
    subscribed.post("rotate").await?;
    subscribed.post("test").await?;
    subscribed.all_delivered(3).await?;
    assert_eq!(kept(&inbox)?.len(), 3);

    let (first, _) = deliveries.first().context("a delivery")?;
    subscribed.post(&format!("deliveries/{first}/replay")).await?;
    eventually("the same event again", WITHIN, async || {
        Ok(fs::read_to_string(folder.join("log"))?.contains("had evt_").then_some(()))
    })
    .await?;
    assert_eq!(kept(&inbox)?.len(), 3, "what comes again is kept once");

    let other = format!("whsec_{}", STANDARD.encode([7_u8; 32]));
    let body = r#"{"type":"usage.threshold_reached"}"#;
    let refused = [
        ("by another secret", message(&other, "evt_1", body, 0)?),
        ("with another body", message(secret, "evt_1", body, 0)?.with_body(format!("{body} "))),
        ("from ten minutes ago", message(secret, "evt_1", body, 600)?),
        ("without a signature", Call::post("/hooks", body).json()),
        ("under a name that leads elsewhere", message(secret, "../evt_1", body, 0)?),
    ];
    for (what, call) in refused {
        let answer = call.send(*address).await?;
        ensure!([400, 401].contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
    }
    assert_eq!(kept(&inbox)?.len(), 3, "what is refused is not kept");
    let right = message(secret, "evt_1", body, 0)?.send(*address).await?;
    ensure!(right.status == 204, "a right one is taken: {}", right.status);
    assert_eq!(kept(&inbox)?.len(), 4);
    drop(receiver);
    subscribed.stack.finish()
}

#[tokio::test]
async fn the_receiver_in_typescript_keeps_each_event_once_and_nothing_else() -> Result<()> {
    receives("typescript", typescript).await
}

#[tokio::test]
async fn the_receiver_in_python_keeps_each_event_once_and_nothing_else() -> Result<()> {
    receives("python", python).await
}

#[tokio::test]
async fn the_receiver_in_php_keeps_each_event_once_and_nothing_else() -> Result<()> {
    receives("php", php).await
}
