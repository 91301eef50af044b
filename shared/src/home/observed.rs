//! What is observed beside units, added to its cells. It never decides anything.

use super::{Home, NoPolicy};
use crate::cell::{CellKey, Observed};
use crate::decision::Denial;
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

    /// Adds to a cell what was observed.
    pub(super) fn see(&mut self, now: Timestamp, key: &CellKey, observed: Observed) {
        self.settle_cell(now, key, Units::ZERO);
        let key = CellKey { agent: self.fold(key.day, &key.agent), ..key.clone() };
        if let Some(cell) = self.cells.get_mut(&key) {
            cell.counts = cell.counts.seen(observed);
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
    use crate::lease::{Holder, Noted};
    use crate::policy::tests::community;

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
        holder.decide(NOW, &ask);
        let mut exchange = |holder: &mut Holder, at| {
            for contact in holder.contacts(at) {
                let contact = crate::json::read(&crate::json::write(&contact)).unwrap();
                // Twice, as a network may deliver it.
                home.contact(at, 7, &contact).unwrap();
                let reply = home.contact(at, 7, &contact).unwrap().unwrap();
                holder.receive(at, reply);
            }
        };
        exchange(&mut holder, NOW);
        assert_eq!(note(&mut holder, NOW, "k001"), Noted::Here);
        assert_eq!(note(&mut holder, NOW, "k999"), Noted::Strange, "it may be new");
        assert!(!holder.is_drained(), "it owes a report");
        exchange(&mut holder, NOW.plus_ms(1_000));
        exchange(&mut holder, NOW.plus_ms(5_000));
        assert_eq!(
            flushed(&mut home),
            r#"[{"day":"2026-11-23","kind":"verify","agent":"bot","units":1,"tokens_in":7,"tokens_out":0,"anchors":1}]"#
        );
    }
}
