//! How many facts share an entry.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::harness::*;
use crate::journal::{Executor, Journal, JournalConfig};
use crate::task::NodeId;

fn in_simulated_time(config: &mut JournalConfig) {
    config.executor = Executor::Inline;
    config.disk_delay = Some(Arc::new(|| Duration::from_millis(5)));
    config.gather = Duration::from_millis(3);
}

/// Entries that so many callers need who each propose so many facts, one after the other.
async fn entries_of(callers: usize, times: u64, tune: Tune) -> u64 {
    let hub = Arc::new(Hub::default());
    let node = open(&hub, 1, tune).await;
    node.journal.initialize(vec![NodeId(1)]).await.unwrap();
    let term = node.opens().await;
    let before = node.last();
    let caller = async |number: usize| {
        // Every second one begins while the first entry is being written.
        tokio::time::sleep(Duration::from_millis(3 * (number as u64 % 2))).await;
        for _ in 0..times {
            node.journal.propose(term, vec![submitted()]).await.unwrap();
            // The way to whoever asked, and back.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    join_all((0..callers).map(caller)).await;
    node.last() - before
}

#[tokio::test(start_paused = true)]
async fn callers_that_come_back_share_an_entry_and_do_not_take_turns() {
    let entries = entries_of(32, 20, in_simulated_time).await;
    assert!(entries <= 24, "{entries} entries for 20 rounds");
}

#[tokio::test(start_paused = true)]
async fn a_few_callers_wait_for_nobody() {
    let alone = |config: &mut JournalConfig| {
        in_simulated_time(config);
        config.gather = Duration::from_secs(3_600);
    };
    let began = tokio::time::Instant::now();
    entries_of(8, 10, alone).await;
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}
