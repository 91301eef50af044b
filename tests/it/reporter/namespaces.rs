//! Networks of the kernel: without any way out nothing is even tried, and a link that goes down and comes back loses nothing.
//!
//! Each test runs in a network of its own, in which it is root and makes others; nobody needs to be root for it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tests::client::Call;
use tests::on_premise::OnPremise;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::customer::{Customer, DAY_MS, HOUR_MS};
use super::network::{Authority, acceptor};

/// Our end of the link, and the reporter's.
const OURS: &str = "169.254.77.1";
const THEIRS: &str = "169.254.77.2/30";

/// Runs that test of this file, which is ignored otherwise, in a network that has nothing but itself.
fn alone(name: &str) -> Result<()> {
    let ours = std::env::current_exe()?;
    let name = format!("reporter::namespaces::{name}");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(ours)
        .args([&name, "--exact", "--ignored", "--nocapture"])
        .output()
        .context("`unshare` of util-linux is needed")?;
    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && told.contains("1 passed"),
        "NOT SHOWN, or not so. Where it says `Operation not permitted`, this machine lets nobody make a network of their own.\n{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Whether this is such a network: nobody's links are touched by mistake.
fn begin() -> Result<()> {
    let devices = std::fs::read_to_string("/proc/self/net/dev")?;
    ensure!(
        devices.lines().skip(2).all(|line| line.trim_start().starts_with("lo:")),
        "not in a network of its own"
    );
    ip(&["link", "set", "lo", "up"])
}

fn ip(arguments: &[&str]) -> Result<()> {
    run(Command::new("ip").args(arguments))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn in_air_gap_mode_the_whole_network_of_the_process_has_one_listener_and_nothing_else() -> Result<()> {
    alone("inside_an_air_gap")
}

#[test]
fn a_link_that_is_down_for_an_hour_and_comes_back_changes_no_total() -> Result<()> {
    alone("inside_a_network_that_is_cut")
}

/// Every socket of a process's network that somebody holds, whoever it is, and of any protocol.
fn sockets(process: u32) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (table, inode) in [
        ("tcp", 9),
        ("tcp6", 9),
        ("udp", 9),
        ("udp6", 9),
        ("raw", 9),
        ("raw6", 9),
        ("icmp", 9),
        ("icmp6", 9),
        ("udplite", 9),
        ("udplite6", 9),
        ("packet", 8),
    ] {
        let text = std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        let held = text.lines().skip(1).filter(|line| line.split_whitespace().nth(inode) != Some("0"));
        found.extend(held.map(|line| format!("{table} {}", line.trim())));
    }
    Ok(found)
}

#[tokio::test]
#[ignore = "runs in a network of its own, which another test makes"]
async fn inside_an_air_gap() -> Result<()> {
    begin()?;
    let mut reporter = OnPremise::new("")?.apart().with("METER_REPORTER_AIR_GAP", "1");
    reporter.start().await?;
    let process = reporter.pid().context("it does not run")?;
    let one_listener = async || {
        tests::poll::eventually("one listener", std::time::Duration::from_secs(10), async || {
            let sockets = sockets(process)?;
            // 0A is LISTEN, 0100007F is 127.0.0.1.
            let listens = |line: &String| line.contains(" 0100007F:") && line.contains(" 0A ");
            Ok((sockets.len() == 1 && sockets.iter().all(listens)).then_some(()))
        })
        .await
    };
    for day in 1..=10 {
        reporter.count(r#"{"kind":"verify","agent":"bot","units":3}"#).await?;
        let check = reporter.ask(Call::post("/v1/check", r#"{"kind":"verify"}"#).json()).await?;
        assert_eq!(check.ok::<Value>()?["allowed"], true);
        assert_eq!(reporter.ask(Call::post("/send", "")).await?.status, 404, "nothing is sent");
        reporter.move_clock(day * DAY_MS).await?;
        one_listener().await?;
    }
    let exported = reporter.ask(Call::post("/export", "")).await?;
    assert!(exported.status == 200 && exported.text().contains(r#"\"units\":3"#), "{}", exported.text());
    one_listener().await?;
    let routes = std::fs::read_to_string(format!("/proc/{process}/net/route"))?;
    assert_eq!(routes.lines().count(), 1, "there is no way to anywhere: {routes}");
    reporter.stop().await
}

/// The books behind TLS at our end of the link.
async fn listen(authority: &Authority, books: std::net::SocketAddr) -> Result<u16> {
    let acceptor = acceptor(authority, OURS, false)?;
    let listener = TcpListener::bind((OURS, 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut here = acceptor.accept(stream).await?;
                let mut there = TcpStream::connect(books).await?;
                copy_bidirectional(&mut here, &mut there).await
            });
        }
    });
    Ok(port)
}

/// Makes the link between our network and that of a process.
fn link(process: u32) -> Result<()> {
    let process = process.to_string();
    ip(&["link", "set", "theirs", "netns", &process])?;
    for arguments in [["addr", "add", THEIRS, "dev", "theirs"], ["link", "set", "dev", "theirs", "up"]] {
        run(Command::new("nsenter").args(["--target", &process, "--net", "ip"]).args(arguments))?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "runs in a network of its own, which another test makes"]
async fn inside_a_network_that_is_cut() -> Result<()> {
    begin()?;
    ip(&["link", "add", "ours", "type", "veth", "peer", "name", "theirs"])?;
    ip(&["addr", "add", &format!("{OURS}/30"), "dev", "ours"])?;
    ip(&["link", "set", "ours", "up"])?;
    let mut customer = Customer::without_reporter().await?;
    let (authority, key) = (Authority::new()?, customer.reporter_key("berlin").await?);
    let port = listen(&authority, customer.stack.aggregator()).await?;
    let mut reporter =
        OnPremise::new(&format!("https://{OURS}:{port}"))?.apart().with("TELEMETRY_HMAC_KEY", &key);
    let ca = reporter.folder().join("ca.pem");
    std::fs::write(&ca, authority.certificate.pem())?;
    reporter.set("METER_REPORTER_CA_FILE", &Path::new(&ca).display().to_string());
    reporter.start().await?;
    reporter.move_clock(customer.offset_ms).await?;
    link(reporter.pid().context("it does not run")?)?;
    let sent =
        async |reporter: &OnPremise| -> Result<bool> { Ok(reporter.send().await?["failure"].is_null()) };
    let mut counted = 0_u64;
    let mut count = async |reporter: &OnPremise, units: u64| -> Result<()> {
        let body = format!(r#"{{"kind":"verify","agent":"bot","units":{units}}}"#);
        ensure!(reporter.count(&body).await?.status == 200, "not counted");
        counted += units;
        Ok(())
    };
    count(&reporter, 5).await?;
    ensure!(sent(&reporter).await?, "{}", reporter.status().await?);
    ip(&["link", "set", "ours", "down"])?;
    for minutes in 1..=6_u64 {
        count(&reporter, minutes).await?;
        customer.advance(HOUR_MS.div_euclid(6))?;
        reporter.move_clock(customer.offset_ms).await?;
    }
    if sent(&reporter).await? {
        bail!("the link is down, and a report arrived");
    }
    assert_eq!(customer.usage().await?["total"], 5, "nothing has arrived meanwhile");
    ip(&["link", "set", "ours", "up"])?;
    tests::poll::eventually("the link is back", std::time::Duration::from_secs(30), async || {
        Ok(sent(&reporter).await?.then_some(()))
    })
    .await?;
    assert_eq!(customer.usage().await?["total"].as_u64(), Some(counted));
    assert_eq!(customer.standing("berlin").await?["state"], "ok");
    reporter.stop().await?;
    customer.stack.finish()
}
