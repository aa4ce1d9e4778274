//! A swarm whose every connection goes through a slow proxy.

use std::time::Duration;

use super::dice::Dice;
use super::proxy::{Proxy, Slowness};
use super::storm::{Storm, hold};
use super::table::{Row, Table};
use crate::harness::{HUB, Network, Swarm, address};

const NODES: usize = 5;

/// The proxy's port for the first node; the others follow.
const FIRST_PORT: u16 = 7_500;

/// Each way, unless `DUNLIN_CHAOS_DELAY_MS` says otherwise: a round trip of 50 ms and a little.
const DELAY: u64 = 25;

/// Up to 5 ms more by chance, and now and then a stall as after a lost packet.
fn slowness() -> Slowness {
    Slowness {
        delay: Duration::from_millis(super::setting("DUNLIN_CHAOS_DELAY_MS").unwrap_or(DELAY)),
        jitter: Duration::from_millis(5),
        stall_one_in: 100,
        stall: Duration::from_millis(250),
    }
}

/// Founds a swarm behind the proxy, lets clients work for this long, and judges it.
pub(crate) async fn behind_a_slow_proxy(time: Duration, dice: &mut Dice, table: &mut Table) {
    let network = match Network::new(u32::try_from(NODES).unwrap()).and_then(|network| lead_through(&network).map(|()| network)) {
        Ok(network) => network,
        Err(why) => return table.skip("row 5 (delay by a proxy)", &why),
    };
    let ways = (0..NODES).map(|node| (port(node), network.place(node).1.parse().unwrap())).collect();
    let proxy = Proxy::start(network.middle().file(), ways, slowness(), dice.split());
    let mut swarm = Swarm::planned(NODES);
    swarm.network = Some(network);
    let mut storm = Storm::of(swarm, NODES, dice, |_, _| {}).await;
    let (_, before) = storm.swarm.settled().await;
    hold(time).await;
    let (_, after) = storm.swarm.settled().await;
    table.counted(Row::SLOW_PROXY, after.0 - before.0);
    storm.end(table).await;
    drop(proxy);
}

fn port(node: usize) -> u16 {
    FIRST_PORT + u16::try_from(node).unwrap()
}

/// Whatever a node sends to another's port goes to the proxy instead.
fn lead_through(network: &Network) -> Result<(), String> {
    for node in 0..NODES {
        let (place, own) = network.place(node);
        let mut rules = String::new();
        for other in 0..NODES {
            let (to, port) = (address(u32::try_from(other).unwrap()), port(other));
            if !own.starts_with(&format!("{to}:")) {
                rules.push_str(&format!("ip daddr {to} tcp dport 7440 dnat to {HUB}:{port}\n"));
            }
        }
        place.nft(&format!(
            "table ip lead {{
chain output {{ type nat hook output priority -100;
{rules}}}
}}
"
        ))?;
    }
    Ok(())
}
