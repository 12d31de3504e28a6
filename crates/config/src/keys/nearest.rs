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
    let written = written.as_bytes().to_ascii_lowercase();
    // How many wrong letters still make a better suggestion than the best so far.
    let mut most = (written.len() * 2 / 5).max(2);
    let mut best = None;
    for name in names {
        if name.len().abs_diff(written.len()) > most {
            continue;
        }
        if let Some(distance) = distance(&written, &name.as_bytes().to_ascii_lowercase(), most) {
            best = Some(name);
            if distance == 0 {
                break;
            }
            most = distance - 1;
        }
    }
    best
}

/// Optimal string alignment: letters inserted, dropped, replaced, or swapped with a neighbour.
/// `None` as soon as it is sure to be more than `most`.
fn distance(a: &[u8], b: &[u8], most: usize) -> Option<usize> {
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut this = before.clone();
    for row in 1..=a.len() {
        this[0] = row;
        for column in 1..=b.len() {
            let replaced = above[column - 1] + usize::from(a[row - 1] != b[column - 1]);
            let mut best = replaced.min(above[column] + 1).min(this[column - 1] + 1);
            let swapped = |row: usize, column: usize| {
                a[row - 1] == b[column - 2] && a[row - 2] == b[column - 1]
            };
            if row > 1 && column > 1 && swapped(row, column) {
                best = best.min(before[column - 2] + 1);
            }
            this[column] = best;
        }
        // What follows is built on these two rows, and nothing gets smaller on the way.
        if this.iter().chain(&above).all(|&distance| distance > most) {
            return None;
        }
        std::mem::swap(&mut before, &mut above);
        std::mem::swap(&mut above, &mut this);
    }
    Some(above[b.len()]).filter(|&distance| distance <= most)
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
            ("abcd", "badc", 2),
            ("kitten", "sitting", 3),
            ("tiktime", "ticktime", 1),
        ] {
            let ask = |most| distance(a.as_bytes(), b.as_bytes(), most);
            assert_eq!(ask(9), Some(expected), "{a} {b}");
            assert_eq!(ask(expected), Some(expected), "{a} {b}");
            assert!(expected == 0 || ask(expected - 1).is_none(), "{a} {b}");
        }
    }

    #[test]
    fn only_near_names_are_suggested() {
        let names = ["tickTime", "dataDir", "dataLogDir", "clientPort"];
        let ask = |written| nearest(written, names.into_iter());
        assert_eq!(ask("tictTime"), Some("tickTime"));
        assert_eq!(ask("datadir"), Some("dataDir"));
        assert_eq!(ask("dataLogDri"), Some("dataLogDir"));
        assert_eq!(ask("datalogdir"), Some("dataLogDir"));
        assert_eq!(ask("heapSize"), None);
        assert_eq!(ask(&"clientPort".repeat(20)), None);
    }
}
