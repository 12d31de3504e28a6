//! Members with two addresses each (`multiAddress.enabled`), which can be taken away.
//!
//! Every member is told of two addresses of each of its peers, one in each of two networks, and a
//! [route](super::wires) begins at each. Apache's servers stay with an address for as long as it
//! answers a probe, and every address of 127.0.0.0/8 does. So where we may, the routes begin at
//! addresses that we give to the loopback device ourselves: those of a network that fails are taken
//! from it, and nothing answers there until they are given back. Whoever is dialled sees the
//! dialler at such an address, too. They are of the block that is set aside for measuring devices
//! (198.18.0.0/15), in a part of it that no other process of ours has at the same time.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};

use super::{Ensemble, Flow, Port, Ports};
use crate::faults::spaces::run;

/// The block of addresses that nobody has.
const BLOCK: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// How many parts it has, of 32 addresses each: one is for one process.
const PARTS: u32 = 4096;
/// Networks that each member is in.
pub const NETWORKS: usize = 2;
/// Members that fit a part.
const MEMBERS_MAX: i64 = 4;

/// By the network, who dials, and who is dialled.
type Place = (usize, i64, i64);

/// Addresses of the loopback device. They are taken from it with this value.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// Each with whether the device has it now.
    lent: BTreeMap<Place, (Ipv4Addr, bool)>,
}

impl Addresses {
    /// Those of an ensemble.
    ///
    /// # Errors
    /// When we have no right to give them to the device.
    fn of(sids: &[i64]) -> Result<Addresses> {
        let mut addresses = Addresses::default();
        for network in 0..NETWORKS {
            for &dialler in sids {
                for &sid in sids.iter().filter(|&&sid| sid != dialler) {
                    addresses.lend((network, dialler, sid))?;
                }
            }
        }
        Ok(addresses)
    }

    fn at(&self, place: Place) -> Result<Ipv4Addr> {
        Ok(self.lent.get(&place).with_context(|| format!("no address for {place:?}"))?.0)
    }

    fn lend(&mut self, place: Place) -> Result<()> {
        let (network, dialler, sid) = place;
        ensure!(dialler.max(sid) <= MEMBERS_MAX, "no address for {place:?}");
        let member = |sid: i64| u32::try_from(sid - 1);
        let part = 32 * (std::process::id() % PARTS) + 16 * u32::try_from(network)?;
        let number = part + 4 * member(dialler)? + member(sid)?;
        let addr = Ipv4Addr::from(u32::from(BLOCK) + number);
        set(addr, true)?;
        self.lent.insert(place, (addr, true));
        Ok(())
    }

    /// Takes away, or gives back, every address in one network of a member, and those at which it
    /// reaches others there.
    fn set(&mut self, network: usize, sid: i64, there: bool) -> Result<()> {
        for (&(of, dialler, dialled), (addr, is_there)) in &mut self.lent {
            if of == network && (dialler == sid || dialled == sid) && *is_there != there {
                set(*addr, there)?;
                *is_there = there;
            }
        }
        Ok(())
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        for (addr, is_there) in self.lent.values() {
            if *is_there {
                // What cannot be taken away harms nobody.
                set(*addr, false).ok();
            }
        }
    }
}

fn set(addr: Ipv4Addr, there: bool) -> Result<()> {
    run("ip", &format!("address {} {addr}/32 dev lo", if there { "add" } else { "del" }))
}

impl Ensemble {
    /// [`introduce`](Self::introduce) where everybody votes and has two addresses.
    pub(super) fn introduce_twice(&mut self) -> Result<()> {
        let wires = self.wires.as_ref().context("an ensemble without wires")?;
        let all: Vec<_> = self.members.iter().map(|(&sid, member)| (sid, member.ports)).collect();
        // Without the right to give the device addresses, there are those that it has.
        let lent = Addresses::of(&self.sids()).ok();
        for (&me, member) in &mut self.members {
            for &(sid, Ports { quorum, election, .. }) in &all {
                let mut addresses = Vec::new();
                for network in 0..NETWORKS {
                    let host = own_host(network, sid)?;
                    if sid == me {
                        addresses.push(format!("{host}:{quorum}:{election}"));
                        continue;
                    }
                    let (begins, from) = match &lent {
                        Some(lent) => {
                            (lent.at((network, me, sid))?, Some(lent.at((network, sid, me))?))
                        }
                        None => (super::wire_host(me + 100 * i64::try_from(network)?, sid)?, None),
                    };
                    let lay = |port, number| {
                        let (at, end) = ((begins, 0).into(), (from, (host, number).into()));
                        wires.lay_route(network, (me, sid), port, at, end)
                    };
                    let (quorum, election) =
                        (lay(Port::Quorum, quorum)?, lay(Port::Election, election)?);
                    addresses.push(format!("{begins}:{quorum}:{election}"));
                }
                let opts = member.server.opts_mut();
                opts.config.push((format!("server.{sid}"), addresses.join("|")));
            }
        }
        self.addresses = lent;
        Ok(())
    }

    /// Whether a network that fails takes its addresses along, so that probes are not answered.
    pub fn addresses_can_go(&self) -> bool {
        self.addresses.is_some()
    }

    /// A member falls out of one of its networks: its connections there break or fall silent, and
    /// nobody answers at its address.
    ///
    /// # Errors
    /// The system's, on taking the address away.
    pub fn leave_network(&mut self, network: usize, sid: i64, flow: Flow) -> Result<()> {
        let all = self.sids();
        self.wires()?.set_route(network, sid, &all, flow);
        self.addresses.as_mut().map_or(Ok(()), |lent| lent.set(network, sid, false))
    }

    /// It is back.
    ///
    /// # Errors
    /// The system's, on giving the address back.
    pub fn join_network(&mut self, network: usize, sid: i64) -> Result<()> {
        // Before the wires, which listen there again.
        if let Some(lent) = &mut self.addresses {
            lent.set(network, sid, true)?;
        }
        self.wires()?.heal();
        Ok(())
    }
}

/// One of a member's own addresses.
fn own_host(network: usize, sid: i64) -> Result<Ipv4Addr> {
    Ok(Ipv4Addr::new(127, 0, 1 + u8::try_from(network)?, u8::try_from(sid)?))
}
