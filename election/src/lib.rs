#![no_std]
//! Who should lead: a ranked-candidate countdown election as a pure state machine.

extern crate alloc;
#[cfg(any(test, feature = "sim"))]
extern crate std;

mod bid;
mod check;
mod codec;
mod config;
mod input;
mod machine;
mod message;
mod output;
mod random;
mod role;
#[cfg_attr(not(any(test, feature = "sim")), allow(unreachable_pub))]
mod rules;
mod time;
mod view;

pub use bid::{Bid, Draw, NodeId, Position, Rank, Term};
pub use check::Violation;
pub use codec::{DecodeError, MAX_PACKET};
pub use config::{Config, ConfigError, MAX_EXPECT, Settings};
pub use input::{History, Input, Start};
pub use machine::Machine;
pub use message::{Charter, Envelope, Hello, Message, Packet, Pledge, Stage, SwarmId};
pub use output::{FoundingRefusal, Ignored, Note, Output, Outputs, StepDown, Withdrawal};
pub use time::Instant;
pub use view::{RoleView, View};

#[cfg(any(test, feature = "sim"))]
pub use rules::Rules;
