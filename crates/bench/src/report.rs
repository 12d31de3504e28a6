//! Results for people, as a table, and for programs, as JSON.
//!
//! Both say the same; JSON adds every round and keeps base units, so that figures of two runs can
//! be compared without reading columns.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::catalogue::Plan;
use crate::figures::{Figure, Figures, errors_text, medians, ratios};
use crate::target::{Role, Target};
use crate::units::three_digits;

/// One server's part in a scenario.
#[derive(Debug, Serialize)]
pub struct ServerReport {
    /// What it was measured for.
    pub role: Role,
    /// What it calls itself.
    pub name: String,
    /// Where it listened.
    pub address: String,
    /// The median of every figure.
    pub median: Vec<Figure>,
    /// Every round.
    pub rounds: Vec<BTreeMap<String, f64>>,
    /// Refused requests by code, over all rounds.
    pub errors: BTreeMap<i32, u64>,
}

/// One scenario.
#[derive(Debug, Serialize)]
pub struct ScenarioReport {
    /// Its name.
    pub name: &'static str,
    /// What it was run with.
    pub run: String,
    /// What a reader should know before believing it.
    pub notes: Vec<String>,
    /// Who took part.
    pub servers: Vec<ServerReport>,
    /// The server's figures divided by those of the one it is compared with.
    pub against: BTreeMap<String, f64>,
    /// The server's figures divided by those of the canned answers.
    pub limit: BTreeMap<String, f64>,
}

impl ServerReport {
    /// Sums up the rounds of one server.
    pub fn new(target: &Target, rounds: &[Figures]) -> ServerReport {
        ServerReport::of(target.role, &target.name, target.address_text(), rounds)
    }

    /// The same for a server, or an ensemble, that may be gone by now.
    pub fn of(role: Role, name: &str, address: String, rounds: &[Figures]) -> ServerReport {
        let mut errors = BTreeMap::new();
        for (code, count) in rounds.iter().flat_map(|round| &round.errors) {
            *errors.entry(*code).or_default() += count;
        }
        let flat = |round: &Figures| round.all.iter().map(|f| (f.name.clone(), f.value)).collect();
        ServerReport {
            role,
            name: name.to_owned(),
            address,
            median: medians(rounds),
            rounds: rounds.iter().map(flat).collect(),
            errors,
        }
    }
}

impl ScenarioReport {
    /// Sums up a scenario; the first server is the one that others are compared with.
    pub fn new(plan: &Plan, servers: Vec<ServerReport>, notes: Vec<String>) -> ScenarioReport {
        ScenarioReport::of(plan.name, plan.summary(), servers, notes)
    }

    /// The same for what no plan describes.
    pub fn of(
        name: &'static str,
        run: String,
        servers: Vec<ServerReport>,
        notes: Vec<String>,
    ) -> ScenarioReport {
        let compare = |role: Role| {
            let other = servers.iter().find(|server| server.role == role);
            other.map_or_else(BTreeMap::new, |other| ratios(&servers[0].median, &other.median))
        };
        let (against, limit) = (compare(Role::Against), compare(Role::Limit));
        ScenarioReport { name, run, notes, servers, against, limit }
    }

    /// Whether any server refused a request.
    pub fn has_errors(&self) -> bool {
        self.servers.iter().any(|server| !server.errors.is_empty())
    }

    /// The table, with a line above it that says what was run.
    pub fn text(&self) -> String {
        let mut rows = vec![self.heading()];
        for figure in self.figures() {
            let mut row = vec![figure.name.clone()];
            for server in &self.servers {
                let found = server.median.iter().find(|other| other.name == figure.name);
                row.push(found.map_or("–".into(), |found| found.unit.show(found.value)));
                let ratio = match server.role {
                    Role::Server => continue,
                    Role::Against => self.against.get(&figure.name),
                    Role::Limit => self.limit.get(&figure.name),
                };
                row.push(ratio.map_or("–".into(), |ratio| format!("{}x", three_digits(*ratio))));
            }
            rows.push(row);
        }
        let mut text = format!("{}: {}\n{}", self.name, self.run, table(&rows));
        for note in &self.notes {
            text += &format!("  {note}\n");
        }
        for server in self.servers.iter().filter(|server| !server.errors.is_empty()) {
            text += &format!("  {} refused: {}\n", server.name, errors_text(&server.errors));
        }
        text
    }

    fn heading(&self) -> Vec<String> {
        let mut heading = vec![String::new()];
        for server in &self.servers {
            heading.push(server.name.clone());
            if server.role != Role::Server {
                heading.push("ratio".into());
            }
        }
        heading
    }

    /// Figures that any server has, in order.
    fn figures(&self) -> Vec<&Figure> {
        let mut all: Vec<&Figure> = Vec::new();
        for figure in self.servers.iter().flat_map(|server| &server.median) {
            if !all.iter().any(|known| known.name == figure.name) {
                all.push(figure);
            }
        }
        all
    }
}

/// Rows as aligned columns: the first to the left, the others to the right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from("  ");
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            match column {
                0 => line += &format!("{cell:<width$}"),
                _ => line += &format!("  {cell:>width$}"),
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_letters() {
        let rows = [
            vec![String::new(), "oxkeeper".into(), "ratio".into()],
            vec!["CPU per op".into(), "1.20 µs".into(), "0.10x".into()],
        ];
        assert_eq!(table(&rows), "              oxkeeper  ratio\n  CPU per op   1.20 µs  0.10x\n");
    }
}
