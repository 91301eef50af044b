//! The images of `Dockerfile`: its last stages, instruction by instruction, built by buildah and run by runc as `compose.yaml`
//! runs them, by a user without rights and on a root that nobody can write to.
//!
//! Neither a registry of images nor its first stage is asked: what that stage leaves is taken from where the tests have it, and
//! what the images stand on is made of this system's glibc, which is all that they may need.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::geteuid;
use serde_json::{Value, json};
use tests::config::{self, Parts};
use tests::poll::eventually;

use super::deploy::{Folder, read_env};
use super::{Running, copy, repository, run};

const WITHIN: Duration = Duration::from_secs(60);

/// What the images stand on, as the Dockerfile calls it.
const BASE: &str = "gcr.io/distroless/cc-debian12:nonroot";

/// The user of the images.
const NOBODY: u32 = 65_532;

/// The libraries that distroless/cc has, as far as programs in Rust and C++ need them.
const LIBRARIES: [&str; 10] = [
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "librt.so.1",
    "libpthread.so.0",
    "libresolv.so.2",
    "libnss_dns.so.2",
    "libnss_files.so.2",
    "libgcc_s.so.1",
    "libstdc++.so.6",
];
const LIBRARIES_AT: [&str; 3] = ["/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64"];
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where the images find each other: all are on one network of their own.
const HOSTS: &str = "127.0.0.1 localhost aggregator edge upstream\n";

/// Builds, and keeps what it has built.
struct Builder {
    // Unmounted before it is removed.
    folder: Folder,
}

impl Builder {
    fn new() -> Result<Self> {
        ensure!(geteuid().is_root(), "images are built and run by root: run this test by `sudo`");
        let builder = Self { folder: Folder::new("images")? };
        builder.stand_in()?;
        builder.left_by_the_first_stage()?;
        Ok(builder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    fn buildah(&self, words: &[&str]) -> Result<String> {
        let mut buildah = Command::new(config::buildah()?);
        buildah.arg("--root").arg(self.path("storage")).arg("--runroot").arg(self.path("running"));
        let output = buildah.args(words).current_dir(&self.folder.0).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "buildah {words:?}: {said}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn build(&self, file: &str, context: &str, words: &[&str]) -> Result<()> {
        let build = ["build", "--isolation", "chroot", "--pull-never", "--quiet", "--file", file];
        self.buildah(&[&build, words, &[context]].concat()).map(|_| ())
    }

    /// glibc, certificates, and a user without rights.
    fn stand_in(&self) -> Result<()> {
        let base = self.path("base");
        for folder in ["lib64", "lib/x86_64-linux-gnu", "etc/ssl/certs", "home/nonroot"] {
            fs::create_dir_all(base.join(folder))?;
        }
        for library in LIBRARIES {
            let found = LIBRARIES_AT.iter().map(|at| Path::new(at).join(library)).find(|path| path.exists());
            let found = found.with_context(|| format!("this system has no {library}"))?;
            fs::copy(found, base.join("lib/x86_64-linux-gnu").join(library))?;
        }
        fs::copy(LOADER, base.join(LOADER.trim_start_matches('/')))?;
        fs::copy(CERTIFICATES, base.join(CERTIFICATES.trim_start_matches('/')))?;
        fs::write(base.join("etc/nsswitch.conf"), "hosts: files dns\n")?;
        fs::write(
            base.join("etc/passwd"),
            format!("nonroot:x:{NOBODY}:{NOBODY}::/home/nonroot:/sbin/nologin\n"),
        )?;
        fs::write(
            self.path("Base"),
            format!("FROM scratch\nCOPY . /\nUSER {NOBODY}\nENV SSL_CERT_FILE={CERTIFICATES}\n"),
        )?;
        self.build("Base", "base", &["--tag", BASE])
    }

    /// What the first stage leaves, at its places.
    fn left_by_the_first_stage(&self) -> Result<()> {
        let (parts, built) = (Parts::find()?, self.path("built"));
        for folder in ["meter/target/release", "usr/local/bin", "state/meter", "state/edge"] {
            fs::create_dir_all(built.join(folder))?;
        }
        fs::copy(parts.meter, built.join("meter/target/release/meter"))?;
        fs::copy(parts.workerd, built.join("usr/local/bin/workerd"))?;
        let bundle = parts.workerd_config.parent().context("the bundle's folder")?;
        copy(bundle, &built.join("meter/target/edge"))
    }

    /// The image that the Dockerfile calls so.
    fn image(&self, target: &str) -> Result<Image<'_>> {
        let file = fs::read_to_string(repository("Dockerfile"))?;
        let (_, stages) = file.split_once(&format!("\nFROM {BASE}")).context("what the images stand on")?;
        fs::write(self.path("Dockerfile"), format!("FROM scratch AS build\nCOPY . /\nFROM {BASE}{stages}"))?;
        let tag = format!("localhost/palveron/{target}");
        self.build("Dockerfile", "built", &["--target", target, "--tag", &tag])?;
        let told: Value = serde_json::from_str(&self.buildah(&["inspect", "--type", "image", &tag])?)?;
        let config = told["OCIv1"]["config"].clone();
        let container = self.buildah(&["from", "--pull-never", &tag])?;
        let root = PathBuf::from(self.buildah(&["mount", &container])?);
        Ok(Image { builder: self, name: target.to_owned(), config, root })
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        // What is left mounted is seen by whoever removes the folder.
        self.buildah(&["umount", "--all"]).ok();
        self.buildah(&["rm", "--all"]).ok();
    }
}

/// An image whose root is mounted.
struct Image<'a> {
    builder: &'a Builder,
    name: String,
    config: Value,
    root: PathBuf,
}

