//! Founding: identical nodes without a charter become one swarm, or join the one that exists.
//!
//! Each promises its founding set once, on disk. A swarm is founded when all of a set have promised exactly that set, so that two
//! disjoint sets would need twice as many nodes. Seeing the others see the same is only courtesy: it keeps a node that comes late from
//! making half a set promise something the other half can't.

use super::Role;
use crate::bid::{NodeId, Rank};
use crate::machine::Machine;
use crate::message::{Charter, Hello, Message, Pledge, Stage, SwarmId};
use crate::output::{FoundingRefusal, Ignored, Output};
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};

/// The most peers remembered while founding.
const MAX_SEEN: usize = 128;

/// A node not heard for this many greetings is not counted.
const GREETINGS: u32 = 5;

/// How far this node has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Founding {
    /// Whether this node only joins.
    pub(crate) join_only: bool,
    /// Its promise.
    pub(crate) pledge: Option<Pledge>,
    /// Whether that is on disk.
    pub(crate) stored: bool,
    /// The unfounded peers with the same number, as they greeted last.
    pub(crate) seen: BTreeMap<NodeId, (Hello, Instant)>,
    /// Who has promised the same: never taken back.
    pub(crate) agreed: BTreeSet<NodeId>,
    /// When the next greeting is due.
    pub(crate) hello_at: Instant,
    /// Whether founding or joining was ordered.
    pub(crate) done: bool,
    /// What was complained of already, per node.
    pub(crate) complained: BTreeMap<NodeId, FoundingRefusal>,
    /// The crowd that was complained of last.
    pub(crate) crowd: BTreeSet<NodeId>,
}

impl Founding {
    /// The unfounded nodes in sight, this one among them.
    fn in_sight(&self, me: NodeId, rank: Rank) -> Pledge {
        let mut nodes: BTreeMap<NodeId, Rank> = self.seen.iter().map(|(node, (hello, _))| (*node, hello.rank)).collect();
        nodes.insert(me, rank);
        Pledge(nodes)
    }
}

impl Machine {
    fn hello(&self) -> Hello {
        let (stage, nodes) = match &self.role {
            Role::Founding(founding) => match &founding.pledge {
                Some(pledge) if founding.stored => (Stage::Pledged, pledge.clone()),
                _ => (Stage::Looking, founding.in_sight(self.me, self.rank)),
            },
            _ => {
                let members = self.charter.as_ref().map(|charter| charter.members().clone());
                (Stage::Founded(self.swarm.unwrap_or(SwarmId::NONE)), members.unwrap_or_default())
            }
        };
        Hello { expect: self.config.expect, rank: self.rank, stage, nodes }
    }

    fn greet_all(&mut self) {
        let next = self.now + self.config.hello;
        if let Role::Founding(founding) = &mut self.role {
            founding.hello_at = next;
            if founding.join_only {
                return;
            }
        }
        self.broadcast(Message::Hello(self.hello()));
    }

    /// The first words after the start; a swarm of one founds here.
    pub(crate) fn start_founding(&mut self) {
        self.greet_all();
        self.advance_founding();
    }

    pub(crate) fn founding_timer(&mut self) {
        let Role::Founding(founding) = &mut self.role else { return };
        if founding.hello_at > self.now {
            return;
        }
        let patience = self.config.hello.saturating_mul(GREETINGS);
        founding.seen.retain(|_, (_, at)| *at + patience > self.now);
        self.greet_all();
        self.advance_founding();
    }

    /// A peer is in reach. One that has a swarm is joined, unless this node has pledged itself: then its swarm may be the very
    /// one that we are to found, and its greeting tells.
    pub(crate) fn on_seen(&mut self, node: NodeId, swarm: Option<SwarmId>) {
        let Role::Founding(founding) = &self.role else { return };
        if node == self.me || founding.done {
            return;
        }
        let (pledged, silent) = (founding.pledge.is_some(), founding.join_only);
        match swarm {
            Some(swarm) if !pledged => self.join(swarm, node),
            _ if silent => {}
            _ => {
                let hello = self.hello();
                self.send(node, Message::Hello(hello));
            }
        }
    }

