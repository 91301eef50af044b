//! The interpreter of the scripts.
//!
//! ```text
//! at 2026-11-03 | at 2026-11-30T23:59:59.999Z          the aggregator's clock
//! open pro                                              the project begins
//! plan business [paid-until 2026-12-20]                 change of plan
//! bought business at 2026-11-30T23:50:00Z               a plan that was paid for then
//! terms pro rate 700 | terms pro included 20000 [paid-until …]   terms of another catalogue
//! migrate pro included 12000                            all terms to another catalogue, in which pro has these
//! overage on | overage off | overage cap 1000           cap in minor units
//! use 12000 [on 2026-11-03] | anchors 40                cells of today, or of a day
//! buy small [as a] [for 2500] [paid 2026-11-30] | credit 100 as c    lots; a pack costs 0.5 a unit unless told
//! refund a 1250 | dispute a open|won|lost [1250]        in all, not in addition
//! past-due [since 2026-11-01] [grace 3] | recover [paid 2026-11-30] | suspend | resume
//! close 2026-11 [floor 500] [forfeited 7] | late 2026-11 50 | correct 2026-11 20 | levels 50 100 | denied
//! refused <any of these>                                it must be refused
//! same <any of these>                                   it is known already: nothing must be written
//! expect [2026-11] [quota n] [included n] [lots n] [overage n] [uncovered n] [price n] [plan p] …
//! left a 5000 | shortfall a 0 | crossed v1:80 v1:100 | crossed none
//! parts 2026-11 included n lots n credits n next n overage stop|open|n
//! next-change 2026-12-20 | next-change none
//! verdict served n | open | suspended | exhausted not_offered|off|past_due|cap_reached
//! ```

use std::collections::{BTreeMap, BTreeSet};

use shared::cell::{Cell, CellKey, Counts};
use shared::denials::Denials;
use shared::ids::{AgentId, Incarnation, Mode, SourceId};
use shared::kind::Kind;
use shared::plan::{Catalogue, Pack, Plan};
use shared::policy::Overage;
use shared::time::{Day, Period, Timestamp};
use shared::units::Units;

use super::super::audit::audit;
use super::super::cells::{Batch, Cells};
use super::super::close::{Final, adjust, close, correct};
use super::super::crossing::{Crossing, Levels, Position, crossings};
use super::super::entry::{Account, Dispute, Entry, LotId, OverageSetting, Posting, Usage};
use super::super::explain::{NoOverage, Verdict, standing, why_billed};
use super::super::lots::{self, Purchase};
use super::super::money::{Currency, Money};
use super::super::month::{Seen, free, month};
use super::super::parts::parts;
use super::super::plan;
use super::super::rate::Rate;
use super::super::refusal::Refusal;
use super::super::state::Ledger;
use super::super::statement::statement;
use super::super::terms::PlanTerms;
use super::super::timeline::GRACE_MS;

/// More than any script uses in a day.
const RPM: u32 = 1_000_000;

/// Reads a script and checks everything it says.
pub(super) fn check(script: &str) {
    play(script);
}

/// What a script leaves: its ledger, the usage of its cells, and its clock.
pub(super) fn play(script: &str) -> (Ledger, BTreeMap<Period, Usage>, Timestamp) {
    let mut world = World::new();
    for (index, line) in script.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let place = format!("line {}: {line}", index + 1);
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => continue,
            ["refused", rest @ ..] => {
                let refused = world.clone().act(rest);
                assert!(refused.is_err(), "{place}: was not refused");
            }
            ["same", rest @ ..] => {
                let before = world.ledger.clone();
                world.act(rest).unwrap_or_else(|refusal| panic!("{place}: {refusal}"));
                assert_eq!(world.ledger, before, "{place}: something was written");
            }
            words if world.judge(words, &place) => {}
            words => world.act(words).unwrap_or_else(|refusal| panic!("{place}: {refusal}")),
        }
        world.audit(&place);
    }
    (world.ledger().clone(), world.totals(), world.now)
}

