//! Numbers, dates and addresses spelled the way Java spells them.
//!
//! Scripts split these texts at blanks, colons and points; a mean without its point or an address
//! in another notation is a field they do not find.

use core::net::SocketAddr;
use std::fmt::Write as _;

/// A double as `Double.toString` prints it: the shortest digits that say it, always with a point,
/// with an exponent below 0.001 and from ten million on.
pub fn double(value: f64) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0.0" } else { "0.0" }.into();
    }
    if !value.is_finite() {
        let infinity = if value < 0.0 { "-Infinity" } else { "Infinity" };
        return if value.is_nan() { "NaN" } else { infinity }.into();
    }
    if (1e-3..1e7).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}E{exponent}")
}

/// A moment as `Date.toString` prints it, in UTC: `Fri Nov 20 10:50:46 UTC 2026`.
pub fn date(wall_ms: i64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = wall_ms.div_euclid(1_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let weekday = WEEKDAYS[days.rem_euclid(7) as usize];
    let month = MONTHS[month];
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

/// Year, month (0 is January) and day of a number of days since 1970, in the proleptic Gregorian
/// calendar. Counted in years that begin in March, so that a leap day is a year's last.
fn civil(days: i64) -> (i64, usize, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    let since_march_0000 = days + 719_468;
    let era = since_march_0000.div_euclid(DAYS_PER_ERA);
    let of_era = since_march_0000.rem_euclid(DAYS_PER_ERA);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = (month + 2) % 12;
    (year + era * 400 + i64::from(month < 2), month as usize, day)
}

/// An address as `InetSocketAddress.toString` prints it where no name is known: a slash, and IPv6
/// in brackets with all eight groups written out.
pub fn address(out: &mut String, peer: SocketAddr) {
    let SocketAddr::V6(v6) = peer else {
        let _ = write!(out, "/{peer}");
        return;
    };
    out.push_str("/[");
    for (n, group) in v6.ip().segments().into_iter().enumerate() {
        let colon = if n == 0 { "" } else { ":" };
        let _ = write!(out, "{colon}{group:x}");
    }
    let _ = write!(out, "]:{}", peer.port());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (0.3733, "0.3733"),
            (2.6, "2.6"),
            (12.0, "12.0"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (0.00012, "1.2E-4"),
            (9_999_999.5, "9999999.5"),
            (1e7, "1.0E7"),
            (12_345_678.9, "1.23456789E7"),
            (1e21, "1.0E21"),
            (-1234.5, "-1234.5"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(double(value), text);
        }
    }

    #[test]
    fn dates() {
        for (wall_ms, text) in [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969"),
            (951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000"),
            (951_868_799_999, "Tue Feb 29 23:59:59 UTC 2000"),
            (951_868_800_000, "Wed Mar 01 00:00:00 UTC 2000"),
            (1_795_171_846_000, "Fri Nov 20 10:50:46 UTC 2026"),
            (4_107_542_399_000, "Sun Feb 28 23:59:59 UTC 2100"),
            (4_107_542_400_000, "Mon Mar 01 00:00:00 UTC 2100"),
        ] {
            assert_eq!(date(wall_ms), text);
        }
    }

    #[test]
    fn addresses() {
        for (peer, text) in [
            ("127.0.0.1:46960", "/127.0.0.1:46960"),
            ("[::1]:2181", "/[0:0:0:0:0:0:0:1]:2181"),
            ("[2001:db8::ff]:1", "/[2001:db8:0:0:0:0:0:ff]:1"),
        ] {
            let mut out = String::new();
            address(&mut out, peer.parse().unwrap());
            assert_eq!(out, text);
        }
    }
}
