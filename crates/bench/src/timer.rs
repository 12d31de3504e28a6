//! A timer that wakes the event loop to the microsecond.
//!
//! `epoll_wait` counts in milliseconds; at 6,000 requests per second one is due every 167 µs, and a
//! generator that sends them six at a time measures its own bursts. On Linux a timerfd sits in the
//! same poll set; elsewhere the poll timeout has to do, rounded up to its millisecond.

use std::io;
use std::time::Duration;

use mio::{Registry, Token};

/// Wakes a [`mio::Poll`] at a given moment.
pub struct Timer {
    #[cfg(target_os = "linux")]
    fd: std::os::fd::OwnedFd,
}

#[cfg(target_os = "linux")]
impl Timer {
    /// A timer that makes `token` readable in `registry`'s poll.
    ///
    /// # Errors
    /// When the system is out of descriptors.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Timer> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        use std::os::fd::AsRawFd;

        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let mut source = mio::unix::SourceFd(&fd.as_raw_fd());
        registry.register(&mut source, token, mio::Interest::READABLE)?;
        Ok(Timer { fd })
    }

    /// Asks for a wake-up after `wait`.
    ///
    /// # Errors
    /// When the kernel refuses, which it has no reason to.
    pub fn arm(&self, wait: Duration) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        let at = |wait: Duration| Timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: wait.subsec_nanos().into(),
        };
        // A timer set to zero would never fire. Setting one also clears an earlier expiry.
        let value = at(wait.max(Duration::from_nanos(1)));
        let once = Itimerspec { it_interval: at(Duration::ZERO), it_value: value };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// How long a poll may last that the timer is to end after `wait`.
    pub fn poll_wait(wait: Duration) -> Duration {
        wait + Duration::from_millis(100)
    }
}

#[cfg(not(target_os = "linux"))]
impl Timer {
    /// Nothing to set up: the poll's own timeout is used.
    ///
    /// # Errors
    /// Never.
    pub fn new(_: &Registry, _: Token) -> io::Result<Timer> {
        Ok(Timer {})
    }

    /// Nothing to arm.
    ///
    /// # Errors
    /// Never.
    pub fn arm(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    /// How long a poll may last that the timer is to end after `wait`: no longer.
    pub fn poll_wait(wait: Duration) -> Duration {
        wait
    }
}
