//! What members of ours say beyond Apache's protocol.
//!
//! Who has *capabilities* says so in a trailer behind LearnerInfo or LEADERINFO, which Apache's
//! servers do not look at. Packets of our own go to those alone that have said so, with types far
//! from any that Apache has given out; to everybody else a member of ours is one of Apache's.

use super::PacketKind;
use crate::codec::{DecodeError, Put, Reader};
use crate::ids::{Sid, Zxid};

/// What a member of ours can do beyond Apache's rules, and which ensemble it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// One bit per ability, and from the 32nd on one per need, see the constants. Unknown bits are
    /// ignored.
    pub bits: u64,
    /// A number drawn at random when the ensemble was first formed; 0 if not known yet.
    pub ensemble_id: u128,
}

/// A packet between members of ours. L→ marks what a learner sends, →L what it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ours {
    /// →L The leader gives up leading, and this server leads from now on. To those with
    /// [`Capabilities::LEADER_TRANSFER`].
    Handover {
        /// The last transaction of the epoch: it is committed, and whoever gets this has it.
        zxid: Zxid,
        /// Who leads now.
        successor: Sid,
    },
    /// →L I am here, L→ and so am I, at once. To those with [`Capabilities::QUICK_PING`].
    Pulse {
        /// How often the leader says so, in ms; echoed.
        interval_ms: u32,
    },
    /// →L The number that this ensemble is known by. To those with [`Capabilities::ENSEMBLE_ID`].
    Ensemble {
        /// Never 0.
        id: u128,
    },
    /// →L What this server forgot with its data does not matter any more: it counts again, and may
    /// vote. To those with [`Capabilities::PROBATION`].
    Counted,
}

impl Ours {
    const HANDOVER: PacketKind = PacketKind(0x4f78_4b01);
    const PULSE: PacketKind = PacketKind(0x4f78_4b02);
    const ENSEMBLE: PacketKind = PacketKind(0x4f78_4b03);
    const COUNTED: PacketKind = PacketKind(0x4f78_4b04);

    /// Our name of a type; `None` for those that are not ours.
    pub(super) fn name(kind: PacketKind) -> Option<&'static str> {
        match kind {
            Ours::HANDOVER => Some("HANDOVER"),
            Ours::PULSE => Some("PULSE"),
            Ours::ENSEMBLE => Some("ENSEMBLE"),
            Ours::COUNTED => Some("COUNTED"),
            _ => None,
        }
    }

    /// The packet's type.
    pub fn kind(self) -> PacketKind {
        match self {
            Ours::Handover { .. } => Ours::HANDOVER,
            Ours::Pulse { .. } => Ours::PULSE,
            Ours::Ensemble { .. } => Ours::ENSEMBLE,
            Ours::Counted => Ours::COUNTED,
        }
    }

    pub(super) fn zxid(self) -> Zxid {
        match self {
            Ours::Handover { zxid, .. } => zxid,
            Ours::Pulse { .. } | Ours::Ensemble { .. } | Ours::Counted => Zxid(-1),
        }
    }

    pub(super) fn encode_data(self, out: &mut Vec<u8>) {
        match self {
            Ours::Handover { successor, .. } => out.put_buffer(Some(&successor.0.to_be_bytes())),
            Ours::Pulse { interval_ms } => out.put_buffer(Some(&interval_ms.to_be_bytes())),
            Ours::Ensemble { id } => out.put_buffer(Some(&id.to_be_bytes())),
            Ours::Counted => out.put_buffer(None),
        }
    }

    /// `None` if the type is not ours, or one that only later versions know.
    pub(super) fn decode(
        kind: PacketKind,
        zxid: Zxid,
        data: &mut Reader<'_>,
    ) -> Result<Option<Ours>, DecodeError> {
        Ok(match kind {
            Ours::HANDOVER => Some(Ours::Handover { zxid, successor: Sid(data.i64()?) }),
            Ours::PULSE => Some(Ours::Pulse { interval_ms: data.i32()?.cast_unsigned() }),
            Ours::ENSEMBLE => {
                let (high, low) = (data.i64()?.cast_unsigned(), data.i64()?.cast_unsigned());
                Some(Ours::Ensemble { id: u128::from(high) << 64 | u128::from(low) })
            }
            Ours::COUNTED => Some(Ours::Counted),
            _ => None,
        })
    }
}

