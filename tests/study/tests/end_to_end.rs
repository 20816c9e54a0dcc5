//! The study runs from one end to the other, and what the repository has of it is what it writes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs the program, which writes into `out`.
fn study(out: &Path, args: &[&str]) {
    let run = Command::new(env!("CARGO_BIN_EXE_dialtone-study"))
        .arg("--out")
        .arg(out)
        .args(args)
        .output();
    let run = run.expect("the program runs");
    assert!(run.status.success(), "{args:?}: {}", String::from_utf8_lossy(&run.stderr));
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rows(out: &Path) -> Vec<serde_json::Value> {
    let study: serde_json::Value = serde_json::from_str(&read(out.join("peering-study/figures.json"))).expect("figures");
    study["rows"].as_array().expect("rows").clone()
}

/// The rows of a table: lines after the heading that are not its head, up to the next heading.
fn table<'a>(document: &'a str, heading: &str) -> Vec<&'a str> {
    let after = document.split(heading).nth(1).unwrap_or_else(|| panic!("no {heading}"));
    let own = after.split("\n## ").next().unwrap_or(after);
    own.lines().filter(|line| line.starts_with('|')).skip(2).collect()
}

const FORMS: [&str; 4] = ["Values", "Pointers", "Digest", "None"];

const HEADINGS: [&str; 8] = [
    "\n## What was run\n",
    "\n## Puts\n",
    "\n## Gets\n",
    "\n## Staleness\n",
    "\n## Free-riders\n",
    "\n## One ring, for comparison\n",
    "\n## Hit rate against population\n",
    "\n## Questions saved by digests\n",
];

#[test]
fn a_small_study_measures_real_and_simulated_providers_and_writes_every_table_and_plot() {
    let small = ["--scale", "0.0003", "--trace-scale", "0.01", "--real", "2", "--world", "5"];
    let outs = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    // Most of the time nothing happens but waiting.
    let parts = [
        &["--part", "world,trace"][..],
        &["--part", "real", "--form", "values"],
        &["--part", "real", "--form", "digest"],
    ];
    std::thread::scope(|scope| {
        for (out, part) in outs.iter().zip(parts) {
            scope.spawn(|| study(out.path(), &[&small[..], part].concat()));
        }
    });
    let document = read(outs[0].path().join("peering-study.md"));
    for heading in HEADINGS {
        assert!(!table(&document, heading).is_empty(), "nothing under {heading}");
    }
    assert!(!document.contains("{{"), "a mark was left");
    for plot in document.split("](peering-study/").skip(1).filter_map(|rest| rest.split(')').next()) {
        let drawn = read(outs[0].path().join("peering-study").join(plot));
        assert!(drawn.starts_with("<svg") && drawn.contains("<circle"), "{plot}");
    }
    let rows: Vec<_> = outs.iter().flat_map(|out| rows(out.path())).collect();
    let of = |place: &str, form: &str| {
        let is = |row: &&serde_json::Value| row["place"] == place && row["form"] == form && row["riders"] == 0 && row["shape"] == "Mesh";
        rows.iter().find(is).unwrap_or_else(|| panic!("no {place} {form}"))
    };
    for (place, others) in [("Real", 1.0), ("World", 4.0)] {
        let values = of(place, "Values");
        assert_eq!(
            (values["local"].as_f64(), values["found"].as_f64()),
            (Some(1.0), Some(1.0)),
            "{values}"
        );
        assert_eq!(
            (values["get_messages"].as_f64(), values["get_bytes"].as_f64()),
            (Some(0.0), Some(0.0)),
            "{values}"
        );
        // Every provider holds all; each put is sent to each other provider at least once.
        assert_eq!(values["held"].as_f64(), values["run"]["names"].as_f64(), "{values}");
        assert!(values["put_messages"].as_f64() >= Some(others), "{values}");
        let digest = of(place, "Digest");
        assert_eq!(digest["found"].as_f64(), Some(1.0), "{digest}");
        assert!(
            digest["get_messages"].as_f64() > Some(0.0) && digest["held"].as_f64() < values["held"].as_f64(),
            "{digest}"
        );
        // A question has a name in it, and an answer a record.
        assert!(
            digest["get_bytes"].as_f64() > digest["get_messages"].as_f64().map(|messages| messages * 150.0),
            "{digest}"
        );
        // Who is asked answers, and all answer: each has its part of the work.
        let work = digest["work"].as_f64().map(|work| work * (others + 1.0));
        assert!(
            work.zip(digest["get_messages"].as_f64())
                .is_some_and(|(work, asked)| (work - asked).abs() < 1e-6),
            "{digest}"
        );
        assert!(digest["put_bytes"].as_f64() < values["put_bytes"].as_f64(), "{digest}");
    }
    for form in FORMS {
        let row = of("World", form);
        assert_eq!((row["found"].as_f64(), row["unseen"].as_u64()), (Some(1.0), Some(0)), "{row}");
    }
}

/// The first line in which two texts differ says more than both of them.
fn same(written: &str, kept: &str, what: &str) {
    let first = written.lines().zip(kept.lines()).find(|(new, old)| new != old);
    assert!(written == kept, "{what}: written anew it differs, first (new, kept): {first:?}");
}

#[test]
fn the_document_in_the_repository_is_what_the_figures_beside_it_say() {
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"));
    let out = tempfile::tempdir().expect("a folder");
    let folder = out.path().join("peering-study");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::copy(docs.join("peering-study/figures.json"), folder.join("figures.json")).expect("the figures");
    study(out.path(), &["--part", "none"]);
    let document = read(docs.join("peering-study.md"));
    same(&read(out.path().join("peering-study.md")), &document, "peering-study.md");
    for entry in std::fs::read_dir(&folder).expect("a folder") {
        let file = entry.expect("a file").file_name();
        same(
            &read(folder.join(&file)),
            &read(docs.join("peering-study").join(&file)),
            &file.to_string_lossy(),
        );
    }
    assert!(document.contains("cargo run --release -p dialtone-study"));
    for heading in HEADINGS {
        assert!(!table(&document, heading).is_empty(), "nothing under {heading}");
    }
    let rows = rows(out.path());
    let networks = [2, 4, 8, 16].map(|count| ("Real", count)).into_iter();
    for (place, count) in networks.chain([32, 100, 316, 1_000].map(|count| ("World", count))) {
        for form in FORMS {
            let is = |row: &serde_json::Value| row["place"] == place && row["providers"] == count && row["form"] == form;
            assert!(rows.iter().any(is), "{count} providers, {place}, {form} were not measured");
        }
    }
    for place in ["Real", "World"] {
        for form in FORMS {
            let is = |row: &serde_json::Value| row["place"] == place && row["form"] == form && row["riders"] != 0;
            assert!(rows.iter().any(is), "free-riders, {place}, {form} were not measured");
        }
    }
}
