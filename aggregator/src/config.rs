//! The configuration: read from the environment once, validated as a whole, shown without its secrets.
//!
//! Nothing else in this crate may look at the environment.

mod provider;
mod redis;
mod server;
mod settings;
mod unknown;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use meter_settings::{ConfigError, LogFormat};
use meter_settings::{File, Reader, Row};
use shared::ids::ProjectId;
use shared::key::{KeySecrets, MetricsToken};
use shared::policy::{LeaseRules, Place};
use shared::sign::{Purpose, SigningKeys};
use shared::whole::whole;

pub use self::server::Server;
pub use self::settings::ROWS;
use crate::contracts::party::Seller;
use crate::counters::settings::RedisSettings;
use crate::edge::client::EdgeUrl;
use crate::edge::peers::ClockPeers;
use crate::identity::ProviderSettings;
use crate::payments::signature::WebhookSecrets;
use crate::projects::policy::Basis;
use crate::store::Database;
use crate::stripe::account::ReturnUrls;
use crate::stripe::client::SecretKey;
use crate::traces::TraceSettings;
use crate::webhooks::Settings;
use crate::webhooks::seal::SealKeys;
use crate::webhooks::target::Rules;

/// Who lists settings, and what most names begin with.
const PROGRAM: (&str, &str) = ("meter", "METER_");

/// What an example of a file begins with.
const EXAMPLE_HEAD: &str = "\
Every setting of `meter`, as it is where nothing sets it. `meter settings` prints this file.
`meter --config FILE` or METER_CONFIG=FILE reads a file such as this one; a variable of the same name in the environment wins.
It may hold secrets, so keep it from others: chmod 600.";

/// What a file may set: all but which file that is.
fn in_file() -> Vec<&'static Row> {
    ROWS.iter().copied().filter(|row| row.name != settings::CONFIG.row.name).collect()
}

/// Where requests are decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decisions {
    /// Each at its home, durably, before the answer.
    Home,
    /// In the isolate, by what the home has leased to it; through as many sub-homes as the project's
    /// requests per minute need, or through that many.
    Lease(Option<u32>),
}

impl Decisions {
    /// What all policies are compiled from.
    #[must_use]
    pub fn basis(self, upgrade_url: String) -> Basis {
        let sub_homes = match self {
            Self::Home => Some(0),
            Self::Lease(count) => count,
        };
        let leases = LeaseRules {
            strict: self == Self::Home,
            sub_homes: sub_homes.unwrap_or(0),
            ..LeaseRules::default()
        };
        Basis { sub_homes_by_rpm: sub_homes.is_none(), ..Basis::new(upgrade_url, leases) }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let refused = || format!("got {text:?}, accepted are home, lease, and lease:<sub-homes> up to 256");
        match text.split_once(':') {
            None if text == "home" => Ok(Self::Home),
            None if text == "lease" => Ok(Self::Lease(None)),
            Some(("lease", count)) => {
                let count = whole(count).filter(|count| *count <= 256);
                count.map(|count| Self::Lease(Some(count))).ok_or_else(refused)
            }
            Some(_) | None => Err(refused()),
        }
    }
}

impl fmt::Display for Decisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home => f.write_str("home"),
            Self::Lease(None) => f.write_str("lease"),
            Self::Lease(Some(count)) => write!(f, "lease:{count}"),
        }
    }
}

/// How Stripe is reached.
#[derive(Debug, Clone)]
pub struct StripeSettings {
    /// The account's secret key.
    pub key: SecretKey,
    /// What its deliveries are signed with.
    pub secrets: WebhookSecrets,
    /// Where it is, where that is not Stripe itself.
    pub base: Option<String>,
    /// Where customers may be sent back to.
    pub return_urls: ReturnUrls,
    /// Whether it computes taxes.
    pub automatic_tax: bool,
}

