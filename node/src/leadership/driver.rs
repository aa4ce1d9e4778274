//! The election machine's loop: its timers, its messages, Raft's answers; and what it wants done, done in order.
//!
//! It runs on a thread and a runtime of its own (`Driver::run` is handed to it by `node`), so that neither work nor a disk
//! delays a beat. Everything slow is started here and answered later as an input.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_election::{self as election, Input, Instant, Machine, Output, Outputs, Packet};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use super::keep::{Belongs, Keep, Members};
use super::{Gate, NarrationKind, Narrator, Standing, words};
use crate::clock::SharedClock;
use crate::journal::{Fact, Ledger, Member, ProposeError, RaftStatus, SharedJournal};
use crate::mesh::{Incoming, PeerEvent, Service, SharedMesh};
use crate::task::{MemberRole, NodeId, SwarmId, Term};

/// Between two tries to write the opening entry.
const RETRY: Duration = Duration::from_millis(50);

/// Gives a node's name for people.
pub(crate) type Naming = Arc<dyn Fn(NodeId) -> String + Send + Sync>;
/// Stops the whole node.
pub(crate) type Failing = Arc<dyn Fn(&dyn std::error::Error) + Send + Sync>;

/// What the driver is given.
pub(crate) struct Driver {
    pub(crate) node: NodeId,
    pub(crate) clock: SharedClock,
    pub(crate) mesh: SharedMesh,
    pub(crate) journal: SharedJournal,
    pub(crate) ledger: Ledger,
    pub(crate) keep: Keep,
    pub(crate) gate: Gate,
    pub(crate) narrator: Narrator,
    pub(crate) standing: watch::Sender<Standing>,
    /// Names a node for people.
    pub(crate) names: Naming,
    /// Stops the whole node: a promise could not be kept on disk.
    pub(crate) fail: Failing,
}

/// Where the driver's inputs come from.
pub(crate) struct Sources {
    pub(crate) election: mpsc::Receiver<Incoming>,
    pub(crate) founding: mpsc::Receiver<Incoming>,
    pub(crate) peers: mpsc::Receiver<PeerEvent>,
}

struct Running {
    driver: Driver,
    machine: Machine,
    answers: FuturesUnordered<BoxFuture<'static, Option<Input>>>,
    /// The journal's state as it is now; looked at before each step for how far the log has come.
    status: watch::Receiver<RaftStatus>,
    raft: RaftStatus,
    last_refusal: Option<String>,
    /// The peers in reach, so that a second greeting is not told again.
    seen: BTreeSet<NodeId>,
}

impl Driver {
    /// Drives the machine until the node stops (its sources close).
    pub(crate) async fn run(self, machine: Machine, first: Outputs, mut sources: Sources) {
        let mut turns = self.journal.turns();
        let raft = turns.borrow_and_update().clone();
        let status = self.journal.status();
        let mut running = Running {
            driver: self,
            machine,
            status,
            answers: FuturesUnordered::new(),
            raft,
            last_refusal: None,
            seen: BTreeSet::new(),
        };
        running.carry_out(first);
        running.publish();
        loop {
            let wait = running.until_deadline();
            tokio::select! {
                biased;
                packet = sources.election.recv() => match packet {
                    Some(incoming) => running.take_packet(&incoming, false),
                    None => return,
                },
                packet = sources.founding.recv() => match packet {
                    Some(incoming) => running.take_packet(&incoming, true),
                    None => return,
                },
                Some(answer) = running.answers.next(), if !running.answers.is_empty() => {
                    if let Some(input) = answer {
                        running.step(input);
                    }
                }
                changed = turns.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = turns.borrow_and_update().clone();
                    running.take_raft(now);
                }
                event = sources.peers.recv() => match event {
                    Some(event) => running.take_peer(event),
                    None => return,
                },
                () = tokio::time::sleep(wait) => running.step(Input::Timer),
            }
            running.publish();
        }
    }
}

