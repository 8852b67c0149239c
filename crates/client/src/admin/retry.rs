//! Tries a call until it is answered for good, or its time is over.

use std::future::Future;
use std::time::Duration;

use streamledger_protocol::ErrorCode;
use tokio::time::{Instant, timeout_at};

use super::{AdminError, Results, Shell};
use crate::network::{BrokerConnection, ExponentialBackoff};

/// What an attempt learnt of some of the topics.
pub(super) type Learnt<K, T> = Vec<(K, Result<T, AdminError>)>;

/// How much longer a call may take, and how often it was tried.
struct Trying<'a> {
    shell: &'a Shell,
    begun: Instant,
    attempts: u32,
}

impl<'a> Trying<'a> {
    fn new(shell: &'a Shell) -> Self {
        Self { shell, begun: Instant::now(), attempts: 0 }
    }

    fn deadline(&self) -> Instant {
        self.begun + self.shell.settings.default_api_timeout
    }

    /// One attempt, cut short at the end of the time.
    async fn attempt<T>(
        &mut self,
        work: impl Future<Output = Result<T, AdminError>>,
    ) -> Result<T, AdminError> {
        self.attempts += 1;
        let timeout = AdminError::Timeout(self.shell.settings.default_api_timeout);
        timeout_at(self.deadline(), work).await.unwrap_or(Err(timeout))
    }

    /// Waits before the next attempt and renews the view of the cluster; false if there is to be
    /// none.
    async fn again(&self) -> bool {
        let settings = &self.shell.settings;
        let backoff =
            ExponentialBackoff { first: settings.retry_backoff, max: settings.retry_backoff_max };
        let chance = self.shell.refresher.pool().jitter().chance();
        let wait = backoff.wait(self.attempts - 1, chance);
        if self.attempts > settings.retries || Instant::now() + wait >= self.deadline() {
            return false;
        }
        tokio::time::sleep(wait).await;
        let _ = timeout_at(self.deadline(), self.shell.refresher.refresh([])).await;
        true
    }
}

impl Shell {
    /// Tries until there is an answer that won't change by trying again.
    pub(super) async fn retry<T, A>(&self, work: impl Fn() -> A) -> Result<T, AdminError>
    where
        A: Future<Output = Result<T, AdminError>>,
    {
        let mut trying = Trying::new(self);
        let mut last_passing = None;
        loop {
            match trying.attempt(work()).await {
                Err(error) if error.is_passing() && trying.again().await => {
                    last_passing = Some(error);
                }
                Err(AdminError::Timeout(after)) => {
                    return Err(last_passing.unwrap_or(AdminError::Timeout(after)));
                }
                outcome => return outcome,
            }
        }
    }

    /// Tries until there is such an answer for each topic. `work` is given those still without one.
    pub(super) async fn retry_each<K, T, A>(
        &self,
        keys: &[K],
        work: impl Fn(Vec<K>) -> A,
    ) -> Result<Results<T, K>, AdminError>
    where
        K: Clone + PartialEq,
        A: Future<Output = Result<Learnt<K, T>, AdminError>>,
    {
        let mut results: Vec<(K, Result<T, AdminError>)> = Vec::new();
        for key in keys {
            if results.iter().all(|(known, _)| known != key) {
                results.push((key.clone(), Err(AdminError::LeftOut)));
            }
        }
        let mut open: Vec<usize> = (0..results.len()).collect();
        let mut trying = Trying::new(self);
        let mut is_outcome_unknown = false;
        let mut is_answered = false;
        while !open.is_empty() {
            let keys = open.iter().map(|place| results[*place].0.clone()).collect();
            let failure = match trying.attempt(work(keys)).await {
                Ok(learnt) => {
                    is_answered = true;
                    for (key, mut result) in learnt {
                        let place = open.iter().copied().find(|place| results[*place].0 == key);
                        let Some(place) = place else { continue };
                        if is_outcome_unknown {
                            result = result.map_err(AdminError::after_unknown_outcome);
                        }
                        results[place].1 = result;
                    }
                    None
                }
                Err(error) => Some(error),
            };
            if let Some(error) = &failure {
                for place in &open {
                    let known = &mut results[*place].1;
                    // A time-out says less than what went wrong before it.
                    let says_more = !matches!(error, AdminError::Timeout(_));
                    if says_more || matches!(known, Err(AdminError::LeftOut)) {
                        *known = Err(error.clone());
                    }
                }
            }
            open.retain(|place| results[*place].1.as_ref().is_err_and(AdminError::is_passing));
            let unknown = |place: &usize| {
                results[*place].1.as_ref().is_err_and(AdminError::is_unknown_outcome)
            };
            is_outcome_unknown |= open.iter().any(unknown);
            let is_over = matches!(failure, Some(AdminError::Timeout(_)));
            if open.is_empty() || is_over || !trying.again().await {
                break;
            }
        }
        match results.first() {
            Some((_, Err(error))) if !is_answered => Err(error.clone()),
            _ => Ok(Results::new(results)),
        }
    }

    /// A connection to the controller. Where metadata names none, any broker passes requests on.
    pub(super) async fn controller(&self) -> Result<BrokerConnection, AdminError> {
        let mut snapshot = self.refresher.snapshot();
        if snapshot.generation() == 0 {
            snapshot = self.refresher.refresh([]).await?;
        }
        match snapshot.controller() {
            Some(controller) => Ok(self.refresher.connection_to(controller).await?),
            None => self.any_broker().await,
        }
    }

    /// A connection to any broker.
    pub(super) async fn any_broker(&self) -> Result<BrokerConnection, AdminError> {
        Ok(self.refresher.ask_any(|connection| async { Ok(connection) }).await?)
    }

    /// How long one request may take.
    pub(super) fn request_timeout(&self) -> Duration {
        self.settings.request_timeout
    }

    /// The same, as requests carry it.
    pub(super) fn request_timeout_ms(&self) -> i32 {
        i32::try_from(self.request_timeout().as_millis()).unwrap_or(i32::MAX)
    }
}

/// The broker's word on one topic.
pub(super) fn outcome<T>(
    code: ErrorCode,
    message: Option<String>,
    value: T,
) -> Result<T, AdminError> {
    AdminError::check(code, message).map(|()| value)
}