/// All that `meter` is told by its environment.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How many connections one address has at once; `None` where all come through a proxy.
    pub address_connections: Option<usize>,
    /// Where the books are.
    pub database: Database,
    /// Where policies are pushed to.
    pub edge_url: EdgeUrl,
    /// The Redis that has the homes; `None` where they are objects of the edge.
    pub redis: Option<RedisSettings>,
    /// What project keys are made with.
    pub key_secrets: Option<KeySecrets>,
    /// What is signed with between machines.
    pub signing_keys: SigningKeys,
    /// Where customers get more quota.
    pub upgrade_url: String,
    /// Where requests are decided.
    pub decisions: Decisions,
    /// The file of the plan catalogue; what is compiled in where there is none.
    pub plans: Option<PathBuf>,
    /// The simulated Stripe whose clock moves along with that of a meter for tests.
    pub fake_stripe: Option<EdgeUrl>,
    /// The meter on premise whose clock moves along with that of a meter for tests.
    pub reporter: Option<EdgeUrl>,
    /// Whether this is a meter for tests and demonstrations, whose clock may be moved.
    pub test: bool,
    /// Who runs this process, for the audit log.
    pub user: String,
    /// Where webhooks may go.
    pub webhook_rules: Rules,
    /// Who invoices contracts.
    pub seller: Option<Seller>,
    /// By which people may sign in, where it is set.
    pub provider: Option<ProviderSettings>,
    /// What webhooks' secrets are sealed with, where it is set.
    pub webhook_seal: Option<KeySecrets>,
    /// Our account at Stripe; `None` takes no payments.
    pub stripe: Option<StripeSettings>,
    /// The server that commands are sent to; `None` works on the books themselves.
    pub server: Option<Server>,
    /// The project that commands are about where they name none.
    pub project: Option<ProjectId>,
    /// What the numbers of `/metrics` are read with; `None` shows them to everybody.
    pub metrics_token: Option<MetricsToken>,
    /// Where traces are sent; `None` makes none.
    pub traces: Option<TraceSettings>,
    /// Which log lines are written.
    pub log_filter: String,
    /// How they are written.
    pub log_format: LogFormat,
}

