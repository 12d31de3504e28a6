//! What of a snapshot file goes to a learner: sessions, access control lists and znodes, byte for
//! byte as they stand in the file (`SerializeUtils.serializeSnapshot`).
//!
//! Where the znodes end is written nowhere but at their end, so the records are walked. No tree is
//! built, and nothing is looked at but lengths.

use oxkeeper_proto::{DecodeError, StatPersisted};

use crate::snapshot::load::{Fields, LoadError, Outcome, SnapshotSource, checked};

/// What a leader sends behind the znodes (`LearnerHandler`), as a string.
pub const SIGNATURE: &[u8; 14] = b"\0\0\0\x0aBenWasHere";

/// Takes the body out of one file, piece by piece.
#[derive(Debug, Default)]
pub struct Body {
    place: Place,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Header,
    Sessions(i32),
    Acls(i32),
    Znodes,
    End,
}

impl Body {
    /// Appends records until there are `enough` bytes in `out` or the body is complete; true then,
    /// and the file has been compared with its first checksum. Nothing is known of what was handed
    /// out before that.
    ///
    /// # Errors
    /// If this is no whole snapshot. What is in `out` is of no use then.
    pub fn copy<S: SnapshotSource>(
        &mut self,
        source: &mut S,
        out: &mut Vec<u8>,
        enough: usize,
    ) -> Outcome<bool, S::Error> {
        let mut fields = Fields { source };
        while out.len() < enough && self.place != Place::End {
            self.place = match self.place {
                Place::Header => {
                    fields.header()?;
                    Place::Sessions(copy_int(&mut fields, out)?)
                }
                Place::Sessions(left) if left > 0 => {
                    out.extend_from_slice(fields.source.next_bytes(SESSION_BYTES)?);
                    Place::Sessions(left - 1)
                }
                Place::Sessions(_) => Place::Acls(copy_int(&mut fields, out)?),
                Place::Acls(left) if left > 0 => {
                    copy_acl(&mut fields, out)?;
                    Place::Acls(left - 1)
                }
                Place::Acls(_) => Place::Znodes,
                Place::Znodes => match copy_znode(&mut fields, out)? {
                    true => Place::Znodes,
                    false => {
                        fields.source.check_seal()?;
                        Place::End
                    }
                },
                Place::End => Place::End,
            };
        }
        Ok(self.place == Place::End)
    }
}

/// An id and a timeout.
const SESSION_BYTES: usize = 8 + 4;
/// The number of a list, and what is always of the same length behind the data.
const FIXED_BYTES: usize = 8 + StatPersisted::BYTES;

fn copy_int<S: SnapshotSource>(
    fields: &mut Fields<'_, S>,
    out: &mut Vec<u8>,
) -> Outcome<i32, S::Error> {
    let value = fields.int()?;
    out.extend_from_slice(&value.to_be_bytes());
    Ok(value)
}

/// A length and so many bytes, and `more` behind them. The length; none for null.
fn copy_bytes<S: SnapshotSource>(
    fields: &mut Fields<'_, S>,
    out: &mut Vec<u8>,
    more: usize,
) -> Outcome<Option<usize>, S::Error> {
    let len = checked(copy_int(fields, out)?)?;
    out.extend_from_slice(fields.source.next_bytes(len.unwrap_or(0) + more)?);
    Ok(len)
}

fn copy_acl<S: SnapshotSource>(
    fields: &mut Fields<'_, S>,
    out: &mut Vec<u8>,
) -> Outcome<(), S::Error> {
    out.extend_from_slice(&fields.long()?.to_be_bytes());
    for _ in 0..copy_int(fields, out)? {
        copy_int(fields, out)?;
        copy_bytes(fields, out, 0)?;
        copy_bytes(fields, out, 0)?;
    }
    Ok(())
}

/// False at the end of the znodes.
fn copy_znode<S: SnapshotSource>(
    fields: &mut Fields<'_, S>,
    out: &mut Vec<u8>,
) -> Outcome<bool, S::Error> {
    match copy_bytes(fields, out, 0)? {
        None => Err(LoadError::Record(DecodeError::NullString)),
        Some(1) if out.ends_with(b"/") => Ok(false),
        Some(_) => copy_bytes(fields, out, FIXED_BYTES).map(|_| true),
    }
}
