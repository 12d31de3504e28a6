//! Wires between parties: what TCP promises, and nothing more.
//!
//! A wire is two pipes of bytes, one each way. A pipe delivers in order, later than it was given,
//! in pieces of its own choosing. It can stall, which loses nothing; it can break, which loses the
//! tail of what was under way; and a party can vanish without a word, so that the other end learns
//! of it only by its own timeout. Cuts are between parties and directed: a message may pass one way
//! and its answer not the other. What is held up by a cut is delivered when it heals.

use std::collections::{BTreeSet, VecDeque};

use crate::agenda::{Agenda, Event, MS, Micros};
use crate::dice::Dice;

/// Who may hold an end of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// The client with this number.
    Client(usize),
    /// The server with this number.
    Server(usize),
}

/// What a wire is for: the port that was dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// Clients and servers.
    Client,
    /// Learners and their leader.
    Quorum,
    /// Servers that tell each other whom they vote for.
    Election,
}

/// One wire. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WireId(pub usize);

/// Which end of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Whoever dialled.
    Dialler,
    /// Whoever was dialled.
    Listener,
}

impl End {
    /// The opposite one.
    pub fn other(self) -> End {
        match self {
            End::Dialler => End::Listener,
            End::Listener => End::Dialler,
        }
    }
}

/// What arrives.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The wire itself: its dialler has reached the listener.
    Opened,
    /// The listener has taken it: see [`Net::accept`].
    Accepted,
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nothing more will come: the other end closed it, or it broke.
    Closed,
}

#[derive(Debug)]
enum Item {
    Open,
    Accept,
    Bytes(Vec<u8>),
    End,
}

#[derive(Debug, Default)]
struct Pipe {
    items: VecDeque<(Micros, Item)>,
    last_due: Micros,
    /// The receiving end takes nothing any more.
    deaf: bool,
}

#[derive(Debug)]
struct Wire {
    dialler: Party,
    listener: Party,
    port: Port,
    /// Towards the dialler and towards the listener.
    pipes: [Pipe; 2],
}

impl Wire {
    fn party(&self, end: End) -> Party {
        match end {
            End::Dialler => self.dialler,
            End::Listener => self.listener,
        }
    }

    fn towards(&mut self, end: End) -> &mut Pipe {
        &mut self.pipes[end as usize]
    }
}

/// How long a piece is under way.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// At least so long.
    pub min_us: Micros,
    /// Usually at most so long.
    pub max_us: Micros,
    /// Once in so many pieces ten times as long.
    pub slow_once_in: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Latency { min_us: 50, max_us: 2 * MS, slow_once_in: 40 }
    }
}

/// All wires.
#[derive(Debug)]
pub struct Net {
    wires: Vec<Wire>,
    cuts: BTreeSet<(Party, Party)>,
    /// How long pieces are under way from now on.
    pub latency: Latency,
    dice: Dice,
}

impl Net {
    /// No wires yet.
    pub fn new(seed: u64) -> Net {
        let latency = Latency::default();
        let dice = Dice::fork(seed, "net");
        Net { wires: Vec::new(), cuts: BTreeSet::new(), latency, dice }
    }

    /// Dials the client port. The listener hears of it in its time.
    pub fn dial(&mut self, agenda: &mut Agenda, from: Party, to: Party) -> WireId {
        self.dial_port(agenda, from, to, Port::Client)
    }

    /// Dials any port.
    pub fn dial_port(&mut self, agenda: &mut Agenda, from: Party, to: Party, port: Port) -> WireId {
        let wire = WireId(self.wires.len());
        self.wires.push(Wire { dialler: from, listener: to, port, pipes: Default::default() });
        self.put(agenda, wire, End::Listener, Item::Open);
        wire
    }

    /// The listener takes a wire that has reached it, for diallers that wait for that.
    pub fn accept(&mut self, agenda: &mut Agenda, wire: WireId) {
        self.put(agenda, wire, End::Dialler, Item::Accept);
    }

