//! Every exit status, and what ends a verb before its time: one list, and one shape for errors.

use std::fmt;

/// How the command ended, as a script sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Done = 0,
    /// Our mistake, or something nobody thought of.
    Bug = 1,
    /// The command line makes no sense as a whole; clap's own number.
    Usage = 2,
    /// What was given is not what it must be.
    BadInput = 3,
    /// A provider understood and said no.
    Refused = 4,
    /// There is nothing to show.
    Absent = 5,
    /// Nobody answered.
    Network = 6,
    /// An answer came that is not to be believed.
    Unverified = 7,
    /// The settings cannot be used.
    Settings = 8,
    /// This machine said no: a file, a folder, a port.
    Local = 9,
    /// Nothing is wrong for good.
    Busy = 10,
}

impl Exit {
    /// All of them, in order.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::Bug,
        Self::Usage,
        Self::BadInput,
        Self::Refused,
        Self::Absent,
        Self::Network,
        Self::Unverified,
        Self::Settings,
        Self::Local,
        Self::Busy,
    ];

    /// What it means, in a line of help.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Bug => "a mistake of Dialtone's own: please tell us",
            Self::Usage => "usage: the command line could not be understood",
            Self::BadInput => "bad input: a value, name, key, record or file is not what it must be",
            Self::Refused => "refused: the provider understood and said no",
            Self::Absent => "absent: there is no such name, or it expired or was revoked",
            Self::Network => "network: no provider answered",
            Self::Unverified => "not verified: what was answered cannot be believed",
            Self::Settings => "settings: a settings file or value cannot be used",
            Self::Local => "this machine: a file, folder or port cannot be used",
            Self::Busy => "busy: try again later",
        }
    }

    /// The list as it stands below `--help`.
    pub fn list() -> String {
        let mut list = String::from("Exit status:\n");
        for exit in Self::ALL {
            list.push_str(&format!("  {:>2}  {}\n", exit as u8, exit.meaning()));
        }
        list
    }
}

/// Why a verb ended before its time: the thing, the reason, the remedies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The status to leave with.
    pub exit: Exit,
    thing: String,
    reason: String,
    help: Vec<String>,
}

/// What every verb returns.
pub type Outcome = Result<(), Failure>;

impl Failure {
    /// `thing` failed for `reason`.
    pub fn new(exit: Exit, thing: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self {
            exit,
            thing: thing.to_string(),
            reason: without_numbers(&reason.to_string()),
            help: Vec::new(),
        }
    }

    /// With something that can be done about it.
    pub fn help(mut self, remedy: impl fmt::Display) -> Self {
        self.help.push(remedy.to_string());
        self
    }

    /// The reader of our output went away (`dialtone ... | head -1`): nothing failed, nobody is listening.
    pub fn nobody_listens() -> Self {
        Self::new(Exit::Done, "", "")
    }

    /// Everything is said already; only the status is left.
    pub fn already_said(exit: Exit) -> Self {
        Self::new(exit, "", "")
    }

    /// What failed.
    pub fn thing(&self) -> &str {
        &self.thing
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What can be done about it.
    pub fn remedies(&self) -> &[String] {
        &self.help
    }

    /// A file that cannot be read or written, with the usual remedies.
    pub fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let failure = Self::new(Exit::Local, path.display(), plain(error));
        match error.kind() {
            ErrorKind::NotFound => failure.help("check the path: the file or its folder does not exist"),
            ErrorKind::PermissionDenied => failure.help("check who owns it, or run as the user who does"),
            ErrorKind::AlreadyExists => failure.help("nothing is overwritten: choose another path, or move the old file away"),
            ErrorKind::StorageFull => failure.help("free some space on this disk"),
            _ => failure,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.thing.is_empty() && self.reason.is_empty() {
            return Ok(());
        }
        writeln!(f, "error: {}: {}", harmless(&self.thing), harmless(&self.reason))?;
        if self.exit == Exit::Bug {
            writeln!(f, "help: this should not happen: please tell us what you did")?;
        }
        self.help.iter().try_for_each(|remedy| writeln!(f, "help: {}", harmless(remedy)))
    }
}

/// Reasons may repeat what somebody else said: line by line, without what a terminal would act upon.
fn harmless(text: &str) -> String {
    text.split('\n').map(crate::show::printable).collect::<Vec<_>>().join("\n")
}

/// An I/O error as a person reads it.
pub fn plain(error: &std::io::Error) -> String {
    without_numbers(&error.to_string())
}

/// Without the operating system's own numbers, which say nothing that the words do not: ` (os error 98)`.
fn without_numbers(text: &str) -> String {
    let mut words = text.to_owned();
    while let Some(start) = words.find(" (os error ")
        && let Some(length) = words[start..].find(')')
    {
        words.replace_range(start..=start + length, "");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_every_status_once_and_in_order() {
        let list = Exit::list();
        for (index, exit) in Exit::ALL.iter().enumerate() {
            assert_eq!(*exit as usize, index);
            assert_eq!(list.matches(exit.meaning()).count(), 1);
        }
    }

    #[test]
    fn a_failure_names_the_thing_the_reason_and_the_remedy() {
        let failure = Failure::new(Exit::Local, "home.key", "permission denied").help("check who owns it");
        assert_eq!(failure.to_string(), "error: home.key: permission denied\nhelp: check who owns it\n");
    }

    #[test]
    fn what_somebody_else_said_does_nothing_to_the_terminal() {
        let said = Failure::new(Exit::Network, "x\u{1b}[2J", "it said \u{9b}31m\u{2066}\nand more").help("\u{1b}c");
        let said = said.to_string();
        assert!(!said.contains(['\u{1b}', '\u{9b}', '\u{2066}']), "{said:?}");
        assert_eq!(said.lines().count(), 3);
    }

    #[test]
    fn the_system_s_numbers_are_left_out() {
        let said = Failure::new(Exit::Network, "x", "refused (os error 111) there (os error 2)").to_string();
        assert_eq!(said, "error: x: refused there\n");
        assert_eq!(without_numbers("cut (os error "), "cut (os error ");
    }
}
