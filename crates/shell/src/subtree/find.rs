//! `find`: znodes by name, owner, kind, size or age.
//!
//! The conditions are those of find(1), and all have to hold. Nothing but stats is read.

use oxkeeper_client::Stat;

use super::glob;
use super::tree::found_json;
use super::walk::{Found, Walk, Want};
use crate::failure::{Failure, Kind};
use crate::flags::Given;
use crate::out::Style;
use crate::path;
use crate::shell::Shell;
use crate::show;

/// A number to be more than, less than or equal to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    More(i64),
    Less(i64),
    Just(i64),
}

impl Bound {
    fn parse(text: &str, number: impl Fn(&str) -> Option<i64>) -> Option<Bound> {
        Some(match text.as_bytes().first()? {
            b'+' => Bound::More(number(&text[1..])?),
            b'-' => Bound::Less(number(&text[1..])?),
            _ => Bound::Just(number(text)?),
        })
    }

    fn takes(self, value: i64) -> bool {
        match self {
            Bound::More(bound) => value > bound,
            Bound::Less(bound) => value < bound,
            Bound::Just(bound) => value == bound,
        }
    }
}

/// `12`, `4k`, `1m`.
fn bytes(text: &str) -> Option<i64> {
    with_unit(text, &[("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30), ("b", 1)], 1)
}

/// `90s`, `5m`, `2h`, `1d`, `1w`; days if no unit is named, as in find(1).
fn milliseconds(text: &str) -> Option<i64> {
    const SECOND: i64 = 1_000;
    let units = [
        ("ms", 1),
        ("s", SECOND),
        ("m", 60 * SECOND),
        ("h", 3_600 * SECOND),
        ("d", 86_400 * SECOND),
        ("w", 7 * 86_400 * SECOND),
    ];
    with_unit(text, &units, 86_400 * SECOND)
}

fn with_unit(text: &str, units: &[(&str, i64)], plain: i64) -> Option<i64> {
    let text = text.to_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let factor = match unit {
        "" => plain,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    digits.parse::<i64>().ok().filter(|number| *number >= 0)?.checked_mul(factor)
}

/// What is looked for.
struct Sought {
    name: Option<String>,
    path: Option<String>,
    owner: Option<i64>,
    kind: Option<String>,
    size: Option<Bound>,
    age: Option<Bound>,
    children: Option<Bound>,
}

impl Sought {
    fn read(given: &Given, me: Option<i64>) -> Result<Sought, Failure> {
        let bound = |name: &str, number: fn(&str) -> Option<i64>| match given.value(name) {
            None => Ok(None),
            Some(text) => Bound::parse(text, number).map(Some).ok_or_else(|| {
                Failure::usage(format!("{name} {text}: not a bound"))
                    .hint("+ is more, - is less: -size +4k, -age -90s, -age +1d, -children +100")
            }),
        };
        let owner = match given.value("-owner") {
            None => None,
            Some("me") => Some(me.ok_or_else(|| Failure::usage("this shell has no session"))?),
            Some(text) => Some(session(text).ok_or_else(|| {
                Failure::usage(format!("-owner {text}: not a session"))
                    .hint("a session as ephemeralOwner shows it, 0x100000abc0001, or me")
            })?),
        };
        const KINDS: [&str; 2] = ["persistent", "ephemeral"];
        if let Some(kind) = given.value("-type").filter(|kind| !KINDS.contains(kind)) {
            return Err(Failure::usage(format!("-type {kind}: no such kind"))
                .hint(format!("kinds are {}", KINDS.join(", "))));
        }
        Ok(Sought {
            name: given.value("-name").map(str::to_owned),
            path: given.value("-path").map(str::to_owned),
            owner,
            kind: given.value("-type").map(str::to_owned),
            size: bound("-size", bytes)?,
            age: bound("-age", milliseconds)?,
            children: bound("-children", |text| text.parse().ok())?,
        })
    }

    fn takes(&self, found: &Found, now_ms: i64) -> bool {
        let stat = &found.stat;
        let bound = |bound: Option<Bound>, value: i64| bound.is_none_or(|bound| bound.takes(value));
        self.name.as_deref().is_none_or(|glob| glob::fits(glob, path::name(&found.path)))
            && self.path.as_deref().is_none_or(|glob| glob::fits(glob, &found.path))
            && self.owner.is_none_or(|owner| stat.ephemeral_owner.0 == owner)
            && self.kind.as_deref().is_none_or(|kind| show::mode(stat) == kind)
            && bound(self.size, i64::from(stat.data_length))
            && bound(self.age, now_ms.saturating_sub(stat.mtime_ms))
            && bound(self.children, i64::from(stat.num_children))
    }
}

fn session(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|bits| bits as i64),
        None => text.parse().ok(),
    }
}

/// `find path …`.
///
/// # Errors
/// If there is no such path, or part of the subtree may not be seen.
pub async fn find(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let zk = shell.zk()?;
    let sought = Sought::read(given, zk.session_id().map(|id| id.0))?;
    let mut walk = Walk::new(&zk, &given.args[0], Want::Stat, given.number("-d")?).tolerant();
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let mut denied = 0_u64;
    while let Some(found) = walk.next().await? {
        if found.denied {
            denied += 1;
            shell.out.note(format!("{}: what is below may not be seen", found.path));
        }
        if !sought.takes(&found, now_ms) {
            continue;
        }
        if shell.json {
            shell.out.json(&found_json(&found));
        } else if given.has("-s") {
            let about = shell.out.styled(Style::Dim, &summary(&found.stat, now_ms));
            shell.out.line(format!("{}  {about}", found.path));
        } else {
            shell.out.line(&found.path);
        }
        if shell.out.gone() {
            return Ok(());
        }
    }
    if denied > 0 {
        return Err(Failure::new(
            Kind::Partly,
            format!("{denied} znodes could not be looked into"),
        )
        .hint("addauth adds an identity that may"));
    }
    Ok(())
}

/// Kind, version, size and age in a few words.
pub fn summary(stat: &Stat, now_ms: i64) -> String {
    let kind = match show::mode(stat) {
        "ephemeral" => format!("ephemeral of {}", stat.ephemeral_owner),
        other => other.to_owned(),
    };
    let size = show::size(u64::from(stat.data_length.unsigned_abs()));
    let text = format!("{kind}, {size}, version {}", stat.version);
    // What a server has from the start has no time.
    match stat.mtime_ms {
        0 => text,
        mtime_ms => format!("{text}, {} old", age(now_ms.saturating_sub(mtime_ms))),
    }
}

/// A time span for people, in its largest unit.
fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_signs_and_units() {
        assert_eq!(Bound::parse("+4k", bytes), Some(Bound::More(4_096)));
        assert_eq!(Bound::parse("-90s", milliseconds), Some(Bound::Less(90_000)));
        assert_eq!(Bound::parse("7", bytes), Some(Bound::Just(7)));
        assert_eq!(Bound::parse("+1d", milliseconds), Some(Bound::More(86_400_000)));
        for wrong in ["", "+", "x", "4x", "--4", "+99999999999999999999"] {
            assert_eq!(Bound::parse(wrong, bytes), None, "{wrong}");
        }
        assert!(Bound::More(3).takes(4) && !Bound::More(3).takes(3) && Bound::Less(3).takes(2));
    }

    #[test]
    fn a_session_is_a_number_in_either_form() {
        assert_eq!(session("0x100000abc0001"), Some(0x0001_0000_0abc_0001));
        assert_eq!(session("0xffffffffffffffff"), Some(-1));
        assert_eq!((session("17"), session("mine")), (Some(17), None));
    }

    #[test]
    fn every_condition_has_to_hold() {
        let given = crate::table::find("find")
            .unwrap()
            .parse(&crate::line::words("/ -name 'l*' -size +2 -age +1s"))
            .unwrap();
        let sought = Sought::read(&given, None).unwrap();
        let found = |path: &str, data_length, mtime_ms| Found {
            path: path.to_owned(),
            depth: 1,
            stat: Stat { data_length, mtime_ms, ..Stat::default() },
            children: Vec::new(),
            whole: None,
            denied: false,
        };
        assert!(sought.takes(&found("/a/lock", 3, 0), 2_000));
        assert!(!sought.takes(&found("/l/block", 3, 0), 2_000), "the name alone counts");
        assert!(!sought.takes(&found("/a/lock", 2, 0), 2_000));
        assert!(!sought.takes(&found("/a/lock", 3, 1_500), 2_000));
    }
}
