//! README's tour, line by line, as a newcomer types it.

use crate::support::{Ran, Running, Tool, World, finish};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn every_line_of_the_tour_does_what_it_says_beside_a_running_up() {
    let (Some(_), Some(_)) = (Tool::find("dig"), Tool::find("curl")) else {
        return;
    };
    let world = World::new();
    let any = ["--http-port", "0", "--dns-port", "0", "--peering-port", "0"];
    let mut up = Running::start(&world, &[&["up", "--json"], &any[..]].concat());
    let start: Value = serde_json::from_str(&up.line("{")).expect("one JSON object");
    let mut tour = Tour::new(&world, &start);
    world.write("logo.png", b"not really a picture");
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md");
    let mut apart_used = [false; APART.len()];
    for line in lines_of_the_tour(&readme) {
        let apart = APART.iter().position(|(begin, _)| line.starts_with(begin));
        if let Some(index) = apart {
            apart_used[index] = true;
        }
        match apart.map(|index| &APART[index].1) {
            None => tour.run(&line),
            Some(How::Stays(says)) => tour.starts(&line, says),
            Some(How::LeftOut(_)) => {}
        }
    }
    assert!(tour.done > 20, "only {} lines were run", tour.done);
    for ((begin, _), used) in APART.iter().zip(apart_used) {
        assert!(used, "no line begins with {begin:?} any more");
    }
}

/// Who types.
struct Tour<'a> {
    world: &'a World,
    /// What README has for an example, and what it is here.
    stands_for: Vec<(String, String)>,
    /// Where the first provider is, instead of at the usual port.
    provider: String,
    /// The name of the value that was put last.
    value: String,
    done: usize,
}

impl<'a> Tour<'a> {
    fn new(world: &'a World, start: &Value) -> Self {
        let at = |value: &Value| value.as_str().expect("an address").to_owned();
        let [first, second] = [0, 1].map(|index| at(&start["providers"][index]["http"][0]));
        let provider = format!("http://{first}");
        let dns = at(&start["frontend"]["dns"]);
        let port = dns.rsplit_once(':').expect("host:port").1;
        let stands_for = vec![
            ("127.0.0.1:4380".to_owned(), first),
            ("127.0.0.1:4390".to_owned(), second),
            ("-p 4353 ".to_owned(), format!("-p {port} ")),
            ("127.0.0.1:4453".to_owned(), "127.0.0.1:0".to_owned()),
            ("127.0.0.1:4443".to_owned(), "127.0.0.1:0".to_owned()),
        ];
        Self {
            world,
            stands_for,
            provider,
            value: String::new(),
            done: 0,
        }
    }

    fn command(&self, line: &str) -> Command {
        let mut line = line.to_owned();
        if line.starts_with("dialtone get ") {
            line = line.replace("<name>", &self.value);
        }
        // By way of marks: what stands there then may look like another example.
        for (index, (example, _)) in self.stands_for.iter().enumerate() {
            line = line.replace(example, &format!("@{index}@"));
        }
        for (index, (_, here)) in self.stands_for.iter().enumerate() {
            line = line.replace(&format!("@{index}@"), here);
        }
        assert!(!line.contains(['<', '…']), "what stands for something was not replaced: {line}");
        let binary = Path::new(env!("CARGO_BIN_EXE_dialtone")).parent().expect("a folder");
        let path = std::env::join_paths(
            std::iter::once(binary.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        );
        let mut shell = Command::new("sh");
        // `exec`, so that ending the shell ends what it runs.
        let exec = if line.contains("&&") { "" } else { "exec " };
        shell.args(["-c", &format!("{exec}{line}")]);
        let home = self.world.path("");
        shell.current_dir(&home).env_clear().env("HOME", &home);
        shell.env("PATH", path.expect("a path")).env("DIALTONE_PROVIDER", &self.provider);
        shell
    }

    /// Types a line, which must end well.
    ///
    /// What was put at one provider is at the other some milliseconds later, which nobody's fingers notice. On a machine that runs many tests at once both
    /// may be late: so what is not there yet is asked for again.
    fn run(&mut self, line: &str) {
        let deadline = Instant::now() + THERE_WITHIN;
        let mut ran: Ran = finish(&mut self.command(line));
        while ran.status == Some(NOT_THERE) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            ran = finish(&mut self.command(line));
        }
        assert_eq!(ran.status, Some(0), "{line}\n{ran}");
        let first = ran.stdout.lines().next().unwrap_or_default().trim().to_owned();
        if line.starts_with("dialtone key new ") {
            self.stands_for.push(("<name>".to_owned(), first));
        } else if line.starts_with("dialtone put ") {
            let mut words = ran.stdout.split_whitespace();
            self.value = words.find(|word| word.len() == NAME_CHARS).expect("a name").to_owned();
        } else if line.starts_with("dialtone key show ")
            && let Some(hit) = ran.stdout.lines().find_map(|line| line.strip_prefix("hit "))
        {
            // The tag of the key that is in force by now.
            self.stands_for.retain(|(example, _)| example != TAG);
            self.stands_for.push((TAG.to_owned(), hit.trim().to_owned()));
        }
        self.done += 1;
    }

