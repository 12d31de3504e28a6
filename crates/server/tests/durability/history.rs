//! What a leader reads for its learners: the log while it is written, and snapshots as they go out.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oxkeeper_proto::{Payload, Zxid};
use oxkeeper_server::history_thread::{
    HistoryCommand, HistoryReports, HistoryThread, HistoryWorker, Opened, READ_BYTES_MAX,
    READ_COUNT_MAX, SNAPSHOTS_MAX, SnapshotStream,
};
use oxkeeper_server::log_thread::LogCommand;
use oxkeeper_server::snapshot_thread::SnapshotWorker;
use oxkeeper_storage::{Compression, Disk as _, SimDisk};
use oxkeeper_zab::{Entry, LinkId, LogSurvey};
use tokio::sync::mpsc;

use crate::host::{DATA, files, options};
use crate::member::{Member, append, append_large, history, receive_all};
use crate::state::assert_equal;

/// What was found, by the link that asked.
#[derive(Debug, Default)]
struct Found {
    surveys: RefCell<BTreeMap<u64, Option<LogSurvey>>>,
    entries: RefCell<BTreeMap<u64, Vec<Entry>>>,
    opened: RefCell<BTreeMap<u64, Opened>>,
    unavailable: RefCell<Vec<u64>>,
    order: RefCell<Vec<u64>>,
}

impl HistoryReports for Found {
    fn surveyed(&self, link: LinkId, survey: Option<LogSurvey>) {
        self.surveys.borrow_mut().insert(link.0, survey);
        self.order.borrow_mut().push(link.0);
    }

    fn read(&self, link: LinkId, entries: Vec<Entry>) {
        assert!(!entries.is_empty());
        self.entries.borrow_mut().entry(link.0).or_default().extend(entries);
        self.order.borrow_mut().push(link.0);
    }

    fn opened(&self, link: LinkId, opened: Opened) {
        self.opened.borrow_mut().insert(link.0, opened);
    }

    fn unavailable(&self, link: LinkId) {
        self.unavailable.borrow_mut().push(link.0);
    }
}

struct Library {
    worker: HistoryWorker<SimDisk>,
    found: Found,
    /// Pieces of work done.
    steps: usize,
}

impl Library {
    fn of(member: &Member) -> Library {
        let worker = HistoryWorker::new(Arc::clone(&member.booted.dir));
        Library { worker, found: Found::default(), steps: 0 }
    }

    fn ask(&mut self, command: HistoryCommand) {
        assert!(self.worker.take(command).is_none());
        while self.worker.has_work() {
            self.worker.step(&self.found);
            self.steps += 1;
        }
    }

    fn survey(&mut self, link: u64, peer: i64) -> Option<LogSurvey> {
        self.ask(HistoryCommand::Survey { link: LinkId(link), peer: Zxid(peer) });
        self.found.surveys.borrow_mut().remove(&link).expect("an answer")
    }

    fn read(&mut self, link: u64, after: i64, to: i64) -> Vec<Entry> {
        let (after, to) = (Zxid(after), Zxid(to));
        self.ask(HistoryCommand::Read { link: LinkId(link), after, to });
        self.found.entries.borrow_mut().remove(&link).unwrap_or_default()
    }

    fn zxids(&mut self, link: u64, after: i64, to: i64) -> Vec<i64> {
        self.read(link, after, to).iter().map(|entry| entry.zxid.0).collect()
    }

    fn open(&mut self, link: u64, at_least: i64) -> Opened {
        self.ask(HistoryCommand::OpenSnapshot { link: LinkId(link), at_least: Zxid(at_least) });
        self.found.opened.borrow_mut().remove(&link).expect("an answer")
    }

    fn stream(&mut self, link: u64) -> Option<SnapshotStream> {
        let (sink, _) = mpsc::channel(1);
        let taken = self.worker.take(HistoryCommand::SendSnapshot { link: LinkId(link), sink });
        taken.map(|(stream, _)| stream)
    }

    fn forget(&mut self, link: u64) {
        self.ask(HistoryCommand::Forget { link: LinkId(link) });
    }
}

