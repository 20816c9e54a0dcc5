//! Other people's DNS servers, run from settings in a home that goes away: Knot DNS and its resolver, and unbound.

use super::{Running, Tool, World, free_udp_port};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

/// A server of somebody else's; it ends with its test.
#[derive(Debug)]
pub struct DnsServer {
    _running: Running,
    /// Where it answers.
    pub at: SocketAddr,
}

impl DnsServer {
    /// Knot DNS, the authority for `zone` as the zone file `file` has it. `None`: it is not installed.
    pub fn knot(world: &World, zone: &str, file: &str) -> Option<Self> {
        Tool::find("knotd")?;
        let (at, folder) = (free_at(), world.path("knot"));
        std::fs::create_dir(&folder).expect("a folder");
        let (folder, file) = (folder.display(), world.path(file));
        let settings = format!(
            "server:\n  rundir: \"{folder}\"\n  listen: {}@{}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: \"{folder}\"\nlog:\n  - target: stderr\n    any: warning\n\
             zone:\n  - domain: {zone}\n    file: \"{}\"\n    zonefile-load: whole\n    zonefile-sync: -1\n    journal-content: none\n",
            at.ip(),
            at.port(),
            file.display()
        );
        let settings = world.write("knot.conf", settings);
        Some(Self::started(Command::new("knotd").arg("-c").arg(settings), at, zone))
    }

    /// unbound with these lines in its `server` clause, and these after it. `None`: it is not installed. `known` is a name that it will answer for.
    pub fn unbound(world: &World, label: &str, server: &str, clauses: &str, known: &str) -> Option<Self> {
        Tool::find("unbound")?;
        let (at, folder) = (free_at(), world.path(label));
        std::fs::create_dir(&folder).expect("a folder");
        let settings = format!(
            "server:\n interface: {}@{}\n num-threads: 1\n username: \"\"\n chroot: \"\"\n directory: \"{}\"\n pidfile: \"\"\n use-syslog: no\n verbosity: 0\n \
             do-not-query-localhost: no\n module-config: \"iterator\"\n minimal-responses: yes\n{server}\nremote-control:\n control-enable: no\n{clauses}\n",
            at.ip(),
            at.port(),
            folder.display()
        );
        let settings = world.write(&format!("{label}.conf"), settings);
        Some(Self::started(Command::new("unbound").arg("-d").arg("-c").arg(settings), at, known))
    }

    /// Knot Resolver with these lines of policy. `None`: it is not installed.
    pub fn kresd(world: &World, policy: &str, known: &str) -> Option<Self> {
        Tool::find("kresd")?;
        let (at, folder) = (free_at(), world.path("kresd"));
        std::fs::create_dir(&folder).expect("a folder");
        let settings = format!(
            "net.listen('{}', {}, {{kind='dns'}})\ncache.open(20*MB, 'lmdb://{}/cache')\ntrust_anchors.remove('.')\n\
             for _, m in ipairs({{'priming', 'ta_update', 'ta_signal_query', 'detect_time_skew'}}) do modules.unload(m) end\n{policy}\n",
            at.ip(),
            at.port(),
            folder.display()
        );
        let settings = world.write("kresd.conf", settings);
        Some(Self::started(
            Command::new("kresd").arg("-n").arg("-c").arg(settings).arg(folder),
            at,
            known,
        ))
    }

    /// dnsmasq with these settings. `None`: it is not installed.
    pub fn dnsmasq(settings: &[&str], known: &str) -> Option<Self> {
        Tool::find("dnsmasq")?;
        let at = free_at();
        let (listen, port) = (format!("--listen-address={}", at.ip()), format!("--port={}", at.port()));
        // Only what stands here counts.
        let own = [
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            "--conf-file=/dev/null",
            "--bind-interfaces",
            "--pid-file=",
        ];
        let mut command = Command::new("dnsmasq");
        command.args(own).args([listen, port]).args(settings);
        Some(Self::started(&mut command, at, known))
    }

    fn started(command: &mut Command, at: SocketAddr, known: &str) -> Self {
        let running = Running::spawn(command);
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut probe = Message::query();
        probe.add_query(Query::query(Name::from_ascii(known).expect("a name"), RecordType::A));
        let socket = asking(at);
        while exchange(&socket, &probe, Duration::from_millis(200)).is_none() {
            assert!(Instant::now() < deadline, "{command:?} does not answer:\n{}", running.stderr());
            std::thread::sleep(Duration::from_millis(20)); // where nobody listens yet the refusal comes at once
        }
        Self { _running: running, at }
    }
}

/// A socket that asks there and hears nobody else.
pub fn asking(at: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(at).expect("an address");
    socket
}

/// Asks once; `None`: nothing came in time, or nobody listens.
pub fn exchange(socket: &UdpSocket, question: &Message, patience: Duration) -> Option<Message> {
    socket.send(&question.to_vec().expect("a question")).ok()?;
    socket.set_read_timeout(Some(patience)).expect("a time");
    let mut buffer = vec![0; 65_535];
    loop {
        let length = socket.recv(&mut buffer).ok()?;
        let answer =
            Message::from_vec(&buffer[..length]).unwrap_or_else(|error| panic!("an answer that cannot be read: {error}\n{question}"));
        if answer.metadata.id == question.metadata.id {
            return Some(answer);
        }
    }
}

fn free_at() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_udp_port()))
}
