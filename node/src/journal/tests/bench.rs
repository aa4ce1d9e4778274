//! Figures of the journal alone, printed: `cargo test --profile … -- --ignored --nocapture journal::tests::bench`.

use std::sync::Arc;
use std::time::Instant;

use super::harness::*;
use crate::journal::*;
use crate::task::*;

/// Processor time of this process in microseconds, from the kernel's ticks of 10 ms.
fn processor() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10_000
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn task_of_200_bytes() -> Fact {
    let mut spec = TaskSpec::command(["sha256sum"]);
    spec.stdin = vec![7; 200].into();
    Fact::Submitted { spec: Box::new(spec), key: None }
}

fn success(task: TaskId, term: Term) -> Fact {
    Fact::AttemptEnded(Box::new(AttemptEnd {
        task,
        attempt: AttemptNumber(1),
        fence: Fence { term, sequence: task.0 },
        node: NodeId(1),
        outcome: Outcome::Exited(0),
        stdout: Captured { tail: vec![b'x'; 67].into(), total: 67 },
        stderr: Captured::default(),
        usage: Usage::default(),
    }))
}

/// Each caller submits a task, waits, reports its end, waits; and again.
async fn load(node: &Node, term: Term, callers: usize, rounds: usize) {
    let all = (0..callers).map(|_| async {
        for _ in 0..rounds {
            let task = ids(&node.journal.propose(term, vec![task_of_200_bytes()]).await.unwrap())[0];
            node.journal.propose(term, vec![success(task, term)]).await.unwrap();
        }
    });
    futures::future::join_all(all).await;
}

async fn measure(what: &str, nodes: &[Node], term: Term, callers: usize, rounds: usize) {
    load(&nodes[0], term, callers, 5).await;
    let (start, cpu, first) = (Instant::now(), processor(), nodes[0].last());
    load(&nodes[0], term, callers, rounds).await;
    let facts = (callers * rounds * 2) as f64;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what}, {callers} callers: {:.0} facts/s, {:.1} us of processor a fact, {:.1} facts an entry",
        facts / seconds,
        (processor() - cpu) as f64 / facts,
        facts / (nodes[0].last() - first) as f64,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn figures() {
    let variants: [(&str, Tune); 3] = [
        ("as configured", plain),
        ("quick repair off", |config| config.quick_repair_from = u64::MAX),
        ("two in flight", |config| {
            config.quick_repair_from = u64::MAX;
            config.in_flight = 2;
        }),
    ];
    for (name, tune) in variants {
        let hub = Arc::new(Hub::default());
        let node = open(&hub, 1, tune).await;
        node.journal.initialize(vec![NodeId(1)]).await.unwrap();
        let term = node.opens().await;
        for (callers, rounds) in [(1, 500), (64, 200)] {
            measure(&format!("1 node, {name}"), std::slice::from_ref(&node), term, callers, rounds).await;
        }
        node.journal.stop().await;
        let hub = Arc::new(Hub::default());
        let (nodes, term) = three(&hub, tune).await;
        for (callers, rounds) in [(1, 500), (64, 200)] {
            measure(&format!("3 nodes in one process, {name}"), &nodes, term, callers, rounds).await;
        }
        for node in &nodes {
            node.journal.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn queued_tasks() {
    let hub = Arc::new(Hub::default());
    let node = open(&hub, 1, plain).await;
    node.journal.initialize(vec![NodeId(1)]).await.unwrap();
    let term = node.opens().await;
    println!("idle: {} KiB resident", resident_kib());
    for step in 1..=10 {
        let (start, cpu) = (Instant::now(), processor());
        for _ in 0..100 {
            let facts = (0..100).map(|_| task_of_200_bytes()).collect();
            node.journal.propose(term, facts).await.unwrap();
        }
        let size = |name: &str| std::fs::metadata(node.folder.path().join(name)).unwrap().len();
        println!(
            "{}0k queued: {:.0} tasks/s, {} us of processor a task, {} KiB resident, ledger {} B a task, log {} B a task, {} B written a task",
            step,
            10_000.0 / start.elapsed().as_secs_f64(),
            (processor() - cpu) / 10_000,
            resident_kib(),
            size("ledger.redb") / (step * 10_000),
            size("log.redb") / (step * 10_000),
            node.journal.bytes_written() / (step * 10_000),
        );
    }
    let start = Instant::now();
    let node = node.restart(&hub, plain).await;
    println!("opened again after {:?}", start.elapsed());
    let start = Instant::now();
    let ready = node.journal.ledger().ready(&Queue::default(), Some(TaskId(50_000)), 1_000).unwrap();
    println!("1,000 ready tasks in {:?}, {}", start.elapsed(), ready.len());
}
