//! One run: nodes, messages and time, driven by a queue of events.

mod calls;
mod center;
mod clock;
mod faults;
pub mod meters;
mod network;
mod pulls;
mod region;
mod seats;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use shared::lease::message::{Contact, HolderId, Reply};
use shared::random::Stream;
use shared::time::Timestamp;
use shared::wire::Flush;

use crate::aggregator::{Aggregator, Receipt};
use crate::audit::hands::Issuer;
use crate::audit::refusals::Refusals;
use crate::audit::{Auditor, Verdict};
use crate::bugs::Planted;
use crate::config::Config;

use calls::{Call, Word};
use center::HomeNode;
use faults::Fault;
use meters::Meters;
use region::SubNode;
use seats::{Isolate, Request};

/// How long a healed world may take until everything is settled, in milliseconds.
const DRAIN_MS_MAX: u64 = 60_000;
/// The most lines of a trace.
const TRACE_MAX: usize = 400_000;

/// Where a contact goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The project's home.
    Home,
    /// One of its sub-homes.
    Sub(usize),
}

/// Who waits for a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addressee {
    Seat { isolate: usize, serial: u64 },
    Sub(usize),
}

#[derive(Debug)]
enum Event {
    Ask { isolate: usize, life: u64 },
    WakeSeat { isolate: usize, serial: u64 },
    WakeSub(usize),
    WakeHome,
    Contact(Target, Box<Contact>),
    Reply(Target, Box<Reply>),
    Strict(Box<Call>),
    Decided(Box<Call>, Word),
    Again { isolate: usize, request: Box<Request> },
    Flush(Box<Flush>),
    Receipt(Box<Receipt>),
    FlushTimeout(u64),
    Pull(u64, Box<Flush>),
    Pulled(u64, Box<Receipt>),
    PullTimeout(u64),
    WaitedForPolicy(u64),
    PolicyPush,
    Fault(Fault),
    ReviveIsolate(usize),
    HomeUp,
    SubUp(usize),
}

/// How far a clock was stepped, each way.
#[derive(Debug, Clone, Copy, Default)]
struct Steps {
    ahead_ms: u64,
    behind_ms: u64,
}

/// A run.
#[derive(Debug)]
pub struct World {
    config: Config,
    planted: Planted,
    random: Stream,
    start_ms: u64,
    now_us: u64,
    count: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    home: HomeNode,
    subs: Vec<SubNode>,
    isolates: Vec<Isolate>,
    aggregator: Aggregator,
    auditor: Auditor,
    home_steps: Steps,
    routes: BTreeMap<HolderId, Addressee>,
    healed: bool,
    asking: bool,
    serials: u64,
    /// Clients that come again.
    returning: usize,
    /// Until when something was in the way of what is called back.
    trouble_us: u64,
    /// How many keys were made.
    keys: u64,
    /// What happened, counted.
    pub meters: Meters,
    trace: Option<Vec<String>>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// The violation, if there was one.
    pub verdict: Verdict,
    /// What happened, counted.
    pub meters: Meters,
    /// What happened, line by line, if it was asked for.
    pub trace: Vec<String>,
    /// Units served.
    pub served: u64,
    /// What came of judging refusals.
    pub refusals: Refusals,
}

impl World {
    /// A world before its first event.
    #[must_use]
    pub fn new(config: Config, planted: Planted, traced: bool) -> Self {
        planted.plant();
        let mut random = Stream::new(config.seed);
        let start_ms = clock::start_ms(&config);
        let policy = center::policy(&config);
        let mut world = Self {
            planted,
            start_ms,
            now_us: start_ms * 1_000,
            count: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            home: HomeNode::new(&config),
            subs: Vec::new(),
            isolates: Vec::new(),
            aggregator: Aggregator::new(policy, Timestamp::from_ms(start_ms), planted.shell),
            auditor: Auditor::default(),
            home_steps: Steps::default(),
            routes: BTreeMap::new(),
            healed: false,
            asking: true,
            serials: 0,
            returning: 0,
            trouble_us: 0,
            keys: 1,
            meters: Meters::new(start_ms),
            trace: traced.then(Vec::new),
            random: Stream::new(random.bits()),
            config,
        };
        world.auditor.refusals.late_ms = network::late_ms(&world.config.faults);
        world.install_policy();
        for k in 0..world.config.sub_homes {
            world.add_sub_home(k);
        }
        for isolate in 0..world.config.isolates {
            world.add_isolate(isolate);
        }
        world.schedule_faults();
        world
    }

