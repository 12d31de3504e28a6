//! Patterns for names: `*` any letters, `?` one, `[a-z]` one of them, `[!a-z]` none of them.

/// Whether all of `text` fits `pattern`. What does not close is taken as it stands.
pub fn fits(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // The last star, and how much of the text it has taken: one step back is enough.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if let Some(next) = one(&pattern, p, text[t]) {
            p = next;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Where the pattern goes on if what is at `p` takes this letter.
fn one(pattern: &[char], p: usize, letter: char) -> Option<usize> {
    match *pattern.get(p)? {
        '?' => Some(p + 1),
        '[' => match class(&pattern[p + 1..], letter) {
            Some((true, length)) => Some(p + 1 + length),
            Some((false, _)) => None,
            None => (letter == '[').then_some(p + 1),
        },
        c => (c == letter).then_some(p + 1),
    }
}

/// Whether the class takes the letter, and its length with the bracket; `None` if it has no end.
fn class(rest: &[char], letter: char) -> Option<(bool, usize)> {
    let negated = matches!(rest.first(), Some('!' | '^'));
    let start = usize::from(negated);
    // A bracket in first place is one of the letters.
    let end = start + 1 + rest.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let members = &rest[start..end];
    let mut at = 0;
    let mut found = false;
    while at < members.len() {
        if at + 2 < members.len() && members[at + 1] == '-' {
            found |= (members[at]..=members[at + 2]).contains(&letter);
            at += 3;
        } else {
            found |= members[at] == letter;
            at += 1;
        }
    }
    Some((found != negated, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, text, expected) in [
            ("lock-*", "lock-0000000001", true),
            ("lock-*", "my-lock-1", false),
            ("*-lock-*", "my-lock-1", true),
            ("*a*b", "xaabab", true),
            ("*a*b", "xaaba", false),
            ("?", "ü", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[a", "[a", true),
            ("", "", true),
            ("**", "", true),
            ("/a/*/c", "/a/b/b/c", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_more_than_their_time() {
        let pattern = "*a".repeat(50) + "b";
        assert!(!fits(&pattern, &"a".repeat(2_000)));
    }
}
