//! Webhooks out: which events wait for which attempt, their signatures, and their sending.

use std::collections::VecDeque;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;

use super::Fake;
use super::faults::DeliveryFaults;
use super::world::{World, word};
use crate::client::Call;

/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Waits after each failed attempt, by the fake's own clock: Stripe goes on for three days.
const RETRY_MS: [u64; 8] =
    [1_000, 5_000, 60_000, 10 * 60_000, 60 * 60_000, 6 * 60 * 60_000, 24 * 60 * 60_000, 36 * 60 * 60_000];

/// A receiver that takes longer has failed; Stripe waits about as long.
const RECEIVER_MAX: Duration = Duration::from_secs(10);

/// An event that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    event: String,
    due_ms: u64,
    attempt: usize,
}

/// What waits, the oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    sent: u64,
}

impl Queue {
    pub(super) fn push(&mut self, event: &str, due_ms: u64) {
        self.waiting.push_back(Waiting { event: event.to_owned(), due_ms, attempt: 0 });
    }

    /// How many events wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Makes everything that waits due at once.
    pub(super) fn hurry(&mut self, now_ms: u64) {
        self.waiting.iter_mut().for_each(|waiting| waiting.due_ms = waiting.due_ms.min(now_ms));
    }

    /// Takes what is due, in the order that the faults ask for.
    fn take(&mut self, now_ms: u64, faults: &DeliveryFaults) -> Vec<Waiting> {
        if faults.hold {
            return Vec::new();
        }
        let (mut due, later): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|one| one.due_ms <= now_ms);
        self.waiting = later.into();
        if let Some(seed) = faults.shuffle_seed {
            shuffle(&mut due, seed);
        }
        let copies = usize::try_from(faults.duplicates).unwrap_or_default().saturating_add(1);
        due.into_iter().flat_map(|one| std::iter::repeat_n(one, copies)).collect()
    }

    fn is_lost(&mut self, faults: &DeliveryFaults) -> bool {
        self.sent = self.sent.saturating_add(1);
        faults.lose_every > 0 && self.sent.is_multiple_of(faults.lose_every)
    }

    fn failed(&mut self, one: Waiting, now_ms: u64) {
        let Some(wait_ms) = RETRY_MS.get(one.attempt) else { return };
        if self.waiting.iter().any(|other| other.event == one.event) {
            return;
        }
        let attempt = one.attempt.saturating_add(1);
        self.waiting.push_back(Waiting { due_ms: now_ms.saturating_add(*wait_ms), attempt, ..one });
    }
}

/// An order that the seed draws, by xorshift: it need not be fair, only the same for the same seed.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed | 1;
    for last in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
        items.swap(last, usize::try_from(state.rem_euclid(bound)).unwrap_or_default());
    }
}

/// Stripe's signature header: one `v1` for each secret while secrets are rotated.
pub(super) fn signature(secrets: &[String], seconds: u64, body: &str) -> String {
    let mut header = format!("t={seconds}");
    for secret in secrets {
        // A key of any length is accepted.
        let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()) else { continue };
        mac.update(format!("{seconds}.{body}").as_bytes());
        let digest: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        header = format!("{header},v1={digest}");
    }
    header
}

/// An event as it is sent: what the fake notes for itself stays here.
fn public(mut event: Value) -> Value {
    if let Some(map) = event.as_object_mut() {
        map.remove("delivered");
    }
    event
}

/// Delivers for ever.
pub(super) async fn run(fake: Fake) {
    loop {
        let (due, now_ms) = fake.with(|world| {
            let faults = world.faults.deliveries.clone();
            (world.queue.take(world.now_ms, &faults), world.now_ms)
        });
        for one in due {
            deliver(&fake, one, now_ms).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn deliver(fake: &Fake, one: Waiting, now_ms: u64) {
    let event = fake.with(|world| {
        let faults = world.faults.deliveries.clone();
        let lost = world.queue.is_lost(&faults);
        world.any(&one.event).map(|event| (event, lost))
    });
    let Some((event, lost)) = event else { return };
    let status = if lost { 0 } else { send(fake, &event).await };
    fake.change(|world| settle(world, one, status, now_ms));
}

fn settle(world: &mut World, one: Waiting, status: u16, now_ms: u64) {
    if (200..300).contains(&status) {
        if let Some(mut event) = world.any(&one.event) {
            event["delivered"] = json!(true);
            event["pending_webhooks"] = json!(0);
            world.put(&event);
        }
    } else {
        world.queue.failed(one, now_ms);
    }
}

/// The receiver's status; 0 where there was no answer.
async fn send(fake: &Fake, event: &Value) -> u16 {
    let Some(receiver) = &fake.settings.webhook else { return 0 };
    let body = public(event.clone()).to_string();
    let seconds = fake.with(|world| world.seconds());
    let call = Call::post(&receiver.path, body.clone())
        .json()
        .header("stripe-signature", signature(&fake.settings.secrets, seconds, &body))
        .header("user-agent", "Stripe/1.0 (fake)");
    let answer = tokio::time::timeout(RECEIVER_MAX, call.send(receiver.address)).await;
    match answer {
        Ok(Ok(answer)) if (200..300).contains(&answer.status) => answer.status,
        Ok(Ok(answer)) => {
            eprintln!("fake-stripe: {} was answered {}", word(event, "type"), answer.status);
            answer.status
        }
        Ok(Err(_)) | Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_signs_once() {
        let header = signature(&["whsec_a".to_owned(), "whsec_b".to_owned()], 12, "{}");
        let parts: Vec<&str> = header.split(',').collect();
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[0], "t=12");
        assert!(parts[1..].iter().all(|part| part.starts_with("v1=") && part.len() == 67), "{header}");
        assert_ne!(parts[1], parts[2]);
    }

    #[test]
    fn failures_are_tried_again_for_three_days_and_no_longer() {
        let mut queue = Queue::default();
        queue.push("evt_1", 0);
        let mut now_ms = 0;
        let mut attempts = 0;
        while let Some(one) = queue.take(now_ms, &DeliveryFaults::default()).pop() {
            attempts += 1;
            queue.failed(one, now_ms);
            now_ms = queue.waiting.front().map_or(now_ms, |one| one.due_ms);
        }
        assert_eq!(attempts, RETRY_MS.len() + 1);
        assert!((2..=3).contains(&now_ms.div_euclid(86_400_000)), "{now_ms}");
    }

    #[test]
    fn a_seed_draws_the_same_order_again() {
        let order = |seed| {
            let mut items: Vec<u32> = (0..20).collect();
            shuffle(&mut items, seed);
            items
        };
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
    }
}