#[derive(Clone)]
struct World {
    catalogue: Catalogue,
    now: Timestamp,
    ledger: Option<Ledger>,
    cells: Cells,
    counted: BTreeMap<Day, Counts>,
    names: BTreeMap<String, LotId>,
    levels: Levels,
    fired: BTreeSet<Crossing>,
    crossed: Vec<String>,
}

pub(super) fn terms(plan: &str) -> PlanTerms {
    let catalogue = Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap();
    PlanTerms::of(&catalogue, Plan::parse(plan).unwrap()).unwrap()
}

pub(super) fn eur(minor: i128) -> Money {
    Money::new(minor, Currency::parse("eur").unwrap())
}

fn number(text: &str) -> u64 {
    text.replace('_', "").parse().unwrap_or_else(|_| panic!("{text} is not a number"))
}

fn units(text: &str) -> Units {
    Units::new(number(text))
}

fn period(text: &str) -> Period {
    Period::parse(text).unwrap_or_else(|| panic!("{text} is not a period"))
}

/// `2026-11-03` or `2026-11-30T23:59:59.999Z`.
pub(super) fn instant(text: &str) -> Timestamp {
    let (day, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let day = Day::parse(day).unwrap_or_else(|| panic!("{text} is not an instant"));
    let time = time.trim_end_matches('Z');
    let (clock, ms) = time.split_once('.').unwrap_or((time, "0"));
    let seconds = clock.split(':').fold(0, |sum, part| sum * 60 + number(part));
    day.start().plus_ms(seconds * 1_000 + number(ms))
}

impl World {
    fn new() -> Self {
        Self {
            catalogue: Catalogue::from_json(Catalogue::DEFAULT_JSON).unwrap(),
            now: instant("2026-11-01"),
            ledger: None,
            cells: Cells::default(),
            counted: BTreeMap::new(),
            names: BTreeMap::new(),
            levels: Levels::default(),
            fired: BTreeSet::new(),
            crossed: Vec::new(),
        }
    }

    fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().expect("a script begins with `open`")
    }

    fn terms(&self, plan: &str) -> PlanTerms {
        PlanTerms::of(&self.catalogue, Plan::parse(plan).unwrap()).unwrap()
    }

    fn write(&mut self, postings: Vec<Posting>) -> Result<(), Refusal> {
        let totals = self.totals();
        let written = self.ledger().clone().append(self.now, postings)?;
        self.ledger = Some(lots::reclaim(written, Seen { totals: &totals, now: self.now })?);
        self.cross(false);
        Ok(())
    }

    fn lot(&self, name: &str) -> LotId {
        *self.names.get(name).unwrap_or_else(|| panic!("no lot is named {name}"))
    }

    fn count(&mut self, day: Day, more: u64, anchors: u64) {
        let counts = self.counted.entry(day).or_default();
        counts.units = counts.units.checked_add(Units::new(more)).unwrap();
        counts.anchors = counts.anchors.checked_add(Units::new(anchors)).unwrap();
        let key = CellKey { day, kind: Kind::Verify, agent: AgentId::none() };
        let batch = Batch {
            mode: Mode::Live,
            source: SourceId::home(),
            incarnation: Incarnation::parse("00000000").unwrap(),
            cells: vec![Cell { key, counts: *counts, denials: Denials::NONE }],
        };
        self.cells = std::mem::take(&mut self.cells).merge(&batch, RPM);
        self.cross(false);
    }

    fn totals(&self) -> BTreeMap<Period, Usage> {
        self.cells.totals().unwrap()
    }

    /// What a store does in the transaction that moves a total or the quota.
    fn cross(&mut self, denied: bool) {
        let mut totals = self.totals();
        totals.entry(self.now.period()).or_default();
        for (period, usage) in totals {
            let quota = self.ledger().timeline().quota(period, self.now);
            let at = Position {
                period,
                quota_version: quota.version,
                quota: quota.included(),
                used: usage.units,
                denied: denied && period == self.now.period(),
            };
            for crossing in crossings(at, &self.levels, &self.fired) {
                self.fired.insert(crossing);
                self.crossed.push(format!("v{}:{}", crossing.quota_version, crossing.percent));
            }
        }
    }

    /// Carries out a line that changes something.
    fn act(&mut self, words: &[&str]) -> Result<(), Refusal> {
        let totals = self.totals();
        let seen = Seen { totals: &totals, now: self.now };
        match *words {
            ["at", text] => self.now = instant(text),
            ["open", plan] => self.ledger = Some(Ledger::open(self.now, self.terms(plan))?),
            ["plan", plan, ref rest @ ..] => {
                let until = option(rest, "paid-until").map(instant);
                self.write(plan::change(self.ledger(), self.now, self.terms(plan), until)?)?;
            }
            ["bought", plan, "at", paid_at] => {
                let (terms, paid_at) = (self.terms(plan), Some(instant(paid_at)));
                self.write(plan::bought(self.ledger(), self.now, terms, paid_at)?)?;
            }
            ["overage", ref how @ ..] => {
                let setting = match *how {
                    ["on"] => OverageSetting::On { cap: None },
                    ["off"] => OverageSetting::Off,
                    ["cap", minor] => OverageSetting::On { cap: Some(eur(i128::from(number(minor)))) },
                    _ => panic!("{words:?}"),
                };
                self.write(plan::set_overage(self.ledger(), self.now, setting)?)?;
            }
            ["use", n, ref rest @ ..] => {
                let day = option(rest, "on").map_or(self.now.day(), |text| Day::parse(text).unwrap());
                self.count(day, number(n), 0);
            }
            ["anchors", n] => self.count(self.now.day(), 0, number(n)),
            ["past-due", ref rest @ ..] => {
                let since = option(rest, "since").map_or(self.now, instant);
                let fallback = self.terms("community");
                let grace_ms = option(rest, "grace").map_or(GRACE_MS, |days| number(days) * 86_400_000);
                self.write(plan::past_due(self.ledger(), self.now, since, fallback, grace_ms))?;
            }
            ["recover", ref rest @ ..] => {
                let paid_at = option(rest, "paid").map(instant);
                self.write(plan::recovered(self.ledger(), self.now, paid_at))?;
            }
            ["suspend"] => self.write(plan::suspend("fraud".to_owned()))?,
            ["resume"] => self.write(plan::resume())?,
            ["close", month, ref rest @ ..] => {
                let last = Final {
                    forfeited: option(rest, "forfeited").map_or(Units::ZERO, units),
                    floor: option(rest, "floor").map_or(Units::ZERO, units),
                };
                self.write(close(self.ledger(), seen, period(month), last)?)?;
            }
            ["late", month, n] => {
                self.count(period(month).last_day(), number(n), 0);
                let totals = self.totals();
                let seen = Seen { totals: &totals, now: self.now };
                self.write(adjust(self.ledger(), seen, period(month))?)?;
            }
            ["correct", month, n] => {
                self.write(correct(self.ledger(), period(month), units(n), "goodwill".to_owned())?)?;
            }
            ["terms" | "migrate", ..] => self.act_on_terms(words)?,
            ["levels", ref percents @ ..] => {
                self.levels = Levels::new(percents.iter().map(|text| text.parse().unwrap())).unwrap();
            }
            ["denied"] => self.cross(true),
            _ => self.act_on_lots(words, seen)?,
        }
        Ok(())
    }

    fn act_on_terms(&mut self, words: &[&str]) -> Result<(), Refusal> {
        match *words {
            ["terms", plan, what, n, ref rest @ ..] => {
                // A migration to a later catalogue, or terms of the project's own.
                let mut terms = self.terms(plan);
                match what {
                    "rate" => terms.rate = Some(Rate::flat(number(n))),
                    "included" => terms.included = units(n),
                    _ => panic!("{words:?}"),
                }
                terms.catalogue += 1;
                let until = option(rest, "paid-until").map(instant);
                self.write(plan::change(self.ledger(), self.now, terms, until)?)?;
            }
            ["migrate", plan, "included", n] => {
                let plan = Plan::parse(plan).unwrap();
                let of = |old: &PlanTerms| {
                    let included = if old.plan == plan { units(n) } else { old.included };
                    Ok(PlanTerms { included, catalogue: 2, ..old.clone() })
                };
                self.write(plan::migrate(self.ledger(), self.now, of)?)?;
            }
            _ => panic!("no such line: {words:?}"),
        }
        Ok(())
    }

    fn act_on_lots(&mut self, words: &[&str], seen: Seen<'_>) -> Result<(), Refusal> {
        let next = LotId(self.ledger().next_number());
        match *words {
            ["buy", pack, ref rest @ ..] => {
                let pack = self.catalogue.pack(Pack::parse(pack).unwrap()).unwrap();
                let name = option(rest, "as").map_or_else(|| next.to_string(), ToOwned::to_owned);
                let half = i128::from(pack.units.get()).div_euclid(2);
                let paid = eur(option(rest, "for").map_or(half, |text| i128::from(number(text))));
                let paid_at = option(rest, "paid").map(instant);
                let purchase = Purchase { order: name.clone(), units: pack.units, paid, paid_at };
                self.write(lots::buy(self.ledger(), purchase)?)?;
                self.names.entry(name).or_insert(next);
            }
            ["credit", n, "as", name] => {
                self.write(lots::credit(self.ledger(), units(n), "sorry".to_owned())?)?;
                self.names.insert(name.to_owned(), next);
            }
            ["refund", name, minor] => {
                let refunded = eur(i128::from(number(minor)));
                self.write(lots::refund(self.ledger(), seen, self.lot(name), refunded)?)?;
            }
            ["dispute", name, ref how @ ..] => {
                let lot = self.lot(name);
                let paid = self.ledger().lot(lot)?.paid.unwrap_or_else(|| eur(0));
                let dispute = match *how {
                    ["open"] => Dispute::Open,
                    ["won"] => Dispute::None,
                    ["lost"] => Dispute::Lost(paid),
                    ["lost", minor] => Dispute::Lost(eur(i128::from(number(minor)))),
                    _ => panic!("{words:?}"),
                };
                self.write(lots::dispute(self.ledger(), seen, lot, dispute)?)?;
            }
            _ => panic!("no such line: {words:?}"),
        }
        Ok(())
    }

    /// Checks a line that expects something; false where it does not.
    fn judge(&mut self, words: &[&str], place: &str) -> bool {
        let totals = if self.ledger.is_some() { self.totals() } else { return false };
        let seen = Seen { totals: &totals, now: self.now };
        match *words {
            ["expect", ref rest @ ..] => self.judge_month(rest, seen, place),
            ["left", name, n] => {
                let left = free(self.ledger(), seen).unwrap()[&self.lot(name)];
                assert_eq!(left, units(n), "{place}");
            }
            ["shortfall", name, n] => {
                let short = self.ledger().units(Account::Shortfall(self.lot(name)));
                assert_eq!(short, units(n), "{place}");
            }
            ["crossed", "none"] => assert!(self.crossed.is_empty(), "{place}: got {:?}", self.crossed),
            ["crossed", ref levels @ ..] => assert_eq!(std::mem::take(&mut self.crossed), levels, "{place}"),
            ["parts", ref rest @ ..] => {
                let parts = parts(self.ledger(), self.now);
                let overage = match parts.overage {
                    Overage::Stop => "stop".to_owned(),
                    Overage::Open => "open".to_owned(),
                    Overage::Capped { units } => units.to_string(),
                };
                let (included, lots, credits) = (parts.included, parts.lots, parts.credits);
                let next = parts.next_included;
                let got = format!(
                    "{} included {included} lots {lots} credits {credits} next {next} overage {overage}",
                    parts.period
                );
                assert_eq!(got, rest.join(" "), "{place}");
            }
            ["next-change", text] => {
                let next = self.ledger().timeline().next_change(self.now);
                assert_eq!(next, (text != "none").then(|| instant(text)), "{place}");
            }
            ["verdict", ref rest @ ..] => {
                let got = match standing(self.ledger(), seen, None).unwrap().verdict {
                    Verdict::Suspended => "suspended".to_owned(),
                    Verdict::Served(None) => "open".to_owned(),
                    Verdict::Served(Some(left)) => format!("served {left}"),
                    Verdict::QuotaExhausted(NoOverage::NotOffered) => "exhausted not_offered".to_owned(),
                    Verdict::QuotaExhausted(NoOverage::Off) => "exhausted off".to_owned(),
                    Verdict::QuotaExhausted(NoOverage::PastDue) => "exhausted past_due".to_owned(),
                    Verdict::QuotaExhausted(NoOverage::CapReached) => "exhausted cap_reached".to_owned(),
                };
                assert_eq!(got, rest.join(" "), "{place}");
            }
            _ => return false,
        }
        true
    }

    fn judge_month(&self, words: &[&str], seen: Seen<'_>, place: &str) {
        let (of, pairs) = match words.split_first() {
            Some((first, rest)) if Period::parse(first).is_some() => (period(first), rest),
            _ => (self.now.period(), words),
        };
        let month = month(self.ledger(), seen, of).unwrap();
        let adjustments = self.ledger().closed(of).map_or(0, |closed| closed.adjustments);
        let price = month.bill.total(eur(0).currency()).unwrap().minor();
        for pair in pairs.chunks(2) {
            let [what, expected] = pair else { panic!("{place}: odd words") };
            let got = match *what {
                "quota" => month.quota.to_string(),
                "version" => month.quota_version.to_string(),
                "used" => month.counted.units.to_string(),
                "included" => month.allocation.included.to_string(),
                "lots" => month.allocation.of_lots().to_string(),
                "overage" => month.allocation.overage.to_string(),
                "uncovered" => month.allocation.uncovered.to_string(),
                "price" => price.to_string(),
                "lines" => month.bill.lines.len().to_string(),
                "adjustments" => adjustments.to_string(),
                "plan" => self.ledger().timeline().terms_at(self.now).plan.to_string(),
                _ => panic!("{place}: nothing is named {what}"),
            };
            assert_eq!(got, expected.replace('_', ""), "{place}: {what}");
        }
    }

    /// What must hold after every line.
    fn audit(&self, place: &str) {
        let Some(ledger) = &self.ledger else { return };
        let totals = self.totals();
        assert_eq!(audit(ledger.entries(), ledger.balances(), &totals), vec![], "{place}");
        let text = serde_json::to_string(ledger.entries()).unwrap();
        let entries: Vec<Entry> = serde_json::from_str(&text).unwrap();
        assert_eq!(Ledger::replay(entries).as_ref(), Ok(ledger), "{place}");
        let seen = Seen { totals: &totals, now: self.now };
        let present = self.now.period();
        assert_eq!(
            edge_left(ledger, seen),
            books_left(ledger, seen),
            "{place}: the edge and the books differ"
        );
        let told = statement(ledger, seen, present).unwrap();
        let reasons = why_billed(ledger, seen, present).unwrap();
        let lines: usize = reasons.iter().map(|reason| reason.bill.lines.len()).sum();
        assert_eq!(told.bill.lines.len(), lines, "{place}: the statement and its reasons differ");
    }
}

/// What a home that issued exactly what was counted has left for the present month.
pub(super) fn edge_left(ledger: &Ledger, seen: Seen<'_>) -> Option<Units> {
    let parts = parts(ledger, seen.now);
    let present = seen.now.period().max(parts.period);
    let open = seen.totals.range(parts.period..present);
    let beyond = open
        .map(|(month, usage)| usage.units.saturating_sub(parts.included_in(*month)))
        .fold(Units::ZERO, Units::saturating_add);
    let allowance = parts.allowance(present, beyond)?;
    Some(allowance.saturating_sub(seen.usage(present).units))
}

/// What the books say is left for the present month, whether the project is served or not.
pub(super) fn books_left(ledger: &Ledger, seen: Seen<'_>) -> Option<Units> {
    match standing(ledger, seen, None).unwrap().verdict {
        Verdict::Served(left) => left,
        Verdict::QuotaExhausted(_) => Some(Units::ZERO),
        Verdict::Suspended => edge_left(ledger, seen),
    }
}

/// The word behind `name`.
fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1])
}
