//! What is observed and refused beside units, added to its cells. It never decides anything.

use super::{AGENTS_PER_DAY_MAX, Home, NoPolicy};
use crate::cell::{CellKey, Observed};
use crate::decision::Denial;
use crate::denials::{DenialReason, Denials};
use crate::ids::{AgentId, KeyId};
use crate::kind::Kind;
use crate::time::Timestamp;
use crate::units::Units;

impl Home {
    /// Adds what a client observed of requests of `kind` for `agent`; a revoked key adds nothing.
    ///
    /// # Errors
    /// [`NoPolicy`] until a policy is installed; nothing is changed then.
    pub fn observe(
        &mut self,
        now: Timestamp,
        key: &KeyId,
        (kind, agent): (Kind, &AgentId),
        observed: Observed,
    ) -> Result<Option<Denial>, NoPolicy> {
        let now = self.tick(now);
        let policy = self.policy.as_ref().ok_or(NoPolicy)?;
        if !policy.keys.contains(key) {
            return Ok(Some(Denial::KeyRevoked));
        }
        if !observed.is_empty() {
            self.see(now, &CellKey { day: now.day(), kind, agent: agent.clone() }, observed);
            self.write_meta();
        }
        Ok(None)
    }

    /// Counts what somebody served without asking, whatever the limits are: it spends the quota, and no permit of the
    /// minute, since nobody knows in which it was served.
    pub fn count_served(
        &mut self,
        now: Timestamp,
        counted: (Kind, &AgentId),
        units: Units,
        observed: Observed,
    ) {
        self.count_all_served(now, core::iter::once((counted, units, observed)));
    }

