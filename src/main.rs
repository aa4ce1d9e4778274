//! dunlin: runs people's work on the machines they already have.
//!
//! The binary's rooms: [`cli`] reads the command line, [`config`] the settings, [`up`] runs a node with [`http`] in front
//! of it, [`demo`] starts five of them; [`render`] and [`json`] show answers, [`exit`] says how a command ended and
//! [`quantity`] reads and writes durations, sizes and times. What a node does is the library's, `dunlin_node`.

mod cli;
mod config;
#[cfg(test)]
mod decoders;
mod demo;
mod exit;
#[cfg(test)]
mod fake;
mod http;
mod json;
mod quantity;
mod render;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: in a sandbox's process this never returns, and no runtime, thread or log may have been started.
    dunlin_node::sandbox::enter_if_child(&dunlin_node::sandbox::Handlers::new());
    cli::main()
}
