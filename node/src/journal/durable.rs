//! How far this node's log is on its disk: what may be claimed of it, and what must wait.
//!
//! A leader sends an entry to the others while its own disk still writes it. Three things hold that together, all of them
//! here: nobody folds an entry that its own disk does not have, no leader tells others of a commit that its own disk does
//! not have, and no node answers for entries that are only in its memory. A restarted leader therefore must not go on in
//! its old term, in which it may have lost what it sent: see [`resumed`].

use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use super::engine::{LogId, Vote};

/// The end of the log on this disk; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Durable(Arc<watch::Sender<Mark>>);

#[derive(Clone, Copy, Debug)]
struct Mark {
    end: Option<LogId>,
    /// Nothing will be written any more.
    broken: bool,
}

impl Durable {
    pub(super) fn new(end: Option<LogId>) -> Self {
        Durable(Arc::new(watch::Sender::new(Mark { end, broken: false })))
    }

    pub(super) fn end(&self) -> Option<LogId> {
        self.0.borrow().end
    }

    /// The index of the last entry on the disk; 0 if there is none.
    pub(super) fn index(&self) -> u64 {
        self.end().map_or(0, |end| end.index)
    }

    /// Everything up to this entry is on the disk.
    pub(super) fn advance(&self, to: LogId) {
        self.0.send_if_modified(|mark| {
            let further = Some(to) > mark.end;
            if further {
                mark.end = Some(to);
            }
            further
        });
    }

    /// The log was cut behind this entry, and that is on the disk.
    pub(super) fn cut(&self, to: Option<LogId>) {
        self.0.send_modify(|mark| mark.end = to);
    }

    /// The disk has failed: whoever waits is told.
    pub(super) fn fail(&self) {
        self.0.send_modify(|mark| mark.broken = true);
    }

    /// As much of a commit as this disk has.
    pub(super) fn part_of(&self, committed: Option<LogId>) -> Option<LogId> {
        let end = self.end();
        match (committed, end) {
            (Some(committed), Some(end)) if committed.index <= end.index => Some(committed),
            (None, _) => None,
            _ => end,
        }
    }

    /// Waits until the entry of this index is on the disk.
    pub(super) async fn reached(&self, index: u64) -> Result<(), io::Error> {
        let there = |mark: &Mark| mark.end.is_some_and(|end| end.index >= index);
        if index == 0 || there(&self.0.borrow()) {
            return Ok(());
        }
        let mut marks = self.0.subscribe();
        match marks.wait_for(|mark| mark.broken || there(mark)).await {
            Ok(mark) if there(&mark) => Ok(()),
            _ => Err(io::Error::other("the log could not be written")),
        }
    }
}

/// The vote with which a restarted node begins. That it once *won* is forgotten: the engine would go on leading in the same
/// term, and give other entries the numbers of those that it had sent and its disk never had. It must win a new term.
pub(super) fn resumed(vote: Option<Vote>, local: u64) -> Option<Vote> {
    vote.map(|vote| match vote.leader_id().voted_for() {
        Some(own) if own == local => Vote::new(vote.leader_id().term, own),
        _ => vote,
    })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::super::engine::log_id;
    use super::*;

    #[test]
    fn of_a_commit_only_what_the_disk_has_may_be_told() {
        let durable = Durable::new(Some(log_id(2, 7)));
        assert_eq!(durable.part_of(None), None);
        assert_eq!(durable.part_of(Some(log_id(2, 5))), Some(log_id(2, 5)));
        assert_eq!(durable.part_of(Some(log_id(2, 9))), Some(log_id(2, 7)));
        assert_eq!(Durable::new(None).part_of(Some(log_id(1, 1))), None);
    }

    #[test]
    fn a_cut_takes_back_what_was_reached_and_a_failure_lets_everybody_go() {
        let durable = Durable::new(None);
        assert!(durable.reached(3).now_or_never().is_none());
        durable.advance(log_id(1, 3));
        assert!(durable.reached(3).now_or_never().unwrap().is_ok());
        durable.advance(log_id(1, 2));
        assert_eq!(durable.index(), 3);
        durable.cut(Some(log_id(1, 1)));
        assert!(durable.reached(2).now_or_never().is_none());
        durable.fail();
        assert!(durable.reached(2).now_or_never().unwrap().is_err());
        assert!(durable.reached(1).now_or_never().unwrap().is_ok());
    }

    #[test]
    fn a_restarted_leader_does_not_go_on_in_its_old_term() {
        assert_eq!(resumed(Some(Vote::new_committed(4, 9)), 9), Some(Vote::new(4, 9)));
        assert_eq!(resumed(Some(Vote::new_committed(4, 8)), 9), Some(Vote::new_committed(4, 8)));
        assert_eq!(resumed(None, 9), None);
    }
}
