//! What a record costs to encode, a batch to seal and to read: `cargo bench -p
//! streamledger-protocol`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use streamledger_protocol::compression::{Compression, CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{
    BatchSeal, Limits, RecordBatchBuilder, RecordBatchRef, SealedBatch, validate_for_append,
};
use streamledger_protocol::{Codec, TimestampMs};

const BATCH_BYTES: usize = 64 * 1024;
const TIME: TimestampMs = TimestampMs(1_700_000_000_000);

/// A value as click events have it: the fields repeat, the numbers don't.
fn value(bytes: usize, index: usize) -> Vec<u8> {
    let mut text = String::new();
    while text.len() < bytes {
        let number = (index + text.len()).wrapping_mul(2_654_435_761) % 1_000_003;
        text.push_str(&format!("{{\"user_id\":{number},\"event_type\":\"view\"}},"));
    }
    text.truncate(bytes);
    text.into_bytes()
}

fn fill(builder: &mut RecordBatchBuilder, values: &[Vec<u8>]) {
    for (index, value) in values.iter().enumerate() {
        let timestamp = TimestampMs(TIME.0 + index as i64 / 8);
        builder.append(timestamp, Some(b"541312140"), Some(value), &[]);
    }
}

fn values(value_bytes: usize) -> Vec<Vec<u8>> {
    let records = (BATCH_BYTES - 100) / (value_bytes + 20);
    (0..records).map(|index| value(value_bytes, index)).collect()
}

fn sealed(codec: Codec, value_bytes: usize) -> SealedBatch {
    let mut builder = RecordBatchBuilder::with_capacity(BATCH_BYTES);
    fill(&mut builder, &values(value_bytes));
    let seal = BatchSeal { compression: Compression::of(codec), ..BatchSeal::default() };
    builder.seal(&seal, &mut CompressionScratch::new()).expect("all codecs are built in")
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode_record");
    for value_bytes in [100, 1024] {
        let values = values(value_bytes);
        let mut buffer = Vec::with_capacity(BATCH_BYTES);
        group.throughput(Throughput::Elements(values.len() as u64));
        group.bench_function(format!("{value_bytes}_bytes"), |bencher| {
            bencher.iter(|| {
                let mut builder = RecordBatchBuilder::new(std::mem::take(&mut buffer));
                fill(&mut builder, black_box(&values));
                buffer = black_box(builder).into_buffer();
            });
        });
    }
    group.finish();
}

fn seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal_batch");
    group.throughput(Throughput::Bytes(BATCH_BYTES as u64));
    for codec in Codec::ALL {
        let values = values(1024);
        let seal = BatchSeal { compression: Compression::of(codec), ..BatchSeal::default() };
        let mut scratch = CompressionScratch::new();
        group.bench_function(codec.name(), |bencher| {
            bencher.iter_batched(
                || {
                    let mut builder = RecordBatchBuilder::with_capacity(BATCH_BYTES);
                    fill(&mut builder, &values);
                    builder
                },
                |builder| builder.seal(&seal, &mut scratch),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read_record");
    for codec in Codec::ALL {
        let batch = sealed(codec, 100);
        let mut decompressor = Decompressor::default();
        group.throughput(Throughput::Elements(batch.record_count as u64));
        group.bench_function(codec.name(), |bencher| {
            bencher.iter(|| {
                let (batch, _) = RecordBatchRef::parse(black_box(&batch.bytes)).expect("sealed");
                let records = batch.records(&mut decompressor).expect("sealed");
                records.flatten().map(|record| record.value.map_or(0, <[u8]>::len)).sum::<usize>()
            });
        });
    }
    group.finish();
}

fn validate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("validate_batch");
    group.throughput(Throughput::Bytes(BATCH_BYTES as u64));
    for codec in Codec::ALL {
        let batch = sealed(codec, 100);
        let mut decompressor = Decompressor::default();
        group.bench_function(codec.name(), |bencher| {
            bencher.iter(|| {
                validate_for_append(black_box(&batch.bytes), &Limits::default(), &mut decompressor)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encode, seal, read, validate);
criterion_main!(benches);
