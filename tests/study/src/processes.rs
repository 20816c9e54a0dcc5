//! Providers as separate processes on loopback: `dialtone provider`, each with its own folder, ports that the system chooses, and
//! agreements with others.

use crate::Error;
use crate::cpu;
use crate::figures::{Form, Shape};
use crate::http::Connection;
use dialtone_provider::identity;
use dialtone_shared::Name;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::time::sleep;

/// A network of providers, all linked with all.
#[derive(Debug)]
pub struct Network {
    /// The providers.
    pub providers: Vec<Process>,
    /// Kept for as long as the processes: it goes away with them.
    _folder: TempDir,
}

/// One provider.
#[derive(Debug)]
pub struct Process {
    /// Where its HTTP service is.
    pub http: SocketAddr,
    peering: SocketAddr,
    child: Child,
}

/// The counters of all providers together, by name, over all labels.
pub type Counts = BTreeMap<String, f64>;

impl Network {
    /// Starts `count` providers that push to each other in this form, the last `riders` of which only take, and waits until every link
    /// stands.
    ///
    /// # Errors
    /// A folder or process cannot be made, or the links do not come up in time.
    pub async fn start(dialtone: &Path, count: usize, shape: Shape, riders: usize, form: Form) -> Result<Self, Error> {
        let folder = TempDir::with_prefix("dialtone-study-")?;
        let mut names = Vec::new();
        let mut folders = Vec::new();
        for number in 0..count {
            let data = folder.path().join(format!("provider-{number}"));
            std::fs::create_dir(&data)?;
            names.push(identity::open(&data.join("identity.key"), true)?.name());
            folders.push(data);
        }
        let mut providers: Vec<Process> = Vec::new();
        for (number, data) in folders.into_iter().enumerate() {
            let rides = number >= count - riders;
            let mut settings = format!("data = \"{}\"\n[http]\nlisten = [\"127.0.0.1:0\"]\n", data.display());
            settings.push_str("[dns]\nlisten = []\n[peering]\nlisten = \"127.0.0.1:0\"\n[log]\nfilter = \"error\"\n");
            for (other, name) in names.iter().enumerate().filter(|(other, _)| *other != number) {
                // Whoever is started later dials.
                let at = providers.get(other).map(|peer| peer.peering);
                settings.push_str(&agreement(name, at, shape, form, rides));
            }
            let file = data.join("provider.toml");
            std::fs::write(&file, settings)?;
            providers.push(Process::start(dialtone, &file)?);
        }
        let network = Self {
            providers,
            _folder: folder,
        };
        let links = (count * (count - 1)) as f64;
        network
            .until("every link stands", |counts| at(counts, "dialtone_peer_up") >= links)
            .await?;
        Ok(network)
    }

    /// Waits until the counters of all are so.
    ///
    /// # Errors
    /// They are not, for a minute.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Counts) -> bool) -> Result<Counts, Error> {
        let began = Instant::now();
        loop {
            let counts = self.counts().await?;
            if is_so(&counts) {
                return Ok(counts);
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("waited in vain until {what}: {counts:?}").into());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The counters of all together.
    ///
    /// # Errors
    /// A provider does not answer.
    pub async fn counts(&self) -> Result<Counts, Error> {
        let mut all = Counts::new();
        for one in &self.providers {
            for (key, value) in one.counts().await? {
                *all.entry(key).or_default() += value;
            }
        }
        Ok(all)
    }

    /// Processor time that all have used so far, in microseconds; `None`: this system does not tell.
    pub fn cpu_us(&self) -> Option<f64> {
        self.providers.iter().map(|one| cpu::of_process(one.child.id())).sum()
    }

    /// Stops all, each in good order.
    ///
    /// # Errors
    /// A process cannot be stopped.
    pub fn stop(mut self) -> Result<(), Error> {
        for one in &mut self.providers {
            // Only what was started here, by its id.
            Command::new("kill").args(["-TERM", &one.child.id().to_string()]).status()?;
        }
        for one in &mut self.providers {
            one.child.wait()?;
        }
        Ok(())
    }
}

impl Process {
    fn start(dialtone: &Path, settings: &Path) -> Result<Self, Error> {
        let mut child = Command::new(dialtone)
            .args(["provider", "--json", "--config"])
            .arg(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", dialtone.display()))?;
        let mut said = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut said)?;
        }
        let said: serde_json::Value = serde_json::from_str(&said).map_err(|error| format!("a provider did not start: {error}"))?;
        let address = |value: &serde_json::Value| value.as_str().and_then(|text| text.parse().ok());
        let at = (address(&said["http"][0]), address(&said["peering"]));
        let (Some(http), Some(peering)) = at else {
            return Err(format!("a provider listens nowhere: {said}").into());
        };
        Ok(Self { http, peering, child })
    }

    /// Its counters, each over all labels.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn counts(&self) -> Result<Counts, Error> {
        let page = Connection::open(self.http).await?.page("/metrics").await?;
        let mut counts = Counts::new();
        for line in str::from_utf8(&page.body)?.lines().filter(|line| !line.starts_with('#')) {
            if let Some((key, value)) = line.rsplit_once(' ') {
                let key = key.split('{').next().unwrap_or(key);
                *counts.entry(key.to_owned()).or_default() += value.parse::<f64>()?;
            }
        }
        Ok(counts)
    }
}

impl Drop for Process {
    /// Whatever goes wrong, no process outlives the study.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It may have ended in between, which is what is wanted.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A counter, or 0 where nobody has counted anything yet.
pub fn at(counts: &Counts, key: &str) -> f64 {
    counts.get(key).copied().unwrap_or_default()
}

/// The block of settings for a peer. Who rides for free pushes nothing and answers nothing, and takes what it can get.
fn agreement(peer: &Name, at: Option<SocketAddr>, shape: Shape, form: Form, rides: bool) -> String {
    let (push, accept) = (if rides { Form::None } else { form }.word(), form.word());
    let mut block = format!(
        "[[peer]]\nname = \"{peer}\"\npush = \"{push}\"\naccept = \"{accept}\"\nanswers = {}\n",
        !rides
    );
    if shape == Shape::Peers {
        block.push_str("relationship = \"peer\"\n");
    }
    if let Some(at) = at {
        let _ = writeln!(block, "addresses = [\"{at}\"]");
    }
    block
}

/// How long links and feeds have to settle.
const PATIENCE: Duration = Duration::from_secs(60);
