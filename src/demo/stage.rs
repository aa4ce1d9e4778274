//! Where the demo is shown: a progress bar with lines above it on a terminal, plain lines elsewhere, nothing in JSON.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::render::Format;

/// Cheap to clone; clones show on the same stage.
#[derive(Clone)]
pub(super) struct Stage {
    bar: ProgressBar,
    shown: Shown,
    began: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Terminal,
    Lines,
    Nothing,
}

impl Stage {
    pub(super) fn new(format: Format, total: usize) -> Self {
        let shown = match format {
            Format::Text if std::io::stderr().is_terminal() => Shown::Terminal,
            Format::Text => Shown::Lines,
            Format::Json | Format::Quiet => Shown::Nothing,
        };
        let target = if shown == Shown::Terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total as u64), target);
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} tasks");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Stage { bar, shown, began: Instant::now() }
    }

    /// One line of the story, with the time since the beginning.
    pub(super) fn say(&self, text: &str) {
        let line = format!("{:6.2} s  {text}", self.began.elapsed().as_secs_f64());
        match self.shown {
            Shown::Terminal => self.bar.suspend(|| print(&line)),
            Shown::Lines => print(&line),
            Shown::Nothing => {}
        }
    }

    /// So many tasks are done.
    pub(super) fn progress(&self, done: usize, total: usize) {
        self.bar.set_position(done as u64);
        // Without a bar: a line for every quarter.
        if self.shown == Shown::Lines && total >= 4 && done.is_multiple_of(total.div_ceil(4)) && done < total {
            self.say(&format!("{done} of {total} tasks are done"));
        }
    }

    /// Takes the bar away.
    pub(super) fn close(&self) {
        self.bar.finish_and_clear();
    }
}

/// A reader that has gone does not stop the demo.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
