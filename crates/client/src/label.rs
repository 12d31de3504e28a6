//! What a request's path was, for an error message.
//!
//! Every request has one and hardly any needs it: a short one is kept where the future is, without
//! an allocation.

/// As long as leaves a label in four words.
const SHORT: usize = 30;

/// A path, to be shown.
#[derive(Debug, Clone)]
pub(crate) enum Label {
    Short(u8, [u8; SHORT]),
    Long(Box<str>),
}

impl Label {
    pub(crate) fn new(path: &str) -> Label {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..path.len()) {
            Some(place) => {
                place.copy_from_slice(path.as_bytes());
                Label::Short(path.len() as u8, bytes)
            }
            None => Label::Long(path.into()),
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Label::Short(len, bytes) => {
                std::str::from_utf8(&bytes[..usize::from(*len)]).unwrap_or_default()
            }
            Label::Long(path) => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_length_is_shown_as_it_was() {
        for len in [0, 1, SHORT - 1, SHORT, SHORT + 1, 300] {
            let path = "/é".repeat(len).chars().take(len).collect::<String>();
            assert_eq!(Label::new(&path).text(), path);
            let ascii = "x".repeat(len);
            assert_eq!(Label::new(&ascii).text(), ascii);
        }
        assert_eq!(size_of::<Label>(), 32);
    }
}
