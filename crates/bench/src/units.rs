//! Figures as people read them: three digits and a unit that fits.
//!
//! Every figure is kept as an `f64` in its base unit (nanoseconds, bytes, things per second) and
//! only becomes text here; `--json` prints the base units.

use serde::Serialize;

/// What a figure counts, and therefore how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A time in nanoseconds.
    Ns,
    /// A size in bytes.
    Bytes,
    /// Things per second.
    PerSecond,
    /// A plain number.
    Count,
}

impl Unit {
    /// `value`, given in the base unit, as text of at most eight columns.
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Ns => scaled(value, &[(1e9, " s"), (1e6, " ms"), (1e3, " µs"), (1.0, " ns")]),
            Unit::Bytes => scaled(value, &[(1e9, " GB"), (1e6, " MB"), (1e3, " kB"), (1.0, " B")]),
            Unit::PerSecond => scaled(value, &[(1e6, "M/s"), (1e3, "k/s"), (1.0, "/s")]),
            Unit::Count => scaled(value, &[(1e6, "M"), (1e4, "k"), (1.0, "")]),
        }
    }
}

/// `value` in the largest of `units` that leaves at least one digit before the point.
fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let (size, name) =
        units.iter().find(|(size, _)| value.abs() >= *size).unwrap_or(&units[units.len() - 1]);
    format!("{}{name}", three_digits(value / size))
}

/// A number with three significant digits, without an exponent or a trailing point.
pub fn three_digits(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1000.0 {
        return format!("{value:.0}");
    }
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_take_the_unit_that_fits() {
        for (unit, value, text) in [
            (Unit::Ns, 310.4, "310 ns"),
            (Unit::Ns, 12_612.0, "12.6 µs"),
            (Unit::Ns, 8_500_000.0, "8.50 ms"),
            (Unit::Ns, 3_650_000_000.0, "3.65 s"),
            (Unit::Ns, 0.0, "0 ns"),
            (Unit::Bytes, 1_107_000_000.0, "1.11 GB"),
            (Unit::Bytes, 94_300_000.0, "94.3 MB"),
            (Unit::Bytes, 245.0, "245 B"),
            (Unit::PerSecond, 119_400.0, "119k/s"),
            (Unit::PerSecond, 1_500_000.0, "1.50M/s"),
            (Unit::Count, 7.0, "7"),
            (Unit::Count, 1000.0, "1000"),
        ] {
            assert_eq!(unit.show(value), text);
        }
    }
}