    /// Types a line that stays until it is ended, and must say something first.
    fn starts(&mut self, line: &str, says: &str) {
        let mut running = Running::spawn(&mut self.command(line));
        running.line(says);
        self.done += 1;
    }
}

/// What is to be typed in the tour: lines that go on are one, remarks are none.
fn lines_of_the_tour(readme: &str) -> Vec<String> {
    let (_, tour) = readme.split_once("\n## Five minutes\n").expect("the tour");
    let (tour, _) = tour.split_once("\n## ").expect("what follows it");
    let mut lines = Vec::new();
    let mut goes_on = String::new();
    let mut is_shell = false;
    for line in tour.lines() {
        if line.starts_with("```") {
            is_shell = line == "```sh";
        } else if is_shell {
            let typed = line.split_once(" # ").map_or(line, |(typed, _)| typed).trim();
            match typed.strip_suffix('\\') {
                Some(first) => goes_on += first,
                None if typed.is_empty() => {}
                None => lines.push(std::mem::take(&mut goes_on) + typed),
            }
        }
    }
    lines
}

/// What README has for a Host Identity Tag.
const TAG: &str = "2001:25:…";
/// How a command ends that found nothing of that name.
const NOT_THERE: i32 = 5;
/// What was put must be at the other provider by then.
const THERE_WITHIN: Duration = Duration::from_secs(10);
/// A name as text.
const NAME_CHARS: usize = 56;

/// How a line is tried that does not simply end.
enum How {
    /// It stays; this is what it says first.
    Stays(&'static str),
    /// It is not tried here; why, or where it is.
    LeftOut(#[expect(dead_code, reason = "for the reader")] &'static str),
}

const APART: [(&str, How); 11] = [
    ("dialtone watch ", How::Stays("")),
    ("dialtone publish --key alice.key --keep ", How::Stays("")),
    ("dialtone dns ", How::Stays("pin ")),
    (
        "xdg-open ",
        How::LeftOut("opens a window; the page is looked at in clients/js/test/browser.test.js"),
    ),
    ("chromium ", How::LeftOut("opens a window; without one: encrypted_dns.rs")),
    ("dialtone key encrypt ", How::LeftOut("asks on the terminal: passphrases.rs")),
    (
        "curl http://127.0.0.1:4390/<key>",
        How::LeftOut("needs what a client of pkarr put: tests/clients"),
    ),
    ("dig @127.0.0.1 -p 4353 _iroh.", How::LeftOut("the same")),
    ("dialtone resolve <key> ", How::LeftOut("the same")),
    ("dialtone peer ", How::LeftOut("between two operators: peering.rs")),
    ("mkdir -p by-name", How::LeftOut("the profile of the window that is not opened")),
];
