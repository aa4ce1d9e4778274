//! Whom to dial next, and when: configured names, addresses they resolve to, addresses learned from peers.
//!
//! Pure: time and randomness are inputs. An address of a linked node rests; when the link is lost it is tried again soon,
//! then ever more rarely. Addresses that turn out to be this node's own are left alone for a while.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::task::NodeId;

/// The first pause after a failure; it doubles with each further one.
const FIRST: Duration = Duration::from_millis(200);

/// The longest pause for an address that was configured or was linked in living memory.
const LONGEST: Duration = Duration::from_secs(10);

/// The longest pause for an address that has failed [`HOPELESS`] times.
const RARELY: Duration = Duration::from_secs(60);

/// See [`RARELY`].
const HOPELESS: u32 = 20;

/// After how many failures' worth a peer is tried again that broke the rules.
const PUNISHED: u32 = 6;

/// How long an address counts as this node's own; another node may get it one day.
const OWN: Duration = Duration::from_secs(60);

/// Names and addresses that are kept; more are not tried.
const MAX_NAMES: usize = 256;
const MAX_ADDRESSES: usize = 1024;

/// What to do now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Names to resolve.
    pub(super) resolve: Vec<String>,
    /// Addresses to dial.
    pub(super) dial: Vec<SocketAddr>,
}

#[derive(Debug)]
pub(super) struct Dialer {
    names: BTreeMap<String, Pause>,
    routes: BTreeMap<SocketAddr, Route>,
    random: u64,
}

#[derive(Debug)]
struct Pause {
    /// `None` while it is under way, or not wanted.
    due: Option<Instant>,
    failures: u32,
}

#[derive(Debug)]
struct Route {
    pause: Pause,
    node: Option<NodeId>,
}

impl Dialer {
    /// Nothing to dial yet; the seed spreads the pauses of many nodes.
    pub(super) fn new(seed: u64) -> Dialer {
        Dialer { names: BTreeMap::new(), routes: BTreeMap::new(), random: seed | 1 }
    }

    /// Adds `host:port`, tried for as long as the node lives.
    pub(super) fn add_name(&mut self, name: String, now: Instant) {
        if self.names.len() < MAX_NAMES {
            self.names.entry(name).or_insert(Pause { due: Some(now), failures: 0 });
        }
    }

    /// Adds an address that somebody named, perhaps with the node to be found there.
    pub(super) fn learn(&mut self, address: SocketAddr, node: Option<NodeId>, now: Instant) {
        if address.port() == 0 || address.ip().is_unspecified() {
            return;
        }
        if let Some(route) = self.routes.get_mut(&address) {
            // Hearsay does not outweigh what was found there.
            route.node = route.node.or(node);
        } else if self.routes.len() < MAX_ADDRESSES {
            self.routes.insert(address, Route { pause: Pause { due: Some(now), failures: 0 }, node });
        }
    }

    /// A name was resolved, or could not be (no addresses). It is looked up again from time to time: others may join it.
    pub(super) fn resolved(&mut self, name: &str, addresses: &[SocketAddr], now: Instant) {
        for address in addresses {
            self.learn(*address, None, now);
        }
        let random = self.next_random();
        if let Some(pause) = self.names.get_mut(name) {
            pause.again(now, random);
        }
    }

    /// A connection to this node was made there, at least as far as its identity is known.
    pub(super) fn identified(&mut self, address: SocketAddr, node: NodeId, now: Instant) {
        self.learn(address, Some(node), now);
        if let Some(route) = self.routes.get_mut(&address) {
            route.node = Some(node);
            route.pause.due = None;
        }
    }

    /// Dialling failed, or the connection ended before it was of use.
    pub(super) fn failed(&mut self, address: SocketAddr, now: Instant) {
        let random = self.next_random();
        if let Some(route) = self.routes.get_mut(&address) {
            route.pause.again(now, random);
        }
    }

    /// This node itself answered there.
    pub(super) fn own(&mut self, address: SocketAddr, now: Instant) {
        if let Some(route) = self.routes.get_mut(&address) {
            route.pause.due = Some(now + OWN);
        }
    }

    /// A node is linked: its addresses rest.
    pub(super) fn linked(&mut self, node: NodeId) {
        for route in self.routes.values_mut().filter(|route| route.node == Some(node)) {
            route.pause = Pause { due: None, failures: 0 };
        }
    }

