//! The simulated driver: carries a machine's outputs out on the model of Raft, the simulated disk and the network, and tells the machine
//! what came of it, in the order in which an engine's metrics would.

use std::collections::BTreeSet;
use std::time::Duration;
use std::vec::Vec;

use super::{Due, RAFT_HEARTBEAT, Wire, World, local, swarm_id, world_time};
use crate::sim::raft::{Entry, Mail};
use crate::sim::trace::What;
use crate::{Input, Machine, NodeId, Output, Packet, RoleView, Term};

/// How often the Vote request is repeated within the ratify window: one lost reply, or a follower's lease with 20 ms to go, must not
/// cost a whole round.
const VOTE_RETRY: Duration = Duration::from_millis(50);

impl World {
    pub(super) fn carry_out(&mut self, id: NodeId, outputs: Vec<Output>) {
        for output in outputs {
            match &output {
                Output::Send { to, packet } => self.post(id, *to, Wire::Packet(id, packet.clone())),
                Output::Broadcast(packet) => {
                    for to in self.ids() {
                        if to != id {
                            self.post(id, to, Wire::Packet(id, packet.clone()));
                        }
                    }
                }
                other => self.log(What::Said(id, other.clone())),
            }
            self.obey(id, output);
        }
        self.report_raft(id);
        self.set_timer(id);
    }

    /// What the driver does with the orders to Raft and to the disk.
    pub(super) fn obey(&mut self, id: NodeId, output: Output) {
        self.entry += 1;
        let entry = self.entry;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        match output {
            Output::Ratify { .. } => {
                node.asked = true;
                let mail = node.raft.elect();
                let term = node.raft.term;
                self.post_raft(id, mail);
                self.schedule(VOTE_RETRY, Due::AskAgain(id, term));
            }
            Output::Reclaim { term } | Output::Open { term } => match node.raft.propose(term, entry) {
                Some(mail) => {
                    node.opening = Some((term, node.raft.log.len()));
                    self.post_raft(id, mail);
                }
                None => self.input(id, Input::RatifyFailed),
            },
            Output::Silence(on) => {
                node.raft.silent = on;
                let mail = node.raft.append();
                self.post_raft(id, mail);
            }
            Output::HoldVotes(on) => node.raft.hold_votes = on,
            Output::MayAct { term } => {
                self.leaderships += 1;
                let fault = self.watch.leads(id, term);
                self.fault(fault);
            }
            Output::PersistPledge(pledge) => {
                node.pledge = Some(pledge);
                self.input(id, Input::PledgeStored);
            }
            Output::Found(charter) => {
                let swarm = swarm_id(&charter);
                node.swarm = Some(swarm);
                node.charter = Some(charter.clone());
                let voters = charter.voters().clone();
                self.input(id, Input::Entered { swarm, charter: Some(charter), voters });
            }
            Output::Initialize(voters) => {
                let mail = node.raft.initialize(&voters, entry);
                self.post_raft(id, mail);
            }
            Output::JoinExisting { swarm, .. } => {
                node.swarm = Some(swarm);
                self.input(id, Input::Entered { swarm, charter: None, voters: BTreeSet::new() });
            }
            _ => {}
        }
    }

    /// Tells the machine what changed in Raft, in the order in which an engine's metrics would.
    pub(super) fn report_raft(&mut self, id: NodeId) {
        loop {
            let Some(node) = self.nodes.get_mut(&id).filter(|node| node.machine.is_some()) else { return };
            let now = (node.raft.term, node.raft.leads.then_some(node.raft.term), node.raft.position());
            let before = std::mem::replace(&mut node.reported, now);
            let asked = node.asked && now.1.is_some() && before.1 != now.1;
            let opened = node.opening.filter(|(term, len)| *term == node.raft.term && node.raft.committed >= *len);
            if asked {
                node.asked = false;
            }
            if opened.is_some() {
                node.opening = None;
            }
            let (vote_term, vote) = (node.raft.term, node.raft.voted_for);
            let fault = self.watch.vote(id, vote_term, vote);
            self.fault(fault);
            if before == now && opened.is_none() {
                return;
            }
            if before.0 != now.0 {
                self.input(id, Input::RaftTerm(now.0));
            }
            if before.1 != now.1 {
                self.raft_leads(id, now.1, asked);
            }
            if before.2 != now.2 {
                self.input(id, Input::Journal(now.2));
            }
            if let Some((term, _)) = opened {
                self.commits(id);
                self.input(id, Input::Opened(term));
            }
        }
    }

    pub(super) fn raft_leads(&mut self, id: NodeId, leads: Option<Term>, asked: bool) {
        if let Some(term) = leads {
            self.log(What::RaftLeads(id, term));
            let fault = self.watch.leads(id, term);
            self.fault(fault);
        }
        match leads {
            Some(term) if asked => self.input(id, Input::Ratified(term)),
            _ => self.input(id, Input::RaftLeads(leads)),
        }
    }

