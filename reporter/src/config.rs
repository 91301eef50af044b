//! The configuration: read from the environment once, validated as a whole, shown without its secrets.
//!
//! Nothing else in this crate may look at the environment.

mod elsewhere;
mod endpoint;
mod settings;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use hyper_util::client::proxy::matcher::Matcher;
pub use meter_settings::{ConfigError, LogFormat};
use meter_settings::{Reader, Row};
use shared::ids::SourceId;
use shared::key::MetricsToken;
use shared::kind::Routes;
use shared::report::Environment;
use shared::sign::SigningKeys;

pub use self::endpoint::Endpoint;
pub use self::settings::ROWS;
use crate::agents::AgentNames;

/// What names begin with that can only be meant for this program.
const OURS: [&str; 2] = ["TELEMETRY_", "METER_REPORTER_"];

/// The files of TLS towards the aggregator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates that are trusted instead of the machine's.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key, where the other side asks for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// All that `meter-reporter` is told by its environment.
#[derive(Debug)]
pub struct Config {
    /// Where reports go; `None` in air-gap mode, which opens no connection at all.
    pub endpoint: Option<Endpoint>,
    /// Which reporter this is.
    pub source: SourceId,
    /// What reports are signed with and receipts verified; two while rotating.
    pub keys: SigningKeys,
    /// How often a report is sent.
    pub interval_ms: u64,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where everything is kept.
    pub data: PathBuf,
    /// What the deployment is for.
    pub environment: Environment,
    /// How agents are called in what leaves.
    pub agents: AgentNames,
    /// The proxy, and for which addresses there is none.
    pub proxy: Proxy,
    /// The files of TLS.
    pub tls: TlsFiles,
    /// Whom allowed requests are forwarded to.
    pub upstream: Option<Endpoint>,
    /// Which paths are forwarded.
    pub routes: Option<Routes>,
    /// What forwarded requests are signed with.
    pub signing_keys: SigningKeys,
    /// Whether limits are told of, but nobody is denied for them.
    pub shadow: bool,
    /// What `/metrics` is read with; `None` shows the numbers to everybody.
    pub metrics_token: Option<MetricsToken>,
    /// Whether this is for tests and demonstrations, whose clock may be moved.
    pub test: bool,
    /// Which log lines are written.
    pub log_filter: String,
    /// How they are written.
    pub log_format: LogFormat,
}

/// Where connections go through a proxy.
pub struct Proxy {
    /// Decides for each address.
    pub matcher: Matcher,
    /// The proxy's address as it may be shown.
    pub shown: Option<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown)
    }
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Names every variable that is not accepted.
    pub fn from_environment() -> Result<Self, ConfigError> {
        Self::read(&meter_settings::variable, meter_settings::names())
    }

    /// The same for a command that decides nothing: whoever looks may have the settings of an edge in the same terminal.
    ///
    /// # Errors
    /// As [`Config::from_environment`].
    pub fn of_a_command() -> Result<Self, ConfigError> {
        let get = |name: &str| meter_settings::variable(name).filter(|_| !elsewhere::is_one(name));
        Self::read(&get, meter_settings::names())
    }

    /// Reads the variables that `get` gives, of which `names` are set; an empty one counts as unset.
    ///
    /// # Errors
    /// Names every variable that is not accepted, those included that nothing reads.
    pub fn read(
        get: &dyn Fn(&str) -> Option<String>,
        names: impl Iterator<Item = String>,
    ) -> Result<Self, ConfigError> {
        let unknown = meter_settings::refusals("meter-reporter", &OURS, ROWS, names);
        let mut reader = Reader::new(get, unknown);
        let config = Self::assemble(&mut reader);
        reader.finish(config)
    }

    /// `None` where something is refused, which is said only after all was looked at.
    fn assemble(reader: &mut Reader<'_>) -> Option<Self> {
        let endpoint = reader.value(&settings::ENDPOINT);
        let key = reader.value(&settings::KEY);
        let interval_ms = reader.value(&settings::INTERVAL);
        let listen = reader.value(&settings::LISTEN);
        let remote = reader.value(&settings::REMOTE);
        let data = reader.value(&settings::DATA);
        let environment = reader.value(&settings::ENVIRONMENT);
        let air_gap = reader.value(&settings::AIR_GAP);
        let agents = reader.value(&settings::AGENT_SALT);
        let ca = reader.value(&settings::CA);
        let certificate = reader.value(&settings::CLIENT_CERTIFICATE);
        let client_key = reader.value(&settings::CLIENT_KEY);
        let proxy = proxy(reader);
        let upstream = reader.value(&settings::UPSTREAM);
        let routes = reader.value(&settings::ROUTES);
        let bill = reader.value(&settings::BILL);
        let signing_keys = reader.value(&settings::SIGNING_KEYS);
        let shadow = reader.value(&settings::SHADOW);
        let metrics_token = reader.value(&settings::METRICS_TOKEN);
        let test = reader.value(&settings::TEST);
        let log_filter = reader.value(&settings::LOG);
        let log_format = reader.value(&settings::LOG_FORMAT);
        if air_gap == Some(true) && matches!(upstream, Some(Some(_))) {
            let why =
                "with METER_REPORTER_AIR_GAP=1 no connection is opened, to a governance service neither";
            reader.refuse(&settings::UPSTREAM.row, why);
        }
        elsewhere::refuse(reader, &upstream);
        let endpoint = endpoint_of(reader, endpoint?, air_gap?);
        let client = pair(reader, certificate?, client_key?);
        let (listen, test) = (listen?, test?);
        if !listen.ip().is_loopback() && remote == Some(false) {
            let why = "no key is asked for, so that only addresses of this machine are accepted, such as 127.0.0.1:8790; METER_REPORTER_ALLOW_REMOTE=1 says that the network keeps strangers away";
            reader.refuse(&settings::LISTEN.row, why);
        }
        let interval_ms = interval_ms?;
        if !test && interval_ms < settings::INTERVAL_MS_MIN {
            reader.refuse(&settings::INTERVAL.row, settings::INTERVALS);
        }
        let (source, keys) = key?;
        // There is one way to count here, which is what this says.
        bill?;
        Some(Self {
            endpoint: endpoint?,
            source,
            keys,
            interval_ms,
            listen,
            data: data?,
            environment: environment?,
            agents: agents?,
            proxy: proxy?,
            tls: TlsFiles { ca: ca?, client: client? },
            upstream: upstream?,
            routes: routes?,
            signing_keys: signing_keys?,
            shadow: shadow?,
            metrics_token: metrics_token?,
            test,
            log_filter: log_filter?,
            log_format: log_format?,
        })
    }

    /// Whether no connection may be opened.
    #[must_use]
    pub fn is_air_gap(&self) -> bool {
        self.endpoint.is_none()
    }
}