impl Image<'_> {
    /// Its only volume, which begins as the image has it and stays.
    fn volume(&self) -> Result<(String, PathBuf)> {
        let volumes = self.config["Volumes"].as_object().context("volumes")?;
        let at = volumes.keys().next().filter(|_| volumes.len() == 1).context("a volume")?;
        let state = self.builder.path(&format!("state-{}", self.name));
        if !state.exists() {
            let first = self.root.join(at.trim_start_matches('/')).metadata()?;
            fs::create_dir(&state)?;
            fs::set_permissions(&state, first.permissions())?;
            chown(&state, Some(first.uid()), Some(first.gid()))?;
            ensure!(first.permissions().mode() & 0o022 == 0, "others may write to {at}");
        }
        Ok((at.clone(), state))
    }

    /// The command of a container that runs it beside others of that network, as `compose.yaml` hardens them.
    fn container(&self, id: &str, network: u32, settings: &[(String, String)]) -> Result<Container> {
        let list = |name: &str| self.config[name].as_array().cloned().unwrap_or_default();
        let settings = settings.iter().map(|(name, value)| json!(format!("{name}={value}")));
        let env: Vec<Value> = list("Env").into_iter().chain(settings).collect();
        let user = self.config["User"].as_str().context("a user")?.replace(':', " ");
        assert_eq!(user, format!("{NOBODY} {NOBODY}"));
        let (at, state) = self.volume()?;
        let bundle = self.builder.path(id);
        fs::create_dir_all(&bundle)?;
        fs::write(bundle.join("hosts"), HOSTS)?;
        let namespaces = ["mount", "pid", "ipc", "uts"].map(|kind| json!({ "type": kind }));
        let network = json!({ "type": "network", "path": format!("/proc/{network}/ns/net") });
        let bind = |from: &Path, to: &str, how: &str| json!({ "destination": to, "type": "bind", "source": from, "options": ["bind", how] });
        let args = [list("Entrypoint"), list("Cmd")].concat();
        let namespaces = [namespaces.to_vec(), vec![network]].concat();
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": NOBODY, "gid": NOBODY },
                "args": args,
                "env": env,
                "cwd": "/",
                // cap_drop: [ALL], no-new-privileges.
                "capabilities": {},
                "noNewPrivileges": true,
            },
            "root": { "path": self.root, "readonly": true },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
                bind(&bundle.join("hosts"), "/etc/hosts", "ro"),
                bind(&state, &at, "rw"),
            ],
            "linux": { "namespaces": namespaces },
        });
        fs::write(bundle.join("config.json"), config.to_string())?;
        Ok(Container { id: format!("{id}-{}", std::process::id()), bundle, at: self.builder.path("runc") })
    }
}

