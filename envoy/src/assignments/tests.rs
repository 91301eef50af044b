//! Envoys that do what theirs does, over messages that take their time, stand still, and are cut off.

use shared::random::Stream;

use super::*;

const NOW: Timestamp = Timestamp::from_ms(1_795_435_200_000);
/// How far time goes on in one step, in milliseconds.
const STEP_MS: u64 = 50;

fn at(ms: u64) -> Timestamp {
    NOW.plus_ms(ms)
}

fn id(name: &str) -> BucketId {
    BTreeMap::from([("api_key".to_owned(), name.to_owned())])
}

/// Taken where there is enough.
fn units(parts: Vec<(u8, u64)>) -> Taken<u8> {
    Taken::Units { parts, left: 1_000_000, month: 1_000_000 }
}

/// What Envoy has of a bucket.
#[derive(Debug, Default, Clone, Copy)]
struct Applied {
    serial: u32,
    tokens: u64,
    until: Timestamp,
}

/// One Envoy with one bucket, and its stream to us.
struct Envoy {
    /// The bucket, once it was asked for.
    bucket: Option<Applied>,
    allowed: u64,
    denied: u64,
    next_report: Timestamp,
    main_stands_until: Timestamp,
    workers_stand_until: Timestamp,
    book: Option<Book<usize>>,
    down: VecDeque<(Timestamp, Action)>,
    up: VecDeque<(Timestamp, u64, u64)>,
    takes: VecDeque<(Timestamp, u64)>,
}

#[derive(Default)]
struct Ledger {
    supply: u64,
    parts: Vec<u64>,
    served: u64,
    billed: u64,
    forfeited: u64,
    lost: u64,
    orphans: Orphans<usize>,
}

impl Ledger {
    fn take(&mut self, units: u64) -> Taken<usize> {
        let units = units.min(self.supply);
        if units == 0 {
            return Taken::None { wait_ms: 1_000 };
        }
        self.supply -= units;
        // In two parts, as leases come.
        let parts = [units.div_ceil(2), units - units.div_ceil(2)];
        let parts = parts.into_iter().filter(|part| *part > 0);
        let named = parts.map(|part| {
            self.parts.push(part);
            (self.parts.len() - 1, part)
        });
        let parts = named.collect();
        Taken::Units { parts, left: self.supply, month: self.supply }
    }

    fn bill(&mut self, part: usize, units: u64) {
        assert!(self.parts[part] >= units, "more than was taken is billed");
        self.parts[part] -= units;
        self.billed += units;
    }

    fn gone(&mut self, part: usize, units: u64) {
        assert_eq!(self.parts[part], units, "what is left is known");
        self.parts[part] = 0;
        self.forfeited += units;
    }
}

impl Envoy {
    fn new(number: u64) -> Self {
        Self {
            bucket: None,
            allowed: 0,
            denied: 0,
            next_report: at(number * 37),
            main_stands_until: NOW,
            workers_stand_until: NOW,
            book: None,
            down: VecDeque::new(),
            up: VecDeque::new(),
            takes: VecDeque::new(),
        }
    }

    /// One request.
    fn request(&mut self, now: Timestamp, ledger: &mut Ledger) {
        if now < self.workers_stand_until {
            return;
        }
        match &mut self.bucket {
            Some(Applied { tokens, .. }) if *tokens > 0 => {
                *tokens -= 1;
                self.allowed += 1;
                ledger.served += 1;
            }
            Some(_) => self.denied += 1,
            None => {
                self.bucket = Some(Applied::default());
                self.denied += 1;
                self.next_report = now;
            }
        }
    }

    /// What its main thread does: messages, ends of assignments and reports, in whatever order.
    fn main(&mut self, now: Timestamp, random: &mut Stream, ledger: &mut Ledger) {
        if now < self.main_stands_until {
            return;
        }
        let first = random.between(0, 2);
        for what in 0..3 {
            match (first + what) % 3 {
                0 => {
                    while let Some((_, action)) = self.down.pop_front_if(|(due, _)| *due <= now) {
                        self.apply(now, action);
                    }
                }
                1 => {
                    if let Some(applied) = self.bucket.as_mut().filter(|applied| applied.until <= now) {
                        applied.tokens = 0;
                    }
                }
                _ => self.send_report(now, random, ledger),
            }
        }
    }

    fn apply(&mut self, now: Timestamp, action: Action) {
        let Some(applied) = &mut self.bucket else { return };
        match action {
            Action::Serve { units, serial, life_s } => {
                let until = now.plus_ms(life_s * 1_000);
                let tokens = if applied.serial == serial { applied.tokens } else { units };
                *applied = Applied { serial, tokens, until };
            }
            Action::DenyAll(_) => *applied = Applied::default(),
            Action::AllowAll(_) => panic!("nobody shadows"),
            Action::Abandon => {
                assert_eq!(self.allowed, 0, "what was served is reported before a bucket is forgotten");
                self.bucket = None;
            }
        }
    }

