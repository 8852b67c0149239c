//! A batch in the codec that its topic asks for (`compression.type`), if it came in another.

use bytes::Bytes;
use streamledger_protocol::Codec;
use streamledger_protocol::compression::{CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{RecordBatchRef, records_of, rewrite_batch};

use super::config::LogConfig;

/// The client's batch, recompressed if the topic has another codec than it came in.
///
/// What can't be read is given as it is: validation, which comes next, says what is wrong with it.
/// A batch with a wrong checksum is never given a right one.
#[must_use]
pub fn recompressed(
    records: Bytes,
    config: &LogConfig,
    decompressor: &mut Decompressor,
    scratch: &mut CompressionScratch,
) -> Bytes {
    let Some(compression) = config.compression else { return records };
    let Ok((batch, rest)) = RecordBatchRef::parse(&records) else { return records };
    let header = *batch.header();
    let Ok(codec) = header.attributes.codec() else { return records };
    let is_as_asked = codec == compression.codec;
    let may_be_read = rest.is_empty() && batch.verify_crc().is_ok() && header.record_count > 0;
    if is_as_asked || !may_be_read {
        return records;
    }
    let plain = match codec {
        Codec::None => Ok(batch.stored_records()),
        codec => decompressor.decompress(codec, batch.stored_records()),
    };
    let Ok(plain) = plain else { return records };
    // As many as there really are: the header's count is not to be believed yet.
    let Ok(all) = records_of(&header, plain) else { return records };
    let count = all.take_while(Result::is_ok).count();
    if i32::try_from(count) != Ok(header.record_count) {
        return records;
    }
    let rewritten = rewrite_batch(&header, plain, &vec![true; count], None, compression, scratch);
    rewritten.unwrap_or_else(|_| records.clone())
}

#[cfg(test)]
mod tests {
    use streamledger_protocol::compression::Compression;
    use streamledger_protocol::record_batch::{BatchSeal, RecordBatchBuilder};
    use streamledger_protocol::{Offset, TimestampMs};

    use super::super::testing::{DiskLog, small};
    use super::super::{AppendOrigin, ReadLimit};
    use super::*;

    fn batch(codec: Codec) -> Bytes {
        let mut builder = RecordBatchBuilder::with_capacity(4096);
        for n in 0..30 {
            builder.append(TimestampMs(1000 + n), Some(b"key"), Some(&[b'v'; 90]), &[]);
        }
        let seal = BatchSeal { compression: Compression::of(codec), ..Default::default() };
        builder.seal(&seal, &mut CompressionScratch::new()).unwrap().bytes
    }

    fn changed(records: Bytes, to: Option<Codec>) -> Bytes {
        let config = LogConfig { compression: to.map(Compression::of), ..small() };
        recompressed(records, &config, &mut Decompressor::default(), &mut CompressionScratch::new())
    }

    #[test]
    fn a_batch_is_stored_in_the_codec_of_its_topic() {
        for from in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            for to in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
                let mut disk = DiskLog::new(small());
                disk.append_as(changed(batch(from), Some(to)), AppendOrigin::Client).unwrap();
                disk.flush();
                let read = disk.read(Offset(0), 10_000, ReadLimit::HighWatermark);
                let (batch, _) = RecordBatchRef::parse(&read).unwrap();
                assert_eq!(batch.header().attributes.codec(), Ok(to), "{from} to {to}");
                assert_eq!(batch.records(&mut Decompressor::default()).unwrap().count(), 30);
            }
        }
    }

    #[test]
    fn what_needs_no_change_or_is_damaged_stays_as_it_came() {
        assert_eq!(changed(batch(Codec::Lz4), None), batch(Codec::Lz4));
        assert_eq!(changed(batch(Codec::Lz4), Some(Codec::Lz4)), batch(Codec::Lz4));
        let good = batch(Codec::None);
        for at in [17, 60, 70, 200] {
            let mut bad = good.to_vec();
            bad[at] ^= 1;
            let bad = Bytes::from(bad);
            assert_eq!(changed(bad.clone(), Some(Codec::Zstd)), bad, "byte {at}");
        }
    }
}
