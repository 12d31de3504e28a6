//! One client, pipelined: what this library costs beside a bare socket and beside another library.
//!
//! ```sh
//! cargo run --release --manifest-path crates/client/compare/Cargo.toml -- 127.0.0.1:2181
//! ```
//!
//! Three clients do the same work on the same server in turns: a loop around a blocking socket that
//! sends prepared frames and only counts replies, which is what sockets and server allow; this
//! library; and the crate `zookeeper-client`. Each keeps as many requests under way as the window
//! says and takes the answers in order. The medians of five rounds are printed, and each library's
//! time per operation as a multiple of the socket's; and in brackets what the client's own thread
//! spent of it on a processor, which depends less on what else the machine does (Linux tells).

use std::collections::VecDeque;
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use oxkeeper_proto::connect::{ConnectRequest, begin_frame, end_frame, split_frame};
use oxkeeper_proto::request::{PathWatch, RequestHeader, SetDataRequest};
use oxkeeper_proto::{Request, SessionId, Zxid};
use zookeeper_client as other;

const PATH: &str = "/compare";
const VALUE: [u8; 100] = [7; 100];
const ROUNDS: usize = 5;
const WINDOWS: [usize; 4] = [1, 16, 64, 512];

type Failure = Box<dyn std::error::Error>;

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Get,
    Set,
}

fn main() -> Result<(), Failure> {
    let server = std::env::args().nth(1).ok_or("usage: oxkeeper-client-compare HOST:PORT [OPS]")?;
    let ops = std::env::args().nth(2).map_or(Ok(200_000), |text| text.parse())?;
    let threads = std::env::args().nth(3).map_or(Ok(1), |text| text.parse::<usize>())?;
    let runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        _ => tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
    };
    runtime.block_on(async {
        let ours = oxkeeper_client::Client::connect(&server).await?;
        match ours.create(PATH, &VALUE).await {
            Err(error) if error.is_node_exists() => ours.set(PATH, &VALUE).await.map(drop),
            made => made.map(drop),
        }
    })?;
    println!("ns per operation, one client, up to {ops} operations a round, {threads} thread(s)");
    println!("work window      socket   [cpu]   oxkeeper-client   [cpu]  zookeeper-client   [cpu]");
    for (name, work) in [("get", Work::Get), ("set", Work::Set)] {
        for window in WINDOWS {
            // Where it is mostly waiting, less of it tells as much.
            let ops = (ops * window / 256).clamp(ops / 32, ops);
            let mut taken = [const { Vec::new() }; 3];
            for _ in 0..ROUNDS {
                taken[0].push(socket(&server, work, window, ops)?);
                taken[1].push(runtime.block_on(ours(&server, work, window, ops))?);
                taken[2].push(runtime.block_on(theirs(&server, work, window, ops))?);
            }
            let [bare, ours, theirs] = taken.map(median);
            println!(
                "{name:4} {window:6} {:11.0} [{:5.0}] {:9.0} ({:4.2}x) [{:5.0}] {:9.0} ({:4.2}x) \
                 [{:5.0}]",
                bare.wall,
                bare.cpu,
                ours.wall,
                ours.wall / bare.wall,
                ours.cpu,
                theirs.wall,
                theirs.wall / bare.wall,
                theirs.cpu,
            );
        }
    }
    Ok(())
}

/// Nanoseconds per operation.
#[derive(Clone, Copy)]
struct Taken {
    /// By the clock.
    wall: f64,
    /// Of this thread on a processor; 0 where nobody tells.
    cpu: f64,
}

/// Since when, by both clocks.
struct Began(Instant, f64);

impl Began {
    fn now() -> Began {
        Began(Instant::now(), on_cpu_ns())
    }

    fn per_op(&self, ops: usize) -> Taken {
        let (wall, cpu) = (self.0.elapsed().as_nanos() as f64, on_cpu_ns() - self.1);
        Taken { wall: wall / ops as f64, cpu: cpu / ops as f64 }
    }
}

