//! A network of namespaces that can be cut: one namespace a node, all plugged into one bridge.
//!
//! Needs root (or the capabilities for it) and the `ip` program; where they are missing, [`Network::new`] says why. A cut
//! takes a plug out: packets vanish without a word, as when somebody pulls a cable.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Tells the networks of one process apart.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Several namespaces on one bridge. Removed when it is dropped.
pub(crate) struct Network {
    id: String,
    places: u32,
}

/// One namespace.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    namespace: String,
}

impl Place {
    /// The same command inside this namespace.
    pub(crate) fn enter(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.namespace]).arg(command.get_program()).args(command.get_args());
        inside.env_clear().stdin(Stdio::null());
        inside.envs(command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
        inside
    }
}

impl Network {
    /// Makes namespaces for so many nodes.
    ///
    /// # Errors
    /// In words, where this machine or this user can't.
    pub(crate) fn new(places: u32) -> Result<Self, String> {
        let id = format!("dunlin{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let network = Network { id, places: 0 };
        let hub = network.hub();
        ip(&format!("netns add {hub}"))?;
        let mut network = network;
        ip(&format!("-n {hub} link add bridge type bridge"))?;
        ip(&format!("-n {hub} link set bridge up"))?;
        for place in 0..places {
            let name = network.namespace(place);
            ip(&format!("netns add {name}"))?;
            network.places = place + 1;
            ip(&format!("-n {hub} link add plug{place} type veth peer name eth0 netns {name}"))?;
            ip(&format!("-n {hub} link set plug{place} master bridge up"))?;
            ip(&format!("-n {name} addr add {}/24 dev eth0", address(place)))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        Ok(network)
    }

    fn hub(&self) -> String {
        format!("{}hub", self.id)
    }

    fn namespace(&self, place: u32) -> String {
        format!("{}n{place}", self.id)
    }

    /// Where a node lives, and the address it listens on.
    pub(crate) fn place(&self, place: usize) -> (Place, String) {
        let place = u32::try_from(place).unwrap();
        (Place { namespace: self.namespace(place) }, format!("{}:7440", address(place)))
    }

    /// Moves these nodes to a bridge of their own: they reach each other and nobody else.
    pub(crate) fn cut(&self, places: &[usize]) {
        let hub = self.hub();
        ip(&format!("-n {hub} link add island type bridge")).unwrap();
        ip(&format!("-n {hub} link set island up")).unwrap();
        for place in places {
            ip(&format!("-n {hub} link set plug{place} master island")).unwrap();
        }
    }

    /// Puts them back.
    pub(crate) fn heal(&self, places: &[usize]) {
        for place in places {
            ip(&format!("-n {} link set plug{place} master bridge", self.hub())).unwrap();
        }
        ip(&format!("-n {} link del island", self.hub())).unwrap();
    }
}

fn address(place: u32) -> String {
    format!("10.77.0.{}", place + 1)
}

impl Drop for Network {
    fn drop(&mut self) {
        // The interfaces go with their namespaces, the namespaces with the last process in them.
        for place in 0..self.places {
            let _ = ip(&format!("netns del {}", self.namespace(place)));
        }
        let _ = ip(&format!("netns del {}", self.hub()));
    }
}

fn ip(words: &str) -> Result<(), String> {
    let output = Command::new("ip").args(words.split(' ')).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("the program `ip` can't be run: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim())) }
}
