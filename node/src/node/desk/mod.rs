//! The leader's desk: connects the journal, the board and the members while this node leads.
//!
//! Heartbeats, reports and applied entries enter; hand-outs, cancels, verdicts and proposals leave. The board and the
//! liveness table decide (both pure); this loop only carries. It stops touching anything the moment the acting gate
//! closes: then what the board says waits, and is dropped if the leadership ends. Readers look at the same board under a lock that is held for one step at a time.

mod effects;
mod settle;
mod voters;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{broadcast, mpsc};

use super::core::Core;
use crate::dispatch::{Board, BoardConfig, Input, LeaseView, Next, Offer};
use crate::journal::{Applied, Fact, Journal, Reply};
use crate::leadership::NarrationKind;
use crate::roster::{Change, Heard, Heartbeat, Liveness, LivenessConfig};
use crate::task::{NodeId, Queue, TaskId, Term, UnixMillis};
use crate::worker::protocol::{ToLeader, ToMember};
use effects::Outbox;

/// Inputs taken in one turn before what they caused is sent: hand-outs of one turn share a frame.
const TURN: usize = 256;
/// Inputs that may wait.
pub(super) const QUEUE: usize = 8_192;

/// Messages kept for the opening of this node's term; members send what exceeds it again.
const EARLY: usize = 4_096;

/// What reaches the desk.
#[derive(Debug)]
pub(super) enum DeskInput {
    Heartbeat { from: NodeId, bytes: Bytes },
    Reports { from: NodeId, messages: Vec<ToLeader> },
    PeerDown { node: NodeId, gone: bool },
}

/// What the desk knows while it leads.
#[derive(Debug)]
pub(super) struct Leading {
    pub(super) term: Term,
    pub(super) board: Board,
    pub(super) liveness: Liveness,
    /// When it was taken up, by both clocks.
    opened: (Duration, UnixMillis),
}

impl Leading {
    /// The wall clock as it would be if nobody had set it since this leadership began: what retries wait for must not
    /// come an hour late because somebody corrected a clock.
    pub(super) fn time(&self, now: Duration) -> UnixMillis {
        let (since, wall) = self.opened;
        let passed = u64::try_from(now.saturating_sub(since).as_millis()).unwrap_or(u64::MAX);
        UnixMillis(wall.0.saturating_add(passed))
    }
}

/// The desk as the rest of the node sees it.
#[derive(Debug, Default)]
pub(super) struct DeskState(Mutex<Option<Leading>>);

