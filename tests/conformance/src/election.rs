//! Elections between two of Apache's servers and our election port, which is the third voter.
//!
//! Only the election is ours here: nobody listens on our quorum port, so that whoever is to follow
//! us fails and looks again. That is enough to see every outcome: we join an ensemble that runs, we
//! win the votes of both, we take our claim back and accept the leader that they then elect, and
//! our vote makes the quorum when one of them is gone. Once with the smallest id and once with the
//! largest, because ids decide who keeps which connection. The second time a reconfiguration is on
//! its way for us, which goes along with our votes where Apache's servers do not look (D141), of
//! whatever release they are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use oxkeeper_proto::ids::{Sid, Zxid};
use oxkeeper_proto::notification::PeerState;
use oxkeeper_server::election_port::{ElectionPort, Settings};
use oxkeeper_zab::election::{self, Election, Standing};
use oxkeeper_zab::quorum::{Membership, QuorumVerifier, Role};
use oxkeeper_zab::vote::Vote;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};

use self::voter::{Event, Events, Handle, Heard};
use crate::Findings;
use crate::peers::{Peers, Release, RunningServer, ServerUnderTest, StartOpts, four_letter_word};

/// The same voter that the port's own tests elect with.
#[path = "../../../crates/server/tests/election/voter.rs"]
#[expect(dead_code, reason = "reconfigurations and the like are tried there")]
mod voter;

/// How long any one outcome may take, the start of a JVM included.
const LIMIT: Duration = Duration::from_secs(90);
/// Less than any server has that ever followed a leader.
const NOTHING: (i64, i64) = (0, 0);
/// More than any server has here.
const MUCH: (i64, i64) = (0x100, 0x100_0000_0001);

/// Runs all outcomes with both ids.
///
/// # Errors
/// When Java cannot be run, or an outcome is not the expected one.
pub fn run(peers: &Peers, dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<Findings> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut checks = 0;
    let smallest = [(1, Release::V3_9)].into_iter();
    for (my_sid, release) in smallest.chain(Release::ALL.map(|release| (3, release))) {
        progress(&format!("our election port is server {my_sid} of 3, the others are {release}"));
        let apache = peers.apache(release, progress)?;
        let dir = dir.join(format!("as-{my_sid}-{release}"));
        let outcomes = outcomes(ServerUnderTest::Apache(apache), &dir, my_sid);
        checks += LocalSet::new()
            .block_on(&runtime, outcomes)
            .with_context(|| format!("our election port as server {my_sid}, of {release}"))?;
    }
    Ok(Findings { checks, errors: Vec::new() })
}

/// All outcomes, one after the other; how many there were.
async fn outcomes(java: ServerUnderTest, dir: &Path, my_sid: i64) -> Result<usize> {
    let config = config()?;
    let mut javas = BTreeMap::new();
    for sid in (1..=3).filter(|&sid| sid != my_sid) {
        javas.insert(sid, opts(dir, sid, &config)?);
    }
    let mut javas = each(javas, move |opts| java.start(opts)).await?;

    let mut port = Port::open(my_sid, &config).await?;
    port.look(NOTHING);
    let vote = port.follows().await.context("joining an ensemble that runs")?;
    modes_agree(&javas, vote.leader)?;

    javas = each(javas, |mut server| server.stop().map(|_| server)).await?;
    port.look(MUCH);
    let restarting = spawn_local(each(javas, |mut server| server.restart().map(|()| server)));
    port.leads().await.context("winning the election")?;
    port.is_followed().await.context("both of Java's servers vote for us")?;

    port.look(NOTHING);
    let vote = port.follows().await.context("accepting another leader")?;
    ensure!(vote.leader != Sid(my_sid), "we follow ourselves");
    // Who of the two came back to the election first may have won it only in our eyes; a server
    // that finds nobody leading where it went looks again, and so do we.
    let mut javas = restarting.await??;
    port.look(NOTHING);
    let vote = port.follows().await.context("joining the leader that Java elected")?;
    modes_agree(&javas, vote.leader)?;

    let mut leader = javas.remove(&vote.leader.0).context("the leader is one of Java's")?;
    spawn_blocking(move || leader.kill()).await??;
    port.look(NOTHING);
    let next = port.follows().await.context("making the quorum of the one that is left")?;
    ensure!(javas.contains_key(&next.leader.0), "server {} is to lead, but is gone", next.leader);
    port.is_told_to_be_led_by(next.leader).await.context("the one that is left leads")?;
    each(javas, |mut server| server.kill()).await?;
    Ok(6)
}

/// Three participants on ports of this machine.
fn config() -> Result<String> {
    let mut config = String::new();
    for sid in 1..=3 {
        let (quorum, election) = (crate::free_port()?, crate::free_port()?);
        config.push_str(&format!("server.{sid}=127.0.0.1:{quorum}:{election}\n"));
    }
    Ok(config)
}

