//! The syntax of a `zoo.cfg`: what `java.util.Properties.load(InputStream)` accepts.
//!
//! ZooKeeper reads its file with that class, so its rules are part of the file format: bytes are
//! ISO-8859-1, a key ends at the first unescaped `=`, `:` or blank, a backslash at the end of a
//! line continues it, `\uXXXX` is a UTF-16 unit, a comment is a whole line and never continues.
//! The reader below follows them byte for byte (its fixture was produced by a JVM) and adds the
//! one thing Java forgets: the line a value came from, without which no error can be helpful.
//!
//! A crate exists for this format; it refuses comments that hold a stray `\u`, decodes
//! Windows-1252 and honours byte order marks, none of which Java does.

use std::ops::Range;

/// One `key=value` of the file, unescaped but not trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    /// 1-based number of the line on which the key begins.
    pub line: usize,
    pub key: String,
    pub value: String,
}

/// A `\u` that is not followed by four hexadecimal digits: the only syntax error of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadEscape {
    /// 1-based number of the line on which the property begins.
    pub line: usize,
}

/// Reads every property in file order. Keys may repeat; Java keeps the last.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Property>, BadEscape> {
    let mut lines = LogicalLines::new(bytes);
    let mut properties = Vec::new();
    while let Some((line, text)) = lines.next_line() {
        let (key_end, value_start) = split(&text);
        let key = unescape(&text[..key_end]).ok_or(BadEscape { line })?;
        let value = unescape(&text[value_start..]).ok_or(BadEscape { line })?;
        properties.push(Property { line, key, value });
    }
    Ok(properties)
}

/// Where each property stands, from the beginning of its first line to the beginning of the line
/// behind its last, and its key.
pub(crate) fn places(bytes: &[u8]) -> Result<Vec<(Range<usize>, String)>, BadEscape> {
    let mut lines = LogicalLines::new(bytes);
    let mut places = Vec::new();
    while let Some((line, text)) = lines.next_line() {
        let key = unescape(&text[..split(&text).0]).ok_or(BadEscape { line })?;
        places.push((lines.began_at..lines.at, key));
    }
    Ok(places)
}

/// Whether any byte outside comments is above 0x7f, where Java's ISO-8859-1 reading and the UTF-8
/// that editors write part ways.
pub(crate) fn first_non_ascii_line(bytes: &[u8]) -> Option<usize> {
    let mut lines = LogicalLines::new(bytes);
    while let Some((line, text)) = lines.next_line() {
        if !text.is_ascii() {
            return Some(line);
        }
    }
    None
}

/// Joins continued lines, drops comments and blank lines.
struct LogicalLines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
    /// Where that line begins.
    line_at: usize,
    /// Where the first line of the last property begins.
    began_at: usize,
}

impl LogicalLines<'_> {
    fn new(bytes: &[u8]) -> LogicalLines<'_> {
        LogicalLines { bytes, at: 0, line: 1, line_at: 0, began_at: 0 }
    }

    /// The next property's text with continuations joined, and the line it begins on.
    fn next_line(&mut self) -> Option<(usize, Vec<u8>)> {
        let mut text = Vec::new();
        let mut began = self.line;
        let mut skip_blanks = true;
        let mut continued = false;
        let mut backslash = false;
        while let Some(&byte) = self.bytes.get(self.at) {
            let (line, line_at) = (self.line, self.line_at);
            let end_of_line = self.advance(byte);
            if skip_blanks {
                if is_blank(byte) || (end_of_line && !continued) {
                    continue;
                }
                skip_blanks = false;
                continued = false;
            }
            if text.is_empty() {
                began = line;
                self.began_at = line_at;
                if byte == b'#' || byte == b'!' {
                    self.skip_comment();
                    skip_blanks = true;
                    continue;
                }
            }
            if !end_of_line {
                text.push(byte);
                backslash = byte == b'\\' && !backslash;
            } else if text.is_empty() {
                skip_blanks = true;
            } else if backslash {
                text.pop();
                // Java looks for the end of the file before it looks for the `\n` of a `\r\n`, so
                // a lone continued backslash right there is an empty property, not nothing.
                if text.is_empty() && self.at == self.bytes.len() && !self.after_crlf() {
                    return Some((began, text));
                }
                skip_blanks = true;
                continued = true;
                backslash = false;
            } else {
                return Some((began, text));
            }
        }
        if text.is_empty() {
            return None;
        }
        // Java drops a backslash that ends the file, as if an empty line followed.
        if backslash {
            text.pop();
        }
        Some((began, text))
    }

    /// Steps over `byte`, taking `\r\n` as one end of line. Says whether it ended the line.
    fn advance(&mut self, byte: u8) -> bool {
        self.at += 1;
        match byte {
            b'\r' => {
                if self.bytes.get(self.at) == Some(&b'\n') {
                    self.at += 1;
                }
                self.line += 1;
                self.line_at = self.at;
                true
            }
            b'\n' => {
                self.line += 1;
                self.line_at = self.at;
                true
            }
            _ => false,
        }
    }

    fn after_crlf(&self) -> bool {
        self.bytes[..self.at].ends_with(b"\r\n")
    }

    fn skip_comment(&mut self) {
        while let Some(&byte) = self.bytes.get(self.at) {
            if self.advance(byte) {
                return;
            }
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0c)
}

