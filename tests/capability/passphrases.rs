//! Secrets under a passphrase: every command that reads one takes it encrypted, OpenSSL too, and what is wrong is told apart.

use crate::support::{ProviderProcess, Ran, Tool, World, finish};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

#[test]
fn an_encrypted_key_lives_the_whole_life_of_a_key() {
    let world = World::new();
    let at = ProviderProcess::alone(&world);
    secret(&world, "pass", "correct horse\n");
    let with = ["--passphrase-file", "pass"];
    let name = world
        .ok([&["key", "new", "alice.key", "--encrypt", "--chain", "2"][..], &with].concat())
        .stdout
        .trim()
        .to_owned();
    let secrets = [
        "alice.key",
        "alice.offline/link-01.key",
        "alice.offline/link-02.key",
        "alice.offline/recovery-seed",
    ];
    for file in secrets {
        let text = fs::read_to_string(world.path(file)).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{file}: {text}");
    }
    let shown = world.ok(["key", "show", "alice.key", "--json"]).json();
    assert_eq!(shown["name"], name, "what is public is no secret");
    let publish = ["publish", "--key", "alice.key", "--provider", &at.url(), "--address", "192.0.2.1"].map(str::to_owned);
    let publish: Vec<&str> = publish.iter().map(String::as_str).collect();
    world.run(&publish).failed(3, &["alice.key", "encrypted", "--passphrase-file"]);
    world.ok([&publish[..], &with].concat());

    let rotated = world.ok([&["key", "rotate", "alice.key", "--republish", "--provider", &at.url()][..], &with].concat());
    assert!(rotated.stderr.contains("key epoch 1"), "{rotated}");
    for file in ["alice.key", "alice.epoch-0.key"] {
        assert!(
            fs::read_to_string(world.path(file)).unwrap().contains("ENCRYPTED"),
            "{file} stays encrypted"
        );
    }
    world.ok([&publish[..], &with].concat());
    world.ok([&["key", "revoke", "alice.key", "--sign-only", "alice.revocation"][..], &with].concat());
    let words = world.ok([&["key", "backup", "alice.key"][..], &with].concat()).stdout;
    let words = world.write("words", words);
    let again = ["key", "restore", "again.key", "--name", &name, "--epoch", "1", "--encrypt"];
    let restored = finish(world.command().args(again).args(with).stdin(fs::File::open(words).unwrap()));
    assert_eq!(restored.status, Some(0), "{restored}");
    world.ok([&["unpublish", "--key", "again.key", "--provider", &at.url()][..], &with].concat());
}

#[test]
fn who_encrypts_a_key_is_told_of_what_could_sign_beside_it() {
    let world = World::new();
    secret(&world, "pass", "one");
    world.ok(["key", "new", "alice.key", "--chain", "1"]);
    world.ok(["key", "rotate", "alice.key"]);
    let encrypted = |file: &str| world.ok(["key", "encrypt", file, "--passphrase-file", "pass"]).stderr;
    let told = encrypted("alice.key");
    // The link that is in force by now, the seed that makes all of them, and the key before.
    assert!(told.contains("in plain beside it (files: 3, "), "{told}");
    assert!(encrypted("alice.epoch-0.key").is_empty());
    assert!(encrypted("alice.offline/link-01.key").is_empty());
    world.ok(["key", "decrypt", "alice.key", "--passphrase-file", "pass"]);
    assert!(encrypted("alice.key").contains("files: 1, "), "the seed");
}

