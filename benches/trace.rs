//! The trace by which CoDoNS was measured, in its shape and full size, at the DNS frontend of a provider over loopback UDP.
//!
//! ```text
//! cargo bench --bench trace -- [TTL] [MODE]      seconds (300); what the peer pushes: values (default), pointers or digest
//! ```
//!
//! 281,943 questions for 47,230 names, Zipf 0.91, one after the other. Two providers and the client are in this process; their clock is the
//! trace's, so that what is kept ends by its TTL as it would in twelve hours.

#[path = "parts/mod.rs"]
#[allow(dead_code, reason = "each load generator uses a part of what they share")]
mod parts;

#[path = "../tests/study/src/trace.rs"]
#[allow(dead_code, unused_imports, reason = "the study draws names from it, too, and runs its tests")]
mod trace;

#[path = "../provider/tests/trace/replay.rs"]
mod replay;

use dialtone_shared::Ttl;
use dialtone_shared::message::Mode;
use parts::Error;
use parts::args::Args;
use parts::times::Times;
use replay::House;
use trace::Trace;

fn main() -> Result<(), Error> {
    let args = Args::of_the_process();
    let ttl = args.number(0, 300);
    let mode = match args.word(1) {
        "" | "values" => Mode::Values,
        "pointers" => Mode::Pointers,
        "digest" => Mode::Digest,
        other => return Err(format!("`{other}` is nothing that a peer pushes: values, pointers or digest").into()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let trace = Trace::new(1, 1.0);
        let names = trace.names;
        let house = House::start(names, Ttl(ttl.try_into()?), mode).await;
        let replayed = house.replay(trace).await;
        let (local, hot) = (replayed.local(), replayed.hot());
        println!("trace names {names} questions {} ttl {ttl} s, {mode:?} pushed", replayed.took.len());
        println!(
            "trace local {local:.2}% ({} asked of the peer), kept encoded {hot:.2}%",
            replayed.asked
        );
        let times = Times::of(replayed.took);
        let at = |q| times.quantile(q);
        println!(
            "trace p50 {:.1} us p90 {:.1} us p99 {:.1} us worst {:.0} us",
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        );
        house.shutdown().await;
        Ok(())
    })
}