/// Where the key ends and where the value starts.
fn split(text: &[u8]) -> (usize, usize) {
    let mut key_end = text.len();
    let mut value_start = text.len();
    let mut separated = false;
    let mut backslash = false;
    for (at, &byte) in text.iter().enumerate() {
        let sign = byte == b'=' || byte == b':';
        if !backslash && (sign || is_blank(byte)) {
            key_end = at;
            value_start = at + 1;
            separated = sign;
            break;
        }
        backslash = byte == b'\\' && !backslash;
    }
    while let Some(&byte) = text.get(value_start) {
        let sign = byte == b'=' || byte == b':';
        if sign && !separated {
            separated = true;
        } else if !is_blank(byte) {
            break;
        }
        value_start += 1;
    }
    (key_end, value_start)
}

/// Undoes escapes. `None` for a malformed `\u`.
fn unescape(text: &[u8]) -> Option<String> {
    let mut units = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            units.push(u16::from(byte));
            continue;
        }
        let unit = match bytes.next() {
            Some(b'u') => {
                let mut unit = 0;
                for _ in 0..4 {
                    unit = unit << 4 | hex_digit(bytes.next()?)?;
                }
                unit
            }
            Some(b't') => u16::from(b'\t'),
            Some(b'r') => u16::from(b'\r'),
            Some(b'n') => u16::from(b'\n'),
            Some(b'f') => 0x0c,
            Some(other) => u16::from(other),
            // Only a key cut short by `split` could end so, and it never cuts after a backslash.
            None => break,
        };
        units.push(unit);
    }
    // Java strings hold lone surrogates, ours cannot; no key or path has a use for them.
    Some(String::from_utf16_lossy(&units))
}