    fn send_report(&mut self, now: Timestamp, random: &mut Stream, ledger: &mut Ledger) {
        if now < self.next_report || self.bucket.is_none() {
            return;
        }
        self.next_report = now.plus_ms(random.between(5_000, 5_200));
        let (allowed, denied) = (std::mem::take(&mut self.allowed), std::mem::take(&mut self.denied));
        if self.book.is_none() {
            if random.between(0, 1) == 0 {
                // It could not be sent.
                ledger.lost += allowed;
                return;
            }
            self.book = Some(Book::new(u32::try_from(random.between(0, 900_000_000)).unwrap()));
        }
        let due = now.plus_ms(random.between(0, REPORT_WAY_MS));
        let due = self.up.back().map_or(due, |(last, _, _)| due.max(*last));
        self.up.push_back((due, allowed, denied));
    }

    /// What we do.
    fn ours(&mut self, now: Timestamp, random: &mut Stream, ledger: &mut Ledger) {
        let Some(mut book) = self.book.take() else { return };
        let mut effects = Vec::new();
        while let Some((_, allowed, denied)) = self.up.pop_front_if(|(due, _, _)| *due <= now) {
            effects.extend(book.report(now, [(id("a"), allowed, denied)]));
        }
        while let Some((_, units)) = self.takes.pop_front_if(|(due, _)| *due <= now) {
            let taken = ledger.take(units);
            effects.extend(book.taken(now, &id("a"), taken));
        }
        effects.extend(book.tick(now));
        self.book = Some(book);
        for effect in effects {
            self.carry_out(now, effect, random, ledger);
        }
    }

    fn carry_out(&mut self, now: Timestamp, effect: Effect<usize>, random: &mut Stream, ledger: &mut Ledger) {
        match effect {
            Effect::Served(part, units) => ledger.bill(part, units),
            Effect::GiveBack(part, units) => {
                assert_eq!(ledger.parts[part], units, "what is left is known");
                ledger.parts[part] = 0;
                ledger.supply += units;
            }
            Effect::Forfeit(part, units) => ledger.gone(part, units),
            Effect::Unassigned(id, units) => {
                let mut rest = units;
                for (part, units) in ledger.orphans.served(&id, units) {
                    ledger.bill(part, units);
                    rest -= units;
                }
                ledger.lost += rest;
            }
            Effect::Take(_, units) => {
                self.takes.push_back((now.plus_ms(random.between(0, 100)), units));
            }
            Effect::Tell(_, action) => {
                let due = now.plus_ms(random.between(0, 250));
                let due = self.down.back().map_or(due, |(last, _)| due.max(*last));
                self.down.push_back((due, action));
            }
        }
    }

    fn cut(&mut self, now: Timestamp, ledger: &mut Ledger) {
        ledger.lost += self.up.drain(..).map(|(_, allowed, _)| allowed).sum::<u64>();
        self.down.clear();
        // What was being taken goes back by itself, for nobody was told of it.
        self.takes.clear();
        for (id, parts) in self.book.take().into_iter().flat_map(Book::end) {
            ledger.orphans.add(now, id, parts);
        }
    }
}

/// One month of Envoys; `cuts` and `stands` say what goes wrong.
fn run(seed: u64, cuts: bool, stands: bool) -> (Ledger, u64) {
    let mut random = Stream::new(seed);
    let quota = random.between(1, 400);
    let mut ledger = Ledger { supply: quota, ..Ledger::default() };
    let mut envoys: Vec<Envoy> = (0..random.between(1, 4)).map(Envoy::new).collect();
    let busy_ms = random.between(5_000, 120_000);
    for ms in (0..busy_ms + 160_000).step_by(usize::try_from(STEP_MS).unwrap()) {
        let now = at(ms);
        for envoy in &mut envoys {
            if ms < busy_ms {
                if cuts && random.between(0, 1_000) == 0 {
                    envoy.cut(now, &mut ledger);
                }
                if stands && random.between(0, 600) == 0 {
                    let until = now.plus_ms(random.between(0, 15_000));
                    envoy.main_stands_until = until;
                    // All of it, or only the thread that listens to us.
                    if random.between(0, 1) == 0 {
                        envoy.workers_stand_until = until;
                    }
                }
                for _ in 0..random.between(0, 2) {
                    envoy.request(now, &mut ledger);
                }
            }
            envoy.main(now, &mut random, &mut ledger);
            envoy.ours(now, &mut random, &mut ledger);
        }
        for (part, units) in ledger.orphans.expire(now) {
            ledger.gone(part, units);
        }
        assert!(ledger.served <= quota, "seed {seed}: {} of {quota} are served", ledger.served);
        assert!(ledger.billed <= ledger.served, "seed {seed}: {} billed", ledger.billed);
    }
    (ledger, quota)
}

