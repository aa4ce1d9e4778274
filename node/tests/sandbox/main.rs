//! The sandbox with real processes. This binary is its own zygote, so it has a `main` of its own, which speaks the
//! usual test harness's language as far as cargo and nextest use it.
//!
//! Each case runs in a process of its own, once in each environment that this machine can make: `environment/case`.
#![allow(clippy::unwrap_used)] // It is all tests, which clippy can't see without the usual attribute.

mod again;
mod cases;
mod escapes;
mod everyday;
mod harness;
mod house;
mod levels;
mod limits;
mod soak;

use dunlin_node::sandbox::enter_if_child;

fn main() {
    enter_if_child(&cases::handlers());
    cases::enter_if_node();
    let all = [again::ALL, cases::ALL, escapes::ALL, everyday::ALL, levels::ALL, limits::ALL, soak::ALL].concat();
    harness::run(&all)
}