impl Capabilities {
    /// Can be handed the leadership while the old leader still lives.
    pub const LEADER_TRANSFER: u64 = 1;
    /// Answers pings at once, so that silence may be judged by a shorter measure than syncLimit.
    pub const QUICK_PING: u64 = 1 << 1;
    /// Keeps the number of its ensemble.
    pub const ENSEMBLE_ID: u64 = 1 << 2;
    /// An ACK speaks for every proposal before it, and a COMMIT too.
    pub const CUMULATIVE: u64 = 1 << 3;
    /// Knows of members that have lost their data, and count for nothing until what they have
    /// forgotten does not matter any more.
    pub const PROBATION: u64 = 1 << 4;

    /// Of a learner, no ability: it has lost its data and counts for nothing.
    pub const NO_VOICE: u64 = 1 << 32;
    /// Of a learner, no ability: it cannot go back as far as its leader wants it to, and needs the
    /// leader's snapshot.
    pub const WANTS_SNAPSHOT: u64 = 1 << 33;

    const MAGIC: [u8; 4] = *b"OxKp";
    const VERSION: u16 = 1;
    const BODY_BYTES: usize = 24;
    /// What [`Capabilities::encode`] writes: magic, version, length, body, checksum.
    pub const BYTES: usize = 8 + Self::BODY_BYTES + 4;

    /// Whether every one of these bits is set.
    pub fn has(self, bits: u64) -> bool {
        self.bits & bits == bits
    }

    /// False if both know their ensemble and it is not the same one.
    pub fn may_share_ensemble(self, other: Capabilities) -> bool {
        self.ensemble_id == 0 || other.ensemble_id == 0 || self.ensemble_id == other.ensemble_id
    }

    /// Appends the trailer.
    pub fn encode(self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&Self::MAGIC);
        out.extend_from_slice(&Self::VERSION.to_be_bytes());
        out.extend_from_slice(&(Self::BODY_BYTES as u16).to_be_bytes());
        out.extend_from_slice(&self.bits.to_be_bytes());
        out.extend_from_slice(&self.ensemble_id.to_be_bytes());
        let checksum = crc32(&out[start..]);
        out.extend_from_slice(&checksum.to_be_bytes());
    }

    /// Reads the trailer; `None` if there is none, or anything that is not whole and sound: then
    /// the other one is treated as Apache's. Later versions only add to the body, and what they add
    /// is skipped here.
    pub fn from_trailing(bytes: &[u8]) -> Option<Capabilities> {
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        let [m0, m1, m2, m3, _, _, l0, l1] = *head;
        let body_bytes = usize::from(u16::from_be_bytes([l0, l1]));
        if [m0, m1, m2, m3] != Self::MAGIC || body_bytes < Self::BODY_BYTES {
            return None;
        }
        let (body, rest) = rest.split_at_checked(body_bytes)?;
        let checksum = u32::from_be_bytes(*rest.first_chunk()?);
        if checksum != crc32(&bytes[..8 + body_bytes]) {
            return None;
        }
        let (bits, body) = body.split_first_chunk()?;
        let ensemble_id = body.first_chunk()?;
        Some(Capabilities {
            bits: u64::from_be_bytes(*bits),
            ensemble_id: u128::from_be_bytes(*ensemble_id),
        })
    }
}

