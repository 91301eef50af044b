//! What the meter is deployed with (`deploy/`, `Dockerfile`, `compose.yaml`): judged by the tools of those who read it, and
//! run, command by command, as systemd and containers would run it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shared::kind::Kind;
use tests::client::Call;
use tests::config::{self, Parts};
use tests::poll::eventually;
use tests::project::governed;

use super::{Running, copy, repository, run};

const WITHIN: Duration = Duration::from_secs(30);
/// Of 100; a service without any hardening has 96.
const EXPOSURE_MAX: &str = "20";

/// A folder of a test's own, which goes with it.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("meter-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A text of the repository in which the places of a deployment are those of the machine under test.
pub(super) fn placed(text: &str, places: &[(&str, String)]) -> String {
    places.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn programs() -> Result<Vec<(&'static str, String)>> {
    let parts = Parts::find()?;
    let bundle = parts.workerd_config.parent().context("the bundle's folder")?.canonicalize()?;
    Ok(vec![
        ("/usr/local/bin/meter", parts.meter.display().to_string()),
        ("/usr/local/bin/workerd", parts.workerd.display().to_string()),
        ("/opt/palveron/edge", bundle.display().to_string()),
    ])
}

#[test]
fn systemd_accepts_every_unit_and_finds_services_hardened() -> Result<()> {
    let folder = Folder::new("units")?;
    let places = programs()?;
    let mut units = Vec::new();
    for entry in fs::read_dir(repository("deploy/systemd"))? {
        let name = entry?.file_name().into_string().ok().context("a name")?;
        let text = fs::read_to_string(repository("deploy/systemd").join(&name))?;
        if name.ends_with(".service") {
            ensure!(text.contains("\nUMask=0077\n"), "{name} writes files that others can read");
            ensure!(text.contains("\nLimitNOFILE=65536\n"), "{name} ends at some hundred connections");
        }
        // A template is verified as one of its instances.
        let name = name.replace("@.", "@1.");
        fs::write(folder.0.join(&name), placed(&text, &places))?;
        units.push(name);
    }
    ensure!(units.len() == 6, "{units:?}");
    let analyze = config::systemd_analyze()?;
    let verify = |units: &[String]| {
        let paths = units.iter().map(|name| format!("./{name}"));
        run(Command::new(&analyze).args(["verify", "--man=no"]).args(paths).current_dir(&folder.0))
    };
    // What it does not know it only tells.
    let said = verify(&units)?;
    ensure!(said.trim().is_empty(), "{said}");
    for unit in units.iter().filter(|name| name.ends_with(".service")) {
        let mut judged = Command::new(&analyze);
        judged.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX]);
        run(judged.arg(format!("./{unit}")).current_dir(&folder.0))?;
    }
    let wrong =
        fs::read_to_string(folder.0.join("palveron-meter.service"))?.replace("PrivateTmp", "PrivatTmp");
    fs::write(folder.0.join("palveron-meter.service"), wrong)?;
    let said = verify(&["palveron-meter.service".to_owned()])?;
    ensure!(said.contains("PrivatTmp"), "a mistake is not told: {said}");
    Ok(())
}

#[test]
fn linters_accept_the_dockerfile_and_the_compose_file() -> Result<()> {
    let tools = config::deploy_tools()?;
    run(Command::new(tools.join("hadolint")).arg(repository("Dockerfile")))?;
    let mut schema = Command::new(tools.join("check-jsonschema"));
    run(schema.args(["--builtin-schema", "vendor.compose-spec"]).arg(repository("compose.yaml")))?;
    Ok(())
}

/// What `meter redis check` says of a Redis that is started with these words.
async fn judged(folder: &Folder, words: &[String]) -> Result<std::process::Output> {
    let (address, password) = (kit::ports::free()?, "of-a-test");
    let mut redis = Command::new(config::redis_8()?);
    redis.args(words.iter().map(|word| word.replace("${REDIS_PASSWORD:-}", password)));
    redis.args(["--port", &address.port().to_string()]).arg("--dir").arg(&folder.0);
    let running = Running::start(&mut redis, &folder.0.join("redis.log"))?;
    running.listens(address).await?;
    let mut check = Command::new(config::meter_program()?);
    check.args(["redis", "check"]).env("REDIS_URL", format!("redis://default:{password}@{address}/0"));
    Ok(check.output()?)
}

