//! The log of questions: noted by whoever answers, without waiting, and written by a thread of its own.

use crate::dns::frontend::Via;
use crate::dns::latency::Found;
use crate::dns::query_log::{LINES_MAX, Noted, QueryLogSettings, is_error};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The log. Dropped, it writes what waits and ends.
#[derive(Debug)]
pub struct QueryLog {
    settings: QueryLogSettings,
    /// `None` only while it is dropped.
    lines: Option<SyncSender<Noted>>,
    asked: AtomicU32,
    shared: Arc<Shared>,
    writing: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    reopen: AtomicBool,
    written: AtomicU64,
    dropped: AtomicU64,
}

/// One in so many, for one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampler {
    one_in: u32,
    left: u32,
    errors: bool,
}

impl QueryLog {
    /// Opens the file of `settings`; `None` if they name none.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn open(settings: QueryLogSettings) -> io::Result<Option<Self>> {
        let Some(path) = settings.file.clone() else { return Ok(None) };
        let out = open(&path)?;
        let (lines, waiting) = sync_channel(LINES_MAX);
        let shared = Arc::<Shared>::default();
        let writer = Writer {
            out,
            settings: settings.clone(),
            shared: Arc::clone(&shared),
            is_failing: false,
        };
        let writing = thread::Builder::new()
            .name("query-log".to_owned())
            .spawn(move || writer.run(&waiting))?;
        Ok(Some(Self {
            settings,
            lines: Some(lines),
            asked: AtomicU32::new(rand::random()),
            shared,
            writing: Some(writing),
        }))
    }

    /// The file is opened again before the next line is written: whoever turns logs over has moved it away.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::SeqCst);
    }

    /// Lines written, and lines that there was no room for or that could not be written.
    pub fn counts(&self) -> [u64; 2] {
        [&self.shared.written, &self.shared.dropped].map(|count| count.load(Ordering::Relaxed))
    }

    /// Whether this question is to be noted.
    pub(crate) fn wants(&self, reply: Option<&[u8]>) -> bool {
        let nth = self.asked.fetch_add(1, Ordering::Relaxed);
        nth.checked_rem(self.settings.one_in) == Some(0) || (self.settings.errors && reply.is_some_and(is_error))
    }

    /// The same, for a thread that asks nobody.
    pub(crate) fn sampler(&self) -> Sampler {
        let one_in = self.settings.one_in;
        Sampler {
            one_in,
            left: rand::random::<u32>().checked_rem(one_in).unwrap_or(0),
            errors: self.settings.errors,
        }
    }

    /// Leaves it to be written that `reply` went back to `question`, or nothing did; if there is room.
    pub(crate) fn note(&self, question: &[u8], via: Via, found: Found, took: Duration, reply: Option<&[u8]>) {
        // A clock before 1970 says nothing.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_millis = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
        let noted = Noted::new(question, via, found, took, reply, unix_millis);
        match self.lines.as_ref().map(|lines| lines.try_send(noted)) {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for QueryLog {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writing) = self.writing.take() {
            // It has said so if it failed.
            let _ended = writing.join();
        }
    }
}

impl Sampler {
    /// Whether a question with this answer is to be noted.
    pub(crate) fn wants(&mut self, reply: &[u8]) -> bool {
        if self.one_in > 0 {
            if self.left == 0 {
                self.left = self.one_in - 1;
                return true;
            }
            self.left -= 1;
        }
        self.errors && is_error(reply)
    }
}

