//! What the fuzz targets claim, tried without cargo-fuzz: on any bytes, on well-formed ones with a few changed, on those of
//! the committed corpora, and on lengths that announce more than there is.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::task::strategies;
use crate::worker::protocol::{Assignment, DeclineWhy};

fn corpora() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

fn cbor(value: &(impl ?Sized + serde::Serialize)) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

fn beats() -> impl Strategy<Value = Vec<u8>> {
    let role = prop_oneof![Just(crate::task::MemberRole::Voter), Just(crate::task::MemberRole::Worker)];
    let lists = (prop::collection::vec(strategies::pod(), 0..3), prop::collection::vec(strategies::held(), 0..4));
    let sandbox = (strategies::need(), strategies::level());
    (any::<(u64, u64, u32, bool, bool)>(), strategies::text(), role, lists, strategies::fence(), sandbox).prop_map(
        |((boot, seq, rank, draining, busy), name, role, (pods, held), processed, (need, requires))| {
            let version = "0.1.0".to_owned();
            let crate::task::Need { level, memory_enforced } = need;
            let beat = Heartbeat {
                boot,
                seq,
                name,
                version,
                rank,
                role,
                pods,
                held,
                processed,
                draining,
                busy,
                level,
                memory_enforced,
                requires,
            };
            assert_eq!(Heartbeat::decode(&beat.encode()).unwrap(), beat);
            beat.encode().to_vec()
        },
    )
}

fn to_member() -> impl Strategy<Value = ToMember> {
    let which = || (strategies::task(), strategies::attempt(), strategies::fence());
    prop_oneof![
        (which(), any::<u16>(), strategies::spec()).prop_map(|((task, attempt, fence), pod, spec)| {
            let pod = crate::task::PodId(pod);
            ToMember::Assign(Assignment { fence, task, attempt, pod, spec: cbor(&spec).into() })
        }),
        which().prop_map(|(task, attempt, fence)| ToMember::Cancel { task, attempt, fence }),
        (which(), prop::option::of(strategies::denial())).prop_map(|((task, attempt, fence), denied)| ToMember::Verdict {
            task,
            attempt,
            fence,
            denied
        }),
    ]
}

fn to_leader() -> impl Strategy<Value = ToLeader> {
    let why = prop::sample::select(vec![
        DeclineWhy::NoFreeSlot,
        DeclineWhy::NoSuchPod,
        DeclineWhy::Draining,
        DeclineWhy::TooManyReports,
        DeclineWhy::Fenced,
        DeclineWhy::Unmet,
        DeclineWhy::Withheld,
    ]);
    let declined = (strategies::task(), strategies::attempt(), strategies::fence(), why);
    prop_oneof![
        (strategies::end(), any::<bool>()).prop_map(|(end, slot_free)| ToLeader::Report { end: Box::new(end), slot_free }),
        declined.prop_map(|(task, attempt, fence, why)| ToLeader::Decline { task, attempt, fence, why }),
    ]
}

fn frames_of_work() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(to_member(), 0..4).prop_map(|messages| protocol::pack(&messages).concat()),
        prop::collection::vec(to_leader(), 0..4).prop_map(|messages| protocol::pack(&messages).concat()),
    ]
}

/// Well-formed bytes for each target.
fn samples(name: &str) -> BoxedStrategy<Vec<u8>> {
    match name {
        "entry" => journal::fuzzing::samples::entries().boxed(),
        "row" => journal::fuzzing::samples::rows().boxed(),
        "snapshot" => journal::fuzzing::samples::snapshots().boxed(),
        "raft" => journal::fuzzing::samples::asks().boxed(),
        "frame" => mesh::fuzzing::samples::streams().boxed(),
        "work" => frames_of_work().boxed(),
        "heartbeat" => beats().boxed(),
        "request" => crate::api::samples::messages().boxed(),
        "election" => packets().boxed(),
        "sandbox" => crate::sandbox::samples().boxed(),
        other => panic!("there are no samples for `{other}`"),
    }
}

fn packets() -> impl Strategy<Value = Vec<u8>> {
    use dunlin_election::{Envelope, Hello, Instant, Message, NodeId, Packet, Pledge, Rank, Stage, SwarmId, Term};
    let hello = (any::<(u8, u32)>(), prop::collection::btree_map(any::<u64>(), any::<u32>(), 0..4)).prop_map(
        |((expect, rank), nodes)| {
            let nodes = nodes.into_iter().map(|(node, rank)| (NodeId(node), Rank(rank))).collect();
            Message::Hello(Hello { expect, rank: Rank(rank), stage: Stage::Pledged, nodes: Pledge(nodes) })
        },
    );
    let beat = any::<(u64, u64)>().prop_map(|(term, at)| Message::Beat { term: Term(term), sent_at: Instant::from_nanos(at) });
    let vote = any::<[u64; 3]>().prop_map(|[term, to, seq]| Message::Vote { target_term: Term(term), to: NodeId(to), seq });
    (any::<([u8; 16], u64, u64)>(), prop_oneof![hello, beat, vote]).prop_map(|((swarm, from, boot), message)| {
        Packet { envelope: Envelope { swarm: SwarmId(swarm), from: NodeId(from), boot, seq: 1 }, message }.encode()
    })
}