#[tokio::test]
async fn the_redis_of_the_compose_file_promises_what_homes_need() -> Result<()> {
    let folder = Folder::new("redis")?;
    let text = fs::read_to_string(repository("compose.yaml"))?;
    let (_, command) = text.split_once("      - redis-server\n").context("its command")?;
    let words = command.lines().map_while(|line| line.strip_prefix("      - "));
    let words: Vec<String> = words.map(|word| word.trim_matches('"').to_owned()).collect();
    let said = judged(&folder, &words).await?;
    ensure!(said.status.success(), "{words:?}: {said:?}");
    let careless: Vec<String> = words.iter().map(|word| word.replace("noeviction", "allkeys-lru")).collect();
    let said = judged(&folder, &careless).await?;
    ensure!(!said.status.success() && format!("{said:?}").contains("noeviction"), "{said:?}");
    Ok(())
}

#[test]
fn kubernetes_takes_what_kubectl_makes_of_the_manifests_with_the_secrets_in_it() -> Result<()> {
    let (tools, folder) = (config::deploy_tools()?, Folder::new("kubernetes")?);
    copy(&repository("deploy/kubernetes"), &folder.0)?;
    run(Command::new("sh").arg(repository("deploy/secrets.sh")).arg(folder.0.join("env")))?;
    let made = run(Command::new(tools.join("kubectl")).arg("kustomize").arg(&folder.0))?;
    let file = folder.0.join("made.yaml");
    let validate = |text: &str| {
        fs::write(&file, text)?;
        run(Command::new(tools.join("kubernetes-validate")).arg("--strict").arg(&file))
    };
    let said = validate(&made)?;
    let passed = said.matches(" passed for resource ").count();
    ensure!(passed == 8, "{said}");
    ensure!(made.contains("METER_SIGNING_KEYS: ") && made.contains("image: palveron/meter-edge:"), "{made}");
    ensure!(validate(&made.replace("readinessProbe", "readynessProbe")).is_err(), "a mistake is not told");
    Ok(())
}

#[test]
fn helm_accepts_the_chart_and_kubernetes_what_it_makes_of_it() -> Result<()> {
    let (tools, helm, folder) = (config::deploy_tools()?, config::helm()?, Folder::new("helm")?);
    let chart = repository("deploy/helm/palveron-meter");
    let linted = run(Command::new(&helm).args(["lint", "--strict"]).arg(&chart))?;
    ensure!(linted.contains("1 chart(s) linted, 0 chart(s) failed"), "{linted}");
    let make = |values: &str| {
        let mut helm = Command::new(&helm);
        // It asks no cluster, and writes only here.
        helm.env("HELM_CACHE_HOME", &folder.0)
            .env("HELM_CONFIG_HOME", &folder.0)
            .env("HELM_DATA_HOME", &folder.0);
        helm.args(["template", "prod"]).arg(&chart).args(["--namespace", "palveron"]);
        run(helm.args(values.split_whitespace().flat_map(|value| ["--set", value])))
    };
    let file = folder.0.join("made.yaml");
    let validate = |text: &str| {
        fs::write(&file, text)?;
        run(Command::new(tools.join("kubernetes-validate")).arg("--strict").arg(&file))
    };
    for (values, kinds) in [
        ("", "Deployment NetworkPolicy NetworkPolicy PodDisruptionBudget Service Service StatefulSet"),
        (
            "meter.store=sqlite meter.replicas=1 meter.volume.storageClass=fast edge.volume.storageClass=fast",
            "Deployment NetworkPolicy NetworkPolicy PersistentVolumeClaim Service Service StatefulSet",
        ),
        (
            "edge.enabled=false meter.edgeUrl=https://edge.example.com meter.settings.METER_LOG=debug",
            "Deployment NetworkPolicy PodDisruptionBudget Service",
        ),
        (
            "networkPolicy.enabled=false meter.replicas=1 edge.settings.METER_SHADOW=1 imagePullSecrets[0].name=mine",
            "Deployment Service Service StatefulSet",
        ),
    ] {
        let made = make(values)?;
        let mut found: Vec<&str> = made.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
        found.sort_unstable();
        assert_eq!(found.join(" "), kinds, "{values}");
        let passed = validate(&made)?.matches(" passed for resource ").count();
        assert_eq!(passed, found.len(), "{values}");
        ensure!(
            validate(&made.replace("readinessProbe", "readynessProbe")).is_err(),
            "a mistake is not told"
        );
    }
    for (wrong, said) in [
        ("meter.store=sqlite", "/meter/replicas"),
        ("edge.enabled=false", "/meter/edgeUrl"),
        ("meter.replica=3", "replica"),
        ("edge.upstream=upstream", "/edge/upstream"),
        ("meter.settings.log=debug", "log"),
    ] {
        let error = make(wrong).err().with_context(|| format!("{wrong} is accepted"))?.to_string();
        ensure!(error.contains(said), "{wrong}: {error}");
    }
    Ok(())
}

