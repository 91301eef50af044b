//! The way out through what companies have: a proxy that asks who we are, a private authority, certificates of clients.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tests::books::Books;
use tests::on_premise::{OnPremise, key};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// `user:password`, as the proxy of these tests knows us.
pub(super) const CREDENTIALS: &str = "Basic dXNlcjpwYXNzd29yZA==";

/// An authority that nobody else trusts.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) certificate: rcgen::Certificate,
}

impl Authority {
    pub(super) fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    pub(super) fn signs(&self, name: &str) -> Result<(rcgen::Certificate, KeyPair)> {
        let (mut params, key) = (CertificateParams::new(vec![name.to_owned()])?, KeyPair::generate()?);
        // OpenSSL takes a certificate of the same name as its issuer's for one that signed itself.
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        Ok((params.signed_by(&key, &self.issuer)?, key))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone())?;
        Ok(roots)
    }
}

/// What speaks TLS under that name; it may ask for a client's certificate.
pub(super) fn acceptor(authority: &Authority, name: &str, asks: bool) -> Result<TlsAcceptor> {
    let (certificate, key) = authority.signs(name)?;
    let chain = vec![CertificateDer::from(certificate)];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = if asks {
        let roots = Arc::new(authority.roots()?);
        builder
            .with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(roots, provider).build()?)
    } else {
        builder.with_no_client_auth()
    };
    Ok(TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key)?)))
}

/// Books behind TLS, which may ask for a client's certificate.
async fn behind_tls(authority: &Authority, asks: bool) -> Result<Books> {
    let acceptor = acceptor(authority, "localhost", asks)?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let books = Books::at(listener.local_addr()?, &tests::on_premise::key("k1", "ab"))?;
    let router = books.router();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await?;
                let service = TowerToHyperService::new(router);
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?;
                anyhow::Ok(())
            });
        }
    });
    Ok(books)
}

/// A proxy that opens tunnels for who says the right words; it keeps where to.
async fn proxy() -> Result<(SocketAddr, Arc<Mutex<Vec<String>>>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let (address, asked) = (listener.local_addr()?, Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(tunnel(stream, Arc::clone(&seen)));
        }
    });
    Ok((address, asked))
}

async fn tunnel(mut client: TcpStream, asked: Arc<Mutex<Vec<String>>>) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let target =
        head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).context("no CONNECT")?;
    asked.lock().unwrap().push(target.to_owned());
    let knows = head.lines().any(|line| {
        line.split_once(": ").is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("proxy-authorization") && value == CREDENTIALS
        })
    });
    if !knows {
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await?;
        return Ok(());
    }
    let mut server = TcpStream::connect(target).await?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// A reporter that is to reach these books by their name.
fn reporter_of(books: &Books) -> Result<OnPremise> {
    OnPremise::new(&format!("https://localhost:{}/ingest", books.address().port()))
}

/// Gives the reporter a certificate of that authority to show.
pub(super) fn shows_certificate(reporter: &mut OnPremise, authority: &Authority) -> Result<()> {
    let (certificate, key) = authority.signs("plant-7.internal")?;
    let certificate = file(reporter, "client.pem", &certificate.pem())?;
    let key = file(reporter, "client.key", &key.serialize_pem())?;
    reporter.set("METER_REPORTER_CLIENT_CERT", &certificate.display().to_string());
    reporter.set("METER_REPORTER_CLIENT_KEY", &key.display().to_string());
    Ok(())
}

