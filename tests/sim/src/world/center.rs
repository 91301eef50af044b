//! The home, its sub-homes and the aggregator as processes: effects in order, crashes between them.

use std::collections::BTreeMap;

use shared::home::{Home, HomeName, Row, Standing};
use shared::ids::{AgentId, Incarnation, Mode, ProjectId};
use shared::lease::message::{Body, Contact, Refusal, Reply};
use shared::plan::Plan;
use shared::policy::{AllowanceParts, LeaseRules, Overage, Policy, Status};
use shared::units::Units;
use shared::wire::Flush;

use super::pulls::Pulling;
use super::seats::{draw, key};
use super::{Event, Target, World, clock};
use crate::aggregator::Receipt;
use crate::audit::Verdict;
use crate::audit::hands::Issuer;
use crate::bugs::ShellBug;
use crate::config::{Config, OverageChoice};

/// Rows as storage holds them.
pub(super) type Disk = BTreeMap<String, String>;

/// How long a flush may take until it is given up, in milliseconds.
const FLUSH_TIMEOUT_MS: u64 = 1_500;

pub(super) fn store(disk: &mut Disk, rows: Vec<Row>) {
    for row in rows {
        match row.value {
            Some(value) => disk.insert(row.key, value),
            None => disk.remove(&row.key),
        };
    }
}

/// The home's process and its storage.
#[derive(Debug)]
pub(super) struct HomeNode {
    pub(super) home: Option<Home>,
    pub(super) disk: Disk,
    pub(super) snapshots: Vec<Disk>,
    pub(super) cut_us: u64,
    /// Until when its process stands still.
    pub(super) stopped_us: u64,
    lives: u64,
    pub(super) pulling: Pulling,
    flight: Option<u64>,
    wake_us: u64,
}

impl HomeNode {
    pub(super) fn new(config: &Config) -> Self {
        let mut home = new_home(incarnation(config.seed, 0));
        let mut disk = Disk::new();
        store(&mut disk, home.take_writes());
        Self {
            home: Some(home),
            disk,
            snapshots: Vec::new(),
            cut_us: 0,
            stopped_us: 0,
            lives: 0,
            pulling: Pulling::default(),
            flight: None,
            wake_us: u64::MAX,
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        self.flight.is_none()
            && self.pulling.is_quiet()
            && self.home.as_ref().is_some_and(|home| home.flush_due().is_none())
    }
}

pub(super) fn incarnation(seed: u64, life: u64) -> Incarnation {
    Incarnation::parse(&format!("{seed:016x}{life:08x}")).unwrap_or_else(|error| unreachable!("{error}"))
}

fn new_home(life: Incarnation) -> Home {
    let project = ProjectId::parse("sim").unwrap_or_else(|error| unreachable!("{error}"));
    Home::new(HomeName { project, mode: Mode::Live }, life)
}

/// The policy that a run begins with.
pub(super) fn policy(config: &Config) -> Policy {
    let [period, _] = clock::periods(config);
    let overage = match config.overage {
        OverageChoice::Stop => Overage::Stop,
        OverageChoice::Capped(units) => Overage::Capped { units: Units::new(units) },
        OverageChoice::Open => Overage::Open,
    };
    let agents = (1..)
        .zip(&config.agent_limits)
        .filter_map(|(n, limit)| Some((AgentId::parse(&format!("agent-{n}")).ok()?, Units::new(*limit))))
        .collect();
    Policy {
        project: ProjectId::parse("sim").unwrap_or_else(|error| unreachable!("{error}")),
        version: 1,
        plan: Plan::Business,
        status: Status::Active,
        allowance: AllowanceParts {
            period,
            included: Units::new(config.included),
            lots: Units::new(config.lots),
            credits: Units::ZERO,
            credits_after: Units::ZERO,
            next_included: Units::new(config.next_included),
            overage,
        },
        rpm: config.rpm,
        agents_max: config.agents_max,
        keys: vec![key()],
        upgrade_url: String::new(),
        leases: LeaseRules {
            strict: config.strict,
            sub_homes: u32::try_from(config.sub_homes).unwrap_or(0),
            agents,
            escrow: (config.faults.rollback_ms > 0)
                .then(|| Units::new((config.included / config.escrow_part).max(4))),
            seat: None,
        },
    }
}

impl World {
    /// Stores the home's rows; `false` if the process dies before or after, as the seed has it.
    pub(super) fn persist_home(&mut self) -> Persisted {
        let cut = self.chance(self.config.faults.cut_permille);
        let before = cut && self.random.between(0, 1) == 0;
        let Some(home) = self.home.home.as_mut() else { return Persisted::Lost };
        let rows = home.take_writes();
        if before {
            self.crash_home();
            return Persisted::Lost;
        }
        store(&mut self.home.disk, rows);
        if cut {
            self.crash_home();
            return Persisted::Silent;
        }
        Persisted::Done
    }

