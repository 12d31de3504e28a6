//! The four-letter words: read-only commands typed into the client port before any handshake.

/// A four-letter word (`FourLetterCommands`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum AdminWord {
    Conf,
    Cons,
    Crst,
    Dirs,
    Dump,
    Envi,
    Gtmk,
    Hash,
    Isro,
    Mntr,
    Ruok,
    Srst,
    Srvr,
    Stat,
    Stmk,
    Wchc,
    Wchp,
    Wchs,
    /// What `telnet` sends on an interrupt; the connection is closed.
    TelnetClose,
}

impl AdminWord {
    /// All eighteen words, without the telnet interrupt.
    pub const ALL: [AdminWord; 18] = [
        AdminWord::Conf,
        AdminWord::Cons,
        AdminWord::Crst,
        AdminWord::Dirs,
        AdminWord::Dump,
        AdminWord::Envi,
        AdminWord::Gtmk,
        AdminWord::Hash,
        AdminWord::Isro,
        AdminWord::Mntr,
        AdminWord::Ruok,
        AdminWord::Srst,
        AdminWord::Srvr,
        AdminWord::Stat,
        AdminWord::Stmk,
        AdminWord::Wchc,
        AdminWord::Wchp,
        AdminWord::Wchs,
    ];

    /// The word spelled by the first four bytes of a connection, if they spell one.
    pub fn from_bytes(bytes: [u8; 4]) -> Option<AdminWord> {
        if bytes == [0xff, 0xf4, 0xff, 0xfd] {
            return Some(AdminWord::TelnetClose);
        }
        AdminWord::ALL.into_iter().find(|word| word.name().as_bytes() == bytes)
    }

    /// The word as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            AdminWord::Conf => "conf",
            AdminWord::Cons => "cons",
            AdminWord::Crst => "crst",
            AdminWord::Dirs => "dirs",
            AdminWord::Dump => "dump",
            AdminWord::Envi => "envi",
            AdminWord::Gtmk => "gtmk",
            AdminWord::Hash => "hash",
            AdminWord::Isro => "isro",
            AdminWord::Mntr => "mntr",
            AdminWord::Ruok => "ruok",
            AdminWord::Srst => "srst",
            AdminWord::Srvr => "srvr",
            AdminWord::Stat => "stat",
            AdminWord::Stmk => "stmk",
            AdminWord::Wchc => "wchc",
            AdminWord::Wchp => "wchp",
            AdminWord::Wchs => "wchs",
            AdminWord::TelnetClose => "telnet close",
        }
    }

    /// How many bytes follow the word before it can be answered: only `stmk` has an argument.
    pub fn argument_bytes(self) -> usize {
        if self == AdminWord::Stmk { 8 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_by_their_bytes() {
        for word in AdminWord::ALL {
            let bytes = word.name().as_bytes().try_into().unwrap();
            assert_eq!(AdminWord::from_bytes(bytes), Some(word));
        }
        assert_eq!(AdminWord::from_bytes(*b"srvx"), None);
        assert_eq!(AdminWord::from_bytes([0, 0, 0, 44]), None);
    }
}