fn opts(dir: &Path, sid: i64, config: &str) -> Result<StartOpts> {
    let dir = dir.join(sid.to_string());
    let mut opts = StartOpts::new(&dir, crate::free_port()?)
        .config("tickTime", "500")
        .config("initLimit", "20")
        .config("syncLimit", "10");
    for (key, value) in config.lines().filter_map(|line| line.split_once('=')) {
        opts = opts.config(key, value);
    }
    opts.ready_timeout = LIMIT;
    std::fs::create_dir_all(opts.data_dir())?;
    std::fs::write(opts.data_dir().join("myid"), sid.to_string())?;
    Ok(opts)
}

/// Does something that blocks with each of them at once, beside our port.
async fn each<T, U>(
    servers: BTreeMap<i64, T>,
    work: impl Fn(T) -> Result<U> + Clone + Send + 'static,
) -> Result<BTreeMap<i64, U>>
where
    T: Send + 'static,
    U: Send + 'static,
{
    let mut working = Vec::new();
    for (sid, server) in servers {
        let work = work.clone();
        working.push((sid, spawn_blocking(move || work(server))));
    }
    let mut done = BTreeMap::new();
    for (sid, work) in working {
        done.insert(sid, work.await?.with_context(|| format!("server {sid}"))?);
    }
    Ok(done)
}

/// Java's own word on who leads.
fn modes_agree(javas: &BTreeMap<i64, RunningServer>, leader: Sid) -> Result<()> {
    for (&sid, server) in javas {
        let expected = if Sid(sid) == leader { "leader" } else { "follower" };
        let said = four_letter_word(server.addr(), "srvr")?;
        let mode = said.lines().find_map(|line| line.strip_prefix("Mode: "));
        ensure!(mode == Some(expected), "we follow server {leader}, but server {sid} is {mode:?}");
    }
    Ok(())
}

/// Our election port.
struct Port {
    handle: Handle,
    events: Events,
}

impl Port {
    async fn open(my_sid: i64, config: &str) -> Result<Port> {
        let config = QuorumVerifier::parse(config, false)?;
        let proposed = (my_sid == 3).then(|| Arc::new(config.clone().with_version(5)));
        let membership = Membership::new(Arc::new(config), proposed);
        let settings = Settings::new(Sid(my_sid));
        let (carrier, carried, port) = ElectionPort::open(settings, &membership).await?;
        let rules = election::Settings::default();
        let election = Election::new(Sid(my_sid), membership, standing(NOTHING), rules);
        let (handle, events, voting) = voter::voter(election, carrier, carried);
        spawn_local(async move { tokio::join!(port.run(), voting) });
        Ok(Port { handle, events })
    }

    fn look(&self, has: (i64, i64)) {
        self.handle.look(standing(has));
    }

    async fn decides(&mut self, expected: PeerState) -> Result<Vote> {
        match tokio::time::timeout(LIMIT, self.events.recv()).await? {
            Some(Event::Decided { state, vote }) if state == expected => Ok(vote),
            other => bail!("{other:?}, not {}", expected.name()),
        }
    }

    async fn follows(&mut self) -> Result<Vote> {
        self.decides(PeerState::Following).await
    }

    async fn leads(&mut self) -> Result<Vote> {
        self.decides(PeerState::Leading).await
    }

    /// Awaits that both others have told us that they vote for us with all that we have.
    async fn is_followed(&self) -> Result<()> {
        let (_, zxid) = MUCH;
        self.hears(|heard| heard.values().filter(|told| told.vote.zxid == Zxid(zxid)).count() == 2)
            .await
    }

    /// Looks until this server answers that it leads. If it hears us before it has settled, it goes
    /// with us into the next round, which must end as the last one did.
    async fn is_told_to_be_led_by(&mut self, leader: Sid) -> Result<()> {
        let mut heard = self.handle.heard();
        let asking = async {
            loop {
                self.look(NOTHING);
                tokio::select! {
                    leads = heard.wait_for(|heard| heard[&leader].state == PeerState::Leading) => {
                        return leads.map(drop).map_err(anyhow::Error::from);
                    }
                    vote = self.follows() => {
                        ensure!(vote?.leader == leader, "another leader in the next round");
                    }
                }
            }
        };
        tokio::time::timeout(LIMIT, asking).await?
    }

    async fn hears(&self, what: impl Fn(&Heard) -> bool) -> Result<()> {
        let mut heard = self.handle.heard();
        tokio::time::timeout(LIMIT, heard.wait_for(|heard| what(heard))).await??;
        Ok(())
    }
}

fn standing((epoch, zxid): (i64, i64)) -> Standing {
    Standing { role: Role::Participant, last_logged: Zxid(zxid), current_epoch: epoch }
}
