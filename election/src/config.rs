//! The election's durations and counts: [`Settings`] are what somebody asked for, a [`Config`] is what was checked.
//!
//! The values lean on one another (a leader must have stopped before the others look for a new one), so there is no way to
//! a [`Config`] but through [`Settings::validate`].

use core::fmt;
use core::time::Duration;

/// The most nodes a swarm can be founded from.
pub const MAX_EXPECT: u8 = 64;

/// The clocks of two nodes may run at rates that differ by this much, in percent, either way.
const CLOCK_DRIFT_PERCENT: u32 = 5;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What can be set; [`Settings::default`] is right for a local network with disks that sync within 20 ms.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Settings {
    /// How long a follower believes in a leader it hears nothing from (E2). Also the wait after a start (E1).
    pub lease: Duration,
    /// The shortest wait between the end of the lease and a candidacy.
    pub jitter_min: Duration,
    /// The longest such wait.
    pub jitter_max: Duration,
    /// The time between two beats of a leader.
    pub beat: Duration,
    /// How long a leader may act after sending a beat that a majority acknowledged (E8).
    pub leader_lease: Duration,
    /// The time between two broadcasts of a candidate.
    pub step: Duration,
    /// From which number a candidate counts down.
    pub count: u8,
    /// How long a candidate waits for Raft's answer (E7).
    pub ratify: Duration,
    /// How long a Voter waits for its candidate's next broadcast.
    pub watch: Duration,
    /// The shortest life of a candidacy that does not win.
    pub round_min: Duration,
    /// The longest.
    pub round_max: Duration,
    /// After how many steps without hearing a majority a candidate withdraws (E12).
    pub dry_steps: u8,
    /// The shortest pause after such a withdrawal, in leases.
    pub cool_off_min: u8,
    /// The longest.
    pub cool_off_max: u8,
    /// How many draws a candidacy makes before node ids decide (E4).
    pub ties: u8,
    /// The most points lost in one draw.
    pub draw_max: u16,
    /// How soon a Voter without a candidate decides again (E11).
    pub decide: Duration,
    /// Of how many identical nodes the swarm is founded; 1 founds at once.
    pub expect: u8,
    /// The time between two greetings while founding; a node not heard for five of them is not counted.
    pub hello: Duration,
    /// How long a founding voter waits for its journal's first term before it orders its creation again.
    pub initialize: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            lease: ms(1_000),
            jitter_min: ms(1),
            jitter_max: ms(300),
            beat: ms(150),
            leader_lease: ms(600),
            step: ms(50),
            count: 3,
            ratify: ms(400),
            watch: ms(600),
            round_min: ms(2_000),
            round_max: ms(2_300),
            dry_steps: 6,
            cool_off_min: 2,
            cool_off_max: 4,
            ties: 3,
            draw_max: 10,
            decide: ms(100),
            expect: 1,
            hello: ms(200),
            initialize: ms(2_000),
        }
    }
}

impl Settings {
    /// Every duration `factor` times as long, for slow disks and far networks: they are widened together or not at all.
    #[must_use]
    pub fn widened(&self, factor: u32) -> Settings {
        let f = factor.max(1);
        Settings {
            lease: self.lease.saturating_mul(f),
            jitter_min: self.jitter_min.saturating_mul(f),
            jitter_max: self.jitter_max.saturating_mul(f),
            beat: self.beat.saturating_mul(f),
            leader_lease: self.leader_lease.saturating_mul(f),
            step: self.step.saturating_mul(f),
            ratify: self.ratify.saturating_mul(f),
            watch: self.watch.saturating_mul(f),
            round_min: self.round_min.saturating_mul(f),
            round_max: self.round_max.saturating_mul(f),
            decide: self.decide.saturating_mul(f),
            hello: self.hello.saturating_mul(f),
            initialize: self.initialize.saturating_mul(f),
            ..self.clone()
        }
    }

    /// Checks the values against one another.
    ///
    /// # Errors
    /// The first constraint that does not hold, with the values that break it.
    pub fn validate(self) -> Result<Config, ConfigError> {
        self.validate_counts()?;
        self.validate_leases()?;
        self.validate_candidacy()?;
        Ok(Config(self))
    }