/// CRC-32 as in Ethernet and zlib, bit by bit: forty bytes per connection need no table.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FIELD_BYTES_MAX_DEFAULT as MAX;
    use crate::packet::{LearnerInfo, Packet};
    use crate::stream::Split;

    fn only(bytes: &[u8]) -> Packet<'_> {
        let (packet, rest) = Packet::split(bytes, MAX).unwrap().whole().expect("whole");
        assert!(rest.is_empty());
        packet
    }

    #[test]
    fn packets_of_ours_are_laid_out_as_other_members_expect_them() {
        let null = "ffffffff";
        for (ours, hex) in [
            (
                Ours::Handover { zxid: Zxid(0x2_0000_0007), successor: Sid(3) },
                format!("4f784b010000000200000007000000080000000000000003{null}"),
            ),
            (
                Ours::Pulse { interval_ms: 250 },
                format!("4f784b02ffffffffffffffff00000004000000fa{null}"),
            ),
            (
                Ours::Ensemble { id: 1 << 64 | 0xab },
                format!("4f784b03ffffffffffffffff00000010000000000000000100000000000000ab{null}"),
            ),
            (Ours::Counted, format!("4f784b04ffffffffffffffff{null}{null}")),
        ] {
            let mut out = Vec::new();
            Packet::Ours(ours).encode(&mut out);
            assert_eq!(out.iter().map(|b| format!("{b:02x}")).collect::<String>(), hex);
            assert_eq!(only(&out), Packet::Ours(ours));
            for cut in 0..out.len() {
                assert!(matches!(Packet::split(&out[..cut], MAX), Ok(Split::Incomplete { .. })));
            }
        }
    }

    #[test]
    fn numbers_of_ours_are_far_from_apaches() {
        for kind in [Ours::HANDOVER, Ours::PULSE, Ours::ENSEMBLE, Ours::COUNTED] {
            assert!(PacketKind::ALL.iter().all(|theirs| kind.0 > theirs.0 + 1_000_000));
            assert!(kind.name().is_some());
        }
        // One that a later version of ours may have is kept as any other unknown type is.
        let mut later = 0x4f78_4b7f_i32.to_be_bytes().to_vec();
        later.extend_from_slice(&[0; 16]);
        assert!(matches!(only(&later), Packet::Unknown { .. }));
    }

    #[test]
    fn a_packet_of_ours_that_is_too_short_is_an_error() {
        for (kind, least) in [(Ours::HANDOVER, 8), (Ours::PULSE, 4), (Ours::ENSEMBLE, 16)] {
            for len in [0, 1, least - 1, least] {
                let mut bytes = kind.0.to_be_bytes().to_vec();
                bytes.put_long(7);
                bytes.put_buffer(Some(&[1; 16][..len]));
                bytes.put_int(-1);
                assert_eq!(Packet::split(&bytes, MAX).is_ok(), len == least, "{kind} of {len}");
            }
        }
    }

    #[test]
    fn trailing_bytes_carry_what_ours_can_do() {
        let ours = Capabilities { bits: Capabilities::LEADER_TRANSFER, ensemble_id: 77 };
        let mut trailing = Vec::new();
        ours.encode(&mut trailing);
        assert_eq!(trailing.len(), Capabilities::BYTES);
        let info = LearnerInfo {
            sid: Sid(2),
            protocol_version: 0x10000,
            config_version: 0,
            trailing: &trailing,
        };
        let mut bytes = Vec::new();
        Packet::FollowerInfo { zxid: Zxid::ZERO, info }.encode(&mut bytes);
        let Packet::FollowerInfo { info, .. } = only(&bytes) else { panic!() };
        assert_eq!(Capabilities::from_trailing(info.trailing), Some(ours));
        assert_eq!(Capabilities::from_trailing(b""), None, "from Apache's");
    }

    #[test]
    fn the_trailer_is_laid_out_as_other_members_expect_it() {
        // These very bytes were shown to leaders and followers of Apache's, 3.5.10 to 3.9.5.
        let mut out = Vec::new();
        Capabilities { bits: 3, ensemble_id: 77 }.encode(&mut out);
        let hex: String = out.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "4f784b700001001800000000000000030000000000000000000000000000004da5d38c0b");
    }

    #[test]
    fn a_damaged_trailer_is_none() {
        let mut trailing = Vec::new();
        Capabilities { bits: 3, ensemble_id: u128::MAX }.encode(&mut trailing);
        for bit in 0..trailing.len() * 8 {
            let mut damaged = trailing.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Capabilities::from_trailing(&damaged), None, "bit {bit}");
            assert_eq!(Capabilities::from_trailing(&trailing[..bit / 8]), None, "cut");
        }
    }

    #[test]
    fn a_later_trailer_may_be_longer() {
        let mut trailing = Vec::new();
        Capabilities { bits: 1 << 63 | 1, ensemble_id: 5 }.encode(&mut trailing);
        trailing.truncate(trailing.len() - 4);
        trailing[4..8].copy_from_slice(&[0, 2, 0, 27]);
        trailing.extend_from_slice(b"new");
        let checksum = crc32(&trailing);
        trailing.extend_from_slice(&checksum.to_be_bytes());
        trailing.extend_from_slice(b"and whatever comes behind it");
        let read = Capabilities::from_trailing(&trailing).expect("a sound trailer");
        assert!(read.has(Capabilities::LEADER_TRANSFER) && !read.has(Capabilities::QUICK_PING));
        assert_eq!(read.ensemble_id, 5);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926, "the polynomial's check value");
    }

    #[test]
    fn ensembles_are_told_apart_only_when_both_are_known() {
        let of = |ensemble_id| Capabilities { bits: 0, ensemble_id };
        assert!(of(0).may_share_ensemble(of(1)) && of(1).may_share_ensemble(of(0)));
        assert!(of(1).may_share_ensemble(of(1)) && !of(1).may_share_ensemble(of(2)));
    }
}
