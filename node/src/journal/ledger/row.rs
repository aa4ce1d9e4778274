//! The bytes of the ledger's rows: small, versioned, written and read by hand because the fold does it for every fact.
//!
//! Whatever can't be read is an error; a row of a newer version is refused.

use std::time::Duration;

use crate::api::EventKind;
use crate::journal::codec;
use crate::task::{
    AttemptNumber, AttemptRecord, DeadWhy, Fence, GroupName, Need, NodeId, Outcome, RetryPolicy, TaskId, TaskRecord, TaskState,
    Term, UnixMillis, Usage,
};

/// The version of every row that is written.
const VERSION: u8 = 2;
/// The first one that keeps what an attempt's scratch directory took.
const WITH_SCRATCH: u8 = 2;

/// Bytes of a row that make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of the ledger is damaged: {0}")]
pub struct BadRow(&'static str);

/// The changing part of a task with what the fold needs to know of its immutable part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateRow {
    pub(super) record: TaskRecord,
    pub(super) group: GroupName,
    pub(super) need: Need,
    pub(super) retry: RetryPolicy,
    pub(super) key: Option<[u8; 16]>,
    /// Its place among the finished tasks.
    pub(super) finished: Option<u64>,
}

impl BadRow {
    pub(super) const GROUP: BadRow = BadRow("group");
    pub(super) const NEED: BadRow = BadRow("need");
}

impl StateRow {
    /// How long its policy lets it wait before its next attempt.
    pub(super) fn wait(&self) -> Duration {
        let ended = u32::try_from(self.record.attempts.len()).unwrap_or(u32::MAX);
        self.retry.wait_after(ended.saturating_sub(self.record.forgiven))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(VERSION);
        put_state(out, &self.record.state);
        put(out, self.record.submitted_at.0);
        put_option(out, self.record.ended_at.map(|at| at.0));
        put(out, u64::from(self.record.forgiven));
        put_bytes(out, self.group.as_str().as_bytes());
        out.push(self.need.code());
        put(out, u64::from(self.retry.attempts));
        out.push(u8::from(self.retry.on_failure));
        put_duration(out, self.retry.backoff);
        put_duration(out, self.retry.backoff_max);
        put_bytes(out, self.key.as_ref().map_or(&[][..], |key| key));
        put_option(out, self.finished);
        put(out, self.record.attempts.len() as u64);
        self.record.attempts.iter().for_each(|attempt| put_attempt(out, attempt));
    }

    pub(super) fn decode(task: TaskId, bytes: &[u8]) -> Result<Self, BadRow> {
        let mut input = Input(bytes);
        let version = input.version()?;
        let state = input.state()?;
        let submitted_at = UnixMillis(input.number()?);
        let ended_at = input.option()?.map(UnixMillis);
        let forgiven = input.small()?;
        let group = input.text()?.parse().map_err(|_| BadRow("group"))?;
        let need = Need::from_code(input.byte()?).ok_or(BadRow::NEED)?;
        let retry = RetryPolicy {
            attempts: input.small()?,
            on_failure: input.byte()? != 0,
            backoff: input.duration()?,
            backoff_max: input.duration()?,
        };
        let key = match input.bytes()? {
            [] => None,
            key => Some(key.try_into().map_err(|_| BadRow("key"))?),
        };
        let finished = input.option()?;
        let count = input.number()?;
        let attempts = (0..count).map(|_| input.attempt(version)).collect::<Result<_, _>>()?;
        let record = TaskRecord { task, state, submitted_at, ended_at, attempts, forgiven };
        Ok(StateRow { record, group, need, retry, key, finished })
    }
}

/// One event as it is kept: what [`crate::api::EventView`] is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventRow {
    pub(super) offset: u16,
    pub(super) kind: EventKind,
    pub(super) task: Option<TaskId>,
    pub(super) node: Option<NodeId>,
    pub(super) attempt: Option<AttemptNumber>,
    pub(super) text: String,
}

