//! One live link to one peer, seen from above the wire: bounded queues out, questions that wait for their answers.
//!
//! Frames go in through [`Link`] and are taken out through its [`Outlet`], urgent ones first, by whoever carries them:
//! a stream's writer or the in-memory network. How they are carried, and when a link ends, is decided elsewhere.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::{Semaphore, oneshot, watch};

use super::frame::{Frame, Kind};
use super::table::Table;
use super::{MAX_MESSAGE, Peer, RequestError, SendError, Service};
use crate::task::{NodeId, SwarmId};

/// Frames that wait for a slow peer, in each of the two queues.
pub(crate) const QUEUE: usize = 4096;

/// Bytes that wait for a slow peer, in both queues together. One message is always taken by an empty queue.
pub(crate) const QUEUE_BYTES: usize = 16 << 20;

/// Questions to one peer that wait for an answer at a time.
pub(crate) const QUESTIONS: usize = 4096;

/// Questions of one peer that are being answered at a time; more are refused.
pub(crate) const ANSWERS: usize = 1024;

type Answer = Result<Bytes, RequestError>;
type Waiting = BTreeMap<u64, oneshot::Sender<Answer>>;

/// A link to a peer.
#[derive(Debug)]
pub(crate) struct Link {
    node: NodeId,
    peer: Mutex<Peer>,
    admitted: AtomicBool,
    urgent: mpsc::Sender<Frame>,
    bulk: mpsc::Sender<Frame>,
    queued: Arc<AtomicUsize>,
    /// `None` once the link has ended.
    waiting: Mutex<Option<Waiting>>,
    next_question: AtomicU64,
    answering: Arc<Semaphore>,
    ended: watch::Sender<bool>,
}

/// Where a link's frames come out.
#[derive(Debug)]
pub(crate) struct Outlet {
    table: Arc<Table>,
    urgent: mpsc::Receiver<Frame>,
    bulk: mpsc::Receiver<Frame>,
    queued: Arc<AtomicUsize>,
    swarm: watch::Receiver<Option<SwarmId>>,
    /// A frame that a new hello overtook.
    held: Option<Frame>,
}

impl Link {
    /// A link to a peer that said hello. `swarm` was subscribed to before our own first hello was written, so that no
    /// change of our swarm stays untold.
    pub(crate) fn new(peer: Peer, table: Arc<Table>, swarm: watch::Receiver<Option<SwarmId>>) -> (Arc<Link>, Outlet) {
        let (urgent, urgent_out) = mpsc::channel(QUEUE);
        let (bulk, bulk_out) = mpsc::channel(QUEUE);
        let queued = Arc::new(AtomicUsize::new(0));
        let outlet = Outlet { table, urgent: urgent_out, bulk: bulk_out, queued: queued.clone(), swarm, held: None };
        let link = Link {
            node: peer.node,
            peer: Mutex::new(peer),
            admitted: AtomicBool::new(false),
            urgent,
            bulk,
            queued,
            waiting: Mutex::new(Some(Waiting::new())),
            next_question: AtomicU64::new(1),
            answering: Arc::new(Semaphore::new(ANSWERS)),
            ended: watch::Sender::new(false),
        };
        (Arc::new(link), outlet)
    }

    /// Who is at the other end.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// What the peer last said of itself.
    pub(crate) fn peer(&self) -> Peer {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over what the peer says of itself now, and whether it is of our swarm.
    pub(crate) fn introduce(&self, peer: Peer, ours: Option<SwarmId>) {
        let admitted = ours.is_some() && peer.swarm == ours;
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = peer;
        self.admitted.store(admitted, Ordering::Release);
    }

    /// Whether messages of that service may pass: founding always, all others only within one swarm.
    pub(crate) fn admits(&self, service: Service) -> bool {
        service == Service::Founding || self.admitted.load(Ordering::Acquire)
    }

    /// Queues a frame. Never waits.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), SendError> {
        let size = frame.payload.len();
        if size > MAX_MESSAGE {
            return Err(SendError::TooLarge(size));
        }
        let before = self.queued.fetch_add(size, Ordering::Relaxed);
        if before > 0 && before + size > QUEUE_BYTES {
            self.queued.fetch_sub(size, Ordering::Relaxed);
            return Err(SendError::QueueFull(self.node));
        }
        self.queue_of(frame.service).try_send(frame).map_err(|refused| {
            self.queued.fetch_sub(size, Ordering::Relaxed);
            match refused {
                TrySendError::Full(_) => SendError::QueueFull(self.node),
                TrySendError::Closed(_) => SendError::NotConnected(self.node),
            }
        })
    }

    /// Queues an answer, waiting for room; how many wait is bounded by [`ANSWERS`].
    async fn push_answer(&self, frame: Frame) {
        self.queued.fetch_add(frame.payload.len(), Ordering::Relaxed);
        // An error means the link has ended; its queue and count go with it.
        let _ = self.queue_of(frame.service).send(frame).await;
    }

