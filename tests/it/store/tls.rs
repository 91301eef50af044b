//! The books over TLS: encrypted where the URL wants that, and never with a server that is not whom it names.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tests::postgres::Postgres;
use tests::servers::Servers;

/// An authority of our own, as PEM, and a certificate and key of that name by it.
pub(crate) fn certified(name: &str) -> Result<(String, String, String)> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let mut of = CertificateParams::new(vec![name.to_owned()])?;
    // By the authority's own name it would be one that vouches for itself.
    of.distinguished_name.push(DnType::CommonName, name);
    let certificate = of.signed_by(&key, &authority)?;
    Ok((authority.pem(), certificate.pem(), key.serialize_pem()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_spoken_to_over_tls_as_the_url_says() -> Result<()> {
    let (authority, certificate, key) = certified("127.0.0.1")?;
    let (stranger, ..) = certified("127.0.0.1")?;
    let settings = ["ssl=on", "ssl_cert_file=../server.crt", "ssl_key_file=../server.key"];
    let files = [("server.crt", certificate.as_str()), ("server.key", key.as_str())];
    let postgres = Postgres::start_with(&settings, &files).await?;
    let plain = Postgres::start().await?;
    let (url, plain_url) = (postgres.create("books")?, plain.create("books")?);
    let here = Servers::on(Some(url.clone()), None)?;
    let root = |name: &str, pem: &str| -> Result<String> {
        let path = here.path(name);
        fs::write(&path, pem)?;
        Ok(format!("sslrootcert={}", path.display()))
    };
    let (ours, strangers) = (root("ours.pem", &authority)?, root("strangers.pem", &stranger)?);
    let elsewhere = url.replace("127.0.0.1", "localhost");
    for (url, works) in [
        (format!("{url}?sslmode=require"), true),
        (format!("{url}?sslmode=verify-ca&{ours}"), true),
        (format!("{url}?sslmode=verify-full&{ours}"), true),
        (format!("{url}?sslmode=verify-full"), false),
        (format!("{url}?sslmode=verify-full&{strangers}"), false),
        (format!("{elsewhere}?sslmode=verify-full&{ours}"), false),
        (format!("{plain_url}?sslmode=prefer"), true),
        (format!("{plain_url}?sslmode=require"), false),
    ] {
        let servers = Servers::on(Some(url.clone()), None)?;
        let said = servers.meter(&["project", "create", "demo", "--plan", "pro"]);
        let again = said.as_ref().is_err_and(|error| error.to_string().contains("here is already a project"));
        if (said.is_ok() || again) != works {
            bail!("{url}: {said:?}");
        }
    }
    let mut servers = Servers::on(Some(format!("{url}?sslmode=verify-full&{ours}")), None)?;
    servers.add().await?;
    let mut connection = PgConnection::connect(&url).await?;
    let row = connection
        .fetch_one(
            "SELECT COUNT(*) AS all, COUNT(*) FILTER (WHERE ssl) AS over_tls
             FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE datname = 'books' AND pid <> pg_backend_pid()",
        )
        .await
        .context("the server's sessions")?;
    let (all, over_tls): (i64, i64) = (row.try_get("all")?, row.try_get("over_tls")?);
    ensure!(all > 0 && all == over_tls, "{over_tls} of {all} sessions are over TLS");
    Ok(())
}
