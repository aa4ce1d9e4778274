//! Three nodes inside one program, with a handler of its own: the smallest use of the library.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use dunlin_node::api::{Request, Response};
use dunlin_node::node::{Belonging, Node, NodeConfig, Secret};
use dunlin_node::sandbox;
use dunlin_node::task::{HandlerName, TaskSpec};
use dunlin_node::worker::Handlers;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // Before anything else: this program is also the zygote of its own sandbox, and the process of its forked handlers.
    sandbox::enter_if_child(
        &sandbox::Handlers::new().with("reverse".parse()?, |input| Ok(input.bytes.iter().rev().copied().collect())),
    );
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("dunlin-embed-{}", std::process::id()));
    let secret = Secret::generate()?;
    let (shout, reverse): (HandlerName, HandlerName) = ("shout".parse()?, "reverse".parse()?);
    let mut nodes = Vec::new();
    let mut known = Vec::new();
    for index in 1..=3_u32 {
        let mut config = NodeConfig::new(folder.join(format!("n{index}")), secret.clone());
        config.name = format!("n{index}");
        config.rank = 100 + index;
        config.belonging = Belonging::Expect(NonZeroU32::MIN.saturating_add(2));
        config.peers.clone_from(&known);
        let mut handlers = Handlers::new();
        handlers.local(shout.clone(), |input| Ok(Bytes::from(input.input.to_ascii_uppercase())));
        handlers.forked(reverse.clone(), sandbox::handler_argv);
        let node = Node::builder(config).handlers(handlers).start().await?;
        known.push(node.addresses()[0].to_string());
        let mut narration = node.narration();
        tokio::spawn(async move {
            while let Ok(line) = narration.recv().await {
                println!("{} n{index} {}", line.at.0 % 100_000, line.text);
            }
        });
        nodes.push(node);
    }
    let api = nodes[2].api();
    let tasks = [
        TaskSpec::handler(shout, "hello"),
        TaskSpec::handler(reverse, "hello"),
        TaskSpec::command(["sh", "-c", "echo attempt $DUNLIN_ATTEMPT of task $DUNLIN_TASK_ID"]),
        TaskSpec::handler("unknown".parse()?, ""),
    ];
    for mut task in tasks {
        task.retry.on_failure = false;
        let Response::Submitted(ids) = api.handle(Request::Submit { tasks: vec![(task, None)] }).await? else {
            return Err("an unexpected answer".into());
        };
        let task = ids[0].0;
        api.handle(Request::Wait { task, patience: Duration::from_secs(20) }).await?;
        let Response::Result(result) = api.handle(Request::Result(task)).await? else {
            return Err("an unexpected answer".into());
        };
        let outcome = result.outcome.map(|outcome| outcome.to_string()).unwrap_or_default();
        println!("task {task}: {outcome}: {}", String::from_utf8_lossy(&result.stdout.tail).trim_end());
    }
    for node in nodes {
        node.stop().await;
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