    fn queue_of(&self, service: Service) -> &mpsc::Sender<Frame> {
        if service.is_urgent() { &self.urgent } else { &self.bulk }
    }

    /// Asks, and waits for the answer at most `patience`.
    pub(crate) async fn ask(self: Arc<Self>, service: Service, bytes: Bytes, patience: Duration) -> Answer {
        let id = self.next_question.fetch_add(1, Ordering::Relaxed);
        let answer = self.expect_answer(id)?;
        // From here on the question is forgotten however this ends, also if nobody waits for it any more.
        let _forget = Forget { link: &self, id };
        self.push(Frame { service, kind: Kind::Request, id, payload: bytes })?;
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(RequestError::Disconnected(self.node)),
            Err(_) => Err(RequestError::TimedOut(self.node)),
        }
    }

    fn expect_answer(&self, id: u64) -> Result<oneshot::Receiver<Answer>, SendError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = waiting.as_mut().ok_or(SendError::NotConnected(self.node))?;
        if waiting.len() >= QUESTIONS {
            return Err(SendError::QueueFull(self.node));
        }
        let (sender, receiver) = oneshot::channel();
        waiting.insert(id, sender);
        Ok(receiver)
    }

    fn take_question(&self, id: u64) -> Option<oneshot::Sender<Answer>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.remove(&id)
    }

    /// The peer answered the question of that id, or refused to. Answers to nobody are ignored.
    pub(crate) fn settle(&self, id: u64, answer: Option<Bytes>) {
        if let Some(asker) = self.take_question(id) {
            let _ = asker.send(answer.ok_or(RequestError::Refused(self.node)));
        }
    }

    /// Waits for a room's answer in a task of its own and queues it. False if too many are being answered already.
    pub(crate) fn answer_later(self: &Arc<Self>, service: Service, id: u64, answer: oneshot::Receiver<Bytes>) -> bool {
        let Ok(permit) = self.answering.clone().try_acquire_owned() else { return false };
        let link = self.clone();
        tokio::spawn(async move {
            let answer = tokio::select! {
                biased;
                answer = answer => answer.ok(),
                () = link.until_ended() => return,
            };
            let frame = match answer {
                Some(payload) if payload.len() <= MAX_MESSAGE => Frame { service, kind: Kind::Response, id, payload },
                Some(payload) => {
                    tracing::warn!(?service, bytes = payload.len(), "an answer larger than the limit was not sent");
                    Frame::bare(service, Kind::Refusal, id)
                }
                None => Frame::bare(service, Kind::Refusal, id),
            };
            link.push_answer(frame).await;
            drop(permit);
        });
        true
    }

    /// Ends the link: whoever waits for an answer learns it at once. Harmless if it has ended.
    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        for asker in waiting.into_iter().flat_map(Waiting::into_values) {
            let _ = asker.send(Err(RequestError::Disconnected(self.node)));
        }
    }

    /// Returns when the link has ended.
    pub(crate) async fn until_ended(&self) {
        // The sender lives in `self`, so that this can't fail.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }
}

/// Forgets a question when its asker stops waiting.
struct Forget<'a> {
    link: &'a Link,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.link.take_question(self.id);
    }
}

impl Outlet {
    /// The next frame to be carried, urgent ones first; `None` when the link is gone.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        if let Some(frame) = self.try_next() {
            return Some(frame);
        }
        let frame = tokio::select! {
            biased;
            Ok(()) = self.swarm.changed() => return Some(self.hello()),
            frame = self.urgent.recv() => frame,
            frame = self.bulk.recv() => frame,
        };
        frame.map(|frame| self.in_order(frame))
    }

    /// The next frame, if one waits.
    pub(crate) fn try_next(&mut self) -> Option<Frame> {
        if let Some(frame) = self.held.take() {
            self.queued.fetch_sub(frame.payload.len(), Ordering::Relaxed);
            return Some(frame);
        }
        let frame = self.urgent.try_recv().or_else(|_| self.bulk.try_recv()).ok()?;
        Some(self.in_order(frame))
    }

    /// A frame that was queued after we entered a swarm must not be read before the peer knows it.
    fn in_order(&mut self, frame: Frame) -> Frame {
        if self.swarm.has_changed().unwrap_or(false) {
            self.held = Some(frame);
            return self.hello();
        }
        self.queued.fetch_sub(frame.payload.len(), Ordering::Relaxed);
        frame
    }

    fn hello(&mut self) -> Frame {
        let swarm = *self.swarm.borrow_and_update();
        let payload = self.table.hello(swarm).encode();
        Frame { service: Service::Founding, kind: Kind::Hello, id: 0, payload }
    }
}
