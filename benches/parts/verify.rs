//! What one verification costs here: the floor under every put.

use super::Error;
use super::records::record;
use dialtone_shared::SignedRecord;
use std::time::Instant;

/// One strict verification of a record like those that are put: by the library's own function, as the provider spells the same rule, and
/// so on every core at once.
pub fn told() -> Result<(), Error> {
    library()?;
    let records = records()?;
    let here = |record: &SignedRecord| Ok(std::hint::black_box(record.clone().verify()).is_ok());
    verified("verify", &records, 1, here)?;
    verified("verify-all-cores", &records, std::thread::available_parallelism()?.get(), here)?;
    Ok(())
}

fn records() -> Result<Vec<SignedRecord>, Error> {
    (0..256).map(|index| record(index, 1)).collect()
}

/// The library's own function, in microseconds.
pub fn library() -> Result<f64, Error> {
    let strict = |record: &SignedRecord| {
        let key = ed25519_dalek::VerifyingKey::from_bytes(record.record().genesis.key.as_bytes())?;
        // The same number of bytes under a signature that is as costly to find wrong.
        let (message, signature) = record.bytes().split_at(record.bytes().len() - 64);
        let signature = ed25519_dalek::Signature::from_slice(signature)?;
        Ok(std::hint::black_box(key.verify_strict(message, &signature)).is_err())
    };
    verified("verify-strict", &records()?, 1, strict)
}

/// How long `what` takes, on `cores` at once.
fn verified(
    what: &str,
    records: &[SignedRecord],
    cores: usize,
    verify: impl Fn(&SignedRecord) -> Result<bool, Error> + Sync,
) -> Result<f64, Error> {
    let mut rounds = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let done: Vec<Result<bool, Error>> = std::thread::scope(|scope| {
            let run = || {
                records
                    .iter()
                    .cycle()
                    .take(4_096)
                    .try_fold(true, |all, record| Ok(all & verify(record)?))
            };
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(run)).collect();
            let done = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread failed".into())));
            done.collect()
        });
        for done in done {
            if !done? {
                return Err("a record was not judged as it should be".into());
            }
        }
        rounds.push(start.elapsed().as_secs_f64() * 1e6 / 4_096.0);
    }
    rounds.sort_by(f64::total_cmp);
    println!(
        "op={what} us={:.1} min={:.1} max={:.1} rps={:.0}",
        rounds[2],
        rounds[0],
        rounds[4],
        cores as f64 * 1e6 / rounds[2]
    );
    Ok(rounds[2])
}
