//! One member of a dunlin swarm, as a library that can be embedded.

pub mod admission;
pub mod api;
pub mod client;
pub mod clock;
pub mod dispatch;
pub mod journal;
pub mod leadership;
pub mod mesh;
pub mod node;
pub mod roster;
pub mod sandbox;
pub mod task;
pub mod worker;