/// The events of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventsRow {
    pub(super) at: UnixMillis,
    pub(super) term: Term,
    pub(super) events: Vec<EventRow>,
}

impl EventsRow {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(VERSION);
        put(out, self.at.0);
        put(out, self.term.0);
        put(out, self.events.len() as u64);
        for event in &self.events {
            put(out, u64::from(event.offset));
            out.push(kind_code(event.kind));
            put_option(out, event.task.map(|task| task.0));
            put_option(out, event.node.map(|node| node.0));
            put_option(out, event.attempt.map(|attempt| u64::from(attempt.0)));
            put_bytes(out, event.text.as_bytes());
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let mut input = Input(bytes);
        input.version()?;
        let at = UnixMillis(input.number()?);
        let term = Term(input.number()?);
        let count = input.number()?;
        let events = (0..count).map(|_| input.event()).collect::<Result<_, _>>()?;
        Ok(EventsRow { at, term, events })
    }
}

/// The number of a state in keys and rows.
pub(super) fn state_code(state: &TaskState) -> u8 {
    match state {
        TaskState::Queued => 0,
        TaskState::Delayed { .. } => 1,
        TaskState::Succeeded => 2,
        TaskState::Dead(DeadWhy::AttemptsExhausted) => 3,
        TaskState::Dead(DeadWhy::NotRetried) => 4,
        TaskState::Cancelled => 5,
    }
}

const KINDS: [EventKind; 12] = [
    EventKind::Founded,
    EventKind::LeaderElected,
    EventKind::Challenged,
    EventKind::NodeJoined,
    EventKind::NodeLeft,
    EventKind::TaskSubmitted,
    EventKind::AttemptEnded,
    EventKind::ReportRefused,
    EventKind::TaskSucceeded,
    EventKind::TaskDead,
    EventKind::TaskCancelled,
    EventKind::TaskRetried,
];

fn kind_code(kind: EventKind) -> u8 {
    match kind {
        EventKind::Founded => 0,
        EventKind::LeaderElected => 1,
        EventKind::Challenged => 2,
        EventKind::NodeJoined => 3,
        EventKind::NodeLeft => 4,
        EventKind::TaskSubmitted => 5,
        EventKind::AttemptEnded => 6,
        EventKind::ReportRefused => 7,
        EventKind::TaskSucceeded => 8,
        EventKind::TaskDead => 9,
        EventKind::TaskCancelled => 10,
        EventKind::TaskRetried => 11,
    }
}

fn put_state(out: &mut Vec<u8>, state: &TaskState) {
    out.push(state_code(state));
    if let TaskState::Delayed { until } = state {
        put(out, until.0);
    }
}

fn put_attempt(out: &mut Vec<u8>, attempt: &AttemptRecord) {
    put(out, u64::from(attempt.attempt.0));
    put(out, attempt.fence.term.0);
    put(out, attempt.fence.sequence);
    out.extend_from_slice(&attempt.node.0.to_le_bytes());
    put(out, attempt.ended_at.0);
    put_duration(out, attempt.usage.wall);
    put_duration(out, attempt.usage.cpu);
    put(out, attempt.usage.memory_peak);
    put(out, attempt.usage.scratch_peak);
    put_outcome(out, &attempt.outcome);
}

/// The common end in two bytes, every other one as the CBOR it travels in.
fn put_outcome(out: &mut Vec<u8>, outcome: &Outcome) {
    match outcome {
        Outcome::Exited(0) => put_bytes(out, &[]),
        // Encoding into memory can fail only for types that CBOR can't hold; outcomes have none.
        other => put_bytes(out, &codec::encode(other).unwrap_or_default()),
    }
}

/// Variable width, seven bits a byte, the lowest first.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn put_option(out: &mut Vec<u8>, number: Option<u64>) {
    out.push(u8::from(number.is_some()));
    number.into_iter().for_each(|number| put(out, number));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    put(out, duration.as_secs());
    put(out, u64::from(duration.subsec_nanos()));
}

