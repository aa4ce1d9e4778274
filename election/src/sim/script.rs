//! Scripts: a story told once, as prose in comments, and run, as commands between them.
//!
//! ```text
//! # Prose, a paragraph until the next blank line.
//! title WORDS                      the page's heading
//! scene WORDS                      a new world; what follows until the first action sets it up
//!   nodes N   seed N   voters N    founding (instead of a founded swarm)   restarted   writes 50ms   delay 1ms 3ms
//!   raft_lease 420ms
//!   rank n0 200   log n0 1 1 2     (terms of its entries; nothing: empty)   term 2   clock n0 1050 (thousandths)
//!   without RULE...                rules of the election, or of the Raft model (vote_on_disk, log_check)
//! run 500ms · until WORDS          let time pass, to a moment or to a line of the transcript (10 s at most)
//! cut n0 n1 · cut n0 -> n1 · isolate n0 · part n0 n1 · mend · heal · heal all (starts and resumes everybody, too)
//! loss 20 · twice 10 · stragglers 5 · slow 30ms (the longest delay)
//! kill n0 · start n0 · pause n0 · resume n0 · gone n0
//! expect acting n0... · expect nobody · expect fault NAME · expect leads n0 (by Raft's word)
//! ```
//!
//! A scene's faults must be expected, each by its name, or the script fails.

use std::collections::BTreeSet;
use std::format;
use std::string::{String, ToString};
use std::time::Duration;
use std::vec::Vec;

use super::schedule::Act;
use super::text::line;
use super::trace::{Event, What};
use super::world::{Setup, World};
use crate::{NodeId, Rank, RoleView, Term};

/// How long `until` waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many lines of the transcript an error shows.
const TAIL: usize = 40;

/// A script's run.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// The heading.
    pub title: String,
    /// What follows, in order.
    pub parts: Vec<Part>,
}

/// A piece of a story.
#[derive(Clone, Debug)]
pub enum Part {
    /// A paragraph.
    Prose(String),
    /// A scene begins.
    Scene(String),
    /// What the script did and what happened then.
    Transcript(Vec<String>),
    /// A scene's diagram.
    Diagram(String),
}

/// A line of a script that can't be run, or an expectation that did not come true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for ScriptError {}

/// Runs a script.
///
/// # Errors
/// The first line that does not parse or an expectation that does not hold.
pub fn run(script: &str) -> Result<Story, ScriptError> {
    let mut runner = Runner::default();
    for (number, text) in script.lines().enumerate() {
        runner.line(text.trim()).map_err(|what| ScriptError { line: number + 1, what: runner.with_tail(what) })?;
    }
    let last = script.lines().count();
    runner.end_scene().map_err(|what| ScriptError { line: last, what })?;
    runner.end_prose();
    Ok(runner.story)
}

#[derive(Default)]
struct Runner {
    story: Story,
    prose: String,
    setup: Option<Setup>,
    delays: Option<(Duration, Duration)>,
    world: Option<World>,
    told: usize,
    last_said: Vec<String>,
    expected: BTreeSet<String>,
}

type Outcome = Result<(), String>;

