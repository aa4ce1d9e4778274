//! An exhaustive search of small swarms, breadth first: every run that departs from the plain one in at most so many places.
//!
//! The plain run delivers the oldest message first and lets time pass when none waits. A departure is: another link's message first, a
//! message that overtakes the one before it on its link, one that is lost or arrives twice, time passing although messages wait, or a
//! process killed and started again. All runs with up to [`Bounds::departures`] of them and up to [`Bounds::depth`] events are tried;
//! states met before are not searched twice, and a broken promise is shown by one of the shortest runs that lead to it.

mod driver;
mod state;

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::vec::Vec;

use super::raft::RaftRules;
use super::watch::Fault;
use crate::{Config, NodeId, Rules, Settings, Term};
use state::State;

/// What is searched.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How many nodes; all are equal.
    pub nodes: u64,
    /// Whether they have no swarm yet ([`Settings::expect`] says of how many they found one), or all look for a leader at once.
    pub founding: bool,
    /// Their durations.
    pub settings: Settings,
    /// Their rules.
    pub rules: Rules,
}

/// How far to search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many events a run has.
    pub depth: u32,
    /// In how many places it may depart from the plain run.
    pub departures: u8,
    /// How many of those may be crashes.
    pub crashes: u8,
    /// After how many states the search gives up; reaching it is reported.
    pub states: usize,
}

/// What a search saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many different states.
    pub states: usize,
    /// In how many of them somebody may act.
    pub acting: usize,
    /// In how many Raft has a leader.
    pub led: usize,
    /// In how many a swarm exists.
    pub founded: usize,
    /// In how many terms somebody acted, in the run with the most.
    pub terms: usize,
    /// The highest term reached.
    pub term: Term,
    /// How many events the longest run has.
    pub depth: u32,
    /// Whether all was searched within the bounds.
    pub complete: bool,
    /// The first broken promise, with what led to it, first to last.
    pub broken: Option<(Fault, Vec<Choice>)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { states, acting, led, founded, terms, term, depth, .. } = self;
        let whole = if self.complete { "all within the bounds" } else { "NOT all within the bounds: too many states" };
        write!(
            f,
            "{states} states ({whole}), up to {depth} events; a swarm in {founded}, a Raft leader in {led}, somebody acts in "
        )?;
        write!(f, "{acting}; up to {terms} terms acted in, up to term {}; ", term.0)?;
        match &self.broken {
            None => write!(f, "nothing broken"),
            Some((fault, choices)) => write!(f, "BROKEN: {fault:?} by {choices:?}"),
        }
    }
}

/// One event of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The oldest message of that link arrives.
    Deliver(NodeId, NodeId),
    /// The message behind it arrives first.
    Overtake(NodeId, NodeId),
    /// The oldest arrives, and will once more.
    Double(NodeId, NodeId),
    /// It is lost.
    Lose(NodeId, NodeId),
    /// Time passes to the next deadline.
    Wait,
    /// A process ends and starts again.
    Crash(NodeId),
}

/// Searches a scenario.
///
/// # Panics
/// If the settings do not hold.
#[must_use]
pub fn explore(scenario: &Scenario, bounds: Bounds) -> Report {
    let config = scenario.settings.clone().validate().expect("the settings hold");
    let search = Search { config, rules: scenario.rules, raft_rules: RaftRules::ALL };
    let mut report = Report { complete: true, ..Report::default() };
    let mut seen = HashSet::new();
    let mut level: Vec<(State, Option<Rc<Path>>)> = Vec::new();
    match search.first(scenario, bounds) {
        Ok(first) => level.push((first, None)),
        Err(fault) => report.broken = Some((fault, Vec::new())),
    }
    while !level.is_empty() && report.depth <= bounds.depth {
        let mut next = Vec::new();
        for (state, path) in level {
            state.count(&mut report);
            if report.depth == bounds.depth {
                continue;
            }
            if let Err(fault) = search.expand(&state, path.as_ref(), &mut seen, &mut next) {
                report.broken = Some(fault);
                report.states = seen.len();
                return report;
            }
        }
        report.states = seen.len();
        if report.states >= bounds.states {
            report.complete = false;
            return report;
        }
        report.depth += u32::from(!next.is_empty() && report.depth < bounds.depth);
        level = next;
        if report.depth == bounds.depth {
            level.drain(..).for_each(|(state, _)| state.count(&mut report));
        }
    }
    report
}

/// How a state was reached; shared by all that follows from it.
struct Path {
    choice: Choice,
    before: Option<Rc<Path>>,
}

fn steps(mut last: Option<&Rc<Path>>) -> Vec<Choice> {
    let mut choices = Vec::new();
    while let Some(path) = last {
        choices.push(path.choice);
        last = path.before.as_ref();
    }
    choices.reverse();
    choices
}

struct Search {
    config: Config,
    rules: Rules,
    raft_rules: RaftRules,
}

impl Search {
    /// All that may follow from a state and was not met yet.
    fn expand(
        &self,
        state: &State,
        path: Option<&Rc<Path>>,
        seen: &mut HashSet<u64>,
        next: &mut Vec<(State, Option<Rc<Path>>)>,
    ) -> Result<(), (Fault, Vec<Choice>)> {
        for (choice, cost) in state.choices() {
            let Some(followed) = self.follow(state, choice, cost) else { continue };
            let path = Rc::new(Path { choice, before: path.cloned() });
            let follower = followed.map_err(|fault| (fault, steps(Some(&path))))?;
            let mut hasher = DefaultHasher::new();
            follower.hash(&mut hasher);
            if seen.insert(hasher.finish()) {
                next.push((follower, Some(path)));
            }
        }
        Ok(())
    }
}
