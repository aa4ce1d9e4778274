//! Runs one attempt as somebody else's command without letting it hurt the node. (See `spec.rs` for what enters and leaves.)

mod spec;

pub use spec::{Launch, Output, OutputStream, Report, ResolvedLimits};
