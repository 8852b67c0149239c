//! The thread that does a client's I/O: its own runtime, its own state, and jobs from anywhere.

use std::future::Future;
use std::io;
use std::rc::Rc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

/// Starts work on the I/O thread, with its state.
type Job<S> = Box<dyn FnOnce(Rc<S>) + Send>;

/// A handle to a thread that owns an `S`. The thread ends, with all its work, when the last clone
/// of the handle is gone; nobody waits for that.
#[derive(Debug)]
pub(crate) struct IoThread<S> {
    jobs: mpsc::UnboundedSender<Job<S>>,
}

impl<S> Clone for IoThread<S> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone() }
    }
}

/// The thread is gone, and with it the answer. It ends only with its last handle, or by a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client's I/O thread has ended")]
pub(crate) struct IoThreadEnded;

impl<S: 'static> IoThread<S> {
    /// Starts the thread; `make` makes its state there, inside the runtime.
    ///
    /// # Errors
    /// The system has no thread or no runtime to give.
    pub(crate) fn start(name: &str, make: impl FnOnce() -> S + Send + 'static) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job<S>>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            LocalSet::new().block_on(&runtime, async move {
                let state = Rc::new(make());
                while let Some(job) = queue.recv().await {
                    job(Rc::clone(&state));
                }
            });
            // A name that is being resolved must not hold the thread up.
            runtime.shutdown_background();
        })?;
        Ok(Self { jobs })
    }

    /// Runs a future on the I/O thread. It goes on if the answer is not waited for.
    pub(crate) fn run<T, A, F>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<T, IoThreadEnded>> + Send + use<T, A, F, S>
    where
        T: Send + 'static,
        A: Future<Output = T> + 'static,
        F: FnOnce(Rc<S>) -> A + Send + 'static,
    {
        let (answer, receiver) = oneshot::channel();
        let job: Job<S> = Box::new(move |state| {
            tokio::task::spawn_local(async move {
                let _ = answer.send(work(state).await);
            });
        });
        let sent = self.jobs.send(job);
        async move {
            sent.map_err(|_| IoThreadEnded)?;
            receiver.await.map_err(|_| IoThreadEnded)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::wait;
    use std::cell::Cell;
    use std::time::Duration;

    #[test]
    fn jobs_share_the_state_and_begin_in_order() {
        let thread = IoThread::start("test-io", || Cell::new(0)).unwrap();
        let numbers: Vec<_> = (0..10)
            .map(|_| thread.run(|state| async move { state.replace(state.get() + 1) }))
            .collect();
        let numbers: Vec<_> = numbers.into_iter().map(|number| wait(number).unwrap()).collect();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn work_ends_with_the_last_handle() {
        let thread = IoThread::start("test-io", || ()).unwrap();
        let (dropped, is_dropped) = std::sync::mpsc::channel::<()>();
        let answer = thread.run(move |_| async move {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        });
        drop(thread.clone());
        drop(thread);
        assert_eq!(wait(answer), Err(IoThreadEnded));
        assert!(is_dropped.recv_timeout(Duration::from_secs(20)).is_err());
    }
}
