//! The session's states, for those who follow them.
//!
//! Each follower has its own queue. One that does not fetch loses what lies in the middle, never
//! the newest state.

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll, Waker};

use crate::state::State;

/// States that wait for one follower.
const WAITING_MAX: usize = 64;

#[derive(Debug)]
struct Follower {
    queue: VecDeque<State>,
    waker: Option<Waker>,
}

/// See the module's essay.
#[derive(Debug)]
pub(crate) struct States {
    current: State,
    followers: HashMap<u64, Follower>,
    next: u64,
}

impl States {
    pub(crate) fn new() -> States {
        States { current: State::Connecting, followers: HashMap::new(), next: 0 }
    }

    pub(crate) fn current(&self) -> State {
        self.current
    }

    /// A new follower; the first that it fetches is the state of now.
    pub(crate) fn follow(&mut self) -> u64 {
        self.next += 1;
        let queue = VecDeque::from([self.current]);
        self.followers.insert(self.next, Follower { queue, waker: None });
        self.next
    }

    pub(crate) fn leave(&mut self, follower: u64) {
        self.followers.remove(&follower);
    }

    /// The state changed; adds who is to be woken.
    pub(crate) fn change(&mut self, state: State, wakers: &mut Vec<Waker>) {
        self.current = state;
        for follower in self.followers.values_mut() {
            if follower.queue.len() == WAITING_MAX {
                follower.queue.pop_front();
            }
            follower.queue.push_back(state);
            wakers.extend(follower.waker.take());
        }
    }

    /// The next state; `None` behind the last.
    pub(crate) fn poll(&mut self, follower: u64, cx: &mut Context<'_>) -> Poll<Option<State>> {
        let Some(follower) = self.followers.get_mut(&follower) else { return Poll::Ready(None) };
        match follower.queue.pop_front() {
            Some(state) => Poll::Ready(Some(state)),
            None if self.current.is_over() => Poll::Ready(None),
            None => {
                follower.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_follower_gets_the_state_of_now_and_a_slow_one_always_the_last() {
        let mut states = States::new();
        let slow = states.follow();
        let mut wakers = Vec::new();
        for _ in 0..200 {
            states.change(State::Connecting, &mut wakers);
        }
        states.change(State::Expired, &mut wakers);
        let late = states.follow();
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(states.poll(late, &mut cx), Poll::Ready(Some(State::Expired)));
        assert_eq!(states.poll(late, &mut cx), Poll::Ready(None));
        let mut last = None;
        let mut count = 0;
        while let Poll::Ready(Some(state)) = states.poll(slow, &mut cx) {
            (last, count) = (Some(state), count + 1);
        }
        assert_eq!((last, count), (Some(State::Expired), WAITING_MAX));
    }
}