/// The logs that are there, by their first entries.
fn logs(disk: &SimDisk) -> Vec<i64> {
    let names = files(disk);
    let hex = |name: &String| i64::from_str_radix(name.strip_prefix("log.")?, 16).ok();
    let mut firsts: Vec<i64> = names.iter().filter_map(hex).collect();
    firsts.sort_unstable();
    firsts
}

#[test]
fn whatever_the_log_has_can_be_found_and_read() {
    let (disk, life) = history(11);
    let member = Member::boot(&disk);
    let (first, last) = (logs(&disk)[0], life.served.0);
    let mut library = Library::of(&member);
    for peer in 0..=last + 1 {
        let survey = library.survey(1, peer);
        match survey {
            Some(survey) => {
                assert!((first..last).contains(&peer), "{peer}");
                assert_eq!((survey.at_or_before, survey.after), (Zxid(peer), Zxid(peer + 1)));
                assert!(survey.snapshot_bytes > 400 && survey.log_bytes > 0);
            }
            None => assert!(peer < first || peer >= last, "{peer} of {first}..{last}"),
        }
        let read = library.zxids(2, peer, last);
        let there = if peer + 1 < first { last + 1 } else { peer + 1 };
        assert_eq!(read, (there..=last).collect::<Vec<_>>());
        let some = library.zxids(3, peer, last.min(peer + 5));
        assert!(some.iter().all(|zxid| *zxid <= peer + 5), "{some:?} behind {peer}");
    }
    for entry in library.read(4, first, last) {
        assert_eq!(Payload::decode(&entry.payload).unwrap().header.zxid, entry.zxid);
    }
    // The more is missing, the more bytes.
    let bytes = |peer, library: &mut Library| library.survey(5, peer).unwrap().log_bytes;
    let (more, less) = (bytes(first, &mut library), bytes(last - 1, &mut library));
    assert!(more > less && less >= 32, "{more} and {less}");
}

#[test]
fn a_long_log_comes_in_answers_of_bounded_size() {
    let disk = SimDisk::new();
    let mut member = Member::boot(&disk);
    let base = 1i64 << 32;
    let count = READ_COUNT_MAX as i64 + 500;
    member.run((1..=count).map(|n| append(&[base + n]))).unwrap();
    member.run((1..=30).map(|n| append_large(base + count + n, 100_000))).unwrap();
    let mut library = Library::of(&member);
    let (mut after, last) = (base + 1, base + count + 30);
    let mut answers = Vec::new();
    let before = disk.operations();
    while after < last {
        let entries = library.read(1, after, last);
        let bytes: usize = entries.iter().map(|entry| entry.payload.len()).sum();
        assert!(entries.len() <= READ_COUNT_MAX && bytes < READ_BYTES_MAX + 100_100);
        let zxids = entries.iter().map(|entry| entry.zxid.0);
        assert!(zxids.eq(after + 1..=after + entries.len() as i64));
        after += entries.len() as i64;
        answers.push(entries.len());
    }
    assert_eq!(disk.operations(), before, "reading writes nothing");
    assert_eq!(answers[0], READ_COUNT_MAX);
    assert!(answers.len() >= 4, "{answers:?}");
}

/// A learner that is far behind asks hundreds of times. Were the log passed over from the beginning
/// of its file for each answer, the last would take as long as all of them should.
#[test]
fn reading_on_does_not_begin_again() {
    let disk = SimDisk::new();
    let mut member = Member::boot(&disk);
    let base = 1i64 << 32;
    let last = base + 150;
    member.run((1..=150).map(|n| append_large(base + n, 100_000))).unwrap();
    let mut library = Library::of(&member);
    let (mut after, mut answers) = (base, 0);
    while after < last {
        after += library.read(1, after, last).len() as i64;
        answers += 1;
    }
    assert!(answers > 10, "{answers}");
    assert_eq!(library.steps, answers, "turns taken");
}