impl Config {
    /// Reads the process's environment, and for what is not set in it the file: that one, or that of `METER_CONFIG`.
    ///
    /// # Errors
    /// Names every setting that is not accepted.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let variable = |name: &str| meter_settings::variable(name).filter(|text| !text.trim().is_empty());
        let of_environment = variable(settings::CONFIG.row.name).map(PathBuf::from);
        let file = match file.or(of_environment.as_deref()) {
            Some(path) => File::read(path, PROGRAM, &in_file())?,
            None => File::default(),
        };
        Self::read(&|name| variable(name).or_else(|| file.get(name).map(str::to_owned)))
    }

    /// A file with all settings, as they are without one.
    #[must_use]
    pub fn example() -> String {
        meter_settings::example(EXAMPLE_HEAD, &in_file()).replace("see below", "see docs/operations.md")
    }

    /// Says which variables of the process's environment are set and read by nobody.
    #[must_use]
    pub fn unknown_variables() -> Vec<String> {
        unknown::remarks(meter_settings::names())
    }

    /// Reads the variables that `get` gives; an empty one counts as unset.
    ///
    /// # Errors
    /// Names every variable that is not accepted.
    pub fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(get, Vec::new());
        let config = Self::assemble(&mut reader);
        reader.finish(config)
    }

    /// `None` where something is refused, which is said only after all was looked at.
    fn assemble(reader: &mut Reader<'_>) -> Option<Self> {
        let listen = reader.value(&settings::LISTEN);
        let address_connections = reader.value(&settings::CONNECTIONS);
        let database = reader.value(&settings::DATABASE);
        let edge_url = reader.value(&settings::EDGE);
        let redis = redis::read(reader);
        let key_secrets = reader.value(&settings::KEY_SECRETS);
        let signing_keys = reader.value(&settings::SIGNING_KEYS);
        let upgrade_url = reader.value(&settings::UPGRADE);
        let test = reader.value(&settings::TEST);
        let decisions = reader.value(&settings::DECISIONS);
        let user = ["USER", "LOGNAME"].into_iter().find_map(|name| reader.text(name)).unwrap_or_default();
        let plans = reader.value(&settings::PLANS);
        let ports = reader.value(&settings::WEBHOOK_PORTS);
        let loopback = reader.value(&settings::WEBHOOK_LOOPBACK);
        let webhook_seal = reader.value(&settings::WEBHOOK_SEAL);
        let seller = reader.value(&settings::SELLER);
        let provider = provider::read(reader);
        let stripe_base = reader.value(&settings::STRIPE_BASE);
        let reporter = reader.value(&settings::REPORTER);
        let metrics_token = reader.value(&settings::METRICS_TOKEN);
        let collector = reader.value(&settings::COLLECTOR);
        let (headers, service) =
            (reader.value(&settings::COLLECTOR_HEADERS), reader.value(&settings::SERVICE));
        let stripe = stripe(reader, test, stripe_base.clone().flatten());
        let log_filter = reader.value(&settings::LOG);
        let log_format = reader.value(&settings::LOG_FORMAT);
        let server = server::read(reader);
        let project = reader.value(&settings::PROJECT);
        // A Stripe whose clock can be moved is a simulated one.
        let fake_stripe = stripe_base?.filter(|_| test == Some(true));
        Some(Self {
            listen: listen?,
            address_connections: address_connections?,
            database: database?,
            edge_url: edge_url?,
            redis: redis?,
            key_secrets: key_secrets?,
            signing_keys: signing_keys?,
            upgrade_url: upgrade_url?,
            decisions: decisions?,
            plans: plans?,
            fake_stripe: fake_stripe.and_then(|text| EdgeUrl::parse(&text).ok()),
            reporter: reporter?,
            test: test?,
            user,
            webhook_rules: Rules { ports: ports?, loopback: loopback? },
            webhook_seal: webhook_seal?,
            seller: seller?,
            provider: provider?,
            stripe: stripe?,
            server: server?,
            project: project?,
            metrics_token: metrics_token?,
            traces: match (collector?, headers?, service?) {
                (Some(collector), headers, service) => Some(TraceSettings { collector, headers, service }),
                (None, _, _) => None,
            },
            log_filter: log_filter?,
            log_format: log_format?,
        })
    }

    /// The secrets that make project keys.
    ///
    /// # Errors
    /// Says how to make one if there is none.
    pub fn key_secrets(&self) -> Result<&KeySecrets, ConfigError> {
        self.key_secrets.as_ref().ok_or_else(|| {
            ConfigError(vec!["METER_KEY_SECRETS is not set; accepted is 1:<64 hex digits>, as `openssl rand -hex 32` prints them".to_owned()])
        })
    }

    /// Those whose clocks move along with ours.
    ///
    /// # Errors
    /// When TLS is needed and the machine has no trusted certificates.
    pub fn clock_peers(&self) -> Result<ClockPeers, String> {
        let (stripe, reporter) = (self.fake_stripe.clone(), self.reporter.clone());
        ClockPeers::new(self.edge_url.clone(), self.signing_keys.clone(), stripe, reporter)
    }

    /// What all policies are compiled from.
    #[must_use]
    pub fn basis(&self) -> Basis {
        let basis = self.decisions.basis(self.upgrade_url.clone());
        let Some(redis) = &self.redis else { return basis };
        let in_redis = basis.clone().in_redis(redis.accepted_loss);
        match redis.first {
            Place::DurableObject => basis.beside(in_redis),
            Place::Redis => in_redis.beside(basis),
        }
    }

    /// What is settled about webhooks.
    #[must_use]
    pub fn webhooks(&self) -> Settings {
        let none = KeySecrets::none();
        let project_keys = self.key_secrets.as_ref().unwrap_or(&none);
        let keys = SealKeys::new(self.webhook_seal.as_ref(), project_keys);
        Settings { rules: self.webhook_rules.clone(), keys }
    }

    /// Checks that there are the signing keys that a server needs.
    ///
    /// # Errors
    /// Says which are missing.
    pub fn check_signing_keys(&self) -> Result<(), ConfigError> {
        let missing: Vec<String> = [(Purpose::Edge, "edge:e1"), (Purpose::Policy, "policy:p1")]
            .into_iter()
            .filter(|(purpose, _)| self.signing_keys.current(*purpose).is_none())
            .map(|(_, form)| {
                format!(
                    "METER_SIGNING_KEYS has no {form}:<64 hex digits>; the edge and the aggregator share it"
                )
            })
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(ConfigError(missing)) }
    }
}

