//! The checker is fed histories of which the verdict is known: good ones, and broken ones of every kind.

#![allow(clippy::unwrap_used, reason = "a test that finds something missing has failed, wherever its helper stands")]

mod broken;
mod good;
mod program;
mod story;
