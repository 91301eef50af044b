//! What pays for units, from the home to the answers: their sums are those of the bill.

use alloc::vec::Vec;

use super::call::CallId;
use super::*;
use crate::lease::{Answer, HeldUnits, Holder};
use crate::policy::tests::community;
use crate::policy::{LeaseRules, Overage};
use crate::random::Stream;
use crate::source::Source;
use crate::sub_home::SubHome;
use crate::units::Units;

const NOW: Timestamp = Timestamp::from_ms(1_795_435_200_000);

fn policy(included: u64, lots: u64, overage: Overage) -> Policy {
    let mut policy = Policy { rpm: 100_000, agents_max: None, ..community("demo") };
    (policy.allowance.included, policy.allowance.lots) = (Units::new(included), Units::new(lots));
    policy.allowance.overage = overage;
    policy
}

fn home(policy: Policy) -> Home {
    let mut home = Home::new(HomeName::parse("demo/live").unwrap(), Incarnation::parse("inc00001").unwrap());
    assert!(home.install(policy));
    home
}

fn ask(cost: u32, held: bool) -> Ask {
    Ask { agent: AgentId::none(), cost, held, ..super::tests::ask("bot") }
}

fn add(sum: &mut Paid, paid: Paid) {
    sum.included += paid.included;
    sum.lot += paid.lot;
    sum.overage += paid.overage;
}

/// The bill of so many units.
fn bill(units: u64, included: u64, lots: u64) -> Paid {
    let by_plan = units.min(included);
    let by_lots = (units - by_plan).min(lots);
    Paid { included: by_plan, lot: by_lots, overage: units - by_plan - by_lots }
}

fn exchange(holder: &mut Holder, home: &mut Home, at: Timestamp) {
    for contact in holder.contacts(at) {
        if let Some(reply) = home.contact(at, at.as_ms(), &contact).unwrap() {
            holder.receive(at, reply);
        }
    }
}

/// Asks once, and says what paid for it if it was allowed, and what is held for it.
fn ask_once(
    holder: &mut Holder,
    home: &mut Home,
    at: Timestamp,
    ask: &Ask,
) -> Option<(Paid, Option<HeldUnits>)> {
    let (answer, waiter) = match holder.decide(at, ask) {
        Answer::Wait(id) => {
            exchange(holder, home, at);
            (holder.outcome(at, id), Some(id))
        }
        answer @ (Answer::Allow | Answer::Deny { .. } | Answer::AtHome | Answer::Unavailable) => {
            (answer, None)
        }
    };
    if let (Answer::Wait(_), Some(id)) = (answer, waiter) {
        holder.abandon(id);
    }
    answer.is_allowed().then(|| (holder.take_paid().unwrap(), holder.take_held(waiter)))
}

/// Isolates take units, serve some, give some back, and come again; whatever they did, no more is billed as overage than
/// was said, and all sums are the bill's once nothing is left out.
#[test]
fn sums_of_what_several_isolates_have_told_are_those_of_the_bill() {
    for seed in 0..150 {
        let mut random = Stream::new(seed);
        let (included, lots) = (random.between(0, 120), random.between(0, 120));
        let mut home = home(policy(included, lots, Overage::Open));
        let mut holders: Vec<Holder> =
            (1..4).map(|id| Holder::new(HolderId::from_bits(id), u64::try_from(id).unwrap())).collect();
        let (mut at, mut told) = (NOW, Paid::default());
        for _ in 0..random.between(1, 150) {
            at = at.plus_ms(random.between(1, 900));
            let which = usize::try_from(random.between(0, 2)).unwrap();
            let holder = &mut holders[which];
            let held = random.between(0, 4) == 0;
            let ask = ask(u32::try_from(random.between(1, 5)).unwrap(), held);
            let Some((paid, units)) = ask_once(holder, &mut home, at, &ask) else { continue };
            match units {
                // Its upstream did not answer: nobody was served.
                Some(units) if random.between(0, 1) == 0 => holder.give_back(units),
                Some(units) => {
                    add(&mut told, paid);
                    holder.served(at, units);
                }
                None => add(&mut told, paid),
            }
            exchange(holder, &mut home, at);
        }
        for _ in 0..60 {
            at = at.plus_ms(500);
            holders.iter_mut().for_each(|holder| exchange(holder, &mut home, at));
        }
        let served = home.outstanding(at.period()).settled.get();
        assert_eq!(told.included + told.lot + told.overage, served, "seed {seed}");
        assert!(told.overage >= bill(served, included, lots).overage, "seed {seed}: {told:?} of {served}");
        // What came back is issued first.
        let mut last = Holder::new(HolderId::from_bits(9), 9);
        let mut more = 0;
        while more < 250 {
            at = at.plus_ms(20);
            assert!(at < NOW.plus_ms(3_600_000), "seed {seed}: nobody is served");
            let Some((paid, _)) = ask_once(&mut last, &mut home, at, &ask(1, false)) else { continue };
            add(&mut told, paid);
            more += 1;
        }
        assert_eq!(told, bill(served + 250, included, lots), "seed {seed}");
    }
}

