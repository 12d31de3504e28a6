//! Rust source as far as tidy needs to understand it: what is code, what is comment or string,
//! where a block ends, and which lines are tests.
//!
//! The trick is the *mask*: a copy of the text, byte for byte as long, in which the insides of
//! comments, strings and character literals are blanks. Rules that look for words look there, so
//! that a word in a message or an essay is never mistaken for code, and brackets always match.

/// One file, its mask, and which of its lines are test code.
pub struct Source<'a> {
    /// Path from the root of the repository.
    pub path: &'a str,
    /// The file as it is.
    pub text: &'a str,
    /// The same bytes with comments and the insides of literals blanked.
    pub code: String,
    /// For each line, whether a `#[cfg(test)]` item covers it.
    pub test_lines: Vec<bool>,
}

impl<'a> Source<'a> {
    /// Reads a file's text.
    pub fn new(path: &'a str, text: &'a str) -> Self {
        let code = mask(text);
        let test_lines = test_lines(&code);
        Self { path, text, code, test_lines }
    }

    /// Whether the file as a whole is test code: under a `tests` or `benches` directory of a
    /// crate, or a `tests.rs` module. The conformance crate is a program that lives under
    /// `tests/`; its own sources are not tests.
    pub fn is_test_file(&self) -> bool {
        let own_program = self.path.starts_with("tests/conformance/src/");
        let within =
            self.path.split('/').rev().skip(1).any(|dir| dir == "tests" || dir == "benches");
        self.path.ends_with("/tests.rs") || (within && !own_program)
    }

    /// The line, counted from 1, that a byte offset falls into.
    pub fn line_of(&self, offset: usize) -> usize {
        line_of(&self.code, offset)
    }

    /// Whether the code at this offset is there for tests only.
    pub fn is_test(&self, offset: usize) -> bool {
        self.is_test_file() || self.test_lines[self.line_of(offset) - 1]
    }

    /// Offsets at which `word` stands in the code with no identifier character on either side.
    pub fn words<'b>(&'b self, word: &'b str) -> impl Iterator<Item = usize> + 'b {
        words(&self.code, word)
    }
}

/// The line, counted from 1, that a byte offset falls into.
fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count() + 1
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Offsets of `word` in `code` where it does not run on into an identifier.
pub fn words<'b>(code: &'b str, word: &'b str) -> impl Iterator<Item = usize> + 'b {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let end = at + word.len();
        let open_left = !is_word(word.as_bytes()[0]) || at == 0 || !is_word(bytes[at - 1]);
        let open_right =
            !is_word(word.as_bytes()[word.len() - 1]) || end == bytes.len() || !is_word(bytes[end]);
        open_left && open_right
    })
}

/// Blanks out comments and the insides of literals, keeping every byte's place and every newline.
pub fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut masked = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (inside, end) = literal_or_comment(bytes, at);
        for byte in &mut masked[inside.clone()] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    // Only whole literals and comments were blanked, so what is left is still UTF-8.
    String::from_utf8(masked).expect("blanking keeps characters whole")
}

/// If a comment or literal starts at `at`: the range to blank, and where it ends.
fn literal_or_comment(bytes: &[u8], at: usize) -> (std::ops::Range<usize>, usize) {
    let rest = &bytes[at..];
    let find = |needle: &[u8], from: usize| {
        bytes[from..].windows(needle.len()).position(|w| w == needle).map(|found| from + found)
    };
    if rest.starts_with(b"//") {
        let end = find(b"\n", at).unwrap_or(bytes.len());
        return (at..end, end);
    }
    if rest.starts_with(b"/*") {
        let end = block_comment_end(bytes, at);
        return (at..end, end);
    }
    let starts_word = at == 0 || !is_word(bytes[at - 1]);
    if starts_word && let Some(hashes) = raw_string(rest) {
        let open = at + rest.iter().position(|&b| b == b'"').expect("raw_string saw the quote") + 1;
        let mut close = vec![b'"'];
        close.resize(hashes + 1, b'#');
        let end = find(&close, open).unwrap_or(bytes.len());
        return (open..end, (end + close.len()).min(bytes.len()));
    }
    match rest[0] {
        b'"' => {
            let end = quoted_end(bytes, at + 1, b'"');
            (at + 1..end, (end + 1).min(bytes.len()))
        }
        b'\'' if is_char_literal(rest) => {
            let end = quoted_end(bytes, at + 1, b'\'');
            (at + 1..end, (end + 1).min(bytes.len()))
        }
        _ => (at..at, at),
    }
}

