//! Single rules, each as one claim about one machine or a small world.

use std::time::Duration;
use std::vec::Vec;

use crate::sim::world::{Setup, World};
use crate::{
    Bid, Draw, Envelope, History, Ignored, Input, Instant, Machine, Message, NodeId, Note, Output, Packet, Position, Rank,
    RoleView, Settings, Start, StepDown, SwarmId, Term,
};

const SWARM: SwarmId = SwarmId([1; 16]);

fn at(millis: u64) -> Instant {
    Instant::from_nanos(5_000_000_000) + Duration::from_millis(millis)
}

/// Node 0 of three voters, at term 1 with an entry; restarted or not.
fn machine(has_voted: bool, voters: u64, raft_leads: Option<Term>) -> Machine {
    let history = History::Founded {
        swarm: SWARM,
        charter: None,
        voters: (0..voters).map(NodeId).collect(),
        position: Position { term: Term(1), index: 1 },
        raft_term: Term(1),
        raft_leads,
        has_voted,
    };
    let start = Start { me: NodeId(0), rank: Rank(100), boot: 1, seed: 1, history };
    Machine::new(Settings::default().validate().expect("defaults"), start, at(0)).0
}

fn packet(from: u64, seq: u64, message: Message) -> Input {
    let envelope = Envelope { swarm: SWARM, from: NodeId(from), boot: 1, seq };
    Input::Packet { from: NodeId(from), packet: Packet { envelope, message } }
}

fn candidacy(from: u64, rank: u32, target: u64, seq: u64) -> Input {
    let position = Position { term: Term(1), index: 1 };
    let bid = Bid { position, rank: Rank(rank), draw: Draw::NONE, node: NodeId(from) };
    packet(from, seq, Message::Candidacy { target_term: Term(target), bid, seq, count: None })
}

fn beat(from: u64, term: u64, seq: u64) -> Input {
    packet(from, seq, Message::Beat { term: Term(term), sent_at: at(0) })
}

fn ignored(outputs: &[Output]) -> Option<Ignored> {
    outputs.iter().find_map(|output| match output {
        Output::Ignored { why, .. } => Some(*why),
        _ => None,
    })
}

fn sent(outputs: &[Output]) -> Vec<Message> {
    let messages = outputs.iter().filter_map(|output| match output {
        Output::Send { packet, .. } | Output::Broadcast(packet) => Some(packet.message.clone()),
        _ => None,
    });
    messages.collect()
}

fn step(machine: &mut Machine, millis: u64, input: Input) -> Vec<Output> {
    let outputs = machine.step(at(millis), input).into_iter().collect();
    machine.check().expect("invariants");
    outputs
}

/// Fires the timer whenever it is due, up to a moment.
fn run_to(machine: &mut Machine, millis: u64) -> Vec<Output> {
    let mut all = Vec::new();
    while let Some(due) = machine.deadline().filter(|due| *due <= at(millis)) {
        all.extend(machine.step(due, Input::Timer));
        assert!(machine.deadline().is_none_or(|next| next > due), "a deadline that stays makes the driver spin");
        machine.check().expect("invariants");
    }
    all
}

#[test]
fn envelopes_that_are_forged_foreign_old_or_no_voters_are_ignored() {
    let mut node = machine(false, 3, None);
    let forged = packet(1, 1, Message::Withdraw);
    let Input::Packet { packet: inner, .. } = forged.clone() else { panic!("a packet") };
    let outputs = step(&mut node, 0, Input::Packet { from: NodeId(2), packet: inner });
    assert_eq!(ignored(&outputs), Some(Ignored::ForgedSender));

    let Input::Packet { packet: mut foreign, .. } = forged else { panic!("a packet") };
    foreign.envelope.swarm = SwarmId([2; 16]);
    let outputs = step(&mut node, 0, Input::Packet { from: NodeId(1), packet: foreign });
    assert_eq!(ignored(&outputs), Some(Ignored::OtherSwarm));

    assert_eq!(ignored(&step(&mut node, 0, beat(7, 1, 1))), Some(Ignored::NotAVoter));
    assert_eq!(ignored(&step(&mut node, 0, beat(1, 1, 5))), None);
    assert_eq!(ignored(&step(&mut node, 0, beat(1, 1, 5))), Some(Ignored::OldPacket), "the same again");
    assert_eq!(ignored(&step(&mut node, 0, beat(1, 1, 4))), Some(Ignored::OldPacket), "an older one");
}

#[test]
fn after_a_restart_a_node_neither_votes_nor_stands_for_a_lease() {
    let mut node = machine(true, 3, None);
    assert_eq!(ignored(&step(&mut node, 10, candidacy(1, 200, 2, 1))), Some(Ignored::NotTakingPart));
    let outputs = run_to(&mut node, 999);
    assert!(outputs.is_empty() && node.view().role == RoleView::Booting);
    let outputs = run_to(&mut node, 1_000);
    assert!(outputs.contains(&Output::HoldVotes(false)), "{outputs:?}");
    step(&mut node, 1_000, candidacy(1, 200, 2, 2));
    assert_eq!(node.view().role, RoleView::Voter { to: NodeId(1) });
}