fn hex_digit(byte: u8) -> Option<u16> {
    char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        let read = read(text.as_bytes()).expect("well formed");
        read.into_iter().map(|p| (p.line, p.key, p.value)).collect()
    }

    fn one(text: &str) -> (String, String) {
        let mut all = pairs(text);
        assert_eq!(all.len(), 1, "{text:?} gave {all:?}");
        let (_, key, value) = all.remove(0);
        (key, value)
    }

    #[test]
    fn separators_are_equals_colon_or_blank() {
        for text in ["a=b", "a:b", "a b", "a = b", "a\t:\x0c b", "  a  b", "a=b\r\n", "\n\ra=b"] {
            assert_eq!(one(text), ("a".into(), "b".into()), "{text:?}");
        }
        assert_eq!(one("a==b"), ("a".into(), "=b".into()));
        assert_eq!(one("a = = b"), ("a".into(), "= b".into()));
        assert_eq!(one("=b"), (String::new(), "b".into()));
        assert_eq!(one("a"), ("a".into(), String::new()));
        assert_eq!(one("a=b  "), ("a".into(), "b  ".into()));
        assert_eq!(one("a\\=b\\ c\\:d=e"), ("a=b c:d".into(), "e".into()));
    }

    #[test]
    fn continuations_join_and_comments_do_not() {
        assert_eq!(one("a=b\\\n   c"), ("a".into(), "bc".into()));
        assert_eq!(one("a=b\\\r\n\tc"), ("a".into(), "bc".into()));
        assert_eq!(one("a=b\\\n#c"), ("a".into(), "b#c".into()));
        assert_eq!(one("a=b\\\\\n#c"), ("a".into(), "b\\".into()));
        assert_eq!(one("#a=b\\\nc=d"), ("c".into(), "d".into()));
        assert_eq!(one("  ! C:\\users\\ux\nc=d"), ("c".into(), "d".into()));
        assert_eq!(one("a=b\\"), ("a".into(), "b".into()));
        let all = pairs("a=b\\\n\nc=d");
        assert_eq!(all, [(1, "a".into(), "b".into()), (3, "c".into(), "d".into())]);
    }

    #[test]
    fn escapes_are_javas() {
        assert_eq!(one("a=\\t\\n\\r\\f\\q\\\\"), ("a".into(), "\t\n\r\x0cq\\".into()));
        assert_eq!(one("\\u0061=\\u00E9\\ud83d\\ude00"), ("a".into(), "é😀".into()));
        assert_eq!(read(b"x=1\ndataDir=C:\\users"), Err(BadEscape { line: 2 }));
        assert_eq!(read(b"a=\\u12"), Err(BadEscape { line: 1 }));
        assert_eq!(read(b"a=\\u+123"), Err(BadEscape { line: 1 }));
        let latin = read(b"a=\xe9\x80").expect("any byte is a character");
        assert_eq!(latin[0].value, "\u{e9}\u{80}");
    }

    #[test]
    fn lines_are_numbered_where_the_key_stands() {
        let all = pairs("# one\n\n  tickTime = 2000\r\nx=1\\\n2\ry=3\n");
        let lines: Vec<_> = all.iter().map(|(line, key, _)| (*line, key.as_str())).collect();
        assert_eq!(lines, [(3, "tickTime"), (4, "x"), (6, "y")]);
        assert_eq!(first_non_ascii_line(b"# \xff\na=b\nc=\xff"), Some(3));
        assert_eq!(first_non_ascii_line(b"# \xff\na=b"), None);
    }

    fn from_hex(text: &str) -> Vec<u32> {
        text.as_bytes()
            .chunks(4)
            .map(|unit| str::from_utf8(unit).expect("ascii"))
            .map(|unit| u32::from_str_radix(unit, 16).expect("hex"))
            .collect()
    }

    fn java_string(hex: &str) -> String {
        let units = if hex == "-" { Vec::new() } else { from_hex(hex) };
        let units: Vec<u16> = units.iter().map(|&unit| u16::try_from(unit).unwrap()).collect();
        String::from_utf16_lossy(&units)
    }

    /// Runs over a file in which a JVM wrote its answers.
    fn agrees_with_java(fixture: &str) -> usize {
        let mut cases = 0;
        let body = fixture.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
        for case in body.join("\n").split("in ").skip(1) {
            let mut lines = case.lines();
            let input = lines.next().expect("an input");
            let input = if input == "-" { "" } else { input };
            let bytes: Vec<u8> = (0..input.len() / 2)
                .map(|at| u8::from_str_radix(&input[2 * at..2 * at + 2], 16).expect("hex"))
                .collect();
            let java: Vec<&str> = lines.collect();
            match read(&bytes) {
                Err(_) => assert_eq!(java, ["malformed"], "{:?}", bytes.escape_ascii().to_string()),
                Ok(ours) => {
                    let ours: std::collections::BTreeMap<_, _> =
                        ours.into_iter().map(|p| (p.key, p.value)).collect();
                    let java = java
                        .iter()
                        .map(|line| line.split_once(' ').expect("key and value"))
                        .map(|(key, value)| (java_string(key), java_string(value)))
                        .collect();
                    assert_eq!(ours, java, "{:?}", bytes.escape_ascii().to_string());
                }
            }
            cases += 1;
        }
        cases
    }

    #[test]
    fn reads_what_a_jvm_reads() {
        let fixture = include_str!("../tests/fixtures/java-properties.txt");
        assert_eq!(agrees_with_java(fixture), 400);
    }
}