    /// Takes a contact; `waited`: it has waited for the policy already.
    pub(super) fn contact_home(&mut self, contact: Box<Contact>, waited: bool) -> Verdict {
        let now = self.home_now();
        if self.home.home.is_some() && self.can_tell(&contact.keys, waited).is_none() {
            self.wait_for_policy(Event::Contact(Target::Home, contact));
            return Ok(());
        }
        let contact = &*contact;
        let second = self.meters.second(self.now_us);
        let seed = draw(&mut self.random);
        let Some(home) = self.home.home.as_mut() else { return Ok(()) };
        *self.meters.home.entry(second).or_insert(0) += 1;
        let reply = home.contact(now, seed, contact).ok().flatten();
        let persisted = self.persist_home();
        let early = self.planted.shell == Some(ShellBug::HomeSendsBeforePersist);
        if let Some(reply) = reply.as_ref().filter(|_| persisted != Persisted::Lost) {
            if matches!(reply.body, Body::Lease(_)) {
                self.auditor.hands.taken(now, Issuer::Home, contact);
                self.auditor.calls.taken(contact);
            }
            self.auditor.hands.issued(now, Issuer::Home, reply);
        }
        let leaves = persisted == Persisted::Done || (persisted == Persisted::Lost && early);
        if let Some(reply) = reply.filter(|_| leaves) {
            self.note(|| format!("home -> {:?} {}", reply.holder, brief(&reply)));
            self.send_reply(Target::Home, &reply);
        }
        self.alarm_home();
        Ok(())
    }

    pub(super) fn wake_home(&mut self) {
        if self.home.wake_us > self.now_us {
            return;
        }
        self.home.wake_us = u64::MAX;
        let now = self.home_now();
        let Some(home) = self.home.home.as_mut() else { return };
        if home.needs_registration() || home.policy_version().is_none() {
            self.begin_pull();
            self.home.wake_us = self.now_us + 300_000;
            self.after_ms(300, Event::WakeHome);
            return;
        }
        if self.home.flight.is_none()
            && home.flush_due().is_some_and(|due| now >= due)
            && let Some(round) = home.flush(now)
            && self.persist_home() == Persisted::Done
        {
            self.home.flight = Some(round.seq);
            for message in &round.messages {
                self.send_center(|| Event::Flush(Box::new(message.clone())));
            }
            self.after_ms(FLUSH_TIMEOUT_MS, Event::FlushTimeout(round.seq));
        }
        self.alarm_home();
    }

    /// Sets the home's alarm.
    pub(super) fn alarm_home(&mut self) {
        let now = self.home_now();
        let Some(home) = self.home.home.as_ref() else { return };
        let asks = home.needs_registration() || home.policy_version().is_none();
        let due = if asks { Some(now) } else { home.flush_due() };
        if let Some(due) = due.filter(|_| self.home.flight.is_none()) {
            let at = self.now_us + due.ms_since(now).max(1) * 1_000;
            if at < self.home.wake_us || self.home.wake_us <= self.now_us {
                self.home.wake_us = at;
                self.at(at, Event::WakeHome);
            }
        }
    }

    /// Takes a flush at the aggregator, and says what it answers.
    pub(super) fn merged(&mut self, flush: &Flush) -> Result<Option<Receipt>, String> {
        let periods: Vec<_> = clock::periods(&self.config)
            .into_iter()
            .filter(|period| *period <= self.now().period())
            .collect();
        let cut = self.chance(self.config.faults.cut_permille);
        let now = self.now();
        self.note_out_of_reach();
        let receipt = self.aggregator.ingest(flush, &periods, now, cut)?;
        self.auditor.billed(&self.aggregator)?;
        Ok(receipt)
    }

