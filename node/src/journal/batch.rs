//! The leader's group commit: what waits while one entry is being written goes into the next one, all of it together.
//!
//! Callers' encoded facts enter through a bounded queue; entries leave, each of one term, of at most so many facts and
//! bytes. A caller's facts stay together and in order. The first caller of a quiet journal is written at once. When many
//! have just been answered, the next entry waits a moment for those who come back: see [`Batcher::gather`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use openraft::error::ClientWriteError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::codec;
use super::config::{JournalConfig, WallClock};
use super::engine::{Blob, Raft};
use super::entry::{Entry, FORMAT, Fact, Reply};
use super::port::ProposeError;
use super::stop::Stop;
use crate::task::Term;

type Answer = Result<Vec<Reply>, ProposeError>;

/// One caller's facts.
struct Pending {
    term: Term,
    facts: Vec<Fact>,
    encoded: Vec<u8>,
    reply: oneshot::Sender<Answer>,
    /// Its bytes' place in the queue.
    _place: OwnedSemaphorePermit,
}

/// The queue's entrance; cheap to clone.
#[derive(Clone)]
pub(super) struct Entrance {
    queue: mpsc::Sender<Pending>,
    places: Arc<Semaphore>,
    limits: Limits,
}

#[derive(Clone, Copy)]
struct Limits {
    facts: usize,
    bytes: usize,
    caller_bytes: usize,
    in_flight: usize,
    patience: Duration,
    gather_from: usize,
    gather_upto: usize,
    gather: Duration,
}

/// What turns the queue into entries.
pub(super) struct Batcher {
    queue: mpsc::Receiver<Pending>,
    /// What did not fit into the last entry, or was gathered for the next.
    waiting: VecDeque<Pending>,
    /// Facts of the entry that was answered last.
    answered: usize,
    limits: Limits,
    wall_clock: WallClock,
    raft: Raft,
    stop: Stop,
}

/// A queue and what empties it.
pub(super) fn channel(config: &JournalConfig, raft: Raft, stop: Stop) -> (Entrance, Batcher) {
    let limits = Limits {
        facts: config.entry_facts,
        bytes: config.entry_bytes,
        caller_bytes: config.caller_bytes,
        in_flight: config.in_flight.max(1),
        patience: config.propose_patience,
        gather_from: config.gather_from,
        gather_upto: config.gather_upto,
        gather: config.gather,
    };
    let (sender, queue) = mpsc::channel(config.queue_callers);
    let places = Arc::new(Semaphore::new(config.queue_bytes));
    let entrance = Entrance { queue: sender, places, limits };
    let wall_clock = Arc::clone(&config.wall_clock);
    (entrance, Batcher { queue, waiting: VecDeque::new(), answered: 0, limits, wall_clock, raft, stop })
}

impl Entrance {
    /// Queues a caller's facts and waits for the fold's answers.
    pub(super) async fn propose(&self, term: Term, facts: Vec<Fact>) -> Answer {
        if facts.len() > self.limits.facts {
            return Err(ProposeError::TooLarge { what: "facts", size: facts.len(), limit: self.limits.facts });
        }
        let encoded = codec::encode_facts(&facts).map_err(|error| ProposeError::Stopped(error.to_string()))?;
        let size = encoded.len();
        if size > self.limits.caller_bytes {
            return Err(ProposeError::TooLarge { what: "bytes", size, limit: self.limits.caller_bytes });
        }
        let permits = u32::try_from(size).map_err(|_| ProposeError::Full)?;
        let place = Arc::clone(&self.places).try_acquire_many_owned(permits).map_err(|_| ProposeError::Full)?;
        let (reply, answer) = oneshot::channel();
        let pending = Pending { term, facts, encoded, reply, _place: place };
        self.queue.try_send(pending).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::Full,
            mpsc::error::TrySendError::Closed(_) => ProposeError::Stopped("the journal is closed".to_owned()),
        })?;
        match tokio::time::timeout(self.limits.patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ProposeError::Stopped("the journal is closed".to_owned())),
            Err(_) => Err(ProposeError::TimedOut),
        }
    }
}

impl Batcher {
    /// Writes entries until the entrance is gone or the journal stops.
    pub(super) async fn run(mut self) {
        let mut flying: FuturesUnordered<BoxFuture<'static, usize>> = FuturesUnordered::new();
        let mut stopped = self.stop.watch();
        loop {
            let may_write = flying.len() < self.limits.in_flight;
            let first = tokio::select! {
                biased;
                _ = stopped.wait_for(Option::is_some) => return,
                Some(facts) = flying.next(), if !flying.is_empty() => {
                    self.answered = facts;
                    continue;
                }
                first = next(&mut self.waiting, &mut self.queue), if may_write => first,
            };
            let Some(first) = first else { return };
            self.gather(&first).await;
            if let Some(batch) = self.collect(first) {
                let written = self.write(batch).await;
                flying.push(written);
            }
        }
    }

