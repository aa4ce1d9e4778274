//! Well-formed bytes of this room for the fuzz targets to begin with, and that each is read as what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use openraft::{EmptyNode, EntryPayload};
use proptest::prelude::*;

use super::super::codec;
use super::super::engine::{Blob, Membership, RaftEntry, SnapshotMeta, Types, Vote, log_id};
use super::super::entry::{Entry, FORMAT, Fact, Member, Reply};
use super::super::log_writer::{decode_record, encode_record};
use super::super::network::{Answer, Ask, AskRef, Chunk};
use crate::task::strategies::*;
use crate::task::{Denial, MemberRole, SwarmId, Term, UnixMillis};

fn member() -> impl Strategy<Value = Member> {
    let role = prop_oneof![Just(MemberRole::Voter), Just(MemberRole::Worker)];
    (node(), text(), any::<u32>(), role).prop_map(|(node, name, rank, role)| Member { node, name, rank, role })
}

pub(crate) fn fact() -> impl Strategy<Value = Fact> {
    let founded = (any::<[u8; 16]>(), prop::collection::vec(member(), 0..3));
    let refused = (task(), attempt(), fence(), node(), denial());
    prop_oneof![
        1 => founded.prop_map(|(swarm, members)| Fact::Founded { swarm: SwarmId(swarm), members }),
        1 => node().prop_map(|leader| Fact::Opened { leader }),
        1 => node().prop_map(|leader| Fact::Reclaimed { leader }),
        1 => member().prop_map(Fact::Joined),
        1 => node().prop_map(|node| Fact::Left { node }),
        4 => (spec(), prop::option::of(key())).prop_map(|(spec, key)| Fact::Submitted { spec: Box::new(spec), key }),
        4 => end().prop_map(|end| Fact::AttemptEnded(Box::new(end))),
        1 => refused.prop_map(|(task, attempt, fence, node, why)| Fact::ReportRefused { task, attempt, fence, node, why }),
        1 => task().prop_map(|task| Fact::Cancelled { task }),
        1 => task().prop_map(|task| Fact::Retried { task }),
        1 => node().prop_map(|candidate| Fact::Challenged { candidate }),
    ]
}

fn whole_entry() -> impl Strategy<Value = Entry> {
    let facts = prop::collection::vec(fact(), 0..4);
    (any::<(u64, u64)>(), facts).prop_map(|((term, at), facts)| Entry {
        format: FORMAT,
        term: Term(term),
        at: UnixMillis(at),
        facts,
    })
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        Just(Reply::Done),
        (task(), any::<bool>()).prop_map(|(task, duplicate)| Reply::Submitted { task, duplicate }),
        state().prop_map(|state| Reply::Ended { state }),
        denial().prop_map(|denial: Denial| Reply::Denied(denial)),
    ]
}

fn raft_entry() -> impl Strategy<Value = RaftEntry> {
    let voters = prop::collection::btree_set(0..9_u64, 1..4);
    let membership = voters.prop_map(|voters: BTreeSet<u64>| {
        let nodes: BTreeMap<u64, EmptyNode> = voters.iter().map(|id| (*id, EmptyNode {})).collect();
        EntryPayload::Membership(openraft::Membership::new(vec![voters], nodes))
    });
    let blob = whole_entry().prop_map(|entry| {
        let bytes = codec::encode(&entry).unwrap();
        EntryPayload::Normal(Blob::encoded(bytes.into()))
    });
    let payload = prop_oneof![1 => Just(EntryPayload::Blank), 1 => membership, 4 => blob];
    (any::<(u64, u64)>(), payload).prop_map(|((term, index), payload)| RaftEntry { log_id: log_id(term, index), payload })
}

fn vote() -> impl Strategy<Value = Vote> {
    any::<(u64, u64, bool)>().prop_map(
        |(term, node, committed)| {
            if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) }
        },
    )
}

/// Entries, and records without their checksum.
pub(crate) fn entries() -> impl Strategy<Value = Vec<u8>> {
    let record = raft_entry().prop_map(|entry| {
        let mut record = Vec::new();
        encode_record(&entry, &mut record).unwrap();
        record.split_off(8)
    });
    prop_oneof![whole_entry().prop_map(|entry| codec::encode(&entry).unwrap()), record]
}

