//! Homes on a cluster that is spoken to over TLS and whose servers announce a name: certificates are of names, and addresses
//! would be refused.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kit::cluster::{Cluster, Secure};
use tests::config;
use tests::load::Load;
use tests::project::{Limits, Project};
use tests::stack::{Counters, Options, Part, Stack};
use tokio::task::block_in_place;

use super::redis::{CLIENTS, INCLUDED, ends_exactly, goes_on};
use crate::store::tls::certified;

/// Nobody is given up here.
const NODE_TIMEOUT: Duration = Duration::from_secs(30);
const NAME: &str = "localhost";
/// Where both sides are told of an authority that the system does not know.
const TRUSTS: &str = "SSL_CERT_FILE";

/// A certificate of the name, and the folder that it is in.
fn secure() -> Result<(Secure, PathBuf)> {
    let folder = std::env::temp_dir().join(format!("meter-tls-cluster-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let (authority, certificate, key) = certified(NAME)?;
    let files = ["server.crt", "server.key", "authority.crt"].map(|file| folder.join(file));
    for (file, text) in files.iter().zip([certificate, key, authority]) {
        fs::write(file, text)?;
    }
    Ok((Secure { name: NAME.to_owned(), files }, folder))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_over_tls_is_served_from_by_the_names_that_its_servers_announce() -> Result<()> {
    let (secure, folder) = secure()?;
    // Valkey's server of the tests was built without TLS.
    let cluster = block_in_place(|| Cluster::start_over_tls(&config::redis_7()?, NODE_TIMEOUT, &secure))?;
    let believes = secure.files[2].display().to_string();
    let options = Options {
        leases: true,
        counters: Counters::Redis,
        redis_of_test: Some((cluster.url(), 0)),
        edge_settings: vec![(TRUSTS, believes.clone())],
        aggregator_settings: vec![(TRUSTS, believes.clone())],
        later: vec![Part::Aggregator, Part::Edge, Part::Upstream],
        ..Options::default()
    };
    let mut stack = Stack::start_with(options).await?;
    // A certificate that nobody vouches for does not pass by itself.
    let error = block_in_place(|| stack.meter(&["serve"])).err().context("it believes anybody")?;
    let text = format!("{error:#}");
    ensure!(text.contains("certificate") && !text.contains("waits for the Redis"), "{text}");
    let check = |stack: &Stack| {
        let said = block_in_place(|| stack.meter_with(&["redis", "check"], &[(TRUSTS, &believes)]))?;
        ensure!(said.contains("each slot of the cluster has a server"), "{said}");
        ensure!(said.matches(&format!("{NAME}:")).count() >= 3 && !said.contains("127.0.0.1"), "{said}");
        anyhow::Ok(())
    };
    check(&stack)?;
    stack.begin(&[Part::Aggregator, Part::Upstream, Part::Edge]).await?;
    let limits = Limits { included: Some(INCLUDED), ..Limits::COMMUNITY_FAST };
    let project = Project::ready(&stack, "secure", limits).await?;
    let load = Load::start(stack.edge(), &project.key, CLIENTS);
    goes_on(&load).await?;
    // Where its home goes is told by name, too: for once, and then for good.
    let (_, slot) = cluster.key(&format!("*:home:{}/live", project.id))?;
    let to = cluster.another(slot)?;
    block_in_place(|| cluster.begin_move(slot, to))?;
    ensure!(block_in_place(|| cluster.carry(slot, to))? > 0, "there were no keys");
    goes_on(&load).await?;
    block_in_place(|| cluster.end_move(slot, to))?;
    goes_on(&load).await?;
    ensure!(cluster.owner(slot, None)? == to, "it was not moved");
    // Nobody has needed anything in the clear.
    cluster.close_clear()?;
    goes_on(&load).await?;
    check(&stack)?;
    ends_exactly(stack, &project, load, 1).await?;
    drop(cluster);
    Ok(fs::remove_dir_all(folder)?)
}
