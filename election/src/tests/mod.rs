//! What the machine promises, tried: the bids' order, the codec, single rules, stories, random schedules and an exhaustive search.

mod explore;
mod golden;
mod random;
