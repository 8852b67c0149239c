//! `bench produce`: throughput and latency of the producer on a file's records.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde::Serialize;
use streamledger::{BatchReport, Producer, ProducerRecord};

use crate::access::{Access, MissingDirectory};
use crate::args::{BrokerArguments, ProducerArguments};
use crate::bench_input::{BenchFormat, BenchInput};
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::help::with_examples;
use crate::interrupt::Interrupt;
use crate::latency::{BatchEnd, LatencyBook, Percentiles};
use crate::metrics_server::{MetricsArguments, MetricsServer};
use crate::producing::{self, Ending, LeftToDo, send_failure};
use crate::ui::{self, table, units};
use crate::usage;

/// Without pacing, the clock is read once in so many records: a record counts from the reading at
/// or before its send, so a latency may be some 15 microseconds too long, never too short.
const RECORDS_PER_CLOCK: u64 = 32;

/// Ends of batches are entered every so many records.
const RECORDS_PER_CHECK: u64 = 2048;

/// The share of the acknowledged records that is left out of the latencies: the start-up.
const LEFT_OUT: u64 = 10;

/// Flags of `bench`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
pub struct BenchArguments {
    /// What to measure.
    #[command(subcommand)]
    what: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Send records as fast as possible, or at a rate, and say how long they took
    Produce(ProduceBench),
}

/// Flags of `bench produce`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES), long_about = ABOUT)]
struct ProduceBench {
    /// The topic
    #[arg(long, short = 't')]
    topic: String,

    /// The file whose records are sent, over and over
    #[arg(long, short = 'i', value_name = "FILE")]
    input: PathBuf,

    /// What the file holds
    #[arg(long, short = 'f', value_enum, default_value_t = BenchFormat::Lines)]
    format: BenchFormat,

    /// How many records to send
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1_000_000)]
    records: u64,

    /// Records a second; 0 is as many as it can
    #[arg(long, short = 'r', value_name = "R", default_value_t = 0.0, value_parser = rate)]
    rate: f64,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    producer: ProducerArguments,

    #[command(flatten)]
    metrics: MetricsArguments,
}

const ABOUT: &str = "Send a file's records over and over, and measure.

With --rate, latency counts from when a record was due, whether or not the producer was ready for \
it; without, from the call of send. It ends with the acknowledgement. The first tenth of the \
records, the start-up, is left out of the latencies. CPU and memory are those of this process: \
with an embedded broker they include it.";

const EXAMPLES: &[(&str, &str)] = &[
    (
        "As fast as it goes",
        "streamledger bench produce --topic bench --input lines.txt --records 5000000\n\
         --bootstrap-servers 127.0.0.1:9092 -X linger.ms=20 -X batch.size=65536",
    ),
    (
        "Click events at 20,000 a second",
        "streamledger bench produce --topic bench --input clicks.csv --format clicks\n\
         --records 200000 --rate 20000 -X linger.ms=0",
    ),
];

/// The result; its keys are documented in docs/command-line.md.
#[derive(Debug, Clone, Copy, Serialize)]
struct BenchResult {
    records: u64,
    failed: u64,
    seconds: f64,
    records_per_second: f64,
    value_bytes: u64,
    latency_us: Percentiles,
    latency_from_send_us: Percentiles,
    cpu_seconds: f64,
    rss_bytes: Option<u64>,
}

/// Measures.
pub fn run(arguments: &BenchArguments) -> Outcome<Exit> {
    let Bench::Produce(bench) = &arguments.what;
    let interrupt = Interrupt::watch()?;
    let mut input = BenchInput::open(&bench.input, bench.format)?;
    producing::config(&bench.producer, "localhost:9092", &[])?;
    let access = Access::open(&bench.broker, MissingDirectory::Create)?;
    let outcome = measure(bench, &mut input, &access, &interrupt);
    let closed = access.close();
    let (result, exit) = outcome?;
    closed?;
    if bench.json {
        ui::print(serde_json::to_string(&result).unwrap_or_default())?;
    } else {
        ui::print(table::text(&result.table()))?;
    }
    Ok(exit)
}