#[test]
fn who_hears_a_leader_refuses_and_who_does_not_votes() {
    let mut node = machine(false, 3, None);
    step(&mut node, 0, beat(1, 1, 1));
    let outputs = step(&mut node, 900, candidacy(2, 200, 2, 1));
    assert_eq!(sent(&outputs), [Message::Refuse { term: Term(1), leader: NodeId(1) }]);
    let outputs = step(&mut node, 1_001, candidacy(2, 200, 2, 2));
    assert!(matches!(sent(&outputs)[..], [Message::Vote { to: NodeId(2), .. }]), "{outputs:?}");
}

#[test]
fn a_lower_bid_is_answered_by_standing_and_an_equal_one_by_a_vote() {
    let mut node = machine(false, 3, None);
    let outputs = step(&mut node, 1, candidacy(1, 99, 2, 1));
    assert!(matches!(outputs[0], Output::Note(Note::Stood { against: Some(NodeId(1)), .. })), "{outputs:?}");
    let mut node = machine(false, 3, None);
    step(&mut node, 1, candidacy(1, 100, 2, 1));
    assert_eq!(node.view().role, RoleView::Voter { to: NodeId(1) });
}

#[test]
fn a_candidacy_for_a_term_that_is_over_is_told_so() {
    let mut node = machine(false, 3, None);
    step(&mut node, 0, Input::RaftTerm(Term(6)));
    assert_eq!(sent(&step(&mut node, 1, candidacy(1, 200, 5, 1))), [Message::Stale { term: Term(6) }]);
}

/// A leader of term 2 whose gate is open.
fn leader() -> Machine {
    let mut node = machine(false, 3, None);
    step(&mut node, 0, Input::RaftLeads(Some(Term(2))));
    step(&mut node, 1, Input::Opened(Term(2)));
    assert_eq!(node.may_act(at(1)), None, "no majority has acknowledged a beat yet");
    let ack = Message::Ack { term: Term(2), sent_at: at(0) };
    let outputs = step(&mut node, 2, packet(1, 1, ack));
    assert!(outputs.contains(&Output::MayAct { term: Term(2) }), "{outputs:?}");
    node
}

#[test]
fn the_gate_closes_by_the_clock_without_any_input() {
    let node = leader();
    assert_eq!(node.acting_until(), Some(at(600)), "from when the beat was sent, not from when it was acknowledged");
    assert_eq!((node.may_act(at(599)), node.may_act(at(600))), (Some(Term(2)), None));
}

#[test]
fn a_leader_that_was_paused_steps_down_before_it_beats() {
    let mut node = leader();
    let outputs = step(&mut node, 2_000, Input::Timer);
    assert_eq!(outputs[0], Output::SteppedDown { term: Term(2), why: StepDown::NoMajority });
    assert_eq!(outputs[1], Output::Silence(true));
    assert!(sent(&outputs).is_empty(), "no beat: {outputs:?}");
}

#[test]
fn an_acknowledgement_of_what_this_leadership_never_sent_prolongs_nothing() {
    let mut node = leader();
    for (seq, term, sent_at) in [(2, 2, at(400)), (3, 1, at(2)), (4, 2, Instant::ORIGIN)] {
        let outputs = step(&mut node, 5, packet(1, seq, Message::Ack { term: Term(term), sent_at }));
        assert_eq!(ignored(&outputs), Some(Ignored::NotOurs));
    }
    assert_eq!(node.acting_until(), Some(at(600)));
}

#[test]
fn a_leader_notes_a_challenge_and_ends_with_a_newer_term() {
    let mut node = leader();
    let outputs = step(&mut node, 10, candidacy(2, 200, 3, 1));
    assert!(matches!(outputs[0], Output::Challenge { candidate: NodeId(2), .. }));
    assert!(sent(&outputs).is_empty() && node.may_act(at(10)).is_some(), "its beats go on: {outputs:?}");
    let outputs = step(&mut node, 20, candidacy(2, 200, 9, 2));
    assert_eq!(outputs[0], Output::SteppedDown { term: Term(2), why: StepDown::NewerTerm(Term(8)) });
}

#[test]
fn a_leader_that_raft_deposed_stops_at_once() {
    let mut node = leader();
    let outputs = step(&mut node, 10, Input::RaftLeads(None));
    assert_eq!(outputs[0], Output::SteppedDown { term: Term(2), why: StepDown::RaftDeposed });
    assert_eq!(node.may_act(at(10)), None);
}

#[test]
fn a_late_ratification_of_a_term_that_is_over_crowns_nobody() {
    let mut node = machine(false, 3, None);
    step(&mut node, 0, beat(1, 5, 1));
    let outputs = step(&mut node, 1, Input::Ratified(Term(4)));
    assert_eq!(ignored(&outputs), Some(Ignored::StaleTerm));
    assert_eq!(node.view().leader, Some((NodeId(1), Term(5))));
}

