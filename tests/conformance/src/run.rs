//! Random operations on one home by several processes, and what must be true of the rows after each.

use shared::cell::CellKey;
use shared::home::storage::Copy;
use shared::home::{Home, HomeName};
use shared::ids::{AgentId, Incarnation, KeyId, ProjectId};
use shared::kind::Kind;
use shared::lease::message::{Batch, Contact, HolderId, Line, Need, Returns};
use shared::plan::Plan;
use shared::policy::{AllowanceParts, LeaseRules, Overage, Policy, Status};
use shared::random::Stream;
use shared::time::{Day, Timestamp};
use shared::units::Units;

use crate::books::Books;
use crate::{Backend, Written};

const ALLOWANCE: u64 = 2_000;
const STEPS: u64 = 400;
const HOLDERS: usize = 6;
/// Far more than ever come first in a row.
const TRIES_MAX: u32 = 1_000;

fn now() -> Timestamp {
    Day::parse("2026-11-23").map(Day::start).unwrap_or_default()
}

fn home() -> Home {
    let name = HomeName::parse("demo/live").unwrap_or_else(|error| unreachable!("{error}"));
    Home::new(name, Incarnation::parse("inc00001").unwrap_or_else(|error| unreachable!("{error}")))
}

/// A policy that limits nothing but the month.
pub(crate) fn policy() -> Policy {
    Policy {
        project: ProjectId::parse("demo").unwrap_or_else(|error| unreachable!("{error}")),
        version: 1,
        plan: Plan::Pro,
        status: Status::Active,
        allowance: AllowanceParts {
            period: now().period(),
            included: Units::new(ALLOWANCE),
            lots: Units::ZERO,
            credits: Units::ZERO,
            credits_after: Units::ZERO,
            next_included: Units::new(ALLOWANCE),
            overage: Overage::Stop,
        },
        rpm: u32::MAX,
        agents_max: None,
        keys: vec![KeyId::parse("k001").unwrap_or_else(|error| unreachable!("{error}"))],
        upgrade_url: String::new(),
        leases: LeaseRules::default(),
    }
}

/// A process: its way to the rows, and what it remembers of them.
pub(crate) struct Process<B> {
    pub(crate) backend: B,
    copy: Copy,
}

impl<B: Backend> Process<B> {
    pub(crate) fn new(mut backend: B) -> Self {
        let copy = Copy::read(backend.load(), home, now()).unwrap_or_else(|error| panic!("{error}"));
        Self { backend, copy }
    }

    /// Acts until a write was accepted, as a shell does.
    pub(crate) fn act<T>(&mut self, act: impl Fn(&mut Home) -> T) -> T {
        for _ in 0..TRIES_MAX {
            let (answer, commit) = self.copy.act(&act);
            match self.backend.commit(&commit) {
                Written::Accepted => {
                    self.copy.accepted(&commit);
                    return answer;
                }
                Written::Moved | Written::Unknown => {
                    let stored = self.backend.load();
                    self.copy.reread(stored, home, now()).unwrap_or_else(|error| panic!("{error}"));
                }
            }
        }
        panic!("{TRIES_MAX} writes were refused");
    }

    /// The process dies and comes back.
    pub(crate) fn restart(&mut self) {
        self.copy = Copy::read(self.backend.load(), home, now()).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// One request of a holder on its first lane.
pub(crate) fn ask(holder: HolderId) -> Contact {
    Contact { needs: vec![Need { agent: None, cost: 1, count: 1 }], terms: 1, ..Contact::bare(holder, 1) }
}

/// A holder as the run plays it: one lane.
#[derive(Debug, Default)]
struct Player {
    nonce: u64,
    seq: u64,
    last: Option<Contact>,
}

impl Player {
    /// Reports a part of what is in hand, gives a part back, and asks for more.
    fn contact(&mut self, number: usize, books: &mut Books, random: &mut Stream) -> Contact {
        self.nonce += 1;
        let hand = books.hands.entry(number).or_insert(0);
        let (served, back) = (random.between(0, *hand), random.between(0, *hand));
        let back = back.min(*hand - served);
        *hand -= served + back;
        (books.settled, books.returned) = (books.settled + served, books.returned + back);
        let mut batch = Batch::default();
        if served > 0 {
            self.seq += 1;
            let key = CellKey { day: now().day(), kind: Kind::Verify, agent: AgentId::none() };
            (batch.seq, batch.lines) = (self.seq, vec![Line { key, units: served }]);
        }
        let mut returns = Returns::default();
        if back > 0 {
            returns.units.insert(now().period(), back);
        }
        let count = u32::try_from(random.between(1, 30)).unwrap_or(1);
        let contact = Contact {
            nonce: self.nonce,
            batch,
            returns,
            needs: vec![Need { agent: None, cost: 1, count }],
            renew: random.between(0, 1) == 1,
            rate: random.between(0, 50_000),
            ..ask(HolderId::from_bits(u128::try_from(number).unwrap_or(0) + 1))
        };
        self.last = Some(contact.clone());
        contact
    }
}

/// Runs random operations of `seed` through processes that share one home's rows.
pub fn check<B: Backend>(seed: u64, backends: Vec<B>) {
    let mut random = Stream::new(seed);
    let mut processes: Vec<Process<B>> = backends.into_iter().map(Process::new).collect();
    let mut players: Vec<Player> = (0..HOLDERS).map(|_| Player::default()).collect();
    let mut books = Books::default();
    let pick = |random: &mut Stream, count: usize| {
        let last = u64::try_from(count).unwrap_or(1).saturating_sub(1);
        usize::try_from(random.between(0, last)).unwrap_or(0)
    };
    for process in &mut processes {
        process.act(|home| home.install(policy()));
    }
    for _ in 0..STEPS {
        let (at, number) = (pick(&mut random, processes.len()), pick(&mut random, HOLDERS));
        let (Some(process), Some(player)) = (processes.get_mut(at), players.get_mut(number)) else {
            continue;
        };
        if random.between(0, 19) == 0 {
            process.restart();
        }
        // One contact in four is a copy of the last one: it changes nothing, whichever process takes it.
        let copy = player.last.clone().filter(|_| random.between(0, 3) == 0);
        let contact = copy.unwrap_or_else(|| player.contact(number, &mut books, &mut random));
        let draw = random.bits();
        let reply = process.act(|home| home.contact(now(), draw, &contact));
        let Ok(Some(reply)) = reply else { panic!("seed {seed}: no answer but {reply:?}") };
        books.answered(number, &contact, &reply);
        agree(process, &books, seed);
    }
}

/// What is stored is what the books say.
fn agree<B: Backend>(process: &mut Process<B>, books: &Books, seed: u64) {
    let stored = Copy::read(process.backend.load(), home, now()).unwrap_or_else(|error| panic!("{error}"));
    let standing = stored.home().outstanding(now().period());
    assert_eq!(standing.net.get(), books.net(), "seed {seed}: units gone from the allowance");
    assert_eq!(standing.settled.get(), books.settled, "seed {seed}: units served for certain");
    assert!(standing.net.get() <= ALLOWANCE, "seed {seed}: {} of {ALLOWANCE} issued", standing.net);
}
