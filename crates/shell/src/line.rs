//! A line becomes words, in the way of ZooKeeper's shell.
//!
//! A word begins with a quote and ends with the same quote, or it is everything up to the next
//! blank. A quote inside a word is part of it, so `{"a":1}` needs no quotes and `'{"a": 1}'` needs
//! them for its blank. There is no escape character: what holds one kind of quote stands in the
//! other kind. A quote that is never closed is left out, and what follows it are ordinary words.

/// Words of a line, quotes removed.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let taken = if first == '"' || first == '\'' {
            match rest[1..].find(first) {
                Some(end) => {
                    words.push(rest[1..=end].to_owned());
                    end + 2
                }
                None => 1,
            }
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            end
        };
        rest = rest[taken..].trim_start();
    }
    words
}

/// The quote that a line leaves open: a person is still typing the value.
pub fn open_quote(line: &str) -> Option<char> {
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = if first == '"' || first == '\'' {
            match rest[1..].find(first) {
                Some(end) => end + 2,
                None => return Some(first),
            }
        } else {
            rest.find(char::is_whitespace).unwrap_or(rest.len())
        };
        rest = rest[end..].trim_start();
    }
    None
}

/// The word, with quotes if it needs them to be read back as one.
pub fn quoted(word: &str) -> String {
    let plain =
        !word.is_empty() && !word.starts_with(['"', '\'']) && !word.contains(char::is_whitespace);
    if plain {
        word.to_owned()
    } else if word.contains('"') {
        format!("'{word}'")
    } else {
        format!("\"{word}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_zookeepers_shell() {
        for (line, expected) in [
            ("  get   '/shell'  ", vec!["get", "/shell"]),
            ("set /a \"it's\"", vec!["set", "/a", "it's"]),
            ("set /a 'x y'\"z\"", vec!["set", "/a", "x y", "z"]),
            ("set /a x'y z'", vec!["set", "/a", "x'y", "z'"]),
            ("set /a \"un closed", vec!["set", "/a", "un", "closed"]),
            ("set /a \"\"", vec!["set", "/a", ""]),
            ("set /a {\"json\":1}", vec!["set", "/a", "{\"json\":1}"]),
            ("set /a '{\"json\":1, \"b\": 2}'", vec!["set", "/a", "{\"json\":1, \"b\": 2}"]),
            ("set /a grüße\tx", vec!["set", "/a", "grüße", "x"]),
            ("", vec![]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn a_value_goes_on_over_lines_until_its_quote_is_closed() {
        assert_eq!(open_quote("set /a 'one\ntwo"), Some('\''));
        assert_eq!(open_quote("set /a 'one\ntwo'"), None);
        assert_eq!(open_quote("set /a it's"), None, "a quote inside a word opens nothing");
        assert_eq!(words("set /a 'one\ntwo'"), ["set", "/a", "one\ntwo"]);
    }

    #[test]
    fn quoting_is_undone_by_reading() {
        for word in ["plain", "two words", "it's", "a \"b\" c", "", "'x"] {
            assert_eq!(words(&quoted(word)), [word], "{word}");
        }
    }
}
