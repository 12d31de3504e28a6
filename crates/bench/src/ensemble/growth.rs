//! How cost grows: with the number of servers, of sessions, of znodes.
//!
//! Each step is a scenario of the catalogue on an ensemble of its own, so that nothing is measured
//! in memory that an earlier step has left.

use anyhow::{Result, ensure};

use super::args::Row;
use super::cluster::{Cluster, Program};
use super::{Bench, starts};
use crate::catalogue::Plan;
use crate::figures::Figures;
use crate::members::Mode;
use crate::procfs;
use crate::rounds::Stage;
use crate::target::Role;
use crate::units::Unit;
use crate::work::mix::Mix;

/// Descriptors that we need beside sessions.
const FILES_BESIDE: u64 = 200;

/// Sets over ensembles of several sizes.
///
/// # Errors
/// When a server fails or refuses.
pub fn servers(bench: &Bench<'_>, program: &Program, role: Role, label: &str) -> Result<Figures> {
    let mut all = Figures::default();
    for count in bench.steps(Row::GrowServers) {
        ensure!((1..=15).contains(&count), "no ensemble has {count} servers (--steps)");
        let mut cluster = bench.cluster(program, count as usize)?;
        cluster.start_all()?;
        cluster.formed()?;
        let plan = bench.plan("set-pipelined")?;
        let label = format!("{label} · {count} servers");
        let figures = measured(bench, &mut cluster, role, &plan, &label)?;
        all.add_all(&format!("{count} servers"), figures);
        cluster.stop_all()?;
    }
    Ok(all)
}

/// Nine gets to one set at a fixed rate over more and more sessions.
///
/// # Errors
/// When a server fails or refuses.
pub fn sessions(bench: &Bench<'_>, program: &Program, role: Role, label: &str) -> Result<Figures> {
    let mut all = Figures::default();
    for count in bench.steps(Row::GrowSessions) {
        let most = crate::file_limit().saturating_sub(FILES_BESIDE);
        if count > most {
            bench.note(format!("{most} sessions and not {count}: we may have no more descriptors"));
        }
        let count = usize::try_from(count.min(most))?.max(1);
        let mut cluster = bench.cluster(program, bench.size())?;
        cluster.start_all()?;
        cluster.formed()?;
        let mut plan = bench.plan("paced")?;
        plan.connections = count;
        plan.threads = plan.threads.min(count);
        plan.mix = Mix::parse("get=9,set=1")?;
        let label = format!("{label} · {count} sessions");
        let before = Memory::of(&cluster)?.resident;
        let figures = measured(bench, &mut cluster, role, &plan, &label)?;
        let prefix = format!("{count} sessions");
        all.add_all(&prefix, figures);
        let growth = Memory::of(&cluster)?.resident.saturating_sub(before) as f64;
        let name = format!("{prefix}, memory per session and server");
        all.add(name, Unit::Bytes, growth / count as f64);
        cluster.stop_all()?;
    }
    Ok(all)
}

/// Sets, memory and restart over more and more znodes.
///
/// # Errors
/// When a server fails or refuses.
pub fn znodes(bench: &Bench<'_>, program: &Program, role: Role, label: &str) -> Result<Figures> {
    let mut all = Figures::default();
    for count in bench.steps(Row::GrowZnodes) {
        let mut cluster = bench.cluster(program, bench.size())?;
        cluster.start_all()?;
        cluster.formed()?;
        let mut plan = bench.plan("set-pipelined")?;
        plan.znodes = count;
        plan.keep = true;
        let label = format!("{label} · {count} znodes");
        let mut figures = measured(bench, &mut cluster, role, &plan, &label)?;
        Memory::of(&cluster)?.add(&mut figures);
        // The first start over the log of a load may write a snapshot that others begin with.
        starts::restart(&mut cluster)?;
        let restarted = starts::restart(&mut cluster)?;
        figures.all.extend(restarted.all);
        all.add_all(&format!("{count} znodes"), figures);
        cluster.stop_all()?;
    }
    Ok(all)
}

/// One round of a plan over an ensemble.
fn measured(
    bench: &Bench<'_>,
    cluster: &mut Cluster,
    role: Role,
    plan: &Plan,
    label: &str,
) -> Result<Figures> {
    let mut target = cluster.target(role)?;
    let mut run = || -> Result<Figures> {
        let mut stage = Stage::set(plan, &target, bench.progress)?;
        let figures = stage.round(&mut target, label)?;
        stage.strike(&target)?;
        Ok(figures)
    };
    let figures = run();
    cluster.check()?;
    figures
}

/// Memory of the servers of an ensemble, in bytes; the mean of them, and the largest.
pub struct Memory {
    /// Resident.
    pub resident: u64,
    largest: u64,
    proportional: u64,
    of_leader: Option<u64>,
}

impl Memory {
    /// What it is now.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn of(cluster: &Cluster) -> Result<Memory> {
        let target = cluster.target(Role::Server)?;
        let (mut all, mut proportional, mut of_leader) = (Vec::new(), 0, None);
        for (pid, mode) in target.processes().iter() {
            let resident = procfs::resident_bytes(pid)?;
            all.push(resident);
            proportional += procfs::proportional_bytes(pid)?;
            if mode == Mode::Leader {
                of_leader = Some(resident);
            }
        }
        let count = all.len().max(1) as u64;
        let resident = all.iter().sum::<u64>() / count;
        let largest = all.iter().copied().max().unwrap_or(0);
        Ok(Memory { resident, largest, proportional: proportional / count, of_leader })
    }

    /// Adds it to what was measured.
    pub fn add(&self, figures: &mut Figures) {
        figures.add("memory per server", Unit::Bytes, self.resident as f64);
        figures.add("the same, shared pages divided", Unit::Bytes, self.proportional as f64);
        figures.add_known("memory of the leader", Unit::Bytes, self.of_leader.map(|b| b as f64));
        figures.add("memory of the largest", Unit::Bytes, self.largest as f64);
    }
}
