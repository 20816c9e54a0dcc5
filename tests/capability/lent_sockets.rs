//! Sockets that a service manager opens and keeps: the command answers on them, leaves them whole, and says what does not fit.

use crate::support::{Passed, ProviderProcess, Running, Tool, World, asking, exchange, finish, free_port};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

/// A question about the origin itself, which needs nothing but a frontend.
fn question() -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii("dialtone.alt.").expect("a name"), RecordType::SOA));
    message
}

fn framed(message: &Message) -> Vec<u8> {
    let bytes = message.to_vec().expect("a question");
    [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
}

/// The answer that comes on a connection, to a question that was asked on it.
fn answer_by_tcp(mut stream: TcpStream) -> Message {
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("an answer");
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).expect("an answer");
    Message::from_vec(&bytes).expect("that can be read")
}

fn answer_by_udp(socket: &UdpSocket) -> Message {
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    let mut bytes = [0; 4_096];
    let length = socket.recv(&mut bytes).expect("an answer");
    Message::from_vec(&bytes[..length]).expect("that can be read")
}

fn started(running: &mut Running) -> Value {
    serde_json::from_str(&running.line("{")).expect("one JSON object")
}

/// A UDP socket and a TCP listener on one port.
fn pair() -> (SocketAddr, UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let at = tcp.local_addr().expect("an address");
        if let Ok(udp) = UdpSocket::bind(at) {
            return (at, udp, tcp);
        }
    }
}

#[test]
fn every_transport_is_answered_on_the_sockets_that_were_passed() {
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    let (dns, udp, tcp) = pair();
    let (secure, quic, tls) = pair();
    let (https, metrics) = (pair(), pair());
    let say = SocketAddr::to_string;
    // They stay open here as well: nothing could be bound in their place.
    let mut passed = Passed::default();
    for socket in [&udp, &quic] {
        passed.add(socket.try_clone().expect("one more"));
    }
    for listener in [&tcp, &tls, &https.2, &metrics.2] {
        passed.add(listener.try_clone().expect("one more"));
    }
    let typed = [
        "dns",
        "--provider",
        &provider.url(),
        "--listen",
        &say(&dns),
        "--tls",
        &say(&secure),
        "--quic",
        &say(&secure),
        "--https",
        &say(&https.0),
        "--metrics",
        &say(&metrics.0),
        "--json",
    ];
    let mut frontend = Running::spawn(&mut passed.command(&world, &typed));
    let start = started(&mut frontend);
    assert_eq!(start["dns"][0], say(&dns));
    assert_eq!(start["metrics"], say(&metrics.0));
    let by_udp = exchange(&asking(dns), &question(), PATIENCE).expect("an answer by UDP");
    let mut stream = TcpStream::connect(dns).expect("a connection");
    stream.write_all(&framed(&question())).expect("asked");
    let by_tcp = answer_by_tcp(stream);
    assert_eq!((by_udp.answers.len(), by_tcp.answers.len()), (1, 1));
    let mut page = TcpStream::connect(metrics.0).expect("a connection");
    page.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").expect("asked");
    let mut healthy = String::new();
    page.read_to_string(&mut healthy).expect("an answer");
    assert!(healthy.contains(" 200 "), "{healthy}");
    if let Some(kdig) = Tool::find("kdig") {
        let kinds = kdig.run(["-h"]).stdout;
        for (how, at) in [("+tls", secure), ("+https", https.0), ("+quic", secure)] {
            if how == "+quic" && !kinds.contains("quic") {
                continue;
            }
            let said = kdig.run(["@127.0.0.1", "-p", &at.port().to_string(), how, "dialtone.alt", "SOA"]);
            assert!(said.stdout.contains("NOERROR"), "{how}: {said}");
        }
    }
    assert_eq!(frontend.signal("TERM").code(), Some(0));
}

#[test]
fn a_restart_loses_no_question_on_sockets_that_were_passed() {
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    let (at, udp, tcp) = pair();
    let typed = ["dns", "--provider", &provider.url(), "--listen", &at.to_string(), "--json"];
    // Asked before it is started, between two starts, and after.
    for _ in 0..3 {
        let askers: Vec<UdpSocket> = (0..8).map(|_| asking(at)).collect();
        for asker in &askers {
            asker.send(&question().to_vec().expect("a question")).expect("asked");
        }
        let mut stream = TcpStream::connect(at).expect("a connection that waits");
        stream.write_all(&framed(&question())).expect("asked");
        let mut passed = Passed::default();
        passed.add(udp.try_clone().expect("one more"));
        passed.add(tcp.try_clone().expect("one more"));
        let mut frontend = Running::spawn(&mut passed.command(&world, &typed));
        started(&mut frontend);
        for asker in &askers {
            assert_eq!(answer_by_udp(asker).answers.len(), 1);
        }
        assert_eq!(answer_by_tcp(stream).answers.len(), 1);
        assert_eq!(frontend.signal("TERM").code(), Some(0));
    }
}

