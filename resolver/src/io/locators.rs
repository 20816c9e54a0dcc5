//! Where this machine is now: the addresses of its interfaces, or what a file or a command says. Looked at so often that a change is seen within half a second.

use dialtone_shared::record::Address;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

/// Where locators come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The interfaces of this machine that are up: all but loopback, or the one of this name.
    Interfaces(Option<String>),
    /// A file with an address a line.
    File(PathBuf),
    /// A command that prints an address a line.
    Command(String),
}

/// Text that is no source.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` cannot be followed: write interfaces, interface:NAME, file:PATH or command:LINE")]
pub struct SourceTextError(String);

impl FromStr for Source {
    type Err = SourceTextError;

    fn from_str(text: &str) -> Result<Self, SourceTextError> {
        match text.split_once(':') {
            None if text == "interfaces" => Ok(Self::Interfaces(None)),
            Some(("interface", name)) if !name.is_empty() => Ok(Self::Interfaces(Some(name.to_owned()))),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("command", line)) if !line.trim().is_empty() => Ok(Self::Command(line.to_owned())),
            _ => Err(SourceTextError(text.to_owned())),
        }
    }
}

/// Follows some sources. How an address is written is the caller's affair.
#[derive(Debug)]
pub struct Follower<R> {
    sources: Vec<Source>,
    read: R,
    said: Option<Vec<Address>>,
    trouble: Option<String>,
}

/// What has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Moved {
    /// The addresses are these now; never none.
    To(Vec<Address>),
    /// They are not known, for this reason; what was known stays.
    Lost(String),
}

impl<R: Fn(&str) -> Result<Address, String>> Follower<R> {
    /// Follows `sources`, of which files and commands write addresses as `read` reads them.
    pub fn new(sources: Vec<Source>, read: R) -> Self {
        Self {
            sources,
            read,
            said: None,
            trouble: None,
        }
    }

    /// Waits until the addresses are others than those said last, or cannot be known any more. May be dropped while it waits.
    pub async fn next(&mut self) -> Moved {
        loop {
            if let Some(moved) = self.look().await {
                return moved;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn look(&mut self) -> Option<Moved> {
        let mut found = Vec::new();
        for source in &self.sources {
            match self.addresses(source).await {
                Ok(addresses) => found.extend(addresses),
                Err(reason) => return self.lost(reason),
            }
        }
        let mut seen = BTreeSet::new();
        found.retain(|address| seen.insert(address.ip));
        if found.len() > ADDRESSES_MAX {
            return self.lost(format!("{} addresses are more than a record has room for", found.len()));
        }
        if found.is_empty() {
            // A machine between two networks has not moved to nowhere.
            return self.lost("there is no address".to_owned());
        }
        self.trouble = None;
        if self.said.as_ref() == Some(&found) {
            return None;
        }
        self.said = Some(found.clone());
        Some(Moved::To(found))
    }

    fn lost(&mut self, reason: String) -> Option<Moved> {
        if self.trouble.as_ref() == Some(&reason) {
            return None;
        }
        self.trouble = Some(reason.clone());
        Some(Moved::Lost(reason))
    }

    async fn addresses(&self, source: &Source) -> Result<Vec<Address>, String> {
        match source {
            Source::Interfaces(name) => of_interfaces(name.as_deref()),
            Source::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
                self.lines(&text).map_err(|reason| format!("{}: {reason}", path.display()))
            }
            Source::Command(line) => {
                let text = output_of(line).await.map_err(|reason| format!("`{line}`: {reason}"))?;
                self.lines(&text).map_err(|reason| format!("`{line}`: {reason}"))
            }
        }
    }

    fn lines(&self, text: &str) -> Result<Vec<Address>, String> {
        text.lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim())
            .filter(|line| !line.is_empty())
            .take(ADDRESSES_MAX + 1)
            .map(&self.read)
            .collect()
    }
}

/// The addresses by which others may reach this machine: not loopback (unless that interface is named), not link-local.
fn of_interfaces(name: Option<&str>) -> Result<Vec<Address>, String> {
    let all = if_addrs::get_if_addrs().map_err(|error| format!("the interfaces: {error}"))?;
    let mut ips: Vec<IpAddr> = all
        .iter()
        .filter(|interface| interface.is_oper_up() && name.map_or(!interface.is_loopback(), |name| interface.name == name))
        .map(if_addrs::Interface::ip)
        .filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_unspecified() && !ip.is_multicast(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local() && !ip.is_unspecified() && !ip.is_multicast(),
        })
        .collect();
    ips.sort_unstable();
    Ok(ips.into_iter().map(Address::of).collect())
}

