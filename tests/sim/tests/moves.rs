//! Homes that move between two places under load, with messages that are lost, late or doubled, processes that die, and
//! a Redis that goes back: no more is served than there is, and what is served is billed, wherever the homes were.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test of fixed size")]

use std::collections::{BTreeMap, BTreeSet};

use aggregator::projects::stay::Stay;
use shared::cell::CellKey;
use shared::decision::{Ask, Denial};
use shared::home::call::ContactReply;
use shared::home::question::Question;
use shared::home::{Home, HomeName, MOVED, Row};
use shared::ids::{AgentId, Incarnation, KeyId, Mode, ProjectId};
use shared::kind::Kind;
use shared::lease::message::{Contact, HolderId};
use shared::lease::{Answer, Holder, WaiterId};
use shared::plan::Plan;
use shared::policy::{AllowanceParts, LeaseRules, Overage, Place, Policy, Status};
use shared::random::Stream;
use shared::time::{Day, Period, Timestamp};
use shared::units::Units;
use shared::wire::{Flush, Merged, Retired};

const ALLOWANCE: u64 = 800;
const ESCROW: u64 = 40;
const STEP_MS: u64 = 40;
const ISOLATES: usize = 4;
/// For so long requests come and homes move; then everything comes back.
const BUSY_MS: u64 = 70_000;
const QUIET_MS: u64 = 45_000;

fn start() -> Timestamp {
    Day::parse("2026-11-23").unwrap().start()
}

/// What may go wrong beside the network and the homes' processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Faults {
    isolates_die: bool,
    redis_goes_back: bool,
}

const NONE: Faults = Faults { isolates_die: false, redis_goes_back: false };

type Rows = BTreeMap<String, String>;

fn store(disk: &mut Rows, rows: Vec<Row>) {
    for Row { key, value } in rows {
        match value {
            Some(value) => disk.insert(key, value),
            None => disk.remove(&key),
        };
    }
}

/// The aggregator's books, as far as homes depend on them.
struct Books {
    cells: BTreeMap<(Incarnation, CellKey), Units>,
    stranded: BTreeMap<(Incarnation, Period), (u64, Units)>,
    retired: BTreeMap<Incarnation, Retired>,
    watermarks: BTreeMap<Incarnation, u64>,
    stay: Stay,
    version: u64,
}

impl Books {
    fn policy(&self, place: Place) -> Policy {
        let project = ProjectId::parse("sim").unwrap();
        let escrow = (place == Place::Redis).then_some(Units::new(ESCROW));
        let allowance = AllowanceParts {
            period: start().period(),
            included: Units::new(ALLOWANCE),
            lots: Units::ZERO,
            credits: Units::ZERO,
            credits_after: Units::ZERO,
            next_included: Units::new(ALLOWANCE),
            overage: Overage::Stop,
        };
        let leases = LeaseRules { escrow, seat: Some(self.stay.seat(place)), ..LeaseRules::default() };
        let (version, plan, status, keys) = (self.version, Plan::Community, Status::Active, vec![key()]);
        let (rpm, agents_max, upgrade_url) = (1_000_000, None, String::new());
        Policy { project, version, plan, status, allowance, rpm, agents_max, keys, upgrade_url, leases }
    }

    fn set(&mut self, stay: Stay) {
        if stay != self.stay {
            (self.stay, self.version) = (stay, self.version + 1);
        }
    }

    fn arrive(&mut self) {
        let (place, term) = (self.stay.place, self.stay.term);
        let has_ended = self.retired.values().any(|life| life.place == place && life.term == term);
        if let Some(there) = self.stay.arrived().filter(|_| has_ended) {
            self.set(there);
        }
    }

