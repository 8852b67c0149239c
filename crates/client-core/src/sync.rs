//! The locks and atomics whose every interleaving loom walks through: the real ones, or, with
//! `--cfg loom`, its models of them.

#[cfg(not(loom))]
pub(crate) use self::real::{AtomicUsize, Mutex, OnceLock};

#[cfg(loom)]
pub(crate) use self::modelled::{AtomicUsize, Mutex, OnceLock};

#[cfg(not(loom))]
mod real {
    pub(crate) use std::sync::OnceLock;
    pub(crate) use std::sync::atomic::AtomicUsize;

    pub(crate) use parking_lot::Mutex;
}

#[cfg(loom)]
mod modelled {
    use loom::sync::MutexGuard;
    use loom::sync::atomic::{AtomicBool, Ordering};

    pub(crate) use loom::sync::atomic::AtomicUsize;

    /// loom's mutex, with the face of parking_lot's.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }

    /// A cell that is set once. Whether a thread sees that is loom's to say.
    #[derive(Debug)]
    pub(crate) struct OnceLock<T> {
        is_set: AtomicBool,
        value: std::sync::OnceLock<T>,
    }

    impl<T> OnceLock<T> {
        pub(crate) fn new() -> Self {
            Self { is_set: AtomicBool::new(false), value: std::sync::OnceLock::new() }
        }

        pub(crate) fn set(&self, value: T) -> Result<(), T> {
            self.value.set(value)?;
            self.is_set.store(true, Ordering::Release);
            Ok(())
        }

        pub(crate) fn get(&self) -> Option<&T> {
            if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
        }
    }
}
