//! What a leader's own log may wait for: writes that the others commit without it.
//!
//! A write that is alone goes to the followers at once, and where they are a quorum without their
//! leader it is committed by their word. The leader's own copy is then a matter of some
//! milliseconds: to wake the log's thread for it, and to be woken by its end, costs more than all
//! else that a leader does for such a write. So these are *put off*, and handed over together, at
//! the latest [`AFTER_COMMIT_US`] after the first of them.
//!
//! Nothing is promised by that: the leader's vote is still its own finished write, it is only cast
//! later, and a client's answer still means that a quorum has the write on its disks. Where the
//! others' word does not come quickly, because one of them is slow or far away, the leader's own
//! vote may be the one that is missing. Then the write is handed over [`WITHOUT_COMMIT_US`] after
//! it came, and the next batches are not put off at all: some few after a hiccup, and the more the
//! oftener it happens. An ensemble that always needs its leader's vote waits for it in one write of
//! a thousand.

use oxkeeper_node::Batch;
use oxkeeper_proto::Zxid;

/// How long after the first write that was put off all of them are handed over, if they are
/// committed. Some thirty writes of a client that waits for each; less than a disk takes that is
/// slow.
const AFTER_COMMIT_US: u64 = 10_000;
/// How long after the last one, if that is not committed: the others are slow.
const WITHOUT_COMMIT_US: u64 = 1_000;
/// So many batches are not put off after the others were slow once, and after they were so again
/// and again: twice as many each time, and half with each write that they commit in time.
const AT_ONCE: std::ops::RangeInclusive<u32> = 4..=1024;
/// So many are not put off after one that came while another was under way: writes that come
/// closer than the others answer are a load, and share the leader's syncs as they are.
const AT_ONCE_UNDER_LOAD: u32 = 64;
/// Bytes put off.
const BYTES_MAX: usize = 64 << 10;

/// See the module's essay. Times are the monotonic clock's, in microseconds.
#[derive(Debug, Default)]
pub struct PutOff {
    payloads: Vec<u8>,
    ends: Vec<u32>,
    last_zxid: Zxid,
    first_us: u64,
    last_us: u64,
    /// Batches that are not put off.
    at_once: u32,
    /// So many more when the others are slow again.
    at_once_next: u32,
}

impl PutOff {
    /// Whether nothing is put off.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Takes a batch, with the last transaction that is committed. Gives it back if it is not to
    /// be put off; then [`PutOff::take`] has to be handed over before it.
    pub fn add(&mut self, now_us: u64, committed: Zxid, batch: Batch) -> Result<(), Batch> {
        let under_load = batch.ends.len() > 1 || (!self.is_empty() && self.last_zxid > committed);
        if under_load {
            self.at_once = self.at_once.max(AT_ONCE_UNDER_LOAD);
        }
        if self.at_once > 0 || self.payloads.len() + batch.payloads.len() > BYTES_MAX {
            self.at_once = self.at_once.saturating_sub(1);
            return Err(batch);
        }
        if self.is_empty() {
            self.first_us = now_us;
        } else {
            self.at_once_next /= 2;
        }
        self.last_us = now_us;
        self.last_zxid = batch.last_zxid;
        let before = self.payloads.len() as u32;
        self.ends.extend(batch.ends.iter().map(|end| before + end));
        self.payloads.extend_from_slice(&batch.payloads);
        Ok(())
    }

