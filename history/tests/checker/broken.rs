//! Broken histories of every kind: each is refused, by the right rule and by no other.

use dunlin_history::{Answer, Digest, Fact, MAX_KEPT, NodeId, Outcome, Record, Request, Rule, State};

use crate::story::{Story, cancelled, ended, key, retried, submit, submitted};

fn success(task: u64, attempt: u32, fence: (u64, u64)) -> Fact {
    ended(task, attempt, fence, Outcome::Succeeded, Some(State::Succeeded))
}

// ---- H1: exactly one final state ------------------------------------------------------------------------------------

#[test]
fn h1_a_task_that_never_ends() {
    let mut story = Story::new();
    story.acknowledged(1).acknowledged(2).succeeds(2).healed();
    story.breaks(Rule::H1, &["record 5: task 1", "still queued after everything was healed"]);
}

#[test]
fn h1_a_task_that_waits_for_ever_after_a_failure_though_nobody_was_told_of_it() {
    let mut story = Story::new();
    story.asks(submit(1)).told(submit(1), Answer::Maybe).entry(vec![submitted(1)]);
    story.entry(vec![ended(1, 1, (1, 1), Outcome::Failed, Some(State::Delayed))]).healed();
    story.breaks(Rule::H1, &["still delayed"]);
}

#[test]
fn h1_a_cancel_that_takes_effect_after_the_end() {
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1).entry(vec![cancelled(1)]).healed();
    story.breaks(Rule::H1, &["task 1", "cancelled after it had ended as succeeded"]);
}

#[test]
fn h1_a_succeeded_task_that_is_queued_again() {
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1).entry(vec![retried(1)]).entry(vec![ended(
        1,
        2,
        (1, 2),
        Outcome::Failed,
        Some(State::Dead),
    )]);
    story.healed().breaks(Rule::H1, &["queued again although it was succeeded"]);
}

#[test]
fn h1_an_end_that_a_client_saw_and_no_journal_has() {
    let mut story = Story::new();
    story.acknowledged(1).push(Record::Observed { task: 1, state: State::Dead }).succeeds(1).healed();
    story.breaks(Rule::H1, &["told that it had ended as dead"]);
}

// ---- H2: one completion ---------------------------------------------------------------------------------------------

#[test]
fn h2_two_completions_of_one_task() {
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1).entry(vec![success(1, 2, (1, 2))]).healed();
    story.breaks(Rule::H2, &["the end of attempt 2 was accepted, but the task had ended as succeeded"]);
}

#[test]
fn h2_the_same_report_accepted_twice_in_one_entry() {
    let mut story = Story::new();
    story.acknowledged(1).entry(vec![success(1, 1, (1, 1)), success(1, 1, (1, 1))]).healed();
    story.breaks(Rule::H2, &["task 1"]);
}

#[test]
fn h2_a_completion_of_a_cancelled_task() {
    let mut story = Story::new();
    story.acknowledged(1).entry(vec![cancelled(1)]).succeeds(1).healed();
    story.breaks(Rule::H2, &["ended as cancelled"]);
}

#[test]
fn h2_one_attempt_that_ends_twice_without_ending_its_task() {
    let mut story = Story::new();
    story.acknowledged(1).entry(vec![ended(1, 1, (1, 1), Outcome::Lost, Some(State::Queued))]);
    story.entry(vec![success(1, 1, (1, 2))]).healed();
    story.breaks(Rule::H2, &["attempt 1 was accepted after that of attempt 1"]);
}

#[test]
fn h2_a_success_that_does_not_end_its_task_and_a_failure_that_completes_it() {
    for (outcome, after) in [(Outcome::Succeeded, State::Dead), (Outcome::Lost, State::Succeeded)] {
        let mut story = Story::new();
        story.acknowledged(1).entry(vec![ended(1, 1, (1, 1), outcome, Some(after))]).healed();
        story.breaks(Rule::H2, &["and the task was left as"]);
    }
}

// ---- H3: nothing missing --------------------------------------------------------------------------------------------

