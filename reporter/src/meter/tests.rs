//! What was answered is durable; what cannot be written was not done.

use std::sync::atomic::{AtomicU32, Ordering};

use shared::cell::Observed;
use shared::ids::AgentId;
use shared::kind::Kind;
use shared::units::Units;

use super::*;
use crate::store::tests::disk_is_full;

static NEXT: AtomicU32 = AtomicU32::new(0);

struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("meter-reporter-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    async fn open(&self) -> Meter {
        Meter::open(&self.0, &source("plant-7"), &Clock::default()).await.unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn source(name: &str) -> SourceId {
    SourceId::parse(name).unwrap()
}

fn count(core: &mut Core, now: Timestamp) {
    let agent = AgentId::parse("bot").unwrap();
    core.home.count_served(now, (Kind::Verify, &agent), Units::new(1), Observed::default());
}

fn used(meter: &Meter) -> u64 {
    meter.look(|core, now| core.home.numbers(now).unwrap().used.get())
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_folder_is_opened_again() {
    let folder = Folder::new();
    let meter = folder.open().await;
    let acts = (0..50).map(|_| {
        let meter = meter.clone();
        tokio::spawn(async move { meter.act(count).await })
    });
    for act in acts.collect::<Vec<_>>() {
        act.await.unwrap().unwrap();
    }
    let life = meter.look(|core, _| core.home.incarnation().clone());
    let again = folder.open().await;
    assert_eq!(used(&again), 50);
    assert_eq!(again.look(|core, _| core.home.incarnation().clone()), life, "it is the same life");
}

#[tokio::test]
async fn what_cannot_be_written_was_not_done_and_the_next_goes_on_from_what_is_durable() {
    let folder = Folder::new();
    let meter = folder.open().await;
    meter.act(count).await.unwrap();
    disk_is_full(&folder.0, true).await;
    assert_eq!(meter.act(count).await, Err(NotDurable));
    assert_eq!(meter.act(count).await, Err(NotDurable));
    assert_eq!(used(&meter), 1);
    disk_is_full(&folder.0, false).await;
    meter.act(count).await.unwrap();
    assert_eq!(used(&folder.open().await), 2);
}

#[tokio::test]
async fn before_any_receipt_everything_is_allowed_and_a_receipts_policy_is_newer() {
    let folder = Folder::new();
    let meter = folder.open().await;
    assert_eq!(meter.look(|core, _| core.home.policy_version()), Some(policy::PROVISIONAL));
    let numbers = meter.look(|core, now| core.home.numbers(now).unwrap());
    assert_eq!((numbers.remaining(), numbers.rpm), (None, u32::MAX));
}

#[tokio::test]
async fn a_folder_of_another_reporter_is_refused() {
    let folder = Folder::new();
    folder.open().await;
    let error = Meter::open(&folder.0, &source("plant-8"), &Clock::default()).await.unwrap_err();
    assert!(
        error.to_string().contains("plant-7") && error.to_string().contains("METER_REPORTER_DATA"),
        "{error}"
    );
}

#[tokio::test]
async fn a_new_life_begins_at_zero_and_keeps_what_the_month_has_used() {
    let folder = Folder::new();
    let meter = folder.open().await;
    let who = Reporting { source: source("plant-7"), environment: shared::report::Environment::Production };
    meter.act(count).await.unwrap();
    let frozen = meter.act(|core, now| core.freeze(&who, now)).await.unwrap();
    assert_eq!(frozen.len(), 1);
    let life = Incarnation::parse("another1").unwrap();
    meter.act(|core, now| core.renew(life, now)).await.unwrap();
    let meter = folder.open().await;
    let frozen = meter.act(|core, now| core.freeze(&who, now)).await.unwrap();
    assert!(
        frozen[0].seq == 1
            && frozen[0].body.contains("another1")
            && frozen[0].body.ends_with(r#""cells":[]}"#)
    );
    assert_eq!(used(&meter), 1);
}
