//! A Postgres server that may lose what it acknowledged is refused before anything is written to it.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tests::client::Call;
use tests::poll::eventually;
use tests::postgres::Postgres;
use tests::servers::Servers;

const WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_lose_what_it_acknowledged_is_refused_and_says_why() -> Result<()> {
    for (setting, refused) in [
        ("fsync=off", Some("fsync is off, accepted is on")),
        ("full_page_writes=off", Some("full_page_writes is off, accepted is on")),
        ("synchronous_commit=off", Some("synchronous_commit is off, accepted is on")),
        ("synchronous_commit=local", None),
    ] {
        let postgres = Postgres::start_with(&[setting], &[]).await?;
        let servers = Servers::on(Some(postgres.create("books")?), None)?;
        let made = servers.meter(&["project", "create", "demo", "--plan", "pro"]);
        match (made, refused) {
            (Ok(_), None) => {}
            (Err(error), Some(why)) => {
                let said = error.to_string();
                ensure!(said.contains(why), "{setting}: {said}");
            }
            (made, refused) => bail!("{setting}: {made:?}, expected {refused:?}"),
        }
    }
    Ok(())
}

/// Settings change while a meter runs: connections that are made later are looked at too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_becomes_unsafe_is_not_written_to_any_more() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let mut servers = Servers::on(Some(postgres.create("books")?), None)?;
    let address = servers.add().await?;
    postgres.kill()?;
    postgres.set(&["fsync=off"]);
    postgres.begin().await?;
    // What was ready a moment ago is believed for a moment.
    eventually("the refusal", WITHIN, async || {
        let ready = Call::get("/readyz").send(address).await?;
        Ok((ready.status == 503).then_some(()))
    })
    .await?;
    let refused = servers.meter(&["project", "create", "demo", "--plan", "pro"]);
    ensure!(refused.is_err(), "{refused:?}");
    postgres.kill()?;
    postgres.set(&[]);
    postgres.begin().await?;
    servers.ready(0).await
}