    fn take(&mut self, flush: &Flush, from: Place) -> (u64, Vec<Merged>) {
        let life = &flush.incarnation;
        for cell in &flush.cells {
            let known = self.cells.entry((life.clone(), cell.key.clone())).or_default();
            *known = (*known).max(cell.counts.units);
        }
        for told in &flush.stranded {
            let known = self.stranded.entry((life.clone(), told.period)).or_default();
            if flush.seq >= known.0 {
                *known = (flush.seq, told.units);
            }
        }
        if let Some(retired) = flush.retired {
            self.retired.insert(life.clone(), retired);
        }
        let watermark = self.watermarks.entry(life.clone()).or_default();
        *watermark = flush.seq.max(*watermark);
        let watermark = *watermark;
        let is_lost = |other: &&Incarnation| *other != life && !self.retired.contains_key(*other);
        let lives = u64::try_from(self.watermarks.keys().filter(is_lost).count()).unwrap();
        let of_others = |(told, _): &(&(Incarnation, Period), &(u64, Units))| told.0 != *life;
        let stranded = self.stranded.iter().filter(of_others).map(|(_, (_, units))| *units);
        let stranded = stranded.fold(Units::ZERO, Units::saturating_add);
        let lost = if from == Place::Redis { 0 } else { lives * ESCROW };
        let last = self.retired.iter().filter(|(other, _)| *other != life);
        let merged = Merged {
            units: Units::new(self.billed()),
            lives: u32::try_from(lives).unwrap(),
            stranded: stranded.saturating_add(Units::new(lost)),
            window: last.max_by_key(|(_, retired)| retired.term).map(|(_, retired)| retired.window),
            ..Merged::nothing(start().period())
        };
        (watermark, vec![merged])
    }

    fn billed(&self) -> u64 {
        self.cells.values().map(|units| units.get()).sum()
    }
}

fn key() -> KeyId {
    KeyId::parse("k001").unwrap()
}

/// A home's process and its rows.
struct Node {
    place: Place,
    home: Home,
    disk: Rows,
    older: Rows,
}

impl Node {
    fn persist(&mut self) {
        store(&mut self.disk, self.home.take_writes());
    }
}

enum Event {
    Contact(Place, usize, Box<Contact>),
    Reply(Place, usize, Box<Contact>, String),
}

/// An isolate, and where it looks for homes.
struct Isolate {
    holder: Holder,
    place: Place,
    waiting: Vec<WaiterId>,
}

struct World {
    random: Stream,
    now_ms: u64,
    faults: Faults,
    books: Books,
    nodes: BTreeMap<Place, Node>,
    isolates: Vec<Isolate>,
    events: BTreeMap<(u64, u64), Event>,
    names: u64,
    served: u64,
    lives: BTreeSet<String>,
}

impl World {
    fn new(seed: u64, faults: Faults) -> Self {
        let stay = Stay::first(Place::DurableObject);
        let books = Books {
            cells: BTreeMap::new(),
            stranded: BTreeMap::new(),
            retired: BTreeMap::new(),
            watermarks: BTreeMap::new(),
            stay,
            version: 1,
        };
        let mut world = Self {
            random: Stream::new(seed),
            now_ms: 0,
            faults,
            books,
            nodes: BTreeMap::new(),
            isolates: Vec::new(),
            events: BTreeMap::new(),
            names: 0,
            served: 0,
            lives: BTreeSet::new(),
        };
        for place in Place::ALL {
            let name = HomeName { project: ProjectId::parse("sim").unwrap(), mode: Mode::Live };
            let mut home = Home::new(name, world.life());
            home.install(world.books.policy(place));
            let mut node = Node { place, home, disk: Rows::new(), older: Rows::new() };
            node.persist();
            world.nodes.insert(place, node);
        }
        for _ in 0..ISOLATES {
            let isolate = world.isolate();
            world.isolates.push(isolate);
        }
        world
    }

    fn now(&self) -> Timestamp {
        start().plus_ms(self.now_ms)
    }

    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    fn life(&mut self) -> Incarnation {
        let name = self.name();
        let life = Incarnation::parse(&format!("life{name:08}")).unwrap();
        assert!(self.lives.insert(life.to_string()));
        life
    }

    fn isolate(&mut self) -> Isolate {
        let id = self.name();
        let holder = Holder::new(HolderId::from_bits(u128::from(id)), id);
        let place = if self.random.between(0, 1) == 0 { Place::DurableObject } else { Place::Redis };
        Isolate { holder, place, waiting: Vec::new() }
    }

    /// One time in so many, while things go wrong.
    fn chance(&mut self, of: u64) -> bool {
        self.now_ms < BUSY_MS && self.random.between(1, of) == 1
    }

    fn send(&mut self, event: Event) {
        if self.chance(25) {
            return;
        }
        let delay =
            if self.chance(50) { self.random.between(200, 3_000) } else { self.random.between(1, 40) };
        let at = (self.now_ms + delay, self.name());
        self.events.insert(at, event);
    }

    fn contact(&mut self, place: Place, isolate: usize, contact: Box<Contact>) {
        if self.chance(40) {
            self.send(Event::Contact(place, isolate, contact.clone()));
        }
        self.send(Event::Contact(place, isolate, contact));
    }

