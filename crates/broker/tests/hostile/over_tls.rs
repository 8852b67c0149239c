//! The same over TLS, where answers go another way: no file is sent, each piece is encrypted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::{ClientConnection, StreamOwned};
use streamledger_broker::RunningBroker;
use streamledger_protocol::compression::{Compression, CompressionScratch};
use streamledger_protocol::frame::{decode_response, encode_request};
use streamledger_protocol::message::Request;
use streamledger_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, FetchRequest, MetadataRequest,
    ProduceRequest,
};
use streamledger_protocol::record_batch::RecordBatchHeader;
use streamledger_protocol::{ApiVersion, Codec, CorrelationId, ErrorCode};

use super::common::{
    RawClient, batch_of, broker_with, create_topics, fetch, only_fetched, only_partition, produce,
    wait_until,
};
use super::greedy_fetch;
use super::tls::Files;

const PATIENCE: Duration = Duration::from_secs(60);

/// A client that speaks TLS as it should, and through it what it likes.
struct TlsClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl TlsClient {
    fn connect(files: &Files, broker: &RunningBroker) -> Self {
        let socket = connected(broker);
        let connection = ClientConnection::new(files.client(), "localhost".try_into().unwrap());
        let mut stream = StreamOwned::new(connection.unwrap(), socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        Self { stream }
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    fn receive_frame(&mut self) -> Bytes {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).unwrap();
        Bytes::from(frame)
    }

    fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let id = CorrelationId(3);
        let frame = encode_request(id, Some("tls"), ApiVersion(version), request).unwrap();
        self.send_bytes(&frame.into_bytes());
        let (answered, response) =
            decode_response(self.receive_frame(), ApiVersion(version)).unwrap();
        assert_eq!(answered, id);
        response
    }

    /// Whether the broker ends the connection within the patience, in whatever way.
    fn is_closed_by_broker(&mut self) -> bool {
        is_ended(&mut self.stream.sock)
    }
}

fn connected(broker: &RunningBroker) -> TcpStream {
    let socket = TcpStream::connect(broker.addresses()[0]).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Reads whatever comes until the connection's end; `false` if that doesn't come.
fn is_ended(socket: &mut TcpStream) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 4096];
    while Instant::now() < deadline {
        match socket.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                use std::io::ErrorKind::{TimedOut, WouldBlock};
                return !matches!(error.kind(), TimedOut | WouldBlock);
            }
        }
    }
    false
}

fn assert_serves_others(files: &Files, broker: &RunningBroker) {
    let mut other = TlsClient::connect(files, broker);
    assert_eq!(other.call(9, &MetadataRequest::default()).brokers.len(), 1);
}

/// The most memory that this process, all its tests together, has ever held; none where the system
/// doesn't tell.
fn peak_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

