//! A map of bounded size that forgets what was not used for the longest time.
//!
//! Written and read by `table` and `limiter`; every operation takes logarithmic time, whatever a flood
//! does.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

#[derive(Debug)]
pub(super) struct Recent<K, V> {
    capacity: usize,
    slots: HashMap<K, Slot<V>>,
    /// The keys by when they were last used.
    order: BTreeMap<u64, K>,
    turns: u64,
}

#[derive(Debug)]
struct Slot<V> {
    turn: u64,
    value: V,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            slots: HashMap::new(),
            order: BTreeMap::new(),
            turns: 0,
        }
    }

    /// Returns a value for use, which makes it the most recent one.
    pub(super) fn touch<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let slot = self.slots.get_mut(key)?;
        if let Some(key) = self.order.remove(&slot.turn) {
            slot.turn = self.turns;
            self.order.insert(self.turns, key);
            self.turns += 1;
        }
        Some(&mut slot.value)
    }

    pub(super) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.slots.get(key).map(|slot| &slot.value)
    }

    /// Puts a value in as the most recent one. Where there is no room, the least recent one goes;
    /// returns whether one did.
    pub(super) fn insert(&mut self, key: K, value: V) -> bool {
        self.remove(&key);
        let is_full = self.slots.len() >= self.capacity;
        if is_full && let Some((_, oldest)) = self.order.pop_first() {
            self.slots.remove(&oldest);
        }
        let turn = self.turns;
        self.turns += 1;
        self.order.insert(turn, key.clone());
        self.slots.insert(key, Slot { turn, value });
        is_full
    }

    pub(super) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let slot = self.slots.remove(key)?;
        self.order.remove(&slot.turn);
        Some(slot.value)
    }

    /// Returns all of it, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().map(|(key, slot)| (key, &slot.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(recent: &Recent<u32, ()>) -> Vec<u32> {
        recent.order.values().copied().collect()
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first() {
        let mut recent = Recent::new(3);
        for key in [1, 2, 3] {
            assert!(!recent.insert(key, ()));
        }
        assert!(recent.touch(&1).is_some());
        assert!(recent.insert(4, ()));
        assert_eq!(keys(&recent), [3, 1, 4]);
        assert!(recent.get(&2).is_none());
        assert!(recent.touch(&2).is_none());
    }

    #[test]
    fn what_is_put_in_again_takes_no_second_place() {
        let mut recent = Recent::new(2);
        recent.insert(1, ());
        recent.insert(2, ());
        assert!(!recent.insert(1, ()));
        assert_eq!(keys(&recent), [2, 1]);
        assert!(recent.remove(&2).is_some());
        assert_eq!((keys(&recent), recent.slots.len()), (vec![1], 1));
    }
}
