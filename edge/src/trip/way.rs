//! Where a trip goes on when the home is not where it was sought.

use redis_rows::{Group, Place, Stop, Wrong};
use shared::time::Timestamp;

use super::{MOVE, PATIENCE_MS, Trip, text};

/// Before somebody is asked once more who has the home, in milliseconds.
const MOVE_PAUSE_MS: u32 = 100;
/// How often who has the home is sought anew.
const RETURNS_MAX: u32 = 3;

impl Trip {
    /// Goes to where the way leads now, after a pause.
    pub(super) fn depart(&mut self, now: Timestamp, pause_ms: u32) -> u32 {
        let stop = self.server.route().next(Group::of(&self.home), now);
        self.depart_to(stop, pause_ms)
    }

    fn depart_to(&mut self, stop: Stop, pause_ms: u32) -> u32 {
        (self.stop, self.pause_ms) = (stop, pause_ms);
        self.begin();
        MOVE
    }

    /// Looks for the home elsewhere, because it is not here.
    pub(super) fn elsewhere(&mut self, why: String, now: Timestamp) -> Result<u32, String> {
        self.server.route().failed(&self.stop);
        if let Stop::Guide(_) = self.stop {
            return self.another_guide(why, now);
        }
        if self.server.route().guides() == 0 {
            return Err(why);
        }
        self.returns(why, now)?;
        Ok(self.depart(now, MOVE_PAUSE_MS))
    }

    pub(super) fn another_guide(&mut self, why: String, now: Timestamp) -> Result<u32, String> {
        self.vain.0 = self.vain.0.saturating_add(1);
        let is_last = self.vain.0 >= self.server.route().guides();
        if is_last { Err(why) } else { Ok(self.depart(now, 0)) }
    }

    /// Goes to the server of a cluster that has the home now, and remembers it for others.
    pub(super) fn moved(&mut self, place: &Place, now: Timestamp) -> Result<u32, String> {
        let why = format!("the Redis: {}", Wrong::Moved(place.clone()));
        self.server.route().moved(Group::of(&self.home), place, &self.stop).map_err(text)?;
        let pause_ms = self.returns(why, now)?;
        Ok(self.depart(now, pause_ms))
    }

    /// Goes to the server of a cluster that is given the home, for this once.
    pub(super) fn asked(&mut self, place: &Place, now: Timestamp) -> Result<u32, String> {
        let pause_ms = self.returns(format!("the Redis: {}", Wrong::Asked(place.clone())), now)?;
        Ok(self.depart_to(self.stop.importing(place), pause_ms))
    }

    /// Counts one more that had not the home; says for how long to pause: nobody hurries who goes in a circle.
    fn returns(&mut self, why: String, now: Timestamp) -> Result<u32, String> {
        if now.ms_since(self.began) >= PATIENCE_MS || self.vain.1 >= RETURNS_MAX {
            return Err(why);
        }
        self.vain = (0, self.vain.1.saturating_add(1));
        Ok(if self.vain.1 > 1 { MOVE_PAUSE_MS } else { 0 })
    }
}
