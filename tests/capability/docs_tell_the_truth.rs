//! What the documentation names exists: verbs, flags, files, exit statuses, examples.

use crate::support::World;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn every_command_in_the_docs_is_one_that_help_knows() {
    let world = World::new();
    let mut seen = 0;
    for doc in docs() {
        let text = std::fs::read_to_string(&doc).expect("a page");
        for command in commands_in(&text) {
            let mut words = command.split_whitespace().skip(1).peekable();
            let mut path = vec!["help"];
            while let Some(word) =
                words.next_if(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && !word.starts_with('-'))
            {
                path.push(word);
                if path.len() == 2 && !HAS_VERBS.contains(&word) || path.len() == 3 {
                    break;
                }
            }
            // `provider` is a verb with verbs: what follows may be an argument.
            let help = world.run(&path);
            let help = if help.status == Some(0) {
                help
            } else {
                world.run(&path[..path.len().min(2)])
            };
            assert_eq!(help.status, Some(0), "{}: `{command}`: {help}", doc.display());
            for flag in command.split_whitespace().filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap_or(flag);
                let known = help
                    .stdout
                    .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
                    .any(|word| word == flag);
                assert!(known, "{}: `{command}`: {flag} is not in\n{}", doc.display(), help.stdout);
            }
            seen += 1;
        }
    }
    assert!(seen > 5, "only {seen} commands were found: is the README read at all?");
}

#[test]
fn every_exit_status_is_in_the_help() {
    let help = World::new().ok(["--help"]).stdout;
    let list = help.split("Exit status:").nth(1).expect("the list of exit statuses");
    let numbers: Vec<u8> = list
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    assert_eq!(numbers, (0..=10).collect::<Vec<u8>>());
}

#[test]
fn every_verb_has_help_with_its_purpose_and_its_usage() {
    let world = World::new();
    let help = world.ok(["--help"]).stdout;
    let verbs: BTreeSet<&str> = help
        .split("Commands:")
        .nth(1)
        .expect("commands")
        .lines()
        .take_while(|line| !line.contains("Options:"))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    for verb in [
        "up",
        "key",
        "publish",
        "unpublish",
        "lease",
        "resolve",
        "watch",
        "put",
        "get",
        "provider",
        "dns",
        "template",
        "check-config",
        "alias",
        "link",
        "doctor",
        "completions",
        "account",
    ] {
        assert!(verbs.contains(verb), "{verb} is not in\n{help}");
        let own = world.ok(["help", verb]).stdout;
        assert!(own.contains(&format!("Usage: dialtone {verb}")), "{own}");
    }
    for verb in [
        "up",
        "publish",
        "unpublish",
        "lease",
        "resolve",
        "put",
        "get",
        "provider",
        "dns",
        "template",
        "check-config",
        "alias",
        "link",
        "doctor",
        "completions",
    ] {
        assert!(world.ok(["help", verb]).stdout.contains("Examples:"), "{verb} has no examples");
    }
}

#[test]
fn every_file_that_a_page_links_to_exists() {
    for doc in docs() {
        let text = std::fs::read_to_string(&doc).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or(link);
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            let target = doc.parent().expect("a folder").join(file);
            assert!(target.exists(), "{} links to {link}, which is not there", doc.display());
        }
    }
}

