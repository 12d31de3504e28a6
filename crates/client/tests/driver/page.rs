//! What `docs/client.md` shows, compiled and run: each block of code there stands here word for
//! word.

use oxkeeper_client::{AddWatchMode, Client, ErrorCode, State, WatchItem, WatcherKind};
use oxkeeper_scratch::Proxy;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::server::{addr, client, place};
use crate::soon;

type Shown = Result<(), Box<dyn std::error::Error>>;

/// The page, as it is in the repository.
const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/client.md"));

/// Words of the lines that are not empty: how they are set is not compared.
fn lines(text: &str) -> Vec<Vec<&str>> {
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    words.filter(|line| !line.is_empty()).collect()
}

#[test]
fn every_block_of_the_page_is_here() {
    let here = lines(include_str!("page.rs"));
    let mut blocks = 0;
    for part in PAGE.split("```rust\n").skip(1) {
        let text = part.split("```").next().expect("an end");
        let block = lines(text);
        let found = here.windows(block.len()).any(|window| window == block);
        assert!(found, "docs/client.md shows what is not tried:\n{text}");
        blocks += 1;
    }
    assert_eq!(blocks, 7);
}

async fn first_steps(servers: &str) -> Shown {
    use oxkeeper_client::{Client, Fate};

    // "zk1:2181,zk2:2181,zk3:2181/app"
    let zk = Client::connect(servers).await?;

    zk.create("/settings/timeout", b"30").parents().await?;
    let timeout = zk.get("/settings/timeout").await?;
    println!("{}", timeout.text()?);

    zk.set("/settings/timeout", b"45").version(timeout.stat.version).await?;

    assert_eq!(zk.get("/settings/timeout").await?.text()?, "45");
    zk.create("/counter", b"7").await?;
    for expected in [Err(Fate::DidNotHappen), Ok(())] {
        // The first try comes with a version of the future.
        if expected.is_ok() {
            for _ in 0..7 {
                zk.set("/counter", b"7").await?;
            }
        }
        match zk.set("/counter", b"8").version(7).await {
            Ok(stat) => println!("version {}", stat.version),
            Err(error) => match error.fate() {
                Fate::DidNotHappen => {} // refused, or never left
                Fate::Unknown => {}      // look, or repeat if that does no harm
                Fate::Happened => {}
            },
        }
        let now = zk.get("/counter").await?;
        assert_eq!(now.bytes() == b"8", expected.is_ok());
    }
    Ok(())
}

#[tokio::test]
async fn first_steps_lead_somewhere() {
    // One server, as if it were two.
    let servers = format!("{},{}{}", addr(), addr(), place().await);
    soon(first_steps(&servers)).await.unwrap();
}

#[tokio::test]
async fn several_are_under_way() {
    async fn shown(zk: Client, paths: Vec<String>) -> Shown {
        let under_way: Vec<_> = paths.iter().map(|path| zk.get(path).send()).collect();
        for reply in under_way {
            println!("{} bytes", reply.await?.bytes().len());
        }
        Ok(())
    }
    soon(shown(client().await, vec!["/".to_owned(); 1000])).await.unwrap();
}

#[tokio::test]
async fn names_are_found_elsewhere() {
    use std::net::SocketAddr;

    use oxkeeper_client::{Host, Resolver, Resolving, Tcp};

    async fn shown(addresses: Vec<SocketAddr>) -> Shown {
        struct Registry(Vec<SocketAddr>);

        impl Resolver for Registry {
            fn resolve(&self, _: Host) -> Resolving {
                let addresses = self.0.clone();
                Box::pin(async move { Ok(addresses) })
            }
        }

        let tcp = Tcp::resolved_by(Registry(addresses));
        let zk = Client::builder("coordination/app").connector(tcp).connect().await?;

        assert_eq!((zk.chroot(), zk.state().is_connected()), ("/app", true));
        Ok(())
    }
    soon(shown(vec![addr()])).await.unwrap();
}