/// How long this thread has run.
fn on_cpu_ns() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or_default()
}

fn median(all: Vec<Taken>) -> Taken {
    let of = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let wall = of(all.iter().map(|taken| taken.wall).collect());
    Taken { wall, cpu: of(all.iter().map(|taken| taken.cpu).collect()) }
}

/// Keeps a window of futures under way.
async fn pipelined<T, E, F>(window: usize, ops: usize, mut send: impl FnMut() -> F)
-> Result<(), Failure>
where
    F: Future<Output = Result<T, E>>,
    E: std::error::Error + 'static,
{
    let mut under_way = VecDeque::with_capacity(window);
    for _ in 0..ops {
        if under_way.len() == window
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.await?;
        }
        under_way.push_back(send());
    }
    for reply in under_way {
        reply.await?;
    }
    Ok(())
}

async fn ours(server: &str, work: Work, window: usize, ops: usize) -> Result<Taken, Failure> {
    let zk = oxkeeper_client::Client::connect(server).await?;
    let began = Began::now();
    match work {
        Work::Get => pipelined(window, ops, || zk.get(PATH).send()).await?,
        Work::Set => pipelined(window, ops, || zk.set(PATH, &VALUE).send()).await?,
    }
    Ok(began.per_op(ops))
}

async fn theirs(server: &str, work: Work, window: usize, ops: usize) -> Result<Taken, Failure> {
    let zk = other::Client::connect(server).await?;
    let began = Began::now();
    match work {
        Work::Get => pipelined(window, ops, || Box::pin(zk.get_data(PATH))).await?,
        Work::Set => pipelined(window, ops, || Box::pin(zk.set_data(PATH, &VALUE, None))).await?,
    }
    Ok(began.per_op(ops))
}

/// The floor: prepared frames, replies counted.
fn socket(server: &str, work: Work, window: usize, ops: usize) -> Result<Taken, Failure> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    let mut hello = Vec::new();
    let start = begin_frame(&mut hello);
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: 10_000,
        session: SessionId::NONE,
        password: Some(&[0; 16]),
        read_only: Some(false),
    }
    .encode(&mut hello);
    end_frame(&mut hello, start);
    stream.write_all(&hello)?;
    let mut inbox = vec![0; 256 * 1024];
    let mut filled = 0;
    count(&mut stream, &mut inbox, &mut filled)?;
    let request = match work {
        Work::Get => Request::GetData(PathWatch { path: PATH.into(), watch: false }),
        Work::Set => Request::SetData(SetDataRequest {
            path: PATH.into(),
            data: Some(&VALUE),
            version: -1,
        }),
    };
    let mut frames = Vec::new();
    for xid in 1..=window as i32 {
        let start = begin_frame(&mut frames);
        RequestHeader { xid, op: request.op() }.encode(&mut frames);
        request.encode(&mut frames);
        end_frame(&mut frames, start);
    }
    let bytes = frames.len() / window;
    let (mut sent, mut answered) = (0, 0);
    let began = Began::now();
    while answered < ops {
        let more = (ops - sent).min(window - (sent - answered));
        stream.write_all(&frames[..more * bytes])?;
        sent += more;
        answered += count(&mut stream, &mut inbox, &mut filled)?;
    }
    Ok(began.per_op(ops))
}

/// Reads once, or until a frame is whole, and counts the frames.
fn count(stream: &mut TcpStream, inbox: &mut [u8], filled: &mut usize) -> Result<usize, Failure> {
    loop {
        let read = stream.read(&mut inbox[*filled..])?;
        if read == 0 {
            return Err("the server hung up".into());
        }
        *filled += read;
        let (mut rest, mut frames) = (&inbox[..*filled], 0);
        while let Some((_, behind)) = split_frame(rest, inbox.len())? {
            (rest, frames) = (behind, frames + 1);
        }
        let used = *filled - rest.len();
        inbox.copy_within(used..*filled, 0);
        *filled -= used;
        if frames > 0 {
            return Ok(frames);
        }
    }
}
