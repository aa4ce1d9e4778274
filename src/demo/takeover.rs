//! The leader's death and what follows: another leads, the dead one comes back and catches up.

use std::time::{Duration, Instant};

use super::stage::Stage;
use super::swarm::{LOOK_AGAIN, Leading, Swarm, leading};
use super::work::Work;
use crate::exit::Failure;

/// How long a takeover and a catching up may take.
const LIMIT: Duration = Duration::from_secs(20);

/// What was seen.
#[derive(Clone, Debug)]
pub(super) struct Takeover {
    pub(super) killed: String,
    pub(super) leads: String,
    pub(super) term: u64,
    /// From the kill until another node says that it leads.
    pub(super) failover: Duration,
    /// From its second start until its journal held what the others' did.
    pub(super) catch_up: Duration,
}

impl Takeover {
    pub(super) async fn play(swarm: &mut Swarm<'_>, founded: &Leading, work: &Work, stage: &Stage) -> Result<Self, Failure> {
        // The leadership may have changed since the founding.
        let all = swarm.statuses_without(usize::MAX).await;
        let leader = all.iter().filter_map(leading).max_by_key(|leader| leader.term).unwrap_or_else(|| founded.clone());
        let index = swarm.index_of(leader.node).ok_or_else(|| Failure::error("the leader is none of the demo's nodes"))?;
        let killed = swarm.name(leader.node);
        let pid = swarm.kill(index)?;
        let died = Instant::now();
        stage.say(&format!("SIGKILL to the leader {killed} (process {pid}) after {} of {} tasks", work.done(), work.total()));

        let next = until(async || {
            let others = swarm.statuses_without(index).await;
            // The reason is the new leader's own word: it acts.
            let acts = |seen: &Leading| seen.node != leader.node && seen.term > leader.term && !seen.why.is_empty();
            others.iter().filter_map(leading).find(acts)
        });
        let next = next.await.ok_or_else(|| timed_out("no other node took over"))?;
        let failover = died.elapsed();
        let leads = swarm.name(next.node);
        stage.say(&format!("{leads} leads in term {} after {:.2} s: {}", next.term, failover.as_secs_f64(), next.why));

        let born = Instant::now();
        swarm.restart(index).await?;
        stage.say(&format!("{killed} is started again"));
        let goal = swarm.statuses_without(index).await.iter().map(|view| view.journal_index).max().unwrap_or(0);
        let caught_up = until(async || {
            let own = swarm.client(index).status().await.ok()?;
            (own.journal_index >= goal && own.leader.is_some()).then_some(own.journal_index)
        });
        let reached = caught_up.await.ok_or_else(|| timed_out("the restarted node did not catch up"))?;
        let catch_up = born.elapsed();
        stage.say(&format!("{killed} has caught up to entry {reached} within {:.2} s of its start", catch_up.as_secs_f64()));
        Ok(Takeover { killed, leads, term: next.term.0, failover, catch_up })
    }
}

/// Looks again and again until something is there.
async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(LIMIT, looking).await.ok()
}

fn timed_out(what: &str) -> Failure {
    Failure::error(format!("{what} within {} s", LIMIT.as_secs())).next("--keep keeps the nodes' folders with their logs")
}
