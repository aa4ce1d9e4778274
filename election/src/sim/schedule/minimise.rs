//! Makes a schedule that goes wrong as short as it can be: what can be left out is, as long as it goes wrong in the same way.
//!
//! Every try is a whole run, so the result is a schedule like any other; it is the shortest of its neighbours, not of all.

use std::vec::Vec;

use super::Schedule;
use crate::Rank;

impl Schedule {
    /// The schedule with all left out that `wrong` does not need.
    #[must_use]
    pub fn minimised(&self, wrong: impl Fn(&Schedule) -> bool) -> Schedule {
        let mut best = self.clone();
        loop {
            let Some(shorter) = best.shorter().into_iter().find(|schedule| wrong(schedule)) else { return best };
            best = shorter;
        }
    }

    /// The same with one thing less, what makes the most difference first.
    fn shorter(&self) -> Vec<Schedule> {
        let mut all = Vec::new();
        let mut variant = |change: &dyn Fn(&mut Schedule)| {
            let mut schedule = self.clone();
            change(&mut schedule);
            all.push(schedule);
        };
        for place in 0..self.acts.len() {
            variant(&|schedule| {
                schedule.acts.remove(place);
            });
            // The same moment for all that follows.
            variant(&|schedule| {
                let (after, _) = schedule.acts.remove(place);
                match schedule.acts.get_mut(place) {
                    Some(next) => next.0 += after,
                    None => schedule.rest += after,
                }
            });
        }
        let last = self.setup.nodes.keys().next_back().copied();
        if let Some(last) = last.filter(|last| last.0 >= 2 && !self.acts.iter().any(|(_, act)| act.names(*last))) {
            variant(&|schedule| {
                schedule.setup.nodes.remove(&last);
                schedule.setup.voters = schedule.setup.voters.min(schedule.setup.nodes.len());
            });
        }
        if self.setup.writes.is_some() {
            variant(&|schedule| schedule.setup.writes = None);
        }
        if self.setup.restarted {
            variant(&|schedule| schedule.setup.restarted = false);
        }
        for (id, node) in &self.setup.nodes {
            let set = |schedule: &mut Schedule, rank, rate| {
                if let Some(node) = schedule.setup.nodes.get_mut(id) {
                    (node.rank, node.rate) = (rank, rate);
                }
            };
            if node.rate != 1_000 {
                variant(&|schedule| set(schedule, node.rank, 1_000));
            }
            if node.rank != Rank(100) {
                variant(&|schedule| set(schedule, Rank(100), node.rate));
            }
        }
        all
    }
}