#[test]
fn nobody_is_served_beyond_what_there_is_and_all_that_was_served_is_billed() {
    for seed in 0..300 {
        let (ledger, quota) = run(seed, false, seed % 2 == 0);
        assert_eq!((ledger.billed, ledger.lost, ledger.forfeited), (ledger.served, 0, 0), "seed {seed}");
        assert_eq!(ledger.supply, quota - ledger.billed, "seed {seed}: what nobody used came back");
    }
}

#[test]
fn what_a_cut_stream_leaves_is_billed_once_or_forfeited_and_never_served_twice() {
    let (mut billed, mut lost, mut forfeited) = (0, 0, 0);
    for seed in 0..300 {
        let (ledger, quota) = run(seed, true, seed % 2 == 0);
        assert!(ledger.billed + ledger.lost >= ledger.served, "seed {seed}: nothing vanishes");
        assert!(ledger.lost <= ledger.forfeited, "seed {seed}: {} {}", ledger.lost, ledger.forfeited);
        assert_eq!(ledger.supply + ledger.billed + ledger.forfeited, quota, "seed {seed}");
        (billed, lost) = (billed + ledger.billed, lost + ledger.lost);
        forfeited += ledger.forfeited;
    }
    assert!(billed > 10 * lost && lost > 0 && forfeited > 0, "{billed} {lost} {forfeited}");
}

/// A small quota goes to whoever asks, wherever it lay.
#[test]
fn a_small_quota_is_served_to_the_end() {
    for seed in 0..50 {
        let mut random = Stream::new(seed);
        let mut ledger = Ledger { supply: 50, ..Ledger::default() };
        let mut envoys: Vec<Envoy> = (0..4).map(Envoy::new).collect();
        let mut served_by = None;
        for ms in (0..120_000).step_by(usize::try_from(STEP_MS).unwrap()) {
            for (number, envoy) in envoys.iter_mut().enumerate() {
                // All ask once, one goes on asking.
                if number == 0 || ms < 1_000 {
                    envoy.request(at(ms), &mut ledger);
                }
                envoy.main(at(ms), &mut random, &mut ledger);
                envoy.ours(at(ms), &mut random, &mut ledger);
            }
            if ledger.served == 50 {
                served_by = served_by.or(Some(ms));
            }
        }
        assert!(served_by.is_some_and(|ms| ms < 60_000), "seed {seed}: {served_by:?}");
        assert_eq!(ledger.billed, 50);
    }
}

#[test]
fn envoy_is_told_what_it_may_serve_and_no_assignment_looks_like_another() {
    let (mut book, bucket) = (Book::new(7), id("a"));
    let told = book.report(NOW, [(bucket.clone(), 0, 1)]);
    assert_eq!(told, [Effect::Take(bucket.clone(), 10)]);
    assert_eq!(book.report(NOW, [(bucket.clone(), 0, 9)]), [], "one at a time");
    let told = book.taken(at(5), &bucket, units(vec![(1, 10)]));
    let serve = |units, serial| Effect::Tell(bucket.clone(), Action::Serve { units, serial, life_s: 10 });
    assert_eq!(told, [serve(10, 8)]);
    let told = book.report(at(500), [(bucket.clone(), 6, 0)]);
    assert_eq!(told, [Effect::Served(1, 6), Effect::Take(bucket.clone(), 18)]);
    assert_eq!(book.taken(at(505), &bucket, units(vec![(2, 18)])), [serve(18, 9)]);
    // What was left of the first is back once nobody can be served from it.
    assert_eq!(book.report(at(5_500), [(bucket.clone(), 0, 0)]), []);
    assert_eq!(book.report(at(7_250), [(bucket.clone(), 0, 0)]), []);
    assert_eq!(
        book.report(at(7_260), [(bucket.clone(), 1, 0)]),
        [Effect::Served(1, 1), Effect::GiveBack(1, 3)]
    );
}

