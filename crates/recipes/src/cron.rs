//! When something is due: the five fields of cron, in UTC.
//!
//! All workers of a job have to agree on its ticks whatever their machines are set to, so there is
//! one time zone, and a tick is a moment and not a wall clock's reading.

/// A minute, ms.
const MINUTE: i64 = 60_000;
/// A day, ms.
const DAY: i64 = 24 * 60 * MINUTE;
/// How many days are looked at for the next tick: a leap day comes within eight years.
const DAYS_MAX: i64 = 8 * 366 + 1;

/// When something is due. Ticks are moments in ms since 1970, the same for everybody.
///
/// ```
/// # use std::time::Duration;
/// # use oxkeeper_recipes::Schedule;
/// let hourly = Schedule::every(Duration::from_secs(3600)).expect("a period");
/// assert_eq!(hourly.next_after(0), Some(3_600_000));
/// assert_eq!(hourly.next_after(3_600_000), Some(7_200_000), "after it, and not at it");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Rule);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Every { period_ms: i64 },
    Cron(Box<Cron>),
}

/// A bit per value of each field.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both kinds of days are restricted: one of them is enough, as in every cron.
    either_day: bool,
}

/// Why a schedule cannot be read.
///
/// ```
/// # use oxkeeper_recipes::{Schedule, ScheduleError};
/// let error: ScheduleError = Schedule::cron("0 25 * * *").unwrap_err();
/// assert_eq!((&*error.field, error.problem), ("25", "out of range"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field:?} in the schedule {text:?}: {problem}")]
pub struct ScheduleError {
    /// All of it.
    pub text: String,
    /// The part that is wrong.
    pub field: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

const FIELDS: [(&str, u32, u32); 5] =
    [("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7)];

impl Schedule {
    /// Once in every period, counted from 1970; `None` for a period under a millisecond.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_recipes::Schedule;
    /// let often = Schedule::every(Duration::from_millis(250)).expect("a period");
    /// assert_eq!(often.next_after(1_700_000_000_100), Some(1_700_000_000_250));
    /// assert_eq!(Schedule::every(Duration::from_micros(1)), None);
    /// ```
    pub fn every(period: std::time::Duration) -> Option<Schedule> {
        let period_ms = i64::try_from(period.as_millis()).ok().filter(|ms| *ms > 0)?;
        Some(Schedule(Rule::Every { period_ms }))
    }

    /// Minute, hour, day of the month, month, day of the week (0 and 7 are Sunday), in UTC. Each is
    /// `*`, a number, a range `1-5`, any of them with a step `*/15`, or a list of such.
    ///
    /// ```
    /// # use oxkeeper_recipes::Schedule;
    /// let workdays_at_six = Schedule::cron("0 6 * * 1-5")?;
    /// assert_eq!(workdays_at_six.next_after(0), Some(6 * 3_600_000)); // 1970 began on a Thursday
    /// # Ok::<(), oxkeeper_recipes::ScheduleError>(())
    /// ```
    ///
    /// # Errors
    /// It cannot be read.
    pub fn cron(text: &str) -> Result<Schedule, ScheduleError> {
        let wrong = |field: &str, problem| ScheduleError {
            text: text.to_owned(),
            field: field.to_owned(),
            problem,
        };
        let parts: Vec<&str> = text.split_whitespace().collect();
        if parts.len() != FIELDS.len() {
            return Err(wrong(text, "five fields are expected"));
        }
        let mut bits = [0; 5];
        for ((bits, part), (_, min, max)) in bits.iter_mut().zip(&parts).zip(FIELDS) {
            *bits = field(part, min, max).map_err(|problem| wrong(part, problem))?;
        }
        let [minutes, hours, days, months, mut weekdays] = bits;
        // Sunday is 0 and 7.
        weekdays = (weekdays | weekdays >> 7) & 0x7f;
        let either_day = !parts[2].starts_with('*') && !parts[4].starts_with('*');
        let cron = Cron { minutes, hours, days, months, weekdays, either_day };
        Ok(Schedule(Rule::Cron(Box::new(cron))))
    }

    /// The first tick after a moment; `None` if none comes, as for the 30th of February.
    ///
    /// ```
    /// # use oxkeeper_recipes::Schedule;
    /// let leap_days = Schedule::cron("0 0 29 2 *").expect("a schedule");
    /// assert_eq!(leap_days.next_after(1_700_000_000_000), Some(1_709_164_800_000)); // 2024
    /// let never = Schedule::cron("0 0 30 2 *").expect("a schedule");
    /// assert_eq!(never.next_after(0), None);
    /// ```
    pub fn next_after(&self, ms: i64) -> Option<i64> {
        match &self.0 {
            Rule::Every { period_ms } => {
                (ms.div_euclid(*period_ms)).checked_add(1)?.checked_mul(*period_ms)
            }
            Rule::Cron(cron) => cron.next_after(ms),
        }
    }
}

/// The values that a field names.
fn field(text: &str, min: u32, max: u32) -> Result<u64, &'static str> {
    let mut bits = 0;
    for item in text.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, step.parse().map_err(|_| "a step is a number")?),
            None => (item, 1),
        };
        let number = |text: &str| text.parse::<u32>().map_err(|_| "not a number");
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (min, max),
            Some((from, to)) => (number(from)?, number(to)?),
            // "5/15" is from 5 on, "5" is 5 alone.
            None if item.contains('/') => (number(range)?, max),
            None => (number(range)?, number(range)?),
        };
        if from < min || to > max || from > to {
            return Err("out of range");
        }
        if step == 0 {
            return Err("a step is at least 1");
        }
        bits |= (from..=to).step_by(step).fold(0, |bits, value| bits | 1 << value);
    }
    Ok(bits)
}

