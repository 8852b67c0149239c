//! Waits for records: blocking, or as a future for any executor.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use streamledger_client_core::consumer::{BatchOfRecords, Event};
use streamledger_protocol::record_batch::RecordRef;

use super::inbox::Waiter;
use super::{Consumer, ConsumerError, ConsumerRecord, ConsumerRecords, RecordView};
use crate::wait::{wait, wait_until};

pub(super) fn poll(
    consumer: &Consumer,
    timeout: Duration,
) -> Result<ConsumerRecords, ConsumerError> {
    let _polling = consumer.begin_poll()?;
    let deadline = Instant::now().checked_add(timeout);
    loop {
        wait(consumer.take_steps())?;
        let records = take(consumer)?;
        let is_over = deadline.is_some_and(|deadline| deadline <= Instant::now());
        if !records.is_empty() || is_over {
            return Ok(records);
        }
        wait_until(Delivery { consumer, waiter: None }, deadline);
    }
}

pub(super) async fn poll_async(
    consumer: &Consumer,
    timeout: Duration,
) -> Result<ConsumerRecords, ConsumerError> {
    let _polling = consumer.begin_poll()?;
    let mut timer = None;
    loop {
        consumer.take_steps().await?;
        let records = take(consumer)?;
        if !records.is_empty() || timeout.is_zero() {
            return Ok(records);
        }
        // The caller's executor may have no timer; the I/O thread's runtime has.
        let timer = timer.get_or_insert_with(|| {
            Box::pin(consumer.thread.run(move |_| tokio::time::sleep(timeout)))
        });
        let delivery = pin!(Delivery { consumer, waiter: None });
        if let Either::Left((over, _)) = select(timer.as_mut(), delivery).await {
            over?;
            consumer.take_steps().await?;
            return take(consumer);
        }
    }
}

pub(super) fn poll_with(
    consumer: &Consumer,
    timeout: Duration,
    mut visit: impl FnMut(RecordView<'_>),
) -> Result<usize, ConsumerError> {
    let _polling = consumer.begin_poll()?;
    let deadline = Instant::now().checked_add(timeout);
    loop {
        wait(consumer.take_steps())?;
        let record_count = read(consumer, |batch, record| visit(RecordView::new(batch, record)))?;
        let is_over = deadline.is_some_and(|deadline| deadline <= Instant::now());
        if record_count > 0 || is_over {
            return Ok(record_count);
        }
        wait_until(Delivery { consumer, waiter: None }, deadline);
    }
}

/// Whatever is there, without waiting.
fn take(consumer: &Consumer) -> Result<ConsumerRecords, ConsumerError> {
    let mut records = Vec::new();
    read(consumer, |batch, record| records.push(ConsumerRecord::new(batch, record)))?;
    Ok(ConsumerRecords(records))
}

/// Reads what is there, and tells the fetching how much room that makes.
fn read(
    consumer: &Consumer,
    visit: impl FnMut(&BatchOfRecords<'_>, &RecordRef<'_>),
) -> Result<usize, ConsumerError> {
    let mut events: Vec<Event> = Vec::new();
    let read = consumer.inbox.read(consumer.records_max, &mut events, visit);
    if !events.is_empty() {
        consumer.on_io_thread(move |fetcher| {
            events.into_iter().for_each(|event| fetcher.handle(event));
        });
    }
    read
}

/// Ends when something is delivered, or was already.
struct Delivery<'a> {
    consumer: &'a Consumer,
    waiter: Option<Waiter>,
}

impl Future for Delivery<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let is_ready = this.consumer.inbox.is_ready(&mut this.waiter, cx.waker());
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        if let Some(waiter) = &self.waiter {
            self.consumer.inbox.forget(waiter);
        }
    }
}
