//! The network between simulated nodes: delay, loss, doubles and cut links, each drawn from the world's seed.

use std::collections::BTreeSet;
use std::time::Duration;
use std::vec::Vec;

use crate::NodeId;
use crate::random::Random;

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
    /// The cut links, each from one node to another.
    pub cuts: BTreeSet<(NodeId, NodeId)>,
}

impl Default for Net {
    fn default() -> Net {
        Net {
            delay_min: Duration::from_micros(500),
            delay_max: Duration::from_micros(1_500),
            loss: 0,
            twice: 0,
            cuts: BTreeSet::new(),
        }
    }
}

impl Net {
    /// When, from now on, a message on this link arrives: never, once or twice.
    pub(crate) fn arrivals(&self, from: NodeId, to: NodeId, random: &mut Random) -> Vec<Duration> {
        if self.cuts.contains(&(from, to)) || random.between(1, 100) <= u64::from(self.loss) {
            return Vec::new();
        }
        let copies = if random.between(1, 100) <= u64::from(self.twice) { 2 } else { 1 };
        (0..copies).map(|_| random.duration(self.delay_min, self.delay_max)).collect()
    }

    /// Cuts both directions between two nodes.
    pub fn cut(&mut self, one: NodeId, other: NodeId) {
        self.cuts.insert((one, other));
        self.cuts.insert((other, one));
    }

    /// Every link works again, without loss and with short delays.
    pub fn heal(&mut self) {
        *self = Net::default();
    }
}
