//! Several futures at once, in one task: all of them, or whichever is ready next. A task of its own for each would cost a wake-up
//! across threads, which is most of a lookup's time.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// A future on the heap.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Waits for all, and gives their outputs in the same order. For a handful: each wake-up polls every one that is left.
pub(crate) async fn all<T: Send>(futures: Vec<Pending<'_, T>>) -> Vec<T> {
    let mut slots: Vec<(Option<Pending<'_, T>>, Option<T>)> = futures.into_iter().map(|future| (Some(future), None)).collect();
    poll_fn(|context| {
        let mut waiting = false;
        for (future, output) in &mut slots {
            if let Some(pending) = future {
                match pending.as_mut().poll(context) {
                    Poll::Ready(value) => (*future, *output) = (None, Some(value)),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    slots.into_iter().filter_map(|(_, output)| output).collect()
}

/// Waits for whichever is ready first, takes it out, and gives its number and output. Never ready if there is none.
pub(crate) async fn next<T>(pending: &mut Vec<(usize, Pending<'_, T>)>) -> (usize, T) {
    poll_fn(|context| {
        for index in 0..pending.len() {
            if let Poll::Ready(output) = pending[index].1.as_mut().poll(context) {
                return Poll::Ready((pending.swap_remove(index).0, output));
            }
        }
        Poll::Pending
    })
    .await
}
