//! What was done how often, what was hoped for, and what was seen.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A row's number in the table of faults and what is looked at there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    number: u8,
    what: &'static str,
    goal: Goal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Goal {
    Within(Duration),
    AtMost(u64),
    AtLeast(u64),
}

macro_rules! rows {
    ($($name:ident: $number:literal, $what:literal, $goal:expr;)*) => {
        impl Row { $(pub(crate) const $name: Row = Row { number: $number, what: $what, goal: $goal };)* }
    };
}

rows! {
    KILLED_LEADER: 1, "SIGKILL of the leader: until the others follow a new one", Goal::Within(Duration::from_secs(2));
    // The lease of a silent member, and two seconds on top.
    KILLED_WORKER: 1, "SIGKILL of a worker: until its task runs elsewhere", Goal::Within(Duration::from_millis(3_500));
    PAUSED: 2, "SIGSTOP 0.1 to 3 s: stale ends accepted", Goal::AtMost(0);
    PARTITIONED: 3, "partition: until the majority follows a leader", Goal::Within(Duration::from_secs(2));
    MINORITY: 3, "partition: until the old leader says that it leads no more", Goal::Within(Duration::from_millis(650));
    DEAF: 4, "leader deaf: until the others follow a new one", Goal::Within(Duration::from_millis(2_500));
    MUTE: 4, "leader mute: until the others follow a new one", Goal::Within(Duration::from_millis(2_500));
    BRIDGE: 4, "leader and one member cut from each other: changes of leader", Goal::AtMost(0);
    LOSS: 5, "5 % of packets lost, 3 to 6 s: changes of leader", Goal::AtMost(1);
    HEAVY_LOSS: 5, "20 % lost, 10 % twice, 2 to 4 s: changes of leader", Goal::AtMost(u64::MAX);
    SLOW_PROXY: 5, "25 ms each way, 1 % of pieces stall for 250 ms: changes of leader", Goal::AtMost(1);
    CLOCK: 6, "the leader's or a member's clock jumps by an hour: changes of leader", Goal::AtMost(0);
    ALL_KILLED: 7, "all killed at once: from the first restart until all follow one", Goal::Within(Duration::from_secs(5));
    FOUNDED: 15, "founding races of 1 to 7 nodes, one crashes: swarms that came of one", Goal::AtMost(1);
    POISON: 22, "a task that kills its supervisor: attempts until it is parked", Goal::AtMost(3);
    ACKNOWLEDGED: 0, "acknowledged submissions that the verdict is about", Goal::AtLeast(1);
    VIOLATIONS: 0, "broken promises in all histories", Goal::AtMost(0);
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Table {
    seen: BTreeMap<Row, Vec<u64>>,
    skipped: Vec<String>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Table::default()
    }

    /// One more time; a duration is kept in milliseconds.
    pub(crate) fn took(&mut self, row: Row, time: Duration) {
        println!("row {}: {}: {time:.2?}", row.number, row.what);
        self.seen.entry(row).or_default().push(u64::try_from(time.as_millis()).unwrap());
    }

    pub(crate) fn counted(&mut self, row: Row, count: u64) {
        println!("row {}: {}: {count}", row.number, row.what);
        self.seen.entry(row).or_default().push(count);
    }

    /// Says aloud what can't be tried here.
    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        let line = format!("SKIPPED: {what}: {why}");
        if !self.skipped.contains(&line) {
            println!("{line}");
            self.skipped.push(line);
        }
    }
}

impl Row {
    fn shown(self, value: u64) -> String {
        match self.goal {
            Goal::Within(_) => format!("{:.2?}", Duration::from_millis(value)),
            Goal::AtMost(_) | Goal::AtLeast(_) => value.to_string(),
        }
    }

    fn is_met(self, value: u64) -> bool {
        match self.goal {
            Goal::Within(limit) => u128::from(value) <= limit.as_millis(),
            Goal::AtMost(most) => value <= most,
            Goal::AtLeast(least) => value >= least,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::Within(limit) => write!(f, "<= {limit:?}"),
            Goal::AtMost(u64::MAX) => write!(f, "none"),
            Goal::AtMost(most) => write!(f, "<= {most}"),
            Goal::AtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| row | what | times | goal | median | worst | missed |\n| --- | --- | --- | --- | --- | --- | --- |")?;
        for (row, seen) in &self.seen {
            let mut seen = seen.clone();
            seen.sort_unstable();
            let worst = if matches!(row.goal, Goal::AtLeast(_)) { seen[0] } else { seen[seen.len() - 1] };
            let missed = seen.iter().filter(|value| !row.is_met(**value)).count();
            let number = if row.number == 0 { "all".to_owned() } else { row.number.to_string() };
            let (median, worst) = (row.shown(seen[seen.len() / 2]), row.shown(worst));
            writeln!(f, "| {number} | {} | {} | {} | {median} | {worst} | {missed} |", row.what, seen.len(), row.goal)?;
        }
        self.skipped.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
