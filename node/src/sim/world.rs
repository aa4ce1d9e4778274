//! The simulated swarm: nodes with their disks and clocks, the network between them, and everything that can be done to them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::audit::Audit;
use super::chaos::{Injected, split};
use super::history::History;
use super::life::{self, Life, Site};
use super::needs::{self, WHOLE};
use super::random::Random;
use super::tasks::Ran;
use super::time::SimClock;
use super::trace::Trace;
use super::weather::{Odds, Sky};
use super::{Plan, name};
use crate::api::ApiError;
use crate::journal::JournalError;
use crate::journal::platter::{Faults, Platter};
use crate::mesh::memory::MemoryNetwork;
use crate::mesh::{Inboxes, SharedMesh};
use crate::node::StartError;
use crate::task::{NodeId, Queue};

/// See the head of this file.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) trace: Trace,
    pub(super) audit: Audit,
    pub(super) history: History,
    pub(super) ran: Arc<Ran>,
    network: MemoryNetwork,
    sky: Sky,
    folder: PathBuf,
    seats: Mutex<BTreeMap<NodeId, Seat>>,
    injected: Mutex<Injected>,
    /// The chaos is over: nothing more goes wrong and clients stop.
    calm: AtomicBool,
    /// Requests that were answered with an error.
    pub(super) refusals: AtomicU64,
    chance: Mutex<Random>,
}

/// One node's place: what stays when its process does not.
struct Seat {
    platter: Platter,
    clock: SimClock,
    life: Option<Arc<Life>>,
    /// Grows with each start and each end.
    turn: u64,
    /// Its disk makes no sense any more: it stays down.
    damaged: bool,
    /// From its next life on it holds everything.
    whole: bool,
}

impl World {
    pub(super) fn new(plan: Plan, trace: Trace, folder: PathBuf) -> Arc<Self> {
        let mut random = Random::new(plan.seed, 1);
        let sky = Sky::new(Random::new(plan.seed, 2), trace.clone());
        let mut seat = || {
            let gain = i64::try_from(random.below(100_001)).unwrap_or(0) - 50_000;
            Seat { platter: Platter::default(), clock: SimClock::new(gain), life: None, turn: 0, damaged: false, whole: false }
        };
        let history = History::new();
        let seats = plan.nodes().into_iter().map(|node| (node, seat())).collect();
        Arc::new(World {
            audit: Audit::new(trace.clone(), history.clone()),
            history,
            ran: Arc::default(),
            network: MemoryNetwork::in_weather(Arc::new(sky.clone())),
            sky,
            folder,
            seats: Mutex::new(seats),
            injected: Mutex::default(),
            calm: AtomicBool::new(false),
            refusals: AtomicU64::new(0),
            chance: Mutex::new(Random::new(plan.seed, 3)),
            trace,
            plan,
        })
    }

