//! One member of a dunlin swarm, as a library that can be embedded.
//!
//! A swarm is a handful of identical nodes. One of them leads, elected by `dunlin-election` and ratified by the journal; it
//! hands queued tasks to the others, and every fact about a task is on a majority of disks before anybody is told of it.
//!
//! The map of the house, in the order of a task's way (each room's first lines say what enters and what leaves):
//!
//! 1. [`api`] — a request comes in, on any node; from another program by way of [`client`].
//! 2. [`admission`] — may it come in: sizes, names, limits.
//! 3. [`journal`] — it is written down on a majority of disks and folded into every node's ledger.
//! 4. [`dispatch`] — the leader's board decides who gets it, and remembers the lease.
//! 5. [`worker`] — the member takes it into a slot of one of its pods, and reports until it is answered.
//! 6. [`sandbox`] — a forked child runs it, and what is left of it is told apart to the last detail.
//! 7. [`journal`] again — the end of the attempt is a fact too; the result can be read anywhere.
//!
//! Around that way: [`task`] has the nouns, [`mesh`] carries bytes between nodes, [`leadership`] drives the election and holds
//! the acting gate, [`roster`] knows who is here, [`clock`] is where time is read, and [`node`] puts the rooms together.
//!
//! ```no_run
//! use dunlin_node::api::{Request, Response};
//! use dunlin_node::node::{Node, NodeConfig, Secret};
//! use dunlin_node::sandbox;
//! use dunlin_node::task::TaskSpec;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // First of all: this program is also started as the parts of its own sandbox.
//!     sandbox::enter_if_child(&sandbox::Handlers::new());
//!     tokio::runtime::Runtime::new()?.block_on(async {
//!         let config = NodeConfig::new("/var/lib/my-node", Secret::new("correct horse battery staple")?);
//!         let node = Node::builder(config).start().await?;
//!         let tasks = vec![(TaskSpec::command(["uname", "-a"]), None)];
//!         let Response::Submitted(ids) = node.api().handle(Request::Submit { tasks }).await? else { unreachable!() };
//!         println!("task {} is on a majority of disks", ids[0].0);
//!         node.stop().await;
//!         Ok(())
//!     })
//! }
//! ```

pub mod admission;
pub mod api;
pub mod client;
pub mod clock;
pub mod dispatch;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod journal;
pub mod leadership;
pub mod mesh;
pub mod node;
pub(crate) mod process;
pub mod roster;
pub mod sandbox;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod task;
pub mod worker;

pub use client::Client;
pub use node::Node;
