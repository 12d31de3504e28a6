//! ACLs as they are typed and printed: `scheme:id:perms`, several with commas between.

use oxkeeper_client::Acl;
use serde_json::{Value, json};

/// Permission letters in the order in which they are printed, with their bits.
const LETTERS: [(char, i32); 5] = [('c', 4), ('d', 8), ('r', 1), ('w', 2), ('a', 16)];

/// Reads a list. What cannot be read is left out, and told as ZooKeeper's shell tells it; a list
/// of which nothing remains is for the server to refuse.
pub fn parse(text: &str) -> (Vec<Acl>, Vec<String>) {
    let mut complaints = Vec::new();
    let mut list = Vec::new();
    // As Java splits: nothing follows the last comma.
    for entry in text.trim_end_matches(',').split(',') {
        match (entry.find(':'), entry.rfind(':')) {
            (Some(first), Some(last)) if first != last => {
                let mut perms = 0;
                for letter in entry[last + 1..].chars() {
                    match LETTERS.iter().find(|(known, _)| *known == letter) {
                        Some((_, bit)) => perms |= bit,
                        None => complaints.push(format!("Unknown perm type: {letter}")),
                    }
                }
                list.push(entry_of(perms, &entry[..first], &entry[first + 1..last]));
            }
            _ => complaints.push(format!("{entry} does not have the form scheme:id:perm")),
        }
    }
    (list, complaints)
}

/// An entry of owned parts.
pub fn entry_of(perms: i32, scheme: &str, id: &str) -> Acl {
    Acl { perms, scheme: Some(scheme.to_owned().into()), id: Some(id.to_owned().into()) }
}

/// `world:anyone:cdrwa`: what a znode has if nothing else is said.
pub fn open() -> Vec<Acl> {
    vec![entry_of(31, "world", "anyone")]
}

/// The letters of permission bits.
pub fn letters(perms: i32) -> String {
    LETTERS.iter().filter(|(_, bit)| perms & bit != 0).map(|(letter, _)| letter).collect()
}

/// The bits of permission letters, `None` if one is none.
pub fn bits(letters: &str) -> Option<i32> {
    letters.chars().try_fold(0, |perms, letter| {
        let (_, bit) = LETTERS.iter().find(|(known, _)| *known == letter)?;
        Some(perms | bit)
    })
}

/// As `getAcl` prints it: two lines.
pub fn lines(acl: &Acl) -> [String; 2] {
    [format!("'{},'{}", scheme(acl), id(acl)), format!(": {}", letters(acl.perms))]
}

/// For programs.
pub fn json(acl: &Acl) -> Value {
    json!({"scheme": scheme(acl), "id": id(acl), "perms": letters(acl.perms)})
}

/// What [`json()`] made.
pub fn from_json(value: &Value) -> Option<Acl> {
    let text = |key: &str| value.get(key)?.as_str();
    Some(entry_of(bits(text("perms")?)?, text("scheme")?, text("id")?))
}

/// As it is typed.
pub fn typed(acl: &[Acl]) -> String {
    let entries: Vec<String> = acl
        .iter()
        .map(|acl| format!("{}:{}:{}", scheme(acl), id(acl), letters(acl.perms)))
        .collect();
    entries.join(",")
}

/// Whether two lists say the same. Their order means nothing.
pub fn same(one: &[Acl], other: &[Acl]) -> bool {
    let sorted = |list: &[Acl]| {
        let mut entries: Vec<_> = list
            .iter()
            .map(|acl| (scheme(acl).to_owned(), id(acl).to_owned(), acl.perms))
            .collect();
        entries.sort();
        entries
    };
    sorted(one) == sorted(other)
}

fn scheme(acl: &Acl) -> &str {
    acl.scheme.as_deref().unwrap_or_default()
}

fn id(acl: &Acl) -> &str {
    acl.id.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_as_it_is_printed() {
        let text = "world:anyone:r,digest:u:hash=:cdrwa,ip:127.0.0.1:";
        let (list, complaints) = parse(text);
        assert_eq!((typed(&list).as_str(), complaints.len()), (text, 0));
        assert_eq!(lines(&list[1]), ["'digest,'u:hash=", ": cdrwa"]);
        for acl in &list {
            assert_eq!(from_json(&json(acl)).as_ref(), Some(acl));
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_told() {
        let (list, complaints) = parse("world:anyone:rq,bad");
        assert_eq!(typed(&list), "world:anyone:r");
        let expected = ["Unknown perm type: q", "bad does not have the form scheme:id:perm"];
        assert_eq!(complaints, expected);
    }

    #[test]
    fn the_order_of_entries_does_not_matter() {
        let (one, _) = parse("world:anyone:r,ip:127.0.0.1:w");
        let (other, _) = parse("ip:127.0.0.1:w,world:anyone:r");
        assert!(same(&one, &other));
        assert!(!same(&one, &one[..1]));
    }
}
