//! The walk behind wchc and wchp: all pairs of path and connection in the data table, in pieces.
//!
//! A table of a million watches takes tens of milliseconds to print, so the walk stops when its
//! budget is used up and goes on later. What changes in between may be missed or stand twice: the
//! words are for looking, not for counting.

use super::path_table::FLAG_BITS;
use super::{ConnKey, DATA_TABLE, Watches};

/// What heads a group of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportBy {
    /// Connections, each followed by its paths: wchc.
    Connection,
    /// Paths, each followed by its connections: wchp.
    Path,
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportLine<'a> {
    /// A watched path.
    Path(&'a str),
    /// A watching connection.
    Connection(ConnKey),
}

/// Where a walk stands; the default is its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportCursor {
    group: u32,
    piece: u32,
}

impl Watches {
    /// Visits the lines from the cursor on, stopping soon after `budget` of them (by a piece of a
    /// very large group at most). True if there is more.
    pub fn report(
        &self,
        by: ReportBy,
        cursor: &mut ReportCursor,
        budget: usize,
        mut visit: impl FnMut(ReportLine<'_>),
    ) -> bool {
        let end = match by {
            ReportBy::Connection => self.slots.len() as u32,
            ReportBy::Path => self.paths.ids_end(),
        };
        let mut left = budget;
        while cursor.group < end {
            if left == 0 {
                return true;
            }
            let (lines, pieces) = match by {
                ReportBy::Connection => self.report_connection(*cursor, &mut visit),
                ReportBy::Path => self.report_path(*cursor, &mut visit),
            };
            left = left.saturating_sub(lines + 1);
            cursor.piece += 1;
            if cursor.piece as usize >= pieces {
                *cursor = ReportCursor { group: cursor.group + 1, piece: 0 };
            }
        }
        false
    }

    fn report_connection(
        &self,
        at: ReportCursor,
        visit: &mut impl FnMut(ReportLine<'_>),
    ) -> (usize, usize) {
        let conn = &self.slots[at.group as usize];
        if !conn.alive || !conn.listed {
            return (0, 1);
        }
        if at.piece == 0 {
            visit(ReportLine::Connection(conn.key));
        }
        let mut lines = 0;
        for id in conn.paths.piece(at.piece as usize) {
            let entry = self.paths.entry(id);
            let word = entry.watchers.get(at.group).unwrap_or(0);
            if word & DATA_TABLE != 0 {
                visit(ReportLine::Path(&entry.path));
            }
            lines += 1;
        }
        (lines, conn.paths.pieces())
    }

    fn report_path(
        &self,
        at: ReportCursor,
        visit: &mut impl FnMut(ReportLine<'_>),
    ) -> (usize, usize) {
        let entry = self.paths.entry(at.group);
        if entry.data == 0 {
            return (0, 1);
        }
        if at.piece == 0 {
            visit(ReportLine::Path(&entry.path));
        }
        let mut lines = 0;
        for word in entry.watchers.piece(at.piece as usize) {
            let conn = &self.slots[(word >> FLAG_BITS) as usize];
            if word & DATA_TABLE != 0 && conn.alive {
                visit(ReportLine::Connection(conn.key));
            }
            lines += 1;
        }
        (lines, entry.watchers.pieces())
    }
}
