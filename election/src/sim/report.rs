//! What many schedules add up to: how often something went wrong, what they were put through, how long they were without a leader.
//!
//! Enters: outcomes, in any order. Leaves: the report that `scripts/sim election` prints. Two reports can be added up.

use std::collections::BTreeMap;
use std::fmt;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use super::schedule::Outcome;

/// How many of the seeds that went wrong are named.
const NAMED: usize = 5;

/// What reproduces a schedule, followed by its seed and by the rules that were switched off.
pub const REPRODUCE: &str = "reproduce with: scripts/sim election --reproduce";

/// A sum over schedules.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many schedules.
    pub schedules: u64,
    /// How often somebody began to act.
    pub leaderships: u64,
    /// How many entries were acknowledged to clients.
    pub acknowledged: u64,
    /// What is to be said to the simulator besides the seed to reproduce a schedule: the rules that were switched off.
    pub how: String,
    /// Which seeds went wrong, by what went wrong.
    pub wrong: BTreeMap<&'static str, Vec<u64>>,
    acts: BTreeMap<&'static str, u64>,
    messages: BTreeMap<&'static str, u64>,
    healed_to_led: Vec<Duration>,
    leaderless: Duration,
    hash: u64,
}

impl Report {
    /// An empty one of schedules with these words said to the simulator.
    #[must_use]
    pub fn of(how: String) -> Report {
        Report { how, ..Report::default() }
    }

    /// One schedule more.
    pub fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.schedules += 1;
        self.leaderships += outcome.leaderships;
        self.acknowledged += outcome.acknowledged as u64;
        for wrong in outcome.wrongs() {
            self.wrong.entry(wrong).or_default().push(seed);
        }
        for kind in &outcome.acts {
            *self.acts.entry(kind).or_default() += 1;
        }
        let counts = outcome.counts;
        let kinds = [
            ("sent", counts.sent),
            ("lost", counts.lost),
            ("lost on a cut link", counts.cut),
            ("doubled", counts.doubled),
            ("late (up to 1.5 s)", counts.late),
        ];
        for (kind, count) in kinds {
            *self.messages.entry(kind).or_default() += count;
        }
        self.healed_to_led.extend(outcome.healed_to_led);
        self.leaderless += outcome.leaderless;
        // A sum, so that the order does not matter.
        self.hash = self.hash.wrapping_add(outcome.hash);
    }

    /// Another report's schedules, too.
    #[must_use]
    pub fn and(mut self, other: Report) -> Report {
        self.schedules += other.schedules;
        self.leaderships += other.leaderships;
        self.acknowledged += other.acknowledged;
        for (wrong, seeds) in other.wrong {
            let known = self.wrong.entry(wrong).or_default();
            known.extend(seeds);
            known.sort_unstable();
        }
        for (mine, theirs) in [(&mut self.acts, other.acts), (&mut self.messages, other.messages)] {
            theirs.into_iter().for_each(|(kind, count)| *mine.entry(kind).or_default() += count);
        }
        self.healed_to_led.extend(other.healed_to_led);
        self.leaderless += other.leaderless;
        self.hash = self.hash.wrapping_add(other.hash);
        self
    }

    /// How long after the healing somebody acted: that share of the schedules was faster.
    #[must_use]
    pub fn time_to_leader(&self, percent: usize) -> Duration {
        let mut times = self.healed_to_led.clone();
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "schedules             {}", self.schedules)?;
        writeln!(f, "leaderships           {}", self.leaderships)?;
        writeln!(f, "acknowledged entries  {}", self.acknowledged)?;
        let [p50, p99, max] = [50, 99, 100].map(|percent| self.time_to_leader(percent).as_millis());
        writeln!(f, "healed to led         p50 {p50} ms, p99 {p99} ms, max {max} ms (simulated)")?;
        let mean = self.leaderless.as_millis() / u128::from(self.schedules.max(1));
        writeln!(f, "without a leader      {mean} ms of a schedule on average, faults included")?;
        for (title, counts) in [("done to processes and links", &self.acts), ("messages", &self.messages)] {
            let list: Vec<_> = counts.iter().map(|(kind, count)| std::format!("{count} {kind}")).collect();
            writeln!(f, "{title}: {}", list.join(", "))?;
        }
        writeln!(f, "trace hash            {:016x}", self.hash)?;
        if self.wrong.is_empty() {
            return write!(f, "wrong                 nothing");
        }
        for (wrong, seeds) in &self.wrong {
            write!(f, "wrong                 {wrong} in {} schedules", seeds.len())?;
            for seed in seeds.iter().take(NAMED) {
                write!(f, "\n    {REPRODUCE} {seed}{}", self.how)?;
            }
            if seeds.len() > NAMED {
                write!(f, "\n    and {} more", seeds.len() - NAMED)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
