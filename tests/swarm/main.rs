//! The promises, tried on the real binary in real processes; one file a promise.
//!
//! One test program for all of them: they share the harness, and linking a whole node costs more than most of them take.
//! Ports are 0, folders are temporary, and nothing is waited for but a state that can be asked for, each wait with an end.

#![allow(clippy::unwrap_used, reason = "a test that finds something missing has failed, wherever its helper stands")]

mod all_killed;
mod alone;
mod bad_input;
mod cancel;
mod chaos;
mod full_disk;
mod hard_tasks;
mod harness;
mod joining;
mod journal_export;
mod leader_killed;
mod leader_paused;
mod majority;
mod one_leader;
mod pods;
mod sandboxed;
mod strangers;
mod worker_lost;