    pub(super) fn ingest(&mut self, flush: &Flush) -> Verdict {
        if let Some(receipt) = self.merged(flush)? {
            self.send_center(|| Event::Receipt(Box::new(receipt.clone())));
        }
        Ok(())
    }

    pub(super) fn take_receipt(&mut self, receipt: &Receipt) {
        let now = self.home_now();
        let Some(home) = self.home.home.as_mut() else { return };
        if receipt.life != *home.incarnation() {
            return;
        }
        home.install(receipt.policy.clone());
        let standing = home.acknowledge(now, &receipt.life, receipt.watermark, &receipt.merged);
        if standing == Standing::RolledBack {
            self.forget_at_home();
            self.note(|| format!("home finds itself rolled back by watermark {}", receipt.watermark));
            self.home.lives += 1;
            let life = incarnation(self.config.seed, self.home.lives);
            if let Some(home) = self.home.home.as_mut() {
                home.begin_life(now, life);
            }
        } else if self.home.flight == Some(receipt.seq) && receipt.seq > 0 {
            home.flushed(now, receipt.seq);
            self.home.flight = None;
        }
        if self.persist_home() != Persisted::Lost {
            self.auditor.installed(now, &receipt.policy);
        }
        self.alarm_home();
    }

    pub(super) fn flush_timed_out(&mut self, seq: u64) {
        let now = self.home_now();
        if self.home.flight == Some(seq) {
            self.home.flight = None;
            if let Some(home) = self.home.home.as_mut() {
                home.flush_failed(now);
            }
            self.alarm_home();
        }
    }

    /// Pushes the policy until the home has it.
    pub(super) fn push_policy(&mut self) {
        let wanted = self.aggregator.policy.version;
        let reachable = self.now_us >= self.home.cut_us || self.healed;
        let known = self.home.home.as_ref().and_then(Home::policy_version);
        if known.is_some() && known < Some(wanted) && reachable {
            self.install_policy();
        }
        if self.home.home.as_ref().and_then(Home::policy_version) < Some(wanted) {
            self.after_ms(500, Event::PolicyPush);
        }
    }

    pub(super) fn install_policy(&mut self) {
        let (now, policy) = (self.home_now(), self.aggregator.policy.clone());
        let Some(home) = self.home.home.as_mut() else { return };
        home.install(policy.clone());
        let rows = home.take_writes();
        store(&mut self.home.disk, rows);
        self.auditor.installed(now, &policy);
        self.note(|| {
            format!("policy {} installed: {:?} {:?}", policy.version, policy.allowance, policy.leases.agents)
        });
        self.alarm_home();
    }

    /// The home's process dies.
    pub(super) fn crash_home(&mut self) {
        if self.home.home.take().is_some() {
            self.home.flight = None;
            self.home.pulling.forget();
            self.note(|| "home crashes".to_owned());
            let down = self.random.between(10, 800);
            self.trouble(self.now_us + down * 1_000);
            self.after_ms(down, Event::HomeUp);
        }
    }

    pub(super) fn home_up(&mut self) {
        if self.home.home.is_none() {
            let now = self.home_now();
            let loaded = Home::load(self.home.disk.clone(), now).ok().flatten();
            if loaded.is_none() {
                self.home.lives += 1;
            }
            let life = incarnation(self.config.seed, self.home.lives);
            let is_new = loaded.is_none();
            self.home.home = Some(loaded.unwrap_or_else(|| new_home(life)));
            self.home.wake_us = u64::MAX;
            if is_new {
                self.store_new_home();
            }
            self.alarm_home();
            self.push_policy();
        }
    }

