//! What an issuer knows durably of its holders: batches, outstanding units, lanes with their replies.
//!
//! A lane's nonce decides whether a contact is new. Rows are kept until the last period that the
//! holder had a part in is final, because a copy of an old contact may still come.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use super::call::CallId;
use super::open_calls::Seen;
use super::rows::{CorruptRow, Writes, read};
use crate::lease::LANES_MAX;
use crate::lease::message::{Contact, HolderId, Lease};
use crate::lease::progress::Progress;
use crate::planted::planted;
use crate::time::{Period, Timestamp};

/// One holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HolderRow {
    /// The last batch that was added.
    pub(crate) seq: u64,
    /// Units issued to it and neither returned nor settled, per period.
    #[serde(default)]
    pub(crate) out: BTreeMap<Period, u64>,
    /// The last period it was heard in.
    pub(crate) last: Period,
    /// The calls of it that were decided or taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    calls: Option<Seen>,
}

impl HolderRow {
    fn new(last: Period) -> Self {
        Self { seq: 0, out: BTreeMap::new(), last, calls: None }
    }
}

/// One lane of a holder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaneRow {
    pub(crate) nonce: u64,
    /// What was answered; `None` while the contact is parked.
    pub(crate) reply: Option<Box<Lease>>,
    /// When the same contact was heard once more, long after it was answered: whoever sends it is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heard: Option<Timestamp>,
}

impl LaneRow {
    /// When a contact of this lane was heard last, as far as the row tells; `None` while it is parked.
    fn last_heard(&self) -> Option<Timestamp> {
        self.reply.as_ref().map(|lease| self.heard.unwrap_or(lease.written))
    }
}

/// How much later than its row says a holder may have been heard, in milliseconds: a restart must not take it for silent.
const HEARD_STEP_MS: u64 = 5_000;

/// All holders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Desk {
    pub(crate) holders: BTreeMap<HolderId, HolderRow>,
    pub(crate) lanes: BTreeMap<(HolderId, u8), LaneRow>,
}

/// Whether a contact is new.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// It is older than what was answered: nobody waits for it.
    Stale,
    /// It was taken before; this is what was answered, if anything was yet.
    Again(Option<Box<Lease>>),
    /// Contacts or batches before it are unknown here: rows were lost.
    Gap,
    /// It is new.
    New,
}

impl Desk {
    /// Takes a row of a holder or a lane; there must be no others by then.
    pub(crate) fn load_row(&mut self, key: &str, value: &str) -> Result<(), CorruptRow> {
        let corrupt = |why: &str| CorruptRow { key: key.to_owned(), why: why.to_owned() };
        let (what, of) = key.split_once('/').unwrap_or((key, ""));
        let (id, lane) = of.split_once('/').map_or((of, None), |(id, lane)| (id, Some(lane)));
        let id = HolderId::parse(id);
        match (what, lane) {
            ("holder", None) => {
                let id = id.ok_or_else(|| corrupt("its holder is no id"))?;
                self.holders.insert(id, read(key, value)?);
            }
            ("lane", Some(lane)) => {
                let id = id.ok_or_else(|| corrupt("its holder is no id"))?;
                let lane = lane.parse().map_err(|_| corrupt("its lane is no number"))?;
                self.lanes.insert((id, lane), read(key, value)?);
            }
            _ => return Err(corrupt("no row has such a name")),
        }
        Ok(())
    }

    /// Whether this contact is new.
    pub(crate) fn receipt(&self, m: &Contact) -> Receipt {
        let lane = self.lanes.get(&(m.holder, m.lane));
        let last = lane.map_or(0, |lane| lane.nonce);
        if planted!(NonceIgnored) && m.nonce > 0 {
            return Receipt::New;
        }
        if planted!(StaleNonceAnswered) && m.nonce < last {
            return Receipt::New;
        }
        if m.nonce < last || m.nonce == 0 {
            Receipt::Stale
        } else if m.nonce == last {
            Receipt::Again(lane.and_then(|lane| lane.reply.clone()))
        } else if m.nonce > last.saturating_add(1) || self.skips_a_batch(m) {
            Receipt::Gap
        } else {
            Receipt::New
        }
    }

    /// Whether the batch before this contact's is unknown. A batch follows the acknowledgement of the one before, so
    /// that the rows which acknowledged it were lost. Its units may be among what is lost: they are not counted.
    fn skips_a_batch(&self, m: &Contact) -> bool {
        m.batch.seq > self.acked(m.holder).saturating_add(1)
    }

    /// Takes the nonce of a new contact, and says whether its batch is new too.
    pub(crate) fn open(&mut self, m: &Contact, period: Period) -> bool {
        let lane = self.lanes.entry((m.holder, m.lane)).or_default();
        *lane = LaneRow { nonce: m.nonce, ..LaneRow::default() };
        let row = self.row(m.holder, period);
        if planted!(BatchWithoutNumber) && m.batch.seq > 0 {
            row.seq = row.seq.max(m.batch.seq);
            return true;
        }
        let new = m.batch.seq == row.seq.saturating_add(1);
        if new {
            row.seq = m.batch.seq;
        }
        new
    }

    /// The last batch of a holder that was added.
    pub(crate) fn acked(&self, holder: HolderId) -> u64 {
        self.holders.get(&holder).map_or(0, |row| row.seq)
    }

    /// How far a holder is, as its rows tell.
    pub(crate) fn progress(&self, holder: HolderId) -> Progress {
        let nonce = |lane| self.lanes.get(&(holder, lane)).map_or(0, |row| row.nonce);
        let nonces = (0..LANES_MAX).map(nonce).collect();
        Progress { nonces, seq: self.acked(holder) }
    }

