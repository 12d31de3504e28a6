//! The text of a setting turned into a value, with Java's spellings.

use std::fmt;

use crate::keys::{Fallback, Key, Kind};

/// A checked value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(String),
}

/// Parses `text` as the key's values are written. `None` if it is not one of them.
pub(crate) fn parse(key: &Key, text: &str) -> Option<Value> {
    match key.kind {
        Kind::Bool if text.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
        Kind::Bool if text.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
        Kind::YesNo if text == "yes" => Some(Value::Bool(true)),
        Kind::YesNo if text == "no" => Some(Value::Bool(false)),
        Kind::Bool | Kind::YesNo => None,
        Kind::Int { min, max } => parse_int(text, key.takes_radix_prefix())
            .filter(|number| (min..=max).contains(number))
            .map(Value::Int),
        Kind::Real { min, max } => {
            text.parse().ok().filter(|number: &f64| (min..=max).contains(number)).map(Value::Real)
        }
        Kind::Choice(words) => words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(text))
            .map(|word| Value::Text((*word).to_owned())),
        Kind::Path if text.is_empty() || text.contains('\0') => None,
        Kind::Path | Kind::Text => Some(Value::Text(text.to_owned())),
    }
}

/// The value that holds when the setting is absent, if it is a fixed one.
pub(crate) fn default(key: &Key) -> Option<Value> {
    match key.default {
        Fallback::Is(text) => parse(key, text),
        Fallback::From(_) | Fallback::Unset => None,
    }
}

/// `Integer.parseInt`, or `Integer.decode` with its prefixes `0x`, `#` and `0`.
fn parse_int(text: &str, prefixes: bool) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = ["0x", "0X", "#"].iter().find_map(|prefix| digits.strip_prefix(prefix));
    let (radix, digits) = match hexadecimal {
        Some(digits) if prefixes => (16, digits),
        _ if prefixes && digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -number } else { number }).ok()
}

/// Strips what `String.trim` strips: everything up to U+0020, at both ends.
pub(crate) fn java_trim(text: &str) -> &str {
    text.trim_matches(|character| character <= ' ')
}

/// The values a kind allows, as the end of a sentence.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Kind::Bool => f.write_str("true or false"),
            Kind::YesNo => f.write_str("yes or no"),
            Kind::Int { min, max } if min == max => write!(f, "{min}"),
            Kind::Int { min, max } => write!(f, "a whole number from {min} to {max}"),
            Kind::Real { min: f64::MIN, .. } => f.write_str("a number"),
            Kind::Real { min, max } => write!(f, "a number from {min} to {max}"),
            Kind::Choice(words) => {
                let named: Vec<_> = words.iter().copied().filter(|word| !word.is_empty()).collect();
                f.write_str(&named.join(" or "))?;
                if named.len() < words.len() { f.write_str(", or empty") } else { Ok(()) }
            }
            Kind::Path => f.write_str("a path"),
            Kind::Text => f.write_str("a text"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;

    #[test]
    fn integers_are_read_as_java_does() {
        for (text, plain, decoded) in [
            ("10", Some(10), Some(10)),
            ("+10", Some(10), Some(10)),
            ("-10", Some(-10), Some(-10)),
            ("010", Some(10), Some(8)),
            ("0", Some(0), Some(0)),
            ("00", Some(0), Some(0)),
            ("0x10", None, Some(16)),
            ("-0X10", None, Some(-16)),
            ("#ff", None, Some(255)),
            ("08", Some(8), None),
            ("0x", None, None),
            ("", None, None),
            ("-", None, None),
            ("--1", None, None),
            ("0x-1", None, None),
            ("1_000", None, None),
            ("1 0", None, None),
            ("9223372036854775807", Some(i64::MAX), Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN), Some(i64::MIN)),
            ("9223372036854775808", None, None),
        ] {
            assert_eq!(parse_int(text, false), plain, "{text}");
            assert_eq!(parse_int(text, true), decoded, "{text}");
        }
    }

    #[test]
    fn every_default_is_a_value_its_own_key_accepts() {
        for key in keys::all() {
            if let Fallback::Is(text) = key.default {
                assert!(parse(key, text).is_some(), "{}={text}", key.name);
            }
        }
    }

    #[test]
    fn trimming_is_javas() {
        assert_eq!(java_trim(" \t\u{1}a b\u{0}\r"), "a b");
        assert_eq!(java_trim("\u{a0}a"), "\u{a0}a");
    }
}
