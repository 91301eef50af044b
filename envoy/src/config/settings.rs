//! Every setting: its name, its default, what it is for, and how it is read.

use std::net::SocketAddr;

use shared::key::KeySecrets;
use shared::sign::{Purpose, SigningKeys};
use shared::whole::whole;
use url::{Host, Url};

use super::LogFormat;

/// One setting.
pub(super) struct Setting<T> {
    pub(super) row: Row,
    pub(super) parse: fn(&str) -> Result<T, String>,
}

/// What is said of a setting.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The variable.
    pub name: &'static str,
    /// What is read where it is not set.
    pub default: &'static str,
    /// What that means, where the default does not say it.
    pub meaning: Option<&'static str>,
    /// What it is for, in Markdown.
    pub says: &'static str,
}

macro_rules! settings {
    ($($setting:ident: $type:ty = $name:literal $default:literal $(($meaning:literal))?, $parse:expr, $says:literal;)*) => {
        $(
            pub(super) static $setting: Setting<$type> = Setting {
                row: Row {
                    name: $name,
                    default: $default,
                    meaning: [$(Some($meaning),)? None][0],
                    says: $says,
                },
                parse: $parse,
            };
        )*

        /// Every setting, as it is listed.
        pub static ROWS: &[&Row] = &[$(&$setting.row),*];
    };
}

settings! {
    LISTEN: SocketAddr = "METER_ENVOY_LISTEN" "127.0.0.1:8081", address,
        "where Envoy connects (gRPC, HTTP/2 without TLS)";
    METRICS_LISTEN: SocketAddr = "METER_ENVOY_METRICS_LISTEN" "127.0.0.1:8082", address,
        "where `/metrics` and `/healthz` are";
    HOMES: Url = "METER_ENVOY_HOMES" "http://127.0.0.1:8788", homes,
        "the process with the homes (`METER_HOMES=serve`); `https` unless it is on this machine";
    KEY_SECRETS: KeySecrets = "METER_KEY_SECRETS" "" ("none: it must be set"), KeySecrets::parse,
        "as at the edge: under which project keys are verified";
    SIGNING_KEYS: SigningKeys = "METER_SIGNING_KEYS" "" ("none: it must be set"), |text| SigningKeys::required(text, &[Purpose::Edge]),
        "as at the edge, of which the `edge` key signs calls of the homes; others are not needed";
    REGION: String = "METER_REGION" "" ("none"), |text| Ok(text.to_owned()),
        "as at the edge: whose sub-homes are near";
    SUB_HOMES: u32 = "METER_SUB_HOMES" "0", number,
        "as at the edge: how many sub-homes to expect of a project that is new here";
    SHADOW: bool = "METER_SHADOW" "0", switch,
        "`1` denies nobody for a limit, and says `Palveron-Would-Deny` instead";
    LOG: String = "METER_LOG" "info", |text| Ok(text.to_owned()),
        "which log lines are written: a filter such as `info,meter_envoy=debug`";
    LOG_FORMAT: LogFormat = "METER_LOG_FORMAT" "text", log_format,
        "how they are written: `text` or `json`";
}

impl Row {
    /// The row of the table in docs/envoy.md.
    #[must_use]
    pub fn markdown(&self) -> String {
        let Self { name, default, meaning, says } = self;
        let default = meaning.map_or_else(|| format!("`{default}`"), str::to_owned);
        format!("| `{name}` | {default} | {says} |")
    }
}

/// The settings as `meter-envoy --help` lists them.
#[must_use]
pub fn help() -> String {
    let row = |Row { name, default, meaning, says }: &Row| {
        let default = meaning.unwrap_or(default);
        format!("  {name} ({default})\n          {says}\n").replace('`', "")
    };
    let rows: String = ROWS.iter().map(|setting| row(setting)).collect();
    format!("Settings, read from the environment, and what holds without them:\n{rows}")
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(format!("got {text:?}, accepted are 0 and 1")),
    }
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

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("got {text:?}, accepted are text and json")),
    }
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