    /// Who was heard within so many milliseconds before `now`, by its issuer's clock, and when, as far as rows tell: when it
    /// was answered last, and `now` where it waits for an answer.
    pub(crate) fn heard(&self, now: Timestamp, within_ms: u64) -> BTreeMap<HolderId, Timestamp> {
        let mut heard = BTreeMap::new();
        for ((holder, _), lane) in self.lanes.iter() {
            let at = lane.last_heard().unwrap_or(now);
            if now.ms_since(at) <= within_ms {
                let last = heard.entry(*holder).or_insert(at);
                *last = at.max(*last);
            }
        }
        heard
    }

    /// Units out with a holder in `period`.
    pub(crate) fn out(&self, holder: HolderId, period: Period) -> u64 {
        self.holders.get(&holder).and_then(|row| row.out.get(&period)).copied().unwrap_or(0)
    }

    /// Units of the current period that a holder has served, and that are still out with it here. What was served when
    /// it wrote may have been settled since: a contact may arrive long after, or wait here for its answer.
    pub(crate) fn unreported(&self, m: &Contact) -> u64 {
        let is_settled = m.batches.is_some_and(|batches| self.acked(m.holder) > batches);
        if is_settled { 0 } else { m.unreported }
    }

    /// Notes units that went out to a holder.
    pub(crate) fn issued(&mut self, holder: HolderId, period: Period, units: u64) {
        if let Some(row) = self.holders.get_mut(&holder).filter(|_| units > 0) {
            let out = row.out.entry(period).or_insert(0);
            *out = out.saturating_add(units);
        }
    }

    /// The same for a holder that may not have been heard of yet.
    pub(crate) fn issued_anew(&mut self, holder: HolderId, period: Period, units: u64) {
        self.row(holder, period);
        self.issued(holder, period, units);
    }

    /// The row of a holder that is heard in `period`, perhaps for the first time.
    fn row(&mut self, holder: HolderId, period: Period) -> &mut HolderRow {
        let row = self.holders.entry(holder).or_insert_with(|| HolderRow::new(period));
        row.last = row.last.max(period);
        row
    }

    /// Notes the number of a call by a holder, and says whether it is new.
    pub(super) fn note_call(&mut self, id: CallId, period: Period) -> bool {
        self.row(id.holder, period).calls.get_or_insert_default().note(id.number)
    }

    /// Writes a holder's row.
    pub(crate) fn write_holder(&self, holder: HolderId, writes: &mut Writes) {
        writes.put(format!("holder/{holder}"), self.holders.get(&holder));
    }

    /// Notes units that came back or were settled, and says how many of them had been out.
    pub(crate) fn came_back(&mut self, holder: HolderId, period: Period, units: u64) -> u64 {
        let Some(out) = self.holders.get_mut(&holder).and_then(|row| row.out.get_mut(&period)) else {
            return 0;
        };
        let taken = units.min(*out);
        *out = out.saturating_sub(taken);
        if *out == 0
            && let Some(row) = self.holders.get_mut(&holder)
        {
            row.out.remove(&period);
        }
        taken
    }

    /// The same contact was heard again, and its answer may be lost again: its row tells so now and then.
    pub(crate) fn heard_again(&mut self, now: Timestamp, m: &Contact, writes: &mut Writes) {
        let Some(lane) = self.lanes.get_mut(&(m.holder, m.lane)) else { return };
        if lane.last_heard().is_some_and(|at| now.ms_since(at) >= HEARD_STEP_MS) {
            lane.heard = Some(now);
            writes.put(lane_key(m.holder, m.lane), Some(&*lane));
        }
    }

    /// Stores what was answered.
    pub(crate) fn close(&mut self, m: &Contact, lease: &Lease) {
        if let Some(lane) = self.lanes.get_mut(&(m.holder, m.lane)).filter(|lane| lane.nonce == m.nonce) {
            let reply = lane.reply.insert(Box::new(lease.clone()));
            reply.terms = None;
        }
    }

    /// Writes the rows that a contact changed.
    pub(crate) fn write(&self, m: &Contact, writes: &mut Writes) {
        writes.put(holder_key(m.holder), self.holders.get(&m.holder));
        writes.put(lane_key(m.holder, m.lane), self.lanes.get(&(m.holder, m.lane)));
    }

    /// Forgets holders that were last heard in a period before `keep_from`.
    pub(crate) fn forget(&mut self, keep_from: Period, writes: &mut Writes) {
        self.holders.retain(|id, row| {
            let keep = row.last >= keep_from;
            if !keep {
                writes.put::<HolderRow>(holder_key(*id), None);
            }
            keep
        });
        let holders = &self.holders;
        self.lanes.retain(|(id, lane), _| {
            let keep = holders.contains_key(id);
            if !keep {
                writes.put::<LaneRow>(lane_key(*id, *lane), None);
            }
            keep
        });
    }

    /// Forgets everybody: a new life of the storage has begun.
    pub(crate) fn clear(&mut self, writes: &mut Writes) {
        for id in core::mem::take(&mut self.holders).keys() {
            writes.put::<HolderRow>(holder_key(*id), None);
        }
        for (id, lane) in core::mem::take(&mut self.lanes).keys() {
            writes.put::<LaneRow>(lane_key(*id, *lane), None);
        }
    }
}

fn holder_key(id: HolderId) -> String {
    format!("holder/{id}")
}

fn lane_key(id: HolderId, lane: u8) -> String {
    format!("lane/{id}/{lane}")
}
