//! Packets as bytes and back: a version byte, the envelope, a kind byte, the fields; little-endian, no padding, nothing optional
//! but what is marked.
//!
//! Decoding is total: any bytes give a packet or a [`DecodeError`], never a panic, and nothing is allocated before its length was
//! checked. Whether a packet makes sense is the machine's question.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crate::bid::{Bid, Draw, NodeId, Position, Rank, Term};
use crate::config::MAX_EXPECT;
use crate::message::{Envelope, Hello, Message, Packet, Pledge, Stage, SwarmId};
use crate::time::Instant;

/// The layout's version.
const VERSION: u8 = 1;

/// The most nodes in a greeting: twice what founds, so that a crowd can be named.
const MAX_NODES: usize = MAX_EXPECT as usize * 2 + 1;

/// The longest packet in bytes.
pub const MAX_PACKET: usize = 64 + 32 + MAX_NODES * 12;

const NO_COUNT: u8 = u8::MAX;

/// Why bytes are not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Longer than [`MAX_PACKET`].
    TooLong(usize),
    /// They end within a field.
    TooShort,
    /// They go on after the last field.
    Trailing(usize),
    /// Another version's.
    Version(u8),
    /// No such message.
    Kind(u8),
    /// A field with a value that can't be.
    Value(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::TooLong(bytes) => write!(f, "an election packet of {bytes} bytes is longer than {MAX_PACKET}"),
            DecodeError::TooShort => f.write_str("an election packet ends within a field"),
            DecodeError::Trailing(bytes) => write!(f, "{bytes} bytes follow the end of an election packet"),
            DecodeError::Version(version) => write!(f, "an election packet of version {version}, not {VERSION}"),
            DecodeError::Kind(kind) => write!(f, "an election packet of unknown kind {kind}"),
            DecodeError::Value(field) => write!(f, "an election packet with an impossible {field}"),
        }
    }
}

impl core::error::Error for DecodeError {}

impl Packet {
    /// The packet as bytes, at most [`MAX_PACKET`] of them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer(Vec::with_capacity(96));
        writer.u8(VERSION);
        writer.0.extend_from_slice(&self.envelope.swarm.0);
        writer.u64(self.envelope.from.0);
        writer.u64(self.envelope.boot);
        writer.u64(self.envelope.seq);
        writer.message(&self.message);
        writer.0
    }

    /// The packet in these bytes.
    ///
    /// # Errors
    /// If they are anything but exactly one packet of this version.
    pub fn decode(bytes: &[u8]) -> Result<Packet, DecodeError> {
        if bytes.len() > MAX_PACKET {
            return Err(DecodeError::TooLong(bytes.len()));
        }
        let mut reader = Reader(bytes);
        match reader.u8()? {
            VERSION => {}
            other => return Err(DecodeError::Version(other)),
        }
        let swarm = SwarmId(reader.array()?);
        let from = NodeId(reader.u64()?);
        let envelope = Envelope { swarm, from, boot: reader.u64()?, seq: reader.u64()? };
        let message = reader.message()?;
        match reader.0.len() {
            0 => Ok(Packet { envelope, message }),
            trailing => Err(DecodeError::Trailing(trailing)),
        }
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn message(&mut self, message: &Message) {
        match message {
            Message::Beat { term, sent_at } => self.kind_and(1, &[term.0, sent_at.as_nanos()]),
            Message::Ack { term, sent_at } => self.kind_and(2, &[term.0, sent_at.as_nanos()]),
            Message::Candidacy { target_term, bid, seq, count } => {
                self.kind_and(3, &[target_term.0, bid.position.term.0, bid.position.index]);
                self.u32(bid.rank.0);
                self.0.extend_from_slice(&bid.draw.points().to_le_bytes());
                self.u64(bid.node.0);
                self.u64(*seq);
                self.u8(count.unwrap_or(NO_COUNT));
            }
            Message::Vote { target_term, to, seq } => self.kind_and(4, &[target_term.0, to.0, *seq]),
            Message::Refuse { term, leader } => self.kind_and(5, &[term.0, leader.0]),
            Message::Stale { term } => self.kind_and(6, &[term.0]),
            Message::Withdraw => self.u8(7),
            Message::Hello(hello) => self.hello(hello),
        }
    }

    fn kind_and(&mut self, kind: u8, fields: &[u64]) {
        self.u8(kind);
        fields.iter().for_each(|field| self.u64(*field));
    }

    fn hello(&mut self, hello: &Hello) {
        self.u8(8);
        self.u8(hello.expect);
        self.u32(hello.rank.0);
        match hello.stage {
            Stage::Looking => self.u8(0),
            Stage::Pledged => self.u8(1),
            Stage::Founded(swarm) => {
                self.u8(2);
                self.0.extend_from_slice(&swarm.0);
            }
        }
        // The machine remembers no more peers than this, so nothing is cut off.
        let count = u8::try_from(hello.nodes.0.len().min(MAX_NODES)).unwrap_or(u8::MAX);
        self.u8(count);
        for (node, rank) in hello.nodes.0.iter().take(usize::from(count)) {
            self.u64(node.0);
            self.u32(rank.0);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::TooShort)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn term(&mut self) -> Result<Term, DecodeError> {
        Ok(Term(self.u64()?))
    }

    fn message(&mut self) -> Result<Message, DecodeError> {
        match self.u8()? {
            1 => Ok(Message::Beat { term: self.term()?, sent_at: Instant::from_nanos(self.u64()?) }),
            2 => Ok(Message::Ack { term: self.term()?, sent_at: Instant::from_nanos(self.u64()?) }),
            3 => self.candidacy(),
            4 => Ok(Message::Vote { target_term: self.term()?, to: NodeId(self.u64()?), seq: self.u64()? }),
            5 => Ok(Message::Refuse { term: self.term()?, leader: NodeId(self.u64()?) }),
            6 => Ok(Message::Stale { term: self.term()? }),
            7 => Ok(Message::Withdraw),
            8 => self.hello(),
            other => Err(DecodeError::Kind(other)),
        }
    }

    fn candidacy(&mut self) -> Result<Message, DecodeError> {
        let target_term = self.term()?;
        let position = Position { term: self.term()?, index: self.u64()? };
        let rank = Rank(self.u32()?);
        let points = i32::from_le_bytes(self.array()?);
        if points > 0 {
            return Err(DecodeError::Value("draw"));
        }
        let bid = Bid { position, rank, draw: Draw::new(points), node: NodeId(self.u64()?) };
        let seq = self.u64()?;
        let count = Some(self.u8()?).filter(|count| *count != NO_COUNT);
        Ok(Message::Candidacy { target_term, bid, seq, count })
    }

    fn hello(&mut self) -> Result<Message, DecodeError> {
        let expect = self.u8()?;
        let rank = Rank(self.u32()?);
        let stage = match self.u8()? {
            0 => Stage::Looking,
            1 => Stage::Pledged,
            2 => Stage::Founded(SwarmId(self.array()?)),
            _ => return Err(DecodeError::Value("stage")),
        };
        let count = usize::from(self.u8()?);
        if count > MAX_NODES {
            return Err(DecodeError::Value("number of nodes"));
        }
        let mut nodes = BTreeMap::new();
        for _ in 0..count {
            let node = NodeId(self.u64()?);
            // Ascending, so that a set has one encoding only.
            if nodes.last_key_value().is_some_and(|(last, _)| *last >= node) {
                return Err(DecodeError::Value("order of nodes"));
            }
            nodes.insert(node, Rank(self.u32()?));
        }
        Ok(Message::Hello(Hello { expect, rank, stage, nodes: Pledge(nodes) }))
    }
}