#[test]
fn the_chart_and_the_manifests_run_the_same_containers() -> Result<()> {
    let (tools, helm, folder) = (config::deploy_tools()?, config::helm()?, Folder::new("same")?);
    copy(&repository("deploy/kubernetes"), &folder.0)?;
    run(Command::new("sh").arg(repository("deploy/secrets.sh")).arg(folder.0.join("env")))?;
    let manifests = run(Command::new(tools.join("kubectl")).arg("kustomize").arg(&folder.0))?;
    let chart =
        run(Command::new(helm).args(["template", "prod"]).arg(repository("deploy/helm/palveron-meter")))?;
    for (lines, of) in [
        ("image: palveron/meter-edge:0.1.0\nimage: palveron/meter:0.1.0", "image: "),
        ("path: /healthz\npath: /healthz\npath: /healthz\npath: /readyz\npath: /readyz", "path: /"),
    ] {
        for text in [&manifests, &chart] {
            let text = text.replace("httpGet: { ", "\n").replace(", port: http }", "\n");
            let mut found: Vec<&str> =
                text.lines().map(str::trim).filter(|line| line.starts_with(of)).collect();
            found.sort_unstable();
            assert_eq!(found.join("\n"), lines);
        }
    }
    Ok(())
}

/// The environment that `deploy/secrets.sh` has written.
pub(super) fn read_env(file: &Path) -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(file)?;
    let pairs = text.lines().map(|line| line.split_once('=').context("a setting"));
    pairs.map(|pair| pair.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

/// The command of a unit, with its settings.
pub(super) fn of_unit(name: &str, places: &[(&str, String)]) -> Result<Command> {
    let text =
        fs::read_to_string(repository("deploy/systemd").join(name))?.replace("\\\n", " ").replace("%i", "1");
    let text = placed(&text, places);
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let settings: Vec<_> =
        value("Environment").unwrap_or_default().split(' ').filter_map(|word| word.split_once('=')).collect();
    let mut line = value("ExecStart").context("ExecStart")?.to_owned();
    for (name, value) in &settings {
        line = line.replace(&format!("${{{name}}}"), value);
    }
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().context("a program")?);
    command.args(words).envs(settings);
    Ok(command)
}

/// The command of an image, with its settings.
fn of_image(target: &str, places: &[(&str, String)]) -> Result<Command> {
    let text = fs::read_to_string(repository("Dockerfile"))?.replace("\\\n", " ");
    let stage =
        text.split("\nFROM ").find(|stage| stage.lines().next().is_some_and(|line| line.ends_with(target)));
    let stage = placed(stage.context("no such stage")?, places);
    let list = |key: &str| -> Result<Vec<String>> {
        let line = stage.lines().find_map(|line| line.strip_prefix(key)).context(key.to_owned())?;
        Ok(serde_json::from_str(line.trim())?)
    };
    let words = [list("ENTRYPOINT")?, list("CMD")?].concat();
    let (program, rest) = words.split_first().context("a program")?;
    let mut command = Command::new(program);
    let settings =
        stage.lines().filter_map(|line| line.strip_prefix("ENV ")).flat_map(|line| line.split(' '));
    command.args(rest).envs(settings.filter_map(|setting| setting.split_once('=')));
    Ok(command)
}

