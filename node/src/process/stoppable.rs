//! Processes of a simulation, all on one thread.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

thread_local! {
    /// Whose future is being polled.
    static CURRENT: RefCell<Option<Process>> = const { RefCell::new(None) };
}

/// A simulated process; clones are the same process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    /// How often it was stopped: what was parked in an earlier stop has been woken since.
    stops: u64,
    parked: Vec<Waker>,
}

impl Process {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing of it runs from here on.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        if !state.stopped {
            state.stopped = true;
            state.stops += 1;
        }
    }

    /// It goes on where it was.
    pub(crate) fn go_on(&self) {
        let mut state = self.state();
        state.stopped = false;
        let parked = std::mem::take(&mut state.parked);
        drop(state);
        parked.into_iter().for_each(Waker::wake);
    }

    /// The future as one of this process, and what it starts as well.
    pub(crate) fn run<F: Future>(&self, future: F) -> Within<F> {
        Within { process: Some(self.clone()), parked: 0, future: Box::pin(future) }
    }
}

/// The future as one of the process that is running now, if there is one.
pub(crate) fn of_this_process<F: Future>(future: F) -> Within<F> {
    let process = CURRENT.with_borrow(Clone::clone);
    Within { process, parked: 0, future: Box::pin(future) }
}

/// A future that is polled only while its process runs.
pub(crate) struct Within<F> {
    process: Option<Process>,
    /// In which stop its waker was left, if in any.
    parked: u64,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(process) = self.process.clone() else { return self.future.as_mut().poll(context) };
        let mut state = process.state();
        if state.stopped {
            if self.parked != state.stops {
                self.parked = state.stops;
                state.parked.push(context.waker().clone());
            }
            return Poll::Pending;
        }
        drop(state);
        let _entered = Entered(CURRENT.replace(Some(process)));
        self.future.as_mut().poll(context)
    }
}

/// Puts back who was running before, also if a poll panics.
struct Entered(Option<Process>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stopped_process_does_nothing_and_finds_everything_when_it_goes_on() {
        let process = Process::default();
        let (told, mut heard) = mpsc::channel(64);
        let began = Instant::now();
        let ticks = async move {
            // What it starts is stopped with it.
            let inner = async move {
                loop {
                    sleep(Duration::from_secs(1)).await;
                    let _ = told.send(began.elapsed().as_secs()).await;
                }
            };
            tokio::spawn(of_this_process(inner)).await
        };
        let task = tokio::spawn(process.run(ticks));
        sleep(Duration::from_millis(2_500)).await;
        for _ in 0..2 {
            process.stop();
            sleep(Duration::from_secs(5)).await;
            process.go_on();
        }
        sleep(Duration::from_millis(100)).await;
        task.abort();
        let mut seen = Vec::new();
        while let Ok(at) = heard.try_recv() {
            seen.push(at);
        }
        assert_eq!(seen, [1, 2, 12], "the tick of the third second comes when the process runs again");
    }
}