fn has(bits: u64, value: i64) -> bool {
    bits >> value & 1 == 1
}

impl Cron {
    fn next_after(&self, ms: i64) -> Option<i64> {
        let from = ms.div_euclid(MINUTE).checked_add(1)?.checked_mul(MINUTE)?;
        let first = from.div_euclid(DAY);
        (first..first.checked_add(DAYS_MAX)?).filter(|day| self.is_day(*day)).find_map(|day| {
            let after = if day == first { from.rem_euclid(DAY) / MINUTE } else { 0 };
            let minute = (after..24 * 60)
                .find(|at| has(self.hours, at / 60) && has(self.minutes, at % 60))?;
            day.checked_mul(DAY)?.checked_add(minute * MINUTE)
        })
    }

    fn is_day(&self, day: i64) -> bool {
        let (month, date) = month_and_date(day);
        // The first of January 1970 was a Thursday.
        let weekday = (day + 4).rem_euclid(7);
        let (by_date, by_weekday) = (has(self.days, date), has(self.weekdays, weekday));
        let fits = if self.either_day { by_date || by_weekday } else { by_date && by_weekday };
        has(self.months, month) && fits
    }
}

/// The month and the day in it of a day since 1970, in the Gregorian calendar: years are counted
/// from March, so that the leap day is the last.
fn month_and_date(day: i64) -> (i64, i64) {
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let date = of_year - (153 * shifted + 2) / 5 + 1;
    (if shifted < 10 { shifted + 3 } else { shifted - 9 }, date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2024-02-28 23:58:30 UTC, a Wednesday.
    const NOW: i64 = 1_709_164_710_000;

    fn next(text: &str, ms: i64) -> i64 {
        Schedule::cron(text).unwrap().next_after(ms).unwrap()
    }

    #[test]
    fn ticks_are_where_the_calendar_has_them() {
        assert_eq!(next("* * * * *", NOW), 1_709_164_740_000, "the next minute");
        assert_eq!(next("0 0 * * *", NOW), 1_709_164_800_000, "midnight");
        assert_eq!(next("0 0 29 2 *", NOW), 1_709_164_800_000, "a leap day");
        assert_eq!(next("0 0 29 2 *", 1_709_164_800_000), 1_835_395_200_000, "the next one");
        assert_eq!(next("*/15 12 * * *", NOW), 1_709_208_000_000);
        assert_eq!(next("0 0 * * 0", NOW), 1_709_424_000_000, "Sunday is 0");
        assert_eq!(next("0 0 * * 7", NOW), 1_709_424_000_000, "and 7");
        assert_eq!(next("0 0 1 * 4", NOW), 1_709_164_800_000, "the first, or a Thursday");
        assert_eq!(next("30 6 1-7 3 *", NOW), 1_709_274_600_000);
        assert_eq!(Schedule::cron("0 0 30 2 *").unwrap().next_after(NOW), None);
        assert_eq!(next("59 23 31 12 *", -1), 31_535_940_000, "the end of 1970");
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "*/0 * * * *",
            "a * * * *",
            "5-1 * * * *",
            "1, * * * *",
        ] {
            assert!(Schedule::cron(text).is_err(), "{text:?}");
        }
        let error = Schedule::cron("0 24 * * *").unwrap_err();
        assert_eq!(error.to_string(), r#""24" in the schedule "0 24 * * *": out of range"#);
    }

    #[test]
    fn periods_are_counted_from_1970() {
        let every = Schedule::every(std::time::Duration::from_secs(10)).unwrap();
        assert_eq!(every.next_after(9_999), Some(10_000));
        assert_eq!(every.next_after(10_000), Some(20_000));
        assert_eq!(every.next_after(-1), Some(0));
        assert_eq!(every.next_after(i64::MAX), None);
        assert!(Schedule::every(std::time::Duration::ZERO).is_none());
    }

    proptest! {
        /// The next tick is later, fits, and none before it does.
        #[test]
        fn no_tick_is_left_out(
            ms in 0i64..4_000_000_000_000,
            minute in 0u32..60,
            hour in 0u32..24,
        ) {
            let schedule = Schedule::cron(&format!("{minute} {hour} * * *")).unwrap();
            let tick = schedule.next_after(ms).unwrap();
            prop_assert!(tick > ms && tick - ms <= DAY);
            prop_assert_eq!(tick.rem_euclid(DAY), i64::from(hour * 60 + minute) * MINUTE);
        }
    }
}