/// The number of `#` if a raw string (`r"`, `br#"`, `cr##"`) starts here.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let body = rest.strip_prefix(b"b").or_else(|| rest.strip_prefix(b"c")).unwrap_or(rest);
    let body = body.strip_prefix(b"r")?;
    let hashes = body.iter().take_while(|&&byte| byte == b'#').count();
    (body.get(hashes) == Some(&b'"')).then_some(hashes)
}

/// Tells `'x'` and `'\n'` from a lifetime.
fn is_char_literal(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\') => true,
        Some(&first) => {
            let width = match first {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            };
            rest.get(1 + width) == Some(&b'\'')
        }
        None => false,
    }
}

fn quoted_end(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn block_comment_end(bytes: &[u8], from: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = from;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// From an item's start to its end: the offset of its body's `{`, if it has one, and the offset
/// just behind its closing `}` or `;`. Takes masked code.
pub fn item_end(code: &str, from: usize) -> (Option<usize>, usize) {
    let bytes = code.as_bytes();
    let mut depth = 0_usize;
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return (None, at + 1),
            b'{' if depth == 0 => return (Some(at), closing(code, at) + 1),
            _ => {}
        }
        at += 1;
    }
    (None, bytes.len())
}

/// The offset of the bracket that closes the one at `open`. Takes masked code.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    code.len().saturating_sub(1)
}

/// Marks the lines of every item under `#[cfg(test)]` or `#[cfg(all(test, ..))]`.
fn test_lines(code: &str) -> Vec<bool> {
    let mut lines = vec![false; line_of(code, code.len())];
    for (start, _) in code.match_indices("#[cfg(") {
        let bracket = closing(code, start + 1);
        let condition = &code[start..bracket];
        if words(condition, "test").next().is_none() || condition.contains("not(") {
            continue;
        }
        let mut item = bracket + 1;
        while code[item..].trim_start().starts_with("#[") {
            item += code[item..].find('[').expect("just seen");
            item = closing(code, item) + 1;
        }
        let (_, end) = item_end(code, item);
        let last = line_of(code, end.saturating_sub(1).max(start));
        lines[line_of(code, start) - 1..last].fill(true);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_blanks_literals_and_comments_and_nothing_else() {
        for (text, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("a \" // b") + 'x' + '\''"#, r#"f("         ") + ' ' + '  '"#),
            ("r#\"a \" b\"# b\"q\" br\"z\"", "r#\"     \"# b\" \" br\" \""),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("('é', b'\"', \"ü\")", "('  ', b' ', \"  \")"),
            ("hour\"x\"", "hour\" \""),
        ] {
            assert_eq!(mask(text), code, "{text}");
        }
    }

    #[test]
    fn test_items_are_found_with_their_whole_bodies() {
        let text = "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    fn b() {}\n}\n\
                    fn c() {}\n#[cfg(all(test, unix))]\nuse x;\n#[cfg(not(test))]\nfn d() {}\n";
        let source = Source::new("x.rs", text);
        let lines: Vec<usize> = (1..=11).filter(|line| source.test_lines[line - 1]).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 8, 9]);
    }

    #[test]
    fn words_do_not_run_on() {
        let found: Vec<usize> = words("rand operand rand_ rand::x", "rand").collect();
        assert_eq!(found, [0, 19]);
    }
}
