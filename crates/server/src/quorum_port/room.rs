//! The waiting room: who has connected before it is known whether we lead.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Connections in it; one more, and the first has to go.
pub(super) const PLACES: usize = 100;
/// How long one may stay. An election that both sides take part in differs by less; who is sent
/// away looks again.
const STAY: Duration = Duration::from_secs(1);

/// Connections that nobody reads.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// With the end of their time, which is that of their coming.
    waiting: RefCell<VecDeque<(Instant, TcpStream, SocketAddr)>>,
    entered: Notify,
}

impl Room {
    /// Lets somebody in.
    pub(super) fn enter(&self, stream: TcpStream, from: SocketAddr) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= PLACES {
            waiting.pop_front();
        }
        waiting.push_back((Instant::now() + STAY, stream, from));
        self.entered.notify_one();
    }

    /// Sends away whoever has been here for too long.
    pub(super) async fn keep(&self) -> Infallible {
        loop {
            let until = self.waiting.borrow().front().map(|(until, ..)| *until);
            match until {
                Some(until) => {
                    tokio::time::sleep_until(until).await;
                    let now = Instant::now();
                    self.waiting.borrow_mut().retain(|(until, ..)| *until > now);
                }
                None => self.entered.notified().await,
            }
        }
    }

    /// Everybody, in the order in which they came.
    pub(super) fn empty(&self) -> impl Iterator<Item = (TcpStream, SocketAddr)> + use<> {
        self.waiting.take().into_iter().map(|(_, stream, from)| (stream, from))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn one_more_than_there_is_room_for_sends_the_first_away() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            // Nobody looks at the time here.
            let room = Room::default();
            let mut visitors = Vec::new();
            for entered in 0..=PLACES {
                assert_eq!(room.waiting.borrow().len(), entered);
                visitors.push(std::net::TcpStream::connect(at).unwrap());
                let (stream, from) = listener.accept().await.unwrap();
                room.enter(stream, from);
            }
            let here: Vec<SocketAddr> = room.empty().map(|(_, from)| from).collect();
            let came: Vec<SocketAddr> =
                visitors.iter().map(|visitor| visitor.local_addr().unwrap()).collect();
            assert_eq!(here, came[1..]);
            assert_eq!(visitors[0].read(&mut [0]).unwrap(), 0, "hung up on");
        });
    }
}