#[test]
fn files_are_encrypted_decrypted_and_given_another_passphrase_in_place() {
    let world = World::new();
    secret(&world, "old", "one");
    secret(&world, "new", "two");
    world.ok(["key", "new", "alice.key", "--chain", "1"]);
    let files = ["alice.key", "alice.offline/link-01.key", "alice.offline/recovery-seed"];
    let before = files.map(|file| fs::read(world.path(file)).unwrap());
    let on_all = |verb: &str, with: &[&str]| world.run([&["key", verb][..], &files, with].concat());
    done(&on_all("encrypt", &["--passphrase-file", "old"]));
    for file in files {
        assert_eq!(fs::metadata(world.path(file)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    on_all("encrypt", &["--passphrase-file", "old"]).failed(3, &["encrypted already", "key passwd"]);
    done(&on_all("passwd", &["--passphrase-file", "old", "--new-passphrase-file", "new"]));
    let encrypted = files.map(|file| fs::read(world.path(file)).unwrap());
    on_all("decrypt", &["--passphrase-file", "old"]).failed(3, &["alice.key", "passphrase is wrong"]);
    on_all("passwd", &["--passphrase-file", "old", "--new-passphrase-file", "new"]).failed(3, &["passphrase is wrong"]);
    assert_eq!(
        files.map(|file| fs::read(world.path(file)).unwrap()),
        encrypted,
        "nothing was changed"
    );
    done(&on_all("decrypt", &["--passphrase-file", "new"]));
    assert_eq!(files.map(|file| fs::read(world.path(file)).unwrap()), before, "to the byte");
}

#[test]
fn a_wrong_passphrase_a_half_written_file_and_an_open_secret_are_told_apart() {
    let world = World::new();
    secret(&world, "pass", "right");
    secret(&world, "wrong", "left");
    secret(&world, "empty", "\n");
    world.ok(["key", "new", "alice.key", "--chain", "0", "--encrypt", "--passphrase-file", "pass"]);
    let sign = |key: &str, pass: &str| {
        world.run([
            "publish",
            "--key",
            key,
            "--address",
            "192.0.2.1",
            "--sign-only",
            "record",
            "--passphrase-file",
            pass,
        ])
    };
    sign("alice.key", "wrong").failed(3, &["alice.key", "passphrase is wrong", "key restore"]);
    sign("alice.key", "nowhere").failed(3, &["nowhere"]);
    let whole = fs::read(world.path("alice.key")).unwrap();
    for end in [20, 100, whole.len() - 20] {
        secret(&world, "half.key", &whole[..end]);
        fs::copy(world.path("alice.pub"), world.path("half.pub")).unwrap();
        sign("half.key", "pass").failed(3, &["half.key"]);
    }
    secret(&world, "half.key", &whole[..whole.len() - 20]);
    sign("half.key", "pass").failed(3, &["cut off", "key restore"]);
    fs::set_permissions(world.path("pass"), fs::Permissions::from_mode(0o644)).unwrap();
    sign("alice.key", "pass").failed(3, &["pass", "chmod 600"]);
    world
        .run(["key", "new", "bob.key", "--encrypt", "--passphrase-file", "empty"])
        .failed(3, &["empty"]);
    world
        .run(["key", "new", "bob.key", "--encrypt"])
        .failed(3, &["no terminal", "--passphrase-file"]);
    assert!(!world.path("bob.key").exists() && !world.path("record").exists());
    fs::set_permissions(world.path("pass"), fs::Permissions::from_mode(0o600)).unwrap();
    done(&sign("alice.key", "pass"));
}

#[test]
fn openssl_reads_what_is_encrypted_here_and_writes_what_is_read_here() {
    let Some(openssl) = Tool::find("openssl") else { return };
    let world = World::new();
    secret(&world, "pass", "correct horse");
    let path = |file: &str| world.path(file).display().to_string();
    // OpenSSL takes the second line of a file that it is given twice.
    secret(&world, "pass-out", "correct horse");
    let (key, pass, pass_out) = (
        path("alice.key"),
        format!("file:{}", path("pass")),
        format!("file:{}", path("pass-out")),
    );
    world.ok(["key", "new", "alice.key", "--encrypt", "--passphrase-file", "pass", "--chain", "0"]);
    let public = openssl.run([
        "pkey",
        "-in",
        &key,
        "-passin",
        &pass,
        "-pubout",
        "-outform",
        "DER",
        "-out",
        &path("public"),
    ]);
    done(&public);
    let spki = fs::read(world.path("public")).unwrap();
    let shown = world.ok(["key", "show", "alice.pub", "--json"]).json();
    assert_eq!(hex::encode(&spki[spki.len() - 32..]), shown["key"].as_str().unwrap());
    for (file, how) in [
        ("scrypt.pem", &["-scrypt"][..]),
        ("pbkdf2.pem", &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256"]),
    ] {
        let out = path(file);
        let again = [
            &[
                "pkcs8", "-topk8", "-in", &key, "-passin", &pass, "-passout", &pass_out, "-out", &out,
            ][..],
            how,
        ]
        .concat();
        done(&openssl.run(again));
        fs::set_permissions(world.path(file), fs::Permissions::from_mode(0o600)).unwrap();
        let made = format!("{file}.key");
        world.ok(["key", "new", &made, "--from", file, "--passphrase-file", "pass", "--chain", "0"]);
        let same = world.ok(["key", "show", &made, "--json"]).json();
        assert_eq!(same["key"], shown["key"], "{file}");
    }
}

#[test]
fn on_a_terminal_it_is_asked_for_unseen_and_twice_where_it_is_new() {
    if Tool::find("script").is_none() {
        return;
    }
    let world = World::new();
    let made = [("new passphrase", "correct horse"), ("the same again", "correct horse")];
    let new = "key new alice.key --encrypt --chain 0";
    typed(&world, new, &[made[0], ("the same again", "correct house")], 3, "not the same");
    assert!(!world.path("alice.key").exists());
    typed(&world, new, &made, 0, "");
    let text = fs::read_to_string(world.path("alice.key")).unwrap();
    assert!(text.contains("ENCRYPTED"), "{text}");
    let used = "key revoke alice.key --sign-only drawer";
    let asked = [("passphrase of", "wrong"), ("that is not it", "correct horse")];
    typed(&world, used, &asked, 0, "drawer");
    assert!(world.path("drawer").exists());
    typed(&world, "key decrypt alice.key", &[("passphrase of", "correct horse")], 0, "");
    assert!(!fs::read_to_string(world.path("alice.key")).unwrap().contains("ENCRYPTED"));
}

/// Runs a command at a terminal, which `script` makes, and types each answer once the terminal shows what asks for it.
fn typed(world: &World, args: &str, answers: &[(&str, &str)], status: i32, says: &str) {
    let dialtone = world.command();
    let mut script = Command::new("script");
    script.args([
        "-qec",
        &format!("tty; exec '{}' {args}", dialtone.get_program().display()),
        "/dev/null",
    ]);
    script
        .current_dir(world.path(""))
        .env("HOME", world.path(""))
        .env("SHELL", "/bin/sh");
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 256];
        while let Ok(length @ 1..) = screen.read(&mut bytes) {
            let _ = tell.send(String::from_utf8_lossy(&bytes[..length]).into_owned());
        }
    });
    let (mut shown, mut read) = (String::new(), 0);
    for (asks, answer) in answers {
        let at = loop {
            match shown[read..].find(asks).map(|at| read + at + asks.len()) {
                Some(at) if shown[at..].contains(": ") => break at,
                _ => {
                    shown += &told
                        .recv_timeout(Duration::from_secs(60))
                        .unwrap_or_else(|_| panic!("no {asks:?}:\n{shown}"))
                }
            }
        };
        read = at;
        // What is typed at once may come before it is hidden.
        let terminal = shown.lines().next().unwrap_or_default().trim();
        let began = Instant::now();
        while !finish(Command::new("stty").args(["-a", "-F", terminal])).stdout.contains(" -echo ") {
            assert!(began.elapsed() < Duration::from_secs(60), "what is typed is never hidden:\n{shown}");
        }
        writeln!(keys, "{answer}").unwrap();
    }
    // Until the terminal is closed.
    while let Ok(more) = told.recv_timeout(Duration::from_secs(60)) {
        shown += &more;
    }
    assert_eq!(child.wait().unwrap().code(), Some(status), "{shown}");
    assert!(shown.contains(says), "{shown}");
    for (_, answer) in answers {
        assert!(!shown.contains(answer), "{answer} was seen:\n{shown}");
    }
}

fn done(ran: &Ran) {
    assert_eq!(ran.status, Some(0), "{ran}");
}

fn secret(world: &World, file: &str, text: impl AsRef<[u8]>) {
    let path = world.write(file, text);
    fs::set_permissions(Path::new(&path), fs::Permissions::from_mode(0o600)).unwrap();
}