    fn seats(&self) -> MutexGuard<'_, BTreeMap<NodeId, Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, add: impl FnOnce(&mut Injected)) {
        add(&mut self.injected.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn injected(&self) -> Injected {
        *self.injected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn disk_faults(&self) -> Vec<Faults> {
        self.seats().values().map(|seat| seat.platter.faults()).collect()
    }

    pub(super) fn sky(&self) -> &Sky {
        &self.sky
    }

    /// Whether the chaos is over.
    pub(super) fn calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub(super) fn any_node(&self, random: &mut Random) -> NodeId {
        let nodes = self.plan.nodes();
        nodes[random.place(nodes.len())]
    }

    /// The node's running process, if it has one.
    pub(super) fn life(&self, node: NodeId) -> Option<Arc<Life>> {
        self.seats().get(&node)?.life.clone()
    }

    pub(super) fn lives(&self) -> Vec<Arc<Life>> {
        self.seats().values().filter_map(|seat| seat.life.clone()).collect()
    }

    pub(super) fn damaged(&self) -> usize {
        self.seats().values().filter(|seat| seat.damaged).count()
    }

    /// Looks at all nodes at once.
    pub(super) fn audit_now(&self) {
        let acting: Vec<_> = self.lives().iter().filter_map(|life| life.node.acting().map(|term| (life.id, term))).collect();
        self.audit.acting(&acting);
        for life in self.lives().iter().filter(|life| life.node.acting().is_some()) {
            self.audit.handed_out(&life.node.handed_out());
        }
    }

    /// Whether a node that lives would be given a task of this queue.
    pub(super) fn somebody_could_run(&self, queue: &Queue) -> bool {
        self.lives().iter().any(|life| life.could_run(queue))
    }

    /// Somebody joins, or comes back, who holds everything: the first living node, which serves most.
    pub(super) fn make_one_whole(self: &Arc<Self>) {
        let Some(node) = self.lives().first().map(|life| life.id) else { return };
        if let Some(seat) = self.seats().get_mut(&node) {
            seat.whole = true;
        }
        self.kill(node, Duration::from_millis(10), "ended, to hold everything from its next start on");
    }

    /// A node's way into the network.
    pub(super) fn join(&self, node: NodeId, named: &str) -> (SharedMesh, Inboxes) {
        self.network.join(node, named)
    }

    /// An error is an answer too; only what no healthy node would say is a fault.
    pub(super) fn refused(&self, who: &str, node: NodeId, error: &ApiError) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        self.trace.line(&who, &format_args!("is refused by {}: {error}", name(node)));
        if let ApiError::Internal(why) = error {
            self.trace.line(&"audit", &format_args!("an internal error: {why}"));
        }
    }

    /// Starts a node that is down; its end restarts it later while there is chaos.
    pub(super) async fn start(self: &Arc<Self>, node: NodeId) {
        let (site, turn) = {
            let mut seats = self.seats();
            let Some(seat) = seats.get_mut(&node).filter(|seat| seat.life.is_none() && !seat.damaged) else { return };
            seat.turn += 1;
            let seed = self.plan.seed ^ node.0.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ seat.turn << 32;
            let (clock, platter) = (seat.clock.clone(), seat.platter.clone());
            let holding = if seat.whole { WHOLE } else { needs::of_life(&self.plan, node, seat.turn) };
            (Site { node, folder: self.folder.join(name(node)), clock, platter, seed, holding }, seat.turn)
        };
        let started = life::begin(self, site).await;
        let mut seats = self.seats();
        let Some(seat) = seats.get_mut(&node) else { return };
        match started {
            Ok(life) if seat.turn == turn => seat.life = Some(life),
            // It was killed while it started.
            Ok(life) => life.end(),
            Err(StartError::Journal(JournalError::Damaged { detail, .. })) => {
                self.trace.line(&name(node), &format_args!("refuses its damaged disk: {detail}"));
                seat.damaged = true;
            }
            Err(error) => {
                let why = format!("{error}: {:?}", std::error::Error::source(&error));
                // This run's own folder is another one in each run.
                let why = why.replace(&self.folder.display().to_string(), "");
                self.trace.line(&name(node), &format_args!("does not start: {why}"));
                drop(seats);
                self.later(node, Duration::from_millis(500));
            }
        }
    }

    /// Starts a node after a while.
    pub(super) fn later(self: &Arc<Self>, node: NodeId, after: Duration) {
        let world = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            world.start(node).await;
        });
    }

    /// Ends the node's process, if it runs, and does something to its disk before it can start again.
    fn down(&self, node: NodeId, why: &str, to_disk: impl FnOnce(&Platter)) -> bool {
        let mut seats = self.seats();
        let Some(seat) = seats.get_mut(&node) else { return false };
        seat.turn += 1;
        let life = seat.life.take();
        let Some(life) = life else { return false };
        to_disk(&seat.platter);
        drop(seats);
        self.trace.line(&name(node), &format_args!("is {why}"));
        life.end();
        true
    }

    pub(super) fn kill(self: &Arc<Self>, node: NodeId, restart: Duration, why: &str) {
        if self.down(node, why, Platter::kill) {
            self.count(|injected| injected.kills += 1);
        }
        self.later(node, restart);
    }

    fn without_power(&self, node: NodeId) -> bool {
        self.down(node, "without power", |platter| {
            let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
            platter.cut_power(&mut |limit| chance.below(limit));
        })
    }

    pub(super) fn cut_power(self: &Arc<Self>, node: NodeId, restart: Duration) {
        if self.without_power(node) {
            self.count(|injected| injected.power_cuts += 1);
        }
        self.later(node, restart);
    }

    /// The power goes everywhere at once.
    pub(super) fn blackout(self: &Arc<Self>, random: &mut Random) {
        self.count(|injected| injected.blackouts += 1);
        for node in self.plan.nodes() {
            self.without_power(node);
            self.later(node, random.millis(50, 3_000));
        }
    }

    pub(super) fn cut_in_write(&self, node: NodeId, writes: u64) {
        if let Some(seat) = self.seats().get(&node).filter(|seat| seat.life.is_some()) {
            self.trace.line(&name(node), &format_args!("will lose its power in write {writes} from now"));
            seat.platter.cut_in_write(writes);
        }
    }

    /// A node whose process has ended by itself: its disk failed, or its power went in the middle of a write.
    pub(super) fn ended_by_itself(self: &Arc<Self>, node: NodeId, why: &str) {
        let cut = self.seats().get(&node).is_some_and(|seat| seat.platter.is_cut());
        self.trace.line(&name(node), &format_args!("ends: {why}"));
        // What a disk that failed really kept is as uncertain as after a power cut.
        if self.without_power(node) && cut {
            self.count(|injected| injected.torn_writes += 1);
        }
        if let Some(seat) = self.seats().get(&node) {
            seat.platter.fail_syncs(false);
        }
        self.later(node, Duration::from_millis(700));
    }

    pub(super) fn partition(&self, random: &mut Random) {
        self.count(|injected| injected.partitions += 1);
        let (one, other) = split(&self.plan.nodes(), random);
        let names = |side: &[NodeId]| side.iter().map(|node| name(*node)).collect::<Vec<_>>().join(" ");
        self.trace.line(&"chaos", &format_args!("cuts {} | {}", names(&one), names(&other)));
        for a in &one {
            other.iter().for_each(|b| self.network.cut(*a, *b));
        }
    }

    pub(super) fn cut_one_way(&self, random: &mut Random) {
        let (from, to) = (self.any_node(random), self.any_node(random));
        if from == to {
            return;
        }
        self.count(|injected| injected.one_way += 1);
        self.trace.line(&"chaos", &format_args!("cuts {} -> {}", name(from), name(to)));
        self.network.cut_one_way(from, to);
    }

    pub(super) fn reset(&self, random: &mut Random) {
        let (a, b) = (self.any_node(random), self.any_node(random));
        if a != b {
            self.count(|injected| injected.resets += 1);
            self.trace.line(&"chaos", &format_args!("resets {} - {}", name(a), name(b)));
            self.network.reset(a, b);
        }
    }

    pub(super) fn storm(&self, odds: Odds) {
        self.count(|injected| injected.storms += 1);
        self.trace.line(&"chaos", &format_args!("weather: {odds:?}"));
        self.sky.set(odds);
    }

    pub(super) fn clear_sky(&self) {
        self.trace.line(&"chaos", &"heals the network");
        self.sky.set(Odds::CALM);
        let nodes = self.plan.nodes();
        for (place, a) in nodes.iter().enumerate() {
            nodes[place + 1..].iter().for_each(|b| self.network.heal(*a, *b));
        }
    }

    pub(super) fn fill_disk(self: &Arc<Self>, node: NodeId, time: Duration) {
        self.count(|injected| injected.full_disks += 1);
        self.for_a_while(node, time, "has a full disk", |platter, on| platter.fill_up(on));
    }

    pub(super) fn fail_syncs(&self, node: NodeId) {
        if let Some(seat) = self.seats().get(&node).filter(|seat| seat.life.is_some()) {
            self.count(|injected| injected.failed_syncs += 1);
            self.trace.line(&name(node), &"has a disk that fails to sync");
            seat.platter.fail_syncs(true);
        }
    }

    pub(super) fn slow_disk(self: &Arc<Self>, node: NodeId, delay: Duration, time: Duration) {
        self.count(|injected| injected.slow_disks += 1);
        let text = format!("has a disk that takes {delay:?} more");
        self.for_a_while(node, time, &text, move |platter, on| platter.slow_down(if on { delay } else { Duration::ZERO }));
    }

    /// The disk of the node that leads falls behind; says which that is.
    pub(super) fn slow_leader(&self, by: Duration) -> Option<NodeId> {
        let leader = self.lives().into_iter().find(|life| life.node.acting().is_some())?.id;
        self.trace.line(&name(leader), &format_args!("leads, and its disk falls {by:?} behind"));
        self.seats().get(&leader)?.platter.slow_down(by);
        Some(leader)
    }

    /// It dies before its disk has caught up.
    pub(super) fn outrun(self: &Arc<Self>, leader: NodeId, power: bool, restart: Duration) {
        if self.calm() {
            return;
        }
        if let Some(seat) = self.seats().get(&leader) {
            seat.platter.slow_down(Duration::ZERO);
        }
        self.count(|injected| injected.outrun += 1);
        if power { self.cut_power(leader, restart) } else { self.kill(leader, restart, "killed behind its followers") }
    }

    /// A node's process is stopped for a while: it does nothing, and nobody is told.
    pub(super) fn stop(self: &Arc<Self>, node: NodeId, time: Duration) {
        let Some(life) = self.life(node).filter(|_| !self.calm()) else { return };
        self.count(|injected| injected.stops += 1);
        self.trace.line(&name(node), &format_args!("is stopped for {time:?}"));
        life.process.stop();
        self.network.stop(node);
        let world = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            world.go_on(&life);
        });
    }

    fn go_on(&self, life: &Arc<Life>) {
        if self.life(life.id).is_some_and(|now| Arc::ptr_eq(&now, life)) {
            life.process.go_on();
            self.network.go_on(life.id);
        }
    }

    /// Cuts a node off from all others, or mends that.
    pub(super) fn isolate(&self, node: NodeId, on: bool) {
        self.trace.line(&"chaos", &format_args!("{} {}", if on { "cuts off" } else { "mends" }, name(node)));
        for other in self.plan.nodes().into_iter().filter(|other| *other != node) {
            if on { self.network.cut(node, other) } else { self.network.heal(node, other) }
        }
    }

    fn for_a_while(
        self: &Arc<Self>,
        node: NodeId,
        time: Duration,
        what: &str,
        set: impl Fn(&Platter, bool) + Send + Sync + 'static,
    ) {
        let Some(platter) = self.seats().get(&node).map(|seat| seat.platter.clone()) else { return };
        self.trace.line(&name(node), &what);
        set(&platter, true);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            set(&platter, false);
        });
    }

    /// Flips a bit of a node's disk while its process is down; only as long as this leaves a majority whole.
    pub(super) fn flip(self: &Arc<Self>, node: NodeId, random: &mut Random) {
        if self.injected().flips >= (self.plan.founders / 2).saturating_sub(u64::from(self.plan.founders.is_multiple_of(2))) {
            return;
        }
        if self.down(node, "killed, and a bit of its disk flips", Platter::kill) {
            self.count(|injected| (injected.flips, injected.kills) = (injected.flips + 1, injected.kills + 1));
            if let Some(seat) = self.seats().get(&node) {
                seat.platter.flip_bit(&mut |limit| random.below(limit));
            }
        }
        self.later(node, random.millis(50, 2_000));
    }

    pub(super) fn set_clock(&self, node: NodeId, offset_millis: i64) {
        self.count(|injected| injected.clock_jumps += 1);
        if let Some(seat) = self.seats().get(&node) {
            self.trace.line(&name(node), &format_args!("has its wall clock set {offset_millis} ms off"));
            seat.clock.set_wall(offset_millis);
        }
    }

    /// Nothing is wrong any more, from now on.
    pub(super) fn heal(self: &Arc<Self>) {
        self.calm.store(true, Ordering::Relaxed);
        self.clear_sky();
        self.lives().iter().for_each(|life| self.go_on(life));
        let nodes = self.plan.nodes();
        for node in nodes {
            let platter = self.seats().get(&node).map(|seat| seat.platter.clone()).unwrap_or_default();
            platter.fill_up(false);
            platter.fail_syncs(false);
            platter.slow_down(Duration::ZERO);
            platter.spare();
            self.later(node, Duration::from_millis(10));
        }
    }
}
