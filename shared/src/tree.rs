//! A map for many entries: short lists in the order of their keys, in a list.
//!
//! It is to `BTreeMap` what [`Map`](crate::map::Map) is: the same answers from a tenth of the code, which every new
//! isolate loads once for each pair of types. A key is found by two binary searches, and what moves when one is added
//! is a short list, or the list of lists. It must never hold an empty list.

use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::json::{Error, Read, Reader, Write, Writer};
use crate::map::Map;

/// A list of so many is cut in two: about a page of memory.
const LIST_MAX: usize = 64;

/// Keys and values in the order of the keys.
#[derive(Clone)]
pub struct Tree<K, V> {
    lists: Vec<Vec<(K, V)>>,
}

/// Where a key is, or belongs: its list, and its place in that.
type Place = (usize, Result<usize, usize>);

impl<K, V> Default for Tree<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

// How the entries are dealt to lists tells only in which order they came.
impl<K: PartialEq, V: PartialEq> PartialEq for Tree<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for Tree<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Tree<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K, V> Tree<K, V> {
    /// A tree of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { lists: Vec::new() }
    }

    /// How many keys it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lists.iter().fold(0, |sum, list| sum.wrapping_add(list.len()))
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// All entries.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { lists: self.lists.iter(), list: [].iter() }
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Does `act` with each entry, whose value it may change.
    pub fn each(&mut self, mut act: impl FnMut(&K, &mut V)) {
        for list in &mut self.lists {
            for (key, value) in list {
                act(key, value);
            }
        }
    }

    /// Keeps the entries that `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        for list in &mut self.lists {
            list.retain_mut(|(key, value)| keep(key, value));
        }
        self.lists.retain(|list| !list.is_empty());
    }
}

impl<K: Ord, V> Tree<K, V> {
    fn place(&self, key: &K) -> Place {
        let begins_later = |list: &Vec<(K, V)>| list.first().is_some_and(|(first, _)| first > key);
        let behind = self.lists.partition_point(|list| !begins_later(list));
        let at = behind.saturating_sub(1);
        let list = self.lists.get(at).map_or(&[][..], Vec::as_slice);
        (at, list.binary_search_by(|(other, _)| other.cmp(key)))
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let (list, place) = self.place(key);
        self.lists.get(list)?.get(place.ok()?).map(|(_, value)| value)
    }

    /// The value of `key`, which may be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (list, place) = self.place(key);
        self.lists.get_mut(list)?.get_mut(place.ok()?).map(|(_, value)| value)
    }

    /// Whether it has `key`.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.place(key).1.is_ok()
    }

    /// Sets the value of `key` and returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.get_mut(&key) {
            Some(old) => Some(core::mem::replace(old, value)),
            None => {
                self.or_insert_with(key, || value);
                None
            }
        }
    }

    /// Takes the entry of `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (at, place) = self.place(key);
        let list = self.lists.get_mut(at)?;
        let (_, value) = list.remove(place.ok()?);
        if list.is_empty() {
            self.lists.remove(at);
        }
        Some(value)
    }

    /// The value of `key`, after `make` has made it if there was none.
    #[expect(clippy::indexing_slicing, reason = "the place was found, or has just been filled")]
    pub fn or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let (at, place) = self.place(&key);
        let place = match place {
            Ok(place) => (at, place),
            Err(place) => self.add((at, place), (key, make())),
        };
        &mut self.lists[place.0][place.1].1
    }

    /// The value of `key`, the usual one if there was none.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.or_insert_with(key, V::default)
    }

    /// Adds an entry where it belongs, and says where that is after a list was cut.
    fn add(&mut self, (at, place): (usize, usize), entry: (K, V)) -> (usize, usize) {
        let Some(list) = self.lists.get_mut(at) else {
            self.lists.push(vec![entry]);
            return (at, 0);
        };
        list.insert(place, entry);
        if list.len() <= LIST_MAX {
            return (at, place);
        }
        // What comes in order, as rows do, leaves full lists behind.
        let half = if place == LIST_MAX { LIST_MAX } else { LIST_MAX.div_euclid(2) };
        let rest = list.split_off(half);
        self.lists.insert(at.wrapping_add(1), rest);
        if place < half { (at, place) } else { (at.wrapping_add(1), place.wrapping_sub(half)) }
    }
}

/// What a tree holds, in the order of the keys.
#[derive(Debug, Clone)]
pub struct Iter<'a, K, V> {
    lists: core::slice::Iter<'a, Vec<(K, V)>>,
    list: core::slice::Iter<'a, (K, V)>,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.list.next() {
                return Some((key, value));
            }
            self.list = self.lists.next()?.iter();
        }
    }
}

impl<'a, K, V> IntoIterator for &'a Tree<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K: Serialize, V: Serialize> Serialize for Tree<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for Tree<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut tree = Self::new();
        for (key, value) in Map::deserialize(deserializer)? {
            tree.insert(key, value);
        }
        Ok(tree)
    }
}

impl<K: Read + Ord, V: Read> Read for Tree<K, V> {
    fn blank() -> Self {
        Self::new()
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.lists.clear();
        reader.entries(|key, value| drop(self.insert(key, value)))
    }
}

impl<K: Write, V: Write> Write for Tree<K, V> {
    fn write(&self, writer: &mut Writer) {
        writer.entries(self);
    }

    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::Stream;

    #[test]
    fn it_does_what_a_tree_of_the_standard_library_does() {
        let (mut ours, mut theirs) = (Tree::new(), BTreeMap::new());
        let mut random = Stream::new(5);
        for step in 0..20_000_u64 {
            // It grows to hundreds of keys, shrinks to none, and grows in order.
            let key = if step % 7_000 < 2_000 { step } else { random.between(0, 600) };
            match random.between(0, if step % 7_000 > 5_000 { 1 } else { 3 }) {
                0 | 1 if step % 7_000 > 4_000 => assert_eq!(ours.remove(&key), theirs.remove(&key)),
                0 => assert_eq!(ours.insert(key, step), theirs.insert(key, step)),
                1 => {
                    *ours.or_default(key) += 1;
                    *theirs.entry(key).or_default() += 1;
                }
                2 => assert_eq!(ours.or_insert_with(key, || step), theirs.entry(key).or_insert(step)),
                _ if step % 100 == 0 => {
                    ours.retain(|other, _| other % 7 != key % 7);
                    theirs.retain(|other, _| other % 7 != key % 7);
                    ours.each(|_, value| *value /= 2);
                    theirs.values_mut().for_each(|value| *value /= 2);
                }
                _ => {}
            }
            assert_eq!(
                (ours.get(&key), ours.contains_key(&key)),
                (theirs.get(&key), theirs.contains_key(&key))
            );
            assert_eq!((ours.len(), ours.is_empty()), (theirs.len(), theirs.is_empty()));
            if step % 50 == 0 {
                assert!(ours.iter().eq(theirs.iter()));
                assert!(ours.lists.iter().all(|list| !list.is_empty() && list.len() <= LIST_MAX));
            }
        }
        let text = serde_json::to_string(&ours).unwrap();
        assert_eq!(crate::json::write(&ours), text);
        assert_eq!(crate::json::read::<Tree<u64, u64>>(&text).unwrap(), ours);
    }
}
