//! Who is here: heartbeats, liveness, what each node offers, who should vote.

mod heartbeat;
mod liveness;
mod voters;

pub use heartbeat::{Heartbeat, HeartbeatError, MAX_HEARTBEAT, MAX_HELD};
pub use liveness::{Change, Heard, Liveness, LivenessConfig, MemberRef, MemberView};
pub use voters::{Candidate, VotersChange, VotersPolicy, plan};
