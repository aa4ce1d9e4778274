//! Other nodes' raft requests: checked against who sent them, handed to the engine, answered.
//!
//! A request that names another leader or candidate than its sender is not answered; nor is a Vote while votes are
//! held (E1), nor entries for which this disk has no room. How many are answered at once is bounded.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use openraft::raft::InstallSnapshotRequest;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::codec;
use super::config::{FreeSpace, JournalConfig};
use super::engine::{Raft, Vote};
use super::log_store::LogStore;
use super::network::{Answer, Ask, Gates};
use crate::mesh::Incoming;
use crate::process::of_this_process;
use crate::task::NodeId;

/// What answering needs.
pub(super) struct Server {
    raft: Raft,
    log: LogStore,
    gates: Arc<Gates>,
    folder: PathBuf,
    free_space: FreeSpace,
    append_floor: u64,
    last_append: Mutex<Option<Instant>>,
}

impl Server {
    pub(super) fn new(raft: Raft, log: LogStore, gates: Arc<Gates>, config: &JournalConfig) -> Self {
        Server {
            raft,
            log,
            gates,
            folder: config.folder.clone(),
            free_space: Arc::clone(&config.free_space),
            append_floor: config.append_floor,
            last_append: Mutex::new(None),
        }
    }

    /// When this node last accepted an AppendEntries of a leader.
    pub(super) fn last_append(&self) -> Option<Instant> {
        *self.last_append.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers until the inbox ends.
    pub(super) async fn run(self: Arc<Self>, mut inbox: mpsc::Receiver<Incoming>, at_once: usize) {
        let places = Arc::new(Semaphore::new(at_once));
        while let Some(incoming) = inbox.recv().await {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let server = Arc::clone(&self);
            tokio::spawn(of_this_process(async move {
                server.answer(incoming).await;
                drop(place);
            }));
        }
    }

    async fn answer(&self, incoming: Incoming) {
        let Some(reply) = incoming.reply else { return };
        let ask = match codec::decode::<Ask>(&incoming.bytes) {
            Ok(ask) => ask,
            Err(error) => {
                tracing::warn!(from = %incoming.from, %error, "a raft request can't be read");
                return;
            }
        };
        // Without an answer the asker is told so by the mesh.
        let Some(answer) = self.handle(incoming.from, ask).await else { return };
        match codec::encode(&answer) {
            Ok(bytes) => reply.send(Bytes::from(bytes)),
            Err(error) => tracing::warn!(%error, "a raft answer can't be written"),
        }
    }

    async fn handle(&self, from: NodeId, ask: Ask) -> Option<Answer> {
        match ask {
            Ask::Append(request) => {
                if !speaks_for_itself(from, &request.vote) || !(request.entries.is_empty() || self.has_room()) {
                    return None;
                }
                let answer = self.raft.append_entries(request).await.ok()?;
                // What this node appended when it led itself may still be on its way to the disk.
                self.log.settled().await.ok()?;
                if answer.is_success() {
                    *self.last_append.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                }
                Some(Answer::Append(answer))
            }
            Ask::Vote(request) => {
                if !speaks_for_itself(from, &request.vote) || self.gates.votes_held.load(Ordering::Acquire) {
                    return None;
                }
                self.raft.vote(request).await.ok().map(Answer::Vote)
            }
            Ask::Snapshot(chunk) => {
                if !speaks_for_itself(from, &chunk.vote) || !self.has_room() {
                    return None;
                }
                let request = InstallSnapshotRequest {
                    vote: chunk.vote,
                    meta: chunk.meta,
                    offset: chunk.offset,
                    data: chunk.data,
                    done: chunk.done,
                };
                match self.raft.install_snapshot(request).await {
                    Ok(answer) => Some(Answer::Snapshot(Ok(answer))),
                    Err(openraft::error::RaftError::APIError(error)) => Some(Answer::Snapshot(Err(error))),
                    Err(openraft::error::RaftError::Fatal(_)) => None,
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        (self.free_space)(&self.folder).is_none_or(|free| free >= self.append_floor)
    }
}

fn speaks_for_itself(from: NodeId, vote: &Vote) -> bool {
    let itself = vote.leader_id().voted_for() == Some(from.0);
    if !itself {
        tracing::warn!(%from, %vote, "a raft request names another node than its sender");
    }
    itself
}