    /// The same of many at once: what all of them change is written once.
    pub fn count_all_served<'a>(
        &mut self,
        now: Timestamp,
        all: impl IntoIterator<Item = ((Kind, &'a AgentId), Units, Observed)>,
    ) {
        let now = self.tick(now);
        for ((kind, agent), units, observed) in all {
            let key = CellKey { day: now.day(), kind, agent: agent.clone() };
            self.spend_served(now, &key, units);
            self.see(now, &key, observed);
        }
        self.charged(now);
    }

    fn spend_served(&mut self, now: Timestamp, key: &CellKey, units: Units) {
        let agent = &key.agent;
        let policy = self.policy.as_ref();
        let (named, limited) = (
            policy.is_some_and(|policy| policy.agents_max.is_some()) && agent.is_named(),
            policy.is_some_and(|policy| policy.leases.agents.contains_key(agent)),
        );
        let account = self.accounts.entry(now.period()).or_default();
        account.issued = account.issued.saturating_add(units);
        if named {
            account.agents.insert(agent.clone());
        }
        if limited {
            let used = account.agent_units.entry(agent.clone()).or_default();
            *used = used.saturating_add(units);
        }
        self.settle_cell(now, key, units);
    }

    /// Counts a request that was refused here.
    pub fn count_denied(&mut self, now: Timestamp, of: (Kind, &AgentId), reason: DenialReason) {
        self.count_denials(now, of, Denials::of(reason, 1));
    }

    /// Counts requests that were refused here, or that shadow mode let through.
    pub fn count_denials(&mut self, now: Timestamp, (kind, agent): (Kind, &AgentId), denials: Denials) {
        let now = self.tick(now);
        let key = CellKey { day: now.day(), kind, agent: agent.clone() };
        self.note_denials(now, &key, denials);
        self.charged(now);
    }

    /// Adds to a cell what was observed.
    pub(super) fn see(&mut self, now: Timestamp, key: &CellKey, observed: Observed) {
        if observed.is_empty() {
            return;
        }
        self.settle_cell(now, key, Units::ZERO);
        let key = self.folded(key);
        if let Some(cell) = self.cells.get_mut(&key) {
            cell.counts = cell.counts.seen(observed);
            self.write_cell(&key);
        }
    }

    /// Adds to a cell what was refused.
    ///
    /// Names that are only refused get half of the day's places: whoever sends many of them does not take those of
    /// agents that are served. An isolate that has never heard the time may be ahead of it.
    pub(super) fn note_denials(&mut self, now: Timestamp, key: &CellKey, denials: Denials) {
        if denials.is_empty() {
            return;
        }
        let day = key.day.min(now.day());
        let mut key = CellKey { day, ..key.clone() };
        if !self.cells.contains_key(&key) {
            key.agent = self.fold_beyond(AGENTS_PER_DAY_MAX.div_euclid(2), day, &key.agent);
        }
        self.settle_cell(now, &key, Units::ZERO);
        if let Some(cell) = self.cells.get_mut(&key) {
            cell.denials = cell.denials.plus(denials);
            self.write_cell(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::HomeName;
    use crate::ids::Incarnation;
    use crate::lease::message::HolderId;
    use crate::lease::{Answer, Holder, Noted};
    use crate::policy::tests::community;
    use crate::wire::Flush;

    const NOW: Timestamp = Timestamp::from_ms(1_795_435_200_000);

    fn home() -> Home {
        let name = HomeName::parse("demo/live").unwrap();
        let mut home = Home::new(name, Incarnation::parse("0123456789").unwrap());
        home.install(community("demo"));
        home
    }

    fn observed(tokens_in: u64, anchors: u64) -> Observed {
        let (tokens_in, anchors) = (Units::new(tokens_in), Units::new(anchors));
        Observed { tokens_in, anchors, ..Observed::default() }
    }

    fn flushed(home: &mut Home) -> String {
        let cells = home.flush(NOW).unwrap().messages.remove(0).cells;
        serde_json::to_string(&cells).unwrap()
    }

    #[test]
    fn what_was_served_without_asking_spends_the_quota_and_is_never_denied() {
        let (mut home, agent) = (home(), AgentId::parse("bot").unwrap());
        for _ in 0..2 {
            home.count_served(NOW, (Kind::Verify, &agent), Units::new(600), observed(7, 0));
        }
        let numbers = home.numbers(NOW).unwrap();
        assert_eq!((numbers.used, numbers.remaining()), (Units::new(1_200), Some(Units::ZERO)));
        assert_eq!(numbers.rpm_remaining, 60, "nobody knows in which minute it was served");
        home.count_denied(NOW, (Kind::Verify, &agent), DenialReason::QuotaExhausted);
        assert_eq!(
            flushed(&mut home),
            r#"[{"day":"2026-11-23","kind":"verify","agent":"bot","units":1200,"tokens_in":14,"tokens_out":0,"anchors":0,"denials":{"quota_exhausted":1}}]"#
        );
    }

    #[test]
    fn observations_are_cumulative_and_cost_no_unit() {
        let (mut home, agent) = (home(), AgentId::parse("bot").unwrap());
        let key = KeyId::parse("k001").unwrap();
        for _ in 0..2 {
            assert_eq!(home.observe(NOW, &key, (Kind::Verify, &agent), observed(7, 1)), Ok(None));
        }
        assert_eq!(
            flushed(&mut home),
            r#"[{"day":"2026-11-23","kind":"verify","agent":"bot","units":0,"tokens_in":14,"tokens_out":0,"anchors":2}]"#
        );
        assert_eq!(home.outstanding(NOW.period()).net, Units::ZERO);
        let other = KeyId::parse("k999").unwrap();
        let revoked = home.observe(NOW, &other, (Kind::Verify, &agent), observed(7, 1));
        assert_eq!(revoked, Ok(Some(Denial::KeyRevoked)));
    }

    /// Sends what is due, and delivers each message twice, as a network may.
    fn exchange(holder: &mut Holder, home: &mut Home, at: Timestamp) -> usize {
        let contacts = holder.contacts(at);
        for contact in &contacts {
            let contact = crate::json::read(&crate::json::write(contact)).unwrap();
            home.contact(at, 7, &contact).unwrap();
            let reply = home.contact(at, 7, &contact).unwrap().unwrap();
            holder.receive(at, reply);
        }
        contacts.len()
    }

    #[test]
    fn every_denial_reaches_the_flush_once_and_is_no_unit() {
        let agent = AgentId::parse("bot").unwrap();
        for reason in DenialReason::ALL {
            // It has no lease, and has never heard the home: nothing was served.
            let (mut home, mut holder) = (home(), Holder::new(HolderId::from_bits(7), 7));
            for _ in 0..3 {
                holder.deny(NOW, (Kind::McpToolCall, &agent), reason);
            }
            assert!(!holder.is_drained(), "it owes a report");
            let contacts: usize =
                (0..100).map(|step| exchange(&mut holder, &mut home, NOW.plus_ms(step * 100))).sum();
            assert!(contacts <= 3, "{reason}: {contacts} contacts in ten seconds");
            assert!(holder.is_drained());
            let expected = if reason == DenialReason::Unauthorized { AgentId::none() } else { agent.clone() };
            let Flush { cells, denied, .. } = home.flush(NOW).unwrap().messages.remove(0);
            assert_eq!((cells.len(), denied.len()), (1, 0), "no level is passed");
            let cell = &cells[0];
            assert_eq!((&cell.key.agent, cell.denials), (&expected, Denials::of(reason, 3)));
            assert_eq!(cell.counts, crate::cell::Counts::default());
            assert_eq!(home.outstanding(NOW.period()).net, Units::ZERO);
            // What is stored is what was counted.
            let rows = home.take_writes().into_iter().filter_map(|row| Some((row.key, row.value?)));
            let mut again = Home::load(rows, NOW).unwrap().unwrap();
            assert_eq!(again.flush(NOW).unwrap().messages.remove(0).cells, cells);
        }
    }

    #[test]
    fn what_shadow_mode_let_through_reaches_the_flush_once_and_is_no_unit() {
        let agent = AgentId::parse("bot").unwrap();
        let (mut home, mut holder) = (home(), Holder::new(HolderId::from_bits(7), 7));
        for reason in DenialReason::SHADOWED {
            holder.let_through(NOW, (Kind::Verify, &agent), reason);
            holder.let_through(NOW, (Kind::Verify, &agent), reason);
        }
        holder.deny(NOW, (Kind::Verify, &agent), DenialReason::ProjectSuspended);
        for step in 0..100 {
            exchange(&mut holder, &mut home, NOW.plus_ms(step * 100));
        }
        assert!(holder.is_drained());
        home.count_denials(NOW, (Kind::Verify, &agent), Denials::shadowed(DenialReason::AgentLimit, 1));
        let cells = home.flush(NOW).unwrap().messages.remove(0).cells;
        let told = cells[0].denials;
        assert_eq!(told.refused(), Denials::of(DenialReason::ProjectSuspended, 1));
        for reason in DenialReason::SHADOWED {
            let count = if reason == DenialReason::AgentLimit { 3 } else { 2 };
            assert_eq!(told.let_through().get(reason), count, "{reason}");
        }
        assert_eq!((cells.len(), cells[0].counts), (1, crate::cell::Counts::default()));
        assert_eq!(home.outstanding(NOW.period()).net, Units::ZERO);
        // What is stored is what was counted.
        let rows = home.take_writes().into_iter().filter_map(|row| Some((row.key, row.value?)));
        let mut again = Home::load(rows, NOW).unwrap().unwrap();
        assert_eq!(again.flush(NOW).unwrap().messages.remove(0).cells, cells);
    }

    #[test]
    fn whoever_is_refused_all_the_time_writes_once_a_second() {
        let agent = AgentId::parse("bot").unwrap();
        let (mut home, mut holder) = (home(), Holder::new(HolderId::from_bits(7), 7));
        let mut contacts = 0;
        for step in 0..1_000 {
            let at = NOW.plus_ms(step * 10);
            holder.deny(at, (Kind::Verify, &agent), DenialReason::RateLimited);
            contacts += exchange(&mut holder, &mut home, at);
        }
        assert!((8..=12).contains(&contacts), "{contacts} contacts in ten seconds");
        for second in 10..14 {
            exchange(&mut holder, &mut home, NOW.plus_ms(second * 1_000));
        }
        let cells = home.flush(NOW).unwrap().messages.remove(0).cells;
        assert_eq!(cells[0].denials, Denials::of(DenialReason::RateLimited, 1_000));
    }

    #[test]
    fn names_that_are_only_refused_leave_places_for_those_that_are_served() {
        let (mut home, mut holder) = (home(), Holder::new(HolderId::from_bits(7), 7));
        for number in 0..700 {
            let agent = AgentId::parse(&format!("a{number}")).unwrap();
            holder.deny(NOW, (Kind::Verify, &agent), DenialReason::AgentLimit);
            holder.deny(NOW, (Kind::Verify, &agent), DenialReason::Unauthorized);
        }
        for second in 0..5 {
            exchange(&mut holder, &mut home, NOW.plus_ms(second * 1_000));
        }
        for number in 0..700 {
            let (day, agent) = (NOW.day(), AgentId::parse(&format!("b{number}")).unwrap());
            let key = CellKey { day, kind: Kind::Verify, agent };
            home.note_denials(NOW, &key, Denials::of(DenialReason::AgentLimit, 1));
        }
        let cells: Vec<_> =
            home.flush(NOW).unwrap().messages.into_iter().flat_map(|message| message.cells).collect();
        let named = cells.iter().filter(|cell| cell.key.agent.is_named()).count();
        assert!(named <= AGENTS_PER_DAY_MAX.div_euclid(2), "{named}");
        let refused: u64 = cells.iter().map(|cell| cell.denials.get(DenialReason::AgentLimit)).sum();
        assert_eq!(refused, 1_400, "nothing is lost");
        let served = AgentId::parse("served").unwrap();
        assert_eq!(home.fold(NOW.day(), &served), served);
        let nobody = cells.iter().find(|cell| cell.key.agent == AgentId::none()).unwrap();
        assert_eq!(nobody.denials.get(DenialReason::Unauthorized), 700);
    }

    /// An isolate that never heard the home may have a wrong clock.
    #[test]
    fn no_denial_is_of_a_day_to_come() {
        let mut home = home();
        let key =
            CellKey { day: NOW.plus_ms(9 * 86_400_000).day(), kind: Kind::Verify, agent: AgentId::none() };
        home.note_denials(NOW, &key, Denials::of(DenialReason::HomeUnavailable, 1));
        assert_eq!(home.flush(NOW).unwrap().messages[0].cells[0].key.day, NOW.day());
    }

    #[test]
    fn a_holder_reports_observations_once_with_its_batch() {
        let (mut home, agent) = (home(), AgentId::parse("bot").unwrap());
        let mut holder = Holder::new(HolderId::from_bits(7), 7);
        let ask = crate::decision::Ask {
            key: KeyId::parse("k001").unwrap(),
            kind: Kind::Verify,
            agent: agent.clone(),
            cost: 1,
            dry_run: false,
            held: false,
        };
        let note = |holder: &mut Holder, at, key: &str| {
            let key = KeyId::parse(key).unwrap();
            holder.observe(at, &key, (Kind::Verify, &agent), observed(7, 1))
        };
        assert_eq!(note(&mut holder, NOW, "k001"), Noted::AtHome, "it knows nothing yet");
        let Answer::Wait(waiter) = holder.decide(NOW, &ask) else { panic!("it does not wait") };
        exchange(&mut holder, &mut home, NOW);
        assert_eq!(holder.outcome(NOW, waiter), Answer::Allow);
        assert_eq!(note(&mut holder, NOW, "k001"), Noted::Here);
        assert_eq!(note(&mut holder, NOW, "k999"), Noted::Strange, "it may be new");
        assert!(!holder.is_drained(), "it owes a report");
        exchange(&mut holder, &mut home, NOW.plus_ms(1_000));
        exchange(&mut holder, &mut home, NOW.plus_ms(5_000));
        assert_eq!(
            flushed(&mut home),
            r#"[{"day":"2026-11-23","kind":"verify","agent":"bot","units":1,"tokens_in":7,"tokens_out":0,"anchors":1}]"#
        );
    }
}