#[test]
fn a_restarted_raft_leader_is_silent_and_must_win_its_term_back() {
    let mut node = machine(true, 3, Some(Term(1)));
    assert!(node.view().silent);
    step(&mut node, 1, Input::RaftLeads(Some(Term(1))));
    assert_eq!(node.view().role, RoleView::Booting, "Raft's word alone crowns nobody");
    let mut told = Vec::new();
    for millis in (1_000..3_000).step_by(10) {
        told.extend(run_to(&mut node, millis));
        if let RoleView::Candidate { target_term, .. } = node.view().role {
            let vote = Message::Vote { target_term, to: NodeId(0), seq: node.candidacy_seq };
            told.extend(step(&mut node, millis, packet(1, millis, vote)));
        }
        if told.contains(&Output::Reclaim { term: Term(1) }) {
            break;
        }
    }
    let silence_ends = told.iter().position(|output| *output == Output::Silence(false));
    let reclaims = told.iter().position(|output| *output == Output::Reclaim { term: Term(1) });
    assert!(silence_ends.is_some() && silence_ends < reclaims, "{told:?}");
    let outputs = step(&mut node, 3_000, Input::Opened(Term(1)));
    assert_eq!(node.view().role, RoleView::Leader { term: Term(1), open: true });
    assert!(!outputs.iter().any(|output| matches!(output, Output::Open { .. })), "its marker is the opening entry");
}

#[test]
fn a_candidate_that_hears_nobody_withdraws_after_six_steps() {
    let mut node = machine(false, 3, None);
    let outputs = run_to(&mut node, 700);
    let stood = outputs.iter().any(|output| matches!(output, Output::Note(Note::Stood { .. })));
    assert!(stood && sent(&outputs).last() == Some(&Message::Withdraw), "{outputs:?}");
    assert!(node.deadline() > Some(at(2_000)), "it cools off for two leases at least");
    step(&mut node, 800, candidacy(1, 99, 2, 1));
    assert!(matches!(node.view().role, RoleView::Candidate { .. }), "but it objects to a lower bid");
}

#[test]
fn a_voter_whose_candidate_votes_for_it_stands_at_once() {
    let mut node = machine(false, 3, None);
    step(&mut node, 1, candidacy(1, 100, 2, 1));
    step(&mut node, 2, packet(1, 2, Message::Vote { target_term: Term(2), to: NodeId(0), seq: 1 }));
    assert!(matches!(node.view().role, RoleView::Candidate { .. }));
    let mut node = machine(false, 3, None);
    step(&mut node, 1, candidacy(1, 100, 2, 1));
    step(&mut node, 2, packet(1, 2, Message::Vote { target_term: Term(2), to: NodeId(2), seq: 1 }));
    assert!(node.view().role == RoleView::Member && node.deadline() <= Some(at(102)), "or decides again within 100 ms");
}

#[test]
fn a_beat_on_its_way_from_a_dead_process_does_not_bring_it_back() {
    let mut node = machine(false, 3, None);
    step(&mut node, 0, beat(1, 1, 1));
    step(&mut node, 10, Input::PeerGone(NodeId(1)));
    assert_eq!(ignored(&step(&mut node, 11, beat(1, 1, 2))), Some(Ignored::ProcessGone));
    assert_eq!(node.view().leader, None);
    step(&mut node, 320, beat(1, 1, 3));
    assert_eq!(node.view().leader, Some((NodeId(1), Term(1))), "a wrong report is mended by a later beat");
}

#[test]
fn an_observer_follows_beats_and_says_nothing() {
    let mut node = machine(false, 3, None);
    step(&mut node, 0, Input::Voters([NodeId(1), NodeId(2)].into()));
    let outputs = step(&mut node, 1, beat(1, 1, 1));
    assert_eq!(outputs, [Output::Following { leader: NodeId(1), term: Term(1) }]);
    assert_eq!(ignored(&step(&mut node, 2, candidacy(2, 1, 2, 1))), Some(Ignored::NotTakingPart));
    let outputs = run_to(&mut node, 5_000);
    assert_eq!(outputs, [Output::Leaderless { last: NodeId(1), term: Term(1) }]);
}

#[test]
fn a_single_voter_leads_again_soon_after_a_restart() {
    for leads in [false, true] {
        let mut setup = Setup::swarm(1, 3);
        setup.restarted = true;
        let mut world = World::new(setup, false);
        assert!(world.run_until(Duration::from_millis(300), |world| !world.acting().is_empty()));
        if leads {
            world.kill(NodeId(0));
            world.start(NodeId(0));
            assert!(world.run_until(Duration::from_millis(300), |world| !world.acting().is_empty()), "by its old term");
        }
        world.run(Duration::from_secs(2));
        assert_eq!((world.acting().len(), world.faults.len()), (1, 0));
    }
}

#[test]
fn a_time_that_runs_backwards_counts_as_the_last_one() {
    let mut node = leader();
    step(&mut node, 700, Input::RaftTerm(Term(2)));
    step(&mut node, 0, Input::RaftTerm(Term(2)));
    assert_eq!(node.may_act(at(700)), None);
}