#[test]
fn what_is_asked_while_a_frontend_stops_is_answered_by_it_or_by_the_next() {
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    let (at, udp, tcp) = pair();
    let typed = ["dns", "--provider", &provider.url(), "--listen", &at.to_string(), "--json"];
    let mut passed = Passed::default();
    passed.add(udp);
    passed.add(tcp);
    let mut frontend = Running::spawn(&mut passed.command(&world, &typed));
    started(&mut frontend);
    let asker = asking(at);
    // From before it is told to go until after it has gone, and no more than what the system keeps for a socket.
    let asking = std::thread::spawn({
        let asker = asker.try_clone().expect("one more");
        move || {
            for id in 0..100 {
                let mut question = question();
                question.metadata.id = id;
                asker.send(&question.to_vec().expect("a question")).expect("asked");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    assert_eq!(frontend.signal("TERM").code(), Some(0));
    let mut next = Running::spawn(&mut passed.command(&world, &typed));
    started(&mut next);
    asking.join().expect("all were asked");
    let answered: BTreeSet<u16> = (0..100).map(|_| answer_by_udp(&asker).metadata.id).collect();
    assert_eq!(answered, (0..100).collect());
    assert_eq!(next.signal("TERM").code(), Some(0));
}

#[test]
fn a_provider_answers_http_and_dns_on_the_sockets_that_were_passed() {
    let world = World::new();
    let (dns, udp, tcp) = pair();
    let (secure, quic, tls) = pair();
    let (http, _, page) = pair();
    let mut passed = Passed::default();
    for socket in [&udp, &quic] {
        passed.add(socket.try_clone().expect("one more"));
    }
    for listener in [&tcp, &tls, &page] {
        passed.add(listener.try_clone().expect("one more"));
    }
    world.write(
        "provider.toml",
        format!(
            "data = 'data'\nhttp.listen = ['{http}']\npeering.listen = '127.0.0.1:0'\n[dns]\nlisten = ['{dns}']\ntls = ['{secure}']\nquic = ['{secure}']\n"
        ),
    );
    let mut provider = Running::spawn(&mut passed.command(&world, &["provider", "--config", "provider.toml", "--json"]));
    let start = started(&mut provider);
    assert_eq!(
        (&start["http"][0], &start["quic"][0]),
        (&http.to_string().into(), &secure.to_string().into())
    );
    assert_eq!(exchange(&asking(dns), &question(), PATIENCE).expect("an answer").answers.len(), 1);
    let name = world.ok(["key", "new", "alice.key"]).stdout.trim().to_owned();
    let url = format!("http://{http}");
    world.ok(["publish", "--key", "alice.key", "--address", "192.0.2.1", "--provider", &url]);
    assert!(world.ok(["resolve", &name, "--provider", &url]).stdout.contains("192.0.2.1"));
    assert_eq!(provider.signal("TERM").code(), Some(0));
    // A socket that nothing asks for.
    let settings = std::fs::read_to_string(world.path("provider.toml")).expect("settings");
    world.write("provider.toml", settings.replace(&format!("tls = ['{secure}']\n"), ""));
    finish(&mut passed.command(&world, &["provider", "--config", "provider.toml"]))
        .failed(8, &["nothing here answers there", &format!("{secure} (TCP)")]);
}

#[test]
fn what_does_not_fit_is_named_and_nothing_is_started() {
    let world = World::new();
    let (at, udp, tcp) = pair();
    let here = at.to_string();
    let typed = [
        "dns",
        "--provider",
        "http://127.0.0.1:1",
        "--origin",
        "dialtone.alt",
        "--listen",
        &here,
    ];
    let refused = |passed: &Passed, said: &[&str]| finish(&mut passed.command(&world, &typed)).failed(8, said);

    let mut unasked = Passed::default();
    let (other, other_udp, other_tcp) = pair();
    unasked.add(udp.try_clone().expect("one more"));
    unasked.add(tcp.try_clone().expect("one more"));
    unasked.add(other_udp);
    unasked.add(other_tcp);
    refused(
        &unasked,
        &[
            "nothing here answers there",
            &format!("{other} (UDP), {other} (TCP)"),
            "the socket unit lists",
        ],
    );

    let mut twice = Passed::default();
    for _ in 0..2 {
        twice.add(udp.try_clone().expect("one more"));
    }
    twice.add(tcp.try_clone().expect("one more"));
    refused(&twice, &[&format!("{here} (UDP)"), "each once"]);

    let mut odd = Passed::default();
    odd.add(udp.try_clone().expect("one more"));
    odd.add(UnixListener::bind(world.path("socket")).expect("a socket"));
    refused(
        &odd,
        &["descriptor 4", "neither a UDP socket nor a TCP listener", "ListenDatagram="],
    );

    let mut file = Passed::default();
    file.add(std::fs::File::open(world.write("file", "")).expect("a file"));
    refused(&file, &["descriptor 3", "neither a UDP socket nor a TCP listener"]);

    let mut connection = Passed::default();
    connection.add(TcpStream::connect(at).expect("a connection"));
    refused(&connection, &["descriptor 3", "a TCP connection and no listener", "Accept=no"]);

    if let Ok(both) = both_families() {
        let mut passed = Passed::default();
        passed.add(both);
        refused(&passed, &["[::]:", "takes IPv4 as well", "BindIPv6Only=ipv6-only"]);
    }
}

/// `[::]` as most machines make it.
fn both_families() -> std::io::Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None)?;
    socket.set_only_v6(false)?;
    socket.bind(&"[::]:0".parse::<SocketAddr>().expect("an address").into())?;
    Ok(socket.into())
}

#[test]
fn what_was_passed_to_somebody_else_is_left_alone() {
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    let typed = ["dns", "--provider", &provider.url(), "--listen", "127.0.0.1:0", "--json"];
    let mut passed = Passed::default();
    passed.add(pair().1);
    // For another process, and for none that is named.
    for whom in ["1", ""] {
        let mut frontend = Running::spawn(&mut passed.command_for(&world, whom, &typed));
        let start = started(&mut frontend);
        let at = start["dns"][0].as_str().expect("an address").parse().expect("an address");
        assert_eq!(exchange(&asking(at), &question(), PATIENCE).expect("an answer").answers.len(), 1);
        assert_eq!(frontend.signal("TERM").code(), Some(0));
    }
}

#[test]
fn systemd_passes_its_sockets_and_is_answered() {
    let systemd = "systemd-socket-activate";
    if Command::new(systemd).arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "{systemd} is not installed, and CI must have it");
        println!("{systemd} is not installed: this test passes without having tried it");
        return;
    }
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    // It passes one kind at a time, and the frontend opens the other.
    for by_udp in [true, false] {
        let at = format!("127.0.0.1:{}", free_port());
        let mut command = world.at_home(systemd);
        command.args(by_udp.then_some("--datagram"));
        command.args(["--listen", &at, "--setenv=HOME", env!("CARGO_BIN_EXE_dialtone")]);
        command.args(["dns", "--provider", &provider.url(), "--listen", &at, "--json"]);
        let mut frontend = Running::spawn(&mut command);
        frontend.said("Listening on");
        // It starts the frontend when somebody asks.
        let at: SocketAddr = at.parse().expect("an address");
        let answer = if by_udp {
            exchange(&asking(at), &question(), PATIENCE).expect("an answer")
        } else {
            let mut stream = TcpStream::connect(at).expect("a connection");
            stream.write_all(&framed(&question())).expect("asked");
            answer_by_tcp(stream)
        };
        assert_eq!(answer.answers.len(), 1);
        started(&mut frontend);
        frontend.said("that was passed to this process");
        assert_eq!(frontend.signal("TERM").code(), Some(0));
    }
}