    fn deliver(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Contact(place, isolate, contact) => {
                let (seed, dies_before) = (self.random.bits(), self.chance(400));
                let node = self.nodes.get_mut(&place).unwrap();
                let reply = node.home.reply(now, seed, &Question::Contact(contact.clone()), true);
                if !dies_before {
                    node.persist();
                }
                if dies_before || self.chance(400) {
                    return self.restart(place);
                }
                if let Some(reply) = reply {
                    self.send(Event::Reply(place, isolate, contact, reply));
                }
            }
            Event::Reply(place, isolate, contact, reply) => {
                let ours = &mut self.isolates[isolate];
                if contact.holder != ours.holder.id() {
                    return;
                }
                match shared::json::read(&reply).unwrap() {
                    ContactReply::Reply(reply) => ours.holder.receive(now, *reply),
                    ContactReply::Failed(code) if code == MOVED => {
                        ours.place = place.other();
                        self.contact(place.other(), isolate, contact);
                    }
                    ContactReply::Nobody | ContactReply::Failed(_) => {}
                }
            }
        }
    }

    fn restart(&mut self, place: Place) {
        let now = self.now();
        let node = self.nodes.get_mut(&place).unwrap();
        node.home = Home::load(node.disk.clone(), now).unwrap().unwrap();
    }

    /// The Redis has older rows, and whoever looks after homes knows that it may.
    fn go_back(&mut self) {
        let (now, life) = (self.now(), self.life());
        let node = self.nodes.get_mut(&Place::Redis).unwrap();
        if !node.older.is_empty() {
            node.disk = node.older.clone();
        }
        node.home = Home::load(node.disk.clone(), now).unwrap().unwrap();
        node.home.begin_life(now, life);
        node.persist();
    }

    /// What the shell of a home does: begin a life, learn from the books, flush, take policies.
    fn tend(&mut self, place: Place) {
        let (now, policy) = (self.now(), self.books.policy(place));
        let takes_policy = self.now_ms >= BUSY_MS || self.random.between(1, 10) == 1;
        let answered = !self.chance(10);
        let fresh = self.life();
        let node = self.nodes.get_mut(&place).unwrap();
        if takes_policy {
            node.home.install(policy.clone());
        }
        node.home.begin_stay(now, fresh);
        node.persist();
        let pull = node.home.needs_registration().then(|| node.home.pull());
        let is_due = node.home.flush_due().is_some_and(|due| now >= due);
        let round = if is_due { node.home.flush(now) } else { None };
        node.persist();
        let life = node.home.incarnation().clone();
        let (mut told, mut seq) = (None, 0);
        for flush in pull.iter().chain(round.iter().flat_map(|round| &round.messages)) {
            told = Some(self.books.take(flush, place));
            seq = flush.seq;
        }
        let node = self.nodes.get_mut(&place).unwrap();
        match told {
            Some((watermark, merged)) if answered => {
                node.home.acknowledge(now, &life, watermark, &merged);
                if seq > 0 {
                    node.home.flushed(now, seq);
                }
                node.home.install(policy);
            }
            Some(_) => node.home.flush_failed(now),
            None => {}
        }
        node.persist();
    }

    fn ask(&mut self, isolate: usize) -> Result<(), String> {
        let now = self.now();
        let ask = Ask {
            key: key(),
            kind: Kind::Verify,
            agent: AgentId::none(),
            cost: 1,
            dry_run: false,
            held: false,
        };
        let ours = &mut self.isolates[isolate];
        let mut answers = Vec::new();
        for waiting in std::mem::take(&mut ours.waiting) {
            match ours.holder.outcome(now, waiting) {
                Answer::Wait(id) => ours.waiting.push(id),
                answer @ (Answer::Allow | Answer::Deny { .. } | Answer::AtHome | Answer::Unavailable) => {
                    answers.push(answer);
                }
            }
        }
        if self.now_ms < BUSY_MS && self.random.between(1, 5) == 1 {
            match ours.holder.decide(now, &ask) {
                Answer::Wait(id) => ours.waiting.push(id),
                answer @ (Answer::Allow | Answer::Deny { .. } | Answer::AtHome | Answer::Unavailable) => {
                    answers.push(answer);
                }
            }
        }
        for answer in answers {
            match answer {
                Answer::Allow => self.served += 1,
                Answer::Deny { denial: Denial::QuotaExhausted, .. }
                    if self.served < ALLOWANCE && self.faults == NONE =>
                {
                    return Err(format!("exhausted at {} after {}", self.now_ms, self.served));
                }
                Answer::Deny { .. } | Answer::Wait(_) | Answer::AtHome | Answer::Unavailable => {}
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        self.now_ms += STEP_MS;
        while let Some(((at, _), _)) = self.events.first_key_value()
            && *at <= self.now_ms
        {
            let (_, event) = self.events.pop_first().unwrap();
            self.deliver(event);
        }
        for isolate in 0..ISOLATES {
            self.ask(isolate)?;
            let (now, place) = (self.now(), self.isolates[isolate].place);
            for contact in self.isolates[isolate].holder.contacts(now) {
                self.contact(place, isolate, Box::new(contact));
            }
        }
        for place in Place::ALL {
            self.tend(place);
        }
        self.books.arrive();
        if self.chance(200) {
            let to = if self.random.between(0, 1) == 0 { Place::DurableObject } else { Place::Redis };
            let stay = self.books.stay.leaving_for(to);
            self.books.set(stay);
        }
        for place in Place::ALL {
            if self.chance(1_000) {
                self.restart(place);
            }
        }
        if self.faults.isolates_die && self.chance(350) {
            let isolate = self.isolate();
            let which = usize::try_from(self.random.between(0, 3)).unwrap();
            self.isolates[which] = isolate;
        }
        if self.faults.redis_goes_back {
            if self.chance(100) {
                let node = self.nodes.get_mut(&Place::Redis).unwrap();
                node.older = node.disk.clone();
            }
            if self.chance(500) {
                self.go_back();
            }
        }
        if self.served > ALLOWANCE {
            return Err(format!("{} served at {}", self.served, self.now_ms));
        }
        let billed = self.books.billed();
        if billed > self.served + self.unfetched() {
            return Err(format!("{billed} billed, {} served", self.served));
        }
        Ok(())
    }

    /// Requests that are allowed, and were not asked for since.
    fn unfetched(&self) -> u64 {
        self.isolates.iter().map(|isolate| u64::try_from(isolate.waiting.len()).unwrap()).sum()
    }
}

/// Runs one seed; says what was violated.
fn run(seed: u64, faults: Faults) -> Result<(u64, u64), String> {
    let mut world = World::new(seed, faults);
    while world.now_ms < BUSY_MS + QUIET_MS {
        world.step()?;
    }
    let (served, billed) = (world.served, world.books.billed());
    if faults == NONE && (served, billed) != (ALLOWANCE, ALLOWANCE) {
        return Err(format!("{served} served and {billed} billed of {ALLOWANCE}, {:?}", world.books.stay));
    }
    if world.books.stay.moving_to.is_some() {
        return Err(format!("homes do not leave: {:?}", world.books.stay));
    }
    let node = &world.nodes[&world.books.stay.place];
    if node.place != world.books.stay.place || node.home.is_moved() {
        return Err("nobody has the homes".to_owned());
    }
    Ok((served, world.books.stay.term))
}

const BOTH: Faults = Faults { isolates_die: true, redis_goes_back: true };

#[test]
fn what_moves_is_served_and_billed_to_the_last_unit() {
    let mut terms = 0;
    for seed in 1..=30 {
        match run(seed, NONE) {
            Ok((_, term)) => terms += term,
            Err(why) => panic!("seed {seed}: {why}"),
        }
    }
    assert!(terms > 60, "homes hardly move: {terms} steps");
}

#[test]
fn what_moves_is_never_overshot_whatever_is_lost() {
    let dead = Faults { isolates_die: true, ..NONE };
    let back = Faults { redis_goes_back: true, ..NONE };
    for seed in 1..=12 {
        for faults in [dead, back, BOTH] {
            if let Err(why) = run(seed, faults) {
                panic!("seed {seed} {faults:?}: {why}");
            }
        }
    }
}

#[cfg(feature = "planted")]
#[test]
fn homes_that_move_wrongly_are_caught() {
    use shared::planted::{Bug, plant};
    for bug in [Bug::EndedGrants, Bug::OldRowsReopened, Bug::EndedTooSoon] {
        plant(Some(bug));
        let caught = (1..=30).find_map(|seed| run(seed, NONE).err().or_else(|| run(seed, BOTH).err()));
        plant(None);
        eprintln!("{bug:?}: {caught:?}");
        assert!(caught.is_some(), "{bug:?}");
    }
}
