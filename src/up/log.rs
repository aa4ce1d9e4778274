//! The node's log: on standard error, coloured only where a person looks.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging by a filter that the configuration has checked.
pub(super) fn start(filter: &str) {
    let targets: Targets = filter.parse().unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour).with_target(false);
    // Fails only if a program that embeds this has its own log already, which is as good.
    let _ = tracing_subscriber::registry().with(targets).with(layer).try_init();
}
