//! A command that stays until it is told to go, and goes when its test ends.

use super::World;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A running `dialtone`; killed, by its id, when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Running {
    /// Starts `dialtone ARGS`.
    pub fn start(world: &World, args: &[&str]) -> Self {
        let mut command = world.command();
        command.args(args);
        Self::spawn(&mut command)
    }

    /// Starts a prepared command.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (sender, lines) = channel();
        let stdout = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (mut pipe, keep) = (child.stderr.take().expect("piped"), stderr.clone());
        std::thread::spawn(move || {
            let mut chunk = [0; 4_096];
            while let Ok(count @ 1..) = pipe.read(&mut chunk) {
                keep.lock().expect("no reader panics").extend_from_slice(&chunk[..count]);
            }
        });
        Self { child, lines, stderr }
    }

    /// The next line of standard output that contains `text`.
    pub fn line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = String::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen += &(line + "\n"),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no line with {text:?}:\n--- stdout\n{seen}--- stderr\n{}", self.stderr())
                }
            }
        }
    }

    /// What it said on standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().expect("no reader panics")).into_owned()
    }

    /// Waits until it has said `text` on standard error.
    pub fn said(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.stderr().contains(text) {
            assert!(Instant::now() < deadline, "it should say {text:?}:\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name and waits for its end.
    pub fn signal(mut self, name: &str) -> ExitStatus {
        self.send(name);
        self.wait()
    }

    /// Sends it a signal by name.
    pub fn send(&self, name: &str) {
        // The shell's own `kill`: small systems have no other.
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.id())])
            .status()
            .expect("a shell");
        assert!(sent.success(), "the process was gone already:\n{}", self.stderr());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not end:\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
