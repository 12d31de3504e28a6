//! The known name that a mistyped one most likely meant. A suggestion that is far off confuses
//! more than none, so there is a bound on the number of wrong letters.

/// Names longer than this are no typing mistake, and the comparison is quadratic.
const LONGEST: usize = 100;

/// The closest of `names`, if it is close enough to be worth suggesting: at most two in
/// five letters wrong. Case counts for nothing, since that is the commonest mistake.
pub fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > LONGEST {
        return None;
    }
    let written = written.to_lowercase();
    let allowed = (written.chars().count() * 2 / 5).max(2);
    names
        .map(|name| (distance(&written, &name.to_lowercase()), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= allowed)
        .map(|(_, name)| name)
}

/// Optimal string alignment: letters inserted, dropped, replaced, or swapped with a neighbour.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (row, letter) in a.chars().enumerate() {
        let mut this = vec![row + 1];
        for (column, &other) in b.iter().enumerate() {
            let replaced = above[column] + usize::from(letter != other);
            let mut best = replaced.min(above[column + 1] + 1).min(this[column] + 1);
            if column > 0 && last == Some(other) && letter == b[column - 1] {
                best = best.min(before[column - 1] + 1);
            }
            this.push(best);
        }
        before = std::mem::replace(&mut above, this);
        last = Some(letter);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
            ("tiktime", "ticktime", 1),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn only_near_names_are_suggested() {
        let names = ["tickTime", "dataDir", "dataLogDir", "clientPort"];
        let ask = |written| nearest(written, names.into_iter());
        assert_eq!(ask("tictTime"), Some("tickTime"));
        assert_eq!(ask("datadir"), Some("dataDir"));
        assert_eq!(ask("dataLogDri"), Some("dataLogDir"));
        assert_eq!(ask("heapSize"), None);
        assert_eq!(ask(&"clientPort".repeat(20)), None);
    }
}
