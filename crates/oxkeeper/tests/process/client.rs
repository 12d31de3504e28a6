//! A blocking client of a few lines: frames out, frames in. It shares the codec with the server and
//! nothing else, so that a test sees what is on the wire, in the order it came.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use oxkeeper_proto::codec::Reader;
use oxkeeper_proto::connect::{ConnectRequest, ConnectResponse, begin_frame, end_frame};
use oxkeeper_proto::data::OPEN_ACL_UNSAFE;
use oxkeeper_proto::request::{CreateRequest, PathWatch, RequestHeader, SetDataRequest};
use oxkeeper_proto::response::ReplyHeader;
use oxkeeper_proto::{ErrorCode, OpCode, Request, SessionId, Zxid};

/// Long enough for a loaded machine; only a broken server makes anybody wait for it.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// One connection with a session.
#[derive(Debug)]
pub struct Client {
    pub stream: TcpStream,
    pub session: SessionId,
    pub timeout_ms: i32,
    next_xid: i32,
}

/// One reply.
#[derive(Debug)]
pub struct Reply {
    pub xid: i32,
    pub zxid: Zxid,
    pub err: ErrorCode,
    pub body: Vec<u8>,
}

/// A raw connection with deadlines on both ways.
pub fn dial(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, DEADLINE).expect("the server listens");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The whole answer to a four-letter word.
pub fn word(addr: SocketAddr, word: &str) -> String {
    let mut stream = dial(addr);
    stream.write_all(word.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer, then the end");
    text
}

/// True if the server ends this connection without another word.
pub fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

pub fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

impl Client {
    /// Opens a session.
    pub fn connect(addr: SocketAddr, timeout_ms: i32) -> Client {
        Client::resume(addr, timeout_ms, SessionId::NONE).expect("a session")
    }

    /// Goes on with a session; `None` if the server does not know it.
    pub fn resume(addr: SocketAddr, timeout_ms: i32, session: SessionId) -> Option<Client> {
        Client::try_resume(addr, timeout_ms, session).expect("an answer to the handshake")
    }

    /// The same with a server that may be going, or be between two leaders.
    pub fn try_resume(
        addr: SocketAddr,
        timeout_ms: i32,
        session: SessionId,
    ) -> io::Result<Option<Client>> {
        let mut stream = TcpStream::connect_timeout(&addr, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        let mut out = Vec::new();
        let start = begin_frame(&mut out);
        let password = if session == SessionId::NONE { [0; 16] } else { session.password() };
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms,
            session,
            password: Some(&password),
            read_only: Some(false),
        }
        .encode(&mut out);
        end_frame(&mut out, start);
        stream.write_all(&out)?;
        let frame = read_frame(&mut stream)?;
        let response = ConnectResponse::decode(&mut Reader::new(&frame)).unwrap();
        Ok((response.timeout_ms > 0).then_some(Client {
            stream,
            session: response.session,
            timeout_ms: response.timeout_ms,
            next_xid: 1,
        }))
    }

    /// The frame of a request, with the next xid.
    pub fn encode(&mut self, op: OpCode, request: &Request<'_>, out: &mut Vec<u8>) {
        let start = begin_frame(out);
        RequestHeader { xid: self.next_xid, op }.encode(out);
        self.next_xid += 1;
        request.encode(out);
        end_frame(out, start);
    }

    pub fn next_xid(&self) -> i32 {
        self.next_xid
    }

    pub fn send(&mut self, op: OpCode, request: &Request<'_>) {
        let mut out = Vec::new();
        self.encode(op, request, &mut out);
        self.stream.write_all(&out).unwrap();
    }

    pub fn receive(&mut self) -> io::Result<Reply> {
        let frame = read_frame(&mut self.stream)?;
        let mut reader = Reader::new(&frame);
        let header = ReplyHeader::decode(&mut reader).unwrap();
        let ReplyHeader { xid, zxid, err } = header;
        Ok(Reply { xid, zxid, err, body: reader.rest().to_vec() })
    }

    pub fn call(&mut self, op: OpCode, request: &Request<'_>) -> Reply {
        self.send(op, request);
        self.receive().expect("a reply")
    }

    pub fn create(&mut self, path: &str, data: &[u8]) -> Reply {
        self.call(OpCode::CREATE, &create(path, data, 0))
    }

    pub fn create_ephemeral(&mut self, path: &str) -> Reply {
        self.call(OpCode::CREATE, &create(path, b"", 1))
    }

    pub fn set(&mut self, path: &str, data: &[u8]) -> Reply {
        let set = SetDataRequest { path: path.into(), data: Some(data), version: -1 };
        self.call(OpCode::SET_DATA, &Request::SetData(set))
    }

    /// The data of a znode, or the error.
    pub fn get(&mut self, path: &str) -> Result<Vec<u8>, ErrorCode> {
        let reply = self.call(OpCode::GET_DATA, &Request::GetData(read(path, false)));
        if !reply.err.is_ok() {
            return Err(reply.err);
        }
        let mut reader = Reader::new(&reply.body);
        Ok(reader.buffer().unwrap().unwrap_or(&[]).to_vec())
    }

    pub fn watch(&mut self, path: &str) {
        let reply = self.call(OpCode::EXISTS, &Request::Exists(read(path, true)));
        assert!(matches!(reply.err, ErrorCode::OK | ErrorCode::NO_NODE), "{reply:?}");
    }

    pub fn children(&mut self, path: &str) -> Vec<String> {
        let reply = self.call(OpCode::GET_CHILDREN, &Request::GetChildren(read(path, false)));
        assert_eq!(reply.err, ErrorCode::OK);
        let mut reader = Reader::new(&reply.body);
        let count = reader.i32().unwrap();
        (0..count).map(|_| reader.string().map(Cow::into_owned).unwrap()).collect()
    }

    pub fn ping(&mut self) -> Reply {
        self.call(OpCode::PING, &Request::Ping)
    }

    /// Ends the session.
    pub fn close(mut self) {
        let reply = self.call(OpCode::CLOSE_SESSION, &Request::CloseSession);
        assert_eq!(reply.err, ErrorCode::OK);
        assert!(is_closed(&mut self.stream), "the server closes after closeSession");
    }
}

/// A create; flags as on the wire: 1 ephemeral, 2 sequential.
pub fn create<'a>(path: &'a str, data: &'a [u8], flags: i32) -> Request<'a> {
    Request::Create(CreateRequest {
        op: OpCode::CREATE,
        path: path.into(),
        data: Some(data),
        acl: OPEN_ACL_UNSAFE,
        flags,
        ttl_ms: -1,
    })
}

pub fn read(path: &str, watch: bool) -> PathWatch<'_> {
    PathWatch { path: path.into(), watch }
}