impl Runner {
    fn line(&mut self, text: &str) -> Outcome {
        if let Some(prose) = text.strip_prefix('#') {
            let prose = prose.trim();
            if prose.is_empty() {
                self.end_prose();
            } else {
                if self.prose.is_empty() {
                    self.end_transcript();
                } else {
                    self.prose.push('\n');
                }
                self.prose.push_str(prose);
            }
            return Ok(());
        }
        self.end_prose();
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            [] => Ok(()),
            ["title", ..] => {
                self.story.title = text["title".len()..].trim().to_string();
                Ok(())
            }
            ["scene", ..] => {
                self.end_scene()?;
                self.story.parts.push(Part::Scene(text["scene".len()..].trim().to_string()));
                self.setup = Some(Setup::swarm(3, 1));
                Ok(())
            }
            [verb, args @ ..] => {
                if self.world.is_none() && self.prepare(verb, args)? {
                    return Ok(());
                }
                self.begin()?;
                self.act(verb, args, text)
            }
        }
    }

    /// What is wrong, and what happened last.
    fn with_tail(&self, what: String) -> String {
        let Some(world) = &self.world else { return what };
        let lines: Vec<String> = world.trace.iter().filter_map(line).collect();
        format!("{what}; the last lines were\n{}", lines[lines.len().saturating_sub(TAIL)..].join("\n"))
    }

    fn end_prose(&mut self) {
        if !self.prose.is_empty() {
            self.story.parts.push(Part::Prose(std::mem::take(&mut self.prose)));
        }
    }

    /// Sets the scene's world up; false if the line is an action already.
    fn prepare(&mut self, verb: &str, args: &[&str]) -> Result<bool, String> {
        let setup = self.setup.as_mut().ok_or("no scene yet")?;
        match (verb, args) {
            ("nodes", [count]) => {
                let seed = setup.seed;
                *setup = Setup { rules: setup.rules, raft_rules: setup.raft_rules, ..Setup::swarm(number(count)?, seed) };
            }
            ("seed", [seed]) => setup.seed = number(seed)?,
            ("voters", [count]) => setup.voters = usize::try_from(number(count)?).map_err(|e| e.to_string())?,
            ("term", [term]) => setup.founded = Some(Term(number(term)?)),
            ("restarted", []) => setup.restarted = true,
            ("writes", [every]) => setup.writes = Some(duration(every)?),
            ("raft_lease", [time]) => {
                setup.raft_rules.lease_ms = u64::try_from(duration(time)?.as_millis()).map_err(|e| e.to_string())?;
            }
            ("delay", [low, high]) => self.delays = Some((duration(low)?, duration(high)?)),
            ("founding", []) => {
                setup.founded = None;
                setup.settings.expect = u8::try_from(setup.nodes.len()).map_err(|e| e.to_string())?;
                setup.nodes.values_mut().for_each(|node| node.log.clear());
            }
            ("rank", [node, rank]) => {
                let rank = u32::try_from(number(rank)?).map_err(|e| e.to_string())?;
                setup.nodes.get_mut(&id(node)?).ok_or("no such node")?.rank = Rank(rank);
            }
            ("clock", [node, rate]) => {
                setup.nodes.get_mut(&id(node)?).ok_or("no such node")?.rate = number(rate)?;
            }
            ("log", [node, terms @ ..]) => {
                let terms: Result<Vec<Term>, String> = terms.iter().map(|term| number(term).map(Term)).collect();
                setup.nodes.get_mut(&id(node)?).ok_or("no such node")?.log = terms?;
            }
            ("without", rules) => rules.iter().try_for_each(|rule| without(setup, rule))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn begin(&mut self) -> Outcome {
        if self.world.is_some() {
            return Ok(());
        }
        let setup = self.setup.take().ok_or("no scene yet")?;
        let founding = setup.founded.is_none();
        let mut world = World::new(setup, true);
        if let Some((low, high)) = self.delays.take() {
            (world.net.delay_min, world.net.delay_max) = (low, high);
        }
        if founding {
            let ids = world.ids();
            for (place, one) in ids.iter().enumerate() {
                ids[place + 1..].iter().for_each(|other| world.meet(*one, *other));
            }
        }
        self.world = Some(world);
        self.told = 0;
        Ok(())
    }

    fn act(&mut self, verb: &str, args: &[&str], text: &str) -> Outcome {
        let world = self.world.as_mut().ok_or("no scene yet")?;
        if let Some(act) = Act::parse(verb, args)? {
            act.perform(world);
            return Ok(());
        }
        match (verb, args) {
            ("run", [time]) => world.run(duration(time)?),
            ("until", [_, ..]) => until(world, text["until".len()..].trim())?,
            ("heal", ["all"]) => world.heal(),
            ("heal", []) => {
                world.net.heal();
                world.say(String::from("all links work again"));
            }
            ("isolate", [node]) => {
                let node = id(node)?;
                world.ids().into_iter().filter(|other| *other != node).for_each(|other| world.net.cut(node, other));
                world.say(format!("{} is cut off from all others", super::label(node)));
            }
            ("cut", [one, other]) => {
                world.net.cut(id(one)?, id(other)?);
                world.say(format!("{one} and {other} do not reach each other"));
            }
            ("expect", args) => self.expect(args)?,
            _ => return Err(format!("unknown command `{text}`")),
        }
        Ok(())
    }

    fn expect(&mut self, args: &[&str]) -> Outcome {
        let world = self.world.as_ref().ok_or("no scene yet")?;
        let acting: BTreeSet<NodeId> = world.acting().into_iter().map(|(node, _)| node).collect();
        match args {
            ["acting", nodes @ ..] => {
                let wanted: BTreeSet<NodeId> = nodes.iter().map(|node| id(node)).collect::<Result<_, _>>()?;
                (acting == wanted).then_some(()).ok_or(format!("acting are {acting:?}, expected {wanted:?}"))
            }
            ["nobody"] => acting.is_empty().then_some(()).ok_or(format!("acting are {acting:?}, expected nobody")),
            ["leads", node] => {
                let role = world.machine(id(node)?).map(|machine| machine.view().role);
                matches!(role, Some(RoleView::Leader { .. })).then_some(()).ok_or(format!("{node} is {role:?}"))
            }
            ["fault", name] => {
                self.expected.insert((*name).to_string());
                let seen = world.faults.iter().any(|fault| fault.name() == *name);
                seen.then_some(()).ok_or(format!("no fault {name}; seen: {:?}", world.faults))
            }
            _ => Err(format!("unknown expectation {args:?}")),
        }
    }

    /// What happened since the last piece of prose.
    fn end_transcript(&mut self) {
        let Some(world) = &self.world else { return };
        let mut lines = Vec::new();
        for event in &world.trace[self.told..] {
            let Some(text) = line(event) else { continue };
            // What a node says again and again, it says once.
            let said = text.split_once("ms  ").map_or(text.clone(), |(_, said)| said.to_string());
            let repeated = matches!(&event.what, What::Said(..)) && self.last_said.contains(&said);
            if !repeated {
                lines.push(text);
            }
            self.last_said.push(said);
            let start = self.last_said.len().saturating_sub(6);
            self.last_said.drain(..start);
        }
        self.told = world.trace.len();
        if !lines.is_empty() {
            self.story.parts.push(Part::Transcript(lines));
        }
    }

    fn end_scene(&mut self) -> Outcome {
        self.end_transcript();
        self.last_said.clear();
        let expected = std::mem::take(&mut self.expected);
        let Some(world) = self.world.take() else { return Ok(()) };
        if let Some(fault) = world.faults.iter().find(|fault| !expected.contains(fault.name())) {
            return Err(format!("unexpected fault: {fault:?}"));
        }
        let trace: Vec<Event> = world.trace;
        self.story.parts.push(Part::Diagram(super::diagram(
            &self.setup.as_ref().map_or_else(|| world_ids(&trace), |setup| setup.nodes.keys().copied().collect()),
            &trace,
        )));
        Ok(())
    }
}

/// The nodes that appear in a trace.
fn world_ids(trace: &[Event]) -> Vec<NodeId> {
    let ids: BTreeSet<NodeId> = trace
        .iter()
        .filter_map(|event| match &event.what {
            What::Said(node, _) | What::RaftLeads(node, _) => Some(*node),
            What::Mail { from, .. } | What::Raft { from, .. } => Some(*from),
            What::Done(_) | What::Broken(_) => None,
        })
        .collect();
    ids.into_iter().collect()
}

fn until(world: &mut World, words: &str) -> Outcome {
    let mut seen = world.trace.len();
    let found = world.run_until(PATIENCE, |world| {
        let news = &world.trace[seen..];
        seen = world.trace.len();
        news.iter().filter_map(line).any(|text| text.contains(words))
    });
    found.then_some(()).ok_or(format!("`{words}` did not happen within {PATIENCE:?}"))
}

pub(crate) fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

pub(crate) fn id(word: &str) -> Result<NodeId, String> {
    let digits = word.strip_prefix('n').ok_or(format!("`{word}` is no node"))?;
    number(digits).map(NodeId)
}

pub(crate) fn duration(word: &str) -> Result<Duration, String> {
    let millis = word.strip_suffix("ms").ok_or(format!("`{word}` is no duration in ms"))?;
    number(millis).map(Duration::from_millis)
}

/// Switches a rule off, by the name that scripts use.
///
/// # Errors
/// If no rule has that name.
pub fn without(setup: &mut Setup, rule: &str) -> Outcome {
    let switch = match rule {
        "boot_wait" => &mut setup.rules.boot_wait,
        "refuse" => &mut setup.rules.refuse,
        "draw" => &mut setup.rules.draw,
        "majority" => &mut setup.rules.majority,
        "ratify" => &mut setup.rules.ratify,
        "opening" => &mut setup.rules.opening,
        "quorum_lease" => &mut setup.rules.quorum_lease,
        "reclaim" => &mut setup.rules.reclaim,
        "public_votes" => &mut setup.rules.public_votes,
        "withdraw_deaf" => &mut setup.rules.withdraw_deaf,
        "jitter" => &mut setup.rules.jitter,
        "object" => &mut setup.rules.object,
        "give_way" => &mut setup.rules.give_way,
        "answer_challenge" => &mut setup.rules.answer_challenge,
        "tell_stale" => &mut setup.rules.tell_stale,
        "renew" => &mut setup.rules.renew,
        "slow_after_refusal" => &mut setup.rules.slow_after_refusal,
        "back_off" => &mut setup.rules.back_off,
        "doubling" => &mut setup.rules.doubling,
        "step_down" => &mut setup.rules.step_down,
        "silence" => &mut setup.rules.silence,
        "journal_first" => &mut setup.rules.journal_first,
        "vote_on_disk" => &mut setup.raft_rules.vote_on_disk,
        "log_check" => &mut setup.raft_rules.log_check,
        _ => return Err(format!("no rule `{rule}`")),
    };
    *switch = false;
    Ok(())
}
