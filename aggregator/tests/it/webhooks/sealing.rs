//! Secrets: sealed at rest, rotated without a gap.

use aggregator::store::{Store, WhenMissing};
use aggregator::webhooks::seal::SealKeys;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use shared::key::KeySecrets;

use super::receiver::{Got, Receiver};
use super::{HOUR_MS, advance, got, meter, post, settled, subscribe};
use crate::support::SECRET_KEYS;

/// Which of these secrets have signed, as a receiver would see it.
fn signed_by(got: &Got, secrets: &[&str]) -> Vec<bool> {
    let signatures: Vec<&str> = got.signature.split(' ').collect();
    let by = |secret: &&str| {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.{}", got.id, got.timestamp, got.body).as_bytes());
        signatures.contains(&format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())).as_str())
    };
    secrets.iter().map(by).collect()
}

#[tokio::test]
async fn a_rotated_secret_goes_on_signing_for_a_day() {
    let (meter, receiver) = (meter().await, Receiver::start().await);
    let (id, old) = subscribe(&meter, "demo", &receiver, json!({})).await;
    let test = async |count: usize| {
        assert_eq!(post(&meter, "demo", &format!("{id}/test"), "").await.status, 202);
        got(&receiver, count).await.pop().unwrap()
    };
    assert_eq!(signed_by(&test(1).await, &[&old]), [true]);
    let rotated = post(&meter, "demo", &format!("{id}/rotate"), "").await;
    assert_eq!(rotated.field("previous_until"), "2026-11-24T12:00:00Z");
    let new = rotated.field("secret");
    assert_eq!(signed_by(&test(2).await, &[&old, &new]), [true, true]);
    advance(&meter, 24 * HOUR_MS);
    assert_eq!(signed_by(&test(3).await, &[&old, &new]), [false, true]);
}

#[tokio::test]
async fn the_database_does_not_give_a_secret_away() {
    let (meter, receiver) = (meter().await, Receiver::start().await);
    let (_, secret) = subscribe(&meter, "demo", &receiver, json!({})).await;
    let bytes = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    for file in std::fs::read_dir(meter.folder.path()).unwrap() {
        let stored = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!stored.windows(bytes.len()).any(|window| window == bytes), "the secret is there");
        let text = secret.as_bytes();
        assert!(!stored.windows(text.len()).any(|window| window == text), "its text is there");
    }
}

#[tokio::test]
async fn secrets_move_to_a_new_key_and_the_old_one_may_go() {
    let (meter, receiver) = (meter().await, Receiver::start().await);
    let (id, secret) = subscribe(&meter, "demo", &receiver, json!({})).await;
    let none = KeySecrets::none();
    let keys = |text: String| SealKeys::new(Some(&KeySecrets::parse(&text).unwrap()), &none);
    let newer = "d2".repeat(32);
    let both = keys(format!("1:{SECRET_KEYS},2:{newer}"));
    let store = Store::open(&meter.folder.database(), WhenMissing::Refuse).await.unwrap();
    assert_eq!(store.reseal_webhooks(&both).await.unwrap(), 1);
    assert_eq!(store.reseal_webhooks(&both).await.unwrap(), 0, "again it changes nothing");
    // The running meter has the old key only, says so in the log of the delivery, and keeps it waiting.
    post(&meter, "demo", &format!("{id}/test"), "").await;
    crate::support::until("it cannot open the secret", async || {
        let page = super::get(&meter, "demo", &format!("/{id}/deliveries")).await;
        page["deliveries"][0]["last_attempt"]["outcome"] == "secret_unreadable"
    })
    .await;
    assert!(receiver.got().is_empty());
    assert_eq!(
        store.reseal_webhooks(&keys(format!("1:{newer},2:{SECRET_KEYS}"))).await.unwrap(),
        0,
        "wrong keys"
    );
    assert_eq!(
        store.reseal_webhooks(&keys(format!("1:{SECRET_KEYS},2:{newer},3:{newer}"))).await.unwrap(),
        1
    );
    let back = keys(format!("3:{newer}"));
    assert_eq!(store.reseal_webhooks(&back).await.unwrap(), 0);
    store.close().await;
    drop(secret);
    settled(&meter, "demo", &id, &["waiting"]).await;
}
