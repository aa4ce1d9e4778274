//! The journal as a whole: real openraft, real files, and a mesh of channels whose links can be cut.

mod batching;
mod bench;
mod cluster;
mod faults;
mod guards;
mod harness;
mod single;
