//! Sockets that are passed to a command as systemd passes them (`sd_listen_fds(3)`).

use super::World;
use command_fds::{CommandFdExt, FdMapping};
use std::os::fd::OwnedFd;
use std::process::Command;

/// What is passed, in this order; it stays open here.
#[derive(Debug, Default)]
pub struct Passed(Vec<OwnedFd>);

impl Passed {
    /// One more.
    pub fn add(&mut self, what: impl Into<OwnedFd>) {
        self.0.push(what.into());
    }

    /// `dialtone ARGS`, with all of them.
    pub fn command(&self, world: &World, args: &[&str]) -> Command {
        self.command_for(world, "$$", args)
    }

    /// The same, where they are said to be for the process `whom`; `$$` is the one that gets them.
    pub fn command_for(&self, world: &World, whom: &str, args: &[&str]) -> Command {
        // Only the process itself knows its id before it is the command.
        let told = format!("LISTEN_PID={whom} LISTEN_FDS={} exec \"$0\" \"$@\"", self.0.len());
        let mut command = world.at_home("sh");
        command.args(["-c", &told, env!("CARGO_BIN_EXE_dialtone")]).args(args);
        let mappings = self.0.iter().zip(3..).map(|(passed, child_fd)| FdMapping {
            parent_fd: passed.try_clone().expect("one more"),
            child_fd,
        });
        command.fd_mappings(mappings.collect()).expect("each has a number of its own");
        command
    }
}
