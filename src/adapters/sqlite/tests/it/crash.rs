//! Crashes: a real process that appends is killed at any moment, over and over, on one journal; and the
//! log is cut as a loss of power cuts it. What was acknowledged must be there, and nothing may be torn.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use opsward_domain::event::{Body, Event, NewEvent, StreamKind, StreamName};
use opsward_ports::journal::{Error, Journal as _, conformance};
use opsward_sqlite::{Options, SqliteJournal};

use crate::support::{Dice, block_on, caller, copy, incident, open, path};

/// The cases of this file.
pub(crate) const CASES: &[crate::Case] = &[
    ("what_was_acknowledged_survives_kill", what_was_acknowledged_survives_kill),
    ("a_cut_log_loses_only_a_tail", a_cut_log_loses_only_a_tail),
];

/// Times the writer is killed.
const KILLS: u64 = 14;
/// Streams the writer appends to at the same time.
const STREAMS: u64 = 4;
/// Longest wait for a line of the writer.
const LINE_SECONDS_MAX: u64 = 60;
/// Events of an append: a whole one or nothing must be there.
const EVENTS: u64 = 3;

fn stream(n: u64) -> StreamName {
    conformance::stream("acme", StreamKind::Command, &format!("s{n}"))
}

fn event(n: u64, stream_seq: u64) -> NewEvent {
    let text = format!("stream {n}, event {stream_seq}");
    if stream_seq.is_multiple_of(2) { conformance::power(&text) } else { conformance::process(&text) }
}

/// The process that gets killed: appends for ever and says what was acknowledged.
pub(crate) fn writer(dir: &Path) {
    block_on(async {
        let journal = Arc::new(open(dir).await);
        println!("open");
        let tasks: Vec<_> = (0..STREAMS).map(|n| tokio::spawn(append_for_ever(Arc::clone(&journal), n))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

async fn append_for_ever(journal: Arc<SqliteJournal>, n: u64) {
    let (cx, stream) = (caller(), stream(n));
    let listed = journal.streams(&cx, stream.kind, 1_000).await.unwrap();
    let mut last = listed.iter().find(|(name, _)| *name == stream).map_or(0, |(_, last)| *last);
    // Why bounded: a writer whose parent is gone must end by itself.
    while last < 100_000 {
        let events = (last + 1..=last + EVENTS).map(|seq| event(n, seq)).collect();
        last = journal.append(&cx, &stream, last, events).await.unwrap().stream_seq;
        let line = format!("{n} {last}\n");
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).and_then(|()| out.flush()).unwrap();
    }
}

/// A writer and the lines it says.
struct Victim {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Victim {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg("child-writer").arg(dir).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(LINE_SECONDS_MAX)).expect("the writer said nothing")
    }

    /// Kills it with SIGKILL, and returns what it had said by then.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }
}

fn what_was_acknowledged_survives_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<u64, u64> = BTreeMap::new();
    let mut heads = vec![0];
    for round in 0..KILLS {
        let mut dice = Dice::new(round);
        let victim = Victim::start(dir.path());
        let mut said = Vec::new();
        if round % 5 == 4 {
            // Why a wait: this one is to die while it opens, at a moment of its own.
            std::thread::sleep(Duration::from_millis(dice.below(25)));
        } else {
            assert_eq!(victim.line(), "open");
            refuses_a_second_process(dir.path(), victim.child.id());
            said.extend((0..dice.below(60)).map(|_| victim.line()));
        }
        said.extend(victim.kill());
        for line in said.iter().filter(|line| line.as_str() != "open") {
            let Some((n, seq)) = line.split_once(' ') else { panic!("{line}") };
            acknowledged.insert(n.parse().unwrap(), seq.parse().unwrap());
        }
        heads.push(block_on(is_whole(dir.path(), &acknowledged)));
    }
    assert!(heads.is_sorted(), "{heads:?}");
    assert_eq!(acknowledged.len() as u64, STREAMS, "every stream got some events");
    println!("{KILLS} kills, journal heads {heads:?}");
}

fn refuses_a_second_process(dir: &Path, pid: u32) {
    let refused = block_on(SqliteJournal::open(&path(dir), Options::default()));
    let Err(Error::Unavailable { detail, .. }) = refused else { panic!("two processes have one journal open") };
    assert!(detail.contains(&format!("process {pid} has this journal open")), "{detail}");
}

/// Checks everything that was acknowledged and returns the head.
async fn is_whole(dir: &Path, acknowledged: &BTreeMap<u64, u64>) -> u64 {
    let journal = open(dir).await;
    let verified = journal.verify(1).await.unwrap();
    assert_eq!(verified.damage, []);
    assert_eq!(verified.entries, *journal.head().borrow());
    for (n, last) in acknowledged {
        let mut events: Vec<Event> = Vec::new();
        while let page = journal.read(&caller(), &stream(*n), events.len() as u64, 1_000).await.unwrap()
            && !page.is_empty()
        {
            events.extend(page);
        }
        assert!(events.len() as u64 >= *last, "stream {n} has {} events, {last} were acknowledged", events.len());
        assert_eq!(events.len() as u64 % EVENTS, 0, "half an append is there");
        for (event, seq) in events.iter().zip(1..) {
            assert_eq!(event.stream_seq, seq);
            assert_eq!(event.body.as_ref(), Some(&self::event(*n, seq).body));
        }
    }
    let head = *journal.head().borrow();
    journal.close().await.unwrap();
    head
}

/// A loss of power leaves some beginning of the log. Wherever it is cut, the journal opens with a beginning
/// of what was appended, and with everything acknowledged before the log had that length.
fn a_cut_log_loses_only_a_tail() {
    block_on(async {
        let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let journal = open(dir.path()).await;
        let log = |dir: &Path| dir.join("journal.db-wal");
        let mut lengths = vec![(0, 0)];
        for seq in 0..60 {
            let text = "x".repeat(usize::try_from(seq).unwrap() * 200);
            journal.append(&caller(), &incident(), seq, vec![conformance::power(&text)]).await.unwrap();
            lengths.push((log(dir.path()).metadata().unwrap().len(), seq + 1));
        }
        copy(dir.path(), image.path());
        journal.close().await.unwrap();
        let bytes = std::fs::read(log(image.path())).unwrap();
        assert_eq!(lengths.last().unwrap().0, bytes.len() as u64, "the log was not reused");
        let mut dice = Dice::new(3);
        for round in 0..60 {
            let cut = if round < 20 { lengths[round * 3].0 } else { dice.below(bytes.len() as u64) };
            let at_least = lengths.iter().rev().find(|(length, _)| *length <= cut).unwrap().1;
            let torn = tempfile::tempdir().unwrap();
            copy(image.path(), torn.path());
            let mut log_bytes = bytes[..usize::try_from(cut).unwrap()].to_vec();
            // Why: the disk may have made room for what it never wrote.
            log_bytes.resize(log_bytes.len() + 4_096 * (round % 3), 0);
            std::fs::write(log(torn.path()), log_bytes).unwrap();
            let journal = open(torn.path()).await;
            let verified = journal.verify(1).await.unwrap();
            assert_eq!(verified.damage, [], "cut at {cut}");
            assert!(verified.entries >= at_least, "cut at {cut}: {} of {at_least} are left", verified.entries);
            let events = journal.read(&caller(), &incident(), 0, 1_000).await.unwrap();
            assert!(events.iter().all(|event| matches!(event.body, Some(Body::MessageReceived { .. }))));
            let next = events.len() as u64;
            journal.append(&caller(), &incident(), next, vec![conformance::power("goes on")]).await.unwrap();
            journal.close().await.unwrap();
        }
    });
}