    /// A peer is out of reach.
    pub(crate) fn on_lost(&mut self, node: NodeId) {
        if let Role::Founding(founding) = &mut self.role
            && founding.seen.remove(&node).is_some()
        {
            self.greet_all();
            self.advance_founding();
        }
    }

    fn join(&mut self, swarm: SwarmId, via: NodeId) {
        if let Role::Founding(founding) = &mut self.role {
            founding.done = true;
            self.push(Output::JoinExisting { swarm, via });
        }
    }

    /// A greeting came in. Who has a swarm says so; who has none learns from it.
    pub(crate) fn on_hello(&mut self, from: NodeId, hello: Hello) {
        let Role::Founding(founding) = &self.role else {
            if matches!(hello.stage, Stage::Founded(_)) {
                self.ignore(Some(from), Ignored::Irrelevant);
            } else {
                let answer = self.hello();
                self.send(from, Message::Hello(answer));
            }
            return;
        };
        if founding.done {
            self.ignore(Some(from), Ignored::Irrelevant);
            return;
        }
        match hello.stage {
            Stage::Founded(_) if !hello.nodes.0.is_empty() && founding.pledge.as_ref() == Some(&hello.nodes) => self.found(),
            // A founder that joined its own swarm by the word of one that came later would vote by no charter: enough of them,
            // and nobody ever leads.
            Stage::Founded(_) if founding.pledge.as_ref().is_some_and(|pledge| !pledge.0.contains_key(&from)) => {
                self.ignore(Some(from), Ignored::Hearsay);
            }
            Stage::Founded(swarm) => self.join(swarm, from),
            Stage::Looking | Stage::Pledged if founding.join_only => self.ignore(Some(from), Ignored::NotTakingPart),
            Stage::Looking | Stage::Pledged => self.on_unfounded(from, hello),
        }
    }

    fn on_unfounded(&mut self, from: NodeId, hello: Hello) {
        let ours = self.config.expect;
        if hello.expect != ours {
            let refusal = FoundingRefusal::ExpectDiffers { node: from, theirs: hello.expect, ours };
            self.complain(from, refusal);
            return;
        }
        let now = self.now;
        let Role::Founding(founding) = &mut self.role else { return };
        if !founding.seen.contains_key(&from) && founding.seen.len() >= MAX_SEEN {
            self.ignore(Some(from), Ignored::TooManyPeers);
            return;
        }
        let news = founding.seen.get(&from).is_none_or(|(known, _)| known.rank != hello.rank);
        let mut conflict = None;
        if let (Stage::Pledged, Some(pledge)) = (hello.stage, &founding.pledge) {
            if hello.nodes == *pledge {
                founding.agreed.insert(from);
            } else if pledge.0.contains_key(&from) {
                let (theirs, ours) = (hello.nodes.clone(), pledge.clone());
                conflict = Some(FoundingRefusal::PledgeDiffers { node: from, theirs, ours });
            }
        }
        founding.seen.insert(from, (hello, now));
        if let Some(refusal) = conflict {
            self.complain(from, refusal);
        }
        if news {
            self.greet_all();
        }
        self.advance_founding();
    }

    /// Says a thing once per node, until it changes.
    fn complain(&mut self, about: NodeId, refusal: FoundingRefusal) {
        let Role::Founding(founding) = &mut self.role else { return };
        let known = founding.complained.get(&about) == Some(&refusal);
        if !known && (founding.complained.contains_key(&about) || founding.complained.len() < MAX_SEEN) {
            founding.complained.insert(about, refusal.clone());
            self.push(Output::FoundingRefused(refusal));
        }
    }

