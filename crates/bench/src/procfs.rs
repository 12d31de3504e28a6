//! What the server costs, read from `/proc`: CPU time, resident memory, and whose port it is.
//!
//! CPU time comes from the scheduler's own account of every thread, in nanoseconds; the process
//! total counts in ticks of 10 ms, and is used when threads have ended in between, since an ended
//! thread takes its account with it. On systems without `/proc` there are no such figures, and the
//! report says nothing about them.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// CPU time that a process has used up to some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// Nanoseconds by thread.
    threads: BTreeMap<u32, u64>,
    /// The whole process, in nanoseconds, to the nearest tick.
    total_ns: u64,
}

impl CpuTime {
    /// Reads it.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> Result<CpuTime> {
        let proc = format!("/proc/{pid}");
        let stat = fs::read_to_string(format!("{proc}/stat"))
            .with_context(|| format!("process {pid} is gone"))?;
        let total_ns = ticks(&stat).context("unknown form of /proc/<pid>/stat")? * tick_ns();
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("{proc}/task"))?.flatten() {
            let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            if let Some(ns) = text.split(' ').next().and_then(|ns| ns.parse().ok()) {
                threads.insert(tid, ns);
            }
        }
        Ok(CpuTime { threads, total_ns })
    }

    /// Nanoseconds between `earlier` and this.
    pub fn since_ns(&self, earlier: &CpuTime) -> u64 {
        let total = self.total_ns.saturating_sub(earlier.total_ns);
        let all_live = earlier.threads.keys().all(|tid| self.threads.contains_key(tid));
        if self.threads.is_empty() || !all_live {
            return total;
        }
        let before = |tid| earlier.threads.get(tid).copied().unwrap_or(0);
        self.threads.iter().map(|(tid, ns)| ns.saturating_sub(before(tid))).sum()
    }
}

/// utime + stime of a `stat` line, in ticks. The name, in brackets, may contain anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn tick_ns() -> u64 {
    // Linux shows user space 100 ticks per second on every architecture we could meet.
    10_000_000
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// When there is no such process.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    size_in(pid, "status", "VmRSS:")
}

/// Resident memory with every page divided by the number of processes that share it, in bytes:
/// what several servers of one binary on one machine take together is the sum of these.
///
/// # Errors
/// When there is no such process, or we may not look into it.
pub fn proportional_bytes(pid: u32) -> Result<u64> {
    size_in(pid, "smaps_rollup", "Pss:")
}

/// A line `<name> <number> kB` in a file of the process.
fn size_in(pid: u32, file: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))
        .with_context(|| format!("process {pid} is gone, or not ours to look into"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("no {name} in /proc/<pid>/{file}"))?;
    Ok(kilobytes * 1024)
}

/// The process that listens on a port of this machine, if it can be seen.
pub fn listener(address: SocketAddr) -> Option<u32> {
    if !address.ip().is_loopback() && !is_local(address) {
        return None;
    }
    let inodes: Vec<u64> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, address.port()))
        .collect();
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let owns = |pid: &u32| {
        let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        fds.flatten().any(|fd| {
            fs::read_link(fd.path())
                .is_ok_and(|link| links.iter().any(|wanted| link == Path::new(wanted)))
        })
    };
    fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(owns)
}

/// Whether one could listen on this address here, port aside.
fn is_local(address: SocketAddr) -> bool {
    std::net::UdpSocket::bind((address.ip(), 0)).is_ok()
}

/// Socket numbers in state LISTEN on `port`, from the text of `/proc/net/tcp` or `tcp6`.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let local = fields.get(1)?.rsplit_once(':')?.1;
            let wanted = u16::from_str_radix(local, 16) == Ok(port) && *fields.get(3)? == LISTEN;
            if wanted { fields.get(9)?.parse().ok() } else { None }
        })
        .collect()
}

/// Bytes of live objects in a Java process, after a full collection, from its own `jcmd`.
///
/// # Errors
/// When there is no `jcmd`, or the process is not a Java one.
pub fn java_live_bytes(pid: u32) -> Result<u64> {
    let out = Command::new("jcmd")
        .args([&pid.to_string(), "GC.class_histogram"])
        .output()
        .context("running jcmd, which comes with a JDK")?;
    ensure!(out.status.success(), "jcmd cannot look into process {pid}: is it a Java one?");
    histogram_total(&String::from_utf8_lossy(&out.stdout)).context("jcmd printed no total")
}

/// The bytes in the line `Total <instances> <bytes>`.
fn histogram_total(text: &str) -> Option<u64> {
    let line = text.lines().rev().find_map(|line| line.trim().strip_prefix("Total"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether a process is a Java virtual machine.
pub fn is_java(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "java")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_stat_line_is_read_past_any_name() {
        let fields = (3..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(ticks(&format!("7 (a) b) (c)) {fields}")), Some(14 + 15));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn threads_are_summed_unless_one_has_ended() {
        let at = |threads: &[(u32, u64)], total_ns| CpuTime {
            threads: threads.iter().copied().collect(),
            total_ns,
        };
        let before = at(&[(1, 500), (2, 100)], 1_000);
        assert_eq!(at(&[(1, 600), (2, 150), (3, 7)], 9_000).since_ns(&before), 157);
        assert_eq!(at(&[(1, 600), (3, 7)], 9_000).since_ns(&before), 8_000);
    }

    #[test]
    fn listening_sockets_are_told_from_connected_ones() {
        let rest = "00000000:00000000 00:00000000 00000000  0 0";
        let table = format!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n\
             0: 0100007F:0885 00000000:0000 0A {rest} 4711 1\n\
             1: 0100007F:0885 0100007F:C350 01 {rest} 4712 1\n\
             2: 0100007F:0886 00000000:0000 0A {rest} 4713 1\n"
        );
        assert_eq!(listening_inodes(&table, 2181), [4711]);
        assert!(listening_inodes(&table, 2183).is_empty());
    }

    #[test]
    fn a_histogram_ends_with_its_total() {
        let text = " num  #instances  #bytes\n   1:  10  200  [B\nTotal        123        456789\n";
        assert_eq!(histogram_total(text), Some(456_789));
        assert_eq!(histogram_total("7:\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn our_own_port_memory_and_time_are_found() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let me = std::process::id();
        assert_eq!(listener(socket.local_addr().unwrap()), Some(me));
        let (resident, own) = (resident_bytes(me).unwrap(), proportional_bytes(me).unwrap());
        assert!(resident > 100_000 && own > 10_000, "{resident} {own}");
        let before = CpuTime::of(me).unwrap();
        assert!(!before.threads.is_empty());
        let burnt: u64 = (0..20_000_000_u64).fold(0, |sum, n| sum ^ n.wrapping_mul(sum | 1));
        assert_ne!(burnt, 1);
        assert!(CpuTime::of(me).unwrap() != before);
    }
}
