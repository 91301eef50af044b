//! What an isolate needs that outlives the requests it decides, in a process of its own: nobody there ends its work, and
//! it is told when to give everything back.

use shared::decision::Numbers;
use shared::home::HomeName;
use shared::time::Timestamp;

use super::{Isolate, NAP_MS, Place};

impl Isolate {
    /// One with empty hands, under random bits that no other has.
    pub(crate) fn at(id: u128, place: Place) -> Self {
        Self { id, place, ..Self::default() }
    }

    /// Forgets a request that waited; what it was given meanwhile comes back.
    pub(crate) fn abandon(&mut self, home: &HomeName, token: u32) {
        let Some(seat) = self.seats.get_mut(home) else { return };
        if let Some(waiting) = seat.waiting.remove(&token) {
            seat.abandon(&waiting);
        }
    }

    /// Some units of that token were served; says how many, which is never more than it still holds.
    pub(crate) fn served_some(&mut self, home: &HomeName, token: u32, units: u64, now: Timestamp) -> u64 {
        let Some(seat) = self.seats.get_mut(home) else { return 0 };
        let Some(mut held) = seat.held.remove(&token) else { return 0 };
        let Some(post) = seat.post_of(held.holder) else { return 0 };
        let served = post.holder.served_some(now, &mut held.units, units);
        if !held.units.is_empty() {
            seat.held.insert(token, held);
        }
        served
    }

    /// Nobody will be served what is left of that token, which comes back.
    pub(crate) fn give_back(&mut self, home: &HomeName, token: u32) {
        let Some(seat) = self.seats.get_mut(home) else { return };
        let Some(held) = seat.held.remove(&token) else { return };
        if let Some(post) = seat.post_of(held.holder) {
            post.holder.give_back_unasked(held.units);
        }
    }

    /// Nobody knows what became of what is left of that token: it is neither billed nor served to anybody else. Its home
    /// has it among what this holder has out, until that is silent.
    pub(crate) fn forfeit(&mut self, home: &HomeName, token: u32) {
        if let Some(seat) = self.seats.get_mut(home) {
            seat.held.remove(&token);
        }
    }

    /// In how many milliseconds to look after a home's holders again; `None` while there is nothing to do.
    pub(crate) fn rest_ms(&mut self, home: &HomeName, now: Timestamp) -> Option<u64> {
        let seat = self.seats.get_mut(home)?;
        if seat.is_drained() {
            return None;
        }
        // What is under way wakes nobody by itself.
        let wake = seat.wake_at(now).unwrap_or_else(|| now.plus_ms(NAP_MS.1));
        Some(wake.ms_since(now).clamp(NAP_MS.0, NAP_MS.1))
    }

    /// Closes all holders, and names the homes to which something is still owed. Nobody is left to say what became of
    /// what is held: it is forfeited.
    pub(crate) fn close(&mut self) -> Vec<HomeName> {
        for seat in self.seats.values_mut() {
            seat.held.clear();
            seat.post.holder.close();
        }
        let owing = self.seats.iter().filter(|(_, seat)| !seat.owes_nothing());
        owing.map(|(home, _)| home.clone()).collect()
    }

    /// A project's numbers, as far as they are known here.
    pub(crate) fn numbers(&self, home: &HomeName, now: Timestamp) -> Option<Numbers> {
        self.seats.get(home)?.post.holder.numbers(now)
    }
}