    /// The home's storage is rolled back, and whoever runs it knows.
    pub(super) fn roll_back(&mut self) {
        let count = u64::try_from(self.home.snapshots.len()).unwrap_or(0);
        if count == 0 || self.home.home.is_none() {
            return;
        }
        let pick = usize::try_from(self.random.between(0, count - 1)).unwrap_or(0);
        self.home.disk = self.home.snapshots[pick].clone();
        self.home.snapshots.truncate(pick + 1);
        self.home.flight = None;
        self.home.pulling.forget();
        self.home.lives += 1;
        let life = incarnation(self.config.seed, self.home.lives);
        self.note(|| format!("home rolled back, life {life}"));
        let now = self.home_now();
        // One time in four everything is lost: the home is new, and does not know that it is not the first.
        let lost = self.random.between(0, 3) == 0;
        if lost {
            self.home.disk.clear();
            self.home.snapshots.clear();
        }
        let mut home = Home::load(self.home.disk.clone(), now).ok().flatten();
        if let Some(home) = home.as_mut() {
            home.begin_life(now, life.clone());
            store(&mut self.home.disk, home.take_writes());
        }
        let is_new = home.is_none();
        let home = home.or_else(|| lost.then(|| new_home(life)));
        self.home.home = home;
        self.forget_at_home();
        self.home.wake_us = u64::MAX;
        if is_new {
            self.store_new_home();
        }
        self.alarm_home();
    }

    /// Where storage can be lost, whoever makes a home stores it with its policy before anybody hears of it. A life that
    /// was told of and is not on the disk would be followed by one more, and each of them costs a window.
    fn store_new_home(&mut self) {
        if self.aggregator.policy.leases.escrow.is_some() {
            self.install_policy();
        }
    }

    /// What was settled and not flushed is lost with the storage, and what was under way with it.
    fn forget_at_home(&mut self) {
        (self.auditor.deaths, self.auditor.rolled_back) = (true, true);
        self.auditor.lost_at_most = u64::MAX / 2;
        let window = self.aggregator.policy.leases.escrow.map_or(0, Units::get);
        self.auditor.hands.rolled_back(&clock::periods(&self.config), window);
        let is_open = |policy: &Policy| policy.allowance.overage == Overage::Open;
        let was_open = self.aggregator.policies().any(is_open);
        self.auditor.refusals.lost(self.home_now(), was_open);
        self.trouble(self.now_us);
    }
}

/// What became of the effects of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Persisted {
    /// Stored; the messages leave.
    Done,
    /// Stored, but the process died before its messages left.
    Silent,
    /// Nothing was stored.
    Lost,
}

pub(super) fn brief(reply: &Reply) -> String {
    match &reply.body {
        Body::Shed { hold_ms } => format!("nonce {} shed {hold_ms} ms", reply.nonce),
        Body::Resync { incarnation } => format!("nonce {} resync {incarnation}", reply.nonce),
        Body::Lease(lease) => format!(
            "lane {} nonce {}: {} units of {}, {} permits for {} ms, next {:?}, agents {:?}, ack {}, refused {:?}{}{}",
            reply.lane,
            reply.nonce,
            lease.units,
            lease.period,
            lease.permits,
            lease.minute_ms,
            lease.next.map(|next| next.count),
            lease.agents.iter().map(|grant| (&grant.agent, grant.units)).collect::<Vec<_>>(),
            lease.ack,
            lease.refusals.iter().map(refused).collect::<Vec<_>>(),
            if lease.admitted.is_empty() { String::new() } else { format!(", places {:?}", lease.admitted) },
            if lease.recall { ", recall" } else { "" },
        ),
    }
}

/// Why, for whom and for how many units something was refused.
fn refused(refusal: &Refusal) -> String {
    let agent = refusal.agent.as_ref().map_or("", AgentId::as_str);
    format!("{:?} {} {agent}", refusal.denial, refusal.cost)
}

/// What a contact says.
pub(super) fn written(contact: &Contact) -> String {
    let batch = &contact.batch;
    let units: u64 = batch.lines.iter().map(|line| line.units).sum();
    let agents = contact.returns.agents.iter().map(|back| (&back.agent, back.units)).collect::<Vec<_>>();
    let needs = contact.needs.iter().map(|need| {
        let agent = need.agent.as_ref().map_or("", AgentId::as_str);
        format!("{} x {} {agent}", need.count, need.cost)
    });
    format!(
        "lane {} nonce {} reports #{} {units} lets go {:?}, returns {:?} {agents:?}, needs {:?}, holds {:?}, {} are stranded, {} unreported",
        contact.lane,
        contact.nonce,
        batch.seq,
        batch.let_go,
        contact.returns.units,
        needs.collect::<Vec<_>>(),
        contact.held,
        contact.stranded,
        contact.unreported,
    )
}
