//! The same work for each of many logs, shared by a few threads: at a start and at a stop.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Does `work` for each of `items` on that many threads, this one among them, and gives what came
/// of it, in any order.
pub(super) fn for_each<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let share = || {
        let mut done = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push(work(item));
        }
        done
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(items.len())).map(|_| scope.spawn(share)).collect();
        let mut done = share();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_done_once_by_however_many() {
        for (count, threads) in [(0, 4), (1, 4), (3, 1), (1000, 4)] {
            let items: Vec<usize> = (0..count).collect();
            let mut done = for_each(&items, threads, |item| item + 1);
            done.sort_unstable();
            assert_eq!(done, (1..=count).collect::<Vec<_>>());
        }
    }
}
