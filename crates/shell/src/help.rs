//! `help`: all commands, one of them, or the exit codes.
//!
//! Everything it says comes from the table of commands, so it cannot fall behind them.

use std::fmt::Write;

use serde_json::json;

use crate::failure::{Failure, Kind};
use crate::flags::Given;
use crate::out::Style;
use crate::shell::Shell;
use crate::table::{self, JSON, Spec};

/// `help [command | exit]`.
///
/// # Errors
/// If there is no such command.
pub fn help(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    match given.args.first().map(String::as_str) {
        None if shell.json => {
            let list: Vec<_> = table::all()
                .iter()
                .map(|spec| json!({"name": spec.name, "usage": spec.usage(), "about": spec.about}))
                .collect();
            shell.out.json(&json!(list));
        }
        None => shell.out.raw(&overview(&|style, text| shell.out.styled(style, text))),
        Some("exit") if shell.json => {
            let code = |kind: &Kind| {
                let (exit, kind, about) = (kind.exit_code(), kind.name(), about(*kind));
                json!({"exit": exit, "kind": kind, "about": about})
            };
            let list: Vec<_> = Kind::ALL.iter().map(code).collect();
            shell.out.json(&json!(list));
        }
        Some("exit") => shell.out.raw(&exit_codes()),
        Some(name) => {
            let spec = table::find(name).ok_or_else(|| {
                let failure =
                    Failure::new(Kind::UnknownCommand, format!("Command not found: {name}"));
                match table::nearest(name) {
                    Some(near) => failure.hint(format!("help {near}?")),
                    None => failure.hint("help lists all commands"),
                }
            })?;
            if shell.json {
                shell.out.json(&described(spec));
                return Ok(());
            }
            shell.out.raw(&one(spec, &|style, text| shell.out.styled(style, text)));
        }
    }
    Ok(())
}

type Paint<'a> = &'a dyn Fn(Style, &str) -> String;

fn overview(paint: Paint<'_>) -> String {
    let mut text = String::new();
    let groups = [("Commands of ZooKeeper's shell", true), ("Further commands", false)];
    for (title, theirs) in groups {
        let _ = writeln!(text, "{}", paint(Style::Bold, title));
        for spec in table::all().into_iter().filter(|spec| table::is_zookeepers(spec) == theirs) {
            let name = paint(Style::Bold, &format!("{:<21}", spec.name));
            let _ = writeln!(text, "  {name} {}", spec.about);
        }
        text.push('\n');
    }
    text.push_str(
        "help COMMAND shows options and examples, help exit the exit codes. Every command takes\n\
         --json. Values with blanks stand in quotes, and may go on over several lines.\n",
    );
    text
}

/// A command for programs.
fn described(spec: &Spec) -> serde_json::Value {
    let options: Vec<_> = spec
        .flags
        .iter()
        .chain(spec.more)
        .chain([&JSON])
        .map(|flag| json!({"name": flag.name, "value": flag.value, "about": flag.about}))
        .collect();
    let examples: Vec<_> = spec.examples.iter().map(|(line, _)| line).collect();
    json!({
        "name": spec.name,
        "usage": spec.usage(),
        "about": spec.about,
        "options": options,
        "examples": examples,
    })
}

fn one(spec: &Spec, paint: Paint<'_>) -> String {
    let mut text = format!("{}: {}\n\n", paint(Style::Bold, spec.name), spec.about);
    let _ = writeln!(text, "usage: {} {}", spec.name, spec.args);
    let flags: Vec<(String, &str)> = spec
        .flags
        .iter()
        .chain(spec.more)
        .chain([&JSON])
        .map(|flag| {
            let value = flag.value.map_or_else(String::new, |value| format!(" {value}"));
            (format!("{}{value}", flag.name), flag.about)
        })
        .collect();
    let width = flags.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, about) in &flags {
        let _ = writeln!(text, "  {}  {about}", paint(Style::Bold, &format!("{name:<width$}")));
    }
    text.push_str("\nexamples:\n");
    let width = spec.examples.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
    for (line, about) in spec.examples {
        let about = paint(Style::Dim, about);
        let _ = writeln!(text, "  {}", format!("{line:<width$}  {about}").trim_end());
    }
    text
}

fn exit_codes() -> String {
    let mut text = String::from("  0  done\n");
    for kind in Kind::ALL {
        let (code, about) = (kind.exit_code(), about(kind));
        let _ = writeln!(text, "{code:>3}  {about} ({})", kind.name());
    }
    text
}

/// When a command fails with this.
fn about(kind: Kind) -> &'static str {
    match kind {
        Kind::Other => "what has no code of its own",
        Kind::Usage => "the command, an option or a path cannot be meant",
        Kind::Connection => "no server, or the connection was lost on the way",
        Kind::NoNode => "no such znode, or no such watch",
        Kind::NodeExists => "the znode is there already",
        Kind::BadVersion => "the znode has another version",
        Kind::NotEmpty => "the znode has children",
        Kind::Denied => "the ACL does not permit it, or an ACL or identity is no good",
        Kind::Refused => "the server will not: quota, read-only, reconfiguration",
        Kind::Differs => "diff: the two differ",
        Kind::SessionOver => "the session is over",
        Kind::File => "a local file or program",
        Kind::Partly => "part of it was done, part was not",
        Kind::UnknownCommand => "no such command",
        Kind::Interrupted => "Ctrl-C",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(_: Style, text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn help_lists_every_command_and_fits_a_terminal() {
        let text = overview(&plain);
        for spec in table::all() {
            assert!(text.contains(&format!("  {} ", spec.name)), "{}", spec.name);
        }
        let long = text.lines().find(|line| line.chars().count() > 100);
        assert_eq!(long, None);
    }

    #[test]
    fn help_of_a_command_shows_what_is_ours_too() {
        let text = one(table::find("set").unwrap(), &plain);
        for part in ["--file file", "--dry-run", "--json", "set -v 3 /app/config new"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
