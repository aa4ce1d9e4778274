//! What a broadcast looks like when it travels over others: the swarm, the service, the copy's number, the message.
//!
//! Pure. The signature proves the sender; the swarm is named inside, since the topic is the same for all swarms of a secret.

use bytes::Bytes;
use libp2p::gossipsub::IdentTopic;

use super::super::Service;
use crate::task::SwarmId;

/// The largest message that also travels over others, in bytes; larger ones go to linked peers only.
pub(super) const MAX_GOSSIP: usize = 64 << 10;

const HEADER: usize = 16 + 1 + 8;

/// The only topic.
pub(super) fn topic() -> IdentTopic {
    IdentTopic::new("dunlin/broadcast/1")
}

/// A broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gossip {
    pub(super) swarm: SwarmId,
    pub(super) service: Service,
    pub(super) id: u64,
    pub(super) payload: Bytes,
}

impl Gossip {
    /// As bytes, if it is not too large to travel this way.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let size = HEADER + self.payload.len();
        (size <= MAX_GOSSIP).then(|| {
            let mut bytes = Vec::with_capacity(size);
            bytes.extend_from_slice(&self.swarm.0);
            bytes.push(self.service as u8);
            bytes.extend_from_slice(&self.id.to_be_bytes());
            bytes.extend_from_slice(&self.payload);
            bytes
        })
    }

    /// Reads one; `None` if it is not well-formed.
    pub(super) fn decode(bytes: Vec<u8>) -> Option<Gossip> {
        let (swarm, rest) = bytes.split_first_chunk::<16>()?;
        let (&[service], rest) = rest.split_first_chunk::<1>()?;
        let (id, _) = rest.split_first_chunk::<8>()?;
        let (swarm, id) = (SwarmId(*swarm), u64::from_be_bytes(*id));
        let service = Service::ALL.get(usize::from(service)).copied()?;
        Some(Gossip { swarm, service, id, payload: Bytes::from(bytes).slice(HEADER..) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_heard_and_anything_else_is_not() {
        let gossip = Gossip { swarm: SwarmId([3; 16]), service: Service::Roster, id: 9, payload: Bytes::from_static(b"x") };
        let bytes = gossip.encode().unwrap();
        assert_eq!(Gossip::decode(bytes.clone()), Some(gossip.clone()));
        assert_eq!(Gossip::decode(bytes[..HEADER - 1].to_vec()), None);
        let mut unknown = bytes;
        unknown[16] = 99;
        assert_eq!(Gossip::decode(unknown), None);
        assert_eq!(Gossip { payload: vec![0; MAX_GOSSIP].into(), ..gossip }.encode(), None);
    }
}
