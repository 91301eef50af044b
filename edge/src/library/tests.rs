//! The library against a real home in memory, as a worker would drive it.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use shared::home::Home;
use shared::home::call::{CallId, ContactReply, HomeReply};
use shared::ids::{KeyId, Mode, ProjectId};
use shared::key::ProjectKey;
use shared::policy::LeaseRules;
use shared::units::Units;

use super::*;
use crate::test_policy;

const NOW: Timestamp = Timestamp::from_ms(1_795_435_200_000);

/// A process has one meter, as a worker has.
static METER: Mutex<()> = Mutex::new(());

struct Memory {
    _alone: MutexGuard<'static, ()>,
    home: RefCell<Home>,
    ms: Cell<u64>,
    contacts: Cell<u32>,
}

impl Platform for Memory {
    fn now_ms(&self) -> u64 {
        NOW.as_ms() + self.ms.get()
    }

    async fn sleep(&self, ms: u32) {
        self.ms.set(self.ms.get() + u64::from(ms));
    }

    async fn contact(&self, object: &str, home: &str, contact: &str) -> Result<String, String> {
        assert_eq!((object, home), ("demo/live", "demo/live"));
        self.contacts.set(self.contacts.get() + 1);
        let contact = json::read(contact).map_err(|error| error.to_string())?;
        let reply = self.home.borrow_mut().contact(now(self), 7, &contact).map_err(|e| e.to_string())?;
        let reply = reply.map_or(ContactReply::Nobody, |reply| ContactReply::Reply(Box::new(reply)));
        Ok(json::write(&reply))
    }

    async fn decide(&self, _: &str, ask: &str, call: &str) -> Result<String, String> {
        let ask = json::read(ask).map_err(|error| error.to_string())?;
        let call = CallId::parse(call).ok_or("no call")?;
        let verdict = self.home.borrow_mut().decide_call(now(self), &ask, call);
        let verdict = verdict.map_err(|e| e.to_string())?.ok_or("it was taken back")?;
        Ok(json::write(&HomeReply::Verdict(verdict)))
    }
}

/// Nothing here ever waits for anything, so that looking once is enough.
fn run<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits for something"),
    }
}

fn memory(included: u64, strict: bool) -> Memory {
    let leases = LeaseRules { strict, ..LeaseRules::default() };
    let home = test_policy::home(test_policy::policy(NOW, included, leases));
    let alone = METER.lock().unwrap_or_else(PoisonError::into_inner);
    Memory { _alone: alone, home: RefCell::new(home), ms: Cell::new(0), contacts: Cell::new(0) }
}

fn key() -> String {
    let secrets = format!("1:{}", "44".repeat(32));
    configure(&Settings { key_secrets: &secrets, ..Settings::default() }, [1, 2, 3, 4]).unwrap();
    let (project, id) = (ProjectId::parse("demo").unwrap(), KeyId::parse("k001").unwrap());
    KeySecrets::parse(&secrets).unwrap().mint(&ProjectKey { project, mode: Mode::Live, id })
}

fn asked<'a>(key: &'a str) -> Check<'a> {
    Check { key, kind: Kind::McpToolCall, agent: Some("bot"), cost: 1, dry_run: false }
}

#[test]
fn the_library_decides_by_leases_and_reports_in_the_background() {
    let (memory, key) = (memory(100_000, false), key());
    let mut restless = None;
    for _ in 0..5 {
        let decision = run(check(&memory, &asked(&key)));
        assert_eq!((decision.allowed, decision.code.as_str()), (true, "ok"));
        restless = restless.or(decision.restless);
    }
    assert_eq!(memory.contacts.get(), 1, "one contact is enough for five requests");
    run(background(&memory, &restless.unwrap()));
    let of_month = memory.home.borrow().outstanding(NOW.period());
    assert_eq!((of_month.settled, of_month.net), (Units::new(5), Units::new(5)));
}

#[test]
fn the_library_stops_hard_and_names_what_it_refuses() {
    for strict in [false, true] {
        let (memory, key) = (memory(3, strict), key());
        let codes: Vec<String> = (0..4).map(|_| run(check(&memory, &asked(&key))).code).collect();
        assert_eq!(codes, ["ok", "ok", "ok", "quota_exhausted"]);
        let refused = |check: Check<'_>| run(super::check(&memory, &check)).code;
        assert_eq!(refused(asked("pk_live_demo_k001_1_00")), "unauthorized");
        assert_eq!(refused(Check { cost: 1_001, ..asked(&key) }), "field_rejected");
        assert_eq!(refused(Check { agent: Some("~x"), ..asked(&key) }), "field_rejected");
    }
}