#[test]
fn every_path_of_the_code_that_a_page_names_exists() {
    let mut seen = 0;
    for doc in docs() {
        let text = std::fs::read_to_string(&doc).expect("a page");
        for path in text.split('`').skip(1).step_by(2) {
            let rooms = [
                "src/",
                "shared/",
                "resolver/",
                "provider/",
                "tests/",
                "examples/",
                "etc/",
                "benches/",
                "docs/",
                "clients/",
            ];
            let is_path = rooms.iter().any(|room| path.starts_with(room)) && !path.contains(['{', '<', '*', ' ', '\n']);
            if is_path {
                assert!(root().join(path).exists(), "{} names {path}, which is not there", doc.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} paths were found: is ARCHITECTURE read at all?");
}

#[test]
fn every_test_that_a_page_names_exists() {
    let mut seen = 0;
    for doc in docs() {
        let text = std::fs::read_to_string(&doc).expect("a page");
        for (file, test) in text.split('`').skip(1).step_by(2).filter_map(|said| said.split_once(".rs ")) {
            let Ok(code) = std::fs::read_to_string(root().join(format!("{file}.rs"))) else {
                panic!("{} names {file}.rs, which is not there", doc.display());
            };
            assert!(
                code.contains(&format!("fn {test}(")),
                "{} names {test}, which is not in {file}.rs",
                doc.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} tests were found: is SYSTEMS read at all?");
}

#[test]
fn every_example_that_a_page_names_exists() {
    for doc in docs() {
        let text = std::fs::read_to_string(&doc).expect("a page");
        for name in text
            .split("--example ")
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next())
        {
            let exists = ["", "shared/", "resolver/", "provider/", "tests/world/"]
                .iter()
                .any(|room| root().join(format!("{room}examples/{name}.rs")).exists());
            assert!(exists, "{} names the example {name}, which is not there", doc.display());
        }
    }
}

#[test]
fn every_decision_is_in_their_list_under_its_own_title_and_no_number_stands_twice() {
    let folder = root().join("docs/decisions");
    let files = std::fs::read_dir(&folder)
        .expect("decisions")
        .map(|entry| entry.expect("a page").file_name());
    let mut wanted: Vec<String> = files
        .map(|file| file.into_string().expect("a plain name"))
        .filter(|file| file != "README.md")
        .map(|file| {
            let text = std::fs::read_to_string(folder.join(&file)).expect("a decision");
            let title = text.lines().next().unwrap_or_default().trim_start_matches("# ").to_owned();
            let (number, title) = title.split_once(' ').unwrap_or_else(|| panic!("{file} has no title"));
            let number = number.trim_end_matches([':', '.']);
            assert!(file.starts_with(&format!("{number}-")), "{file} calls itself {number}");
            format!("- [{number}]({file}) {title}")
        })
        .collect();
    wanted.sort();
    let numbers: BTreeSet<&str> = wanted.iter().filter_map(|line| line.split(['[', ']']).nth(1)).collect();
    assert_eq!(numbers.len(), wanted.len(), "a number stands twice: {wanted:#?}");
    let list = std::fs::read_to_string(folder.join("README.md")).expect("their list");
    let listed: Vec<&str> = list.lines().filter(|line| line.starts_with("- [")).collect();
    // Several are at work: a decision later than the last that is listed may still be on its way into the list.
    let last = listed.last().copied().unwrap_or_default();
    wanted.retain(|line| line.as_str() <= last);
    assert_eq!(
        listed,
        wanted,
        "docs/decisions/README.md is to have these lines:\n{}",
        wanted.join("\n")
    );
}

#[test]
fn completions_are_printed_for_every_shell() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.ok(["completions", shell]).stdout;
        assert!(script.contains("check-config") && script.contains("dialtone"), "{shell}");
    }
}

/// Lines of code blocks that call the command, their continuation lines joined and comments removed.
fn commands_in(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let (mut in_code, mut open): (bool, Option<String>) = (false, None);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
            continue;
        }
        if !in_code {
            continue;
        }
        let code = line.split(" #").next().unwrap_or_default().trim();
        let (code, goes_on) = match code.strip_suffix('\\') {
            Some(code) => (code.trim(), true),
            None => (code, false),
        };
        let called = code
            .strip_prefix("cargo run --release -- ")
            .or_else(|| code.strip_prefix("dialtone "));
        let joined = match (open.take(), called) {
            (Some(begun), _) => Some(format!("{begun} {code}")),
            (None, Some(rest)) => Some(format!("dialtone {rest}")),
            (None, None) => None,
        };
        match joined {
            Some(command) if goes_on => open = Some(command),
            // What a pipe or a second command does is not ours.
            Some(command) => commands.extend(command.split(['|', '>', ';', '&']).next().map(|own| own.trim().to_owned())),
            None => {}
        }
    }
    commands
}

/// Every page that people read first.
fn docs() -> Vec<PathBuf> {
    let mut docs: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
        .iter()
        .map(|page| root().join(page))
        .filter(|page| page.exists())
        .collect();
    if let Ok(folder) = std::fs::read_dir(root().join("docs")) {
        docs.extend(
            folder
                .map(|entry| entry.expect("a page").path())
                .filter(|path| path.extension().is_some_and(|end| end == "md")),
        );
    }
    docs
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Verbs that have verbs of their own.
const HAS_VERBS: [&str; 4] = ["key", "peer", "provider", "account"];
