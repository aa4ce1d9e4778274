//! Settings that contradict one another are refused, each by name.

use std::string::ToString;
use std::time::Duration;

use crate::{ConfigError, Settings};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn the_defaults_hold_also_widened() {
    for factor in 1..=20 {
        assert!(Settings::default().widened(factor).validate().is_ok(), "{factor} times");
    }
}

#[test]
fn a_leader_that_outlives_the_followers_patience_is_refused() {
    let settings = Settings { leader_lease: ms(950), ..Settings::default() };
    let error = settings.validate().expect_err("950 x 1.05 > 1000 x 0.95");
    assert!(matches!(error, ConfigError::LeaseTooShort { .. }), "{error:?}");
    assert!(error.to_string().contains("leader_lease (950ms)"), "{error}");
    let just = Settings { leader_lease: ms(900), ..Settings::default() };
    assert!(just.validate().is_ok());
}

#[test]
fn each_contradiction_is_named() {
    let base = Settings::default;
    for (settings, name) in [
        (Settings { beat: ms(200), ..base() }, "3 x beat"),
        (Settings { jitter_min: ms(400), ..base() }, "jitter_min"),
        (Settings { round_min: ms(2_400), ..base() }, "round_min"),
        (Settings { round_min: ms(590), ..base() }, "(count + 1) x step + ratify"),
        (Settings { ratify: ms(600), ..base() }, "ratify"),
        (Settings { cool_off_min: 5, ..base() }, "cool_off_min"),
        (Settings { count: 0, ..base() }, "count"),
        (Settings { dry_steps: 0, ..base() }, "dry_steps"),
        (Settings { draw_max: 0, ..base() }, "draw_max"),
        (Settings { beat: ms(0), ..base() }, "beat"),
        (Settings { hello: ms(0), ..base() }, "hello"),
        (Settings { expect: 0, ..base() }, "expect"),
        (Settings { expect: 65, ..base() }, "expect"),
    ] {
        let error = settings.validate().expect_err(name).to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
}
