//! What is between the members: cutting proxies on the loopback device, or namespaces.

use std::time::Duration;

use anyhow::Result;

use super::draw::Loss;
use super::spaces::Spaces;
use crate::ensemble::{Ensemble, Flow};

/// See the module's essay.
#[derive(Debug)]
pub(super) enum Net {
    /// The ensemble's own wires.
    Wires,
    /// Namespaces.
    Spaces(Spaces),
}

impl Net {
    /// Loses what `from` sends to `to`.
    pub(super) fn lose(&mut self, ensemble: &Ensemble, from: i64, to: i64) -> Result<()> {
        match self {
            Net::Wires => ensemble.wires()?.set(from, to, Flow::Held),
            Net::Spaces(spaces) => spaces.lose(from, to)?,
        }
        Ok(())
    }

    /// Lets it arrive again.
    pub(super) fn find(&mut self, ensemble: &Ensemble, from: i64, to: i64) -> Result<()> {
        match self {
            Net::Wires => ensemble.wires()?.set(from, to, Flow::Open),
            Net::Spaces(spaces) => spaces.find(from, to)?,
        }
        Ok(())
    }

    /// Parts two sides. In namespaces one loses its cables instead of its connections, and with
    /// them its clients.
    pub(super) fn part(
        &mut self,
        ensemble: &Ensemble,
        these: &[i64],
        those: &[i64],
        loss: Loss,
    ) -> Result<()> {
        match (self, loss) {
            (Net::Wires, Loss::Silent) => ensemble.wires()?.set_between(these, those, Flow::Held),
            (Net::Wires, Loss::Broken) => ensemble.wires()?.set_between(these, those, Flow::Cut),
            (Net::Spaces(spaces), Loss::Broken) if these.len() == 1 => spaces.unplug(these[0])?,
            (Net::Spaces(spaces), _) => {
                for &one in these {
                    for &other in those {
                        spaces.lose(one, other)?;
                        spaces.lose(other, one)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Delays everything between members, where that can be done.
    pub(super) fn delay(&self, ensemble: &Ensemble, delay: Duration) -> Result<()> {
        let all = ensemble.sids();
        if let Net::Wires = self {
            ensemble.wires()?.set_between(&all, &all, Flow::Late(delay));
        }
        Ok(())
    }

    /// Everything is whole again.
    pub(super) fn heal(&mut self, ensemble: &Ensemble) -> Result<()> {
        match self {
            Net::Wires => ensemble.wires()?.heal(),
            Net::Spaces(spaces) => spaces.heal()?,
        }
        Ok(())
    }
}
