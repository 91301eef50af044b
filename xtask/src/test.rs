//! `cargo xtask test`: every test, with the bundle and workerd that the real-workerd ones need.
//!
//! It must never skip a test because something is missing: what is missing is built or installed first.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::postgres::Server;
use crate::process::run_visible;
use crate::{
    apt, chromium, config, dashboard, docs, edge, native, postgres, python, readme, tools, wrangler,
};

/// What `cargo xtask test` takes.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Passed on to `cargo test`, such as a filter or `-- --nocapture`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

/// All packages but two. xtask is compiled already, with features of its own: asked for together with the others, it
/// and all it depends on would be compiled again. The simulator's tests are run optimised, by its own step.
const PRODUCT: [&str; 5] = ["--workspace", "--exclude", "xtask", "--exclude", "sim"];

/// What of the aggregator's suite ends before the store: it asks a second database the same questions.
const BEFORE_THE_STORE: [&str; 7] = [
    "authz::",
    "bodies::",
    "errors::",
    "inputs::",
    "limits::",
    "openapi::",
    "streams::nobody_takes_the_streams_of_others",
];

/// What of the end-to-end suite is asked again of homes in a Redis.
const IN_REDIS: [&str; 2] = ["edge::leases", "edge::shapes"];

/// What of the end-to-end suite says how soon a page is there, which nothing else may disturb.
const ALONE: &str = "http::dashboard::people_do_their_work_in_the_dashboard";

/// What the tests use, by the variables that name it.
type Parts = Vec<(&'static str, PathBuf)>;

/// Installs what the tests use, where it is missing, and says where it is.
pub(crate) fn install() -> Result<Parts> {
    // First, because it takes seconds and tells at once whether npm is there.
    let workerd = tools::workerd()?;
    apt::program("ip", "iproute2")?;
    apt::program("groff", "groff-base")?;
    postgres::ensure_installed()?;
    let prometheus = apt::unpacked("prometheus", "usr/bin/prometheus")?;
    Ok(vec![
        ("METER_TEST_WORKERD", workerd),
        ("METER_TEST_SCHEMATHESIS", python::schemathesis()?),
        ("METER_TEST_STRIPE", python::stripe()?),
        ("METER_TEST_WEBHOOKS", tools::ensure("webhooks")?),
        ("METER_TEST_OPENAPI", tools::ensure("openapi")?),
        ("METER_TEST_OPENAPI_PYTHON", python::openapi()?),
        (
            "METER_TEST_CLIENTS",
            tools::ensure_from(&config::root().join("clients/typescript"), "clients-typescript")?,
        ),
        ("METER_TEST_EINVOICE", python::e_invoice()?),
        ("METER_TEST_FOCUS", python::focus()?),
        ("METER_TEST_MCP", python::mcp()?),
        ("METER_TEST_BROWSER", tools::ensure("browser")?),
        ("METER_TEST_CHROMIUM", chromium::ensure()?),
        ("METER_TEST_PHP", apt::program("php", "php-cli")?),
        ("METER_TEST_SYSTEMD", apt::program("systemd-analyze", "systemd")?),
        ("METER_TEST_DEPLOY", python::deploy()?),
        ("METER_TEST_BUILDAH", apt::program("buildah", "buildah")?),
        ("METER_TEST_RUNC", apt::program("runc", "runc")?),
        ("METER_TEST_HELM", tools::helm()?),
        ("METER_TEST_NGINX", apt::unpacked("nginx", "usr/sbin/nginx")?),
        ("METER_TEST_PROMETHEUS", prometheus.parent().unwrap_or(&prometheus).to_path_buf()),
        ("METER_TEST_VALKEY", python::valkey()?),
        // What Debian calls its server is this program by another name, in a package that starts nothing.
        ("METER_TEST_REDIS_7", apt::alias("redis-server", ("redis-check-rdb", "redis-tools"))?),
        ("METER_TEST_REDIS_8", python::redis()?),
        ("METER_TEST_ENVOY", python::envoy()?),
    ])
}

/// Builds what the tests need, then runs them.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut parts = install()?;
    // Before the programs: they become a part of one of them.
    dashboard::build()?;
    docs::build()?;
    let bundle = edge::build()?;
    edge::example::build()?;
    let programs = native::build("programs and tests", &[&PRODUCT[..], &["--bins", "--tests"]].concat())?;
    let mut product = native::cargo("test");
    let all = options.arguments.is_empty();
    product.args(PRODUCT).args(&options.arguments).args(if all { &["--", "--skip", ALONE][..] } else { &[] });
    parts.push(("METER_TEST_BUNDLE", bundle.folder));
    parts.push(("METER_TEST_BIN_DIR", programs.folder_of("meter")?.to_path_buf()));
    product.envs(parts.iter().map(|(name, place)| (name, place)));
    run_visible("cargo test", &mut product)?;
    // Not by cargo: asked for one package alone, it would compile all that this one depends on once more.
    let suite_of = |package| -> Result<Command> {
        let mut suite = Command::new(programs.tests(package, "it")?);
        suite.current_dir(config::root().join(package));
        suite.envs(parts.iter().map(|(name, place)| (name, place)));
        Ok(suite)
    };
    if all {
        run_visible("the dashboard's test", suite_of("tests")?.arg(ALONE))?;
    }
    readme::follow(&programs)?;
    wrangler::run_dry()?;
    eprintln!("what depends on where homes are once more, with homes in a Redis:");
    let mut in_redis = suite_of("tests")?;
    in_redis.args(IN_REDIS).env("METER_TEST_COUNTERS", "redis");
    run_visible("the suite on a Redis", &mut in_redis)?;
    let server = Server::start(&programs)?;
    eprintln!("the aggregator's suite once more, on Postgres:");
    let mut suite = suite_of("aggregator")?;
    suite.args(BEFORE_THE_STORE.iter().flat_map(|module| ["--skip", module]));
    suite.args(options.arguments.iter().filter(|argument| *argument != "--"));
    suite.env("METER_TEST_POSTGRES", &server.url);
    run_visible("the suite on Postgres", &mut suite)?;
    drop(server);
    let mut xtask = native::cargo("test");
    run_visible("xtask's own tests", xtask.args(["--package", "xtask"]).args(&options.arguments))
}