    /// Which port was dialled.
    pub fn port(&self, wire: WireId) -> Port {
        self.wires[wire.0].port
    }

    /// Sends bytes from one end.
    pub fn send(&mut self, agenda: &mut Agenda, wire: WireId, from: End, bytes: &[u8]) {
        let to = from.other();
        // A stream has no frames: now and then what was written at once arrives in two pieces.
        let cut = match self.dice.one_in(6) {
            true => self.dice.below(bytes.len() as u64) as usize,
            false => 0,
        };
        for piece in [&bytes[..cut], &bytes[cut..]] {
            if !piece.is_empty() {
                self.put(agenda, wire, to, Item::Bytes(piece.to_vec()));
            }
        }
    }

    /// One end closes: the other gets what was sent, then the end. This end hears nothing more.
    pub fn close(&mut self, agenda: &mut Agenda, wire: WireId, from: End) {
        self.put(agenda, wire, from.other(), Item::End);
        self.silence(wire, from);
    }

    /// The wire breaks: what is under way is lost, both ends are told.
    pub fn break_wire(&mut self, agenda: &mut Agenda, wire: WireId) {
        for end in [End::Dialler, End::Listener] {
            self.wires[wire.0].towards(end).items.clear();
            self.put(agenda, wire, end, Item::End);
        }
    }

    /// One end vanishes without a word: what it sent is lost, the other end is told nothing.
    pub fn vanish(&mut self, wire: WireId, end: End) {
        self.wires[wire.0].towards(end.other()).items.clear();
        self.silence(wire, end);
    }

    /// One end forgets the wire: what it sent is lost. What still comes there is somebody else's to
    /// answer.
    pub fn orphan(&mut self, wire: WireId, end: End) {
        self.wires[wire.0].towards(end.other()).items.clear();
    }

    /// Stops everything from one party to another until [`Net::heal`].
    pub fn cut(&mut self, from: Party, to: Party) {
        self.cuts.insert((from, to));
    }

    /// Ends all cuts; what they held up is on its way again.
    pub fn heal(&mut self, agenda: &mut Agenda) {
        self.cuts.clear();
        for (index, wire) in self.wires.iter().enumerate() {
            for to in [End::Dialler, End::Listener] {
                for _ in &wire.pipes[to as usize].items {
                    agenda.plan(0, Event::Arrival { wire: WireId(index), to });
                }
            }
        }
    }

    /// Who holds the other end.
    pub fn peer(&self, wire: WireId, end: End) -> Party {
        self.wires[wire.0].party(end.other())
    }

    /// Who holds this end.
    pub fn holder(&self, wire: WireId, end: End) -> Party {
        self.wires[wire.0].party(end)
    }

    /// Takes the next thing that has arrived at an end, if it has and nothing holds it up.
    pub fn take(&mut self, now: Micros, wire: WireId, to: End) -> Option<Delivery> {
        let whole = &mut self.wires[wire.0];
        if self.cuts.contains(&(whole.party(to.other()), whole.party(to))) {
            return None;
        }
        let pipe = whole.towards(to);
        if pipe.items.front()?.0 > now {
            return None;
        }
        let (_, item) = pipe.items.pop_front()?;
        Some(match item {
            Item::Open => Delivery::Opened,
            Item::Accept => Delivery::Accepted,
            Item::Bytes(bytes) => Delivery::Bytes(bytes),
            Item::End => {
                pipe.deaf = true;
                pipe.items.clear();
                Delivery::Closed
            }
        })
    }

    fn silence(&mut self, wire: WireId, end: End) {
        let pipe = self.wires[wire.0].towards(end);
        pipe.deaf = true;
        pipe.items.clear();
    }