/// An ensemble that has not written a snapshot since it was new sends the empty one, and then all
/// of its log, which begins with an epoch.
#[test]
fn the_first_log_of_an_ensemble_is_read_from_its_beginning() {
    let disk = SimDisk::new();
    let mut member = Member::boot(&disk);
    let base = 1i64 << 32;
    member.run((1..=5).map(|n| append(&[base + n]))).unwrap();
    let mut library = Library::of(&member);
    assert_eq!(library.open(1, 0), Opened::At(Zxid(0)));
    assert_eq!(library.zxids(1, 0, base + 5), (base + 1..=base + 5).collect::<Vec<_>>());
    assert!(library.found.unavailable.borrow().is_empty());
    // Where the first transactions of the epoch are missing, nobody knows what belongs there.
    let disk = SimDisk::new();
    let mut member = Member::boot(&disk);
    member.run((3..=5).map(|n| append(&[base + n]))).unwrap();
    let mut library = Library::of(&member);
    assert_eq!(library.zxids(1, 0, base + 5), [0; 0]);
    assert_eq!(library.found.unavailable.take(), [1]);
}

/// The log thread goes on meanwhile, into new files, too; what is half written is the end.
#[test]
fn a_log_that_is_being_written_is_read_as_far_as_it_goes() {
    let disk = SimDisk::new();
    let mut member = Member::boot(&disk);
    let base = 7i64 << 32;
    let mut library = Library::of(&member);
    let mut last = base;
    let mut read = base;
    for round in 0..60 {
        for _ in 0..1 + round % 7 {
            last += 1;
            let roll = (round % 11 == 5).then_some(LogCommand::Roll);
            member.run([append(&[last])].into_iter().chain(roll)).unwrap();
        }
        let entries = library.zxids(1, read, last);
        assert_eq!(entries, (read + 1..=last).collect::<Vec<_>>(), "round {round}");
        read = last;
        if round % 5 == 1 {
            assert_eq!(library.survey(2, last - 1).unwrap().after, Zxid(last));
        }
    }
    assert_eq!(library.zxids(1, last, last + 3), [0; 0]);
    assert_eq!(library.found.unavailable.take(), [1]);
    // A torn write, as another thread finds it in the middle.
    member.run([append(&[last + 1])]).unwrap();
    let name = files(&disk).into_iter().rfind(|name| name.starts_with("log.")).unwrap();
    let path = std::path::Path::new(DATA).join("version-2").join(name);
    let file = disk.open(&path).unwrap();
    let written = disk.bytes(&path);
    let end = written.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    oxkeeper_storage::DiskFile::write_at(&file, &[0, 0, 0, 0, 9, 9, 9, 9, 0, 0, 0, 90, 1], end)
        .unwrap();
    assert_eq!(library.zxids(1, last - 3, last + 9), [last - 2, last - 1, last, last + 1]);
    assert!(disk.bytes(&path).len() == written.len(), "nothing was cut");
    assert_eq!(library.zxids(1, last + 1, last + 9), [0; 0]);
}

/// Many links at once: one that has far to go does not hold up the others.
#[test]
fn links_take_turns() {
    let disk = SimDisk::new();
    let mut member = Member::boot(&disk);
    let base = 1i64 << 32;
    member.run((1..=200).map(|n| append_large(base + n, 100_000))).unwrap();
    member.run([LogCommand::Roll]).unwrap();
    member.run((201..=210).map(|n| append(&[base + n]))).unwrap();
    let mut library = Library::of(&member);
    let survey = |link, n| HistoryCommand::Survey { link: LinkId(link), peer: Zxid(base + n) };
    for command in [survey(1, 199), survey(2, 5), survey(3, 203), survey(4, 190)] {
        assert!(library.worker.take(command).is_none());
    }
    library.forget(4);
    assert_eq!(library.found.order.take(), [2, 3, 1]);
    assert!(!library.found.surveys.borrow().contains_key(&4));
}

