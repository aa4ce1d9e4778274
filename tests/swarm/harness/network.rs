//! A network of namespaces that can be cut: one namespace a node, all plugged into one bridge.
//!
//! Needs root (or the capabilities for it) and the `ip` program; where they are missing, [`Network::new`] says why. A cut
//! takes a plug out: packets vanish without a word, as when somebody pulls a cable.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Tells the networks of one process apart.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Where `ip` keeps the namespaces that have names.
const NAMESPACES: &str = "/run/netns";

/// Where the bridge itself can be reached, for a test that stands in the middle.
pub(crate) const HUB: &str = "10.77.0.254";

/// Several namespaces on one bridge. Removed when it is dropped.
#[derive(Debug)]
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

    /// Has `nft` do all of this inside the namespace, or nothing of it.
    pub(crate) fn nft(&self, script: &str) -> Result<(), String> {
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.namespace, "nft", "-f", "-"]);
        nft.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = nft.spawn().map_err(|error| format!("the program `ip` can't be run: {error}"))?;
        // Its own error is the better one if it does not read to the end.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(script.as_bytes()));
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(format!("nft: {}", said.trim())) }
    }

    /// The file that stands for the namespace.
    pub(crate) fn file(&self) -> PathBuf {
        Path::new(NAMESPACES).join(&self.namespace)
    }
}

impl Network {
    /// Makes namespaces for so many nodes.
    ///
    /// # Errors
    /// In words, where this machine or this user can't.
    pub(crate) fn new(places: u32) -> Result<Self, String> {
        remove_what_the_dead_left();
        let id = format!("dunlin{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let network = Network { id, places: 0 };
        let hub = network.hub();
        ip(&format!("netns add {hub}"))?;
        let mut network = network;
        ip(&format!("-n {hub} link add bridge type bridge"))?;
        ip(&format!("-n {hub} addr add {HUB}/24 dev bridge"))?;
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

    /// The namespace of the bridge itself.
    pub(crate) fn middle(&self) -> Place {
        Place { namespace: self.hub() }
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

/// A test that was killed could not clean up: its namespaces carry its process id.
fn remove_what_the_dead_left() {
    for entry in fs::read_dir(NAMESPACES).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("dunlin").and_then(|rest| rest.split_once('x')).map(|(owner, _)| owner);
        let is_dead = |owner: &str| owner.parse::<u32>().is_ok() && !Path::new("/proc").join(owner).exists();
        if owner.is_some_and(is_dead) {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

/// The address of one place.
pub(crate) fn address(place: u32) -> String {
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
