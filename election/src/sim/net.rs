//! The network between simulated nodes: delay, loss, doubles, stragglers and cut links, each drawn from the world's seed.
//!
//! It counts what it does to messages, so that a report can say what a run was put through.

use std::collections::BTreeSet;
use std::time::Duration;
use std::vec::Vec;

use crate::NodeId;
use crate::random::Random;

/// How late a straggler is at the most: longer than a lease, so that it arrives in another election.
const STRAGGLE: Duration = Duration::from_millis(1_500);

/// What happened to messages so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many were sent.
    pub sent: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost on a cut link.
    pub cut: u64,
    /// Arrived twice.
    pub doubled: u64,
    /// Sent on their way with a straggler's delay.
    pub late: u64,
}

/// How links behave, and which are cut.
#[derive(Clone, Debug)]
pub struct Net {
    /// The shortest delay.
    pub delay_min: Duration,
    /// The longest delay; messages on one link may overtake one another.
    pub delay_max: Duration,
    /// How many messages of a hundred are lost.
    pub loss: u8,
    /// How many of a hundred arrive twice.
    pub twice: u8,
    /// How many of a hundred straggle: their delay is drawn up to a second and a half.
    pub stragglers: u8,
    /// The cut links, each from one node to another.
    pub cuts: BTreeSet<(NodeId, NodeId)>,
    /// What it has done so far.
    pub counts: Counts,
}

impl Default for Net {
    fn default() -> Net {
        Net {
            delay_min: Duration::from_micros(500),
            delay_max: Duration::from_micros(1_500),
            loss: 0,
            twice: 0,
            stragglers: 0,
            cuts: BTreeSet::new(),
            counts: Counts::default(),
        }
    }
}

impl Net {
    /// When, from now on, a message on this link arrives: never, once or twice.
    pub(crate) fn arrivals(&mut self, from: NodeId, to: NodeId, random: &mut Random) -> Vec<Duration> {
        self.counts.sent += 1;
        if self.cuts.contains(&(from, to)) {
            self.counts.cut += 1;
            return Vec::new();
        }
        if random.between(1, 100) <= u64::from(self.loss) {
            self.counts.lost += 1;
            return Vec::new();
        }
        let copies = if random.between(1, 100) <= u64::from(self.twice) { 2 } else { 1 };
        self.counts.doubled += copies - 1;
        (0..copies).map(|_| self.delay(random)).collect()
    }

    fn delay(&mut self, random: &mut Random) -> Duration {
        if self.stragglers > 0 && random.between(1, 100) <= u64::from(self.stragglers) {
            self.counts.late += 1;
            return random.duration(self.delay_min, STRAGGLE);
        }
        random.duration(self.delay_min, self.delay_max)
    }

    /// Cuts both directions between two nodes.
    pub fn cut(&mut self, one: NodeId, other: NodeId) {
        self.cuts.insert((one, other));
        self.cuts.insert((other, one));
    }

    /// Every link works again, without loss and with short delays.
    pub fn heal(&mut self) {
        *self = Net { counts: self.counts, ..Net::default() };
    }
}