/// What of a row is still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn version(&mut self) -> Result<u8, BadRow> {
        let version = self.byte()?;
        if (1..=VERSION).contains(&version) { Ok(version) } else { Err(BadRow("version")) }
    }

    fn byte(&mut self) -> Result<u8, BadRow> {
        let (first, rest) = self.0.split_first().ok_or(BadRow("too short"))?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64, BadRow> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(BadRow("number"))
    }

    fn small(&mut self) -> Result<u32, BadRow> {
        self.number()?.try_into().map_err(|_| BadRow("number"))
    }

    fn option(&mut self) -> Result<Option<u64>, BadRow> {
        Ok(if self.byte()? == 0 { None } else { Some(self.number()?) })
    }

    fn bytes(&mut self) -> Result<&'a [u8], BadRow> {
        let length = usize::try_from(self.number()?).map_err(|_| BadRow("length"))?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(BadRow("too short"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'a str, BadRow> {
        std::str::from_utf8(self.bytes()?).map_err(|_| BadRow("text"))
    }

    fn fixed(&mut self) -> Result<u64, BadRow> {
        let (bytes, rest) = self.0.split_first_chunk::<8>().ok_or(BadRow("too short"))?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    fn duration(&mut self) -> Result<Duration, BadRow> {
        let seconds = self.number()?;
        let nanos = self.small()?;
        if nanos >= 1_000_000_000 { Err(BadRow("duration")) } else { Ok(Duration::new(seconds, nanos)) }
    }

    fn state(&mut self) -> Result<TaskState, BadRow> {
        Ok(match self.byte()? {
            0 => TaskState::Queued,
            1 => TaskState::Delayed { until: UnixMillis(self.number()?) },
            2 => TaskState::Succeeded,
            3 => TaskState::Dead(DeadWhy::AttemptsExhausted),
            4 => TaskState::Dead(DeadWhy::NotRetried),
            5 => TaskState::Cancelled,
            _ => return Err(BadRow("state")),
        })
    }

    fn attempt(&mut self, version: u8) -> Result<AttemptRecord, BadRow> {
        Ok(AttemptRecord {
            attempt: AttemptNumber(self.small()?),
            fence: Fence { term: Term(self.number()?), sequence: self.number()? },
            node: NodeId(self.fixed()?),
            ended_at: UnixMillis(self.number()?),
            usage: Usage {
                wall: self.duration()?,
                cpu: self.duration()?,
                memory_peak: self.number()?,
                scratch_peak: if version >= WITH_SCRATCH { self.number()? } else { 0 },
            },
            outcome: match self.bytes()? {
                [] => Outcome::Exited(0),
                bytes => codec::decode(bytes).map_err(|_| BadRow("outcome"))?,
            },
        })
    }

    fn event(&mut self) -> Result<EventRow, BadRow> {
        Ok(EventRow {
            offset: self.small()?.try_into().map_err(|_| BadRow("offset"))?,
            kind: *KINDS.get(usize::from(self.byte()?)).ok_or(BadRow("event"))?,
            task: self.option()?.map(TaskId),
            node: self.option()?.map(NodeId),
            attempt: match self.option()? {
                Some(attempt) => Some(AttemptNumber(attempt.try_into().map_err(|_| BadRow("attempt"))?)),
                None => None,
            },
            text: self.text()?.to_owned(),
        })
    }
}

/// Reads a row of each kind; what can be read must be written and read the same. For the fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::journal) fn survives(bytes: &[u8]) {
    let mut again = Vec::new();
    if let Ok(row) = StateRow::decode(TaskId(7), bytes) {
        row.encode(&mut again);
        assert_eq!(StateRow::decode(TaskId(7), &again).as_ref(), Ok(&row));
    }
    if let Ok(row) = EventsRow::decode(bytes) {
        row.encode(&mut again);
        assert_eq!(EventsRow::decode(&again).as_ref(), Ok(&row));
    }
}

#[cfg(test)]
pub(in crate::journal) mod tests;
