//! Every setting of `meter`, a row each: what is read, what `meter --help` shows and what the table in
//! docs/operations.md says are all made from these rows.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::Uri;
use meter_settings::{LogFormat, optional, settings, switch};
use shared::ids::ProjectId;
use shared::key::{KeySecrets, MetricsToken};
use shared::policy::Place;
use shared::sign::SigningKeys;
use shared::units::Units;
use shared::whole::whole;

use super::Decisions;
use crate::access::stranger::Admission;
use crate::contracts::party::Seller;
use crate::counters::settings::RedisAddress;
use crate::edge::client::EdgeUrl;
use crate::http::CONNECTIONS_MAX;
use crate::identity::Issuer;
use crate::payments::signature::WebhookSecrets;
use crate::store::Database;
use crate::stripe::account::ReturnUrls;
use crate::stripe::client::SecretKey;
use crate::traces::{CollectorHeaders, CollectorUrl};

/// The longest name of a provider: it is on a button.
const LABEL_CHARS_MAX: usize = 40;

settings! {
    CONFIG: Option<PathBuf> = "aggregator" "METER_CONFIG" "" ("none"), |text| optional(text, |path| Ok(PathBuf::from(path))),
        "a file of settings in TOML such as `meter.example.toml`, as `--config` names one; what is set in the environment wins";
    DATABASE: Database = "aggregator" "DATABASE_URL" "sqlite://meter.db", Database::parse,
        "the store: a file on a local disk, or `postgres://user:password@host:5432/meter?sslmode=verify-full`; see below";
    LISTEN: SocketAddr = "aggregator" "METER_LISTEN" "127.0.0.1:8080", address,
        "where it listens";
    CONNECTIONS: Option<usize> = "aggregator" "METER_CONNECTIONS_PER_ADDRESS" "100", connections,
        "connections that one address has at once; `none` behind a proxy, from which all come; see below";
    EDGE: EdgeUrl = "aggregator" "EDGE_URL" "http://127.0.0.1:8787", EdgeUrl::parse,
        "where policies are pushed to";
    REDIS: Option<RedisAddress> = "both" "REDIS_URL" "" ("none: homes are objects of the edge"), |text| optional(text, RedisAddress::parse),
        "the Redis that has the homes: `redis://user:password@host:6379/0`, `rediss://` for TLS, several places `redis://user:password@host:6379,host:6379` for a cluster, or `sentinel://user:password@host:26379,host:26379/name` for sentinels and what they call the primary; the edge needs it too, with the same `COUNTERS`";
    COUNTERS: Option<Place> = "both" "COUNTERS" "" ("edge: `durable_object`; aggregator: `redis` where `REDIS_URL` is set"), |text| optional(text, place),
        "where homes are of projects that were never moved: `durable_object`, or `redis`, which is that of `REDIS_URL` and needs no worker with homes; with `REDIS_URL` beside it, homes may be moved";
    REDIS_REPLICAS: u32 = "both" "REDIS_REPLICAS" "0", replicas,
        "how many replicas must have a write on their disks before it counts";
    REDIS_LOSS: Option<Units> = "both" "REDIS_ACCEPT_LOSS" "" ("none"), |text| optional(text, loss),
        "units of each project that may be lost when the Redis restarts: writes are not waited for on its disk, and a home issues no more than so many beyond what the books have";
    KEY_SECRETS: Option<KeySecrets> = "both" "METER_KEY_SECRETS" "" ("none"), secrets,
        "`1:<64 hex>`, several while rotating; see below";
    SIGNING_KEYS: SigningKeys = "both" "METER_SIGNING_KEYS" "" ("none"), SigningKeys::parse,
        "`edge:e1:<64 hex>,policy:p1:<64 hex>,upstream:u1:<64 hex>`";
    UPGRADE: String = "aggregator" "METER_UPGRADE_URL" "https://palveron.com/pricing", upgrade_url,
        "where a customer without quota is sent";
    STRIPE_KEY: Option<SecretKey> = "aggregator" "STRIPE_SECRET_KEY" "" ("none"), |text| optional(text, SecretKey::parse),
        "the account's secret key; without it no payments are taken";
    STRIPE_SECRETS: Option<WebhookSecrets> = "aggregator" "STRIPE_WEBHOOK_SECRET" "" ("none"), |text| optional(text, WebhookSecrets::parse),
        "the endpoint's `whsec_…`, several separated by commas while rotating";
    STRIPE_BASE: Option<String> = "aggregator" "STRIPE_API_BASE" "" ("Stripe"), |text| optional(text, base),
        "where Stripe is, for a simulated one";
    REPORTER: Option<EdgeUrl> = "aggregator" "REPORTER_URL" "" ("none"), |text| optional(text, EdgeUrl::parse),
        "with `METER_TEST=1`, a meter on premise whose clock moves along";
    RETURN_URLS: ReturnUrls = "aggregator" "STRIPE_RETURN_URLS" "http://127.0.0.1:8080/", ReturnUrls::parse,
        "beginnings of addresses that customers may be sent back to";
    AUTOMATIC_TAX: bool = "aggregator" "STRIPE_AUTOMATIC_TAX" "1", switch,
        "whether Stripe computes taxes, in Checkout and on invoices";
    DECISIONS: Decisions = "aggregator" "METER_DECISIONS" "lease", Decisions::parse,
        "`lease`: each isolate decides from units that it holds on lease, through 8 to 32 sub-homes by the project's requests per minute; `lease:<n>` has n sub-homes, and `lease:0` none, for one place with 30 isolates or fewer; `home`: each request is decided at its home, durably, before the answer";
    PLANS: Option<PathBuf> = "aggregator" "METER_PLANS" "" ("compiled in"), |text| optional(text, |path| Ok(PathBuf::from(path))),
        "a plan catalogue file; applied at start if its version is new";
    SELLER: Option<Seller> = "aggregator" "METER_SELLER" "" ("none"), |text| optional(text, Seller::parse),
        "who invoices contracts, as JSON: `name`, `party`, `iban`, `vat_percent`, `due_days`; without it their invoices have no printable and no electronic form";
    OIDC_ISSUER: Option<Issuer> = "aggregator" "METER_OIDC_ISSUER" "" ("none"), |text| optional(text, Issuer::parse),
        "an OpenID provider that people may sign in by, such as `https://login.example.com`; see below";
    OIDC_CLIENT_ID: String = "aggregator" "METER_OIDC_CLIENT_ID" "" ("none"), |text| Ok(text.to_owned()),
        "what it knows us by; the address to register there is `https://<this server>/sign-in/provider`";
    OIDC_CLIENT_SECRET: String = "aggregator" "METER_OIDC_CLIENT_SECRET" "" ("none"), |text| Ok(text.to_owned()),
        "what proves us to it; none for a public client, which PKCE alone protects";
    OIDC_NAME: Option<String> = "aggregator" "METER_OIDC_NAME" "" ("the issuer's host"), |text| optional(text, label),
        "what people call it: `Sign in with …`";
    OIDC_ADMIT: Vec<Admission> = "aggregator" "METER_OIDC_ADMIT" "" ("nobody"), Admission::parse_all,
        "who becomes a member without being invited: `<domain>:<project>:<role>`, several separated by commas";
    WEBHOOK_SEAL: Option<KeySecrets> = "aggregator" "METER_SECRET_KEY" "" ("derived from `METER_KEY_SECRETS`"), secrets,
        "`1:<64 hex>`, several while rotating: what webhook secrets are sealed with; the highest version seals. Set it before the secret of version 1 of `METER_KEY_SECRETS` is removed";
    WEBHOOK_PORTS: BTreeSet<u16> = "aggregator" "METER_WEBHOOKS_PORTS" "443,8443", ports,
        "the ports that receivers of webhooks may listen on";
    WEBHOOK_LOOPBACK: bool = "aggregator" "METER_WEBHOOKS_ALLOW_LOOPBACK" "0", switch,
        "`1` permits receivers on the machine itself, over http and on any port; for development only";
    SERVER: Option<EdgeUrl> = "commands" "METER_URL" "" ("none"), |text| optional(text, EdgeUrl::parse),
        "a server: commands ask there instead of on the database of `DATABASE_URL`; what stays with the database says so";
    TOKEN: String = "commands" "METER_TOKEN" "" ("none"), token,
        "the token that commands show to the server of `METER_URL`";
    PROJECT: Option<ProjectId> = "commands" "METER_PROJECT" "" ("none"), |text| optional(text, project),
        "the project where `--project` is left out; over HTTP, that of a project's token where this is unset";
    METRICS_TOKEN: Option<MetricsToken> = "both" "METER_METRICS_TOKEN" "" ("none"), |text| optional(text, MetricsToken::parse),
        "with which `GET /metrics` is read (`Authorization: Bearer …`), 16 characters or more; without one the aggregator shows its numbers to everybody and the edge has no such path";
    COLLECTOR: Option<CollectorUrl> = "both" "OTEL_EXPORTER_OTLP_ENDPOINT" "" ("none: no traces"), |text| optional(text, CollectorUrl::parse),
        "an OpenTelemetry collector that traces are sent to over HTTP, by the aggregator as protobuf and by the edge and its homes as JSON, such as `http://127.0.0.1:4318`";
    COLLECTOR_HEADERS: CollectorHeaders = "both" "OTEL_EXPORTER_OTLP_HEADERS" "" ("none"), CollectorHeaders::parse,
        "headers that it wants, such as `api-key=secret`, several separated by commas";
    SERVICE: String = "both" "OTEL_SERVICE_NAME" "palveron-meter", |text| Ok(text.to_owned()),
        "what this server is called there; the edge and its homes are `palveron-edge` without it";
    LOG: String = "aggregator" "METER_LOG" "info", |text| Ok(text.to_owned()),
        "which log lines are written: a filter such as `info,aggregator=debug`";
    LOG_FORMAT: LogFormat = "aggregator" "METER_LOG_FORMAT" "text", LogFormat::parse,
        "how they are written: `text` or `json`";
    TEST: bool = "both" "METER_TEST" "0", switch,
        "`1` lets `meter clock advance` move the clock; for tests and demonstrations only";
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("got {text:?}, accepted is address:port such as 127.0.0.1:8080"))
}

