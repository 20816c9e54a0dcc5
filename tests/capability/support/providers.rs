//! Provider processes: one alone, or two that are peered through their settings files.

use super::{Running, World};
use serde_json::Value;

/// A provider process that can be stopped and started again in its folder.
#[derive(Debug)]
pub struct ProviderProcess {
    label: &'static str,
    running: Option<Running>,
    start: Value,
}

impl ProviderProcess {
    /// Starts one with these settings beside data folder and free ports.
    pub fn start(world: &World, label: &'static str, settings: &str) -> Self {
        let settings = format!("data = '{label}'\n{settings}");
        world.write(&format!("{label}.toml"), settings);
        let mut process = Self {
            label,
            running: None,
            start: Value::Null,
        };
        process.run(world);
        process
    }

    /// One alone, on free ports.
    pub fn alone(world: &World) -> Self {
        Self::start(world, "alone", &ports(0))
    }

    /// Another that has no agreements, on free ports.
    pub fn unpeered(world: &World, label: &'static str) -> Self {
        Self::start(world, label, &ports(0))
    }

    /// One alone whose HTTP address stays the same when it is started again.
    pub fn at_port(world: &World, label: &'static str, port: u16) -> Self {
        let settings = ports(0).replacen("http.listen = ['127.0.0.1:0']", &format!("http.listen = ['127.0.0.1:{port}']"), 1);
        Self::start(world, label, &settings)
    }

    /// Two that are peered; the second connects to the first.
    pub fn peered(world: &World) -> (Self, Self) {
        let name = |key: &str| world.ok(["key", "new", key, "--chain", "0"]).stdout.trim().to_owned();
        let (a, b) = (name("a.key"), name("b.key"));
        let agreement = |own: &str, peer: &str, addresses: &str| {
            format!("identity.key = '{own}'\n[[peer]]\nname = '{peer}'\naddresses = [{addresses}]\n")
        };
        // The keys were made with `key new`: their names are known before either provider runs.
        let first = Self::start(world, "first", &(ports(0) + &agreement("a.key", &b, "")));
        let peering = first.peering();
        let second = Self::start(world, "second", &(ports(0) + &agreement("b.key", &a, &format!("'{peering}'"))));
        // It is dialled there after a restart, too.
        let settings = std::fs::read_to_string(world.path("first.toml")).expect("its settings");
        let listen = |at: &str| format!("peering.listen = '{at}'");
        world.write("first.toml", settings.replace(&listen("127.0.0.1:0"), &listen(&peering)));
        assert_eq!((first.name(), second.name()), (a, b));
        (first, second)
    }

    /// Starts it again in the same folder, on the ports that it then gets.
    pub fn run(&mut self, world: &World) {
        let config = format!("{}.toml", self.label);
        let mut running = Running::start(world, &["provider", "--config", &config, "--json"]);
        self.start = serde_json::from_str(&running.line("{")).expect("one JSON object");
        self.running = Some(running);
    }

    /// SIGTERM; it must end well.
    pub fn stop(&mut self) {
        let running = self.running.take().expect("it runs");
        let status = running.signal("TERM");
        assert_eq!(status.code(), Some(0), "{status:?}");
    }

    /// kill -9, as a power cut would.
    pub fn kill(&mut self) {
        let status = self.running.take().expect("it runs").signal("KILL");
        assert_eq!(status.code(), None, "{status:?}");
    }

    /// Waits until its log says `text`.
    pub fn logs(&self, text: &str) {
        self.running.as_ref().expect("it runs").said(text);
    }

    /// SIGHUP: it reads its settings again.
    pub fn hang_up(&self) {
        self.running.as_ref().expect("it runs").send("HUP");
    }

    /// What its start line says there, a JSON pointer.
    pub fn said(&self, pointer: &str) -> Value {
        self.start.pointer(pointer).cloned().unwrap_or_default()
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.start["name"].as_str().expect("a name").to_owned()
    }

    /// Where it answers HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.start["http"][0].as_str().expect("an address"))
    }

    /// Where peers connect.
    pub fn peering(&self) -> String {
        self.start["peering"].as_str().expect("an address").to_owned()
    }

    /// The host and port where it answers DNS.
    pub fn dns(&self) -> (String, String) {
        let at = self.start["dns"][0].as_str().expect("an address");
        let (host, port) = at.rsplit_once(':').expect("host:port");
        (host.to_owned(), port.to_owned())
    }
}

fn ports(peering: u16) -> String {
    format!("http.listen = ['127.0.0.1:0']\ndns.listen = ['127.0.0.1:0']\npeering.listen = '127.0.0.1:{peering}'\n")
}