/// Where to change what: bytes overwritten, put in, taken out.
fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..5)
}

fn damaged(mut bytes: Vec<u8>, damage: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    for (at, byte, act) in damage {
        let at = at.index(bytes.len() + 1);
        match act {
            0 => bytes.insert(at, *byte),
            1 => bytes.truncate(at),
            _ if at == bytes.len() => bytes.push(*byte),
            2 => drop(bytes.remove(at)),
            _ => bytes[at] = *byte,
        }
    }
    bytes
}

#[test]
fn every_target_has_samples_a_file_and_a_corpus() {
    let targets = corpora().join("../fuzz_targets");
    for (name, target) in TARGETS {
        let mut runner = TestRunner::deterministic();
        for _ in 0..20 {
            target(&samples(name).new_tree(&mut runner).unwrap().current());
        }
        assert!(targets.join(name).with_extension("rs").is_file(), "fuzz/fuzz_targets has no `{name}`");
        assert!(corpora().join(name).is_dir(), "fuzz/corpus has no `{name}`");
    }
}

#[test]
fn every_file_of_the_fuzz_corpora_is_read_without_a_panic() {
    for (name, target) in TARGETS {
        let mut fed = 0;
        for file in fs::read_dir(corpora().join(name)).unwrap() {
            target(&fs::read(file.unwrap().path()).unwrap());
            fed += 1;
        }
        assert!(fed > 0, "fuzz/corpus/{name} is empty");
    }
}

/// A handful of well-formed inputs for each target, for a corpus to begin with.
#[test]
#[ignore = "writes into fuzz/corpus"]
fn seeds_are_written() {
    for (name, _) in TARGETS {
        let folder = corpora().join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut runner = TestRunner::deterministic();
        for number in 0..16 {
            fs::write(folder.join(format!("seed-{number:02}")), samples(name).new_tree(&mut runner).unwrap().current()).unwrap();
        }
    }
}

fn any_sample() -> impl Strategy<Value = (usize, Vec<u8>)> {
    (0..TARGETS.len()).prop_flat_map(|which| (Just(which), samples(TARGETS[which].0)))
}

proptest! {
    #![proptest_config(strategies::repeatable(512))]

    #[test]
    fn any_bytes_are_an_error_or_a_value(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        TARGETS.iter().for_each(|(_, target)| target(&bytes));
    }

    #[test]
    fn well_formed_bytes_with_a_few_changed_are_an_error_or_a_value((which, bytes) in any_sample(), damage in damage()) {
        TARGETS[which].1(&bytes);
        TARGETS[which].1(&damaged(bytes, &damage));
    }
}

/// In the process that tries lengths, more than this can't be had.
const MEMORY: u64 = 256 << 20;
const CHILD: &str = "DUNLIN_TEST_SHORT_OF_MEMORY";

#[test]
fn a_length_that_announces_a_gigabyte_takes_no_memory_for_it() {
    if std::env::var_os(CHILD).is_some() {
        let limit = rustix::process::Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
        rustix::process::setrlimit(rustix::process::Resource::Data, limit).unwrap();
        announcements().iter().for_each(|bytes| TARGETS.iter().for_each(|(_, target)| target(bytes)));
        println!("all refused");
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["fuzzing::tests::a_length_that_announces_a_gigabyte_takes_no_memory_for_it", "--exact", "--nocapture"]);
    let output = child.args(["--test-threads", "1"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("all refused"), "{said}");
}

/// Every well-formed sample, cut after each of its first bytes, with a length of 1 GiB and one of nearly 2^64 following as
/// each kind of CBOR item that has a length, and as the plain numbers of the other formats.
fn announcements() -> Vec<Vec<u8>> {
    let mut tails = Vec::new();
    for major in [0x40_u8, 0x60, 0x80, 0xa0] {
        tails.push([&[major | 26][..], &(1_u32 << 30).to_be_bytes()].concat());
        tails.push([&[major | 27][..], &(u64::MAX >> 2).to_be_bytes()].concat());
    }
    tails.push((1_u32 << 30).to_le_bytes().to_vec());
    tails.push((63_u32 << 20).to_le_bytes().to_vec());
    tails.push(vec![0xff, 0xff, 0xff, 0xff, 0x7f]);
    let mut all = Vec::new();
    for (name, _) in TARGETS {
        let mut runner = TestRunner::deterministic();
        for _ in 0..3 {
            let whole = samples(name).new_tree(&mut runner).unwrap().current();
            for cut in 0..whole.len().min(48) {
                all.extend(tails.iter().map(|tail| [&whole[..cut], tail].concat()));
            }
        }
    }
    all
}

/// Reading recurses no deeper than its types and the decoder's own limit: a tower of brackets is an error.
#[test]
fn a_tower_of_brackets_is_refused() {
    for bracket in [0x81_u8, 0x9f, 0xbf, 0xc1, 0x5f, 0x7f, 0xd8] {
        let tower = vec![bracket; 200_000];
        let hidden = [&cbor(&"an unknown field")[..], &tower].concat();
        for bytes in [tower.clone(), [&[0xa1][..], &hidden].concat(), [&[0xa1, 0x61, b'f'][..], &tower].concat()] {
            TARGETS.iter().for_each(|(_, target)| target(&bytes));
        }
    }
}
