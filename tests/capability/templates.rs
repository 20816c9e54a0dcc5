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