    /// The link to a node was lost: its addresses are tried soon, or, after it broke the rules, not so soon.
    pub(super) fn lost(&mut self, node: NodeId, misbehaved: bool, now: Instant) {
        let random = self.next_random();
        for route in self.routes.values_mut().filter(|route| route.node == Some(node)) {
            route.pause.failures = if misbehaved { PUNISHED } else { 0 };
            route.pause.again(now, random);
        }
    }

    /// What is due now; it counts as under way until the outcome is told.
    pub(super) fn due(&mut self, now: Instant, linked: impl Fn(NodeId) -> bool) -> Due {
        let mut due = Due::default();
        for (name, pause) in &mut self.names {
            if pause.take_due(now) {
                due.resolve.push(name.clone());
            }
        }
        for (address, route) in &mut self.routes {
            // An address whose node is linked in the meantime rests until it is lost.
            if route.pause.take_due(now) && !route.node.is_some_and(&linked) {
                due.dial.push(*address);
            }
        }
        due
    }

    /// When something will be due next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let names = self.names.values().filter_map(|pause| pause.due);
        names.chain(self.routes.values().filter_map(|route| route.pause.due)).min()
    }

    /// Xorshift: spread, not secrecy.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

impl Pause {
    fn take_due(&mut self, now: Instant) -> bool {
        let due = self.due.is_some_and(|due| due <= now);
        if due {
            self.due = None;
        }
        due
    }

    /// Pauses for the time its failures ask for, give or take a quarter.
    fn again(&mut self, now: Instant, random: u64) {
        let longest = if self.failures >= HOPELESS { RARELY } else { LONGEST };
        let pause = FIRST.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        let percent = 75 + u32::try_from(random % 51).unwrap_or(0);
        self.due = Some(now + pause * percent / 100);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 4000))
    }

    fn nobody(_: NodeId) -> bool {
        false
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_stay_within_a_quarter() {
        let (mut dialer, mut now) = (Dialer::new(7), Instant::now());
        dialer.learn(address(1), None, now);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            assert_eq!(dialer.due(now, nobody).dial, [address(1)]);
            assert_eq!(dialer.due(now, nobody), Due::default(), "under way");
            dialer.failed(address(1), now);
            let due = dialer.deadline().unwrap();
            pauses.push(due - now);
            now = due;
        }
        assert!(pauses[0] >= FIRST * 3 / 4 && pauses[0] <= FIRST * 5 / 4, "{pauses:?}");
        assert!(pauses[1] >= FIRST * 3 / 2, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LONGEST * 5 / 4), "{pauses:?}");
        assert!(*pauses.last().unwrap() >= LONGEST * 3 / 4, "{pauses:?}");
    }

    #[test]
    fn a_linked_nodes_addresses_rest_and_a_lost_ones_are_tried_within_half_a_second() {
        let (mut dialer, now) = (Dialer::new(7), Instant::now());
        let node = NodeId(5);
        dialer.learn(address(1), Some(node), now);
        dialer.learn(address(2), Some(node), now);
        dialer.linked(node);
        assert_eq!(dialer.deadline(), None);
        dialer.lost(node, false, now);
        assert!(dialer.deadline().unwrap() <= now + Duration::from_millis(500));
        assert_eq!(dialer.due(now + Duration::from_secs(1), |_| true), Due::default(), "linked again in the meantime");
        dialer.lost(node, true, now);
        assert!(dialer.deadline().unwrap() >= now + Duration::from_secs(5), "it broke the rules");
    }

    #[test]
    fn names_are_resolved_again_and_their_addresses_dialled() {
        let (mut dialer, now) = (Dialer::new(7), Instant::now());
        dialer.add_name("node:4000".to_owned(), now);
        assert_eq!(dialer.due(now, nobody).resolve, ["node:4000"]);
        dialer.resolved("node:4000", &[address(1), address(2)], now);
        assert_eq!(dialer.due(now, nobody).dial, [address(1), address(2)]);
        dialer.own(address(1), now);
        let later = now + Duration::from_secs(1);
        assert_eq!(dialer.due(later, nobody), Due { resolve: vec!["node:4000".to_owned()], dial: vec![] });
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut dialer, now) = (Dialer::new(7), Instant::now());
        for port in 1..=u16::MAX {
            dialer.learn(SocketAddr::from(([10, 0, 0, 1], port)), None, now);
        }
        assert_eq!(dialer.routes.len(), MAX_ADDRESSES);
    }
}