fn place(text: &str) -> Result<Place, String> {
    Place::parse(text).ok_or_else(|| format!("got {text:?}, accepted are durable_object and redis"))
}

/// Nothing is no limit.
fn connections(text: &str) -> Result<Option<usize>, String> {
    let count = whole(text).filter(|count| (1..=CONNECTIONS_MAX).contains(count));
    let accepted = || format!("got {text:?}, accepted are 1 to {CONNECTIONS_MAX}, and none");
    if text == "none" { Ok(None) } else { count.map(Some).ok_or_else(accepted) }
}

/// Versioned secrets, where there are any.
fn secrets(text: &str) -> Result<Option<KeySecrets>, String> {
    optional(text, KeySecrets::parse)
}

fn replicas(text: &str) -> Result<u32, String> {
    whole(text).ok_or_else(|| format!("got {text:?}, accepted is a whole number"))
}

fn loss(text: &str) -> Result<Units, String> {
    let units = whole(text).filter(|units| (1..=Units::MAX.get()).contains(units)).map(Units::new);
    units.ok_or_else(|| format!("got {text:?}, accepted is a number of units"))
}

fn upgrade_url(text: &str) -> Result<String, String> {
    let uri: Option<Uri> = text.parse().ok();
    match uri.as_ref().and_then(Uri::scheme_str) {
        Some("http" | "https") => Ok(text.to_owned()),
        Some(_) | None => {
            Err(format!("got {text:?}, accepted is a URL such as https://palveron.com/pricing"))
        }
    }
}

