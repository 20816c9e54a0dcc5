//! Other people's clients.

use super::{Ran, finish};
use std::process::Command;

/// A client that this machine may or may not have.
#[derive(Debug)]
pub struct Tool(&'static str);

impl Tool {
    /// Finds it. Where it is missing the test says so and passes, but not in CI, which has to install it.
    pub fn find(name: &'static str) -> Option<Self> {
        let asked = if name == "openssl" { "version" } else { "-V" };
        if Command::new(name).arg(asked).output().is_ok() {
            return Some(Self(name));
        }
        assert!(std::env::var_os("CI").is_none(), "{name} is not installed, and CI must have it");
        println!("{name} is not installed: this test passes without having tried it");
        None
    }

    /// The first of `names` that is there. Where there is none the test says so and passes, in CI too: not every machine can have it.
    pub fn find_any(names: &[&'static str]) -> Option<Self> {
        let found = names.iter().find(|name| Command::new(name).arg("--version").output().is_ok());
        if found.is_none() {
            println!("none of {names:?} is installed: this test passes without having tried it");
        }
        found.map(|name| Self(name))
    }

    /// Runs it to its end.
    pub fn run<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(&self, args: I) -> Ran {
        finish(Command::new(self.0).args(args))
    }
}