    fn put(&mut self, agenda: &mut Agenda, wire: WireId, to: End, item: Item) {
        let Latency { min_us, max_us, slow_once_in } = self.latency;
        let mut delay = self.dice.between(min_us, max_us);
        if self.dice.one_in(slow_once_in) {
            delay *= 10;
        }
        let pipe = self.wires[wire.0].towards(to);
        if pipe.deaf {
            return;
        }
        let due = pipe.last_due.max(agenda.now() + delay);
        pipe.last_due = due;
        pipe.items.push_back((due, item));
        agenda.plan_at(due, Event::Arrival { wire, to });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Party = Party::Client(0);
    const B: Party = Party::Server(0);

    /// Everything that arrives within a second, by end.
    fn run(net: &mut Net, agenda: &mut Agenda) -> Vec<(End, Delivery)> {
        let mut all = Vec::new();
        let until = agenda.now() + crate::agenda::SECOND;
        while let Some(event) = agenda.next(until) {
            let Event::Arrival { wire, to } = event else { panic!("{event:?}") };
            all.extend(net.take(agenda.now(), wire, to).map(|delivery| (to, delivery)));
        }
        all
    }

    fn bytes_at(end: End, all: &[(End, Delivery)]) -> Vec<u8> {
        let pieces = all.iter().filter(|(to, _)| *to == end);
        pieces
            .filter_map(|(_, delivery)| match delivery {
                Delivery::Bytes(bytes) => Some(&bytes[..]),
                Delivery::Opened | Delivery::Accepted | Delivery::Closed => None,
            })
            .flatten()
            .copied()
            .collect()
    }

    #[test]
    fn bytes_arrive_in_order_and_then_the_end() {
        let (mut net, mut agenda) = (Net::new(1), Agenda::default());
        let wire = net.dial(&mut agenda, A, B);
        let sent: Vec<u8> = (0..200).collect();
        sent.chunks(7).for_each(|part| net.send(&mut agenda, wire, End::Dialler, part));
        net.close(&mut agenda, wire, End::Dialler);
        net.send(&mut agenda, wire, End::Listener, b"unheard");
        let all = run(&mut net, &mut agenda);
        assert_eq!(all[0], (End::Listener, Delivery::Opened));
        assert_eq!(bytes_at(End::Listener, &all), sent);
        assert_eq!(all.last(), Some(&(End::Listener, Delivery::Closed)));
        assert_eq!(bytes_at(End::Dialler, &all), b"");
    }

    #[test]
    fn a_cut_holds_one_direction_up_and_loses_nothing() {
        let (mut net, mut agenda) = (Net::new(2), Agenda::default());
        let wire = net.dial(&mut agenda, A, B);
        run(&mut net, &mut agenda);
        net.cut(A, B);
        net.send(&mut agenda, wire, End::Dialler, b"question");
        net.send(&mut agenda, wire, End::Listener, b"event");
        let all = run(&mut net, &mut agenda);
        assert_eq!((&bytes_at(End::Dialler, &all)[..], all.len()), (&b"event"[..], all.len()));
        assert_eq!(bytes_at(End::Listener, &all), b"");
        net.heal(&mut agenda);
        assert_eq!(bytes_at(End::Listener, &run(&mut net, &mut agenda)), b"question");
    }

    #[test]
    fn a_break_loses_the_tail_and_is_told_to_both() {
        let (mut net, mut agenda) = (Net::new(3), Agenda::default());
        let wire = net.dial(&mut agenda, A, B);
        run(&mut net, &mut agenda);
        net.send(&mut agenda, wire, End::Dialler, b"lost");
        net.break_wire(&mut agenda, wire);
        let mut all = run(&mut net, &mut agenda);
        all.sort_by_key(|(end, _)| *end);
        let closed = [(End::Dialler, Delivery::Closed), (End::Listener, Delivery::Closed)];
        assert_eq!(all, closed);
    }

    #[test]
    fn who_vanishes_says_nothing() {
        let (mut net, mut agenda) = (Net::new(4), Agenda::default());
        let wire = net.dial(&mut agenda, A, B);
        run(&mut net, &mut agenda);
        net.send(&mut agenda, wire, End::Listener, b"lost");
        net.vanish(wire, End::Listener);
        net.send(&mut agenda, wire, End::Dialler, b"unheard");
        assert_eq!(run(&mut net, &mut agenda), []);
    }
}
