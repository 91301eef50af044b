//! Every setting: its name, its default, what it is for, and how it is read.

use std::net::SocketAddr;
use std::path::PathBuf;

use meter_settings::{LogFormat, optional, settings, switch};
use shared::ids::SourceId;
use shared::key::MetricsToken;
use shared::kind::{Bill, Routes};
use shared::report::{Environment, ReporterKey};
use shared::sign::SigningKeys;
use shared::whole::whole;
use shared::wire::INGEST_PATH;
use url::Url;

use super::Endpoint;
use crate::agents::AgentNames;

/// The shortest interval, in milliseconds: nothing is gained by more reports.
pub(super) const INTERVAL_MS_MIN: u64 = 60_000;
/// The longest: three reports can be missed before a deployment counts as silent.
const INTERVAL_MS_MAX: u64 = 86_400_000;
/// What is accepted.
pub(super) const INTERVALS: &str = "accepted are 60 to 86400 seconds";

settings! {
    ENDPOINT: Option<Endpoint> = "TELEMETRY_ENDPOINT" "" ("none"), |text| optional(text, |text| Endpoint::parse(text, INGEST_PATH)),
        "the aggregator: its origin such as `https://meter.example.com`, or that with `/ingest`";
    KEY: (SourceId, SigningKeys) = "TELEMETRY_HMAC_KEY" "" ("none"), ReporterKey::list,
        "`pvr_<source>_<key id>_<secret>` as it was shown when it was made; two with a comma between them while rotating, the new one first";
    INTERVAL: u64 = "TELEMETRY_INTERVAL_SECONDS" "3600", interval,
        "how often a report is sent, 60 to 86400; a tenth of it is jitter";
    LISTEN: SocketAddr = "METER_REPORTER_LISTEN" "127.0.0.1:8790", address,
        "where it listens; an address of this machine alone, because no key is asked for";
    REMOTE: bool = "METER_REPORTER_ALLOW_REMOTE" "0", switch,
        "`1` accepts other addresses to listen on: your network then keeps strangers away";
    DATA: PathBuf = "METER_REPORTER_DATA" "reporter-data", |text| Ok(PathBuf::from(text)),
        "the folder of everything that must not be lost, on a local disk; one process at a time";
    ENVIRONMENT: Environment = "METER_REPORTER_ENVIRONMENT" "production", environment,
        "`production` or `development`; both are counted and shown, and the contract says whether the latter is billed";
    AIR_GAP: bool = "METER_REPORTER_AIR_GAP" "0", switch,
        "`1` opens no connection: reports leave as files only, by `meter-reporter export`";
    AGENT_SALT: AgentNames = "METER_REPORTER_AGENT_SALT" "" ("names are sent as they are"), AgentNames::parse,
        "16 characters or more: agents are then called by a hash of their names under it, which nobody without it can undo";
    CA: Option<PathBuf> = "METER_REPORTER_CA_FILE" "" ("the machine's"), file,
        "a PEM file of the certificates that are trusted instead, for a proxy that breaks TLS or an aggregator of your own";
    CLIENT_CERTIFICATE: Option<PathBuf> = "METER_REPORTER_CLIENT_CERT" "" ("none"), file,
        "a PEM file of the certificate that is shown where the other side asks for one";
    CLIENT_KEY: Option<PathBuf> = "METER_REPORTER_CLIENT_KEY" "" ("none"), file,
        "the PEM file of its key";
    PROXY: Option<String> = "HTTPS_PROXY" "" ("none"), proxy,
        "the proxy that reports go through, such as `http://user:password@proxy.internal:3128`";
    NO_PROXY: String = "NO_PROXY" "" ("none"), |text| Ok(text.to_owned()),
        "hosts that are reached without it, as curl reads them";
    UPSTREAM: Option<Endpoint> = "METER_REPORTER_UPSTREAM" "" ("none"), |text| optional(text, |text| Endpoint::parse(text, "")),
        "the governance service that allowed gateway calls are forwarded to; without one there are none";
    ROUTES: Option<Routes> = "METER_ROUTES" "" ("those of the edge"), |text| optional(text, routes),
        "which paths are gateway calls, and of which kind";
    BILL: Bill = "METER_BILL" "allowed", bill,
        "when a gateway call is counted: here only `allowed`; `answered`, which the edge takes, is refused";
    SIGNING_KEYS: SigningKeys = "METER_SIGNING_KEYS" "" ("none"), SigningKeys::parse,
        "`upstream:u1:<64 hex>`: what forwarded requests are signed with";
    SHADOW: bool = "METER_SHADOW" "0", switch,
        "`1`: limits are decided and told of, but nobody is denied for them; as at the edge";
    METRICS_TOKEN: Option<MetricsToken> = "METER_METRICS_TOKEN" "" ("none: everybody reads them"), |text| optional(text, MetricsToken::parse),
        "with which `GET /metrics` is read (`Authorization: Bearer …`), 16 characters or more";
    LOG: String = "METER_LOG" "info", |text| Ok(text.to_owned()),
        "which log lines are written: a filter such as `info,meter_reporter=debug`";
    LOG_FORMAT: LogFormat = "METER_LOG_FORMAT" "text", LogFormat::parse,
        "how they are written: `text` or `json`";
    TEST: bool = "METER_TEST" "0", switch,
        "`1` lets the clock be moved; for tests and demonstrations only";
}