    /// When what is put off is due, if anything is.
    pub fn due_us(&self, committed: Zxid) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let due_us = self.first_us + AFTER_COMMIT_US;
        match self.last_zxid > committed {
            true => Some(due_us.min(self.last_us + WITHOUT_COMMIT_US)),
            false => Some(due_us),
        }
    }

    /// What is due now: all of it, as one batch.
    pub fn take_due(&mut self, now_us: u64, committed: Zxid) -> Option<Batch> {
        self.due_us(committed).filter(|due_us| *due_us <= now_us)?;
        if self.last_zxid > committed {
            self.at_once = self.at_once_next.clamp(*AT_ONCE.start(), *AT_ONCE.end());
            self.at_once_next = 2 * self.at_once;
        }
        self.take()
    }

    /// All of it, as one batch.
    pub fn take(&mut self) -> Option<Batch> {
        if self.is_empty() {
            return None;
        }
        let payloads = self.payloads.as_slice().to_vec().into();
        let ends = self.ends.as_slice().into();
        self.payloads.clear();
        self.ends.clear();
        Some(Batch { payloads, ends, last_zxid: self.last_zxid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(zxid: i64) -> Batch {
        let payload = zxid.to_be_bytes().to_vec();
        let ends = [payload.len() as u32].as_slice().into();
        Batch { payloads: payload.into(), ends, last_zxid: Zxid(zxid) }
    }

    fn zxids(batch: &Batch) -> Vec<i64> {
        let mut start = 0;
        let mut payload = |end: &u32| {
            let bytes = &batch.payloads[start..*end as usize];
            start = *end as usize;
            i64::from_be_bytes(bytes.try_into().unwrap())
        };
        batch.ends.iter().map(&mut payload).collect()
    }

    #[test]
    fn what_others_commit_is_handed_over_together() {
        let mut put_off = PutOff::default();
        for n in 0..20 {
            let (now_us, zxid) = (500 * n as u64, n + 1);
            assert!(put_off.add(now_us, Zxid(n), batch(zxid)).is_ok(), "{n}");
            assert!(put_off.take_due(now_us + 400, Zxid(zxid)).is_none(), "{n}");
        }
        assert_eq!(put_off.due_us(Zxid(20)), Some(AFTER_COMMIT_US), "of the first");
        let all = put_off.take_due(AFTER_COMMIT_US, Zxid(20)).unwrap();
        assert_eq!(zxids(&all), (1..=20).collect::<Vec<_>>());
        assert_eq!((all.last_zxid, put_off.due_us(Zxid(20))), (Zxid(20), None));
        // The next is put off again, from its own moment on.
        put_off.add(50_000, Zxid(20), batch(21)).unwrap();
        assert_eq!(put_off.due_us(Zxid(21)), Some(50_000 + AFTER_COMMIT_US));
    }

    /// How many batches are not put off before one is, and whether that one was late.
    fn refused(put_off: &mut PutOff, late: bool) -> u32 {
        for refused in 0.. {
            let last = put_off.last_zxid;
            if put_off.add(0, last, batch(last.0 + 1)).is_ok() {
                if late {
                    assert!(put_off.take_due(WITHOUT_COMMIT_US - 1, last).is_none());
                    assert!(put_off.take_due(WITHOUT_COMMIT_US, last).is_some());
                }
                return refused;
            }
        }
        unreachable!("it is put off at some time")
    }

    #[test]
    fn where_the_leader_is_needed_one_write_in_a_thousand_waits_for_it() {
        let mut put_off = PutOff::default();
        let times: Vec<u32> = (0..11).map(|_| refused(&mut put_off, true)).collect();
        assert_eq!(times, [0, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024]);
        // When the others are quick again, a hiccup costs little.
        assert_eq!(refused(&mut put_off, false), 1024);
        (0..20).for_each(|_| assert_eq!(refused(&mut put_off, false), 0));
        assert_eq!((refused(&mut put_off, true), refused(&mut put_off, true)), (0, 4));
    }

    #[test]
    fn a_load_is_not_put_off() {
        let mut put_off = PutOff::default();
        put_off.add(0, Zxid(0), batch(1)).unwrap();
        let second = put_off.add(10, Zxid(0), batch(2)).unwrap_err();
        assert_eq!((zxids(&put_off.take().unwrap()), zxids(&second)), (vec![1], vec![2]));
        for n in 1..i64::from(AT_ONCE_UNDER_LOAD) {
            assert!(put_off.add(1000 * n as u64, Zxid(n), batch(n + 1)).is_err(), "{n}");
        }
        assert!(put_off.add(100_000, Zxid(64), batch(65)).is_ok());
        let mut several = batch(66);
        several.ends = [4, 8].as_slice().into();
        assert!(put_off.add(100_500, Zxid(65), several).is_err(), "they came together");
    }

    #[test]
    fn what_is_put_off_is_bounded() {
        let mut put_off = PutOff::default();
        let large = |zxid| Batch {
            payloads: vec![0; BYTES_MAX / 2].into(),
            ends: [BYTES_MAX as u32 / 2].as_slice().into(),
            last_zxid: Zxid(zxid),
        };
        assert!(put_off.add(0, Zxid(0), large(1)).is_ok());
        assert!(put_off.add(1, Zxid(1), large(2)).is_ok());
        assert!(put_off.add(2, Zxid(2), batch(3)).is_err());
        assert_eq!(put_off.take().unwrap().payloads.len(), BYTES_MAX);
    }
}