struct Writer {
    out: Box<dyn Write + Send>,
    settings: QueryLogSettings,
    shared: Arc<Shared>,
    /// Whether the last write failed: said once, not for each line.
    is_failing: bool,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Noted>) {
        while let Ok(first) = waiting.recv() {
            let written = self.write(first, waiting);
            match written {
                Ok(()) => self.is_failing = false,
                Err(error) if !self.is_failing => {
                    self.is_failing = true;
                    tracing::warn!(%error, file = %self.path().display(), "questions are not logged: make room, or give this user the right to write there");
                }
                Err(_) => {}
            }
        }
    }

    /// Writes what waits now, from `first` on, together.
    fn write(&mut self, first: Noted, waiting: &Receiver<Noted>) -> io::Result<()> {
        let together: Vec<Noted> = std::iter::once(first).chain(waiting.try_iter().take(TOGETHER - 1)).collect();
        let count = together.len() as u64;
        let mut write = || {
            if self.shared.reopen.swap(false, Ordering::SeqCst) {
                let opened = open(self.settings.file.as_deref().unwrap_or(Path::new(STANDARD_ERROR)));
                self.out = opened.inspect_err(|_| self.shared.reopen.store(true, Ordering::SeqCst))?;
            }
            for noted in &together {
                writeln!(self.out, "{}", noted.line(&self.settings))?;
            }
            self.out.flush()
        };
        let written = write();
        let counter = match written {
            Ok(()) => &self.shared.written,
            Err(_) => {
                // Half a line may have been left behind.
                self.shared.reopen.store(true, Ordering::SeqCst);
                &self.shared.dropped
            }
        };
        counter.fetch_add(count, Ordering::Relaxed);
        written
    }

    fn path(&self) -> &Path {
        self.settings.file.as_deref().unwrap_or(Path::new(STANDARD_ERROR))
    }
}

fn open(path: &Path) -> io::Result<Box<dyn Write + Send>> {
    if path == Path::new(STANDARD_ERROR) {
        return Ok(Box::new(BufWriter::new(io::stderr())));
    }
    let file: File = OpenOptions::new().append(true).create(true).mode(FOR_US_AND_OUR_GROUP).open(path)?;
    Ok(Box::new(BufWriter::new(file)))
}

/// What stands for standard error.
const STANDARD_ERROR: &str = "-";

/// Who asked for what is nobody else's business; whoever collects logs is in the group.
const FOR_US_AND_OUR_GROUP: u32 = 0o640;

/// Lines that are written together at most: a screenful for whoever follows, some tens of kilobytes.
const TOGETHER: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::frontend::Carrier;

    fn log(folder: &tempfile::TempDir, one_in: u32, errors: bool) -> QueryLog {
        let settings = QueryLogSettings {
            file: Some(folder.path().join("queries")),
            one_in,
            errors,
            ..QueryLogSettings::default()
        };
        QueryLog::open(settings).expect("opened").expect("a log")
    }

    fn note(log: &QueryLog) {
        let via = Via::new(Carrier::Udp, ([192, 0, 2, 1], 4_000).into());
        log.note(b"", via, Found::Kept, Duration::ZERO, None);
    }

    #[test]
    fn one_in_so_many_is_noted_and_every_error_if_asked() {
        let folder = tempfile::tempdir().expect("folder");
        let (fine, error) = (&[0, 0, 0x81, 0x83], &[0, 0, 0x81, 0x82]);
        for (one_in, errors, of_fine, of_errors) in [(10, false, 10, 10), (10, true, 10, 100), (1, false, 100, 100), (0, true, 0, 100)] {
            let log = log(&folder, one_in, errors);
            for (reply, expected) in [(fine, of_fine), (error, of_errors)] {
                assert_eq!((0..100).filter(|_| log.wants(Some(reply))).count(), expected);
                let mut sampler = log.sampler();
                assert_eq!((0..100).filter(|_| sampler.wants(reply)).count(), expected);
            }
        }
    }

    #[test]
    fn lines_go_on_in_a_new_file_after_the_old_one_was_moved_away() {
        let folder = tempfile::tempdir().expect("folder");
        let (path, moved) = (folder.path().join("queries"), folder.path().join("queries.1"));
        let log = log(&folder, 1, false);
        let lines = |path: &Path| std::fs::read_to_string(path).map_or(0, |text| text.lines().count());
        note(&log);
        while log.counts() != [1, 0] {
            thread::yield_now();
        }
        std::fs::rename(&path, &moved).expect("moved");
        log.reopen();
        for _ in 0..3 {
            note(&log);
        }
        // What waits is written before it ends.
        drop(log);
        assert_eq!((lines(&moved), lines(&path)), (1, 3));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_said_at_the_start() {
        let file = Some("/nowhere/at/all".into());
        let settings = QueryLogSettings {
            file,
            ..QueryLogSettings::default()
        };
        assert!(QueryLog::open(settings).is_err());
        assert!(QueryLog::open(QueryLogSettings::default()).expect("none").is_none());
    }
}
