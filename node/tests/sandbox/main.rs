//! The sandbox with real processes. This binary is its own zygote, so it has a `main` of its own, which speaks the
//! usual test harness's language as far as cargo and nextest use it.

mod cases;
mod harness;

use dunlin_node::sandbox::enter_if_child;

fn main() {
    enter_if_child(&cases::handlers());
    harness::run(cases::ALL)
}