/// A container; it ends with this.
struct Container {
    id: String,
    bundle: PathBuf,
    at: PathBuf,
}

impl Container {
    fn runc(&self, words: &[&str]) -> Result<Command> {
        let mut runc = Command::new(config::runc()?);
        runc.arg("--root").arg(&self.at).args(words);
        Ok(runc)
    }

    fn started(&self) -> Result<Command> {
        let mut runc = self.runc(&["run", "--bundle"])?;
        runc.arg(&self.bundle).arg(&self.id);
        Ok(runc)
    }

    /// Runs a program in it, as `docker compose exec` does.
    fn exec(&self, words: &[&str]) -> Result<String> {
        run(self.runc(&["exec", &self.id])?.args(words))
    }

    /// What the kernel says of its first process.
    fn status(&self) -> Result<String> {
        let state: Value = serde_json::from_str(&run(&mut self.runc(&["state", &self.id])?)?)?;
        Ok(fs::read_to_string(format!("/proc/{}/status", state["pid"]))?)
    }

    /// Has no rights and cannot get any.
    fn is_harmless(&self) -> Result<()> {
        let status = self.status()?;
        for line in
            [format!("Uid:\t{NOBODY}\t"), "CapEff:\t0000000000000000".to_owned(), "NoNewPrivs:\t1".to_owned()]
        {
            ensure!(status.contains(&line), "{line} is not so: {status}");
        }
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    async fn ends(&self) -> Result<()> {
        run(&mut self.runc(&["kill", &self.id, "TERM"])?)?;
        eventually("it ends", WITHIN, async || Ok(self.status().is_err().then_some(()))).await?;
        run(&mut self.runc(&["delete", "--force", &self.id])?).map(|_| ())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It has ended, or the test has failed for a reason of its own.
        self.runc(&["delete", "--force", &self.id]).and_then(|mut runc| Ok(runc.output()?)).ok();
    }
}

/// A network that nobody else is on, with the governance service.
struct Network {
    _service: Running,
    holder: u32,
}

impl Network {
    async fn start(folder: &Path) -> Result<Self> {
        let mut service = Command::new("unshare");
        service
            .args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\""])
            .arg(Parts::find()?.demo_upstream);
        let service =
            Running::start(service.env("DEMO_UPSTREAM_LISTEN", "127.0.0.1:8090"), &folder.join("upstream"))?;
        let network = Self { holder: service.id(), _service: service };
        eventually("the governance service answers", WITHIN, async || {
            Ok(network.asks(&["http://127.0.0.1:8090/"]).is_ok().then_some(()))
        })
        .await?;
        Ok(network)
    }

    /// The status of an answer, and its body.
    fn asks(&self, words: &[&str]) -> Result<(u16, String)> {
        let mut curl = Command::new("nsenter");
        curl.arg(format!("--net=/proc/{}/ns/net", self.holder));
        let said = run(curl
            .args(["curl", "--silent", "--show-error", "--write-out", "\n%{http_code}"])
            .args(words))?;
        let (body, status) = said.rsplit_once('\n').context("a status")?;
        Ok((status.parse()?, body.to_owned()))
    }

    async fn is_well(&self, url: &str, log: &Path) -> Result<()> {
        let well = eventually(url, WITHIN, async || {
            Ok(self.asks(&[url]).is_ok_and(|(status, _)| status == 200).then_some(()))
        });
        well.await.with_context(|| fs::read_to_string(log).unwrap_or_default())
    }
}

/// In words, and with the exit code of what is not accepted.
fn refuses_wrong_settings(meter: &Image<'_>, network: u32, settings: &[(String, String)]) -> Result<()> {
    let wrong = [settings.to_vec(), vec![("METER_LISTEN".to_owned(), "everywhere".to_owned())]].concat();
    let refused = meter.container("wrong", network, &wrong)?.started()?.output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(2), "{}: {said}", refused.status);
    ensure!(said.contains("METER_LISTEN: got \"everywhere\""), "{said}");
    let keyless = meter.container("keyless", network, &[])?.started()?.output()?;
    let said = String::from_utf8_lossy(&keyless.stderr).into_owned();
    ensure!(
        keyless.status.code() == Some(2) && said.contains("METER_SIGNING_KEYS"),
        "{}: {said}",
        keyless.status
    );
    Ok(())
}

