//! connect, close, history, redo, printwatches, version: the shell itself and its session.
//!
//! A shell may be without a session; then commands that need one say so and do nothing.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::failure::Failure;
use crate::flags::Given;
use crate::line;
use crate::shell::{Next, Shell};
use crate::table;

/// The version of ZooKeeper's shell whose commands these are.
const ZOOKEEPER: &str = "3.9.5";
/// Lines of `history` before its own.
const HISTORY: usize = 10;

/// `connect host:port`.
///
/// # Errors
/// If there is no server; the session of before is over all the same, as in ZooKeeper's shell.
pub async fn connect(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let hosts = given.args.first().unwrap_or(&shell.host).clone();
    shell.connect(&hosts).await
}

/// `close`.
///
/// # Errors
/// None.
pub async fn close(shell: &mut Shell) -> Result<(), Failure> {
    shell.disconnect().await;
    Ok(())
}

/// `printwatches on|off`.
///
/// # Errors
/// None: what is not `on` is off, as in ZooKeeper's shell.
pub fn print_watches(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    match given.args.first() {
        Some(word) => shell.print_watches.store(word == "on", Ordering::Relaxed),
        None => {
            let on = shell.print_watches.load(Ordering::Relaxed);
            if shell.json {
                shell.out.json(&json!({"printwatches": on}));
                return Ok(());
            }
            shell.out.line(format!("printwatches is {}", if on { "on" } else { "off" }));
        }
    }
    Ok(())
}

/// `history`: the last lines under the numbers that `redo` takes.
///
/// # Errors
/// None.
pub fn history(shell: &mut Shell) -> Result<(), Failure> {
    let from = shell.count.saturating_sub(HISTORY);
    let lines: Vec<(usize, Option<&str>)> = (from..=shell.count)
        .map(|number| (number, shell.history.get(number).map(String::as_str)))
        .collect();
    if shell.json {
        let lines: Vec<_> = lines.iter().map(|(n, line)| json!({"n": n, "line": line})).collect();
        shell.out.json(&json!(lines));
        return Ok(());
    }
    for (number, line) in lines {
        // A command that was not typed is in no history.
        shell.out.line(format!("{number} - {}", line.unwrap_or("null")));
    }
    Ok(())
}

/// `redo cmdno`: the line of the history again, under its own number.
///
/// # Errors
/// If there is no such line, or it is itself a redo; and that of the line.
pub async fn redo(shell: &mut Shell, given: &Given) -> Result<Next, Failure> {
    let Some(text) = given.args.first() else { return Ok(Next::Go) };
    let number: i64 = text.parse().map_err(|_| {
        Failure::usage(format!("redo {text}: not a number")).hint("history shows the numbers")
    })?;
    let out_of_range =
        || Failure::usage("Command index out of range").hint("history shows the numbers");
    let index = usize::try_from(number).map_err(|_| out_of_range())?;
    if index >= shell.count {
        return Err(out_of_range());
    }
    let line = shell.history.get(index).cloned().ok_or_else(out_of_range)?;
    let words = line::words(&line);
    if words.first().is_some_and(|name| name == "redo") {
        return Err(Failure::usage("No redoing redos"));
    }
    if let Some(own) = shell.history.get_mut(shell.count) {
        *own = line;
    }
    shell.run(&words).await
}

/// `version`.
///
/// # Errors
/// If anything follows it.
pub fn version(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    if !given.args.is_empty() {
        return Err(Failure::usage(
            table::find("version").map_or_else(String::new, |spec| spec.usage()).trim_end(),
        ));
    }
    let own = env!("CARGO_PKG_VERSION");
    if shell.json {
        shell.out.json(&json!({"zookeeper": ZOOKEEPER, "oxkeeper": own}));
    } else {
        shell.out.line(format!("ZooKeeper CLI version: {ZOOKEEPER}-oxkeeper-{own}"));
    }
    Ok(())
}