#[test]
fn the_units_of_a_frontend_name_the_same_addresses_and_systemd_understands_them() {
    let etc = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("etc");
    let unit = |name: &str| std::fs::read_to_string(etc.join(name)).expect("a unit");
    let (sockets, service) = (unit("dialtone-dns.socket"), unit("dialtone-dns.service"));
    let listed = |key: &str| sockets.lines().filter_map(|line| line.strip_prefix(key)).collect::<Vec<_>>();
    let start = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let words: Vec<&str> = start.split_whitespace().collect();
    let asked: Vec<&str> = words.windows(2).filter(|pair| pair[0] == "--listen").map(|pair| pair[1]).collect();
    assert_eq!(listed("ListenDatagram="), asked);
    assert_eq!(listed("ListenStream="), asked);
    let world = World::new();
    let help = world.ok(["help", "dns"]).stdout;
    for flag in words.iter().filter(|word| word.starts_with("--")) {
        assert!(help.contains(flag), "{flag} is no flag of dns");
    }
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("systemd-analyze is not installed: the units were not verified");
        return;
    }
    // It looks for the binary where it is to be installed.
    let here = service.replace("/usr/local/bin/dialtone", env!("CARGO_BIN_EXE_dialtone"));
    let paths = [
        world.write("dialtone-dns.service", here),
        world.write("dialtone-dns.socket", sockets),
    ];
    let verified = finish(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(paths));
    assert!(
        verified.status == Some(0) && !verified.stderr.contains("dialtone-dns"),
        "{verified}"
    );
}

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