pub(super) fn file(reporter: &OnPremise, name: &str, text: &str) -> Result<PathBuf> {
    let path = reporter.folder().join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_where_it_is_told_of() -> Result<()> {
    let authority = Authority::new()?;
    let books = behind_tls(&authority, false).await?;
    let mut reporter = reporter_of(&books)?;
    let other = file(&reporter, "other.pem", &Authority::new()?.certificate.pem())?;
    reporter.set("METER_REPORTER_CA_FILE", &other.display().to_string());
    let (well, told, _) = reporter.run(&["test"]).await?;
    assert!(!well && told.contains("✓ connection") && told.contains("✗ TLS"), "{told}");
    assert!(told.contains("METER_REPORTER_CA_FILE"), "it says what to do: {told}");
    let ours = file(&reporter, "ours.pem", &authority.certificate.pem())?;
    reporter.set("METER_REPORTER_CA_FILE", &ours.display().to_string());
    let (well, told, error) = reporter.run(&["test"]).await?;
    assert!(well, "{told} {error}");
    for step in [
        "✓ name",
        "✓ connection",
        "✓ TLS         TLSv1_3",
        "✓ answer      200",
        "✓ clock",
        "✓ key",
        "✓ reported",
    ] {
        assert!(told.contains(step), "{step}: {told}");
    }
    reporter.start().await?;
    reporter.count(r#"{"kind":"verify"}"#).await?;
    let (well, told, _) = reporter.run(&["test"]).await?;
    assert!(well, "the one that runs is asked: {told}");
    assert_eq!(books.taken(|taken| taken.units()), 1);
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_asks_who_we_are_opens_one_tunnel_and_sees_nothing_else() -> Result<()> {
    let authority = Authority::new()?;
    let books = behind_tls(&authority, false).await?;
    let (proxy, asked) = proxy().await?;
    let mut reporter = reporter_of(&books)?;
    let ca = file(&reporter, "ca.pem", &authority.certificate.pem())?;
    reporter.set("METER_REPORTER_CA_FILE", &ca.display().to_string());
    reporter.set("HTTPS_PROXY", &format!("http://user:wrong@{proxy}"));
    let (well, told, _) = reporter.run(&["test"]).await?;
    assert!(!well && told.contains("✗ proxy") && !told.contains("wrong"), "{told}");
    reporter.set("HTTPS_PROXY", &format!("http://user:password@{proxy}"));
    let (well, told, _) = reporter.run(&["test"]).await?;
    assert!(well && told.contains("✓ proxy"), "{told}");
    let target = format!("localhost:{}", books.address().port());
    let tunnels = asked.lock().unwrap().clone();
    assert!(tunnels.len() > 1 && tunnels.iter().all(|asked| *asked == target), "{tunnels:?}");
    reporter.set("NO_PROXY", "localhost");
    let (well, told, _) = reporter.run(&["test"]).await?;
    assert!(well && !told.contains("✓ proxy"), "{told}");
    assert_eq!(*asked.lock().unwrap(), tunnels, "it was not asked again");
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_ours_is_shown_where_one_is_asked_for() -> Result<()> {
    let authority = Authority::new()?;
    let books = behind_tls(&authority, true).await?;
    let mut reporter = reporter_of(&books)?;
    let ca = file(&reporter, "ca.pem", &authority.certificate.pem())?;
    reporter.set("METER_REPORTER_CA_FILE", &ca.display().to_string());
    let (well, told, _) = reporter.run(&["test"]).await?;
    assert!(!well, "nobody without one is let in: {told}");
    shows_certificate(&mut reporter, &authority)?;
    let (well, told, error) = reporter.run(&["test"]).await?;
    assert!(well, "{told} {error}");
    Ok(())
}

#[tokio::test]
async fn where_nobody_listens_or_somebody_else_does_the_step_is_named() -> Result<()> {
    let closed = nobody()?;
    let reporter = OnPremise::new(&format!("http://{closed}"))?;
    let (well, told, _) = reporter.run(&["test"]).await?;
    assert!(!well && told.contains("✗ connection") && told.contains("firewall"), "{told}");
    let strange = tests::stand_in::StandIn::silent().await?;
    let reporter = OnPremise::new(&format!("http://{}", strange.address()))?;
    let (well, told, _) = reporter.run(&["test"]).await?;
    assert!(!well && told.contains("✗ answer") && told.contains("not signed"), "{told}");
    let books = Books::start(&key("k1", "cd")).await?;
    let reporter = OnPremise::new(&format!("http://{}", books.address()))?;
    let (well, told, _) = reporter.run(&["test"]).await?;
    assert!(!well && told.contains("✗ key") && told.contains("TELEMETRY_HMAC_KEY"), "{told}");
    assert_eq!(books.taken(|taken| taken.unsigned), 1);
    Ok(())
}

/// An address that nobody listens on.
fn nobody() -> Result<SocketAddr> {
    kit::ports::free()
}
