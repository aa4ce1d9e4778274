//! What the machine promises, tried: the bids' order, the codec, single rules, stories, random schedules and an exhaustive search.

mod bid;
mod codec;
mod config;
mod earned;
mod explore;
mod failover;
mod founding;
mod golden;
mod random;
mod rules;
mod voters;