#[test]
fn nothing_below_a_received_snapshot_is_history() {
    let (disk, life) = history(12);
    let mut member = Member::boot(&disk);
    let last = life.served.0;
    assert!(Library::of(&member).survey(1, last - 1).is_some());
    let (bytes, _) = crate::member::stream(4);
    // A zxid that the old log could be continued with.
    member.run([receive_all(1, Zxid(last), &bytes)]).unwrap();
    member.run([append(&[last + 1, last + 2])]).unwrap();
    let check = |member: &Member| {
        let mut library = Library::of(member);
        assert_eq!(library.survey(1, last - 1), None);
        assert_eq!(library.zxids(1, last - 3, last), [0; 0]);
        assert_eq!(library.zxids(1, last, last + 2), [last + 1, last + 2]);
        assert_eq!(library.survey(1, last + 1).unwrap().after, Zxid(last + 2));
    };
    check(&member);
    drop(member);
    check(&Member::boot(&disk.crash(0)));
}

/// An observer that kept no log for a while has a hole in it.
#[test]
fn around_a_hole_nobody_knows_what_belongs_there() {
    let disk = SimDisk::new();
    let mut member = Member::boot(&disk);
    let base = 1i64 << 32;
    member.run([append(&[base + 1, base + 2, base + 90, base + 91])]).unwrap();
    let mut library = Library::of(&member);
    for (peer, found) in [(1, true), (2, false), (50, false), (89, false), (90, true)] {
        assert_eq!(library.survey(1, base + peer).is_some(), found, "{peer}");
    }
}

#[test]
fn a_snapshot_goes_out_as_it_came_in() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        for digest in [true, false] {
            let (disk, life) = history(13);
            let mut options = options();
            options.snapshot.compression = compression;
            options.tree.digest_enabled = digest;
            let mut leader = Member::start(&disk, &options, crate::member::MEMBER);
            let mut writer = SnapshotWorker::new(leader.booted.dir.clone(), options.snapshot);
            writer.write_now(&mut leader.booted.shared.tree).unwrap();
            let mut library = Library::of(&leader);
            assert_eq!(library.open(1, 30), Opened::At(life.served));
            let missing = Opened::NoneReaches { at_least: life.served.next() };
            assert_eq!(library.open(2, life.served.0 + 1), missing);
            assert!(library.stream(2).is_none() && library.stream(9).is_none());
            // The file may go while it is sent.
            for name in files(&disk).iter().filter(|name| name.starts_with("snapshot.")) {
                disk.remove(&leader.booted.dir.snapshot_dir().join(name)).unwrap();
            }
            let chunks: Vec<Bytes> = library.stream(1).unwrap().map(Result::unwrap).collect();
            let bytes = chunks.concat();
            assert!(bytes.ends_with(b"\0\0\0\x01/\0\0\0\x0aBenWasHere"));
            let mut learner = Member::boot(&SimDisk::new());
            learner.run([receive_all(1, life.served, &bytes)]).unwrap();
            let expected = life.state_at(life.served).unwrap();
            assert_equal(&learner.tree(), expected, "at the learner");
        }
    }
}

#[test]
fn a_damaged_snapshot_is_not_sent_to_its_end_and_not_twice() {
    let (disk, life) = history(14);
    let mut leader = Member::boot(&disk);
    let mut writer = SnapshotWorker::new(leader.booted.dir.clone(), options().snapshot);
    writer.write_now(&mut leader.booted.shared.tree).unwrap();
    let name = format!("snapshot.{:x}", life.served.0);
    disk.rot(&leader.booted.dir.snapshot_dir().join(name), 60, 1);
    let mut library = Library::of(&leader);
    assert_eq!(library.open(1, 0), Opened::At(life.served));
    let sent: Vec<_> = library.stream(1).unwrap().collect();
    assert!(sent.last().unwrap().is_err());
    let good = sent.iter().flatten();
    assert!(!good.flatten().copied().collect::<Vec<u8>>().ends_with(b"BenWasHere"));
    match library.open(1, 0) {
        Opened::At(older) => assert!(older < life.served),
        other => assert_eq!(other, Opened::NoneReaches { at_least: Zxid(0) }),
    }
}

#[test]
fn only_so_many_snapshots_are_open_at_once() {
    let (disk, _) = history(15);
    let leader = Member::boot(&disk);
    let mut library = Library::of(&leader);
    let mut streams = Vec::new();
    for link in 0..SNAPSHOTS_MAX as u64 {
        assert!(matches!(library.open(link, 0), Opened::At(_)));
        // Half of them are on their way, half are about to.
        streams.extend((link % 2 == 0).then(|| library.stream(link).unwrap()));
    }
    assert_eq!(library.open(99, 0), Opened::Busy);
    drop(streams.pop());
    assert!(matches!(library.open(98, 0), Opened::At(_)));
    library.forget(98);
    assert!(matches!(library.open(99, 0), Opened::At(_)));
}