/// Where a Stripe is: its client wants the text.
fn base(text: &str) -> Result<String, String> {
    EdgeUrl::parse(text.trim_end_matches('/')).map(|_| text.to_owned())
}

fn ports(text: &str) -> Result<BTreeSet<u16>, String> {
    let ports = text.split(',').map(|port| whole::<u16>(port.trim()).filter(|port| *port > 0));
    let accepted = || format!("got {text:?}, accepted are ports such as 443,8443");
    ports.collect::<Option<_>>().ok_or_else(accepted)
}

fn token(text: &str) -> Result<String, String> {
    let accepted = text.is_empty() || text.starts_with("pat_") || text.starts_with("pot_");
    // Not repeated: it may be a secret of something else.
    let refused = "accepted is what `meter token create` printed: pat_… or pot_… for operators";
    if accepted && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(refused.to_owned())
    }
}

fn label(text: &str) -> Result<String, String> {
    let accepted = || format!("got {text:?}, accepted are 1 to {LABEL_CHARS_MAX} characters");
    crate::text::is_words(text, LABEL_CHARS_MAX).then(|| text.to_owned()).ok_or_else(accepted)
}

fn project(text: &str) -> Result<ProjectId, String> {
    ProjectId::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_documents_is_these_rows() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
        let document = std::fs::read_to_string(path).unwrap();
        let ours = |line: &&str| {
            let who = line.split(" | ").nth(1);
            line.starts_with("| `") && matches!(who, Some("aggregator" | "commands" | "both"))
        };
        let documented: Vec<&str> = document.lines().filter(ours).collect();
        let rows: Vec<String> = ROWS.iter().map(|row| row.markdown()).collect();
        assert_eq!(documented, rows);
    }

    #[test]
    fn what_is_compared_and_counted_elsewhere_has_the_same_defaults() {
        let connections = (CONNECTIONS.parse)(CONNECTIONS.row.default).unwrap();
        assert_eq!(connections, Some(crate::http::ADDRESS_CONNECTIONS));
    }
}
