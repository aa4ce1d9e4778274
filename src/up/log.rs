//! The node's log: on standard error, coloured only where a person looks.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Crates whose own story is not the node's, unless the filter names them. openraft calls every peer that is away an error.
const QUIET: [(&str, LevelFilter); 4] = [
    ("openraft", LevelFilter::OFF),
    ("libp2p", LevelFilter::WARN),
    ("netlink", LevelFilter::WARN),
    ("if_watch", LevelFilter::WARN),
];

/// Starts logging by a filter that the configuration has checked.
pub(super) fn start(filter: &str) {
    let asked: Targets = filter.parse().unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO));
    let default = asked.default_level().unwrap_or(LevelFilter::INFO);
    let targets = Targets::new().with_targets(QUIET).with_targets(asked).with_default(default);
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour).with_target(false);
    // Fails only if a program that embeds this has its own log already, which is as good.
    let _ = tracing_subscriber::registry().with(targets).with(layer).try_init();
}