async fn output_of(line: &str) -> Result<String, String> {
    let mut child = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    let pipe = child.stdout.take();
    let run = async {
        let mut text = String::new();
        if let Some(pipe) = pipe {
            pipe.take(OUTPUT_BYTES_MAX)
                .read_to_string(&mut text)
                .await
                .map_err(|error| error.to_string())?;
        }
        let status = child.wait().await.map_err(|error| error.to_string())?;
        if status.success() {
            Ok(text)
        } else {
            Err(format!("it ended with {status}"))
        }
    };
    let outcome = timeout(COMMAND_PATIENCE, run).await;
    outcome.unwrap_or_else(|_| Err(format!("it did not end within {} s", COMMAND_PATIENCE.as_secs())))
}

/// How often the sources are looked at: with the time of a put, a move is known everywhere within a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a command may take.
const COMMAND_PATIENCE: Duration = Duration::from_secs(10);
/// What is read of a command's output.
const OUTPUT_BYTES_MAX: u64 = 16 * 1024;
/// Addresses that are followed. Records have room for more, but not beside everything else.
const ADDRESSES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Result<Address, String> {
        text.parse().map(Address::of).map_err(|_| format!("`{text}` is no address"))
    }

    fn to(list: &[&str]) -> Moved {
        Moved::To(list.iter().map(|ip| Address::of(ip.parse().unwrap())).collect())
    }

    #[tokio::test]
    async fn a_file_and_a_command_are_followed_and_what_is_lost_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("addresses");
        let file: Source = format!("file:{}", path.display()).parse().unwrap();
        let mut follower = Follower::new(vec![file, "command:echo 192.0.2.9".parse().unwrap()], plain);
        assert!(matches!(follower.next().await, Moved::Lost(reason) if reason.contains("addresses")));
        std::fs::write(&path, "192.0.2.1 # home\n\n# none\n2001:db8::1\n192.0.2.9\n").unwrap();
        assert_eq!(follower.next().await, to(&["192.0.2.1", "2001:db8::1", "192.0.2.9"]), "each once");
        assert_eq!(follower.look().await, None, "nothing has changed");
        std::fs::write(&path, "nowhere").unwrap();
        assert!(matches!(follower.next().await, Moved::Lost(reason) if reason.contains("`nowhere`")));
        assert_eq!(follower.look().await, None, "said once");
        std::fs::write(&path, "192.0.2.2").unwrap();
        assert_eq!(follower.next().await, to(&["192.0.2.2", "192.0.2.9"]));
    }

    #[tokio::test]
    async fn a_command_that_fails_or_says_nothing_is_said_to() {
        for (line, says) in [
            ("exit 3", "exit status: 3"),
            ("true", "no address"),
            ("echo x", "`x`"),
            ("i=1; while [ $i -lt 40 ]; do echo 192.0.2.$i; i=$((i+1)); done", "more than"),
        ] {
            let mut follower = Follower::new(vec![Source::Command(line.to_owned())], plain);
            match follower.next().await {
                Moved::Lost(reason) => assert!(reason.contains(says), "{line}: {reason}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_interface_that_every_machine_has_is_found_by_its_name_only() {
        let here = of_interfaces(Some("lo")).unwrap();
        if !here.is_empty() {
            assert!(here.iter().any(|address| address.ip.is_loopback()));
        }
        assert!(of_interfaces(None).unwrap().iter().all(|address| !address.ip.is_loopback()));
        assert!(of_interfaces(Some("no-such-interface")).unwrap().is_empty());
    }

    #[test]
    fn a_source_says_what_it_is() {
        assert_eq!("interface:eth0".parse(), Ok(Source::Interfaces(Some("eth0".to_owned()))));
        for text in ["", "eth0", "interface:", "file:", "command: ", "zone:x"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
