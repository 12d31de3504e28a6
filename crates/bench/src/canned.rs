//! A server that thinks nothing: the limit that sockets and kernel set.
//!
//! It splits frames, looks at the operation, and answers with the bytes that a server holding what
//! the scenarios load would answer with: right sizes, right xids, no tree, no session, no disk.
//! What a real server costs beyond it is the work that servers are for; comparing with it in the
//! same run keeps the machine out of the comparison. Sets are told to everybody who watches, on
//! whatever path.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use oxkeeper_proto::connect::{ConnectResponse, begin_frame, end_frame, split_frame};
use oxkeeper_proto::data::encode_strings;
use oxkeeper_proto::limits::FRAME_BYTES_CEILING;
use oxkeeper_proto::op::CreateMode;
use oxkeeper_proto::request::{MultiHeader, MultiOp, MultiRequest, RequestHeader};
use oxkeeper_proto::response::{ReplyHeader, WatcherEvent, xid};
use oxkeeper_proto::{ErrorCode, OpCode, Put, Reader, Request, SessionId, Stat, Zxid};

use oxkeeper_proto::response::EventType;

/// Bytes of data in answers to getData.
const VALUE_BYTES: usize = 100;

/// Names in answers to getChildren.
const CHILDREN: usize = 1000;

const LISTENER: Token = Token(usize::MAX);

/// The server, bound and ready to run.
pub struct Canned {
    listener: TcpListener,
    poll: Poll,
}

struct Conn {
    stream: TcpStream,
    partial: Vec<u8>,
    out: Vec<u8>,
    greeted: bool,
    closing: bool,
    /// In the list of watchers.
    watching: bool,
}

/// Answers prepared once.
struct Answers {
    stat: Vec<u8>,
    data: Vec<u8>,
    children: Vec<u8>,
    event: Vec<u8>,
    /// Results of multis by the length of their request: all of one length are alike here.
    multis: HashMap<usize, Vec<u8>>,
    sequence: u64,
}

/// Who has to be told of the next set.
#[derive(Default)]
struct Watchers {
    persistent: Vec<usize>,
    once: Vec<usize>,
}

impl Canned {
    /// Binds `address`; port 0 takes any.
    ///
    /// # Errors
    /// When it is in use.
    pub fn bind(address: SocketAddr) -> Result<Canned> {
        let mut listener =
            TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Canned { listener, poll })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// When the system does not know, which does not happen to bound sockets.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// When polling or accepting fails.
    pub fn run(mut self) -> Result<()> {
        let mut conns: Vec<Option<Conn>> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        let mut events = Events::with_capacity(1024);
        let mut scratch = vec![0; 256 << 10];
        let mut answers = Answers::new();
        let mut watchers = Watchers::default();
        let mut touched = Vec::new();
        loop {
            match self.poll.poll(&mut events, None) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                if event.token() == LISTENER {
                    accept_all(&self.listener, self.poll.registry(), &mut conns, &mut free)?;
                    continue;
                }
                let number = event.token().0;
                let Some(conn) = conns[number].as_mut() else { continue };
                let turn = conn.turn(number, &mut scratch, &mut answers, &mut watchers);
                let told = if turn.sets > 0 { watchers.tell() } else { Vec::new() };
                for (watcher, persistent) in told {
                    if let Some(conn) = conns[watcher].as_mut() {
                        let times = if persistent { turn.sets } else { 1 };
                        (0..times).for_each(|_| conn.out.extend_from_slice(&answers.event));
                        conn.watching = persistent;
                        touched.push(watcher);
                    }
                }
                touched.push(number);
                for number in touched.drain(..) {
                    let over = conns[number].as_mut().is_some_and(|conn| !conn.flush());
                    if over || (number == event.token().0 && turn.ended) {
                        watchers.forget(number);
                        conns[number] = None;
                        free.push(number);
                    }
                }
            }
        }
    }
}

/// Accepts whoever waits.
fn accept_all(
    listener: &TcpListener,
    registry: &Registry,
    conns: &mut Vec<Option<Conn>>,
    free: &mut Vec<usize>,
) -> Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {
                continue;
            }
            Err(e) => return Err(e).context("accepting"),
        };
        stream.set_nodelay(true)?;
        let number = free.pop().unwrap_or_else(|| {
            conns.push(None);
            conns.len() - 1
        });
        registry.register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        conns[number] = Some(Conn {
            stream,
            partial: Vec::new(),
            out: Vec::new(),
            greeted: false,
            closing: false,
            watching: false,
        });
    }
}

/// What a connection's turn has brought.
struct Served {
    sets: usize,
    ended: bool,
}

impl Conn {
    /// Reads what there is and prepares the answers.
    fn turn(
        &mut self,
        number: usize,
        scratch: &mut Vec<u8>,
        answers: &mut Answers,
        watchers: &mut Watchers,
    ) -> Served {
        let mut served = Served { sets: 0, ended: false };
        loop {
            let kept = self.partial.len();
            if kept * 2 > scratch.len() {
                scratch.resize(kept * 4, 0);
            }
            scratch[..kept].copy_from_slice(&self.partial);
            let room = scratch.len() - kept;
            let len = match self.stream.read(&mut scratch[kept..]) {
                Ok(len) if len > 0 => len,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return served,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                _ => {
                    served.ended = true;
                    return served;
                }
            };
            let mut rest = &scratch[..kept + len];
            while !self.closing {
                match split_frame(rest, FRAME_BYTES_CEILING) {
                    Ok(Some((frame, behind))) => {
                        rest = behind;
                        served.sets += self.answer(number, frame, answers, watchers);
                    }
                    Ok(None) => break,
                    Err(_) => self.closing = true,
                }
            }
            self.partial.clear();
            self.partial.extend_from_slice(rest);
            if len < room {
                return served;
            }
        }
    }

