//! Homes in groups. Those of one group have one hash tag, so that a cluster keeps their rows, and the list of which of
//! them are due, on one server.

use std::sync::LazyLock;

use crc::{CRC_16_XMODEM, Crc};
use shared::home::HomeName;

/// How many there are: a few for each server of a large cluster, and few enough that each is asked who is due.
const COUNT: u16 = 64;
/// How many slots a cluster has.
pub(crate) const SLOTS: u16 = 16_384;
/// How many of them lie between two groups.
const SLOTS_EACH: u16 = SLOTS.div_euclid(COUNT);

/// What a cluster counts its keys by.
const SUM: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// Of each group its tag: the least number whose slot lies in its part of all slots. A cluster that has divided its
/// slots evenly has divided the groups evenly.
static TAGS: LazyLock<Vec<(String, u16)>> = LazyLock::new(|| {
    let tag = |group| (0_u32..).map(|number| number.to_string()).find(|text| part(slot(text)) == group);
    let tags = (0..COUNT).filter_map(tag);
    tags.map(|text| (text.clone(), slot(&text))).collect()
});

/// A group of homes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group(u16);

impl Group {
    /// The group that a home is in.
    #[must_use]
    pub fn of(home: &HomeName) -> Self {
        Self(part(slot(&home.to_string())))
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..COUNT).map(Self)
    }

    /// The slot of all keys of its homes.
    #[must_use]
    pub fn slot(self) -> u16 {
        self.tag().1
    }

    /// A key of it by that name.
    #[must_use]
    pub fn key(self, name: &str) -> String {
        format!("meter:{{{}}}:{name}", self.tag().0)
    }

    /// A set of its homes, each with the time at which somebody should look after it.
    #[must_use]
    pub fn due(self) -> String {
        self.key("due")
    }

    fn tag(self) -> (&'static str, u16) {
        TAGS.get(usize::from(self.0)).map_or(("", 0), |(text, slot)| (text.as_str(), *slot))
    }
}

fn slot(text: &str) -> u16 {
    SUM.checksum(text.as_bytes()).rem_euclid(SLOTS)
}

fn part(slot: u16) -> u16 {
    slot.div_euclid(SLOTS_EACH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_counted_as_servers_count_it() {
        // As a server answers CLUSTER KEYSLOT.
        assert_eq!(["123456789", "foo", "{user1000}.following"].map(slot)[..2], [12_739, 12_182]);
    }

    #[test]
    fn each_group_lies_in_its_own_part_of_all_slots() {
        let slots: Vec<u16> = Group::all().map(Group::slot).collect();
        assert_eq!(slots.len(), usize::from(COUNT));
        let parts: Vec<u16> = slots.into_iter().map(part).collect();
        assert_eq!(parts, (0..COUNT).collect::<Vec<_>>());
        let group = Group::of(&HomeName::parse("demo/live").unwrap());
        let (_, tag) = group.due().split_once('{').map(|(_, rest)| ((), rest.to_owned())).unwrap();
        assert_eq!(slot(tag.split('}').next().unwrap()), group.slot());
    }
}