/// Rows of both kinds.
pub(crate) fn rows() -> impl Strategy<Value = Vec<u8>> {
    super::super::ledger::row_samples()
}

/// Snapshots of small ledgers.
pub(crate) fn snapshots() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::collection::vec(fact(), 0..4), 0..4).prop_map(super::super::ledger::snapshot_of)
}

/// Requests and answers.
pub(crate) fn asks() -> impl Strategy<Value = Vec<u8>> {
    let entries = prop::collection::vec(raft_entry(), 0..3);
    let append = (vote(), entries, any::<Option<(u64, u64)>>()).prop_map(|(vote, entries, leader)| {
        let leader = leader.map(|(term, index)| log_id(term, index));
        codec::encode(&AskRef::Append(&AppendEntriesRequest::<Types> {
            vote,
            prev_log_id: leader,
            entries,
            leader_commit: leader,
        }))
        .unwrap()
    });
    let elect = vote().prop_map(|vote| codec::encode(&AskRef::Vote(&VoteRequest::new(vote, Some(log_id(1, 2))))).unwrap());
    let chunk = (vote(), bytes(), any::<(u64, bool)>()).prop_map(|(vote, data, (offset, done))| {
        let meta = SnapshotMeta {
            last_log_id: Some(log_id(3, 4)),
            last_membership: Membership::default(),
            snapshot_id: "3-4".to_owned(),
        };
        codec::encode(&AskRef::Snapshot(&Chunk { vote, meta, offset, data: data.to_vec(), done })).unwrap()
    });
    let answer = vote().prop_map(|vote| codec::encode(&Answer::Append(AppendEntriesResponse::HigherVote(vote))).unwrap());
    prop_oneof![append, elect, chunk, answer]
}

fn same(one: &RaftEntry, other: &RaftEntry) -> bool {
    let bytes = |entry: &RaftEntry| {
        let mut record = Vec::new();
        encode_record(entry, &mut record).unwrap();
        record
    };
    one.log_id == other.log_id && bytes(one) == bytes(other)
}

proptest! {
    #[test]
    fn an_entry_comes_back_as_it_was(entry in whole_entry()) {
        let bytes = codec::encode(&entry).unwrap();
        prop_assert_eq!(codec::decode_entry(&bytes).unwrap(), entry.clone());
        let encoded = codec::encode_facts(&entry.facts).unwrap();
        let joined = codec::join_entry(entry.term, entry.at, entry.facts.len(), [&encoded[..]].into_iter());
        prop_assert_eq!(&joined[..], &bytes[..]);
        for cut in 0..bytes.len() {
            prop_assert!(codec::decode_entry(&bytes[..cut]).is_err(), "cut at {}", cut);
        }
    }

    #[test]
    fn a_record_of_the_log_comes_back_as_it_was_and_a_changed_one_does_not(
        entry in raft_entry(), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut record = Vec::new();
        encode_record(&entry, &mut record).unwrap();
        prop_assert!(same(&decode_record(entry.log_id.index, &record).unwrap(), &entry));
        let at = at.index(record.len());
        prop_assert!(decode_record(1, &record[..at]).is_err(), "cut at {}", at);
        record[at] ^= flip;
        prop_assert!(decode_record(1, &record).is_err(), "changed at {}", at);
    }

    #[test]
    fn an_append_comes_back_as_it_was(entries in prop::collection::vec(raft_entry(), 0..4), vote in vote()) {
        let request =
            AppendEntriesRequest::<Types> { vote, prev_log_id: None, entries, leader_commit: Some(log_id(1, 1)) };
        let bytes = codec::encode(&AskRef::Append(&request)).unwrap();
        let Ask::Append(read) = codec::decode(&bytes).unwrap() else { panic!("another request") };
        prop_assert_eq!((read.vote, read.leader_commit), (request.vote, request.leader_commit));
        prop_assert!(read.entries.len() == request.entries.len());
        prop_assert!(read.entries.iter().zip(&request.entries).all(|(one, other)| same(one, other)));
    }

    #[test]
    fn replies_come_back_as_they_were(replies in prop::collection::vec(reply(), 0..5)) {
        let replies = Arc::new(replies);
        let read: Arc<Vec<Reply>> = codec::decode(&codec::encode(&replies).unwrap()).unwrap();
        prop_assert_eq!(read, replies);
    }
}
