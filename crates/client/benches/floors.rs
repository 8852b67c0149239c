//! What a record's way can't cost less than, each part alone:
//! `cargo bench -p streamledger --bench floors`.
//!
//! Each part works on as many records as a batch of 64 KiB holds: divide its time by the count in
//! its name. `FLOORS_DATA` names a folder with `p100.txt`, `p1024.txt` and `clicks.ndjson`, a value
//! a line; without it values are made up.

use std::fs;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use streamledger_protocol::compression::{Compression, CompressionScratch};
use streamledger_protocol::record_batch::RecordBatchBuilder;
use streamledger_protocol::{Codec, TimestampMs, murmur2};

const BATCH_BYTES: usize = 64 << 10;
const KEY: &[u8] = b"541312140";
const TIME: TimestampMs = TimestampMs(1_700_000_000_000);

/// Values of one kind, as many as fit a batch.
struct Values {
    name: &'static str,
    values: Vec<Vec<u8>>,
    key: Option<&'static [u8]>,
}

impl Values {
    fn of(name: &'static str, file: &str, key: Option<&'static [u8]>) -> Values {
        let text = match std::env::var_os("FLOORS_DATA") {
            Some(folder) => fs::read(Path::new(&folder).join(file)).expect("FLOORS_DATA has it"),
            None => made_up(file).into_bytes(),
        };
        let mut room = BATCH_BYTES - 61;
        let mut values = Vec::new();
        for line in text.split(|&byte| byte == b'\n') {
            let Some(left) = room.checked_sub(line.len() + key.map_or(0, <[u8]>::len) + 12) else {
                break;
            };
            room = left;
            values.push(line.to_vec());
        }
        Values { name, values, key }
    }

    fn all() -> [Values; 3] {
        [
            Values::of("100 B", "p100.txt", None),
            Values::of("1 KB", "p1024.txt", None),
            Values::of("click", "clicks.ndjson", Some(KEY)),
        ]
    }

    fn fill(&self, builder: &mut RecordBatchBuilder) {
        for value in &self.values {
            builder.append(TIME, self.key, Some(value), &[]);
        }
    }

    /// The records as they are in a batch, without its header.
    fn encoded(&self) -> Vec<u8> {
        let mut builder = RecordBatchBuilder::with_capacity(BATCH_BYTES);
        self.fill(&mut builder);
        builder.into_buffer().split_off(61)
    }

    fn named(&self, part: &str) -> String {
        format!("{part}, {} of {}", self.values.len(), self.name)
    }
}

/// Lines that shrink about as much as the real ones: fields repeat, numbers don't.
fn made_up(file: &str) -> String {
    let value_bytes = match file {
        "p100.txt" => 100,
        "p1024.txt" => 1024,
        _ => 250,
    };
    let mut text = String::new();
    for line in 0..1000_usize {
        let start = text.len();
        while text.len() - start < value_bytes {
            let number = (line + text.len()).wrapping_mul(2_654_435_761) % 1_000_003;
            text.push_str(&format!("{{\"userid\":\"{number}\",\"eventType\":\"view\"}},"));
        }
        text.truncate(start + value_bytes);
        text.push('\n');
    }
    text
}

fn records(criterion: &mut Criterion) {
    for values in Values::all() {
        let mut buffer = Vec::with_capacity(BATCH_BYTES + 64);
        criterion.bench_function(&values.named("encode"), |bencher| {
            bencher.iter(|| {
                let mut builder = RecordBatchBuilder::new(std::mem::take(&mut buffer));
                values.fill(black_box(&mut builder));
                buffer = builder.into_buffer();
            });
        });
        let encoded = values.encoded();
        criterion.bench_function(&values.named("CRC-32C"), |bencher| {
            bencher.iter(|| crc32c::crc32c(black_box(&encoded)));
        });
        for codec in [Codec::Lz4, Codec::Zstd] {
            let mut scratch = CompressionScratch::new();
            let mut output = Vec::new();
            criterion.bench_function(&values.named(codec.name()), |bencher| {
                bencher.iter(|| {
                    output.clear();
                    let input = black_box(&encoded);
                    scratch.compress(input, Compression::of(codec), &mut output)
                });
            });
        }
        loopback(criterion, &values);
    }
}

/// A batch's bytes from one thread to another over TCP; the reader does nothing with them.
fn loopback(criterion: &mut Criterion, values: &Values) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let reader = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the writer connects");
        let mut buffer = vec![0; 256 << 10];
        while stream.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
    });
    let mut writer = TcpStream::connect(address).expect("the reader listens");
    let encoded = values.encoded();
    criterion.bench_function(&values.named("loopback TCP"), |bencher| {
        bencher.iter(|| writer.write_all(black_box(&encoded)).expect("the reader reads"));
    });
    drop(writer);
    reader.join().expect("the reader ends with the connection");
}

fn one(criterion: &mut Criterion) {
    criterion.bench_function("murmur2 of a key of 9 bytes", |bencher| {
        bencher.iter(|| murmur2::partition(black_box(KEY), 6));
    });
    criterion.bench_function("a reading of the clock", |bencher| bencher.iter(Instant::now));
    criterion.bench_function("a reading of the coarse clock", |bencher| {
        bencher.iter(|| clock_gettime(ClockId::RealtimeCoarse));
    });
}

criterion_group!(benches, records, one);
criterion_main!(benches);
