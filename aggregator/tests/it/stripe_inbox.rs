//! Deliveries of Stripe: durable before they are acknowledged, each once. How many a second is measured by
//! `cargo xtask bench --deliveries`.

use aggregator::clock::Clock;
use aggregator::payments::signature::WebhookSecrets;
use aggregator::stripe::account::{Account, ReturnUrls};
use aggregator::stripe::client::{SecretKey, Stripe};
use aggregator::stripe::inbox::Inbox;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Meter, noon};

const SECRET: &str = "whsec_test";

/// A meter with an account at a Stripe that nobody answers for: deliveries are taken in all the same.
async fn meter() -> Meter {
    Meter::start_taking_payments(Clock::manual(noon()), |store, clock, metrics| Account {
        api: Stripe::new(&SecretKey::parse("sk_test_x").unwrap(), Some("http://127.0.0.1:1")).unwrap(),
        secrets: WebhookSecrets::parse(SECRET).unwrap(),
        return_urls: ReturnUrls::parse("http://127.0.0.1:8080/").unwrap(),
        automatic_tax: true,
        inbox: Inbox::start(store.clone(), clock.clone()),
        store: store.clone(),
        clock: clock.clone(),
        metrics,
    })
    .await
}

/// A signed delivery of an event, as it is on the wire.
fn delivery(event: &str) -> String {
    let body = format!(
        r#"{{"id":"{event}","object":"event","type":"product.created","livemode":false,"data":{{"object":{{"id":"p"}}}}}}"#
    );
    let time = noon().as_seconds().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}.{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "POST /api/v1/stripe/webhook HTTP/1.1\r\nhost: meter\r\nstripe-signature: t={time},v1={hex}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Delivers one event after the other on one connection; says how many were acknowledged.
async fn deliver(address: std::net::SocketAddr, name: String, until: impl Fn(usize) -> bool) -> usize {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut buffer = [0; 2_048];
    let mut count = 0;
    while until(count) {
        stream.write_all(delivery(&format!("evt_{name}_{count}")).as_bytes()).await.unwrap();
        let read = stream.read(&mut buffer).await.unwrap();
        let answer = String::from_utf8_lossy(&buffer[..read]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        count += 1;
    }
    count
}

#[tokio::test]
async fn every_acknowledged_delivery_is_in_the_books_and_each_event_once() {
    let meter = meter().await;
    let mut running = tokio::task::JoinSet::new();
    for connection in 0..32 {
        // Half of the connections deliver the same events as the other half.
        running.spawn(deliver(meter.address, format!("{}", connection % 16), |count| count < 20));
    }
    let acknowledged: usize = running.join_all().await.into_iter().sum();
    assert_eq!(acknowledged, 640);
    let (pending, parked) = meter.app.store.events_waiting().await.unwrap();
    assert_eq!((pending, parked), (320, 0));
}
