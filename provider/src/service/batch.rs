//! Many records in one request: examined and verified on all cores, kept in one commit, an outcome for each.
//!
//! ```text
//! POST /v1/records   [* record bytes]                              (CBOR array of byte strings, at most 1,000 and 4 MiB)
//! 200                [{"name", "status", "rank", "outcome", "keep_until", "receipt"} or {"name"?, "status", "problem"}]
//! ```

use super::media;
use super::problem::{RETRY_SECS, Refusal};
use super::put::{Admitted, examine, write_kept};
use super::queue::Kept;
use super::{Service, answer, read_if};
use crate::accounting::Caller;
use crate::settings::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, BATCHES_AT_A_TIME};
use crate::store::Condition;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use bytes::Bytes;
use dialtone_shared::Name;
use dialtone_shared::cbor::{CborError, Reader};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::{Arc, LazyLock};
use tokio::sync::OwnedSemaphorePermit;

/// `POST /v1/records`.
pub async fn post(State(service): State<Arc<Service>>, request: Request<Body>) -> Response<Body> {
    let done = service.post(request).await;
    done.unwrap_or_else(Refusal::into_response)
}

/// One of a batch: the name, if the record could be read so far, and what became of it.
type Item = (Option<Name>, Result<(Name, Kept), Refusal>);

impl Service {
    async fn post(self: &Arc<Self>, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let (head, body) = request.into_parts();
        let batches = Arc::clone(&self.batches);
        let turn = |caller| {
            // A body may be slow: those whom nobody knows leave half of the turns to the others.
            let known = !matches!(caller, Caller::Anonymous(_));
            if !known && batches.available_permits() <= BATCHES_AT_A_TIME / 2 {
                return Err(Refusal::Busy(RETRY_SECS));
            }
            let turn = batches.try_acquire_owned().map_err(|_| Refusal::Busy(RETRY_SECS))?;
            Ok((caller, Arc::new(turn)))
        };
        let checked = self.caller(&head, media::CBOR).and_then(turn);
        let (bytes, (caller, turn)) = read_if(checked, &head.headers, body, BATCH_BYTES_MAX).await?;
        let records = records_in(&bytes)?;
        drop(bytes);
        let now = self.clock.now().secs();
        let this = Arc::clone(self);
        let examined = in_parallel(records, &turn, move |bytes| examine(bytes, None, &this.name, now)).await?;
        let mut items: Vec<Option<Item>> = Vec::with_capacity(examined.len());
        let mut admitted = Vec::with_capacity(examined.len());
        for signed in examined {
            let name = signed.as_ref().ok().map(|signed| *signed.name());
            let passed = match signed {
                Ok(signed) => self.admit(caller, signed).await,
                Err(refusal) => Err(refusal),
            };
            match passed {
                Ok(record) => {
                    admitted.push((items.len(), record));
                    items.push(None);
                }
                Err(refusal) => items.push(Some((name, Err(refusal)))),
            }
        }
        let this = Arc::clone(self);
        let verify = move |(index, admitted): (usize, Admitted)| {
            let name = *admitted.signed.name();
            (index, name, this.verify(admitted))
        };
        let (mut puts, mut joined) = (Vec::new(), Vec::new());
        for (index, name, verified) in in_parallel(admitted, &turn, verify).await? {
            match verified {
                Ok((record, before)) => {
                    puts.push((self.put_of(caller, record, Condition::None, now), before));
                    joined.push((index, name));
                }
                Err(refusal) => items[index] = Some((Some(name), Err(refusal))),
            }
        }
        for ((index, name), to_come) in joined.into_iter().zip(self.queue.join_all(puts)?) {
            let kept = to_come.await.unwrap_or(Err(Refusal::Stopping));
            items[index] = Some((Some(name), kept.map(|kept| (name, kept))));
        }
        let mut shown = String::with_capacity(2 + items.len() * SHOWN_BYTES);
        shown.push('[');
        for (index, item) in items.into_iter().flatten().enumerate() {
            if index > 0 {
                shown.push(',');
            }
            self.show(&mut shown, item)?;
        }
        shown.push(']');
        Ok(answer(shown, media::JSON))
    }

    /// One of a batch, for people and scripts.
    fn show(&self, out: &mut String, (name, done): Item) -> Result<(), Refusal> {
        match done {
            Ok((name, kept)) => {
                self.metrics.put(kept.how.as_str());
                out.push_str(if kept.how.is_new() {
                    "{\"status\":201,"
                } else {
                    "{\"status\":200,"
                });
                write_kept(out, &name, &kept);
                out.push('}');
            }
            Err(refusal) => {
                let problem = refusal.problem();
                self.metrics.put(problem.slug);
                let refused = Refused {
                    status: problem.status.as_u16(),
                    name: name.map(|name| name.to_string()),
                    problem: refusal.details(),
                };
                let refused = serde_json::to_string(&refused).map_err(|error| Refusal::Bug(error.to_string()))?;
                out.push_str(&refused);
            }
        }
        Ok(())
    }
}

