//! A change of the voters under a living leader: new ones are asked at once, and given a lease's time to answer.

use alloc::collections::BTreeSet;
use core::time::Duration;

use crate::{
    Envelope, History, Input, Instant, Machine, Message, NodeId, Output, Packet, Position, Rank, Settings, Start, StepDown,
    SwarmId, Term,
};

const ME: NodeId = NodeId(1);
const SWARM: SwarmId = SwarmId([7; 16]);

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn voters(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

/// A swarm of one that leads term 1 at 100 ms.
fn alone() -> Machine {
    let history = History::Founded {
        swarm: SWARM,
        charter: None,
        voters: voters(&[1]),
        position: Position { term: Term(1), index: 3 },
        raft_term: Term(1),
        raft_leads: None,
        has_voted: true,
    };
    let start = Start { me: ME, rank: Rank(1), boot: 1, seed: 1, history };
    let (mut machine, _) = Machine::new(Settings::default().validate().unwrap(), start, at(0));
    let _ = machine.step(at(100), Input::Ratified(Term(2)));
    let _ = machine.step(at(100), Input::Opened(Term(2)));
    assert_eq!(machine.may_act(at(110)), Some(Term(2)));
    machine
}

/// Runs the machine's timers up to a moment and gathers what it wants done.
fn pass(machine: &mut Machine, until: Instant) -> alloc::vec::Vec<Output> {
    let mut done = alloc::vec::Vec::new();
    while let Some(due) = machine.deadline().filter(|due| *due <= until) {
        done.extend(machine.step(due, Input::Timer));
        machine.check().unwrap();
    }
    done
}

#[test]
fn a_leader_whose_voters_change_asks_the_new_ones_and_stays() {
    let mut machine = alone();
    let outputs = machine.step(at(5_000), Input::Voters(voters(&[1, 2, 3])));
    let beat = |output: &Output| matches!(output, Output::Broadcast(Packet { message: Message::Beat { .. }, .. }));
    assert!(outputs.iter().any(beat), "{outputs:?}");
    assert_eq!(machine.may_act(at(5_001)), None, "no majority of the new voters has answered yet");
    let message = Message::Ack { term: Term(2), sent_at: at(5_000) };
    let envelope = Envelope { swarm: SWARM, from: NodeId(2), boot: 1, seq: 1 };
    let _ = machine.step(at(5_010), Input::Packet { from: NodeId(2), packet: Packet { envelope, message } });
    assert_eq!(machine.may_act(at(5_011)), Some(Term(2)));
    let later = pass(&mut machine, at(5_500));
    assert!(!later.iter().any(|output| matches!(output, Output::SteppedDown { .. })), "{later:?}");
}

#[test]
fn a_leader_whose_new_voters_never_answer_steps_down_after_one_lease() {
    let mut machine = alone();
    let _ = machine.step(at(5_000), Input::Voters(voters(&[1, 2, 3])));
    let within = pass(&mut machine, at(5_599));
    assert!(!within.iter().any(|output| matches!(output, Output::SteppedDown { .. })), "{within:?}");
    let after = pass(&mut machine, at(5_600) + Duration::from_millis(150));
    assert!(after.iter().any(|output| matches!(output, Output::SteppedDown { why: StepDown::NoMajority, .. })), "{after:?}");
}
