//! One life of a simulated node: the real node in simulated surroundings, from its start to its end.

use std::path::PathBuf;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use super::name;
use super::needs::{self, Holding};
use super::random::Random;
use super::tasks::Scripted;
use super::time::SimClock;
use super::world::World;
use crate::api::{ApiError, Request, Response};
use crate::clock::Clock;
use crate::journal::platter::Platter;
use crate::journal::{Executor, FoldListener, JournalConfig};
use crate::leadership::Keep;
use crate::node::{Node, NodeConfig, SandboxSettings, Secret, StartError, Surroundings};
use crate::process::Process;
use crate::task::{Findings, GroupName, NodeId, Pod, Queue};

/// Where a node lives.
pub(super) struct Site {
    pub(super) node: NodeId,
    pub(super) folder: PathBuf,
    pub(super) clock: SimClock,
    pub(super) platter: Platter,
    /// This life's chance.
    pub(super) seed: u64,
    /// What it holds against its tasks.
    pub(super) holding: Holding,
}

/// A running node.
pub(super) struct Life {
    pub(super) id: NodeId,
    pub(super) node: Node,
    pub(super) holding: Holding,
    groups: Vec<GroupName>,
    /// Can be stopped and go on.
    pub(super) process: Process,
    ended: watch::Sender<bool>,
}

impl Life {
    /// Asks it; as long as it is stopped there is no answer.
    pub(super) async fn ask(&self, request: Request) -> Result<Response, ApiError> {
        self.process.run(self.node.api().handle(request)).await
    }

    /// Whether it would be given a task of this queue.
    pub(super) fn could_run(&self, queue: &Queue) -> bool {
        self.groups.contains(&queue.group) && needs::meets(&self.holding, queue.need)
    }

    /// Waits until the process has ended.
    pub(super) async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        drop(ended.wait_for(|ended| *ended).await);
    }

    /// The process ends here and now.
    pub(super) fn end(&self) {
        self.ended.send_replace(true);
        self.node.kill();
        // What is left of it can end only if it runs.
        self.process.go_on();
    }
}

/// Starts a node and listens to what it says and folds.
pub(super) async fn begin(world: &Arc<World>, site: Site) -> Result<Arc<Life>, StartError> {
    let process = Process::default();
    process.run(begin_in(world, site, process.clone())).await
}

async fn begin_in(world: &Arc<World>, site: Site, process: Process) -> Result<Arc<Life>, StartError> {
    let (id, holding) = (site.node, site.holding);
    std::fs::create_dir_all(&site.folder).map_err(|source| StartError::Folder { path: site.folder.clone(), source })?;
    let config = config(world, &site)?;
    let surroundings = surroundings(world, site, &config)?;
    let boot = surroundings.boot;
    let groups = config.pods.iter().flat_map(|pod| pod.groups.clone()).collect();
    world.audit.begins(id, &holding);
    let node = Node::builder(config).start_in(surroundings).await?;
    world.trace.line(&name(id), &format_args!("starts, boot {boot}, holds {}, asked for {}", holding.holds(), holding.required));
    let (ended, _) = watch::channel(false);
    let life = Arc::new(Life { id, node, holding, groups, process, ended });
    listen(world, &life);
    Ok(life)
}

fn config(world: &World, site: &Site) -> Result<NodeConfig, StartError> {
    let place = site.node.0;
    let mut groups = vec![GroupName::default()];
    // Only two nodes serve it, so that its tasks wait when both are away.
    if place <= 2
        && let Ok(rare) = "rare".parse()
    {
        groups.push(rare);
    }
    Ok(NodeConfig {
        name: name(site.node),
        rank: u32::try_from(100 + place * 10 % 40).unwrap_or(100),
        belonging: world.plan.belonging(site.node),
        pods: vec![Pod { groups, slots: 2 }],
        sandbox: SandboxSettings { require: site.holding.required, ..SandboxSettings::default() },
        ..NodeConfig::new(&site.folder, Secret::new("a simulated secret of no use")?)
    })
}

fn surroundings(world: &Arc<World>, site: Site, config: &NodeConfig) -> Result<Surroundings, StartError> {
    let keep = Keep::new(&config.data);
    let (boot, belongs) = (keep.count_boot()?, keep.belongs()?);
    let (mesh, inboxes) = world.join(site.node, &config.name);
    let random = Arc::new(Mutex::new(Random::new(site.seed, 4)));
    let drawn = Arc::clone(&random);
    let (wall, platter, slow) = (site.clock.clone(), site.platter.clone(), site.platter.clone());
    let journal = JournalConfig {
        backend: platter.begin(),
        listener: Some(fold_listener(world, site.node)),
        free_space: Arc::new(move |_| Some(if platter.is_full() { 0 } else { 1 << 30 })),
        executor: Executor::Inline,
        disk_delay: Some(Arc::new(move || {
            let chance = random.lock().unwrap_or_else(PoisonError::into_inner).micros(50, 2_000);
            chance + slow.slowness()
        })),
        applied_backlog: 4_096,
        log_cache: 256 << 10,
        ledger_cache: 512 << 10,
        durable_facts: world.plan.durable_facts,
        snapshot_bytes: world.plan.snapshot_bytes,
        keep_entries: world.plan.keep_entries,
        ..JournalConfig::new(&config.data, move || wall.wall())
    };
    let runner = Arc::new(Scripted {
        node: site.node,
        slots: 2,
        trace: world.trace.clone(),
        ran: Arc::clone(&world.ran),
        audit: world.audit.clone(),
        holding: site.holding,
        at_once: Arc::new(AtomicI64::new(0)),
    });
    let entropy = Arc::new(move || Ok(drawn.lock().unwrap_or_else(PoisonError::into_inner).next()));
    // Scripted tasks have no process that could escape: what is found is what the script says.
    let (level, memory_enforced) = (site.holding.level, site.holding.memory_enforced);
    let findings = Findings { level, memory_enforced, ..Findings::default() };
    let clock = Arc::new(site.clock);
    Ok(Surroundings { clock, entropy, mesh, inboxes, journal, runner, findings, keep, boot, belongs, lock: None })
}

/// Tells the audit of every fold, also of those by which a ledger catches up before its node is there.
fn fold_listener(world: &Arc<World>, node: NodeId) -> FoldListener {
    // The node's remains may outlive the world.
    let world = Arc::downgrade(world);
    Arc::new(move |term, applied| {
        if let Some(world) = world.upgrade() {
            world.trace.line(&name(node), &format_args!("folds #{} t{term}", applied.index));
            world.audit.folded(node, term, applied);
        }
    })
}

/// Follows the node for as long as it lives: its narration and its end.
fn listen(world: &Arc<World>, life: &Arc<Life>) {
    let (seen, heard) = (Arc::clone(world), Arc::clone(life));
    let mut said = life.node.narration();
    tokio::spawn(async move {
        loop {
            let line = tokio::select! {
                biased;
                () = heard.ended() => return,
                line = said.recv() => line,
            };
            match line {
                Ok(line) => seen.trace.line(&name(heard.id), &line.text),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
            seen.audit_now();
        }
    });
    let (seen, heard) = (Arc::clone(world), Arc::clone(life));
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = heard.ended() => {}
            why = heard.node.failed() => {
                // The process takes a moment to end.
                tokio::time::sleep(Duration::from_millis(1)).await;
                seen.ended_by_itself(heard.id, &why);
            }
        }
    });
}
