//! What a run says while it runs and at its end: for people a line per part and every finding, for
//! programs a line of JSON per part.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use crate::Findings;

/// Characters of each finding that are repeated below the table: enough to say what is wrong, where
/// the whole of it stands further up.
const REPEATED: usize = 1_500;

/// One part's result.
struct Part {
    name: String,
    checks: usize,
    errors: Vec<String>,
    took: Duration,
}

/// Lines for people on stderr, and with `--json` one object per part on stdout.
pub(crate) struct Report {
    started: Instant,
    json: bool,
    parts: Vec<Part>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { started: Instant::now(), json, parts: Vec::new() }
    }

    /// Something that takes a while has begun or got further.
    pub(crate) fn progress(&mut self, line: &str) {
        eprintln!("{:>6.1}s   {line}", self.started.elapsed().as_secs_f32());
    }

    /// Something worth keeping.
    pub(crate) fn say(&mut self, line: &str) {
        self.progress(line);
    }

    /// Runs a part; that it failed is kept, not passed on.
    pub(crate) fn part(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Result<Findings>) {
        eprintln!("{:>6.1}s {name}", self.started.elapsed().as_secs_f32());
        let start = Instant::now();
        let findings = run(self).unwrap_or_else(|error| Findings {
            checks: 0,
            errors: vec![format!("could not be run: {error:#}")],
        });
        for error in &findings.errors {
            eprintln!("{name} FAILED: {error}");
        }
        let took = start.elapsed();
        if self.json {
            println!(
                "{}",
                json!({ "part": name, "checks": findings.checks, "errors": findings.errors,
                        "seconds": took.as_secs_f32() })
            );
        }
        let (checks, errors) = (findings.checks, findings.errors);
        self.parts.push(Part { name: name.to_owned(), checks, errors, took });
    }

    /// The table of all parts, and below it once more what was wrong: where minutes of progress lie
    /// between a finding and the end, who looks at the end must not have to search for it.
    ///
    /// # Errors
    /// When a part failed, or one passed without having checked anything.
    pub(crate) fn end(&mut self) -> Result<()> {
        let mut failed = Vec::new();
        for part in &self.parts {
            let verdict = match part.errors.len() {
                0 if part.checks == 0 => "NOTHING CHECKED".to_owned(),
                0 => "ok".to_owned(),
                count => format!("FAILED ({count})"),
            };
            if verdict != "ok" {
                failed.push(part.name.as_str());
            }
            let seconds = part.took.as_secs_f32();
            eprintln!("{:>14}: {:>7} checks {seconds:>7.1}s  {verdict}", part.name, part.checks);
        }
        // What was wrong with the only part stands right above.
        for part in self.parts.iter().filter(|_| self.parts.len() > 1) {
            for error in &part.errors {
                eprintln!("{}: {}", part.name, beginning(error, REPEATED));
            }
        }
        if self.parts.is_empty() {
            bail!("no part was run");
        }
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}

/// The first characters of a text, and that there are more.
fn beginning(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((at, _)) => format!("{}… (whole above)", &text[..at]),
        None => text.to_owned(),
    }
}