    /// Waits, for a moment at most, for those who were just answered: callers in a loop come back soon. Without this they
    /// part into two halves that take turns, and every entry costs as much for half of them. A few callers never wait.
    async fn gather(&mut self, first: &Pending) {
        let answered = std::mem::take(&mut self.answered);
        if answered < self.limits.gather_from {
            return;
        }
        let mut facts = first.facts.len() + self.waiting.iter().map(|pending| pending.facts.len()).sum::<usize>();
        while let Ok(pending) = self.queue.try_recv() {
            facts += pending.facts.len();
            self.waiting.push_back(pending);
        }
        let wanted = (facts + answered).min(self.limits.gather_upto);
        let until = tokio::time::Instant::now() + self.limits.gather;
        while facts < wanted {
            let Ok(Some(pending)) = tokio::time::timeout_at(until, self.queue.recv()).await else { return };
            facts += pending.facts.len();
            self.waiting.push_back(pending);
        }
    }

    /// Takes what waits, as long as it fits. Whoever has stopped waiting is left out.
    fn collect(&mut self, first: Pending) -> Option<Vec<Pending>> {
        let (term, mut facts, mut bytes) = (first.term, 0, 0);
        let mut batch: Vec<Pending> = Vec::new();
        let mut next = Some(first);
        while let Some(pending) = next {
            if !pending.reply.is_closed() {
                let fits = pending.term == term
                    && facts + pending.facts.len() <= self.limits.facts
                    && bytes + pending.encoded.len() <= self.limits.bytes;
                if !fits && !batch.is_empty() {
                    self.waiting.push_front(pending);
                    break;
                }
                facts += pending.facts.len();
                bytes += pending.encoded.len();
                batch.push(pending);
            }
            next = self.waiting.pop_front().or_else(|| self.queue.try_recv().ok());
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Hands one entry to the engine; what it returns ends when the entry's fate is known, with the number of its facts.
    async fn write(&self, batch: Vec<Pending>) -> BoxFuture<'static, usize> {
        let Some(term) = batch.first().map(|pending| pending.term) else { return Box::pin(async { 0 }) };
        if !leads(&self.raft, term) {
            refuse(batch, &ProposeError::NotLeader(term));
            return Box::pin(async { 0 });
        }
        let at = (self.wall_clock)();
        let count = batch.iter().map(|pending| pending.facts.len()).sum();
        let bytes = codec::join_entry(term, at, count, batch.iter().map(|pending| &pending.encoded[..]));
        let mut facts = Vec::with_capacity(count);
        let mut callers = Vec::with_capacity(batch.len());
        for pending in batch {
            callers.push((pending.facts.len(), pending.reply));
            facts.extend(pending.facts);
        }
        let blob = Blob::with_entry(bytes, Entry { format: FORMAT, term, at, facts });
        let patience = self.limits.patience;
        match self.raft.client_write_ff(blob).await {
            Ok(written) => Box::pin(async move {
                let result = match tokio::time::timeout(patience, written).await {
                    Ok(Ok(Ok(response))) => Ok(response.data.0),
                    Ok(Ok(Err(ClientWriteError::ForwardToLeader(_)))) => Err(ProposeError::NotLeader(term)),
                    Ok(Ok(Err(ClientWriteError::ChangeMembershipError(error)))) => Err(ProposeError::Stopped(error.to_string())),
                    Ok(Err(_)) => Err(ProposeError::Stopped("the engine has ended".to_owned())),
                    Err(_) => Err(ProposeError::TimedOut),
                };
                distribute(callers, result);
                count
            }),
            Err(fatal) => {
                let error = ProposeError::Stopped(fatal.to_string());
                distribute(callers, Err(error));
                Box::pin(async { 0 })
            }
        }
    }
}

/// What waits already, or else what comes.
async fn next(waiting: &mut VecDeque<Pending>, queue: &mut mpsc::Receiver<Pending>) -> Option<Pending> {
    match waiting.pop_front() {
        Some(pending) => Some(pending),
        None => queue.recv().await,
    }
}

/// Whether this node is Raft's leader of exactly this term.
pub(super) fn leads(raft: &Raft, term: Term) -> bool {
    let metrics = raft.server_metrics();
    let now = metrics.borrow();
    now.state.is_leader() && now.vote.leader_id().term == term.0
}

fn refuse(batch: Vec<Pending>, error: &ProposeError) {
    for pending in batch {
        // Whoever has gone does not care.
        let _ = pending.reply.send(Err(error.clone()));
    }
}

/// Gives each caller the replies to its own facts.
fn distribute(callers: Vec<(usize, oneshot::Sender<Answer>)>, result: Result<Arc<Vec<Reply>>, ProposeError>) {
    let mut from = 0;
    for (count, reply) in callers {
        let answer = match &result {
            Ok(replies) => match replies.get(from..from + count) {
                Some(own) => Ok(own.to_vec()),
                None => Err(ProposeError::Stopped("the fold answered too few facts".to_owned())),
            },
            Err(error) => Err(error.clone()),
        };
        from += count;
        let _ = reply.send(answer);
    }
}