#[test]
fn a_sub_home_hands_on_what_its_units_were_issued_from() {
    let mut home = home(policy(20, 10, Overage::Open));
    let mut sub = SubHome::new(HolderId::from_bits(77), Incarnation::parse("sub00001").unwrap());
    let mut holder = Holder::new(HolderId::from_bits(7), 7);
    let (mut told, mut at) = (Vec::new(), NOW);
    for _ in 0..45 {
        at = at.plus_ms(20);
        let mut answer = holder.decide(at, &ask(1, false));
        for _ in 0..20 {
            let Answer::Wait(id) = answer else { break };
            at = at.plus_ms(25);
            for contact in holder.contacts(at) {
                let reply = sub.contact(at, 1, &contact);
                reply.into_iter().for_each(|reply| holder.receive(at, reply));
            }
            for contact in sub.contacts(at) {
                let reply = home.contact(at, 2, &contact).unwrap();
                let replies = reply.map(|reply| sub.receive(at, 3, reply)).unwrap_or_default();
                replies.into_iter().for_each(|reply| holder.receive(at, reply));
            }
            answer = holder.outcome(at, id);
        }
        assert_eq!(answer, Answer::Allow);
        told.push(holder.take_paid().and_then(Paid::source).unwrap());
    }
    let of = |source| told.iter().filter(|told| **told == source).count();
    assert_eq!(Source::ALL.map(of), [20, 10, 15]);
    assert!(told.is_sorted(), "one isolate alone spends in order: {told:?}");
}

#[test]
fn a_home_that_decides_itself_says_it_and_takes_back_what_never_left() {
    let rules = LeaseRules { strict: true, ..LeaseRules::default() };
    let mut home = home(Policy { leases: rules, ..policy(2, 1, Overage::Capped { units: Units::new(3) }) });
    let holder = HolderId::from_bits(7);
    let mut decide = |number, cost| {
        let verdict = home.decide_call(NOW, &ask(cost, false), CallId { holder, number }).unwrap();
        verdict.and_then(|verdict| verdict.paid)
    };
    assert_eq!(decide(1, 1), Some(Paid { included: 1, lot: 0, overage: 0 }));
    let mixed = Some(Paid { included: 1, lot: 1, overage: 1 });
    assert_eq!((decide(2, 3), decide(2, 3)), (mixed, mixed), "the same call again");
    home.conclude_call(NOW, CallId { holder, number: 2 }, false);
    let mut decide = |number, cost| {
        let verdict = home.decide_call(NOW, &ask(cost, false), CallId { holder, number }).unwrap();
        verdict.and_then(|verdict| verdict.paid?.source())
    };
    let told = [3, 4, 5, 6, 7, 8].map(|number| decide(number, 1));
    let [included, lot, overage] = Source::ALL.map(Some);
    assert_eq!(told, [included, lot, overage, overage, overage, None], "the last is denied");
}

#[test]
fn overage_that_is_off_is_never_told_and_what_was_told_stays() {
    let mut home = home(policy(2, 0, Overage::Open));
    let source = |home: &mut Home| home.decide(NOW, &ask(1, false)).unwrap().paid.and_then(Paid::source);
    let told = [(); 3].map(|()| source(&mut home));
    assert_eq!(told, [Some(Source::Included), Some(Source::Included), Some(Source::Overage)]);
    assert!(home.install(Policy { version: 2, ..policy(2, 0, Overage::Stop) }));
    assert_eq!(source(&mut home), None);
    // A lot that comes later pays for what comes later; the bill lets it pay for what came before too.
    assert!(home.install(Policy { version: 3, ..policy(2, 3, Overage::Stop) }));
    let told = [(); 3].map(|()| source(&mut home));
    assert_eq!(told, [Some(Source::Lot), Some(Source::Lot), None]);
}

#[test]
fn rows_that_do_not_say_it_are_read_and_divided_as_far_as_they_can_be() {
    let mut before = home(policy(3, 2, Overage::Open));
    for _ in 0..4 {
        before.decide(NOW, &ask(1, false)).unwrap();
    }
    let rows = before.take_writes().into_iter().filter_map(|row| Some((row.key, row.value?)));
    let old =
        rows.map(|(key, value)| (key, value.replace(",\"beyond\":{\"lot\":1}", ""))).collect::<Vec<_>>();
    assert!(!old.iter().any(|(_, value)| value.contains("beyond")), "{old:?}");
    let mut after = Home::load(old, NOW).unwrap().unwrap();
    let told = [(); 2].map(|()| after.decide(NOW, &ask(1, false)).unwrap().paid.and_then(Paid::source));
    assert_eq!(told, [Some(Source::Lot), Some(Source::Overage)]);
}

#[test]
fn what_comes_back_from_holders_that_do_not_say_it_leaves_no_more_beyond_the_plan_than_is_out() {
    let funds = Funds { included: 10, lots: 0 };
    let mut account = Account::default();
    assert_eq!(account.issue(funds, Units::new(50)).of(50), Paid { included: 10, lot: 0, overage: 40 });
    account.take_back(Units::new(42), Beyond::NONE);
    assert_eq!(account.beyond.of(8), Paid { included: 0, lot: 0, overage: 8 });
    assert_eq!(account.issue(funds, Units::new(20)).of(20), Paid { included: 10, lot: 0, overage: 10 });
}