fn interval(text: &str) -> Result<u64, String> {
    let ms = whole::<u64>(text).and_then(|seconds| seconds.checked_mul(1_000));
    // A test may be in a hurry; that it is one is looked at when all is read.
    ms.filter(|ms| (1_000..=INTERVAL_MS_MAX).contains(ms)).ok_or_else(|| format!("got {text:?}, {INTERVALS}"))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("got {text:?}, accepted is address:port such as 127.0.0.1:8790"))
}

fn environment(text: &str) -> Result<Environment, String> {
    match text {
        "production" => Ok(Environment::Production),
        "development" => Ok(Environment::Development),
        _ => Err(format!("got {text:?}, accepted are production and development")),
    }
}

/// Units are spent by the decision here, and not held until an answer comes: who asks for that must not be told later, by
/// an invoice, that it was not so.
const ALLOWED_ONLY: &str = "accepted is allowed: on premise a request is counted when it is allowed";

fn bill(text: &str) -> Result<Bill, String> {
    match text {
        "allowed" => Ok(Bill::Allowed),
        _ => Err(format!("got {text:?}, {ALLOWED_ONLY}")),
    }
}

fn routes(text: &str) -> Result<Routes, String> {
    let routes = Routes::from_json(text)?;
    let is_answered = |path: &str| routes.route_of(path).and_then(|route| route.bill) == Some(Bill::Answered);
    if let Some(prefix) = routes.prefixes().find(|path| is_answered(path)) {
        return Err(format!("routes: got \"bill\":\"answered\" for {prefix:?}, {ALLOWED_ONLY}"));
    }
    Ok(routes)
}

fn file(text: &str) -> Result<Option<PathBuf>, String> {
    optional(text, |path| {
        let path = PathBuf::from(path);
        if path.is_file() { Ok(path) } else { Err(format!("there is no file {}", path.display())) }
    })
}

/// The proxy as it may be shown: without who we are to it.
fn proxy(text: &str) -> Result<Option<String>, String> {
    optional(text, |text| {
        let url = Url::parse(text).ok().filter(|url| url.scheme() == "http" && url.has_host());
        let url = url.ok_or("accepted is an address such as http://proxy.internal:3128")?;
        Ok(url.origin().ascii_serialization())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_documents_is_these_rows() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/on-premise.md");
        let document = std::fs::read_to_string(path).unwrap();
        let settings = document.split("## Settings").nth(1).unwrap().split("\n##").next().unwrap();
        let documented: Vec<&str> = settings.lines().filter(|line| line.starts_with("| `")).collect();
        let rows: Vec<String> = ROWS.iter().map(|row| row.markdown()).collect();
        assert_eq!(documented, rows);
    }
}
