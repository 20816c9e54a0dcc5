//! The settings that `dialtone template` prints are good, and what is not good is refused with its line.

use crate::support::World;

#[test]
fn every_template_passes_check_config_as_it_stands() {
    let world = World::new();
    for which in ["provider", "dns", "client"] {
        let printed = world.ok(["template", which]).stdout;
        assert!(printed.lines().count() > 10, "{printed}");
        let file = world.write(&format!("{which}.toml"), &printed);
        let ran = world.ok(["check-config".as_ref(), "--of".as_ref(), which.as_ref(), file.as_os_str()]);
        assert!(ran.stdout.contains("good"), "{ran}");
    }
}

#[test]
fn every_template_passes_with_its_defaults_written_out_and_changes_nothing() {
    let world = World::new();
    for which in ["provider", "dns"] {
        let printed = world.ok(["template", which]).stdout;
        let written: String = printed.lines().map(|line| uncommented(line) + "\n").collect();
        assert_ne!(written, printed, "there was something to write out");
        let (bare, full) = (world.write("bare.toml", &printed), world.write("full.toml", &written));
        let said = |file: &std::path::Path| {
            let ran = world.ok(["check-config".as_ref(), "--of".as_ref(), which.as_ref(), file.as_os_str()]);
            ran.stdout.split_once(": good: ").expect("a verdict").1.to_owned()
        };
        assert_eq!(said(&bare), said(&full));
    }
}

#[test]
fn whose_settings_a_file_holds_is_told_from_its_keys() {
    let world = World::new();
    let untouched = world.ok(["template", "dns"]).stdout;
    for (text, says) in [
        (untouched.as_str(), "the defaults hold"),
        ("[http]\nlisten = ['127.0.0.1:1']\n", "a provider"),
        ("listen = ['127.0.0.1:1']\n", "a frontend"),
        ("providers = ['http://127.0.0.1:1']\n", "a client"),
    ] {
        world.write("x.toml", text);
        let ran = world.ok(["check-config", "x.toml"]);
        assert!(ran.stdout.contains(says), "{ran}");
    }
}

#[test]
fn a_wrong_key_or_value_is_named_with_its_line() {
    let world = World::new();
    for (text, line, says) in [
        ("data = 'x'\n\n[http]\nlistne = []\n", 4, "listne"),
        ("[http]\nlisten = ['nowhere']\n", 2, "address"),
        ("[limits]\nanonymous_keep_days = 4000\n", 2, "400"),
        ("listen = ['127.0.0.1:1']\nfoward = []\n", 2, "foward"),
        ("providers = []\nprovider = ''\n", 2, "provider"),
    ] {
        world.write("x.toml", text);
        world
            .run(["check-config", "x.toml"])
            .failed(8, &[&format!("x.toml, line {line}"), says, "dialtone template"]);
    }
    world.run(["check-config", "nowhere.toml"]).failed(9, &["nowhere.toml"]);
    for (text, table, key) in [
        ("listen = ['127.0.0.1:1']\n[rate]\nburst = 0\n", "`rate`", "`burst`"),
        ("[dns.rate]\nipv6_prefix = 65\n", "`dns.rate`", "`ipv6_prefix`"),
        ("[dns.searches]\nper_second = 64001\n", "`dns.searches`", "`per_second`"),
        (
            "listen = ['127.0.0.1:1']\n[access]\ndeny = ['192.0.2.1/24']\n",
            "line 3",
            "`192.0.2.1/24`",
        ),
    ] {
        world.write("x.toml", text);
        world.run(["check-config", "x.toml"]).failed(8, &[table, key]);
    }
    world.write("x.toml", "listen = []\norigin = 'dialtone.alt'\n");
    world.run(["check-config", "x.toml"]).failed(8, &["listen"]);
}

/// The line without its `#`, if what follows is a key or a table.
fn uncommented(line: &str) -> String {
    match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|first: char| first.is_ascii_lowercase() || first == '[') => rest.to_owned(),
        _ => line.to_owned(),
    }
}

#[test]
fn the_unit_that_keeps_a_name_is_one_that_systemd_and_the_command_understand() {
    let etc = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("etc");
    let unit = std::fs::read_to_string(etc.join("dialtone-keep@.service")).unwrap();
    let settings = std::fs::read_to_string(etc.join("dialtone-keep.env.example")).unwrap();
    let world = World::new();
    let help = world.ok(["help", "publish"]).stdout;
    let published = settings
        .lines()
        .find_map(|line| line.strip_prefix("DIALTONE_PUBLISH="))
        .expect("what is published");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    for flag in [start, published]
        .join(" ")
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
    {
        assert!(help.contains(flag), "{flag} is no flag of publish");
    }
    world.ok(["key", "new", "name.key"]);
    let typed = format!(
        "publish --key name.key --sign-only record {}",
        published.replace("--follow interfaces", "")
    );
    world.ok(typed.split_whitespace());
    for name in ["DIALTONE_PROVIDER", "DIALTONE_TOKEN", "DIALTONE_STATE"] {
        assert!(settings.contains(name) || unit.contains(name), "{name}");
    }
    if std::process::Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("systemd-analyze is not installed: the unit was not verified");
        return;
    }
    // It looks for the binary where it is to be installed.
    let here = unit.replace("/usr/local/bin/dialtone", env!("CARGO_BIN_EXE_dialtone"));
    let path = world.write("dialtone-keep@alice.service", here);
    let verified = crate::support::finish(std::process::Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(path));
    assert!(
        verified.status == Some(0) && !verified.stderr.contains("dialtone-keep"),
        "{verified}"
    );
}

#[test]
fn check_config_looks_at_the_files_that_settings_name_as_a_start_does() {
    let world = World::new();
    let file = |name: &str, text: &str| world.write(name, text);
    file("bad.names", "home nobody\n");
    for (settings, which, says) in [
        ("[dns]\nmap = \"bad.names\"\n", "provider", "line 1"),
        (
            "[dns]\ntls = [\"127.0.0.1:0\"]\ncertificate = \"none.pem\"\n",
            "provider",
            "none.pem",
        ),
        ("[dns.query_log]\nfile = \"nowhere/q.json\"\n", "provider", "nowhere"),
        ("map = \"bad.names\"\n", "dns", "line 1"),
        ("[query_log]\nfile = \"nowhere/q.json\"\n", "dns", "nowhere"),
    ] {
        let settings = file("settings.toml", settings);
        let ran = world.run(["check-config".as_ref(), "--of".as_ref(), which.as_ref(), settings.as_os_str()]);
        assert!(ran.status != Some(0) && ran.stderr.contains(says), "{settings:?} {which}: {ran}");
    }
    let good = file(
        "settings.toml",
        "[dns]\ntls = [\"127.0.0.1:4853\"]\n[dns.query_log]\nfile = \"q.json\"\n",
    );
    let ran = world.ok(["check-config".as_ref(), good.as_os_str()]);
    assert!(ran.stdout.contains("TLS on 127.0.0.1:4853"), "{}", ran.stdout);
    assert!(!world.path("q.json").exists(), "nothing is made");
}
