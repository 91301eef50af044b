//! Every setting: its name, its default, what it is for, and how it is read.

use std::net::SocketAddr;

use meter_settings::{LogFormat, settings, switch};
use shared::key::KeySecrets;
use shared::sign::{Purpose, SigningKeys};
use shared::whole::whole;
use url::{Host, Url};

settings! {
    LISTEN: SocketAddr = "METER_ENVOY_LISTEN" "127.0.0.1:8081", address,
        "where Envoy connects (gRPC, HTTP/2 without TLS)";
    METRICS_LISTEN: SocketAddr = "METER_ENVOY_METRICS_LISTEN" "127.0.0.1:8082", address,
        "where `/metrics` and `/healthz` are";
    HOMES: Url = "METER_ENVOY_HOMES" "http://127.0.0.1:8788", homes,
        "the process with the homes (`METER_HOMES=serve`); `https` unless it is on this machine";
    KEY_SECRETS: KeySecrets = "METER_KEY_SECRETS" "" ("none: it must be set"), KeySecrets::parse,
        "as at the edge: under which project keys are verified";
    SIGNING_KEYS: SigningKeys = "METER_SIGNING_KEYS" "" ("none: it must be set"), signing_keys,
        "as at the edge, of which the `edge` key signs calls of the homes; others are not needed";
    REGION: String = "METER_REGION" "" ("none"), |text| Ok(text.to_owned()),
        "as at the edge: whose sub-homes are near";
    SUB_HOMES: u32 = "METER_SUB_HOMES" "0", number,
        "as at the edge: how many sub-homes to expect of a project that is new here";
    SHADOW: bool = "METER_SHADOW" "0", switch,
        "`1` denies nobody for a limit, and says `Palveron-Would-Deny` instead";
    LOG: String = "METER_LOG" "info", |text| Ok(text.to_owned()),
        "which log lines are written: a filter such as `info,meter_envoy=debug`";
    LOG_FORMAT: LogFormat = "METER_LOG_FORMAT" "text", LogFormat::parse,
        "how they are written: `text` or `json`";
}

fn signing_keys(text: &str) -> Result<SigningKeys, String> {
    // It says by itself whose refusal that is.
    let bare = |why: String| why.trim_start_matches("METER_SIGNING_KEYS: ").to_owned();
    SigningKeys::required(text, &[Purpose::Edge]).map_err(bare)
}

fn number(text: &str) -> Result<u32, String> {
    whole(text).ok_or_else(|| format!("got {text:?}, accepted is a whole number"))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("got {text:?}, accepted is address:port such as 127.0.0.1:8081"))
}

/// Calls are signed and not encrypted, so that in clear they stay on this machine.
fn homes(text: &str) -> Result<Url, String> {
    const ACCEPTS: &str =
        "accepted is an address such as https://homes.example.com; http only to this machine";
    let url = Url::parse(text).map_err(|_| ACCEPTS)?;
    let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let reachable = url.scheme() == "https" || (url.scheme() == "http" && here);
    if plain && anonymous && reachable { Ok(url) } else { Err(ACCEPTS.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_documents_is_these_rows() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/envoy.md");
        let document = std::fs::read_to_string(path).unwrap();
        let settings = document.split("## Settings").nth(1).unwrap().split("\n## ").next().unwrap();
        let documented: Vec<&str> = settings.lines().filter(|line| line.starts_with("| `")).collect();
        let rows: Vec<String> = ROWS.iter().map(|row| row.markdown()).collect();
        assert_eq!(documented, rows, "{}", rows.join("\n"));
    }
}