#[test]
fn h3_an_acknowledged_task_that_no_journal_holds() {
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1).asks(submit(2)).told(submit(2), Answer::Acknowledged(2)).healed();
    story.breaks(Rule::H3, &["task 2: it was acknowledged under key \"key-2\", and no journal holds it"]);
}

#[test]
fn h3_an_acknowledged_task_that_was_never_committed() {
    let mut story = Story::new();
    story.asks(submit(1));
    let place = story.next();
    story.on(1, place, |entry| (entry.committed, entry.facts) = (false, vec![submitted(1)]));
    story.told(submit(1), Answer::Acknowledged(1)).opens(2, 2).healed();
    story.breaks(Rule::H3, &["task 1", "no journal holds it"]);
}

#[test]
fn h3_a_number_that_stands_for_another_submission() {
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1).asks(submit(2)).told(submit(2), Answer::Acknowledged(1)).healed();
    story.breaks(Rule::H3, &["acknowledged under key \"key-2\", and the journals hold it under key \"key-1\""]);
}

#[test]
fn h3_one_key_acknowledged_as_two_tasks() {
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1).asks(submit(1)).told(submit(1), Answer::Acknowledged(2)).healed();
    story.breaks(Rule::H3, &["acknowledged as this one, and as task 1"]);
}

#[test]
fn h3_one_key_that_the_journals_made_two_tasks_of() {
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1);
    story.entry(vec![Fact::Submitted { task: Some(2), key: Some(key(1)) }]).healed();
    story.breaks(Rule::H3, &["task 2: its key \"key-1\" had been taken as task 1"]);
}

#[test]
fn h3_one_number_given_twice() {
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1).entry(vec![Fact::Submitted { task: Some(1), key: Some(key(7)) }]).healed();
    story.breaks(Rule::H3, &["its number was given to another submission"]);
}

#[test]
fn h3_a_submission_that_was_refused_for_good_and_is_there() {
    let mut story = Story::new();
    story.asks(submit(1)).told(submit(1), Answer::Failed).entry(vec![submitted(1)]).succeeds(1).healed();
    story.breaks(Rule::H3, &["every try was refused for good, and yet it is there as task 1"]);
}

#[test]
fn h3_an_acknowledged_cancel_or_retry_that_no_journal_holds() {
    let mut story = Story::new();
    story.acknowledged(1).asks(Request::Cancel(1)).told(Request::Cancel(1), Answer::Acknowledged(1)).succeeds(1).healed();
    story.breaks(Rule::H3, &["its cancel was acknowledged"]);
    let mut story = Story::new();
    story.acknowledged(1).entry(vec![cancelled(1)]).told(Request::Retry(1), Answer::Acknowledged(1)).healed();
    story.breaks(Rule::H3, &["its retry was acknowledged"]);
}

#[test]
fn h3_effects_on_a_task_that_nobody_submitted() {
    for fact in [success(9, 1, (1, 1)), cancelled(9), retried(9)] {
        let mut story = Story::new();
        story.entry(vec![fact]).healed();
        story.breaks(Rule::H3, &["task 9", "no journal holds its submission before that"]);
    }
    let mut story = Story::new();
    story.push(Record::Observed { task: 9, state: State::Queued }).breaks(Rule::H3, &["a client was told of it"]);
}

#[test]
fn h3_a_ledger_that_lacks_a_task() {
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1).acknowledged(2).entry(vec![success(2, 1, (1, 2))]);
    story.finals(1, State::Succeeded).copies = vec![1, 3];
    story.finals(2, State::Succeeded).healed();
    story.breaks(Rule::H3, &["task 2: the ledger of 0000000000000002 does not hold it"]);
}

// ---- H4: the fence --------------------------------------------------------------------------------------------------

#[test]
fn h4_a_deposed_leader_still_accepts_an_end() {
    let mut story = Story::new();
    story.acknowledged(1).opens(2, 2).entry_claiming(Some(1), vec![success(1, 1, (1, 1))]).healed();
    story.breaks(Rule::H4, &["took effect in term 1, but the term that is open here is 2"]);
}

