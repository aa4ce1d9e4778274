//! Founding races: identical nodes that are started in any order within some time, one of which crashes meanwhile.

use std::thread;
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::table::{Row, Table};
use crate::harness::{LONG, Network, Process, Settings, Swarm, address, eventually};

/// The most nodes of one race.
const MOST: u64 = 7;

/// Races of every size, from 1 up and then by chance, until the time is over.
pub(crate) async fn races(until: Instant, dice: &mut Dice, table: &mut Table) {
    for size in 1.. {
        let nodes = if size <= MOST { size } else { 1 + dice.number() % MOST };
        if Instant::now() >= until || !race(usize::try_from(nodes).unwrap(), Duration::from_secs(2), dice, table).await {
            return;
        }
    }
}

/// One race; false if this machine can't do it.
pub(crate) async fn race(nodes: usize, within: Duration, dice: &mut Dice, table: &mut Table) -> bool {
    let network = match Network::new(u32::try_from(nodes).unwrap()) {
        Ok(network) => network,
        Err(why) => {
            table.skip("row 15 (founding races)", &why);
            return false;
        }
    };
    let mut swarm = Swarm::planned(nodes);
    let all: Vec<Settings> = (0..nodes).map(|number| settings(&swarm, &network, number, nodes)).collect();
    swarm.network = Some(network);
    let victim = dice.below(nodes);
    let millis = u64::try_from(within.as_millis()).unwrap();
    let crash = dice.millis(0..1_000);
    let runners: Vec<_> = all
        .into_iter()
        .enumerate()
        .map(|(number, settings)| {
            let delay = dice.millis(0..millis);
            // The delays and the crash are the race itself.
            thread::spawn(move || {
                thread::sleep(delay);
                let mut process = Process::start(settings.clone());
                if number == victim {
                    thread::sleep(crash);
                    process.kill();
                    process = Process::start(settings);
                }
                process
            })
        })
        .collect();
    // Joined off this runtime's threads.
    let joined = tokio::task::spawn_blocking(|| runners.into_iter().map(|runner| runner.join().unwrap()).collect());
    swarm.nodes = joined.await.unwrap();
    swarm.settled().await;
    let mut ids = Vec::new();
    for node in &swarm.nodes {
        let id = eventually("it is in a swarm", LONG, async || {
            node.impatient().status().await.map_err(|error| error.to_string())?.swarm.ok_or_else(|| "in none".to_owned())
        });
        ids.push(id.await);
    }
    ids.sort_by_key(|id| id.0);
    ids.dedup();
    table.counted(Row::FOUNDED, ids.len() as u64);
    assert_eq!(ids.len(), 1, "{nodes} nodes of one race are in different swarms");
    true
}

fn settings(swarm: &Swarm, network: &Network, number: usize, nodes: usize) -> Settings {
    let (place, listen) = network.place(number);
    let others = (0..nodes).filter(|other| *other != number);
    Settings {
        name: format!("n{}", number + 1),
        data: swarm.path(&format!("n{}", number + 1)),
        listen,
        rank: 10,
        expect: u32::try_from(nodes).unwrap(),
        peers: others.map(|other| format!("{}:7440", address(u32::try_from(other).unwrap()))).collect(),
        pods: Vec::new(),
        secret_file: swarm.path("secret"),
        place: Some(place),
        log: "info,openraft=warn".to_owned(),
        env: Vec::new(),
    }
}
