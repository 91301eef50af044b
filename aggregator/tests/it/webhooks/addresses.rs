//! Where deliveries must never go. A listener on this machine counts every connection that is made to it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aggregator::access::Role;
use aggregator::jobs::webhooks::{self, Resolver, Sender};
use aggregator::store::NewEndpoint;
use aggregator::webhooks::endpoint::{Filter, Format};
use aggregator::webhooks::target::Rules;
use shared::plan::Plan;
use tokio::net::TcpListener;

use super::{get, post};
use crate::support::{Meter, project_id, until};

/// Hosts that are, or pretend not to be, this machine or another place that only we can reach.
const HOSTS: &str = "
    127.0.0.1 127.0.0.2 127.1 127.0.1 127.255.255.254 0.0.0.0 0 2130706433 017700000001 0x7f000001 0x7f.1 0x7f.0.0.1
    0177.0.0.1 0177.0.0x0.1 0x7F.0.0.0x1 127.0.0.1. ①②⑦.⓪.⓪.① １２７.０.０.１ 127。0。0。1 127．0．0．1
    %31%32%37.0.0.1 127.%30.0.1 localhost LOCALHOST localhost. a.localhost ｌocalhost lo%63alhost intranet
    10.0.0.1 10.255.255.255 167772161 0xa000001 012.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 192.168.257 0xc0a80001
    169.254.169.254 169.254.43518 0xa9fea9fe 2852039166 100.64.0.1 100.100.100.200 168.63.129.16 192.0.0.8 192.0.2.1
    192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    [::1] [::] [0:0:0:0:0:0:0:1] [::127.0.0.1] [::7f00:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:10.0.0.1]
    [0000:0000:0000:0000:0000:ffff:7f00:0001] [::ffff:0:127.0.0.1] [::ffff:0:0] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1]
    [64:ff9b::a9fe:a9fe] [64:ff9b:1::7f00:1] [2002:7f00:1::] [2002:a00:1::1] [2001:0:7f00:1::]
    [2001:0:4136:e378:8000:63bf:80ff:fffe] [2001:db8::1] [2001:10::1] [3fff::1] [5f00::1] [100::1] [fc00::1]
    [fd00:ec2::254] [fe80::1] [fe80::1%25eth0] [fe80::1%lo] [::1%25lo] [fec0::1] [ff02::1]
    [2606:4700::5efe:127.0.0.1] [2606:4700::200:5efe:10.0.0.1]
";