#[test]
fn h4_a_deposed_leader_still_takes_a_task_cancels_one_and_queues_one_again() {
    let mut story = Story::new();
    story.acknowledged(1).acknowledged(2).entry(vec![cancelled(2)]).opens(2, 2).asks(submit(3));
    story.entry_claiming(Some(1), vec![submitted(3), cancelled(1), retried(2)]);
    story.entry(vec![cancelled(2), cancelled(3)]).healed();
    story.breaks(Rule::H4, &["its submission took effect", "a cancel took effect", "a retry took effect"]);
    assert_eq!(story.judged().broken(Rule::H4), 3);
}

#[test]
fn h4_facts_before_any_leadership_opened() {
    let mut story = Story::new();
    story.records.clear();
    for node in story.copies.clone() {
        story.on(node, 1, |entry| entry.facts = vec![submitted(1)]);
    }
    story.breaks(Rule::H4, &["the term that is open here is 0"]);
}

#[test]
fn h4_an_entry_of_an_old_term_behind_one_of_a_new_term() {
    let mut story = Story::new();
    story.opens(5, 2);
    story.term = 3;
    story.entry(Vec::new()).breaks(Rule::H4, &["it is of term 3, and stands behind an entry of term 5"]);
}

#[test]
fn h4_an_older_hand_out_accepted_after_a_newer_one() {
    let mut story = Story::new();
    story.acknowledged(1).opens(3, 2).entry(vec![ended(1, 1, (3, 4), Outcome::Lost, Some(State::Queued))]);
    story.entry(vec![success(1, 2, (1, 9))]).healed();
    story.breaks(Rule::H4, &["hand-out 1.9 was accepted after hand-out 3.4"]);
}

#[test]
fn h4_a_hand_out_of_a_term_that_is_not_open_yet() {
    let mut story = Story::new();
    story.acknowledged(1).entry(vec![success(1, 1, (8, 1))]).healed();
    story.breaks(Rule::H4, &["hand-out 8.1 was accepted, but no term beyond 1 is open here"]);
}

// ---- H5: one leader -------------------------------------------------------------------------------------------------

#[test]
fn h5_two_leaders_open_one_term() {
    let mut story = Story::new();
    story.opens(2, 2).opens(2, 3).breaks(Rule::H5, &["term 2: 0000000000000003 leads it, and so does 0000000000000002"]);
}

#[test]
fn h5_a_leader_whose_opening_was_never_committed_counts_as_well() {
    let mut story = Story::new();
    story.opens(2, 2);
    story.on(3, 3, |entry| {
        (entry.committed, entry.facts) = (false, vec![Fact::Opened { term: 2, leader: NodeId(3) }]);
    });
    story.breaks(Rule::H5, &["term 2"]);
}

#[test]
fn h5_a_node_acts_in_anothers_term() {
    let mut story = Story::new();
    story.push(Record::Acting { node: NodeId(3), term: 1, from: 0, to: 1 }).breaks(Rule::H5, &["term 1"]);
}

#[test]
fn h5_two_nodes_act_at_the_same_moment_in_different_terms() {
    let mut story = Story::new();
    story.opens(2, 2).opens(3, 3);
    let acting = |node, term, from, to| Record::Acting { node: NodeId(node), term, from, to };
    // The first is the long one; in between the second came and went.
    story
        .push(acting(1, 1, 0, 900))
        .push(acting(3, 3, 899, 1_000))
        .breaks(Rule::H5, &["while 0000000000000001 still acted in term 1"]);
    let mut story = Story::new();
    story.opens(2, 2);
    story.push(acting(1, 1, 0, 10)).push(acting(2, 2, 10, 500)).push(acting(2, 2, 20, 30)).push(acting(1, 1, 400, 401));
    story.breaks(Rule::H5, &["while 0000000000000002 still acted in term 2 until 500 ns"]);
}

// ---- H6: journals agree ---------------------------------------------------------------------------------------------

