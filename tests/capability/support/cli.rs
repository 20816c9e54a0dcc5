//! The command, run to its end in a home of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A home folder that goes away, in which commands are run.
#[derive(Debug)]
pub struct World {
    home: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl World {
    /// An empty home.
    pub fn new() -> Self {
        Self {
            home: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// A path in the home.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file in the home.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file in the home");
        path
    }

    /// The binary under test, with an environment that nothing of the caller's leaks into.
    pub fn command(&self) -> Command {
        self.at_home(env!("CARGO_BIN_EXE_dialtone"))
    }

    /// Another program, in the same home and as bare an environment.
    pub fn at_home(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .stdin(Stdio::null());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }

    /// Runs `dialtone ARGS` to its end; kills it, and fails, after a minute.
    pub fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Ran {
        finish(self.command().args(args))
    }

    /// As [`World::run`], for commands that must succeed.
    pub fn ok<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.status, Some(0), "{ran}");
        ran
    }
}

impl Ran {
    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.stdout.trim()).unwrap_or_else(|error| panic!("not JSON ({error}):\n{self}"))
    }

    /// It must have failed with `status`, said each of `said` on standard error as `error:` and `help:` lines, and nothing on standard output.
    pub fn failed(&self, status: i32, said: &[&str]) {
        assert_eq!(self.status, Some(status), "{self}");
        assert!(self.stderr.contains("error: "), "{self}");
        assert_eq!(self.stdout, "", "{self}");
        for text in said {
            assert!(self.stderr.contains(text), "should say {text:?}\n{self}");
        }
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "status {:?}\n--- stdout\n{}--- stderr\n{}",
            self.status, self.stdout, self.stderr
        )
    }
}

/// Runs any command to its end; kills it, and fails, after a minute.
pub fn finish(command: &mut Command) -> Ran {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = drain(child.stdout.take().expect("piped"));
    let stderr = drain(child.stderr.take().expect("piped"));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} did not end:\n{}", stderr.join().unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ran {
        status: status.code(),
        stdout: stdout.join().expect("a reader"),
        stderr: stderr.join().expect("a reader"),
    }
}

fn drain(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// No command here takes longer, on a loaded machine either.
const PATIENCE: Duration = Duration::from_secs(60);
