//! What can be done to a simulated swarm: one act, as a line of a script and as a deed.
//!
//! Scripts and random schedules share it, so that a schedule that goes wrong can be kept as a script.

use std::collections::BTreeSet;
use std::format;
use std::string::{String, ToString};
use std::time::Duration;
use std::vec::Vec;

use crate::NodeId;
use crate::sim::label;
use crate::sim::script::{duration, id, number};
use crate::sim::world::World;

/// Something that is done to a swarm.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// A process ends.
    Kill(NodeId),
    /// A dead process starts again.
    Start(NodeId),
    /// The others see that a dead process is gone.
    Gone(NodeId),
    /// A process stops for a while.
    Pause(NodeId),
    /// It goes on.
    Resume(NodeId),
    /// Nothing from the one reaches the other.
    Cut(NodeId, NodeId),
    /// These nodes and the others do not reach each other.
    Part(BTreeSet<NodeId>),
    /// All links work again.
    Mend,
    /// So many messages of a hundred are lost.
    Loss(u8),
    /// So many of a hundred arrive twice.
    Twice(u8),
    /// The longest delay, in milliseconds.
    Delay(u64),
    /// So many of a hundred are late by up to a second and a half.
    Stragglers(u8),
}

impl Act {
    /// The kind, for counting.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Act::Kill(_) => "crash",
            Act::Start(_) => "restart",
            Act::Gone(_) => "process seen to be gone",
            Act::Pause(_) => "pause",
            Act::Resume(_) => "resume",
            Act::Cut(..) => "one-way cut",
            Act::Part(_) => "partition",
            Act::Mend => "links mended",
            Act::Loss(_) => "loss changed",
            Act::Twice(_) => "duplication changed",
            Act::Delay(_) => "delay changed",
            Act::Stragglers(_) => "delay tail changed",
        }
    }

    /// The line of a script that does it.
    #[must_use]
    pub fn command(&self) -> String {
        match self {
            Act::Kill(node) => format!("kill {}", label(*node)),
            Act::Start(node) => format!("start {}", label(*node)),
            Act::Gone(node) => format!("gone {}", label(*node)),
            Act::Pause(node) => format!("pause {}", label(*node)),
            Act::Resume(node) => format!("resume {}", label(*node)),
            Act::Cut(one, other) => format!("cut {} -> {}", label(*one), label(*other)),
            Act::Part(side) => format!("part {}", side.iter().map(|node| label(*node)).collect::<Vec<_>>().join(" ")),
            Act::Mend => String::from("mend"),
            Act::Loss(percent) => format!("loss {percent}"),
            Act::Twice(percent) => format!("twice {percent}"),
            Act::Delay(longest) => format!("slow {longest}ms"),
            Act::Stragglers(percent) => format!("stragglers {percent}"),
        }
    }

    /// Does it; an act that has lost its sense by what went before does nothing.
    pub(crate) fn perform(&self, world: &mut World) {
        match self {
            Act::Kill(node) => world.kill(*node),
            Act::Start(node) if world.machine(*node).is_none() => world.start(*node),
            Act::Gone(node) if world.machine(*node).is_none() => world.gone(*node),
            Act::Pause(node) if world.is_up(*node) => world.pause(*node),
            Act::Resume(node) if !world.is_up(*node) && world.machine(*node).is_some() => world.resume(*node),
            Act::Start(_) | Act::Gone(_) | Act::Pause(_) | Act::Resume(_) => {}
            Act::Cut(one, other) => {
                world.net.cuts.insert((*one, *other));
                world.say(format!("nothing from {} reaches {}", label(*one), label(*other)));
            }
            Act::Part(side) => world.part(side),
            Act::Mend => {
                world.net.cuts.clear();
                world.say(String::from("all links are mended"));
            }
            Act::Loss(percent) => {
                world.net.loss = *percent;
                world.say(format!("{percent} of 100 messages are lost from now on"));
            }
            Act::Twice(percent) => {
                world.net.twice = *percent;
                world.say(format!("{percent} of 100 messages arrive twice from now on"));
            }
            Act::Delay(longest) => {
                world.net.delay_max = Duration::from_millis(*longest);
                world.say(format!("messages take up to {longest} ms from now on"));
            }
            Act::Stragglers(percent) => {
                world.net.stragglers = *percent;
                world.say(format!("{percent} of 100 messages take up to 1,500 ms from now on"));
            }
        }
    }

    /// The act of a script's line, if it is one.
    pub(crate) fn parse(verb: &str, args: &[&str]) -> Result<Option<Act>, String> {
        let percent = |word: &str| number(word).and_then(|percent| u8::try_from(percent).map_err(|error| error.to_string()));
        Ok(Some(match (verb, args) {
            ("kill", [node]) => Act::Kill(id(node)?),
            ("start", [node]) => Act::Start(id(node)?),
            ("gone", [node]) => Act::Gone(id(node)?),
            ("pause", [node]) => Act::Pause(id(node)?),
            ("resume", [node]) => Act::Resume(id(node)?),
            ("cut", [one, "->", other]) => Act::Cut(id(one)?, id(other)?),
            ("part", [_, ..]) => Act::Part(args.iter().map(|node| id(node)).collect::<Result<_, _>>()?),
            ("mend", []) => Act::Mend,
            ("loss", [share]) => Act::Loss(percent(share)?),
            ("twice", [share]) => Act::Twice(percent(share)?),
            ("stragglers", [share]) => Act::Stragglers(percent(share)?),
            ("slow", [longest]) => Act::Delay(u64::try_from(duration(longest)?.as_millis()).map_err(|error| error.to_string())?),
            _ => return Ok(None),
        }))
    }

    /// Whether it is done to that node.
    pub(crate) fn names(&self, node: NodeId) -> bool {
        match self {
            Act::Kill(one) | Act::Start(one) | Act::Gone(one) | Act::Pause(one) | Act::Resume(one) => *one == node,
            Act::Cut(one, other) => *one == node || *other == node,
            Act::Part(side) => side.contains(&node),
            Act::Mend | Act::Loss(_) | Act::Twice(_) | Act::Delay(_) | Act::Stragglers(_) => false,
        }
    }
}
