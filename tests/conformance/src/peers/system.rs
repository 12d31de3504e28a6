//! What the peers need from the machine: a JDK, Maven, a Python that can make environments, and a
//! terminal for our shell.
//!
//! A continuous-integration machine is often a bare Debian image. What is missing there is
//! installed by `apt-get` when we are root, and otherwise named in the error, with the command that
//! would help: a developer's machine is never changed behind their back.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A program we need, how its presence is seen, and the Debian packages that bring it.
struct Need {
    what: &'static str,
    probe: &'static [&'static str],
    packages: &'static [&'static str],
}

const NEEDS: [Need; 5] = [
    Need { what: "java", probe: &["java", "-version"], packages: &["default-jdk-headless"] },
    Need { what: "javac", probe: &["javac", "-version"], packages: &["default-jdk-headless"] },
    Need { what: "mvn", probe: &["mvn", "-version"], packages: &["maven"] },
    Need {
        what: "python3 with venv",
        probe: &["python3", "-c", "import venv, ensurepip"],
        packages: &["python3", "python3-venv"],
    },
    Need { what: "tmux", probe: &["tmux", "-V"], packages: &["tmux"] },
];

/// Makes sure that everything the peers need is installed.
///
/// # Errors
/// Says what is missing and how to install it, when we are not root or `apt-get` fails.
pub(super) fn ensure_tools(progress: &mut dyn FnMut(&str)) -> Result<()> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !runs(need.probe)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = packages_for(&missing);
    let names: Vec<&str> = missing.iter().map(|need| need.what).collect();
    let (names, list) = (names.join(", "), packages.join(" "));
    if !is_root() || !runs(&["apt-get", "--version"]) {
        bail!("the peers need {names}, not found here; on Debian: apt-get install {list}");
    }
    progress(&format!("installing {list} (for {names})"));
    apt_get(&["update", "-qq"])?;
    let mut install = vec!["install", "-qq", "-y", "--no-install-recommends"];
    install.extend(&packages);
    apt_get(&install)?;
    match missing.iter().find(|need| !runs(need.probe)) {
        Some(need) => bail!("{} does not run, although {list} is installed", need.what),
        None => Ok(()),
    }
}

/// The packages of all `missing`, each once, in order.
fn packages_for(missing: &[&Need]) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for package in missing.iter().flat_map(|need| need.packages) {
        if !packages.contains(package) {
            packages.push(*package);
        }
    }
    packages
}

/// Whether the command can be started and succeeds.
fn runs(command: &[&str]) -> bool {
    Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}

fn apt_get(args: &[&str]) -> Result<()> {
    run(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Runs a command to its end, quietly.
///
/// # Errors
/// When it cannot be started or fails; the error carries the command and what it printed.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    bail!("{command:?}: {}\n{}", output.status, tail(&String::from_utf8_lossy(&said), 30))
}

/// The last `lines` lines of a text.
pub(super) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_is_installed_once() {
        let all: Vec<&Need> = NEEDS.iter().collect();
        assert_eq!(
            packages_for(&all),
            ["default-jdk-headless", "maven", "python3", "python3-venv", "tmux"],
            "java and javac come from one package"
        );
    }

    #[test]
    fn a_failing_command_says_what_it_printed() {
        let error = run(Command::new("sh").args(["-c", "echo to be read; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("to be read") && text.contains('3'), "{text}");
        assert!(!runs(&["sh", "-c", "exit 1"]));
        assert!(!runs(&["a-program-that-nobody-has"]));
    }

    #[test]
    fn the_tail_is_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 5), "a");
        assert_eq!(tail("", 5), "");
    }
}