/// A batch of one record that unfolds to 2 GiB, by as many frames of the codec as it takes.
fn bomb(codec: Codec) -> Bytes {
    let mut frame = Vec::new();
    let zeros = vec![0; 32 << 20];
    CompressionScratch::new().compress(&zeros, Compression::of(codec), &mut frame).unwrap();
    let records = frame.repeat(64);
    let mut header = RecordBatchHeader::parse(&batch_of(&["x"], None)).unwrap();
    header.attributes = header.attributes.with_codec(codec);
    header.batch_length = 49 + i32::try_from(records.len()).unwrap();
    let mut batch = [&header.to_bytes()[..], &records].concat();
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

#[test]
fn failures_55_a_bomb_is_refused_in_the_clear_and_over_tls_and_memory_stays_bounded() {
    let files = Files::new();
    let large = [("message.max.bytes", "8388608")];
    let (tls, plain) = (files.broker("SSL://127.0.0.1:0", &large), broker_with(&large));
    let mut over_tls = TlsClient::connect(&files, &tls);
    let create: CreateTopicsRequest = create_topics("t", 1, &[]);
    assert_eq!(over_tls.call(7, &create).topics[0].error_code, ErrorCode::None);
    let mut in_the_clear = RawClient::connect(&plain);
    in_the_clear.create_topic("t", 1, &[]);
    for codec in [Codec::Zstd, Codec::Gzip] {
        let batch = bomb(codec);
        assert!(batch.len() < 8 << 20, "{codec}: {} bytes", batch.len());
        let request: ProduceRequest = produce("t", 0, -1, batch.clone());
        let answer = only_partition(&over_tls.call(11, &request));
        assert_eq!(answer.error_code, ErrorCode::MessageTooLarge, "{codec}: {answer:?}");
        let answer = in_the_clear.produce("t", 0, batch);
        assert_eq!(answer.error_code, ErrorCode::MessageTooLarge, "{codec}: {answer:?}");
    }
    // Four bombs of 2 GiB; a batch may take 128 MiB, in a buffer that doubles.
    if let Some(bytes) = peak_bytes() {
        assert!(bytes < 1 << 30, "{bytes} bytes were held");
    }
    // Both go on with what is as it should be, and nothing of the bombs is there.
    let good = batch_of(&["a"], None);
    let answer = only_partition(&over_tls.call(11, &produce("t", 0, -1, good.clone())));
    assert_eq!((answer.error_code, answer.base_offset.0), (ErrorCode::None, 0));
    assert_eq!(in_the_clear.produce("t", 0, good).base_offset.0, 0);
}

#[test]
fn failures_56_a_handshake_that_dribbles_floods_or_boasts_is_closed() {
    let files = Files::new();
    let quick = [("streamledger.handshake.timeout.ms", "1500")];
    let broker = files.broker("SSL://127.0.0.1:0", &quick);
    // A whole and good hello, a byte at a time: it is the handshake that has the deadline.
    let mut hello = Vec::new();
    let name = "localhost".try_into().unwrap();
    ClientConnection::new(files.client(), name).unwrap().write_tls(&mut hello).unwrap();
    let mut dribbling = connected(&broker);
    let mut bytes = hello[..hello.len() - 1].iter().cycle();
    wait_until("the one that dribbles is closed", || {
        dribbling.write_all(&[*bytes.next().unwrap()]).is_err()
    });
    // A handshake message that says it has 16 MB, in as many records as it takes.
    let mut boasting = connected(&broker);
    let mut record = vec![0x16, 0x03, 0x01, 0x40, 0x00];
    record.extend([0x01, 0xFF, 0xFF, 0xFF].iter().chain(&[0; 0x4000 - 4]));
    let mut sent = 0;
    while sent < 64 << 20 && boasting.write_all(&record).is_ok() {
        sent += record.len();
    }
    assert!(sent < 64 << 20, "nobody stopped it");
    // Hello after hello, and none of them the last.
    let mut repeating = connected(&broker);
    let hellos = hello.repeat(10_000);
    let _ = repeating.write_all(&hellos);
    assert!(is_ended(&mut repeating));
    assert_serves_others(&files, &broker);
}

#[test]
fn failures_56_noise_and_new_keys_without_end_close_a_connection_over_tls() {
    let files = Files::new();
    let broker = files.broker("SSL://127.0.0.1:0", &[]);
    // What nobody encrypted, in the middle of what is.
    let mut noisy = TlsClient::connect(&files, &broker);
    noisy.call(9, &MetadataRequest::default());
    noisy.stream.sock.write_all(&[0x5A; 100_000]).unwrap_or_default();
    assert!(noisy.is_closed_by_broker());
    // A record that was changed on its way.
    let mut changed = TlsClient::connect(&files, &broker);
    changed.stream.conn.writer().write_all(b"\0\0\0\x0Aas long as this").unwrap();
    let mut record = Vec::new();
    changed.stream.conn.write_tls(&mut record).unwrap();
    *record.last_mut().unwrap() ^= 1;
    changed.stream.sock.write_all(&record).unwrap();
    assert!(changed.is_closed_by_broker());
    // TLS 1.3's own way to renegotiate: new keys, each of which asks for new keys.
    let mut restless = TlsClient::connect(&files, &broker);
    restless.call(9, &MetadataRequest::default());
    let mut renewed = 0;
    while renewed < 100_000 {
        restless.stream.conn.refresh_traffic_keys().unwrap();
        if restless.stream.conn.write_tls(&mut restless.stream.sock).is_err() {
            break;
        }
        renewed += 1;
    }
    assert!(renewed < 100_000, "nobody stopped it");
    assert_serves_others(&files, &broker);
}

#[test]
fn failures_58_connections_to_tls_are_capped_and_come_back_though_no_handshake_began() {
    let files = Files::new();
    let broker = files.broker(
        "SSL://127.0.0.1:0",
        &[("max.connections.per.ip", "10"), ("streamledger.handshake.timeout.ms", "2000")],
    );
    let mut first = TlsClient::connect(&files, &broker);
    first.call(9, &MetadataRequest::default());
    let crowd: Vec<TcpStream> = (0..100).map(|_| connected(&broker)).collect();
    let is_over = |mut stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let read = stream.read(&mut [0; 1]);
        !matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    let open = || crowd.iter().filter(|stream| !is_over(stream)).count();
    wait_until("all but nine of the crowd are closed", || open() <= 9);
    // Who was in goes on; those nine lose their places to nobody but the deadline.
    first.call(9, &MetadataRequest::default());
    wait_until("the nine who began no handshake are closed", || open() == 0);
    first.call(9, &MetadataRequest::default());
    assert_serves_others(&files, &broker);
}

#[test]
fn failures_58_a_client_over_tls_that_asks_ahead_is_slowed_not_stored() {
    let files = Files::new();
    let broker = files.broker(
        "SSL://127.0.0.1:0",
        &[
            ("streamledger.connection.requests.max", "5"),
            ("streamledger.response.write.timeout.ms", "120000"),
        ],
    );
    let client = TlsClient::connect(&files, &broker);
    let request = ApiVersionsRequest {
        client_software_name: "raw".to_owned(),
        client_software_version: "1".to_owned(),
    };
    let frame = encode_request(CorrelationId(5), None, ApiVersion(3), &request).unwrap();
    let frames = frame.into_bytes().repeat(1000);
    // As much as is taken while no answer is read.
    let TlsClient { stream: StreamOwned { mut conn, mut sock } } = client;
    conn.set_buffer_limit(None);
    sock.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let (mut asked, mut is_taken) = (0, true);
    while is_taken && asked < 2_000_000 {
        conn.writer().write_all(&frames).unwrap();
        while is_taken && conn.wants_write() {
            is_taken = conn.write_tls(&mut sock).is_ok();
        }
        asked += 1000;
    }
    assert!(asked < 2_000_000, "a client that reads nothing was never slowed");
    assert_serves_others(&files, &broker);
    // Those that it did ask are answered, in turn.
    let mut answers = Vec::new();
    let mut answered = 0;
    while answered < 1000 {
        while answers.len() < 4 || answers.len() < 4 + frame_bytes(&answers) {
            assert_ne!(conn.read_tls(&mut sock).unwrap(), 0, "the broker closed the connection");
            let state = conn.process_new_packets().unwrap();
            let start = answers.len();
            answers.resize(start + state.plaintext_bytes_to_read(), 0);
            conn.reader().read_exact(&mut answers[start..]).unwrap();
        }
        let rest = answers.split_off(4 + frame_bytes(&answers));
        let frame = Bytes::from(std::mem::replace(&mut answers, rest)).slice(4..);
        let (id, response) = decode_response::<ApiVersionsResponse>(frame, ApiVersion(3)).unwrap();
        assert_eq!(id, CorrelationId(5));
        assert_eq!(response.error_code, ErrorCode::None);
        answered += 1;
    }
}

fn frame_bytes(answers: &[u8]) -> usize {
    u32::from_be_bytes(*answers.first_chunk().unwrap()) as usize
}

#[test]
fn failures_59_a_reader_over_tls_that_does_not_read_is_dropped_and_memory_stays_bounded() {
    let files = Files::new();
    let broker = files.broker(
        "SSL://127.0.0.1:0",
        &[("streamledger.response.write.timeout.ms", "300"), ("max.connections.per.ip", "2")],
    );
    let mut writer = TlsClient::connect(&files, &broker);
    writer.call(7, &create_topics("t", 1, &[]));
    let large = "x".repeat(900_000);
    for _ in 0..20 {
        let request = produce("t", 0, -1, batch_of(&[&large], None));
        assert_eq!(only_partition(&writer.call(11, &request)).error_code, ErrorCode::None);
    }
    let mut greedy = TlsClient::connect(&files, &broker);
    greedy.send_bytes(&greedy_fetch().repeat(100));
    // Nothing is read: only the deadline gives its place to somebody else.
    wait_until("the one that reads nothing has lost its place", || {
        let socket = connected(&broker);
        let connection = ClientConnection::new(files.client(), "localhost".try_into().unwrap());
        let mut stream = StreamOwned::new(connection.unwrap(), socket);
        stream.conn.complete_io(&mut stream.sock).is_ok() && !stream.conn.is_handshaking()
    });
    let mut received = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match greedy.stream.sock.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(bytes) => received += bytes,
        }
    }
    // What the kernel held, of 800 MB and more that were asked for.
    assert!(received < 40 << 20, "{received} bytes were sent to a reader that stalled");
    if let Some(bytes) = peak_bytes() {
        assert!(bytes < 1 << 30, "{bytes} bytes were held");
    }
    // The one that reads is served all the while.
    let request: FetchRequest = fetch("t", 0, 0);
    let fetched = only_fetched(writer.call(11, &request));
    assert_eq!(fetched.error_code, ErrorCode::None);
    assert!(fetched.records.unwrap_or_default().into_bytes().len() > 900_000);
}