/// The configuration as it may be shown: secrets by name only.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            listen,
            address_connections,
            database,
            edge_url,
            redis,
            key_secrets,
            signing_keys,
            upgrade_url,
            decisions,
            plans,
            fake_stripe: _,
            reporter: _,
            test,
            user: _,
            webhook_rules,
            webhook_seal,
            seller,
            provider,
            stripe,
            server: _,
            project: _,
            metrics_token,
            traces,
            log_filter,
            log_format: _,
        } = self;
        write!(f, "METER_LISTEN={listen} DATABASE_URL={database} EDGE_URL={edge_url} ")?;
        write!(f, "METER_KEY_SECRETS={key_secrets:?} METER_SIGNING_KEYS={signing_keys:?} ")?;
        write!(f, "METER_UPGRADE_URL={upgrade_url} METER_DECISIONS={} METER_LOG={log_filter}", decisions)?;
        if let Some(redis) = redis {
            write!(f, " {redis}")?;
        }
        if let Some(plans) = plans {
            write!(f, " METER_PLANS={}", plans.display())?;
        }
        let ports: Vec<String> = webhook_rules.ports.iter().map(u16::to_string).collect();
        write!(f, " METER_WEBHOOKS_PORTS={} METER_SECRET_KEY={webhook_seal:?}", ports.join(","))?;
        if let Some(seller) = seller {
            write!(f, " METER_SELLER={:?}", seller.name)?;
        }
        if let Some(provider) = provider {
            write!(f, " {provider}")?;
        }
        if webhook_rules.loopback {
            write!(f, " METER_WEBHOOKS_ALLOW_LOOPBACK=1")?;
        }
        if let Some(StripeSettings { key, secrets, base, return_urls: _, automatic_tax: _ }) = stripe {
            let base = base.as_deref().unwrap_or("Stripe");
            write!(f, " STRIPE_SECRET_KEY={key:?} STRIPE_WEBHOOK_SECRET={secrets:?} STRIPE_API_BASE={base}")?;
        }
        let per_address = address_connections.map_or_else(|| "none".to_owned(), |count| count.to_string());
        write!(f, " METER_CONNECTIONS_PER_ADDRESS={per_address}")?;
        if let Some(token) = metrics_token {
            write!(f, " METER_METRICS_TOKEN={token:?}")?;
        }
        if let Some(TraceSettings { collector, headers, service }) = traces {
            write!(f, " OTEL_EXPORTER_OTLP_ENDPOINT={collector} OTEL_EXPORTER_OTLP_HEADERS={headers:?}")?;
            write!(f, " OTEL_SERVICE_NAME={service}")?;
        }
        if *test { write!(f, " METER_TEST=1") } else { Ok(()) }
    }
}

