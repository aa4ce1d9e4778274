//! What leader and member say to each other about work: lists of messages in CBOR frames.
//!
//! Several hand-outs or reports share a frame. Decoding is total: any bytes give messages within the limits or an error.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::task::encoding::byte_string;
use crate::task::{AttemptEnd, AttemptNumber, Denial, Fence, PodId, TaskId};

/// The largest frame in bytes; a longer one is refused before it is parsed.
pub const MAX_FRAME: usize = 4 << 20;
/// The most messages in one frame.
pub const MAX_MESSAGES: usize = 1_024;
/// A frame is closed when it has grown to this many bytes; one message more may follow, which alone stays below
/// `MAX_FRAME - FRAME_TARGET`.
pub const FRAME_TARGET: usize = 256 << 10;

/// From the leader to a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToMember {
    /// Run an attempt.
    #[serde(rename = "a")]
    Assign(Assignment),
    /// End an attempt; unknown ones are ignored.
    #[serde(rename = "c")]
    Cancel {
        /// The task.
        #[serde(rename = "t")]
        task: TaskId,
        /// Which attempt.
        #[serde(rename = "a")]
        attempt: AttemptNumber,
        /// The hand-out.
        #[serde(rename = "f")]
        fence: Fence,
    },
    /// A report has been answered: the member may forget it.
    #[serde(rename = "v")]
    Verdict {
        /// The task.
        #[serde(rename = "t")]
        task: TaskId,
        /// Which attempt.
        #[serde(rename = "a")]
        attempt: AttemptNumber,
        /// The hand-out.
        #[serde(rename = "f")]
        fence: Fence,
        /// Why it does not count; absent if it does.
        #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
        denied: Option<Denial>,
    },
}

/// One hand-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The hand-out; its term must not be older than the newest the member has seen.
    #[serde(rename = "f")]
    pub fence: Fence,
    /// The task.
    #[serde(rename = "t")]
    pub task: TaskId,
    /// Which attempt this is.
    #[serde(rename = "a")]
    pub attempt: AttemptNumber,
    /// In which of the member's pods.
    #[serde(rename = "p")]
    pub pod: PodId,
    /// The `TaskSpec` in CBOR, as the ledger has it.
    #[serde(rename = "s", with = "byte_string")]
    pub spec: Bytes,
}

/// From a member to the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToLeader {
    /// An attempt has ended. Sent again until it is answered.
    #[serde(rename = "r")]
    Report {
        /// How.
        #[serde(rename = "e")]
        end: Box<AttemptEnd>,
        /// Whether its slot is free again.
        #[serde(rename = "s")]
        slot_free: bool,
    },
    /// A hand-out was not taken; the attempt has not begun.
    #[serde(rename = "d")]
    Decline {
        /// The task.
        #[serde(rename = "t")]
        task: TaskId,
        /// Which attempt.
        #[serde(rename = "a")]
        attempt: AttemptNumber,
        /// The hand-out.
        #[serde(rename = "f")]
        fence: Fence,
        /// Why.
        #[serde(rename = "w")]
        why: DeclineWhy,
    },
}

/// Why a member does not take a hand-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum DeclineWhy {
    /// Every slot of the pod is taken.
    #[error("every slot of the pod is taken")]
    NoFreeSlot,
    /// The node has no such pod.
    #[error("there is no such pod")]
    NoSuchPod,
    /// The node is about to leave.
    #[error("the node is draining")]
    Draining,
    /// Too many reports wait for an answer.
    #[error("too many reports wait for an answer")]
    TooManyReports,
    /// The hand-out is of an older term than one that was seen.
    #[error("the hand-out is of a leadership that is over")]
    Fenced,
    /// The task needs more of its node than this one holds: it was handed to an earlier start of it, which held more.
    #[error("the node holds less than the task needs")]
    Unmet,
    /// The node holds less than its owner asks for.
    #[error("the node holds less than its owner asks for, and takes no tasks")]
    Withheld,
}

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// More messages than a frame may have.
    #[error("a frame has {0} messages; the limit is {MAX_MESSAGES}")]
    TooMany(usize),
    /// More bytes than a frame may have.
    #[error("a frame has {0} bytes; the limit is {MAX_FRAME}")]
    TooLarge(usize),
    /// Not a frame.
    #[error("a frame could not be read: {0}")]
    Malformed(String),
}

/// Packs messages into as few frames as the limits allow, in order.
#[must_use]
pub fn pack<M: Serialize>(messages: &[M]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut frame: Vec<u8> = Vec::new();
    let mut count = 0;
    for message in messages {
        // Writing to memory can't fail, and every field is of a kind that CBOR has.
        let written = ciborium::into_writer(message, &mut frame);
        debug_assert!(written.is_ok());
        count += 1;
        if count == MAX_MESSAGES || frame.len() >= FRAME_TARGET {
            frames.push(Bytes::from(std::mem::take(&mut frame)));
            count = 0;
        }
    }
    if !frame.is_empty() {
        frames.push(Bytes::from(frame));
    }
    frames
}

/// Reads a frame: a sequence of CBOR items, one a message.
///
/// # Errors
/// See [`ProtocolError`]; nothing of a frame that breaks a limit or does not parse is used.
pub fn unpack<M: DeserializeOwned>(frame: &[u8]) -> Result<Vec<M>, ProtocolError> {
    if frame.len() > MAX_FRAME {
        return Err(ProtocolError::TooLarge(frame.len()));
    }
    let mut rest = frame;
    let mut messages = Vec::new();
    while !rest.is_empty() {
        if messages.len() == MAX_MESSAGES {
            return Err(ProtocolError::TooMany(messages.len() + 1));
        }
        messages.push(ciborium::from_reader(&mut rest).map_err(|error| ProtocolError::Malformed(error.to_string()))?);
    }
    Ok(messages)
}
