//! Who is here: heartbeats, liveness, what each node offers, who should vote.

mod heartbeat;

pub use heartbeat::{Heartbeat, HeartbeatError, MAX_HEARTBEAT, MAX_HELD};