/// The account at Stripe, as far as one is set. The outer `None` is a refusal.
#[expect(clippy::option_option, reason = "not accepted and not there are two things")]
fn stripe(
    reader: &mut Reader<'_>,
    test: Option<bool>,
    base: Option<String>,
) -> Option<Option<StripeSettings>> {
    let key = reader.value(&settings::STRIPE_KEY);
    let secrets = reader.value(&settings::STRIPE_SECRETS);
    let return_urls = reader.value(&settings::RETURN_URLS);
    let automatic_tax = reader.value(&settings::AUTOMATIC_TAX);
    let (key, secrets, return_urls, automatic_tax) = (key?, secrets?, return_urls?, automatic_tax?);
    let Some(key) = key else { return Some(None) };
    if test == Some(true) && key.is_live() {
        let why = "a live key is not accepted with METER_TEST=1, whose clock may be moved";
        reader.refuse(&settings::STRIPE_KEY.row, why);
        return None;
    }
    let Some(secrets) = secrets else {
        let why =
            "got nothing, accepted are the endpoint's secrets such as whsec_…: deliveries cannot be verified";
        reader.refuse(&settings::STRIPE_SECRETS.row, why);
        return None;
    };
    Some(Some(StripeSettings { key, secrets, base, return_urls, automatic_tax }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::read(&|name| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
    }

    #[test]
    fn an_empty_environment_has_defaults() {
        let config = read(&[("METER_LISTEN", " ")]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.database.to_string(), "sqlite://meter.db");
        assert_eq!(config.address_connections, Some(100));
        let proxied = read(&[("METER_CONNECTIONS_PER_ADDRESS", "none")]).unwrap();
        assert_eq!(proxied.address_connections, None);
        assert_eq!(
            config.edge_url.join("/internal/policy").unwrap().to_string(),
            "http://127.0.0.1:8787/internal/policy"
        );
        assert!(config.key_secrets().is_err());
        assert_eq!(config.check_signing_keys().unwrap_err().0.len(), 2);
    }

    /// What a file says, where the environment says nothing.
    fn of_file(text: &str) -> Result<Config, ConfigError> {
        let file = File::parse(text, PROGRAM, &in_file()).map_err(ConfigError)?;
        Config::read(&|name| file.get(name).map(str::to_owned))
    }

    #[test]
    fn the_example_of_the_repository_is_these_settings_and_each_of_its_lines_is_accepted() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../meter.example.toml");
        let example = std::fs::read_to_string(path).unwrap();
        assert_eq!(example, Config::example(), "`meter settings > meter.example.toml` writes it anew");
        let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
        let lines: Vec<&str> = example.lines().filter(is_setting).map(|line| &line[1..]).collect();
        assert_eq!(lines.len(), in_file().len());
        let untouched = of_file(&example).unwrap().to_string();
        for line in lines.iter().copied().chain([lines.join("\n").as_str()]) {
            let config = of_file(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(config.to_string(), untouched, "{line} says what holds without it");
        }
    }

    #[test]
    fn a_file_is_read_as_the_environment_is_and_refused_by_name() {
        let config = of_file("METER_LISTEN = \"127.0.0.1:9\"\nMETER_CONNECTIONS_PER_ADDRESS = 7").unwrap();
        assert_eq!((config.listen.port(), config.address_connections), (9, Some(7)));
        for (text, expected) in [
            ("METER_LISTEN = 8080", "METER_LISTEN: "),
            ("METER_LISTN = 8080", "METER_LISTN: nothing reads it; did you mean METER_LISTEN?"),
            ("METER_SHADOW = 1", "METER_SHADOW: nothing reads it; `meter --help`"),
            ("METER_CONFIG = \"other.toml\"", "METER_CONFIG: nothing reads it"),
        ] {
            let error = of_file(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let cases = [
            ("METER_LISTEN", "8080"),
            ("METER_CONNECTIONS_PER_ADDRESS", "0"),
            ("METER_CONNECTIONS_PER_ADDRESS", "4097"),
            ("METER_CONNECTIONS_PER_ADDRESS", "all"),
            ("DATABASE_URL", "sqlite::memory:"),
            ("DATABASE_URL", "sqlite://x.db?mode=memory"),
            ("DATABASE_URL", "mysql://user:hunter2@db/x"),
            ("DATABASE_URL", "postgres://user:hunter2@db"),
            ("REDIS_URL", "http://user:hunter2@127.0.0.1"),
            ("REDIS_REPLICAS", "some"),
            ("EDGE_URL", "127.0.0.1:8787"),
            ("EDGE_URL", "ftp://127.0.0.1"),
            ("EDGE_URL", "http://127.0.0.1/path"),
            ("EDGE_URL", "http://user:hunter2@127.0.0.1"),
            ("METER_KEY_SECRETS", "1:hunter2"),
            ("METER_SIGNING_KEYS", "edge:e1:hunter2"),
            ("METER_UPGRADE_URL", "palveron.com"),
            ("METER_DECISIONS", "isolate"),
            ("METER_TEST", "yes"),
            ("METER_SECRET_KEY", "1:hunter2"),
            ("METER_WEBHOOKS_PORTS", "443,0"),
            ("METER_WEBHOOKS_ALLOW_LOOPBACK", "yes"),
            ("METER_LOG_FORMAT", "xml"),
            ("METER_URL", "http://user:hunter2@127.0.0.1"),
            ("METER_TOKEN", "hunter2"),
            ("METER_PROJECT", "Demo"),
            ("STRIPE_SECRET_KEY", "pk_live_hunter2"),
            ("STRIPE_WEBHOOK_SECRET", "hunter2"),
            ("STRIPE_API_BASE", "ftp://127.0.0.1"),
            ("STRIPE_RETURN_URLS", "app.example.com"),
            ("STRIPE_AUTOMATIC_TAX", "yes"),
        ];
        for (name, value) in cases {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}: ")), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let two = read(&[("METER_LISTEN", "x"), ("EDGE_URL", "x")]).unwrap_err();
        assert_eq!(two.0.len(), 2, "all problems are told at once");
    }

    #[test]
    fn an_account_needs_its_webhook_secret_and_a_live_one_no_test_clock() {
        let live = [("STRIPE_SECRET_KEY", "sk_live_hunter2"), ("STRIPE_WEBHOOK_SECRET", "whsec_hunter2")];
        let config = read(&live).unwrap();
        let shown = format!("{config} {config:?}");
        assert!(!shown.contains("hunter2") && shown.contains("live"), "{shown}");
        let error = read(&live[..1]).unwrap_err().to_string();
        assert!(error.starts_with("STRIPE_WEBHOOK_SECRET: "), "{error}");
        let error = read(&[live[0], live[1], ("METER_TEST", "1")]).unwrap_err().to_string();
        assert!(error.starts_with("STRIPE_SECRET_KEY: ") && !error.contains("hunter2"), "{error}");
        assert!(read(&[]).unwrap().stripe.is_none());
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = "ab".repeat(32);
        let keys = format!("edge:e1:{secret},policy:p1:{secret}");
        let config = read(&[
            ("METER_KEY_SECRETS", &format!("1:{secret}")),
            ("METER_SIGNING_KEYS", &keys),
            ("DATABASE_URL", "postgres://meter:abab@db/books"),
        ])
        .unwrap();
        assert!(config.check_signing_keys().is_ok() && config.key_secrets().is_ok());
        let shown = format!("{config} {config:?}");
        assert!(!shown.contains("abab") && shown.contains("e1"), "{shown}");
    }
}
