//! Histories in which much went wrong and no promise was broken.

use dunlin_history::{Answer, Digest, Fact, Fence, NodeId, Outcome, Record, Request, State};

use crate::story::{Story, cancelled, ended, retried, submit, submitted};

#[test]
fn a_task_that_was_acknowledged_and_succeeded_is_fine_and_counted() {
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1).push(Record::Observed { task: 1, state: State::Succeeded });
    let report = story.healed().finals(1, State::Succeeded).is_good();
    let counts = report.counts;
    assert_eq!((counts.invoked, counts.acknowledged, counts.tasks, counts.acknowledged_tasks, counts.ended), (1, 1, 1, 1, 1));
    assert_eq!((counts.entries, counts.journals, counts.terms, counts.ends_accepted), (3, 3, 1, 1));
    assert_eq!(counts.records, story.records.len() as u64);
}

#[test]
fn a_maybe_may_have_taken_effect_or_not_and_also_late() {
    let mut story = Story::new();
    for task in [1, 2, 3] {
        story.asks(submit(task)).told(submit(task), Answer::Maybe);
    }
    // The first never came; the second is in the next entry; the third long after.
    story.entry(vec![submitted(2)]).succeeds(2).opens(2, 2).entry(vec![submitted(3)]);
    story.entry(vec![ended(3, 1, (2, 1), Outcome::Succeeded, Some(State::Succeeded))]);
    assert_eq!(story.healed().is_good().counts.maybe, 3);
}

#[test]
fn a_client_that_died_before_its_answer_is_as_good_as_a_maybe() {
    let mut story = Story::new();
    story.asks(submit(1)).asks(submit(2)).entry(vec![submitted(2)]).succeeds(2).healed().is_good();
}

#[test]
fn a_key_that_is_acknowledged_twice_as_the_same_task_is_one_task() {
    let mut story = Story::new();
    story.asks(submit(1)).told(submit(1), Answer::Maybe).asks(submit(1)).entry(vec![submitted(1), submitted(1)]);
    story.told(submit(1), Answer::Acknowledged(1)).asks(submit(1)).told(submit(1), Answer::Acknowledged(1));
    assert_eq!(story.succeeds(1).healed().is_good().counts.tasks, 1);
}

#[test]
fn a_key_that_was_refused_once_may_be_accepted_later() {
    let mut story = Story::new();
    story.asks(submit(1)).told(submit(1), Answer::Failed).acknowledged(1).succeeds(1).healed().is_good();
}

#[test]
fn a_persons_retry_after_dead_or_cancelled_gives_a_second_end() {
    let mut story = Story::new();
    story.acknowledged(1).acknowledged(2);
    story.entry(vec![ended(1, 1, (1, 1), Outcome::Failed, Some(State::Dead)), cancelled(2)]);
    story.push(Record::Observed { task: 1, state: State::Dead });
    for task in [1, 2] {
        story.asks(Request::Retry(task)).entry(vec![retried(task)]).told(Request::Retry(task), Answer::Acknowledged(task));
    }
    story.entry(vec![ended(1, 2, (1, 2), Outcome::Succeeded, Some(State::Succeeded))]);
    story.entry(vec![ended(2, 1, (1, 3), Outcome::Succeeded, Some(State::Succeeded))]);
    story.push(Record::Observed { task: 1, state: State::Succeeded }).healed().is_good();
}

#[test]
fn lost_and_failed_attempts_before_the_one_that_counts_are_fine() {
    let mut story = Story::new();
    story.acknowledged(1).entry(vec![ended(1, 1, (1, 1), Outcome::Lost, Some(State::Queued))]);
    story.entry(vec![ended(1, 2, (1, 2), Outcome::Failed, Some(State::Delayed))]);
    story.entry(vec![ended(1, 3, (1, 3), Outcome::Succeeded, Some(State::Succeeded))]).healed().is_good();
}

#[test]
fn late_reports_that_were_refused_are_fine_and_counted() {
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1);
    let fence = Fence { term: 1, sequence: 1 };
    story.entry(vec![ended(1, 1, (1, 1), Outcome::Succeeded, None)]);
    story.entry(vec![Fact::Refused { task: 1, attempt: 1, fence, node: NodeId(3) }]);
    // A leadership that is over still manages to write: its facts have no effect.
    story.opens(2, 2).entry_claiming(
        Some(1),
        vec![
            Fact::Submitted { task: None, key: Some("late".to_owned()) },
            ended(1, 2, (1, 9), Outcome::Succeeded, None),
            Fact::Cancelled { task: 1, accepted: false },
            Fact::Retried { task: 1, accepted: false },
        ],
    );
    assert_eq!(story.healed().is_good().counts.ends_refused, 3);
}

#[test]
fn a_new_leader_may_accept_what_a_former_one_handed_out() {
    let mut story = Story::new();
    story.acknowledged(1).opens(4, 2).entry(vec![ended(1, 1, (1, 7), Outcome::Succeeded, Some(State::Succeeded))]);
    story.healed().is_good();
}

#[test]
fn a_leader_may_take_its_term_up_again_and_acts_that_touch_do_not_overlap() {
    let mut story = Story::new();
    let acting = |node, term, from, to| Record::Acting { node: NodeId(node), term, from, to };
    story.push(acting(1, 1, 0, 100)).push(acting(1, 1, 50, 200)).opens(1, 1).opens(2, 2);
    story.push(acting(2, 2, 200, 300)).push(acting(1, 1, 250, 250)).is_good();
}

#[test]
fn entries_that_were_never_committed_may_differ_between_terms() {
    let mut story = Story::new();
    let place = story.next();
    story.on(3, place, |entry| (entry.committed, entry.digest) = (false, Digest(1)));
    story.opens(2, 2).acknowledged(1);
    story.entry(vec![ended(1, 1, (2, 1), Outcome::Succeeded, Some(State::Succeeded))]).healed().is_good();
}

#[test]
fn a_node_that_is_behind_or_began_with_a_snapshot_agrees_as_far_as_it_goes() {
    let mut story = Story::new();
    story.copies = vec![1, 2];
    story.acknowledged(1).succeeds(1);
    story.push(Record::Snapshot { node: NodeId(4), index: 2 });
    story.on(4, 3, |_| {}).on(5, 1, |_| {}).on(5, 2, |_| {}).is_good();
    // Told again from an earlier place, as after a restart.
    story.on(1, 1, |_| {}).on(1, 2, |_| {}).healed().is_good();
}

#[test]
fn before_the_healing_nothing_need_have_ended() {
    let mut story = Story::new();
    story.acknowledged(1).push(Record::Final { node: NodeId(1), task: 1, state: State::Queued }).is_good();
}

#[test]
fn the_order_in_which_journals_are_told_does_not_matter() {
    let mut story = Story::new();
    story.acknowledged(1).opens(2, 2).acknowledged(2).entry(vec![ended(1, 1, (1, 1), Outcome::Lost, Some(State::Queued))]);
    story.entry(vec![ended(1, 2, (2, 1), Outcome::Succeeded, Some(State::Succeeded)), cancelled(2)]).healed();
    let straight = story.is_good();
    let node = |record: &Record| match record {
        Record::Entry(entry) => Some(entry.node),
        _ => None,
    };
    story.records.sort_by_key(|record| std::cmp::Reverse(node(record)));
    assert_eq!(story.is_good(), straight);
}
