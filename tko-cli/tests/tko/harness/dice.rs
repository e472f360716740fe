//! Random numbers that can be repeated: `TKO_TEST_SEED`, which a failing test prints.

use std::hash::{BuildHasher, RandomState};

/// The generator `SplitMix64`.
pub(crate) struct Dice(u64);

impl Dice {
    /// Takes the seed from the environment, or a random one.
    pub(crate) fn new() -> Self {
        let given = std::env::var("TKO_TEST_SEED").ok();
        let seed = match given {
            Some(text) => text.parse().expect("TKO_TEST_SEED is a number"),
            None => RandomState::new().hash_one(0),
        };
        eprintln!("TKO_TEST_SEED={seed}");
        Self(seed)
    }

    /// A number from 0 to `end`, without `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