#[test]
fn what_a_link_may_still_need_is_not_purged() {
    let disk = SimDisk::new();
    let mut member = Member::boot(&disk);
    let base = 1i64 << 32;
    let mut library = Library::of(&member);
    let mut writer = SnapshotWorker::new(member.booted.dir.clone(), options().snapshot);
    for round in 0..8 {
        let last = base + 3 * round + 3;
        member.run([append(&[last - 2, last - 1, last]), LogCommand::Roll]).unwrap();
        let tree = &mut member.booted.shared.tree;
        tree.set_last_zxid(Zxid(last));
        writer.write_now(tree).unwrap();
        if round == 1 {
            assert!(library.survey(7, base + 2).is_some());
        }
        writer.purge();
    }
    assert_eq!(logs(&disk)[0], base + 1);
    let to = base + 24;
    assert_eq!(library.zxids(7, base + 2, to), (base + 3..=to).collect::<Vec<_>>());
    library.forget(7);
    writer.purge();
    assert!(logs(&disk)[0] > base + 10, "{:x?}", logs(&disk));
    assert_eq!(library.survey(8, base + 2), None);
}

/// Reports that cross threads.
#[derive(Debug)]
struct Told(std::sync::Mutex<std::sync::mpsc::Sender<String>>);

impl Told {
    fn say(&self, what: String) {
        self.0.lock().unwrap().send(what).unwrap();
    }
}

impl HistoryReports for Told {
    fn surveyed(&self, link: LinkId, survey: Option<LogSurvey>) {
        self.say(format!("{} surveyed: {}", link.0, survey.is_some()));
    }

    fn read(&self, link: LinkId, entries: Vec<Entry>) {
        self.say(format!("{} read {}", link.0, entries.len()));
    }

    fn opened(&self, link: LinkId, opened: Opened) {
        self.say(format!("{} opened: {}", link.0, matches!(opened, Opened::At(_))));
    }

    fn unavailable(&self, link: LinkId) {
        self.say(format!("{} unavailable", link.0));
    }
}

#[test]
fn the_thread_reads_on_while_a_learner_takes_its_time() {
    let (disk, life) = history(16);
    let member = Member::boot(&disk);
    let (say, hear) = std::sync::mpsc::channel();
    let told = Arc::new(Told(std::sync::Mutex::new(say)));
    let thread = HistoryThread::start(member.booted.dir.clone(), told).unwrap();
    let (slow, fast) = (LinkId(1), LinkId(2));
    thread.send(HistoryCommand::OpenSnapshot { link: slow, at_least: Zxid(0) });
    assert_eq!(hear.recv().unwrap(), "1 opened: true");
    // There is no room for anything until the learner takes what is on its way.
    let (sink, mut taking) = mpsc::channel(1);
    sink.try_send(Ok(Bytes::new())).unwrap();
    thread.send(HistoryCommand::SendSnapshot { link: slow, sink });
    let after = Zxid(life.served.0 - 4);
    thread.send(HistoryCommand::Read { link: fast, after, to: life.served });
    assert_eq!(hear.recv_timeout(Duration::from_secs(60)).unwrap(), "2 read 4");
    thread.go_gently(true);
    thread.send(HistoryCommand::Read { link: fast, after, to: life.served });
    assert_eq!(hear.recv().unwrap(), "2 read 4", "while others are served, too");
    let mut bytes = Vec::new();
    while let Some(chunk) = taking.blocking_recv() {
        bytes.extend(chunk.unwrap());
    }
    assert!(bytes.ends_with(b"BenWasHere"));
    // Nothing was opened for this one.
    let (sink, mut taking) = mpsc::channel(1);
    thread.send(HistoryCommand::SendSnapshot { link: fast, sink });
    assert!(taking.blocking_recv().unwrap().is_err());
}
