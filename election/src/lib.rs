#![no_std]
//! Who should lead: a ranked-candidate countdown election as a pure state machine.
//!
//! # The idea
//!
//! When the leader falls silent, a node that misses it *stands*: it broadcasts its bid (how far its journal reaches, then its rank)
//! every 50 ms. Whoever hears a better bid than its own votes for it, in public; whoever has a better one stands itself. A candidate
//! that a majority keeps voting for counts 3, 2, 1, 0, aloud. At zero it asks Raft, and only Raft's persisted vote makes it the leader.
//!
//! So there are two layers with one task each. The countdown is volatile and decides who *should* lead; a person can follow it. Raft
//! decides who *does*, and its term is the fencing token. Nothing that must be safe rests on the countdown: without it the swarm
//! would choose worse leaders, more often, but never two at once.
//!
//! # The rules
//!
//! | rule | what it says | where |
//! | --- | --- | --- |
//! | E1 | After a start neither vote nor stand for one lease | `machine.rs` |
//! | E2 | The lease ends, a random wait, then stand | `role/member.rs` |
//! | E3 | Who hears a leader refuses; the higher bid gets the vote | `machine.rs`, `role/*` |
//! | E4 | Equals draw lots | `role/candidate.rs` |
//! | E5 | Each step needs the fresh votes of a majority of Raft's voters | `role/candidate.rs` |
//! | E6, E7 | Zero asks Raft; a no ends the candidacy | `role/candidate.rs` |
//! | E8 | Acting needs Raft, an opening entry, and a majority's recent acknowledgement | `role/leader.rs` |
//! | E9 | Without that: stop, and be silent | `role/leader.rs` |
//! | E10 | A Raft leader that stepped down wins its old term back by countdown | `role/candidate.rs` |
//! | E11 | Votes are public; a Voter left alone decides again soon | `role/voter.rs` |
//! | E12 | Who hears nobody withdraws | `role/candidate.rs` |
//! | E13 | The term is in everything that is handed out | not here: dispatch and journal check it |
//!
//! Founding, where identical nodes become a swarm, is in `role/founding.rs`.
//!
//! # Caveats
//!
//! - Voters may crash, stop and come back; they do not lie. A peer's bytes can't crash or bloat the machine, but a voter that claims a
//!   high journal wins countdowns (Raft's own check then refuses it).
//! - The clock handed in must not stop while the computer sleeps (`CLOCK_BOOTTIME`), and clocks may differ in rate by 5 %.
//! - A rank is a wish: it decides among journals of equal length, at elections only. A leader is not deposed by a better rank.
//! - A pledge binds for ever. If a node of a pledged set is lost before the swarm is founded, the others must be wiped; the machine says
//!   [`FoundingRefusal::PledgeDiffers`], and never guesses.
//! - The last wish of a leader that vanishes is unknown: an election takes a lease (1 s) unless the driver has seen its process die
//!   ([`Input::PeerGone`]).
//!
//! # The driver's manual
//!
//! The driver owns the clock, the sockets, Raft and the disk. Its loop is short: wait for a fact or for [`Machine::deadline`], call
//! [`Machine::step`], carry out the [`Outputs`] **in order**. Four things must be got right:
//!
//! 1. *In order*: [`Output::Silence`] comes before [`Output::Ratify`] because Raft's first entry must get out, and
//!    [`Output::SteppedDown`] before the silence because acting ends first.
//! 2. [`Output::Ratify`] calls Raft's `elect()` **once**, never in a loop, and answers exactly once. It may take longer than
//!    [`Settings::ratify`]: a late [`Input::Ratified`] is welcome and sorted out here.
//! 3. [`Input::RaftLeads`] is fed from the engine's own state whenever it changes, in both directions, so that a deposed leader hears of it.
//! 4. After every step publish [`Machine::acting_until`] with the term to whoever dispatches; they compare it with the clock *at the
//!    moment of acting* (E8). Asking once and acting later is the paused leader's mistake.
//!
//! ```
//! use dunlin_election::{History, Input, Instant, Machine, NodeId, Output, Packet, Rank, Settings, Start, SwarmId, Term};
//! # use std::collections::VecDeque;
//! # #[derive(Default)]
//! # struct World { inputs: VecDeque<Input>, clock: u64, acting: Option<(Term, Instant)> }
//! # impl World {
//! #     fn now(&self) -> Instant { Instant::from_nanos(self.clock) }
//! #     fn wait(&mut self, deadline: Option<Instant>) -> Input {
//! #         self.inputs.pop_front().unwrap_or_else(|| { self.clock = deadline.map_or(0, Instant::as_nanos); Input::Timer })
//! #     }
//! #     fn send(&mut self, _to: NodeId, _bytes: Vec<u8>) {}
//! #     fn broadcast(&mut self, _bytes: Vec<u8>) {}
//! #     fn elect(&mut self) { self.inputs.extend([Input::RaftTerm(Term(8)), Input::Ratified(Term(8))]); }
//! #     fn commit_marker(&mut self, term: Term) { self.inputs.push_back(Input::Opened(term)); }
//! #     fn tell(&self, _what: Output) {}
//! #     fn silence(&self, _on: bool) {}
//! #     fn hold_votes(&self, _on: bool) {}
//! #     fn publish(&mut self, acting: Option<(Term, Instant)>) { self.acting = acting; }
//! # }
//! fn carry_out(world: &mut World, output: Output) {
//!     match output {
//!         Output::Send { to, packet } => world.send(to, packet.encode()),
//!         Output::Broadcast(packet) => world.broadcast(packet.encode()),
//!         Output::Silence(on) => world.silence(on),       // the gate in front of AppendEntries
//!         Output::HoldVotes(on) => world.hold_votes(on),  // the gate behind the Vote RPC
//!         Output::Ratify { .. } => world.elect(),         // -> Input::Ratified(term) or Input::RatifyFailed
//!         // Both commit an entry of that term -> Input::Opened(term), or for Reclaim Input::RatifyFailed
//!         Output::Open { term } | Output::Reclaim { term } => world.commit_marker(term),
//!         // The roster, the log of challenges, people: MayAct, SteppedDown, Challenge, Following, Leaderless, Note, Ignored,
//!         // and in a node that is not founded yet PersistPledge -> Input::PledgeStored, Found and JoinExisting -> Input::Entered,
//!         // Initialize, FoundingRefused.
//!         other => world.tell(other),
//!     }
//! }
//!
//! # let mut world = World { clock: 1_000_000, ..World::default() };
//! let config = Settings::default().validate().expect("the defaults hold");
//! let me = NodeId(1);
//! let history = History::Founded {
//!     swarm: SwarmId([7; 16]),
//!     charter: None,
//!     voters: [me].into(),            // from Raft's membership
//!     position: Default::default(),   // from the log
//!     raft_term: Term(7),             // from Raft's vote on disk
//!     raft_leads: None,
//!     has_voted: true,
//! };
//! let start = Start { me, rank: Rank(100), boot: 3, seed: 42, history };
//! let (mut machine, outputs) = Machine::new(config, start, world.now());
//! outputs.into_iter().for_each(|output| carry_out(&mut world, output));
//! loop {
//!     // A packet: Packet::decode(bytes) -> Input::Packet { from: the authenticated peer, packet }. A fact of Raft: Input::RaftTerm,
//!     // RaftLeads, Journal, Voters. Nothing until the deadline: Input::Timer.
//!     let input = world.wait(machine.deadline());
//!     let now = world.now();
//!     for output in machine.step(now, input) {
//!         carry_out(&mut world, output);
//!     }
//!     world.publish(machine.may_act(now).zip(machine.acting_until()));
//! #   if world.acting.is_some() { break }
//! }
//! assert_eq!(machine.may_act(world.now()), Some(Term(8)));
//! ```
//!
//! Packets of [`Packet::is_founding`] travel between nodes that share a secret but no swarm yet; all others stay within a swarm.
//! The machine drops what is forged, foreign, old or doubled, so a copy by gossip may be handed in as well.

extern crate alloc;
#[cfg(any(test, feature = "sim"))]
extern crate std;

mod bid;
mod check;
mod codec;
mod config;
mod input;
mod machine;
mod message;
mod output;
mod random;
mod role;
#[cfg_attr(not(any(test, feature = "sim")), allow(unreachable_pub))]
mod rules;
mod time;
mod view;

pub use bid::{Bid, Draw, NodeId, Position, Rank, Term};
pub use check::Violation;
pub use codec::{DecodeError, MAX_PACKET};
pub use config::{Config, ConfigError, MAX_EXPECT, Settings};
pub use input::{History, Input, Start};
pub use machine::Machine;
pub use message::{Charter, Envelope, Hello, Message, Packet, Pledge, Stage, SwarmId};
pub use output::{FoundingRefusal, Ignored, Note, Output, Outputs, StepDown, Withdrawal};
pub use time::Instant;
pub use view::{RoleView, View};

#[cfg(any(test, feature = "sim"))]
pub use rules::Rules;

#[cfg(any(test, feature = "sim"))]
pub mod sim;
#[cfg(test)]
mod tests;