/// A deployment's processes, in the order of their start, and where its servers are.
pub(super) struct Deployed {
    // They come before the folder that they write to, so that they are ended before it is removed.
    running: Vec<Running>,
    folder: Folder,
    pub(super) places: Vec<(&'static str, String)>,
    pub(super) aggregator: SocketAddr,
    pub(super) edge: SocketAddr,
    homes: SocketAddr,
}

impl Deployed {
    /// Secrets by the script, and a governance service.
    pub(super) async fn begin(name: &str) -> Result<Self> {
        let folder = Folder::new(name)?;
        let mut secrets = Command::new("sh");
        secrets.arg(repository("deploy/secrets.sh")).arg(folder.0.join("etc"));
        run(&mut secrets)?;
        ensure!(run(&mut secrets).is_err(), "secrets are never overwritten");
        let [aggregator, edge, homes, upstream] =
            [kit::ports::free()?, kit::ports::free()?, kit::ports::free()?, kit::ports::free()?];
        let state = folder.0.join("state").display().to_string();
        fs::create_dir_all(folder.0.join("state/palveron-meter"))?;
        for place in ["palveron-edge", "palveron-edge/homes", "palveron-edge-1/homes"] {
            fs::create_dir_all(folder.0.join("state").join(place))?;
        }
        let mut places = programs()?;
        places.extend([
            ("/var/lib", state),
            ("127.0.0.1:8080", aggregator.to_string()),
            ("0.0.0.0:8080", aggregator.to_string()),
            // A name, as in containers.
            ("aggregator:8080", format!("localhost:{}", aggregator.port())),
            ("127.0.0.1:8787", edge.to_string()),
            ("0.0.0.0:8787", edge.to_string()),
            ("127.0.0.1:8788", homes.to_string()),
            ("127.0.0.1:8090", upstream.to_string()),
            ("upstream:8090", format!("localhost:{}", upstream.port())),
        ]);
        let mut deployed = Self { folder, places, aggregator, edge, homes, running: Vec::new() };
        let mut service = Command::new(Parts::find()?.demo_upstream);
        service.env("DEMO_UPSTREAM_LISTEN", upstream.to_string());
        deployed.start("edge", &mut service, upstream).await?;
        Ok(deployed)
    }

    /// Starts a process with the settings of `aggregator` or `edge`, and waits until it listens.
    pub(super) async fn start(
        &mut self,
        settings: &str,
        command: &mut Command,
        at: SocketAddr,
    ) -> Result<()> {
        let log = self.folder.0.join(format!("{}.log", self.running.len()));
        let running = Running::start(self.with(settings, command)?, &log)?;
        let listens = running.listens(at).await;
        listens.with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        self.running.push(running);
        Ok(())
    }

    fn with<'a>(&self, settings: &str, command: &'a mut Command) -> Result<&'a mut Command> {
        command.envs(read_env(&self.folder.0.join("etc").join(format!("{settings}.env")))?);
        command.current_dir(&self.folder.0);
        Ok(command.env("METER_LISTEN", self.aggregator.to_string()))
    }

    /// Runs a command of the operator on the books.
    fn meter(&self, edge_url: SocketAddr, words: &[&str]) -> Result<String> {
        let mut command = Command::new(config::meter_program()?);
        run(self.with("meter", self.with_books(&mut command, edge_url))?.args(words))
    }

    fn with_books<'a>(&self, command: &'a mut Command, edge_url: SocketAddr) -> &'a mut Command {
        let books = self.folder.0.join("state/palveron-meter/meter.db");
        command.env("DATABASE_URL", format!("sqlite://{}", books.display()));
        command.env("EDGE_URL", format!("http://{edge_url}"))
    }

    /// A place in its folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    /// The key of a new project `demo` with so many units, once the edge knows it.
    pub(super) async fn key(&self, edge_url: SocketAddr, included: &str) -> Result<String> {
        self.meter(edge_url, &["project", "create", "demo", "--plan", "community", "--included", included])?;
        let made = self.meter(edge_url, &["key", "create", "--project", "demo", "--json"])?;
        let made: Value = serde_json::from_str(&made)?;
        let key = made["key"].as_str().context("a key")?.to_owned();
        let quota = Call::get("/v1/quota").bearer(&key);
        eventually("the edge knows the key", WITHIN, async || {
            Ok((quota.send(self.edge).await?.status == 200).then_some(()))
        })
        .await?;
        Ok(key)
    }

    /// A request is served, limited, and reported.
    async fn works(&self, edge_url: SocketAddr) -> Result<()> {
        let key = &self.key(edge_url, "3").await?;
        let call = governed(key, Kind::Verify, "bot");
        let mut served = 0_u32;
        // While units are out on leases, the answer is 429: come again.
        eventually("three requests are served, and then none", WITHIN, async || {
            let answer = call.send(self.edge).await?;
            if answer.status == 200 {
                assert_eq!(answer.ok::<Value>()?["project"], "demo");
                served = served.saturating_add(1);
            }
            Ok((answer.status == 402).then_some(()))
        })
        .await?;
        assert_eq!(served, 3);
        eventually("three units are reported", WITHIN, async || {
            let said = self.meter(edge_url, &["usage", "--project", "demo", "--json"])?;
            let said: Value = serde_json::from_str(&said)?;
            Ok((said["total"] == 3).then_some(()))
        })
        .await
    }
}

