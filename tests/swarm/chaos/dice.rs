//! Chance from a seed, for plans that can be asked for again.

use std::ops::Range;
use std::time::Duration;

/// A generator of numbers (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % bound as u64).unwrap()
    }

    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.number() % (range.end - range.start))
    }

    /// Another generator, for somebody who runs at the same time.
    pub(crate) fn split(&mut self) -> Self {
        Dice(self.number())
    }

    pub(crate) fn shuffled<T, const N: usize>(&mut self, mut all: [T; N]) -> [T; N] {
        (1..N).rev().for_each(|place| all.swap(place, self.below(place + 1)));
        all
    }

    /// One of these numbers, but not that one.
    pub(crate) fn other(&mut self, count: usize, than: usize) -> usize {
        (than + 1 + self.below(count - 1)) % count
    }
}