#[test]
fn h6_two_committed_entries_at_one_place() {
    let mut story = Story::new();
    story.on(1, 2, |_| {}).on(2, 2, |entry| entry.digest = Digest(5));
    story.breaks(Rule::H6, &["entry 2", "has committed another entry here"]);
    let mut story = Story::new();
    story.on(1, 2, |_| {}).on(2, 2, |entry| entry.term = 2);
    story.breaks(Rule::H6, &["term 2 and digest"]);
}

#[test]
fn h6_two_entries_of_one_term_at_one_place_though_neither_is_known_to_be_committed() {
    let uncommitted = |digest| move |entry: &mut dunlin_history::Entry| (entry.committed, entry.digest) = (false, Digest(digest));
    let mut story = Story::new();
    story.on(1, 2, uncommitted(1)).on(2, 2, uncommitted(2)).breaks(Rule::H6, &["different entries of term 1 here"]);
    let mut story = Story::new();
    story.on(1, 2, uncommitted(1)).on(2, 2, |_| {}).breaks(Rule::H6, &["different entries of term 1 here"]);
    let mut story = Story::new();
    story.on(1, 2, |_| {}).on(2, 2, uncommitted(1)).breaks(Rule::H6, &["different entries of term 1 here"]);
}

#[test]
fn h6_a_hole_in_one_journal_and_a_hole_in_all() {
    let mut story = Story::new();
    story.entry(Vec::new()).entry(Vec::new()).on(4, 1, |_| {}).on(4, 3, |_| {});
    story.breaks(Rule::H6, &["the journal of 0000000000000004 has nothing between entry 1 and this one"]);
    let mut story = Story::new();
    story.records.retain(|record| !matches!(record, Record::Entry(_)));
    for node in story.copies.clone() {
        story.push(Record::Snapshot { node: NodeId(node), index: 1 });
    }
    story.entry(Vec::new()).breaks(Rule::H6, &["no journal holds the committed entries 1 to 1"]);
}

#[test]
fn h6_a_node_that_makes_something_else_of_the_same_entry() {
    let mut story = Story::new();
    story.acknowledged(1).acknowledged(2).entry(vec![cancelled(1), cancelled(2)]);
    let refused = Fact::Cancelled { task: 1, accepted: false };
    story.on(9, 4, |entry| entry.facts = vec![refused, cancelled(2)]);
    story.breaks(Rule::H6, &["0000000000000009 made something else of the same entry"]);
}

#[test]
fn h6_ledgers_that_differ_from_each_other_or_from_the_journals() {
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1).finals(1, State::Succeeded);
    story.push(Record::Final { node: NodeId(7), task: 1, state: State::Cancelled }).healed();
    story.breaks(Rule::H6, &["the ledger of 0000000000000007 has it as cancelled"]);
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1).finals(1, State::Dead).healed();
    story.breaks(Rule::H6, &["the journals add up to succeeded"]);
    let mut story = Story::new();
    story.acknowledged(1).succeeds(1).finals(1, State::Succeeded).finals(2, State::Succeeded).healed();
    story.breaks(Rule::H6, &["task 2", "no journal does"]);
}

// ---- the report -----------------------------------------------------------------------------------------------------

#[test]
fn many_violations_of_one_rule_do_not_hide_those_of_another() {
    let mut story = Story::new();
    for task in 1..=500 {
        story.told(submit(task), Answer::Acknowledged(task));
    }
    story.opens(2, 2).opens(2, 3);
    let report = story.judged();
    assert_eq!((report.broken(Rule::H3), report.broken(Rule::H5)), (500, 3));
    assert_eq!(report.violations.len(), MAX_KEPT + 3);
    assert!(report.to_string().contains("H3: 400 more that are not shown"), "{report}");
}

#[test]
fn acknowledgements_without_any_journal_prove_nothing() {
    let mut story = Story::new();
    story.records.clear();
    story.asks(submit(1)).told(submit(1), Answer::Acknowledged(1)).healed().breaks(Rule::H3, &["no journal holds it"]);
}