#[tokio::test]
async fn the_images_are_built_from_the_dockerfile_and_run_without_rights_on_a_root_that_is_read_only()
-> Result<()> {
    let builder = Builder::new()?;
    let (meter, edge) = (builder.image("meter")?, builder.image("edge")?);
    let network = Network::start(&builder.folder.0).await?;
    run(Command::new("sh").arg(repository("deploy/secrets.sh")).arg(builder.path("env")))?;
    let settings = |name: &str| -> Result<Vec<(String, String)>> {
        Ok(read_env(&builder.path("env").join(format!("{name}.env")))?.into_iter().collect())
    };
    let mut of_meter = settings("meter")?;
    of_meter.push(("EDGE_URL".to_owned(), "http://edge:8787".to_owned()));

    refuses_wrong_settings(&meter, network.holder, &of_meter)?;
    let aggregator = meter.container("aggregator", network.holder, &of_meter)?;
    let log = builder.path("aggregator.log");
    let mut running = vec![Running::start(&mut aggregator.started()?, &log)?];
    network.is_well("http://127.0.0.1:8080/healthz", &log).await?;
    network.is_well("http://127.0.0.1:8080/readyz", &log).await?;
    let deciding = edge.container("edge", network.holder, &settings("edge")?)?;
    let log = builder.path("edge.log");
    running.push(Running::start(&mut deciding.started()?, &log)?);
    network.is_well("http://127.0.0.1:8787/healthz", &log).await?;
    aggregator.is_harmless()?;
    deciding.is_harmless()?;

    let program = "/usr/local/bin/meter";
    let Err(refused) = aggregator.exec(&[program, "backup", "/usr/local/books.db"]) else {
        bail!("the root is written to")
    };
    ensure!(format!("{refused:#}").to_lowercase().contains("read-only"), "{refused:#}");
    aggregator.exec(&[program, "backup", "/var/lib/palveron-meter/books.db"])?;

    aggregator.exec(&[program, "project", "create", "demo", "--plan", "community", "--included", "3"])?;
    let key = aggregator.exec(&[program, "key", "create", "--project", "demo", "--json"])?;
    let key: Value = serde_json::from_str(key.lines().last().unwrap_or_default())?;
    let bearer = format!("Authorization: Bearer {}", key["key"].as_str().context("a key")?);
    let verify = || {
        let agent = "Palveron-Agent: bot";
        network.asks(&[
            "http://127.0.0.1:8787/v1/verify",
            "--header",
            &bearer,
            "--header",
            agent,
            "--data",
            "{}",
        ])
    };
    let mut served = 0_u32;
    eventually("three requests are served, and then none", WITHIN, async || {
        let (status, _) = verify()?;
        served = served.saturating_add((status == 200).into());
        Ok((status == 402).then_some(()))
    })
    .await?;
    assert_eq!(served, 3);
    eventually("three units are reported", WITHIN, async || {
        let said = aggregator.exec(&[program, "usage", "--project", "demo", "--json"])?;
        let said: Value = serde_json::from_str(said.lines().last().unwrap_or_default())?;
        Ok((said["total"] == 3).then_some(()))
    })
    .await?;

    // What an image is replaced by has its volume.
    aggregator.ends().await?;
    let next = meter.container("next", network.holder, &of_meter)?;
    let log = builder.path("next.log");
    running.push(Running::start(&mut next.started()?, &log)?);
    network.is_well("http://127.0.0.1:8080/readyz", &log).await?;
    let said = next.exec(&[program, "usage", "--project", "demo", "--json"])?;
    ensure!(said.contains("\"total\":3"), "{said}");
    drop((next, deciding, aggregator));
    drop(running);
    Ok(())
}
