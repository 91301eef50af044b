//! The way out through programs that others wrote: Envoy is the proxy, nginx speaks TLS (OpenSSL) under a private authority
//! and asks for our certificate.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tests::books::Books;
use tests::config;
use tests::on_premise::{OnPremise, key};
use tests::poll::eventually;

use super::network::{Authority, CREDENTIALS, file, shows_certificate};
use crate::integrations::Running;

/// Generous, because the machine is shared.
const READY_MAX: Duration = Duration::from_secs(30);

/// A proxy for whoever says the right words. It leads to one place, whatever is asked for.
const ENVOY: &str = r#"
static_resources:
  listeners:
  - name: proxy
    address: { socket_address: { address: 127.0.0.1, port_value: $PROXY } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: proxy
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: $LOG
              log_format:
                text_format_source: { inline_string: "%REQ(:METHOD)% %REQ(:AUTHORITY)% %RESPONSE_CODE%\n" }
          upgrade_configs: [{ upgrade_type: CONNECT }]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match:
                  connect_matcher: {}
                  headers: [{ name: proxy-authorization, string_match: { exact: "$WORDS" } }]
                route:
                  cluster: outside
                  upgrade_configs: [{ upgrade_type: CONNECT, connect_config: {} }]
              - match: { connect_matcher: {} }
                direct_response: { status: 407 }
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters:
  - name: outside
    type: STATIC
    load_assignment:
      cluster_name: outside
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: $SERVER } } } }] }]
"#;

/// TLS for whoever has a certificate of the authority, before the books.
const NGINX: &str = "
events {}
http {
  access_log off;
  client_body_temp_path $HERE/body; proxy_temp_path $HERE/proxy; fastcgi_temp_path $HERE/fastcgi;
  uwsgi_temp_path $HERE/uwsgi; scgi_temp_path $HERE/scgi;
  server {
    listen $ADDRESS ssl;
    ssl_certificate $HERE/tls.crt;
    ssl_certificate_key $HERE/tls.key;
    ssl_client_certificate $HERE/ca.crt;
    ssl_verify_client on;
    location / { proxy_pass http://$BOOKS; }
  }
}
";

async fn nginx(folder: &Path, authority: &Authority, books: SocketAddr) -> Result<(Running, SocketAddr)> {
    let address = kit::ports::free()?;
    let (certificate, key) = authority.signs("localhost")?;
    fs::write(folder.join("tls.crt"), certificate.pem())?;
    fs::write(folder.join("tls.key"), key.serialize_pem())?;
    fs::write(folder.join("ca.crt"), authority.certificate.pem())?;
    let here = folder.display().to_string();
    let text = NGINX.replace("$HERE", &here).replace("$ADDRESS", &address.to_string());
    fs::write(folder.join("nginx.conf"), text.replace("$BOOKS", &books.to_string()))?;
    let mut command = Command::new(config::nginx()?);
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).args(["-e", "stderr"]);
    // One process, so that it ends when it is killed.
    command.arg("-g").arg(format!("daemon off; master_process off; pid {here}/pid; error_log stderr;"));
    let nginx = Running::start(&mut command, &folder.join("nginx.log"))?;
    nginx.listens(address).await?;
    Ok((nginx, address))
}

async fn envoy(folder: &Path, server: SocketAddr) -> Result<(Running, SocketAddr)> {
    let address = kit::ports::free()?;
    let text = ENVOY
        .replace("$PROXY", &address.port().to_string())
        .replace("$SERVER", &server.port().to_string())
        .replace("$LOG", &folder.join("tunnels").display().to_string())
        .replace("$WORDS", CREDENTIALS);
    fs::write(folder.join("envoy.yaml"), text)?;
    let mut command = Command::new(config::envoy()?);
    command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
    command.args(["--file-flush-interval-msec", "50"]).arg("--config-path").arg(folder.join("envoy.yaml"));
    let envoy = Running::start(&mut command, &folder.join("envoy.log"))?;
    envoy.listens(address).await?;
    Ok((envoy, address))
}

#[tokio::test]
async fn reports_pass_envoy_and_nginx_with_a_private_authority_and_our_certificate() -> Result<()> {
    let authority = Authority::new()?;
    let books = Books::start(&key("k1", "ab")).await?;
    let mut reporter = OnPremise::new(&format!("http://{}", books.address()))?;
    let folder = reporter.folder().join("others");
    fs::create_dir_all(&folder)?;
    let (nginx, server) = nginx(&folder, &authority, books.address()).await?;
    let (envoy, proxy) = envoy(&folder, server).await?;
    reporter.set("TELEMETRY_ENDPOINT", &format!("https://localhost:{}", server.port()));
    reporter.set("HTTPS_PROXY", &format!("http://user:wrong@{proxy}"));
    let ca = file(&reporter, "ca.pem", &authority.certificate.pem())?;
    reporter.set("METER_REPORTER_CA_FILE", &ca.display().to_string());
    let (well, told, _) = reporter.run(&["test"]).await?;
    assert!(!well && told.contains("✗ proxy") && told.contains("authorization required"), "{told}");
    reporter.set("HTTPS_PROXY", &format!("http://user:password@{proxy}"));
    let (well, told, _) = reporter.run(&["test"]).await?;
    assert!(!well && told.contains("✓ proxy"), "nginx lets nobody in who shows no certificate: {told}");
    shows_certificate(&mut reporter, &authority)?;
    let (well, told, error) = reporter.run(&["test"]).await?;
    assert!(well && told.contains("✓ proxy") && told.contains("✓ TLS"), "{told} {error}");
    reporter.start().await?;
    reporter.count(r#"{"kind":"verify","units":7}"#).await?;
    assert_eq!(reporter.send().await?["failure"], Value::Null);
    assert_eq!(books.taken(|taken| taken.units()), 7);
    let asked = format!("CONNECT localhost:{} 200", server.port());
    eventually("the proxy's own words", READY_MAX, async || {
        let tunnels = fs::read_to_string(folder.join("tunnels")).context("no log")?;
        Ok(tunnels.contains(&asked).then_some(()))
    })
    .await?;
    // Another authority's servers are not ours, however they are reached.
    let other = file(&reporter, "other.pem", &Authority::new()?.certificate.pem())?;
    reporter.stop().await?;
    reporter.set("METER_REPORTER_CA_FILE", &other.display().to_string());
    let (well, told, _) = reporter.run(&["test"]).await?;
    assert!(!well && told.contains("✓ proxy") && told.contains("✗ TLS"), "{told}");
    drop((envoy, nginx));
    Ok(())
}
