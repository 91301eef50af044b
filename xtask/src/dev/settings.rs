//! `target/dev/env`: the addresses, secrets and keys of the demo, for people and for `source`.
//!
//! It must never be readable by others, and never be seen half written.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What is written, in this order; other settings live for one run only.
const WRITTEN: [&str; 28] = [
    "EDGE_URL",
    "AGGREGATOR_URL",
    "UPSTREAM_URL",
    "PROJECT_ID",
    "METER_PROJECT",
    "PROJECT_KEY",
    "TEST_PROJECT_KEY",
    "ADMIN_TOKEN",
    "OPERATOR_TOKEN",
    "OWNER_ACCOUNT",
    "OPERATOR_ACCOUNT",
    "REPORTER_URL",
    "TELEMETRY_ENDPOINT",
    "TELEMETRY_HMAC_KEY",
    "TELEMETRY_INTERVAL_SECONDS",
    "METER_REPORTER_DATA",
    "METER_REPORTER_LISTEN",
    "DATABASE_URL",
    "COUNTERS",
    "REDIS_URL",
    "METER_KEY_SECRETS",
    "METER_SIGNING_KEYS",
    "METER_WEBHOOKS_ALLOW_LOOPBACK",
    "METER_TEST",
    "STRIPE_API_BASE",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "STRIPE_RETURN_URLS",
];
/// What the programs may see; the demo's own keys and tokens are not theirs.
const GIVEN: [&str; 21] = [
    "EDGE_URL",
    "REPORTER_URL",
    "AGGREGATOR_URL",
    "UPSTREAM_URL",
    "DATABASE_URL",
    "COUNTERS",
    "REDIS_URL",
    "METER_KEY_SECRETS",
    "METER_SIGNING_KEYS",
    "METER_WEBHOOKS_ALLOW_LOOPBACK",
    "METER_TEST",
    "EDGE_LISTEN",
    "METER_LISTEN",
    "DEMO_UPSTREAM_LISTEN",
    "STRIPE_API_BASE",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "STRIPE_RETURN_URLS",
    "FAKE_STRIPE_LISTEN",
    "FAKE_STRIPE_WEBHOOK",
    "FAKE_STRIPE_STATE",
];
/// Secrets are this long: as long as the output of the hash that they key.
const SECRET_BYTES: usize = 32;

/// The settings of the demo.
#[derive(Debug)]
pub(crate) struct Settings {
    file: PathBuf,
    values: BTreeMap<String, String>,
}

impl Settings {
    /// Reads the settings of an earlier run, or makes new secrets.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let file = folder.join("env");
        let mut settings = Self { file, values: BTreeMap::new() };
        if settings.file.exists() {
            settings.values = parse(&fs::read_to_string(&settings.file)?);
            if settings.get("METER_KEY_SECRETS").is_ok() && settings.get("METER_SIGNING_KEYS").is_ok() {
                return Ok(settings);
            }
        }
        if folder.join("meter.db").exists() {
            bail!(
                "the data in {} belongs to secrets that {} no longer has: start over with `cargo xtask dev --fresh`",
                folder.display(),
                settings.file.display()
            );
        }
        settings.set("METER_KEY_SECRETS", format!("1:{}", secret()?));
        let signing = format!("edge:e1:{},policy:p1:{},upstream:u1:{}", secret()?, secret()?, secret()?);
        settings.set("METER_SIGNING_KEYS", signing);
        Ok(settings)
    }

    /// Makes the keys of the simulated Stripe where an earlier run has not, or forgets them where the caller
    /// brings an account.
    pub(crate) fn simulate_stripe(&mut self, simulated: Option<&Path>) -> Result<()> {
        const OURS: [&str; 4] =
            ["STRIPE_API_BASE", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "METER_TEST"];
        let Some(state) = simulated else {
            self.values.retain(|name, _| !OURS.contains(&name.as_str()));
            return Ok(());
        };
        self.set("FAKE_STRIPE_STATE", state.display().to_string());
        // Nothing of this demo is real, so its clock may be moved.
        self.set("METER_TEST", "1".to_owned());
        for (name, prefix) in [("STRIPE_SECRET_KEY", "sk_test_"), ("STRIPE_WEBHOOK_SECRET", "whsec_")] {
            if !self.has(name) {
                self.set(name, format!("{prefix}{}", secret()?));
            }
        }
        Ok(())
    }

    /// A setting that must be there.
    pub(crate) fn get(&self, name: &str) -> Result<&str> {
        self.values.get(name).map(String::as_str).with_context(|| format!("target/dev/env lacks {name}"))
    }

    /// Whether there is such a setting.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Sets a value, to be written by the next [`Settings::save`].
    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.values.insert(name.to_owned(), value);
    }

    /// Forgets a value.
    pub(crate) fn forget(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// Writes the file: mode 0600, beside its place and then renamed.
    pub(crate) fn save(&self) -> Result<()> {
        let draft = self.file.with_extension("draft");
        if draft.exists() {
            fs::remove_file(&draft)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        for name in WRITTEN {
            if let Some(value) = self.values.get(name) {
                writeln!(file, "{name}={}", quote(value))?;
            }
        }
        file.sync_all()?;
        fs::rename(&draft, &self.file).with_context(|| format!("cannot write {}", self.file.display()))
    }

    /// Puts what the programs may see into a command's environment.
    pub(crate) fn give_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(GIVEN.iter().filter_map(|name| self.values.get(*name).map(|value| (name, value))))
    }
}

/// Fresh randomness from the system, in hex.
fn secret() -> Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.map(|(name, value)| (name.trim().to_owned(), unquote(value.trim()))).collect()
}

/// Quotes for a shell what a shell would not take as it is.
fn quote(value: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "_./:,=@%+-".contains(character);
    if value.chars().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

fn unquote(value: &str) -> String {
    let inner = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
    inner.map_or_else(|| value.to_owned(), |inner| inner.replace(r"'\''", "'"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn settings_survive_the_file_and_only_the_owner_reads_it() {
        let folder = folder("settings");
        let mut settings = Settings::open(&folder).unwrap();
        settings.set("DATABASE_URL", "sqlite:///home/o'neill/my files/meter.db".to_owned());
        settings.set("EDGE_LISTEN", "127.0.0.1:1".to_owned());
        settings.save().unwrap();
        let file = folder.join("env");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Settings::open(&folder).unwrap();
        for name in ["DATABASE_URL", "METER_KEY_SECRETS", "METER_SIGNING_KEYS"] {
            assert_eq!(again.get(name).unwrap(), settings.get(name).unwrap());
        }
        assert!(!again.has("EDGE_LISTEN"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn secrets_are_hex_and_differ() {
        let (one, other) = (secret().unwrap(), secret().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 64);
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn data_without_its_secrets_is_refused() {
        let folder = folder("lost");
        fs::write(folder.join("meter.db"), "").unwrap();
        assert!(Settings::open(&folder).unwrap_err().to_string().contains("--fresh"));
        fs::remove_dir_all(folder).unwrap();
    }
}