/// The configuration as it may be shown: secrets by name only.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Some(endpoint) => write!(f, "TELEMETRY_ENDPOINT={endpoint}")?,
            None => write!(f, "METER_REPORTER_AIR_GAP=1")?,
        }
        let keys: Vec<String> = self.keys.ids().map(ToString::to_string).collect();
        write!(f, " TELEMETRY_HMAC_KEY={}:{}", self.source, keys.join(","))?;
        write!(f, " TELEMETRY_INTERVAL_SECONDS={}", self.interval_ms.div_euclid(1_000))?;
        write!(f, " METER_REPORTER_LISTEN={} METER_REPORTER_DATA={}", self.listen, self.data.display())?;
        write!(f, " METER_REPORTER_ENVIRONMENT={:?} agents={:?}", self.environment, self.agents)?;
        if let Some(proxy) = &self.proxy.shown {
            write!(f, " HTTPS_PROXY={proxy}")?;
        }
        if let Some(ca) = &self.tls.ca {
            write!(f, " METER_REPORTER_CA_FILE={}", ca.display())?;
        }
        if let Some((certificate, _)) = &self.tls.client {
            write!(f, " METER_REPORTER_CLIENT_CERT={}", certificate.display())?;
        }
        if let Some(upstream) = &self.upstream {
            write!(f, " METER_REPORTER_UPSTREAM={upstream}")?;
        }
        if self.shadow {
            write!(f, " METER_SHADOW=1")?;
        }
        if self.test { write!(f, " METER_TEST=1") } else { Ok(()) }
    }
}

/// Where reports go: nowhere in air-gap mode, and else it must be said.
#[expect(clippy::option_option, reason = "not accepted and not there are two things")]
fn endpoint_of(
    reader: &mut Reader<'_>,
    endpoint: Option<Endpoint>,
    air_gap: bool,
) -> Option<Option<Endpoint>> {
    if air_gap {
        return Some(None);
    }
    if endpoint.is_none() {
        let why = "is not set; accepted is the aggregator's address such as https://meter.example.com, or METER_REPORTER_AIR_GAP=1 for a network without a way out";
        reader.refuse(&settings::ENDPOINT.row, why);
    }
    endpoint.map(Some)
}

/// Certificate and key come together.
#[expect(clippy::option_option, reason = "not accepted and not there are two things")]
fn pair(
    reader: &mut Reader<'_>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Option<Option<(PathBuf, PathBuf)>> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Some((certificate, key))),
        (None, None) => Some(None),
        (Some(_), None) => {
            reader.refuse(
                &settings::CLIENT_KEY.row,
                "is not set; accepted is the file of the certificate's key",
            );
            None
        }
        (None, Some(_)) => {
            reader.refuse(
                &settings::CLIENT_CERTIFICATE.row,
                "is not set; accepted is the file of the key's certificate",
            );
            None
        }
    }
}

/// As curl reads these two: in lowercase, too.
fn proxy(reader: &mut Reader<'_>) -> Option<Proxy> {
    let either = |reader: &Reader<'_>, row: &Row| {
        let lower = row.name.to_ascii_lowercase();
        let text = reader.text(row.name).or_else(|| reader.text(&lower)).unwrap_or_default();
        text.trim().to_owned()
    };
    let (address, except) = (either(reader, &settings::PROXY.row), either(reader, &settings::NO_PROXY.row));
    match (settings::PROXY.parse)(&address) {
        Ok(shown) => {
            let matcher = Matcher::builder().http(address.clone()).https(address).no(except).build();
            Some(Proxy { matcher, shown })
        }
        Err(why) => {
            reader.refuse(&settings::PROXY.row, &why);
            None
        }
    }
}

#[cfg(test)]
mod tests;