/// A meter under the rules of production, but for the port, and a listener on that port of every address.
struct Trap {
    meter: Meter,
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Trap {
    async fn set(resolver: Resolver) -> Self {
        let v4 = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = v4.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        // A machine without IPv6 has nothing to connect to there.
        let v6 = TcpListener::bind(("::1", port)).await.ok();
        for listener in std::iter::once(v4).chain(v6) {
            let count = Arc::clone(&connections);
            tokio::spawn(async move {
                while listener.accept().await.is_ok() {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let rules = Rules { ports: [443, 8443, port].into(), loopback: false };
        let meter = Meter::start_ruled(rules.clone()).await;
        meter.project("demo", Plan::Community).await;
        tokio::spawn(webhooks::run(meter.app.clone(), Sender::new(rules, resolver)));
        Self { meter, port, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Writes an endpoint past everything that looks at its URL, and tests it: what came of that.
    async fn outcome(&self, url: &str) -> String {
        let (store, now) = (&self.meter.app.store, self.meter.app.clock.now());
        let new = NewEndpoint {
            url: url.to_owned(),
            events: Filter::All,
            format: Format::Standard,
            description: String::new(),
        };
        let project = project_id("demo");
        let mut work = store.begin_in(&project).await.unwrap();
        let made = work.create_webhook(&project, new, &self.meter.app.webhooks.keys, now).await.unwrap();
        work.commit().await.unwrap();
        let aggregator::store::EndpointCreated::Endpoint(endpoint, _) = made else { panic!("{made:?}") };
        let id = endpoint.id;
        assert_eq!(post(&self.meter, "demo", &format!("{id}/test"), "").await.status, 202);
        let last = async || {
            let page = get(&self.meter, "demo", &format!("/{id}/deliveries")).await;
            page["deliveries"][0]["last_attempt"]["outcome"].as_str().map(str::to_owned)
        };
        until(&format!("{url} was tried"), async || last().await.is_some()).await;
        let outcome = last().await.unwrap();
        let mut work = store.begin_in(&project).await.unwrap();
        work.delete_webhook(&project, &id, now).await.unwrap();
        work.commit().await.unwrap();
        outcome
    }
}

#[tokio::test]
async fn no_form_of_an_inner_address_is_ever_connected_to() {
    let trap = Trap::set(Resolver::System).await;
    let (port, admin) = (trap.port, trap.meter.member("demo", Role::Admin).await);
    let mut urls: Vec<String> =
        HOSTS.split_whitespace().map(|host| format!("https://{host}:{port}/x")).collect();
    assert!(urls.len() >= 60, "{}", urls.len());
    urls.extend([
        format!("http://127.0.0.1:{port}/"),
        format!("http://example.com:{port}/"),
        format!("HTTPS:127.0.0.1:{port}/"),
        format!("https:\\\\127.0.0.1:{port}\\"),
        format!("https://example.com\\@127.0.0.1:{port}/"),
        format!("https://example.com@127.0.0.1:{port}/"),
        format!("https://user:password@example.com:{port}/"),
        format!("https://127.0.0.1:{port}@example.com/"),
        format!("https://\t127.0.0.1:{port}/"),
        format!("https://127.0\n.0.1:{port}/"),
        format!(" https://127.0.0.1:{port}/"),
        format!("https://[::1]:{port}#@example.com/"),
        "https://example.com:22/".to_owned(),
        "https://example.com:6379/".to_owned(),
        "https://example.com:0/".to_owned(),
        "https://example.com:99999/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1:6379/_x".to_owned(),
        "ftp://127.0.0.1/".to_owned(),
        "data:text/plain,x".to_owned(),
        "//127.0.0.1/".to_owned(),
        "https:///".to_owned(),
        "https://".to_owned(),
        format!("https://example.com/{}", "x".repeat(2_048)),
    ]);
    for url in &urls {
        let body = serde_json::json!({ "url": url }).to_string();
        trap.meter.json("POST", "/api/v1/webhooks", &admin, &body).await.refuses("url", url);
        assert_eq!(trap.outcome(url).await, "forbidden_address", "{url}");
    }
    assert_eq!(trap.connections(), 0);
    // The trap works: whoever connects is counted.
    drop(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    until("the listener counts", async || trap.connections() == 1).await;
}

#[tokio::test]
async fn a_name_is_judged_by_every_address_that_it_has_at_that_moment() {
    let answers = [
        "127.0.0.1",
        "8.8.8.8 127.0.0.1",
        "127.0.0.1 8.8.8.8",
        "::1",
        "::ffff:127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "2606:4700::1111 fe80::1",
        "64:ff9b::7f00:1",
        "0.0.0.0",
    ];
    // Another answer each time, as a server has that rebinds its name.
    let asked = Arc::new(Mutex::new(Vec::<String>::new()));
    let (names, turn) = (Arc::clone(&asked), AtomicUsize::new(0));
    let table = Resolver::Table(Arc::new(move |name: &str| {
        names.lock().unwrap().push(name.to_owned());
        let answer = answers[turn.fetch_add(1, Ordering::SeqCst) % answers.len()];
        answer.split(' ').map(|address| address.parse::<IpAddr>().unwrap()).collect()
    }));
    let trap = Trap::set(table).await;
    let admin = trap.meter.member("demo", Role::Admin).await;
    let url = format!("https://rebinding.example.com:{}/", trap.port);
    let made = trap.meter.json("POST", "/api/v1/webhooks", &admin, &format!(r#"{{"url":"{url}"}}"#)).await;
    assert_eq!(made.status, 201, "a name is judged when it is called: {made:?}");
    for _ in 0..2 * answers.len() {
        assert_eq!(trap.outcome(&url).await, "forbidden_address");
    }
    assert_eq!(trap.connections(), 0);
    assert_eq!(asked.lock().unwrap().len(), 2 * answers.len(), "asked once for each attempt");
}
