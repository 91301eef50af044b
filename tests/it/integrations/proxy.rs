//! `deploy/nginx.conf` as it is, in a real nginx before a real meter: what passes, and what does not.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use rcgen::generate_simple_self_signed;
use serde_json::{Value, json};
use tests::config;

use super::deploy::{Deployed, of_unit, placed};
use super::{Running, repository, run};

/// Asks over TLS as strangers do, and prints what it was answered.
const STRANGER: &str = r#"
import http.client, json, os, socket, ssl
context = ssl.create_default_context(cafile=os.environ["CA"])
port, key = int(os.environ["PORT"]), os.environ["KEY"]

class Connection(http.client.HTTPSConnection):
    def connect(self):
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sock = context.wrap_socket(plain, server_hostname=self.host)

def ask(host, method, path, body=None, **headers):
    connection = Connection(host, port, context=context)
    connection.request(method, path, body, {"Host": host, **headers})
    answer = connection.getresponse()
    return answer.status, answer.read(), dict(answer.getheaders())

def other():
    try:
        return ask("other.example.com", "GET", "/healthz")[0]
    except ssl.SSLError:
        return "no handshake"

edge, meter = "edge.example.com", "meter.example.com"
call = {"Authorization": f"Bearer {key}", "Palveron-Agent": "bot"}
status, body, headers = ask(edge, "POST", "/v1/verify?x=1", "x" * 300_000, **call)
told = {"verify": status, "said": json.loads(body), "limits": "RateLimit" in headers}
told["policy"] = ask(edge, "POST", "/internal/policy", "{}")[0]
told["ready"] = ask(meter, "GET", "/readyz")[0]
told["dashboard"] = ask(meter, "GET", "/")[0]
told["metrics"] = ask(meter, "GET", "/metrics")[0]
told["large"] = ask(meter, "POST", "/api/v1/webhooks", "x" * 1_100_000)[0]
told["other"] = other()
# workerd answers this by itself, with 500 and a line in its log.
told["tunnel"] = ask(edge, "CONNECT", "example.com:443")[0]

# Requests whose body does not end: as many as an address may have at once, then one more.
held = []
for _ in range(100):
    connection = Connection(edge, port, context=context)
    connection.connect()
    head = f"POST /v1/verify HTTP/1.1\r\nHost: {edge}\r\nAuthorization: Bearer {key}\r\nContent-Length: 10\r\n\r\nx"
    connection.sock.sendall(head.encode())
    held.append(connection)
import time
deadline = time.monotonic() + 8
told["held"] = 0
while told["held"] != 429 and time.monotonic() < deadline:
    told["held"] = ask(edge, "GET", "/healthz")[0]
for connection in held:
    connection.close()
print(json.dumps(told))
"#;

#[tokio::test]
async fn nginx_lets_requests_through_and_keeps_what_is_internal_and_too_many_connections_out() -> Result<()> {
    let mut deployed = Deployed::begin("nginx").await?;
    let mut meter = of_unit("palveron-meter.service", &deployed.places)?;
    meter.env("EDGE_URL", format!("http://{}", deployed.edge)).env("METER_CONNECTIONS_PER_ADDRESS", "none");
    deployed.start("meter", &mut meter, deployed.aggregator).await?;
    let mut edge = of_unit("palveron-edge.service", &deployed.places)?;
    deployed.start("edge", &mut edge, deployed.edge).await?;
    let key = deployed.key(deployed.edge, "1000").await?;

    let folder = deployed.path("nginx");
    fs::create_dir_all(&folder)?;
    let address = kit::ports::free()?;
    let certified =
        generate_simple_self_signed(["edge.example.com".to_owned(), "meter.example.com".to_owned()])?;
    fs::write(folder.join("tls.crt"), certified.cert.pem())?;
    fs::write(folder.join("tls.key"), certified.signing_key.serialize_pem())?;
    let mut places = deployed.places.clone();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String =
        kinds.iter().map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display())).collect();
    places.extend([
        ("/etc/palveron", folder.display().to_string()),
        ("listen 443", format!("listen {address}")),
        // Debian's own places are made by its package, which is not installed.
        ("http {", format!("http {{ access_log off;\n{temporary}")),
    ]);
    let text = placed(&fs::read_to_string(repository("deploy/nginx.conf"))?, &places);
    fs::write(folder.join("nginx.conf"), text)?;
    let nginx = || -> Result<Command> {
        let mut nginx = Command::new(config::nginx()?);
        nginx.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf")).args(["-e", "stderr"]);
        // One process, so that it ends when it is killed.
        nginx
            .arg("-g")
            .arg(format!("daemon off; master_process off; pid {}/pid; error_log stderr;", folder.display()));
        Ok(nginx)
    };
    run(nginx()?.arg("-t"))?;
    let running = Running::start(&mut nginx()?, &folder.join("log"))?;
    running.listens(address).await?;

    let mut stranger = Command::new(config::openapi_python()?);
    stranger.arg("-c").arg(STRANGER).env("CA", folder.join("tls.crt")).env("KEY", key);
    let said = run(stranger.env("PORT", address.port().to_string()))
        .with_context(|| fs::read_to_string(folder.join("log")).unwrap_or_default())?;
    let told: Value = serde_json::from_str(&said).context(said)?;
    let decision = json!({"decision": "allow", "project": "demo", "agent": "bot", "path": "/v1/verify?x=1", "bytes": 300_000});
    let expected = json!({
        "verify": 200, "said": decision, "limits": true, "policy": 404, "ready": 200, "dashboard": 200,
        "metrics": 404, "large": 413, "other": "no handshake", "tunnel": 400, "held": 429,
    });
    assert_eq!(told, expected);
    drop(running);
    Ok(())
}