    /// Has the product's store run beside the ledger, which must come to the same.
    #[must_use]
    pub fn with_store(mut self) -> Self {
        self.aggregator.shadow();
        self
    }

    /// Runs to the end: requests under faults, then healing, draining, equality.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        let verdict = self.play();
        let served = self.auditor.total();
        let trace = self.trace.unwrap_or_default();
        Outcome { verdict, meters: self.meters, trace, served, refusals: self.auditor.refusals }
    }

    fn play(&mut self) -> Verdict {
        let end_us = (self.start_ms + self.config.duration_ms) * 1_000;
        self.play_until(end_us)?;
        self.heal();
        let last_us = end_us + DRAIN_MS_MAX * 1_000;
        while !self.is_drained() {
            if self.now_us >= last_us || self.queue.is_empty() {
                return Err(format!("not drained: {}", self.undrained()));
            }
            let step = self.now_us + 200_000;
            self.play_until(step)?;
        }
        self.auditor.settled(&self.aggregator)?;
        self.aggregator.close(&clock::periods(&self.config), &self.auditor)?;
        self.check_out()?;
        self.auditor.refusals.verdict()
    }

    /// Who issues there now.
    fn issuer(&self, target: Target) -> Issuer {
        match target {
            Target::Home => Issuer::Home,
            Target::Sub(k) => Issuer::Sub(k, self.subs[k].lives()),
        }
    }

    /// For so long something is in the way of what is called back.
    fn trouble(&mut self, until_us: u64) {
        self.trouble_us = self.trouble_us.max(until_us + 2_000_000);
    }

    fn play_until(&mut self, end_us: u64) -> Verdict {
        while let Some(Reverse((at, number))) = self.queue.peek().copied() {
            if at > end_us {
                break;
            }
            self.queue.pop();
            self.now_us = at;
            let Some(event) = self.events.remove(&number) else { continue };
            match self.stopped_until(&event) {
                Some(until_us) => self.at(until_us, event),
                None => self.step(event)?,
            }
        }
        self.now_us = end_us;
        Ok(())
    }

    /// Until when the process stands still that this event is for; it takes what waits for it in order.
    fn stopped_until(&self, event: &Event) -> Option<u64> {
        let isolate = match event {
            Event::Ask { isolate, .. } | Event::WakeSeat { isolate, .. } => Some(*isolate),
            Event::Decided(call, _) => Some(call.place.isolate),
            Event::Reply(_, reply) => match self.routes.get(&reply.holder) {
                Some(Addressee::Seat { isolate, .. }) => Some(*isolate),
                Some(Addressee::Sub(_)) | None => None,
            },
            Event::Contact(Target::Home, _)
            | Event::Strict(_)
            | Event::WakeHome
            | Event::Receipt(_)
            | Event::Pulled(..)
            | Event::WaitedForPolicy(_) => {
                return Some(self.home.stopped_us).filter(|until| self.now_us < *until && !self.healed);
            }
            Event::WakeSub(_)
            | Event::Contact(Target::Sub(_), _)
            | Event::Again { .. }
            | Event::Flush(_)
            | Event::FlushTimeout(_)
            | Event::Pull(..)
            | Event::PullTimeout(_)
            | Event::PolicyPush
            | Event::Fault(_)
            | Event::ReviveIsolate(_)
            | Event::HomeUp
            | Event::SubUp(_) => None,
        };
        let until = isolate.map(|isolate| self.isolates[isolate].stopped_us);
        until.filter(|until| self.now_us < *until && !self.healed)
    }

    fn step(&mut self, event: Event) -> Verdict {
        match event {
            Event::Ask { isolate, life } => self.ask(isolate, life),
            Event::WakeSeat { isolate, serial } => self.wake_seat(isolate, serial),
            Event::WakeSub(k) => {
                self.wake_sub(k);
                Ok(())
            }
            Event::WakeHome => {
                self.wake_home();
                Ok(())
            }
            Event::Contact(Target::Home, contact) => self.contact_home(contact, false),
            Event::Contact(Target::Sub(k), contact) => {
                self.contact_sub(k, &contact);
                Ok(())
            }
            Event::Reply(from, reply) => self.deliver(from, *reply),
            Event::Strict(call) => self.decide_at_home(call, false),
            Event::Decided(call, word) => self.take_decision(&call, word),
            Event::Again { isolate, request } => self.come_again(isolate, *request),
            Event::Flush(flush) => self.ingest(&flush),
            Event::Pull(number, pull) => self.answer_pull(number, &pull),
            Event::Pulled(number, receipt) => self.take_pulled(number, &receipt),
            Event::PullTimeout(number) => self.pull_timed_out(number),
            Event::WaitedForPolicy(number) => self.resume(number),
            Event::Receipt(receipt) => {
                self.take_receipt(&receipt);
                Ok(())
            }
            Event::FlushTimeout(seq) => {
                self.flush_timed_out(seq);
                Ok(())
            }
            Event::PolicyPush => {
                self.push_policy();
                Ok(())
            }
            Event::Fault(fault) => {
                self.fault(fault);
                Ok(())
            }
            Event::ReviveIsolate(isolate) => {
                self.revive_isolate(isolate);
                Ok(())
            }
            Event::HomeUp => {
                self.home_up();
                Ok(())
            }
            Event::SubUp(k) => {
                self.sub_up(k);
                Ok(())
            }
        }
    }

    fn at(&mut self, at_us: u64, event: Event) {
        self.count += 1;
        self.events.insert(self.count, event);
        self.queue.push(Reverse((at_us, self.count)));
    }

    fn after_ms(&mut self, ms: u64, event: Event) {
        self.at(self.now_us + ms * 1_000, event);
    }

    /// The true time.
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.now_us / 1_000)
    }

    /// What the clock of the home's machine shows: the true time, but for steps.
    fn home_now(&self) -> Timestamp {
        let ms = self.now_us / 1_000 + self.home_steps.ahead_ms;
        Timestamp::from_ms(ms - self.home_steps.behind_ms)
    }

    fn chance(&mut self, permille: u64) -> bool {
        permille > 0 && !self.healed && self.random.between(0, 999) < permille
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = self.trace.as_mut().filter(|trace| trace.len() < TRACE_MAX) {
            let ms = self.now_us / 1_000 - self.start_ms;
            trace.push(format!("{:>4}.{:03} {}", ms / 1_000, ms % 1_000, line()));
        }
    }

    fn is_drained(&self) -> bool {
        self.isolates.iter().all(Isolate::is_drained)
            && self.subs.iter().all(SubNode::is_drained)
            && self.home.is_drained()
            && self.events.values().all(|event| {
                !matches!(event, Event::Receipt(_) | Event::Flush(_) | Event::Strict(_) | Event::Decided(..))
            })
    }

    fn undrained(&self) -> String {
        let seats: Vec<usize> =
            self.isolates.iter().enumerate().filter(|(_, i)| !i.is_drained()).map(|(n, _)| n).collect();
        let subs: Vec<usize> =
            self.subs.iter().enumerate().filter(|(_, s)| !s.is_drained()).map(|(n, _)| n).collect();
        format!("isolates {seats:?}, sub-homes {subs:?}, home {}", self.home.is_drained())
    }

    /// Where nothing died, nothing is out.
    fn check_out(&self) -> Verdict {
        if self.auditor.deaths {
            return Ok(());
        }
        let Some(home) = &self.home.home else { return Ok(()) };
        for period in clock::periods(&self.config) {
            let out = home.outstanding(period).out;
            if out.get() > 0 {
                return Err(format!("{out} units of {period} are still out, and nothing died"));
            }
        }
        Ok(())
    }
}