    /// Answers one frame; returns 1 for a set.
    fn answer(
        &mut self,
        number: usize,
        frame: &[u8],
        answers: &mut Answers,
        watchers: &mut Watchers,
    ) -> usize {
        let start = begin_frame(&mut self.out);
        if !self.greeted {
            self.greeted = true;
            let session = SessionId(number as i64 + 1);
            ConnectResponse::granted(session, 30_000, Some(false)).encode(&mut self.out);
            end_frame(&mut self.out, start);
            return 0;
        }
        let mut reader = Reader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else {
            self.closing = true;
            self.out.truncate(start - 4);
            return 0;
        };
        let zxid = Zxid(answers.sequence as i64 + 1);
        ReplyHeader { xid: header.xid, zxid, err: ErrorCode::OK }.encode(&mut self.out);
        let body = reader.rest();
        answers.append(header.op, body, &mut self.out);
        end_frame(&mut self.out, start);
        self.closing |= header.op == OpCode::CLOSE_SESSION;
        let reads = [OpCode::GET_DATA, OpCode::EXISTS].contains(&header.op);
        let watch = header.op == OpCode::ADD_WATCH || (reads && body.last() == Some(&1));
        if watch && !self.watching {
            self.watching = true;
            let list = if reads { &mut watchers.once } else { &mut watchers.persistent };
            list.push(number);
        }
        usize::from(header.op == OpCode::SET_DATA)
    }

    /// Writes what the socket takes; false when the connection is over.
    fn flush(&mut self) -> bool {
        let mut written = 0;
        while written < self.out.len() {
            match self.stream.write(&self.out[written..]) {
                Ok(len) => written += len,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        if written == self.out.len() {
            self.out.clear();
        } else {
            self.out.drain(..written);
        }
        !(self.closing && self.out.is_empty())
    }
}

impl Watchers {
    /// Everybody to be told, and whether they stay.
    fn tell(&mut self) -> Vec<(usize, bool)> {
        let stay = self.persistent.iter().map(|number| (*number, true));
        let all = stay.chain(self.once.iter().map(|number| (*number, false))).collect();
        self.once.clear();
        all
    }

    fn forget(&mut self, number: usize) {
        self.persistent.retain(|other| *other != number);
        self.once.retain(|other| *other != number);
    }
}

impl Answers {
    fn new() -> Answers {
        let mut stat = Vec::new();
        Stat { data_length: VALUE_BYTES as i32, ..Stat::default() }.encode(&mut stat);
        let mut data = Vec::new();
        data.put_buffer(Some(&[0; VALUE_BYTES]));
        data.extend_from_slice(&stat);
        let names: Vec<String> = (0..CHILDREN).map(|n| format!("n{n:08}")).collect();
        let mut children = Vec::new();
        encode_strings(&mut children, &names);
        let mut event = Vec::new();
        let start = begin_frame(&mut event);
        let zxid = Zxid(-1);
        ReplyHeader { xid: xid::NOTIFICATION, zxid, err: ErrorCode::OK }.encode(&mut event);
        let path = "/bench-0123456789abcdef/p00000000/n00000000".into();
        WatcherEvent { event: EventType::NodeDataChanged, path }.encode(&mut event);
        end_frame(&mut event, start);
        Answers { stat, data, children, event, multis: HashMap::new(), sequence: 0 }
    }

    /// Appends the record that answers a request.
    fn append(&mut self, op: OpCode, body: &[u8], out: &mut Vec<u8>) {
        match op {
            OpCode::GET_DATA => out.extend_from_slice(&self.data),
            OpCode::SET_DATA | OpCode::EXISTS => out.extend_from_slice(&self.stat),
            OpCode::GET_CHILDREN => out.extend_from_slice(&self.children),
            OpCode::CREATE => self.append_created(body, out),
            OpCode::SYNC => out.extend_from_slice(body),
            OpCode::ADD_WATCH => out.put_int(0),
            OpCode::MULTI => {
                let stat = &self.stat;
                let results =
                    self.multis.entry(body.len()).or_insert_with(|| multi_results(body, stat));
                out.extend_from_slice(results);
            }
            _ => {}
        }
    }

    /// The path of a create, with a number behind it if it is sequential.
    fn append_created(&mut self, body: &[u8], out: &mut Vec<u8>) {
        let Ok(Some(path)) = Reader::new(body).buffer() else { return };
        let flags = body.last().copied().unwrap_or(0);
        let sequential =
            CreateMode::from_flags(i32::from(flags)).is_ok_and(CreateMode::is_sequential);
        if sequential {
            self.sequence += 1;
            out.put_int(path.len() as i32 + 10);
            out.extend_from_slice(path);
            out.extend_from_slice(format!("{:010}", self.sequence).as_bytes());
        } else {
            out.put_buffer(Some(path));
        }
    }
}

/// Results as of a multi that succeeds.
fn multi_results(body: &[u8], stat: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let request = Request::decode(OpCode::MULTI, &mut Reader::new(body));
    let ops: Vec<MultiOp<'_>> = match &request {
        Ok(Some(Request::Multi(multi))) => multi_ops(multi),
        _ => Vec::new(),
    };
    for op in ops {
        MultiHeader { op: op.op(), done: false, err: 0 }.encode(&mut out);
        match op {
            MultiOp::Create(create) => out.put_string(&create.path),
            MultiOp::SetData(_) => out.extend_from_slice(stat),
            MultiOp::Delete(_) | MultiOp::Check(_) => {}
        }
    }
    MultiHeader::END.encode(&mut out);
    out
}

fn multi_ops<'a>(multi: &MultiRequest<'a>) -> Vec<MultiOp<'a>> {
    multi.iter().collect()
}