    fn advance_founding(&mut self) {
        let (me, rank, expect) = (self.me, self.rank, self.config.expect);
        let Role::Founding(founding) = &mut self.role else { return };
        if founding.done || founding.join_only {
            return;
        }
        if let Some(pledge) = &founding.pledge {
            let others_agree = pledge.0.keys().all(|node| *node == me || founding.agreed.contains(node));
            if founding.stored && others_agree {
                self.found();
            }
            return;
        }
        let sight = founding.in_sight(me, rank);
        let crowd: BTreeSet<NodeId> = sight.0.keys().copied().collect();
        if crowd.len() > usize::from(expect) {
            if founding.crowd != crowd {
                founding.crowd = crowd.clone();
                self.push(Output::FoundingRefused(FoundingRefusal::TooMany { expect, nodes: crowd }));
            }
            return;
        }
        if crowd.len() == usize::from(expect)
            && let Some(pledge) = founding.common_set(&sight)
        {
            founding.pledge = Some(pledge.clone());
            self.push(Output::PersistPledge(pledge));
        }
    }

    /// The pledge is on disk: only now may the others hear of it.
    pub(crate) fn on_pledge_stored(&mut self) {
        let Role::Founding(founding) = &mut self.role else {
            self.ignore(None, Ignored::Irrelevant);
            return;
        };
        let Some(pledge) = founding.pledge.clone() else { return };
        founding.stored = true;
        let agreed = founding.seen.iter().filter(|(_, (hello, _))| hello.stage == Stage::Pledged && hello.nodes == pledge);
        founding.agreed = agreed.map(|(node, _)| *node).collect();
        self.greet_all();
        self.advance_founding();
    }

    fn found(&mut self) {
        let Role::Founding(founding) = &mut self.role else { return };
        if let Some(pledge) = founding.pledge.clone() {
            founding.done = true;
            self.push(Output::Found(Charter::new(pledge)));
        }
    }

    /// This node belongs to a swarm now; if it votes by the charter, it creates its journal.
    pub(crate) fn on_entered(&mut self, swarm: SwarmId, charter: Option<Charter>, voters: BTreeSet<NodeId>) {
        if !matches!(self.role, Role::Founding(_)) {
            self.ignore(None, Ignored::Irrelevant);
            return;
        }
        self.swarm = Some(swarm);
        self.charter = charter;
        self.voters = voters;
        self.role = Role::Observer;
        if self.voters.contains(&self.me) {
            self.become_waiting_member();
        }
        self.schedule_initialize();
        self.broadcast(Message::Hello(self.hello()));
        self.initialize_timer();
    }

    /// Every voter of the charter creates its own journal with the same first entry, and gives no vote of Raft's before it has: a
    /// voter that granted one while its journal was empty could never create it, and would wait for ever for a winner that died.
    pub(crate) fn schedule_initialize(&mut self) {
        let votes = self.charter.as_ref().is_some_and(|charter| charter.voters().contains(&self.me));
        self.initialize_at = (votes && !self.has_terms()).then_some(self.now);
    }

    pub(crate) fn initialize_timer(&mut self) {
        if self.initialize_at.is_none_or(|at| at > self.now) {
            return;
        }
        self.initialize_at = Some(self.now + self.config.initialize);
        let voters = self.charter.as_ref().map(|charter| charter.voters().clone()).unwrap_or_default();
        self.push(Output::Initialize(voters));
    }
}

impl Founding {
    /// The set to promise, if all in sight see the same: what somebody has promised already, else what we see.
    fn common_set(&self, sight: &Pledge) -> Option<Pledge> {
        let mut promised = self.seen.values().filter(|(hello, _)| hello.stage == Stage::Pledged);
        let set = promised.next().map_or_else(|| sight.clone(), |(hello, _)| hello.nodes.clone());
        let same_nodes = set.0.keys().eq(sight.0.keys());
        let all_agree = self.seen.values().all(|(hello, _)| match hello.stage {
            Stage::Pledged => hello.nodes == set,
            _ => hello.nodes.0.keys().eq(set.0.keys()),
        });
        (same_nodes && all_agree).then_some(set)
    }
}