async fn watched(zk: Client, seen: UnboundedSender<String>) -> Shown {
    let reload_one = async |path: &str| {
        zk.get(path).await?;
        seen.send(path.to_owned()).expect("somebody looks");
        match zk.remove_watches("/settings", WatcherKind::Recursive).await {
            // It had told more than once before it was removed.
            Err(error) if error.code() == Some(ErrorCode::NO_WATCHER) => Ok(()),
            removed => removed,
        }
    };
    let reload_all = async || zk.children("/settings").await.map(drop);

    // Once: a future, which survives reconnects.
    let (data, changed) = zk.get("/settings/timeout").watch().await?;
    match changed.await {
        Ok(event) => println!("{:?}", event.kind),
        Err(loss) => println!("{loss}"), // the session is over, or the watch was removed
    }

    // For good: a stream. `Gap` says that something may have been missed; read anew then.
    let mut events = zk.add_watch("/settings", AddWatchMode::Recursive).await?;
    while let Some(item) = events.next().await {
        match item {
            WatchItem::Event(event) => reload_one(&event.path).await?,
            WatchItem::Gap => reload_all().await?,
            WatchItem::Lost(_) => break,
        }
    }

    assert!(!data.bytes().is_empty());
    Ok(())
}

#[tokio::test]
async fn watches_tell() {
    let zk = client().await;
    let other = Client::connect(&format!("{}{}", addr(), zk.chroot())).await.unwrap();
    zk.create("/settings/timeout", b"30").parents().await.unwrap();
    // Somebody changes it again and again: whatever is watched is told.
    let changing = tokio::spawn(async move {
        while let Ok(stat) = other.set("/settings/timeout", b"45").await {
            assert!(stat.version > 0);
        }
    });
    let (seen, mut what) = unbounded_channel();
    soon(watched(zk, seen)).await.unwrap();
    assert_eq!(what.recv().await.as_deref(), Some("/settings/timeout"));
    changing.abort();
}

#[tokio::test]
async fn states_are_told() {
    let (proxy, place) = (Proxy::before(addr()).await, place().await);
    let zk = Client::connect(&format!("{}{place}", proxy.addr)).await.unwrap();
    let (handle, (told, mut what)) = (zk.clone(), unbounded_channel());
    let following = tokio::spawn(async move {
        let stop_work_before = |moment: Instant| {
            assert!(moment > Instant::now(), "there is time left");
            told.send("suspended").expect("somebody looks");
        };
        let go_on = || told.send("connected").expect("somebody looks");
        let begin_anew = || panic!("it did not expire");
        let zk = handle;

        let mut states = zk.states();
        while let Some(state) = states.next().await {
            match state {
                State::Suspended { expires_at, .. } => stop_work_before(expires_at),
                State::Connected { .. } => go_on(),
                State::Expired => begin_anew(),
                _ => {}
            }
        }
    });
    assert_eq!(soon(what.recv()).await, Some("connected"));
    proxy.cut();
    assert_eq!(soon(what.recv()).await, Some("suspended"));
    assert_eq!(soon(what.recv()).await, Some("connected"));
    soon(zk.close()).await;
    soon(following).await.unwrap();
}

#[tokio::test]
async fn several_changes_are_one() {
    let zk = client().await;
    for path in ["/leader", "/config", "/log"] {
        zk.create(path, b"").await.unwrap();
    }
    for refused in [true, false] {
        let result = zk
            .multi()
            .check("/leader", 3)
            .set("/config", b"new".as_slice())
            .version(12)
            .create("/log/change-", b"".as_slice())
            .sequential()
            .await;
        if let Err(error) = result
            && let Some((index, code)) = error.multi()
        {
            println!("operation {index} was refused: {code}");
        }
        assert_eq!(zk.children("/log").await.unwrap().is_empty(), refused);
        for _ in 0..3 {
            zk.set("/leader", b"").await.unwrap();
        }
        for _ in 0..12 {
            zk.set("/config", b"").await.unwrap();
        }
    }
}
