//! The configuration: read from the environment once, validated as a whole, shown without its secrets.
//!
//! Nothing else in this crate may look at the environment.

mod settings;

use std::fmt;
use std::net::SocketAddr;

use meter_settings::Reader;
pub use meter_settings::{ConfigError, LogFormat};
use shared::key::KeySecrets;
use shared::sign::SigningKeys;
use url::Url;

pub use self::settings::ROWS;

/// What names begin with that can only be meant for this program.
const OURS: [&str; 1] = ["METER_ENVOY_"];

/// All that `meter-envoy` is told by its environment.
#[derive(Debug)]
pub struct Config {
    /// Where Envoy connects.
    pub listen: SocketAddr,
    /// Where `/metrics` and `/healthz` are.
    pub metrics_listen: SocketAddr,
    /// Where the homes are.
    pub homes: Url,
    /// Under which project keys are verified.
    pub key_secrets: KeySecrets,
    /// What calls of the homes are signed with.
    pub signing_keys: SigningKeys,
    /// Which sub-homes are near.
    pub region: String,
    /// How many sub-homes to expect before a policy has said it.
    pub sub_homes: u32,
    /// Whether limits are told of, but nobody is denied for them.
    pub shadow: bool,
    /// Which log lines are written.
    pub log_filter: String,
    /// How they are written.
    pub log_format: LogFormat,
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Names every variable that is not accepted.
    pub fn from_environment() -> Result<Self, ConfigError> {
        Self::read(&meter_settings::variable, meter_settings::names())
    }

    /// Reads the variables that `get` gives, of which `names` are set; an empty one counts as unset.
    ///
    /// # Errors
    /// Names every variable that is not accepted, those of ours included that nothing reads.
    pub fn read(
        get: &dyn Fn(&str) -> Option<String>,
        names: impl Iterator<Item = String>,
    ) -> Result<Self, ConfigError> {
        let unknown = meter_settings::refusals("meter-envoy", &OURS, ROWS, names);
        let mut reader = Reader::new(get, unknown);
        let config = Self::assemble(&mut reader);
        reader.finish(config)
    }

    /// `None` where something is refused, which is said only after all was looked at.
    fn assemble(reader: &mut Reader<'_>) -> Option<Self> {
        let listen = reader.value(&settings::LISTEN);
        let metrics_listen = reader.value(&settings::METRICS_LISTEN);
        let homes = reader.value(&settings::HOMES);
        let key_secrets = reader.value(&settings::KEY_SECRETS);
        let signing_keys = reader.value(&settings::SIGNING_KEYS);
        let region = reader.value(&settings::REGION);
        let sub_homes = reader.value(&settings::SUB_HOMES);
        let shadow = reader.value(&settings::SHADOW);
        let log_filter = reader.value(&settings::LOG);
        let log_format = reader.value(&settings::LOG_FORMAT);
        Some(Self {
            listen: listen?,
            metrics_listen: metrics_listen?,
            homes: homes?,
            key_secrets: key_secrets?,
            signing_keys: signing_keys?,
            region: region?,
            sub_homes: sub_homes?,
            shadow: shadow?,
            log_filter: log_filter?,
            log_format: log_format?,
        })
    }
}

/// The configuration as it may be shown: secrets by name only.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "METER_ENVOY_LISTEN={} METER_ENVOY_METRICS_LISTEN={}", self.listen, self.metrics_listen)?;
        write!(f, " METER_ENVOY_HOMES={}", self.homes)?;
        write!(f, " METER_KEY_SECRETS={:?} METER_SIGNING_KEYS={:?}", self.key_secrets, self.signing_keys)?;
        write!(f, " METER_REGION={} METER_SUB_HOMES={}", self.region, self.sub_homes)?;
        if self.shadow { write!(f, " METER_SHADOW=1") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let secret = "ab".repeat(32);
        let (keys, signing) = (format!("1:{secret}"), format!("edge:e1:{secret}"));
        let mut all = vec![("METER_KEY_SECRETS", keys.as_str()), ("METER_SIGNING_KEYS", signing.as_str())];
        all.extend(settings);
        let get =
            |name: &str| all.iter().rev().find(|(set, _)| *set == name).map(|(_, text)| (*text).to_owned());
        Config::read(&get, all.iter().map(|(name, _)| (*name).to_owned()))
    }

    #[test]
    fn two_secrets_are_enough_and_are_not_shown() {
        let config = read(&[]).unwrap();
        assert_eq!(config.homes.as_str(), "http://127.0.0.1:8788/");
        assert!(!config.to_string().contains("abab"), "{config}");
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_name_and_never_repeated_where_it_is_secret() {
        for (name, text, expected) in [
            ("METER_KEY_SECRETS", "", "METER_KEY_SECRETS: "),
            ("METER_KEY_SECRETS", "1:abababab", "METER_KEY_SECRETS: "),
            ("METER_SIGNING_KEYS", "", "METER_SIGNING_KEYS: no key of purpose edge"),
            ("METER_ENVOY_LISTEN", "8081", "METER_ENVOY_LISTEN: "),
            ("METER_ENVOY_HOMES", "http://homes.example.com", "METER_ENVOY_HOMES: "),
            ("METER_ENVOY_HOMES", "127.0.0.1:8788", "METER_ENVOY_HOMES: "),
            ("METER_ENVOY_HOME", "http://127.0.0.1:8788", "METER_ENVOY_HOME: nothing reads it"),
            ("METER_SUB_HOMES", "many", "METER_SUB_HOMES: "),
            ("METER_SHADOW", "yes", "METER_SHADOW: "),
        ] {
            let refused = read(&[(name, text)]).unwrap_err().to_string();
            assert!(refused.starts_with(expected), "{name}={text}: {refused}");
            assert!(!refused.contains("abab"), "{refused}");
        }
    }
}