    pub(super) fn commits(&mut self, id: NodeId) {
        let fault = self.nodes.get(&id).and_then(|node| {
            let log = std::rc::Rc::clone(&node.raft.log);
            self.watch.commits(id, node.raft.term, &log, node.raft.committed)
        });
        self.fault(fault);
    }

    pub(super) fn set_timer(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(&id) else { return };
        if let Some(at) = node.machine.as_ref().and_then(Machine::deadline) {
            let at = world_time(at, node.setup.rate);
            self.schedule(at.since(self.now), Due::Wake(id));
        }
    }

    pub(super) fn post(&mut self, from: NodeId, to: NodeId, wire: Wire) {
        let arrivals = self.net.arrivals(from, to, &mut self.random);
        if let Wire::Packet(_, packet) = &wire {
            let message = packet.message.clone();
            self.log(What::Mail { from, to, message, arrived: !arrivals.is_empty() });
        }
        for after in arrivals {
            self.schedule(after, Due::Deliver(to, wire.clone()));
        }
    }

    pub(super) fn post_raft(&mut self, from: NodeId, mail: Mail) {
        for (to, message) in mail {
            let receivers: Vec<NodeId> = match to {
                Some(to) => std::vec![to],
                None => self.nodes[&from].raft.voters.iter().copied().filter(|node| *node != from).collect(),
            };
            for to in receivers {
                self.post(from, to, Wire::Raft(from, message.clone()));
            }
        }
    }

    pub(super) fn deliver(&mut self, to: NodeId, wire: Wire) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&to).filter(|node| node.machine.is_some()) else { return };
        if node.paused {
            node.backlog.push(wire);
            return;
        }
        match wire {
            Wire::Packet(from, packet) => {
                // Over the real codec, so that every run tests it.
                let packet = Packet::decode(&packet.encode()).expect("what was encoded decodes");
                self.input(to, Input::Packet { from, packet });
            }
            Wire::Raft(from, message) => {
                let mail = node.raft.receive(from, message.clone(), local(now, node.setup.rate));
                self.log(What::Raft { from, to, message });
                self.post_raft(to, mail);
                self.acknowledge(to);
                self.report_raft(to);
                self.set_timer(to);
            }
        }
    }

    /// Clients hear of their writes while the gate is open, and only then.
    pub(super) fn acknowledge(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(&id) else { return };
        let Some(term) = node.machine.as_ref().and_then(|machine| machine.may_act(local(self.now, node.setup.rate))) else {
            return;
        };
        let committed = node.raft.committed;
        let done: Vec<_> = self.writes.range((id, term, 0)..=(id, term, committed)).map(|(key, _)| *key).collect();
        if done.is_empty() {
            return;
        }
        for key in done {
            if let Some(entry) = self.writes.remove(&key) {
                self.watch.acknowledged.insert(key.2 - 1, entry);
            }
        }
        self.commits(id);
    }

    pub(super) fn write(&mut self) {
        for (id, term) in self.acting() {
            self.entry += 1;
            let entry = self.entry;
            if let Some(node) = self.nodes.get_mut(&id)
                && let Some(mail) = node.raft.propose(term, entry)
            {
                self.writes.insert((id, term, node.raft.log.len()), Entry { term, id: entry });
                self.post_raft(id, mail);
                self.acknowledge(id);
                self.report_raft(id);
            }
        }
        if let Some(every) = self.setup.writes {
            self.schedule(every, Due::Write);
        }
    }

    /// Raft's own repeats: only of what is not yet everywhere, so that they do not keep a follower's lease alive by themselves.
    pub(super) fn heartbeat(&mut self) {
        for id in self.ids() {
            let Some(node) = self.nodes.get(&id).filter(|node| node.machine.is_some() && !node.paused) else { continue };
            if node.raft.lags() {
                let mail = node.raft.append();
                self.post_raft(id, mail);
            }
        }
        self.schedule(RAFT_HEARTBEAT, Due::Heartbeat);
    }

    pub(super) fn ask_again(&mut self, id: NodeId, term: Term) {
        let Some(node) = self.nodes.get(&id).filter(|node| !node.paused) else { return };
        let role = node.machine.as_ref().map(|machine| machine.view().role);
        let waits = matches!(role, Some(RoleView::Candidate { ratifying: true, .. }));
        if waits && node.asked && node.raft.term == term {
            let mail = node.raft.ask();
            self.post_raft(id, mail);
            self.schedule(VOTE_RETRY, Due::AskAgain(id, term));
        }
    }

    pub(super) fn wake(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(&id).filter(|node| !node.paused) else { return };
        let due = node.machine.as_ref().and_then(Machine::deadline);
        if due.is_some_and(|at| at <= local(self.now, node.setup.rate)) {
            self.input(id, Input::Timer);
        }
    }
}