    fn validate_counts(&self) -> Result<(), ConfigError> {
        for (name, value) in [("count", self.count), ("dry_steps", self.dry_steps), ("expect", self.expect)] {
            if value == 0 {
                return Err(ConfigError::Zero { name });
            }
        }
        if self.draw_max == 0 {
            return Err(ConfigError::Zero { name: "draw_max" });
        }
        if self.expect > MAX_EXPECT {
            return Err(ConfigError::TooMany { expect: self.expect });
        }
        let durations = [
            ("beat", self.beat),
            ("step", self.step),
            ("decide", self.decide),
            ("hello", self.hello),
            ("initialize", self.initialize),
        ];
        match durations.into_iter().find(|(_, value)| value.is_zero()) {
            Some((name, _)) => Err(ConfigError::Zero { name }),
            None => Ok(()),
        }
    }

    fn validate_leases(&self) -> Result<(), ConfigError> {
        // A leader on a slow clock must have stopped before a follower on a fast one looks for another.
        let leader_at_most = self.leader_lease.saturating_mul(100 + CLOCK_DRIFT_PERCENT);
        let lease_at_least = self.lease.saturating_mul(100 - CLOCK_DRIFT_PERCENT);
        if leader_at_most >= lease_at_least {
            return Err(ConfigError::LeaseTooShort { lease: self.lease, leader_lease: self.leader_lease });
        }
        // Two beats in a row may be lost without deposing anybody.
        less("3 x beat", self.beat.saturating_mul(3), "leader_lease", self.leader_lease)
    }

    fn validate_candidacy(&self) -> Result<(), ConfigError> {
        ordered("jitter_min", self.jitter_min, "jitter_max", self.jitter_max)?;
        ordered("round_min", self.round_min, "round_max", self.round_max)?;
        if self.cool_off_min > self.cool_off_max {
            return Err(ConfigError::CoolOff { min: self.cool_off_min, max: self.cool_off_max });
        }
        // The Voters must still be there when Raft's answer comes.
        less("ratify", self.ratify, "watch", self.watch)?;
        let countdown = self.step.saturating_mul(u32::from(self.count) + 1);
        less("(count + 1) x step + ratify", countdown.saturating_add(self.ratify), "round_min", self.round_min)
    }
}

fn less(name: &'static str, value: Duration, than: &'static str, limit: Duration) -> Result<(), ConfigError> {
    if value < limit { Ok(()) } else { Err(ConfigError::NotLess { name, value, than, limit }) }
}

fn ordered(name: &'static str, value: Duration, than: &'static str, limit: Duration) -> Result<(), ConfigError> {
    if value <= limit { Ok(()) } else { Err(ConfigError::NotLess { name, value, than, limit }) }
}

/// Settings that passed [`Settings::validate`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Config(Settings);

impl Config {
    /// What was checked.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.0
    }
}

impl core::ops::Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}

/// A constraint between settings that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A value that must not be zero.
    Zero {
        /// Which.
        name: &'static str,
    },
    /// More founding nodes than [`MAX_EXPECT`].
    TooMany {
        /// What was asked for.
        expect: u8,
    },
    /// With clocks that differ, a leader could still act while the others elect the next.
    LeaseTooShort {
        /// The followers' lease.
        lease: Duration,
        /// The leader's own.
        leader_lease: Duration,
    },
    /// A duration that must be shorter than another.
    NotLess {
        /// Which.
        name: &'static str,
        /// Its value.
        value: Duration,
        /// The one it must not reach.
        than: &'static str,
        /// That one's value.
        limit: Duration,
    },
    /// The cool-off's range is empty.
    CoolOff {
        /// Its lower end, in leases.
        min: u8,
        /// Its upper end, in leases.
        max: u8,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Zero { name } => write!(f, "{name} must not be 0"),
            ConfigError::TooMany { expect } => {
                write!(f, "expect is {expect}, but a swarm is founded from at most {MAX_EXPECT} nodes (more can join later)")
            }
            ConfigError::LeaseTooShort { lease, leader_lease } => write!(
                f,
                "leader_lease ({leader_lease:?}) must be at least 10 % shorter than lease ({lease:?}), as clocks differ by up to {CLOCK_DRIFT_PERCENT} %"
            ),
            ConfigError::NotLess { name, value, than, limit } => {
                write!(f, "{name} ({value:?}) must be shorter than {than} ({limit:?})")
            }
            ConfigError::CoolOff { min, max } => write!(f, "cool_off_min ({min}) must not exceed cool_off_max ({max})"),
        }
    }
}

impl core::error::Error for ConfigError {}
