//! The supervisor: the process between the zygote and a task's target, which serves one task after the other.
//!
//! In come a ground to prepare, then orders, cancellations or the node's end on the control line; out goes one report for
//! each order. It adopts every orphan of its task (child subreaper), so that "no child left" is the kernel's word for
//! "nothing is left running". Where a task could leave a trace for the next one it serves only once.

pub(in crate::sandbox) mod confine;
pub(in crate::sandbox) mod guard;
mod prepared;
pub(in crate::sandbox) mod surroundings;
mod traces;
pub(in crate::sandbox) mod tree;
mod watch;
mod workplace;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::sandbox::kernel::sys::{self, SingleThreaded, Spent, Wake};
use crate::sandbox::shelter::Ground;
use crate::sandbox::wire::{self, Ended, Lines, Order};
use crate::task::{Outcome, Usage};
use guard::Guard;
use prepared::{Born, Prepared};
use surroundings::Ids;
use watch::Watch;

/// Serves the node on `control` until it closes it.
///
/// # Errors
/// If the control line breaks or can't be understood (the node then sees an end without a report), or if something
/// outlived every SIGKILL (the zygote then goes on).
pub(in crate::sandbox) fn serve(alone: &SingleThreaded, ids: Ids, control: OwnedFd) -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let control = File::from(control);
    let ground: Ground = wire::read_frame(&control)?;
    let mut prepared = Prepared::lay(alone, ids, &ground);
    while let Some((order, lines)) = next_order(&control)? {
        let Done { ended, alone, outputs } = attempt(&mut prepared, &control, &order, lines)?;
        let again = match &prepared {
            Ok(prepared) if !matches!(ended.outcome, Outcome::SetupFailed { .. }) => alone && prepared.serves_again(order.user),
            _ => false,
        };
        let stays = matches!(&prepared, Ok(prepared) if again && prepared.workplace_is_untouched());
        // The ends of the outputs and the report are one piece of news to the node, which has to be woken for it.
        drop(outputs);
        (&control).write_all(&wire::frame(&Ended { again, ..ended })?)?;
        if !alone {
            return Err(io::Error::other("something outlived SIGKILL"));
        }
        match &mut prepared {
            Ok(_) if stays => {}
            Ok(prepared) if again => prepared.dismiss()?,
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Waits by asking for something to read: who just waits to receive is woken when it could send as well.
fn next_order(control: &File) -> io::Result<Option<(Order, Lines)>> {
    while sys::wait_readable(Some(control.as_fd()), None)? != Wake::Readable {}
    wire::recv_order(control)
}

/// How a task ended, and whether the kernel says that nothing of it is left.
struct Done {
    ended: Ended,
    alone: bool,
    /// Of the task, if it had begun.
    outputs: Option<[OwnedFd; 2]>,
}

fn attempt(prepared: &mut Result<Prepared<'_>, Outcome>, control: &File, order: &Order, lines: Lines) -> io::Result<Done> {
    let started = Instant::now();
    let born = match prepared {
        Ok(prepared) => prepared.start(order, lines).map(|born| (born, prepared.in_own_namespace())),
        Err(outcome) => Err(outcome.clone()),
    };
    match born {
        Ok((Born { target, footprint, outputs }, own_namespace)) => {
            let watch = Watch::new(order.launch.limits.clone());
            let guard = Guard { started, control, target, own_namespace, watch, footprint, spent: Spent::default() };
            let (ended, alone) = guard.run()?;
            Ok(Done { ended, alone, outputs: Some(outputs) })
        }
        Err(outcome) => {
            let usage = Usage { wall: started.elapsed(), ..Usage::default() };
            Ok(Done { ended: Ended { outcome, usage, again: false }, alone: true, outputs: None })
        }
    }
}

/// How long a supervisor may take from the end of the wall time to its report; the node waits no longer.
pub(in crate::sandbox) fn patience(grace: Duration) -> Duration {
    grace.saturating_add(watch::KILL_PATIENCE).saturating_add(Duration::from_secs(10))
}
