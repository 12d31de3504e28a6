//! Handshakes are let in at a bounded rate (`BlueThrottle`): a bucket of tokens, and above it an
//! optional chance to be dropped that rises while the bucket is empty.

use crate::messages::Now;

/// The throttle's settings, `zookeeper.connection_throttle_*`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThrottleSettings {
    /// Size of the bucket; 0 turns the throttle off.
    pub tokens: u32,
    /// Milliseconds after which tokens come back.
    pub fill_time_ms: u32,
    /// Tokens that come back then.
    pub fill_count: u32,
    /// Milliseconds between changes of the chance to be dropped, `None` for no dropping.
    pub freeze_time_ms: Option<u32>,
    /// Growth of the chance while the bucket is empty.
    pub drop_increase: f64,
    /// Its fall while little of the bucket is used.
    pub drop_decrease: f64,
    /// The share of the bucket that counts as little.
    pub decrease_ratio: f64,
    /// Tokens for a new session.
    pub new_weight: u32,
    /// Tokens for a renewed one.
    pub renew_weight: u32,
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        ThrottleSettings {
            tokens: 0,
            fill_time_ms: 1,
            fill_count: 1,
            freeze_time_ms: None,
            drop_increase: 0.02,
            drop_decrease: 0.002,
            decrease_ratio: 0.0,
            new_weight: 1,
            renew_weight: 1,
        }
    }
}

/// The bucket.
#[derive(Debug)]
pub(super) struct ConnectionThrottle {
    settings: ThrottleSettings,
    tokens: u64,
    filled_ms: u64,
    frozen_ms: u64,
    drop: f64,
    random: u64,
}

impl ConnectionThrottle {
    pub fn new(settings: ThrottleSettings, seed: u64, now: Now) -> Self {
        ConnectionThrottle {
            settings,
            tokens: u64::from(settings.tokens),
            filled_ms: now.mono_ms(),
            frozen_ms: now.mono_ms(),
            drop: 0.0,
            random: seed | 1,
        }
    }

    /// The chance that a handshake is dropped now.
    pub fn drop_chance(&self) -> f64 {
        self.drop
    }

    /// Tokens missing to a full bucket.
    pub fn deficit(&self) -> u64 {
        u64::from(self.settings.tokens) - self.tokens
    }

    /// Whether a handshake may go on; takes its tokens if so.
    pub fn admit(&mut self, now: Now, renews: bool) -> bool {
        let settings = self.settings;
        if settings.tokens == 0 {
            return true;
        }
        let now_ms = now.mono_ms();
        let passed = now_ms - self.filled_ms;
        let fill_time = u64::from(settings.fill_time_ms.max(1));
        if passed > fill_time {
            let refill = passed.saturating_mul(u64::from(settings.fill_count)) / fill_time;
            self.tokens = self.tokens.saturating_add(refill).min(u64::from(settings.tokens));
            self.filled_ms = now_ms;
        }
        if let Some(freeze_ms) = settings.freeze_time_ms
            && !self.survives(now_ms, u64::from(freeze_ms))
        {
            return false;
        }
        let weight = if renews { settings.renew_weight } else { settings.new_weight };
        match self.tokens.checked_sub(u64::from(weight)) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    fn survives(&mut self, now_ms: u64, freeze_ms: u64) -> bool {
        let limit = self.settings.tokens;
        let used = u64::from(limit) - self.tokens;
        if now_ms - self.frozen_ms > freeze_ms {
            self.frozen_ms = now_ms;
            let little = (f64::from(limit) * self.settings.decrease_ratio).round();
            if used == u64::from(limit) && self.drop < 1.0 {
                self.drop = (self.drop + self.settings.drop_increase).min(1.0);
            } else if used as f64 <= little && self.drop > 0.0 {
                self.drop = (self.drop - self.settings.drop_decrease).max(0.0);
            }
        }
        self.draw() >= self.drop
    }

    /// A number from 0 up to, but not, 1.
    fn draw(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { mono_us: ms * 1000, wall_ms: 0 }
    }

    #[test]
    fn off_by_default() {
        let mut throttle = ConnectionThrottle::new(ThrottleSettings::default(), 1, at(0));
        assert!((0..1000).all(|_| throttle.admit(at(0), false)));
    }

    #[test]
    fn the_bucket_empties_and_fills() {
        let settings = ThrottleSettings {
            tokens: 6,
            fill_time_ms: 10,
            fill_count: 3,
            new_weight: 3,
            renew_weight: 2,
            ..Default::default()
        };
        let mut throttle = ConnectionThrottle::new(settings, 1, at(0));
        assert!(throttle.admit(at(0), false));
        assert!(throttle.admit(at(0), true));
        assert!(!throttle.admit(at(5), true));
        assert!(throttle.admit(at(11), false));
        assert!(!throttle.admit(at(11), false));
    }

    #[test]
    fn an_empty_bucket_raises_the_chance_to_be_dropped() {
        let settings = ThrottleSettings {
            tokens: 1,
            fill_time_ms: 1_000_000,
            freeze_time_ms: Some(1),
            drop_increase: 0.5,
            ..Default::default()
        };
        let mut throttle = ConnectionThrottle::new(settings, 1, at(0));
        assert!(throttle.admit(at(0), false));
        for ms in [10, 20, 30] {
            throttle.admit(at(ms), false);
        }
        assert_eq!(throttle.drop_chance(), 1.0);
    }
}
