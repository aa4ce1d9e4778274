//! One node of a swarm in a process of its own, told what to do line by line.
//!
//! A line `ID VERB ARGUMENT…` enters on the standard input; `ID ok VALUE…` or `ID err WHY` leaves. Lines are worked on side
//! by side. The submitters of W1 live here: each is a task that submits, waits for the acknowledgement, and goes on.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dunlin_node::api::{MemberState, Request, Response, SharedApi, StatusView};
use dunlin_node::node::{Belonging, Node, NodeConfig, Secret};
use dunlin_node::task::{GroupName, HandlerName, Pod, TaskSpec};
use dunlin_node::worker::Handlers;
use tokio::sync::mpsc;

use crate::Failure;

/// Bytes that travel with a task.
const PAYLOAD: usize = 200;
/// Between two looks at the counts of tasks.
const LOOK: Duration = Duration::from_millis(5);

/// `DATA NAME RANK EXPECT SLOTS PORT SECRET PEER…`
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let [data, name, rank, expect, slots, port, secret, peers @ ..] = arguments else { return Err("too few arguments".into()) };
    let mut config = NodeConfig::new(data, Secret::new(secret)?);
    config.name.clone_from(name);
    config.rank = rank.parse()?;
    config.belonging = Belonging::Expect(expect.parse::<NonZeroU32>()?);
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], port.parse()?))];
    config.peers = peers.to_vec();
    config.pods = vec![Pod { groups: vec![GroupName::default()], slots: slots.parse()? }];
    if std::env::var_os("BENCH_NARRATE").is_some() {
        eprintln!("{name} is process {}", std::process::id());
    }
    let threads = dunlin_node::node::worker_threads();
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?.block_on(serve(config))
}

fn noop() -> Result<HandlerName, Failure> {
    Ok("noop".parse()?)
}

async fn serve(config: NodeConfig) -> Result<(), Failure> {
    let mut handlers = Handlers::new();
    handlers.local(noop()?, |_| Ok(Bytes::new()));
    let name = config.name.clone();
    let node = Node::builder(config).handlers(handlers).start().await?;
    if std::env::var_os("BENCH_NARRATE").is_some() {
        let mut narration = node.narration();
        tokio::spawn(async move {
            while let Ok(line) = narration.recv().await {
                eprintln!("{} {name} {}", line.at.0 % 100_000, line.text);
            }
        });
    }
    println!("0 ok ready");
    let api = node.api();
    let mut lines = orders();
    while let Some(line) = lines.recv().await {
        let api = api.clone();
        tokio::spawn(async move {
            let (id, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match obey(&api, rest).await {
                Ok(answer) => println!("{id} ok {answer}"),
                Err(error) => println!("{id} err {}", error.to_string().replace('\n', " ")),
            }
        });
    }
    node.stop().await;
    Ok(())
}

/// Lines of the standard input, until it ends with the process that started this one.
fn orders() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            if line.is_err() || line.is_ok_and(|line| sender.blocking_send(line).is_err()) {
                return;
            }
        }
    });
    receiver
}

async fn obey(api: &SharedApi, line: &str) -> Result<String, Failure> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["submit", count, submitters, batch, group] => {
            let group: GroupName = group.parse()?;
            submit(api, count.parse()?, submitters.parse()?, batch.parse()?, &plain(&group)?).await
        }
        ["spawn", count] => submit(api, count.parse()?, 8, 100, &TaskSpec::command(["/bin/true"])).await,
        ["each", count, "handler"] => each(api, count.parse()?, &plain(&GroupName::default())?).await,
        ["each", count, "process"] => each(api, count.parse()?, &TaskSpec::command(["/bin/true"])).await,
        ["ended", count] => ended(api, count.parse()?).await,
        ["status"] => {
            let view = status(api).await?;
            let leader = view.leader.as_ref().map_or("-", |leader| &leader.name);
            let (ended, index, bytes) = (tasks_ended(&view), view.journal_index, view.journal_bytes_written);
            Ok(format!("{leader} {ended} {index} {bytes} {}", live(api).await?))
        }
        _ => Err(format!("not an order: {line:?}").into()),
    }
}

fn plain(group: &GroupName) -> Result<TaskSpec, Failure> {
    let mut spec = TaskSpec::handler(noop()?, vec![b'x'; PAYLOAD]);
    spec.group = group.clone();
    Ok(spec)
}

/// So many tasks from so many submitters side by side, so many a request.
async fn submit(api: &SharedApi, count: i64, submitters: usize, batch: i64, spec: &TaskSpec) -> Result<String, Failure> {
    let left = Arc::new(AtomicI64::new(count));
    let began = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..submitters {
        let (api, left, spec) = (api.clone(), left.clone(), spec.clone());
        running.spawn(async move {
            loop {
                let mine = left.fetch_sub(batch, Ordering::Relaxed).min(batch);
                if mine <= 0 {
                    return Ok::<(), Failure>(());
                }
                let tasks = (0..mine).map(|_| (spec.clone(), None)).collect();
                match api.handle(Request::Submit { tasks }).await? {
                    Response::Submitted(_) => {}
                    _ => return Err("an unexpected answer".into()),
                }
            }
        });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(began.elapsed().as_micros().to_string())
}

/// One task after the other: submitted, run, recorded, and known here to be; the times in microseconds.
async fn each(api: &SharedApi, count: usize, spec: &TaskSpec) -> Result<String, Failure> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        let Response::Submitted(ids) = api.handle(Request::Submit { tasks: vec![(spec.clone(), None)] }).await? else {
            return Err("an unexpected answer".into());
        };
        let (task, _) = ids.first().copied().ok_or("no task")?;
        loop {
            let answer = api.handle(Request::Wait { task, patience: Duration::from_secs(10) }).await?;
            if matches!(&answer, Response::Task(view) if view.state.is_final()) {
                break;
            }
        }
        times.push(began.elapsed().as_micros().to_string());
    }
    Ok(times.join(" "))
}

/// Waits until so many tasks have ended.
async fn ended(api: &SharedApi, count: u64) -> Result<String, Failure> {
    let began = Instant::now();
    while tasks_ended(&status(api).await?) < count {
        tokio::time::sleep(LOOK).await;
    }
    Ok(began.elapsed().as_micros().to_string())
}

async fn status(api: &SharedApi) -> Result<StatusView, Failure> {
    match api.handle(Request::Status).await? {
        Response::Status(view) => Ok(*view),
        _ => Err("an unexpected answer".into()),
    }
}

/// Nodes that the leader hears.
async fn live(api: &SharedApi) -> Result<usize, Failure> {
    match api.handle(Request::Nodes).await? {
        Response::Nodes(nodes) => Ok(nodes.iter().filter(|node| matches!(node.state, MemberState::Live)).count()),
        _ => Err("an unexpected answer".into()),
    }
}

fn tasks_ended(view: &StatusView) -> u64 {
    view.tasks.iter().filter(|(state, _)| matches!(state.as_str(), "succeeded" | "dead")).map(|(_, count)| count).sum()
}