impl Running {
    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.driver.clock.now().as_nanos()).unwrap_or(u64::MAX))
    }

    fn until_deadline(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(3_600);
        self.machine.deadline().map_or(LONGEST, |deadline| deadline.since(self.now()))
    }

    fn step(&mut self, input: Input) {
        self.take_position();
        let outputs = self.machine.step(self.now(), input);
        self.carry_out(outputs);
    }

    /// How far the log has come changes with every entry and matters only when something else happens: it is looked up then.
    fn take_position(&mut self) {
        let last = self.status.borrow().last;
        if last != self.raft.last {
            self.raft.last = last;
            let position = election::Position { term: election::Term(last.term.0), index: last.index };
            let outputs = self.machine.step(self.now(), Input::Journal(position));
            self.carry_out(outputs);
        }
    }

    fn take_packet(&mut self, incoming: &Incoming, founding: bool) {
        match Packet::decode(&incoming.bytes) {
            Ok(packet) if packet.is_founding() == founding => {
                self.step(Input::Packet { from: election::NodeId(incoming.from.0), packet });
            }
            Ok(_) => tracing::warn!(peer = %incoming.from, "an election message came on the wrong lane and was dropped"),
            Err(error) => tracing::warn!(peer = %incoming.from, %error, "an election message could not be read and was dropped"),
        }
    }

    fn take_raft(&mut self, now: RaftStatus) {
        let last = self.raft.last;
        let before = std::mem::replace(&mut self.raft, RaftStatus { last, ..now.clone() });
        if now.term != before.term {
            self.step(Input::RaftTerm(election::Term(now.term.0)));
        }
        if now.voters != before.voters && !now.voters.is_empty() {
            self.step(Input::Voters(now.voters.iter().map(|node| election::NodeId(node.0)).collect()));
        }
        let leads = |status: &RaftStatus| status.is_leader.then_some(election::Term(status.term.0));
        if leads(&now) != leads(&before) {
            self.step(Input::RaftLeads(leads(&now)));
        }
    }

    fn take_peer(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Up(peer) => {
                if self.seen.insert(peer.node) {
                    self.driver.narrator.tell(NarrationKind::PeerUp, format!("sees {} at {}", peer.name, peer.address));
                }
                let swarm = peer.swarm.map(|swarm| election::SwarmId(swarm.0));
                self.step(Input::Seen { node: election::NodeId(peer.node.0), swarm });
            }
            PeerEvent::Down { node, gone } => {
                self.seen.remove(&node);
                let how = if gone { "its process is gone" } else { "the connection ended" };
                self.driver.narrator.tell(NarrationKind::PeerDown, format!("lost sight of {}: {how}", (self.driver.names)(node)));
                self.step(Input::Lost(election::NodeId(node.0)));
                if gone {
                    self.step(Input::PeerGone(election::NodeId(node.0)));
                }
            }
            PeerEvent::Refused { address, why } => {
                self.driver.narrator.tell(NarrationKind::Warning, format!("turned away {address}: {why}"));
            }
        }
    }

    fn carry_out(&mut self, outputs: Outputs) {
        for output in outputs {
            self.order(output);
        }
    }

    fn order(&mut self, output: Output) {
        match output {
            Output::Send { to, packet } => self.send(NodeId(to.0), &packet),
            Output::Broadcast(packet) => self.broadcast(&packet),
            Output::Ratify { .. } => {
                let elected = self.driver.journal.elect();
                self.answer(async move {
                    Some(match elected.await {
                        Ok(term) => Input::Ratified(election::Term(term.0)),
                        Err(error) => {
                            tracing::debug!(%error, "not ratified");
                            Input::RatifyFailed
                        }
                    })
                });
            }
            Output::Reclaim { term } => self.reclaim(Term(term.0)),
            Output::Open { term } => self.open(Term(term.0)),
            Output::Silence(on) => self.driver.journal.silence(on),
            Output::HoldVotes(on) => self.driver.journal.hold_votes(on),
            Output::MayAct { term } => self.may_act(Term(term.0)),
            Output::SteppedDown { term, why } => {
                self.driver.gate.set(None);
                self.change(|standing| standing.acting = None);
                let text = format!("stops leading term {}: {}", term.0, words::of_step_down(&why));
                self.driver.narrator.tell(NarrationKind::Leaderless, text);
            }
            Output::Challenge { candidate, .. } => self.challenged(NodeId(candidate.0)),
            Output::Following { leader, term } => self.following(NodeId(leader.0), Term(term.0)),
            Output::Leaderless { last, term } => {
                self.change(|standing| standing.leader = None);
                let text =
                    format!("hears nothing more of {}, the leader of term {}", (self.driver.names)(NodeId(last.0)), term.0);
                self.driver.narrator.tell(NarrationKind::Leaderless, text);
            }
            Output::PersistPledge(pledge) => self.persist_pledge(members_of(&pledge)),
            Output::Found(charter) => self.found(charter),
            Output::Initialize(voters) => self.initialize(&voters),
            Output::JoinExisting { swarm, via } => self.join(SwarmId(swarm.0), NodeId(via.0)),
            Output::FoundingRefused(refusal) => {
                let text = words::of_refusal(&refusal, &*self.driver.names);
                if self.last_refusal.as_ref() != Some(&text) {
                    self.driver.narrator.tell(NarrationKind::Warning, text.clone());
                    self.last_refusal = Some(text);
                }
            }
            Output::Ignored { from, why } => tracing::trace!(?from, ?why, "ignored"),
            Output::Note(note) => {
                let text = words::of_note(&note, &*self.driver.names);
                self.driver.narrator.tell(NarrationKind::Election, text);
            }
        }
    }

    fn answer(&mut self, work: impl Future<Output = Option<Input>> + Send + 'static) {
        self.answers.push(Box::pin(work));
    }

    fn send(&self, to: NodeId, packet: &Packet) {
        let service = if packet.is_founding() { Service::Founding } else { Service::Election };
        if let Err(error) = self.driver.mesh.send(to, service, Bytes::from(packet.encode())) {
            tracing::trace!(%error, "an election message was not sent");
        }
    }

    /// While founding there is no swarm to broadcast to: every peer in reach is told.
    fn broadcast(&self, packet: &Packet) {
        if packet.is_founding() {
            self.driver.mesh.peers().iter().for_each(|peer| self.send(peer.node, packet));
        } else {
            self.driver.mesh.broadcast(Service::Election, Bytes::from(packet.encode()));
        }
    }

    fn reclaim(&mut self, term: Term) {
        let written = self.driver.journal.propose(term, vec![Fact::Reclaimed { leader: self.driver.node }]);
        self.answer(async move {
            Some(match written.await {
                Ok(_) => Input::Opened(election::Term(term.0)),
                Err(error) => {
                    tracing::debug!(%error, "the old term was not taken up again");
                    Input::RatifyFailed
                }
            })
        });
    }

    /// Writes the opening entry until it stands or the term is lost. The first leader of a swarm also writes who founded it.
    fn open(&mut self, term: Term) {
        let driver = &self.driver;
        let mut facts = vec![Fact::Opened { leader: driver.node }];
        if driver.ledger.swarm().ok().flatten().is_none()
            && let Ok(Some(Belongs { swarm, founders: Some(founders) })) = driver.keep.belongs()
        {
            let members = founders.iter().map(|(node, rank)| Member {
                node: *node,
                name: (driver.names)(*node),
                rank: *rank,
                role: MemberRole::Voter,
            });
            facts.push(Fact::Founded { swarm, members: members.collect() });
        }
        let journal = driver.journal.clone();
        self.answer(async move {
            loop {
                match journal.propose(term, facts.clone()).await {
                    Ok(_) => return Some(Input::Opened(election::Term(term.0))),
                    Err(ProposeError::NotLeader(_) | ProposeError::Stopped(_)) => return None,
                    Err(error) => {
                        tracing::debug!(%error, "the opening entry is not written yet");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
        });
    }

    fn may_act(&mut self, term: Term) {
        let (node, since) = (self.driver.node, self.driver.clock.now());
        let view = self.machine.view();
        let votes = view.votes.values().filter(|to| to.0 == node.0).count();
        let why = match votes {
            0 if view.voters.len() == 1 => "the only voter".to_owned(),
            0 => format!("rank {}, the highest bid among the founders", view.rank.0),
            votes => format!("rank {}, {} of {} votes", view.rank.0, votes + 1, view.voters.len()),
        };
        self.change(|standing| {
            standing.why = why;
            standing.acting = Some(term);
            standing.leader = Some((node, term));
            standing.since = since;
        });
        self.driver.narrator.tell(NarrationKind::Leading, format!("leads term {term}"));
    }

    fn following(&mut self, leader: NodeId, term: Term) {
        let since = self.driver.clock.now();
        let known = self.driver.standing.borrow().leader;
        if known == Some((leader, term)) {
            return;
        }
        self.change(|standing| {
            standing.leader = Some((leader, term));
            standing.since = since;
        });
        if leader != self.driver.node {
            let text = format!("follows {} in term {term}", (self.driver.names)(leader));
            self.driver.narrator.tell(NarrationKind::Following, text);
        }
    }

    fn challenged(&mut self, candidate: NodeId) {
        let text = format!("is challenged by {}", (self.driver.names)(candidate));
        self.driver.narrator.tell(NarrationKind::Election, text);
        if let Some(term) = self.driver.gate.acting() {
            let written = self.driver.journal.propose(term, vec![Fact::Challenged { candidate }]);
            self.answer(async move {
                let _ = written.await;
                None
            });
        }
    }

    fn persist_pledge(&mut self, pledge: Members) {
        let names: Vec<String> = pledge.iter().map(|(node, _)| (self.driver.names)(*node)).collect();
        self.driver.narrator.tell(NarrationKind::Founding, format!("pledges to found a swarm of {}", names.join(", ")));
        let (keep, fail) = (self.driver.keep.clone(), self.driver.fail.clone());
        self.answer(async move {
            match keep.write_pledge(&pledge) {
                Ok(()) => Some(Input::PledgeStored),
                Err(error) => {
                    fail(&error);
                    None
                }
            }
        });
    }

    fn found(&mut self, charter: election::Charter) {
        let swarm = swarm_id(&charter);
        let belongs = Belongs { swarm, founders: Some(members_of(charter.members())) };
        let count = belongs.founders.as_ref().map_or(0, Vec::len);
        self.driver.narrator.tell(NarrationKind::Founding, format!("founds swarm {swarm} of {count}"));
        let voters = charter.voters().clone();
        self.enter(&belongs, Input::Entered { swarm: election::SwarmId(swarm.0), charter: Some(charter), voters });
    }

    fn join(&mut self, swarm: SwarmId, via: NodeId) {
        self.driver.narrator.tell(NarrationKind::Founding, format!("joins swarm {swarm}, met at {}", (self.driver.names)(via)));
        let voters = self.raft.voters.iter().map(|node| election::NodeId(node.0)).collect();
        let input = Input::Entered { swarm: election::SwarmId(swarm.0), charter: None, voters };
        self.enter(&Belongs { swarm, founders: None }, input);
    }

    /// On disk first: a node that is known as a member must know it too after a restart.
    fn enter(&mut self, belongs: &Belongs, input: Input) {
        if let Err(error) = self.driver.keep.write_belongs(belongs) {
            (self.driver.fail)(&error);
            return;
        }
        self.driver.mesh.enter(belongs.swarm);
        let swarm = belongs.swarm;
        self.change(|standing| standing.swarm = Some(swarm));
        self.answer(async move { Some(input) });
    }

    fn initialize(&mut self, voters: &BTreeSet<election::NodeId>) {
        let created = self.driver.journal.initialize(voters.iter().map(|node| NodeId(node.0)).collect());
        self.answer(async move {
            if let Err(error) = created.await {
                // Another founder may have been first; if not, the next in order tries.
                tracing::debug!(%error, "the journal was not created by this node");
            }
            None
        });
    }

    fn change(&self, act: impl FnOnce(&mut Standing)) {
        self.driver.standing.send_modify(act);
    }

    /// Tells the gate and the other rooms how things stand after a step.
    fn publish(&mut self) {
        let term = self.machine.may_act(self.now());
        let mandate = term.zip(self.machine.acting_until());
        self.driver.gate.set(mandate.map(|(term, until)| (Term(term.0), Duration::from_nanos(until.as_nanos()))));
        let (role, term) = (self.machine.role_name(), Term(self.machine.raft_term().0));
        self.driver.standing.send_if_modified(|standing| {
            let changed = (standing.role, standing.term) != (role, term);
            (standing.role, standing.term) = (role, term);
            changed
        });
    }
}

fn members_of(pledge: &election::Pledge) -> Members {
    pledge.0.iter().map(|(node, rank)| (NodeId(node.0), rank.0)).collect()
}

/// A swarm's id: the first half of its charter's hash.
pub(crate) fn swarm_id(charter: &election::Charter) -> SwarmId {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(charter.canonical_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    SwarmId(id)
}