fn measure(
    bench: &ProduceBench,
    input: &mut BenchInput,
    access: &Access,
    interrupt: &Interrupt,
) -> Outcome<(BenchResult, Exit)> {
    // The peers in the comparison count from here when they parse while they send.
    let before_producer = Instant::now();
    let cpu_before = usage::cpu_time();
    let configured = producing::config(&bench.producer, &access.bootstrap_servers, &[])?;
    let (ends, ended) = channel();
    let producer = producing::start_observed(configured.config, move |report| {
        let _ = ends.send((
            Instant::now(),
            batch_end(report),
            report.error.as_ref().map(ToString::to_string),
        ));
    })?;
    let _metrics = MetricsServer::start(&bench.metrics, &producer, false)?;
    let ending = Ending::watch(&producer, interrupt, LeftToDo::Acknowledgements);
    producer.partitions_for(&bench.topic).map_err(|error| send_failure(&error))?;
    let started = match bench.format {
        BenchFormat::Clicks => before_producer,
        BenchFormat::Lines => Instant::now(),
    };
    let mut run = Run {
        bench,
        producer: &producer,
        ended,
        started,
        book: LatencyBook::new(bench.records / LEFT_OUT),
        value_bytes: 0,
        first_failure: None,
    };
    let sent = run.send_all(input, interrupt);
    ending.close(&producer).ok();
    run.enter_ends();
    sent?;
    let seconds = started.elapsed().as_secs_f64();
    let result = BenchResult {
        records: run.book.acked(),
        failed: run.book.failed(),
        seconds,
        records_per_second: run.book.acked() as f64 / seconds.max(1e-9),
        value_bytes: run.value_bytes,
        latency_us: run.book.percentiles(),
        latency_from_send_us: run.book.percentiles_from_send(),
        cpu_seconds: (usage::cpu_time().saturating_sub(cpu_before)).as_secs_f64(),
        rss_bytes: usage::peak_memory_bytes(),
    };
    if let Some(failure) = &run.first_failure {
        let count = units::grouped(result.failed);
        ui::say(format_args!("the first of {count} failures: {failure}"));
    }
    let exit = match result.failed {
        _ if interrupt.is_raised() => Exit::Interrupted,
        0 => Exit::Done,
        _ => Exit::Failed,
    };
    Ok((result, exit))
}

fn batch_end(report: &BatchReport) -> BatchEnd {
    BatchEnd {
        partition: report.topic_partition.partition.0,
        record_count: u64::from(report.record_count),
        at: Duration::ZERO,
        is_acked: report.error.is_none(),
    }
}

struct Run<'a> {
    bench: &'a ProduceBench,
    producer: &'a Producer,
    ended: Receiver<(Instant, BatchEnd, Option<String>)>,
    started: Instant,
    book: LatencyBook,
    value_bytes: u64,
    first_failure: Option<String>,
}

impl Run<'_> {
    fn send_all(&mut self, input: &mut BenchInput, interrupt: &Interrupt) -> Outcome<()> {
        let rate = self.bench.rate;
        usage::precise_sleep();
        let mut now = self.started.elapsed();
        for index in 0..self.bench.records {
            let due = if rate > 0.0 {
                let due = Duration::from_secs_f64(index as f64 / rate);
                // A clock reading that is past the due time stays so: no new one is needed.
                while now < due {
                    thread::sleep(due - now);
                    now = self.started.elapsed();
                }
                due
            } else {
                if index.is_multiple_of(RECORDS_PER_CLOCK) {
                    now = self.started.elapsed();
                }
                now
            };
            let (key, value) = input.next_record()?;
            self.value_bytes += value.len() as u64;
            let record = ProducerRecord::to(&self.bench.topic).nullable_key(key).value(value);
            let delivery = self.producer.send(record).map_err(|error| send_failure(&error))?;
            self.book.sent(delivery.partition().0, due, now);
            if index.is_multiple_of(RECORDS_PER_CHECK) {
                self.enter_ends();
                if interrupt.is_raised() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn enter_ends(&mut self) {
        while let Ok((at, end, failure)) = self.ended.try_recv() {
            if let Some(failure) = failure {
                self.first_failure.get_or_insert(failure);
            }
            self.book.ended(BatchEnd { at: at.saturating_duration_since(self.started), ..end });
        }
    }
}

impl BenchResult {
    fn table(&self) -> comfy_table::Table {
        let elapsed = Duration::from_secs_f64(self.seconds);
        let us = |us| units::duration(Duration::from_micros(us));
        let Percentiles { p50, p99, p999 } = self.latency_us;
        let per_record = self.cpu_seconds / (self.records.max(1) as f64) * 1e6;
        let mut rows = vec![
            (
                "records",
                format!("{} in {}", units::grouped(self.records), units::duration(elapsed)),
            ),
            (
                "throughput",
                format!(
                    "{}, {} of values",
                    units::per_second(self.records, elapsed),
                    units::bytes_per_second(self.value_bytes, elapsed)
                ),
            ),
            ("latency", format!("p50 {}, p99 {}, p99.9 {}", us(p50), us(p99), us(p999))),
            ("CPU", format!("{:.2} s, {per_record:.2} µs a record", self.cpu_seconds)),
        ];
        if let Some(rss) = self.rss_bytes {
            rows.push(("peak memory", units::bytes(rss)));
        }
        if self.failed > 0 {
            rows.push(("failed", units::grouped(self.failed)));
        }
        table::pairs(rows.into_iter().map(|(name, value)| (name.to_owned(), value)))
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err("it must be a number of records a second, 0 or more".to_owned()),
    }
}
