//! What `envi` tells of the machine and the process, under the names Java gave it.

use std::fs;

use oxkeeper_node::admin::ENVIRONMENT_NAMES;

/// The version that is reported. Clients and exporters cut it at the first `-` or `,` and compare
/// what is before: the ZooKeeper release whose behaviour this server has.
pub const VERSION: &str =
    concat!("3.9.5-oxkeeper-", env!("CARGO_PKG_VERSION"), ", built on ", env!("OXKEEPER_BUILT_ON"));

/// Values for [`ENVIRONMENT_NAMES`], in their order. Reads /proc, which is memory, not disk.
pub fn environment() -> Vec<(&'static str, String)> {
    ENVIRONMENT_NAMES.into_iter().map(|name| (name, value(name))).collect()
}

fn value(name: &str) -> String {
    match name {
        "zookeeper.version" => VERSION.to_owned(),
        "host.name" => line("/proc/sys/kernel/hostname"),
        "java.io.tmpdir" => std::env::temp_dir().display().to_string(),
        "os.name" => capitalised(std::env::consts::OS),
        "os.arch" => match std::env::consts::ARCH {
            "x86_64" => "amd64".to_owned(),
            arch => arch.to_owned(),
        },
        "os.version" => line("/proc/sys/kernel/osrelease"),
        "user.name" => user_name().unwrap_or_else(unknown),
        "user.home" => variable("HOME"),
        "user.dir" => std::env::current_dir().map_or(unknown(), |dir| dir.display().to_string()),
        "os.memory.free" => megabytes("/proc/meminfo", "MemAvailable:"),
        "os.memory.max" => megabytes("/proc/meminfo", "MemTotal:"),
        "os.memory.total" => megabytes("/proc/self/status", "VmRSS:"),
        // What only a Java process has.
        _ => "none".to_owned(),
    }
}

fn unknown() -> String {
    "<NA>".to_owned()
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| unknown())
}

/// The name of the user this process runs as: as the system has it, else as the shell has it.
fn user_name() -> Option<String> {
    let id = rustix::process::getuid().as_raw().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    known.or_else(|| std::env::var("USER").ok())
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map_or(unknown(), |text| text.trim().to_owned())
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// A number of kB from a file of `name: number kB` lines, as Java prints memory: `512MB`.
fn megabytes(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map_or(unknown(), |kilobytes| format!("{}MB", kilobytes / 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_by_what_reads_zookeepers() {
        let digits: Vec<&str> = VERSION.split('-').next().unwrap_or("").split('.').collect();
        assert_eq!(digits, ["3", "9", "5"]);
        let (version, built) = VERSION.split_once(", built on ").expect("the separator");
        assert_eq!(version, format!("3.9.5-oxkeeper-{}", env!("CARGO_PKG_VERSION")));
        let shape: String =
            built.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert_eq!(shape, "9999-99-99 99:99 UTC");
    }

    #[test]
    fn every_name_has_a_value_on_one_line() {
        for (name, value) in environment() {
            assert!(!value.is_empty() && !value.contains('\n'), "{name}={value:?}");
        }
    }
}
