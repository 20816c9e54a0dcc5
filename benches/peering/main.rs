//! What peering must hold, measured with real providers on loopback: each a process of its own, with its own folder and ports.
//!
//! ```text
//! cargo bench --bench peering -- catchup [RECORDS] [apart|together] [GETS/S]  a new peer catches up; gets at the sender meanwhile
//! cargo bench --bench peering -- values  mesh|peers|ring [PROVIDERS] [PUTS/S] put anywhere until visible everywhere; CPU of each receiver
//! cargo bench --bench peering -- hub     [FEW] [MANY]                         what a hub spends on each peer
//! cargo bench --bench peering -- idle    [RECORDS] [SECONDS]                  what two equal providers exchange, and their CPU
//! cargo bench --bench peering -- hostile forged|replayed [RECORDS]            a peer that pushes what is not wanted
//! ```
//!
//! `DIALTONE` names another build of the command to measure. Everything is signed before a clock starts.

#[path = "../parts/mod.rs"]
#[allow(dead_code, reason = "each load generator uses a part of what they share")]
mod parts;

mod by_hand;
mod catchup;
mod hostile;
mod hub;
mod idle;
mod process;
mod relay;
mod steady;
mod values;

use parts::Error;
use parts::args::{Args, runtime};

fn main() -> Result<(), Error> {
    let (args, runtime) = (Args::of_the_process(), runtime()?);
    let (word, number) = (|at| args.word(at), |at, default| args.number(at, default));
    match word(0) {
        "catchup" => runtime.block_on(catchup::run(number(1, 200_000), word(2) == "apart", number(3, 300))),
        "values" => runtime.block_on(values::run(word(1), number(2, 8), number(3, 200))),
        "hub" => runtime.block_on(hub::run(number(1, 10), number(2, 100))),
        "idle" => runtime.block_on(idle::run(number(1, 0), number(2, 60))),
        "hostile" => runtime.block_on(hostile::run(word(1), number(2, 1_000_000))),
        // What `hostile` starts in a process of its own.
        "attack" => runtime.block_on(hostile::attack(word(1), word(2).parse()?, number(3, 0), number(4, 1))),
        _ => {
            eprintln!("catchup | values | hub | idle | hostile: see the head of benches/peering/main.rs");
            Ok(())
        }
    }
}