#[tokio::test]
async fn the_commands_of_the_units_run_a_meter_and_its_backup_restores() -> Result<()> {
    let mut deployed = Deployed::begin("systemd").await?;
    let mut meter = of_unit("palveron-meter.service", &deployed.places)?;
    meter.env("EDGE_URL", format!("http://{}", deployed.edge));
    deployed.start("meter", &mut meter, deployed.aggregator).await?;
    let mut edge = of_unit("palveron-edge.service", &deployed.places)?;
    deployed.start("edge", &mut edge, deployed.edge).await?;
    deployed.works(deployed.edge).await?;

    let mut drill = Command::new("sh");
    drill.arg(repository("deploy/drill.sh"));
    let meter = config::meter_program()?;
    let mut path = meter.parent().context("its folder")?.as_os_str().to_owned();
    path.push(":/usr/bin:/bin");
    let drill = deployed.with("meter", deployed.with_books(&mut drill, deployed.edge))?;
    let said = run(drill.env("PATH", path))?;
    ensure!(said.contains("the backup restores"), "{said}");
    Ok(())
}

#[tokio::test]
async fn the_commands_of_the_units_run_an_edge_of_several_processes() -> Result<()> {
    let mut deployed = Deployed::begin("fleet").await?;
    let mut meter = of_unit("palveron-meter.service", &deployed.places)?;
    meter.env("EDGE_URL", format!("http://{}", deployed.homes));
    deployed.start("meter", &mut meter, deployed.aggregator).await?;
    let mut homes = of_unit("palveron-homes.service", &deployed.places)?;
    deployed.start("edge", &mut homes, deployed.homes).await?;
    // It has its socket from systemd, which listens for it.
    let process = of_unit("palveron-edge@.service", &deployed.places)?;
    let mut activated = Command::new(config::systemd_analyze()?.with_file_name("systemd-socket-activate"));
    activated.arg("--listen").arg(deployed.edge.to_string());
    let settings = process.get_envs().filter_map(|(name, value)| Some((name, value?)));
    for (name, value) in settings {
        let mut setting = name.to_owned();
        setting.push("=");
        setting.push(value);
        activated.arg("--setenv").arg(setting);
    }
    for name in read_env(&deployed.folder.0.join("etc/edge.env"))?.keys() {
        activated.arg("--setenv").arg(name);
    }
    activated.arg(process.get_program()).args(process.get_args());
    deployed.start("edge", &mut activated, deployed.edge).await?;
    let (asked, shown) = (kit::ports::free()?, kit::ports::free()?);
    deployed.places.extend([("127.0.0.1:8081", asked.to_string()), ("127.0.0.1:8082", shown.to_string())]);
    let mut envoy = of_unit("palveron-envoy.service", &deployed.places)?;
    deployed.start("edge", &mut envoy, asked).await?;
    assert_eq!(Call::get("/healthz").send(shown).await?.status, 200);
    deployed.works(deployed.homes).await
}

#[tokio::test]
async fn the_commands_of_the_images_run_a_meter() -> Result<()> {
    let mut deployed = Deployed::begin("images").await?;
    let mut meter = of_image("meter", &deployed.places)?;
    meter.env("EDGE_URL", format!("http://{}", deployed.edge));
    deployed.start("meter", &mut meter, deployed.aggregator).await?;
    let mut edge = of_image("edge", &deployed.places)?;
    deployed.start("edge", &mut edge, deployed.edge).await?;
    deployed.works(deployed.edge).await?;
    let health = Call::get("/readyz").send(deployed.aggregator).await?;
    assert_eq!(health.status, 200);
    Ok(())
}