#[test]
fn who_is_refused_is_denied_and_forgotten_once_nobody_asks() {
    let (mut book, bucket) = (Book::<u8>::new(7), id("a"));
    book.report(NOW, [(bucket.clone(), 0, 1)]);
    let told = book.taken(NOW, &bucket, Taken::Refused { wait_ms: 10_000 });
    assert_eq!(told, [Effect::Tell(bucket.clone(), Action::DenyAll(10))]);
    assert_eq!(book.report(at(5_000), [(bucket.clone(), 0, 100)]), [], "it is not asked for again at once");
    assert_eq!(book.report(at(10_000), [(bucket.clone(), 0, 7)]), [Effect::Take(bucket.clone(), 200)]);
    let told = book.taken(at(10_010), &bucket, Taken::None { wait_ms: 7_000 });
    assert_eq!(told, [Effect::Tell(bucket.clone(), Action::DenyAll(7))]);
    for ms in [15_000, 20_000, 25_000] {
        assert_eq!(book.report(at(ms), [(bucket.clone(), 0, 0)]), []);
    }
    assert_eq!(book.tick(at(30_000)), [Effect::Tell(bucket.clone(), Action::Abandon)]);
    // This one may have been written before Envoy forgot it; one that comes later was not.
    assert_eq!(book.report(at(30_200), [(bucket.clone(), 0, 1)]), []);
    assert_eq!(book.report(at(36_000), [(bucket.clone(), 0, 1)]), []);
    assert_eq!(book.report(at(36_800), [(bucket.clone(), 0, 0)]), [Effect::Take(bucket.clone(), 10)]);
}

#[test]
fn what_is_refused_ends_what_envoy_has_and_what_is_only_used_up_does_not() {
    for (taken, expected) in [
        (Taken::Refused { wait_ms: 10_000 }, vec![Effect::Tell(id("a"), Action::DenyAll(10))]),
        (Taken::None { wait_ms: 10_000 }, vec![]),
    ] {
        let (mut book, bucket) = (Book::new(7), id("a"));
        book.report(NOW, [(bucket.clone(), 0, 1)]);
        book.taken(NOW, &bucket, units(vec![(1, 10)]));
        let told = book.report(at(500), [(bucket.clone(), 6, 0)]);
        assert_eq!(told.last(), Some(&Effect::Take(bucket.clone(), 12)));
        assert_eq!(book.taken(at(500), &bucket, taken), expected);
    }
}

#[test]
fn a_minute_that_begins_has_its_own_assignment_and_one_that_ends_keeps_none() {
    let (mut book, bucket) = (Book::new(7), id("a"));
    book.report(at(57_200), [(bucket.clone(), 0, 100)]);
    let told = book.taken(at(57_200), &bucket, units(vec![(1, 1_000)]));
    assert_eq!(told, [Effect::Tell(bucket.clone(), Action::Serve { units: 1_000, serial: 8, life_s: 3 })]);
    assert_eq!(book.report(at(58_000), [(bucket.clone(), 10, 0)]), [Effect::Served(1, 10)]);
    assert_eq!(book.report(at(58_400), [(bucket.clone(), 10, 0)]), [Effect::Served(1, 10)]);
    for ms in (58_500..60_000).step_by(100) {
        assert_eq!(book.tick(at(ms)), [], "{ms}");
    }
    assert_eq!(book.tick(at(60_000)), [Effect::Take(bucket.clone(), 20)]);
}

#[test]
fn whoever_makes_buckets_without_end_gets_none_for_them() {
    let mut book = Book::<u8>::new(7);
    let names = |from: usize| (from..from + BUCKETS_MAX).map(|number| (id(&number.to_string()), 0, 1));
    assert_eq!(book.report(NOW, names(0)).len(), BUCKETS_MAX);
    let told = book.report(NOW, names(BUCKETS_MAX));
    assert!(told.iter().all(|effect| matches!(effect, Effect::Tell(_, Action::Abandon))));
    assert_eq!(told.len(), BUCKETS_MAX);
}

#[test]
fn whoever_goes_has_envoy_stop_and_waits_for_what_it_served() {
    let (mut book, bucket) = (Book::new(7), id("a"));
    book.report(NOW, [(bucket.clone(), 0, 1)]);
    book.taken(NOW, &bucket, units(vec![(1, 10)]));
    assert_eq!(book.close(at(500)), [Effect::Tell(bucket.clone(), Action::DenyAll(GOING_S))]);
    assert_eq!(book.report(at(5_000), [(bucket.clone(), 2, 90)]), [Effect::Served(1, 2)]);
    assert_eq!(book.report(at(7_000), [(bucket.clone(), 0, 90)]), []);
    assert!(!book.is_empty());
    assert_eq!(book.report(at(10_000), [(bucket.clone(), 0, 90)]), [Effect::GiveBack(1, 8)]);
    assert!(book.is_empty());
    assert_eq!(book.taken(at(10_000), &bucket, units(vec![(2, 9)])), [Effect::GiveBack(2, 9)]);
}

#[test]
fn what_is_never_decided_is_forfeited() {
    let (mut book, bucket) = (Book::new(7), id("a"));
    book.report(NOW, [(bucket.clone(), 0, 1)]);
    book.taken(NOW, &bucket, units(vec![(1, 10)]));
    assert_eq!(book.tick(at(FORGOTTEN_MS - 1)), []);
    let told = book.tick(at(FORGOTTEN_MS));
    assert_eq!(told, [Effect::Forfeit(1, 10), Effect::Tell(bucket, Action::Abandon)]);
}
