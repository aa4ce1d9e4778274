//! Cuts and losses between namespaces, by nftables inside each of them; the machine's own rules are not touched.
//!
//! What is cut loses packets without a word, as on a broken wire. Loss and doubling are per packet, by chance; TCP hides
//! them from the nodes except for the time that they cost. Delay needs netem, which a kernel may lack: see `proxy`.

use crate::harness::{Network, address};

/// The wires between so many places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wires<'n> {
    network: &'n Network,
    places: usize,
}

impl<'n> Wires<'n> {
    pub(crate) fn of(network: &'n Network, places: usize) -> Self {
        Wires { network, places }
    }

    /// Replaces what a place's packets must pass.
    fn set(self, place: usize, enters: &str, leaves: &str) -> Result<(), String> {
        let filter = |hook: &str, rules: &str| format!("chain {hook} {{ type filter hook {hook} priority 0;\n{rules}\n}}\n");
        let (enters, leaves) = (filter("input", enters), filter("output", leaves));
        // Made first, so that there is one to be removed.
        let script = format!("table ip chaos {{}}\ndelete table ip chaos\ntable ip chaos {{\n{enters}{leaves}}}\n");
        self.network.place(place).0.nft(&script)
    }

    /// Whether this machine can do it at all.
    pub(crate) fn are_there(self) -> Result<(), String> {
        self.set(0, "numgen random mod 100 < 1 counter", "")?;
        self.set(0, "", "")
    }

    pub(crate) fn deaf(self, place: usize) {
        self.set(place, "iifname eth0 drop", "").unwrap();
    }

    pub(crate) fn mute(self, place: usize) {
        self.set(place, "", "oifname eth0 drop").unwrap();
    }

    /// These and the others lose each other, both ways.
    pub(crate) fn part(self, island: &[usize]) {
        let others: Vec<usize> = (0..self.places).filter(|place| !island.contains(place)).collect();
        let addresses = others.iter().map(|place| at(*place)).collect::<Vec<_>>().join(", ");
        for place in island {
            let (enters, leaves) = (format!("ip saddr {{ {addresses} }} drop"), format!("ip daddr {{ {addresses} }} drop"));
            self.set(*place, &enters, &leaves).unwrap();
        }
    }

    /// Only these two lose each other.
    pub(crate) fn cut_between(self, one: usize, other: usize) {
        let other = at(other);
        self.set(one, &format!("ip saddr {other} drop"), &format!("ip daddr {other} drop")).unwrap();
    }

    /// So many of a hundred packets are lost, so many are sent twice.
    pub(crate) fn rain(self, lost: u32, doubled: u32) {
        let lose = format!("iifname eth0 numgen random mod 100 < {lost} drop");
        for place in 0..self.places {
            let others = (0..self.places).filter(|other| *other != place).map(at);
            let double = others.map(|other| format!("ip daddr {other} numgen random mod 100 < {doubled} dup to {other}"));
            let double = if doubled == 0 { String::new() } else { double.collect::<Vec<_>>().join("\n") };
            self.set(place, &lose, &double).unwrap();
        }
    }

    pub(crate) fn mend(self) {
        (0..self.places).for_each(|place| self.set(place, "", "").unwrap());
    }
}

fn at(place: usize) -> String {
    address(u32::try_from(place).unwrap())
}
