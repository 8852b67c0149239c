//! Ctrl-C and SIGTERM: the first asks a command to end cleanly, the second ends it at once.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::ui;

/// Whether the user asked for an end. Cheap to ask and to clone.
#[derive(Debug, Clone)]
pub struct Interrupt {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    raised: AtomicBool,
    lock: Mutex<()>,
    waker: Condvar,
}

impl Interrupt {
    /// Starts to watch for signals, on a thread of its own.
    pub fn watch() -> Outcome<Interrupt> {
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Failed, "can't watch for Ctrl-C").because(&error)
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
        let (mut interrupts, mut terminations) = {
            let _inside = runtime.enter();
            let open = |kind| signal(kind).map_err(failed);
            (open(SignalKind::interrupt())?, open(SignalKind::terminate())?)
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    next(&mut interrupts, &mut terminations).await;
                    watched.raise();
                    next(&mut interrupts, &mut terminations).await;
                    ui::say("ended at once; records that were not acknowledged may be missing");
                    std::process::exit(Exit::Interrupted.code().into());
                });
            })
            .map_err(failed)?;
        Ok(Interrupt { shared })
    }

    /// Whether a signal came.
    #[inline]
    pub fn is_raised(&self) -> bool {
        self.shared.raised.load(Ordering::Relaxed)
    }

    /// Waits for a signal.
    pub fn wait(&self) {
        let mut guard = self.shared.lock.lock();
        while !self.is_raised() {
            self.shared.waker.wait(&mut guard);
        }
    }
}

/// Standard input whose reading fails when a signal comes, also while nothing arrives. It doesn't
/// end there: the half of a row that came before the signal is no row.
#[derive(Debug)]
pub struct InterruptibleInput {
    input: io::StdinLock<'static>,
    interrupt: Interrupt,
}

impl InterruptibleInput {
    /// Standard input, read by this alone.
    pub fn new(interrupt: &Interrupt) -> InterruptibleInput {
        InterruptibleInput { input: io::stdin().lock(), interrupt: interrupt.clone() }
    }
}

impl Read for InterruptibleInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let between_looks = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        loop {
            if self.interrupt.is_raised() {
                return Err(io::Error::other("ended by a signal"));
            }
            let mut polled = [PollFd::new(&self.input, PollFlags::IN)];
            match poll(&mut polled, Some(&between_looks)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return rustix::io::read(&self.input, buffer).map_err(io::Error::from),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Shared {
    fn raise(&self) {
        let _guard = self.lock.lock();
        self.raised.store(true, Ordering::Relaxed);
        self.waker.notify_all();
    }
}

async fn next(interrupts: &mut Signal, terminations: &mut Signal) {
    tokio::select! {
        _ = interrupts.recv() => {}
        _ = terminations.recv() => {}
    }
}
