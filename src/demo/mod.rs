//! `dunlin demo`: five real nodes on this machine, real work, a killed leader, and a checked result.
//!
//! Files enter; a story, a table and an exit code leave. The nodes are processes of this very binary which speak to us
//! as to anybody: by the lines of `up -o json` and by their sockets. Nothing in here knows how a node works inside, and
//! only processes that were started here are ever killed.

mod child;
mod folder;
mod input;
mod report;
mod stage;
mod swarm;
mod takeover;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Failure, code};
use crate::render::Format;
use folder::Folder;
use report::Report;
use stage::Stage;
use swarm::Swarm;
use takeover::Takeover;
use work::Work;

/// The longest the whole demo may take; what is not done then is counted as lost.
const LIMIT: Duration = Duration::from_secs(90);

/// What is to be shown.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: u32,
    pub(crate) input: Vec<PathBuf>,
    pub(crate) kill: bool,
    pub(crate) keep: bool,
    pub(crate) format: Format,
}

/// Plays it. Whatever happens, also on Ctrl-C, the children are gone and the folder is removed afterwards.
pub(crate) async fn demo(plan: Plan) -> Result<u8, Failure> {
    if plan.kill && plan.nodes < 3 {
        return Err(Failure::usage(format!("a swarm of {} can't go on without its leader", plan.nodes))
            .why("a majority of the nodes must stay")
            .next("--nodes 3 or more, or --no-kill"));
    }
    let files = input::files(&plan.input)?;
    let folder = Folder::new(plan.keep)?;
    let stage = Stage::new(plan.format, files.len());
    let mut terminate = signal(SignalKind::terminate())?;
    let played = tokio::select! {
        played = tokio::time::timeout(LIMIT, play(&plan, files, &folder, &stage)) => played.unwrap_or_else(|_| {
            Err(Failure::error(format!("the demo did not come to its end within {} s", LIMIT.as_secs()))
                .next("--keep keeps the nodes' folders with their logs"))
        }),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            Err(Failure::new(code::INTERRUPTED, "interrupted; the nodes are stopped"))
        }
        _ = terminate.recv() => Err(Failure::new(code::INTERRUPTED, "terminated; the nodes are stopped")),
    };
    stage.close();
    if plan.keep {
        stage.say(&format!("kept: {}", folder.path().display()));
    }
    let report = played?;
    report.print(plan.format)?;
    Ok(if report.is_right() { code::OK } else { code::ERROR })
}

/// The story in its order: found, work, kill, take over, catch up, compare.
async fn play(plan: &Plan, files: Vec<input::File>, folder: &Folder, stage: &Stage) -> Result<Report, Failure> {
    stage.say(&format!("starting {} nodes in {}", plan.nodes, folder.path().display()));
    let mut swarm = Swarm::start(plan.nodes, folder, stage).await?;
    let leader = swarm.settled().await?;
    stage.say(&format!("{} leads in term {}: {}", swarm.name(leader.node), leader.term, leader.why));

    stage.say(&format!("submitting {} files, each as the standard input of one sha256sum", files.len()));
    let work = Arc::new(Work::new(files, swarm.clients()));
    let progress = work.start(stage);
    let takeover = if plan.kill && work.until_done(work.total().div_ceil(3)).await {
        Some(Takeover::play(&mut swarm, &leader, &work, stage).await?)
    } else {
        None
    };
    let results = progress.finish().await?;
    let doubles = report::accepted_twice(&swarm, &work).await?;
    Ok(Report::new(&swarm, results, doubles, takeover))
}
