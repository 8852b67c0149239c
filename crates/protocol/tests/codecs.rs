//! The codecs against other implementations' streams, levels, and bombs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;

use flate2::GzBuilder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use rstest::rstest;
use streamledger_protocol::Codec;
use streamledger_protocol::compression::{
    Compression, CompressionError, CompressionScratch, Decompressor, levels,
};

const CODECS: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// Text that repeats, but not at once.
fn text(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let words = ["click", "view", "cart", "purchase", "user", "42", "{", "}", "\"", ":"];
    let mut text = Vec::with_capacity(bytes + 8);
    while text.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(words[(state >> 24) as usize % words.len()].as_bytes());
    }
    text.truncate(bytes);
    text
}

/// Bytes that no codec makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

fn compress(input: &[u8], codec: Codec, level: Option<i32>) -> Vec<u8> {
    let mut output = Vec::new();
    let compression = Compression { codec, level };
    CompressionScratch::new().compress(input, compression, &mut output).unwrap();
    output
}

fn decompress(input: &[u8], codec: Codec) -> Result<Vec<u8>, CompressionError> {
    Decompressor::new(1 << 20).decompress(codec, input).map(<[u8]>::to_vec)
}

#[test]
fn every_size_around_a_block_comes_back_at_every_level() {
    let mut scratch = CompressionScratch::new();
    let mut decompressor = Decompressor::default();
    let mut compared = 0;
    for codec in CODECS {
        let mut chosen = vec![None];
        if !levels(codec).is_empty() {
            chosen.extend([Some(*levels(codec).start()), Some(1), Some(*levels(codec).end())]);
        }
        for level in chosen {
            let around_blocks = [32_767, 32_768, 32_769, 65_534, 65_535, 65_536, 65_537];
            for bytes in [0, 1, 13].into_iter().chain(around_blocks).chain([131_072, 131_073]) {
                for input in [text(bytes), noise(bytes), vec![0; bytes]] {
                    let mut output = vec![0xaa; 3];
                    scratch.compress(&input, Compression { codec, level }, &mut output).unwrap();
                    assert_eq!(output[..3], [0xaa; 3]);
                    let back = decompressor.decompress(codec, &output[3..]).map(<[u8]>::to_vec);
                    if bytes == 0 && codec == Codec::Snappy {
                        assert_eq!(back, Ok(Vec::new()));
                    }
                    assert_eq!(back.as_ref(), Ok(&input), "{codec} {level:?} {bytes}");
                    assert_eq!(decompressor.decompress_owned(codec, &output[3..]).unwrap(), input);
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 36 * (4 + 1 + 4 + 4));
}

#[rstest]
#[case(Codec::Gzip, 0)]
#[case(Codec::Gzip, 10)]
#[case(Codec::Lz4, 0)]
#[case(Codec::Lz4, 18)]
#[case(Codec::Zstd, 23)]
#[case(Codec::Zstd, -131_073)]
#[case(Codec::Snappy, 1)]
#[case(Codec::None, 1)]
fn a_level_out_of_range_is_refused_before_any_batch(#[case] codec: Codec, #[case] level: i32) {
    let refused = Compression { codec, level: Some(level) }.validate();
    let expected = CompressionError::LevelOutOfRange { codec, level, levels: levels(codec) };
    assert_eq!(refused, Err(expected));
    assert_eq!(Compression::of(codec).validate(), Ok(()));
}

#[test]
fn a_higher_level_makes_it_smaller() {
    let input = text(200_000);
    for (codec, low, high) in [(Codec::Gzip, 1, 9), (Codec::Zstd, -7, 19)] {
        let (fast, small) =
            (compress(&input, codec, Some(low)), compress(&input, codec, Some(high)));
        assert!(small.len() < fast.len(), "{codec}: {} and {}", small.len(), fast.len());
    }
}

#[test]
fn gzip_of_others_is_read_with_names_extras_and_many_members() {
    let input = text(50_000);
    let mut member = GzBuilder::new()
        .filename("clicks.csv")
        .comment("from elsewhere")
        .extra(vec![1, 2, 3])
        .mtime(1_700_000_000)
        .write(Vec::new(), flate2::Compression::best());
    member.write_all(&input).unwrap();
    let mut stream = member.finish().unwrap();
    stream.extend(compress(&input, Codec::Gzip, None));
    assert_eq!(decompress(&stream, Codec::Gzip), Ok([&input[..], &input[..]].concat()));
}

#[test]
fn snappy_of_others_is_read_raw_and_joined() {
    let input = text(50_000);
    let raw = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    assert_eq!(decompress(&raw, Codec::Snappy).as_ref(), Ok(&input));
    let framed = compress(&input, Codec::Snappy, None);
    let joined = [&framed[..], &framed[..]].concat();
    assert_eq!(decompress(&joined, Codec::Snappy), Ok([&input[..], &input[..]].concat()));
}

#[test]
fn lz4_of_others_is_read_linked_checked_sized_and_skipped() {
    let input = text(300_000);
    let mut compared = 0;
    for block_mode in [BlockMode::Independent, BlockMode::Linked] {
        for block_size in
            [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB]
        {
            for checksums in [false, true] {
                let frame = FrameInfo::new()
                    .block_mode(block_mode)
                    .block_size(block_size)
                    .block_checksums(checksums)
                    .content_checksum(checksums)
                    .content_size(checksums.then_some(input.len() as u64));
                let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
                encoder.write_all(&input).unwrap();
                let mut stream = encoder.finish().unwrap();
                stream.extend_from_slice(&[0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9]);
                assert_eq!(decompress(&stream, Codec::Lz4).as_ref(), Ok(&input));
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 16);
}

#[test]
fn our_lz4_is_read_by_another_reader() {
    for input in [text(0), text(100), text(200_000), noise(200_000)] {
        let stream = compress(&input, Codec::Lz4, None);
        let mut back = Vec::new();
        let mut reader = lz4_flex::frame::FrameDecoder::new(&stream[..]);
        std::io::Read::read_to_end(&mut reader, &mut back).unwrap();
        assert_eq!(back, input);
    }
}

#[test]
fn zstd_of_others_is_read_without_sizes_and_in_many_frames() {
    let input = text(300_000);
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 22).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(&input[..100_000]).unwrap();
    encoder.flush().unwrap();
    encoder.write_all(&input[100_000..]).unwrap();
    let mut stream = encoder.finish().unwrap();
    stream.extend(compress(&input, Codec::Zstd, None));
    assert_eq!(decompress(&stream, Codec::Zstd), Ok([&input[..], &input[..]].concat()));
}

/// FAILURES 55.
#[test]
fn a_bomb_stops_at_the_limit_and_the_limit_itself_is_allowed() {
    let limit_bytes = 100_000;
    for codec in CODECS {
        let mut decompressor = Decompressor::new(limit_bytes);
        for bytes in [limit_bytes + 1, 2 * limit_bytes, 64 << 20] {
            let bomb = compress(&vec![0; bytes], codec, None);
            assert!(bomb.len() < bytes);
            let refused = decompressor.decompress(codec, &bomb).map(<[u8]>::len);
            assert_eq!(refused, Err(CompressionError::TooLarge { limit_bytes }), "{codec}");
        }
        let full = compress(&vec![0; limit_bytes], codec, None);
        assert_eq!(decompressor.decompress(codec, &full).map(<[u8]>::len), Ok(limit_bytes));
    }
    let plain = vec![0; limit_bytes + 1];
    let refused = Decompressor::new(limit_bytes).decompress_owned(Codec::None, &plain);
    assert_eq!(refused, Err(CompressionError::TooLarge { limit_bytes }));
}

/// FAILURES 52, 55: few bytes that declare much.
#[rstest]
#[case::snappy_raw(Codec::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0])]
#[case::snappy_block(
    Codec::Snappy,
    &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]
)]
#[case::lz4_block(
    Codec::Lz4,
    &[0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, 0x00, 0x00, 0x40, 0x80, 0, 0]
)]
#[case::zstd_size(
    Codec::Zstd,
    &[0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 0, 0]
)]
#[case::zstd_window(Codec::Zstd, &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 1, 0, 0])]
#[case::gzip_cut(Codec::Gzip, &[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0, 0xff, 0xff])]
#[case::gzip_name_without_end(Codec::Gzip, &[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0, 65, 65])]
fn what_only_declares_much_is_refused(#[case] codec: Codec, #[case] stream: &[u8]) {
    let refused = decompress(stream, codec);
    assert!(matches!(refused, Err(CompressionError::Corrupt { .. })), "{refused:?}");
}

#[test]
fn a_stream_cut_anywhere_or_changed_anywhere_is_no_panic_and_mostly_an_error() {
    let input = text(3_000);
    let mut refused = 0;
    let mut tried = 0;
    for codec in CODECS {
        let stream = compress(&input, codec, None);
        let mut decompressor = Decompressor::new(1 << 20);
        for end in 0..stream.len() {
            tried += 1;
            let result = decompressor.decompress(codec, &stream[..end]);
            // A snappy stream may end behind any block, and its magic alone is one.
            assert!(result.is_err() || (codec == Codec::Snappy && end == 16), "{codec} {end}");
            refused += usize::from(result.is_err());
        }
        for at in 0..stream.len() {
            let mut changed = stream.clone();
            changed[at] ^= 1 << (at % 8);
            tried += 1;
            refused += usize::from(decompressor.decompress(codec, &changed).is_err());
        }
        assert_eq!(decompressor.decompress(codec, &stream), Ok(&input[..]));
    }
    assert!(tried > 2_000 && refused > tried / 2, "{refused} of {tried}");
}