/// One of a batch that was not kept.
#[derive(Serialize)]
struct Refused {
    status: u16,
    name: Option<String>,
    problem: Map<String, Value>,
}

/// Takes a batch apart. Each record is copied, so that none holds on to the whole request.
fn records_in(body: &[u8]) -> Result<Vec<Bytes>, Refusal> {
    let malformed = |error: CborError| Refusal::Batch(error.to_string());
    let mut r = Reader::new(body);
    let count = r.array().map_err(malformed)?;
    if count > BATCH_RECORDS_MAX as u64 {
        return Err(Refusal::Batch(format!(
            "{count} records, at most {BATCH_RECORDS_MAX} are taken at once"
        )));
    }
    let mut records = Vec::with_capacity(count as usize);
    for _ in 0..count {
        records.push(Bytes::copy_from_slice(r.bytes().map_err(malformed)?));
    }
    r.finish().map_err(malformed)?;
    Ok(records)
}

/// Does `work` on every item, off the async threads, a share on each core; in order. Whoever asked may hang up meanwhile, and the work
/// goes on: it holds on to the `turn` until it is done, so that what is under way stays bounded.
async fn in_parallel<T, R, F>(items: Vec<T>, turn: &Arc<OwnedSemaphorePermit>, work: F) -> Result<Vec<R>, Refusal>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(T) -> R + Clone + Send + 'static,
{
    let cores = *CORES;
    let share = items.len().div_ceil(cores).max(SHARE_MIN);
    let mut items = items.into_iter();
    let mut shares = Vec::with_capacity(cores);
    loop {
        let share: Vec<T> = items.by_ref().take(share).collect();
        if share.is_empty() {
            break;
        }
        let (work, turn) = (work.clone(), Arc::clone(turn));
        shares.push(tokio::task::spawn_blocking(move || {
            let done = share.into_iter().map(work).collect::<Vec<R>>();
            drop(turn);
            done
        }));
    }
    let mut done = Vec::new();
    for share in shares {
        done.extend(share.await.map_err(|error| Refusal::Bug(error.to_string()))?);
    }
    Ok(done)
}

/// About what one of a batch takes when it is shown: most of it is the receipt, with a path of eight.
const SHOWN_BYTES: usize = 1_152;

/// Asked for once: the answer is put together from files, which takes as long as verifying five records.
static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

/// Fewest records worth another thread: a fifth of a thousandth of a second of verification.
const SHARE_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_shared::cbor::Writer;

    #[test]
    fn a_batch_is_a_list_of_byte_strings_and_nothing_else() {
        let list = |count: usize| {
            let mut w = Writer::new();
            w.array(count);
            (0..count).for_each(|_| {
                w.bytes(b"x");
            });
            w.into_bytes()
        };
        assert_eq!(records_in(&list(0)).unwrap().len(), 0);
        assert_eq!(records_in(&list(BATCH_RECORDS_MAX)).unwrap().len(), BATCH_RECORDS_MAX);
        assert!(matches!(records_in(&list(BATCH_RECORDS_MAX + 1)), Err(Refusal::Batch(_))));
        let three = list(3);
        for cut in 0..three.len() {
            assert!(matches!(records_in(&three[..cut]), Err(Refusal::Batch(_))), "cut at {cut}");
        }
        assert!(matches!(records_in(&[&three[..], &[0]].concat()), Err(Refusal::Batch(_))));
        assert!(matches!(records_in(&[0x9f, 0xff]), Err(Refusal::Batch(_))), "an indefinite length");
    }

    #[tokio::test]
    async fn work_shared_out_comes_back_in_order() {
        for count in [0, 1, 5, 1_000] {
            let doubled = in_parallel((0..count).collect(), &turn(), |item: usize| item * 2).await.unwrap();
            assert_eq!(doubled, (0..count).map(|item| item * 2).collect::<Vec<_>>());
        }
    }

    fn turn() -> Arc<OwnedSemaphorePermit> {
        Arc::new(crate::service::batches().try_acquire_owned().unwrap())
    }

    #[tokio::test]
    async fn who_hangs_up_gives_the_turn_back_only_when_the_work_is_done() {
        let batches = crate::service::batches();
        let free = batches.available_permits();
        let turn = Arc::new(Arc::clone(&batches).try_acquire_owned().unwrap());
        let (begun, begins) = std::sync::mpsc::channel();
        let (finish, finishes) = std::sync::mpsc::channel::<()>();
        let finishes = Arc::new(std::sync::Mutex::new(finishes));
        let work = move |_: usize| {
            begun.send(()).unwrap();
            let _ = finishes.lock().unwrap().recv();
        };
        let asking = tokio::spawn(async move { in_parallel(vec![1], &turn, work).await });
        tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        assert_eq!(batches.available_permits(), free - 1, "the work is still under way");
        drop(finish);
        while batches.available_permits() < free {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}
