//! A real provider: `dialtone provider` in a process of its own, its counters and its processor time.

use crate::parts::Error;
use crate::parts::http::Connection;
use dialtone_provider::identity;
use dialtone_shared::Name;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Where a provider is to be: its folder, with its key.
pub struct Place {
    pub name: Name,
    pub data: PathBuf,
}

/// A provider that runs.
pub struct Provider {
    pub http: SocketAddr,
    pub peering: SocketAddr,
    child: Child,
}

/// Its counters, each over all labels.
pub type Counts = BTreeMap<String, f64>;

impl Place {
    pub fn new(root: &Path, number: usize) -> Result<Self, Error> {
        let data = root.join(format!("provider-{number}"));
        std::fs::create_dir_all(&data)?;
        let name = identity::open(&data.join("identity.key"), true)?.name();
        Ok(Self { name, data })
    }

    /// Has it read these blocks of settings in the stead of those that it has.
    pub fn agree(&self, provider: &Provider, peers: &str) -> Result<(), Error> {
        self.settings(peers)?;
        let told = Command::new("kill").args(["-HUP", &provider.pid().to_string()]).status()?;
        told.success().then_some(()).ok_or_else(|| "the provider is gone".into())
    }

    fn settings(&self, peers: &str) -> Result<PathBuf, Error> {
        let mut settings = format!("data = \"{}\"\n[http]\nlisten = [\"127.0.0.1:0\"]\n", self.data.display());
        settings.push_str("[dns]\nlisten = []\n[peering]\nlisten = \"127.0.0.1:0\"\n[log]\nfilter = \"error\"\n");
        settings.push_str(peers);
        let file = self.data.join("provider.toml");
        std::fs::write(&file, settings)?;
        Ok(file)
    }

    /// Starts it, with these blocks of settings; on these processors alone, if said.
    pub fn start(&self, peers: &str, cores: Option<&str>) -> Result<Provider, Error> {
        let file = self.settings(peers)?;
        let dialtone = std::env::var("DIALTONE").unwrap_or_else(|_| env!("CARGO_BIN_EXE_dialtone").to_owned());
        let mut command = match cores {
            Some(cores) => {
                let mut command = Command::new("taskset");
                command.args(["-c", cores, &dialtone]);
                command
            }
            None => Command::new(&dialtone),
        };
        command.args(["provider", "--json", "--config"]).arg(&file);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{dialtone}: {error}"))?;
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
        Ok(Provider { http, peering, child })
    }
}

/// The block of settings for a peer, which is dialled if it is said where.
pub fn agreement(peer: &Name, at: Option<SocketAddr>, relationship: &str) -> String {
    let mut block = format!("[[peer]]\nname = \"{peer}\"\nrelationship = \"{relationship}\"\n");
    if let Some(at) = at {
        let _ = writeln!(block, "addresses = [\"{at}\"]");
    }
    block
}

impl Provider {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub async fn counts(&self) -> Result<Counts, Error> {
        counts(&mut Connection::open(self.http).await?, self.http).await
    }

    /// Waits until its counters are so; asks this often.
    pub async fn until(&self, every: Duration, what: &str, is_so: impl Fn(&Counts) -> bool) -> Result<Counts, Error> {
        let mut connection = Connection::open(self.http).await?;
        let began = Instant::now();
        loop {
            let counts = counts(&mut connection, self.http).await?;
            if is_so(&counts) {
                return Ok(counts);
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("waited in vain until {what}: {counts:?}").into());
            }
            sleep(every).await;
        }
    }

    /// Processor time of all its threads, those that have ended too, in microseconds: the 14th and 15th field of what the system tells of a
    /// process, in hundredths of a second.
    pub fn cpu_us(&self) -> Result<f64, Error> {
        let told = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        let (_, after) = told.rsplit_once(')').ok_or("no process")?;
        let ticks = after.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        Ok(ticks.sum::<Result<f64, _>>()? * 10_000.0)
    }

    /// How often its threads have waited for something so far.
    pub fn wakes(&self) -> Result<u64, Error> {
        let mut all = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let told = std::fs::read_to_string(task?.path().join("status"))?;
            let waits = told.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            all += waits.map_or(Ok(0), |waits| waits.trim().parse())?;
        }
        Ok(all)
    }

    /// Memory that it has, in megabytes.
    pub fn resident_mb(&self) -> Result<f64, Error> {
        let told = std::fs::read_to_string(format!("/proc/{}/statm", self.pid()))?;
        let pages: f64 = told.split(' ').nth(1).ok_or("no process")?.parse()?;
        Ok(pages * 4_096.0 / 1e6)
    }
}

impl Drop for Provider {
    /// Whatever goes wrong, no process outlives the measurement. Only what was started here, by its id.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
            let _ = self.child.wait();
        }
    }
}

async fn counts(connection: &mut Connection, address: SocketAddr) -> Result<Counts, Error> {
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let (_, body) = connection.page(request.as_bytes()).await?;
    let mut counts = Counts::new();
    for line in str::from_utf8(body)?.lines().filter(|line| !line.starts_with('#')) {
        if let Some((key, value)) = line.rsplit_once(' ') {
            let key = key.split('{').next().unwrap_or(key);
            *counts.entry(key.to_owned()).or_default() += value.parse::<f64>()?;
        }
    }
    Ok(counts)
}

/// A counter, or 0 where nobody has counted anything yet.
pub fn at(counts: &Counts, key: &str) -> f64 {
    counts.get(key).copied().unwrap_or_default()
}

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);