impl DeskState {
    /// Looks at the desk, if this node leads.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Leading) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(look)
    }

    /// The task's lease, if this node leads and the task is handed out.
    pub(super) fn lease(&self, task: TaskId) -> Option<LeaseView> {
        self.read(|leading| leading.board.lease(task)).flatten().filter(|lease| !lease.ended)
    }

    fn change<T>(&self, act: impl FnOnce(&mut Option<Leading>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the journal or the ledger has answered: inputs for the board, and what members are to be told.
#[derive(Debug, Default)]
struct Answers {
    inputs: Vec<Input>,
    verdicts: Vec<(NodeId, ToMember)>,
}

impl From<Vec<Input>> for Answers {
    fn from(inputs: Vec<Input>) -> Self {
        Answers { inputs, verdicts: Vec::new() }
    }
}

/// The loop's own state.
pub(super) struct Desk {
    core: Arc<Core>,
    pending: FuturesUnordered<BoxFuture<'static, Answers>>,
    outbox: Outbox,
    voters: voters::Reconciler,
    /// What members sent to the coming leader between its election and the opening of its term.
    early: VecDeque<DeskInput>,
}

/// Runs the desk for as long as the node lives.
pub(super) async fn run(core: Arc<Core>, mut inputs: mpsc::Receiver<DeskInput>) {
    let mut applied = core.journal.applied();
    let mut standing = core.standing.clone();
    let mut ticks = tokio::time::interval(BoardConfig::default().tick);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut desk = Desk {
        core,
        pending: FuturesUnordered::new(),
        outbox: Outbox::default(),
        voters: voters::Reconciler::default(),
        early: VecDeque::new(),
    };
    loop {
        let leading = desk.core.desk.read(|leading| leading.term);
        tokio::select! {
            biased;
            changed = standing.changed() => if changed.is_err() { return },
            entry = applied.recv() => desk.take_applied(entry, &mut applied),
            Some(answers) = desk.pending.next(), if !desk.pending.is_empty() => desk.take_answers(answers),
            input = inputs.recv() => match input {
                Some(input) => desk.take_inputs(input, &mut inputs),
                None => return,
            },
            _ = ticks.tick(), if leading.is_some() => desk.tick(),
        }
        let acting = desk.core.standing.borrow().acting;
        if acting != leading {
            desk.change_leadership(acting).await;
        }
        desk.flush();
    }
}

impl Desk {
    /// Takes the desk up for a new term, or leaves it.
    async fn change_leadership(&mut self, acting: Option<Term>) {
        self.outbox.clear();
        self.pending.clear();
        self.core.desk.change(|desk| *desk = None);
        let early = std::mem::take(&mut self.early);
        let Some(term) = acting else { return };
        let ledger = self.core.ledger.clone();
        let opening = self.core.executor.run(move || Opening::read(&ledger)).await;
        let Ok(Ok(opening)) = opening else {
            self.core.fail("the ledger could not be read when this node took up the leadership");
            return;
        };
        let now = self.core.clock.now();
        let expected: BTreeSet<NodeId> =
            opening.members.iter().copied().filter(|node| *node == self.core.node || self.core.is_connected(*node)).collect();
        let mut liveness = Liveness::new(LivenessConfig::default());
        opening.members.iter().for_each(|member| liveness.known(now, *member));
        let leading = Leading {
            term,
            board: Board::new(BoardConfig { numbered_after: opening.numbered_after, ..BoardConfig::default() }),
            liveness,
            opened: (now, self.core.clock.wall()),
        };
        self.core.desk.change(|desk| *desk = Some(leading));
        let mut inputs = vec![Input::Opened { term, last_task_before: opening.last_task, expected }];
        inputs.extend(opening.queues.into_iter().map(|queue| Input::Window { queue, tasks: Vec::new(), more: true }));
        inputs.push(Input::DelayedWindow { tasks: Vec::new(), more: true });
        self.feed(inputs);
        early.into_iter().for_each(|input| self.take_input(input));
    }

    fn take_inputs(&mut self, first: DeskInput, inputs: &mut mpsc::Receiver<DeskInput>) {
        let mut next = Some(first);
        for _ in 0..TURN {
            let Some(input) = next else { break };
            if self.core.desk.read(|_| ()).is_some() {
                self.take_input(input);
            } else if self.core.known_leader() == Some(self.core.node) && self.early.len() < EARLY {
                self.early.push_back(input);
            }
            next = inputs.try_recv().ok();
        }
    }

    fn take_input(&mut self, input: DeskInput) {
        match input {
            DeskInput::Heartbeat { from, bytes } => self.take_heartbeat(from, &bytes),
            DeskInput::Reports { from, messages } => self.take_reports(from, messages),
            DeskInput::PeerDown { node, gone } => self.take_down(node, gone),
        }
    }

    fn take_heartbeat(&mut self, from: NodeId, bytes: &[u8]) {
        let beat = match Heartbeat::decode(bytes) {
            Ok(beat) => beat,
            Err(error) => {
                tracing::warn!(node = %from, %error, "a heartbeat was refused");
                return;
            }
        };
        self.core.names.learn(from, &beat.name);
        let offer = Offer {
            node: from,
            boot: beat.boot,
            pods: beat.pods.clone(),
            held: beat.held.clone(),
            processed: beat.processed,
            accepts: beat.accepts(),
            holds: beat.sandbox().holds(),
        };
        self.settle_membership(from, &beat);
        let now = self.core.clock.now();
        let heard = self.core.desk.change(|desk| desk.as_mut().map(|desk| desk.liveness.heartbeat(now, from, beat)));
        match heard {
            Some(Heard::Fresh(change)) => self.take_change(change),
            Some(Heard::Outdated | Heard::TooMany) | None => return,
        }
        self.feed(vec![Input::Offer(offer)]);
    }

    fn take_down(&mut self, node: NodeId, gone: bool) {
        let now = self.core.clock.now();
        let change = self.core.desk.change(|desk| desk.as_mut().and_then(|desk| desk.liveness.down(now, node, gone)));
        self.take_change(change);
    }

    fn take_change(&mut self, change: Option<Change>) {
        let name = |node| self.core.name_of(node);
        let (text, lost) = match change {
            None => return,
            Some(Change::Appeared(node)) => (format!("{} offers its slots", name(node)), None),
            Some(Change::Returned { node, away }) => (format!("{} is back after {} s", name(node), away.as_secs()), None),
            Some(Change::Restarted(node)) => (format!("{} was restarted", name(node)), None),
            Some(Change::Lost { node, why }) => {
                (format!("lost {}: {why}; what it held is handed out again", name(node)), Some(Input::MemberLost { node, why }))
            }
        };
        self.core.narrator.tell(NarrationKind::Member, text);
        self.feed(lost.into_iter().collect());
    }

    fn tick(&mut self) {
        let now = self.core.clock.now();
        let changes = self.core.desk.change(|desk| desk.as_mut().map(|desk| desk.liveness.tick(now)));
        changes.unwrap_or_default().into_iter().for_each(|change| self.take_change(Some(change)));
        let wall = self.core.desk.read(|leading| leading.time(now)).unwrap_or_else(|| self.core.clock.wall());
        self.feed(vec![Input::Tick { wall }]);
        self.reconcile_voters(now);
    }

    /// Tells the board what the ledger has folded.
    fn take_applied(&mut self, entry: Result<Applied, broadcast::error::RecvError>, applied: &mut broadcast::Receiver<Applied>) {
        let mut next = match entry {
            Ok(entry) => Some(entry),
            Err(broadcast::error::RecvError::Closed) => return self.core.fail("the journal has stopped"),
            Err(broadcast::error::RecvError::Lagged(_)) => return self.reload(),
        };
        let mut inputs = Vec::new();
        for _ in 0..TURN {
            let Some(entry) = next else { break };
            for (fact, reply) in entry.entry.facts.iter().zip(entry.replies.iter()) {
                inputs.extend(self.input_of(fact, reply));
            }
            next = match applied.try_recv() {
                Ok(entry) => Some(entry),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {
                    self.reload();
                    None
                }
                Err(_) => None,
            };
        }
        self.feed(inputs);
    }

    fn input_of(&self, fact: &Fact, reply: &Reply) -> Option<Input> {
        match (fact, reply) {
            (Fact::Submitted { spec, .. }, Reply::Submitted { task, duplicate: false }) => {
                Some(Input::Ready { queue: spec.queue(), task: *task, attempt: crate::task::AttemptNumber(1) })
            }
            (Fact::Cancelled { task }, Reply::Done) => Some(Input::Cancelled { task: *task }),
            (Fact::Retried { task }, Reply::Done) => match settle::place_of(&self.core, *task) {
                Next::Ready { queue, attempt } => Some(Input::Ready { queue, task: *task, attempt }),
                _ => None,
            },
            _ => None,
        }
    }

    fn take_answers(&mut self, answers: Answers) {
        self.outbox.tell(answers.verdicts);
        self.feed(answers.inputs);
    }

    /// Entries were missed: what waits is read from the ledger again.
    fn reload(&mut self) {
        let (ledger, executor) = (self.core.ledger.clone(), self.core.executor);
        self.pending.push(Box::pin(async move {
            let queues = executor.run(move || ledger.queues_with_ready()).await;
            let queues = queues.ok().and_then(Result::ok).unwrap_or_default();
            let window = |(queue, _)| Input::Window { queue, tasks: Vec::new(), more: true };
            let delayed = Input::DelayedWindow { tasks: Vec::new(), more: true };
            queues.into_iter().map(window).chain([delayed]).collect::<Vec<_>>().into()
        }));
    }

    /// Steps the board; what it says is put into the outbox, which lets it out only while the acting gate is open.
    fn feed(&mut self, inputs: Vec<Input>) {
        for input in inputs {
            let now = self.core.clock.now();
            let outputs = self.core.desk.change(|desk| desk.as_mut().map(|desk| desk.board.step(now, input)));
            self.outbox.extend(outputs.unwrap_or_default());
        }
    }
}

/// What a new leader reads before it takes up the desk.
struct Opening {
    last_task: TaskId,
    queues: Vec<Queue>,
    members: Vec<NodeId>,
    numbered_after: u64,
}

/// Hand-outs that one entry of the journal leaves room for, as a power of two: far more than can be given while one is
/// written, and enough entries are left for ten years of a thousand a second.
const HAND_OUTS_AN_ENTRY: u32 = 24;

impl Opening {
    fn read(ledger: &crate::journal::Ledger) -> Result<Self, crate::journal::LedgerError> {
        Ok(Opening {
            last_task: ledger.last_task()?.unwrap_or_default(),
            queues: ledger.queues_with_ready()?.into_iter().map(|(queue, _)| queue).collect(),
            members: ledger.members()?.into_iter().map(|member| member.node).collect(),
            // The journal has grown by the opening entry at least since this node led before, also within one term.
            numbered_after: ledger.applied_index()? << HAND_OUTS_AN_ENTRY,
        })
    }
}

/// How long a proposal of the desk's own may wait before it is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(100);
