//! The sandbox with real processes. This binary is its own zygote, so it has a `main` of its own, which speaks the
//! usual test harness's language as far as cargo and nextest use it.
#![allow(clippy::unwrap_used)] // It is all tests, which clippy can't see without the usual attribute.

mod cases;
mod harness;
mod house;

use dunlin_node::sandbox::enter_if_child;

fn main() {
    enter_if_child(&cases::handlers());
    harness::run(cases::ALL)
}
