//! Measures the ways of peering and writes `docs/peering-study.md` and its plots.
//!
//! ```text
//! cargo run --release -p dialtone-study                      all of it, some minutes
//! cargo run --release -p dialtone-study -- --part real       one part; the figures of the others stay
//! cargo run --release -p dialtone-study -- --part none       the document and the plots again, from the figures
//! ```
//!
//! In the order in which things happen:
//!
//! 1. [`trace`], [`names`]: the load;
//! 2. [`processes`], [`http`], [`real`]: real providers under it;
//! 3. [`simulated`]: providers in the simulated world under it;
//! 4. [`ring`], [`storage`], [`population`]: what follows from the trace alone;
//! 5. [`figures`]: what is kept of all that;
//! 6. [`plot`], [`plots`], [`document`]: what is shown of it.

mod cpu;
mod document;
mod figures;
mod findings;
mod http;
mod names;
mod numbers;
mod plot;
mod plots;
mod population;
mod processes;
mod real;
mod ring;
mod simulated;
mod storage;
mod trace;

use clap::{Parser, ValueEnum};
use figures::{Form, Run, Study};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use trace::Trace;

/// Whatever stops a study.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Measures the ways of peering and writes docs/peering-study.md and its plots.
#[derive(Parser, Debug)]
struct Args {
    /// Which part of the trace is run against providers, real and simulated: 1 is all of it
    #[arg(long, default_value_t = 0.01)]
    scale: f64,
    /// What is measured anew; what is not keeps its figures
    #[arg(long, value_enum, value_delimiter = ',', default_value = "real,world,trace")]
    part: Vec<Part>,
    /// The forms in which providers push
    #[arg(long, value_delimiter = ',', default_value = "values,pointers,digest,none")]
    form: Vec<String>,
    /// Numbers of real providers, each a process
    #[arg(long, value_delimiter = ',', default_value = "2,4,8,16")]
    real: Vec<usize>,
    /// Numbers of simulated providers
    #[arg(long, value_delimiter = ',', default_value = "32,100,316,1000")]
    world: Vec<usize>,
    /// Which part of the trace is looked at by itself
    #[arg(long, default_value_t = 1.0)]
    trace_scale: f64,
    /// The folder of the document [default: docs of this repository]
    #[arg(long)]
    out: Option<PathBuf>,
    /// The command whose `provider` is measured [default: built now, as this program was]
    #[arg(long)]
    dialtone: Option<PathBuf>,
}

/// A part of the study.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// Real providers.
    Real,
    /// Simulated ones.
    World,
    /// What follows from the trace alone.
    Trace,
    /// Nothing.
    None,
}

fn main() -> Result<(), Error> {
    let args = Args::parse();
    let out = args.out.clone().unwrap_or_else(|| root().join("docs"));
    let folder = out.join("peering-study");
    std::fs::create_dir_all(&folder)?;
    let kept = folder.join("figures.json");
    let mut study: Study = match std::fs::read(&kept) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(_) => Study::default(),
    };
    let forms = forms(&args.form)?;
    // What is measured is of the version that begins, also if somebody goes on working on it.
    let version = version();
    let mut keep = |study: &Study| -> Result<(), Error> {
        // After each row: what was measured is not lost with what could not be.
        std::fs::write(&kept, serde_json::to_string_pretty(study)? + "\n")?;
        Ok(())
    };
    if args.part.contains(&Part::Real) {
        real(&args, &forms, &version, &mut study, &mut keep)?;
    }
    if args.part.contains(&Part::World) {
        world(&args, &forms, &version, &mut study, &mut keep)?;
    }
    if args.part.contains(&Part::Trace) {
        let trace = Trace::new(SEED, args.trace_scale);
        let all: BTreeSet<usize> = args.real.iter().chain(&args.world).copied().collect();
        study.rings = ring::rings(&trace, all.iter().copied());
        study.stored = storage::stored(all)?;
        study.populations = population::populations(&trace);
        study.trace = Some(run(&trace, args.trace_scale, &version));
    }
    keep(&study)?;
    plots::draw(&study, &folder)?;
    std::fs::write(out.join("peering-study.md"), document::write(&study))?;
    eprintln!("{} is written", out.join("peering-study.md").display());
    Ok(())
}

type Keep<'a> = &'a mut dyn FnMut(&Study) -> Result<(), Error>;

fn real(args: &Args, forms: &[Form], version: &str, study: &mut Study, keep: Keep<'_>) -> Result<(), Error> {
    let dialtone = match &args.dialtone {
        Some(path) => path.clone(),
        None => build()?,
    };
    let trace = Trace::new(SEED, args.scale);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for setting in real::settings(&args.real) {
        for form in forms {
            let began = Instant::now();
            let loaded = (&trace, run(&trace, args.scale, version));
            study.enter(runtime.block_on(real::measure(&dialtone, loaded, setting, *form))?);
            eprintln!("processes: {setting:?}, {}: {:.1?}", form.word(), began.elapsed());
            keep(study)?;
        }
    }
    Ok(())
}

fn world(args: &Args, forms: &[Form], version: &str, study: &mut Study, keep: Keep<'_>) -> Result<(), Error> {
    let trace = Trace::new(SEED, args.scale);
    for setting in simulated::settings(&args.world) {
        for form in forms {
            let began = Instant::now();
            study.enter(simulated::measure((&trace, run(&trace, args.scale, version)), setting, *form)?);
            eprintln!("simulated: {setting:?}, {}: {:.1?}", form.word(), began.elapsed());
            keep(study)?;
        }
    }
    Ok(())
}

fn forms(words: &[String]) -> Result<Vec<Form>, Error> {
    let of = |word: &String| Form::ALL.into_iter().find(|form| form.word() == word);
    words
        .iter()
        .map(|word| of(word).ok_or_else(|| format!("`{word}` is no form").into()))
        .collect()
}

/// How something is run, for the document.
fn run(trace: &Trace, scale: f64, version: &str) -> Run {
    Run {
        scale,
        names: trace.names,
        queries: trace.queries.len(),
        day: told("date", &["-u", "+%Y-%m-%d"]).unwrap_or_else(|| "unknown".to_owned()),
        version: version.to_owned(),
    }
}

/// What the program is of.
fn version() -> String {
    match (told("git", &["describe", "--always"]), told("git", &CHANGED)) {
        (Some(version), Some(changed)) if changed.is_empty() => version,
        (Some(version), _) => version + " and changes",
        (None, _) => "unknown".to_owned(),
    }
}

/// What another program says, in the repository.
fn told(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).current_dir(root()).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    out.status.success().then(|| text.trim().to_owned())
}

/// Builds the command, as this program was built.
fn build() -> Result<PathBuf, Error> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build = Command::new(cargo);
    build
        .args(["build", "--quiet", "-p", "dialtone", "--bin", "dialtone"])
        .current_dir(root());
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    if !build.status()?.success() {
        return Err("the command does not build".into());
    }
    let own = std::env::current_exe()?;
    let built = own.parent().ok_or("a program without a folder")?.join("dialtone");
    built
        .exists()
        .then_some(built)
        .ok_or_else(|| "the command was built elsewhere: say where with --dialtone".into())
}

/// The repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Tells which files are not as they were committed; what a study itself writes is no program.
const CHANGED: [&str; 5] = ["status", "--porcelain", "--", ".", ":!docs"];
/// Where all chance comes from.
const SEED: u64 = 1;
