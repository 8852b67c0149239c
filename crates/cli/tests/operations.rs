//! What whoever runs a broker does: scrapes it, asks for its health, ends it, looks into its files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use streamledger::{Producer, ProducerConfig, ProducerRecord};
use tool::{PATIENCE, Sandbox, Server, stderr, stdout};

/// Status line and body of a GET.
fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// Ends a `serve` as soon as it has said where it listens; all it said on stderr.
fn said_by_serve(sandbox: &Sandbox, more: &[&str], environment: &[(&str, &str)]) -> String {
    let listen = match more.contains(&"--config") {
        true => &[][..],
        false => &["--listen", "127.0.0.1:0"],
    };
    let arguments = [&["serve", "--data-dir", "data"], listen, more].concat();
    let mut serve = sandbox.command(&arguments);
    serve.env_remove("STREAMLEDGER_LOG").env_remove("STREAMLEDGER_LOG_FORMAT");
    let mut serve = serve.envs(environment.iter().copied()).spawn().unwrap();
    // The lock file says where it listens, whatever is printed.
    let lock = sandbox.path("data/.lock");
    let deadline = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(&lock).is_ok_and(|text| text.contains("127.0.0.1:")) {
        assert!(Instant::now() < deadline, "it doesn't listen");
        thread::sleep(Duration::from_millis(10));
    }
    tool::interrupt(&serve, "TERM");
    assert_eq!(tool::wait(&mut serve), Some(0));
    std::fs::remove_file(lock).unwrap();
    let mut said = String::new();
    serve.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    said
}

#[test]
fn serve_says_unasked_what_is_wrong_and_as_json_where_log_lines_are() {
    let sandbox = Sandbox::new();
    let own = said_by_serve(&sandbox, &[], &[]);
    assert!(own.starts_with("listening on 127.0.0.1:"), "{own}");
    assert!(own.ends_with("ended; the log is flushed and closed\n") && own.lines().count() == 2);
    // Nobody may do anything: that is a warning.
    let closed =
        ["-X", "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"];
    let warned = said_by_serve(&sandbox, &closed, &[]);
    let line = warned.lines().find(|line| line.contains("nobody may do anything"));
    assert!(line.is_some_and(|line| line.contains(" WARN ")), "{warned}");
    for (more, environment, lines) in [
        (&["-q"][..], &[][..], 0),
        (&[], &[("STREAMLEDGER_LOG", "error")], 2),
        (&["--metrics-listen", "127.0.0.1:0"], &[("STREAMLEDGER_LOG_FORMAT", "json")], 4),
    ] {
        let said = said_by_serve(&sandbox, &[&closed, more].concat(), environment);
        assert_eq!(said.lines().count(), lines, "{said}");
        if lines < 4 {
            continue;
        }
        for (line, message) in
            said.lines().zip(["nobody may", "listening on", "metrics at", "ended; the log"])
        {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let told = event["fields"]["message"].as_str().unwrap();
            assert!(told.contains(message), "{line}");
        }
    }
    let failed = sandbox
        .command(&["serve", "-X", "num.partition=1"])
        .env("STREAMLEDGER_LOG_FORMAT", "json")
        .output()
        .unwrap();
    let event: serde_json::Value = serde_json::from_slice(&failed.stderr).unwrap();
    assert_eq!((&event["level"], &event["fields"]["exit"]), (&"ERROR".into(), &2.into()));
}

/// As Kafka ships it, but for its ports.
const KAFKAS_OWN: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:0
listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://:0
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:0,CONTROLLER://localhost:0
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

#[test]
fn kafkas_own_server_properties_starts_a_broker_that_says_what_has_no_effect() {
    let sandbox = Sandbox::new();
    sandbox.write("server.properties", KAFKAS_OWN.as_bytes());
    let said = said_by_serve(&sandbox, &["--config", "server.properties"], &[]);
    assert!(said.contains("num.io.threads has no effect: "), "{said}");
    assert!(said.contains("listening on 127.0.0.1:"), "{said}");
    let wrong = format!("{KAFKAS_OWN}num.partition=3\nlog.retention.hour=1\n");
    sandbox.write("server.properties", wrong.as_bytes());
    let refused = sandbox.run(&["serve", "--config", "server.properties", "--data-dir", "data"]);
    assert_eq!(refused.status.code(), Some(2));
    let told = stderr(&refused);
    assert!(told.contains("num.partitions?") && told.contains("log.retention.hours?"), "{told}");
}

#[test]
fn a_broker_is_scraped_and_asked_for_its_health() {
    let sandbox = Sandbox::new();
    let metrics = tool::free_address();
    let server = Server::start(&sandbox, "127.0.0.1:0", &["--metrics-listen", &metrics]);
    let lines = b"one\ntwo\nthree\n";
    sandbox.run_with_input(&["produce", "t", "-b", &server.address], lines);
    let (status, text) = get(&metrics, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    let sample = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<u64>().unwrap()
    };
    let end = r#"streamledger_broker_log_end_offset{topic="t",partition="0"}"#;
    assert_eq!(sample(end), 3);
    assert!(sample("streamledger_broker_appended_bytes_total") > 61);
    assert!(sample(r#"streamledger_broker_requests_total{api="Produce"}"#) >= 1);
    assert_eq!(sample("streamledger_broker_offline_partitions"), 0);
    let types = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    let helps = text.lines().filter(|line| line.starts_with("# HELP ")).count();
    assert!(types == helps && types > 15, "{types} types, {helps} helps");
    assert_eq!(get(&metrics, "/health"), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    let public = ["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "0.0.0.0:0"];
    let refused = sandbox.run(&[&public[..], &["--data-dir", "other"]].concat());
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
}

#[test]
fn a_damaged_partition_is_no_good_health() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    for _ in 0..3 {
        sandbox.run_with_input(&["produce", "t", "-b", &server.address], b"one\ntwo\n");
    }
    server.kill();
    let log = sandbox.path(".streamledger/t-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[70] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let dumped = sandbox.run(&["log", "dump", log.to_str().unwrap()]);
    assert_eq!(dumped.status.code(), Some(1));
    assert!(stdout(&dumped).contains("isvalid: false"), "{}", stdout(&dumped));
    let metrics = tool::free_address();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--metrics-listen", &metrics];
    let mut child = sandbox.spawn(&arguments);
    let begun = Instant::now();
    while TcpStream::connect(&metrics).is_err() {
        assert!(begun.elapsed() < PATIENCE, "it doesn't listen");
        thread::sleep(Duration::from_millis(20));
    }
    let (status, body) = get(&metrics, "/health");
    tool::interrupt(&child, "TERM");
    tool::wait(&mut child);
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(body.contains("t-0 is offline"), "{body}");
}

#[test]
fn failure_49_sigterm_under_load_ends_in_time_and_keeps_what_was_acknowledged() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let config = ProducerConfig::builder()
        .bootstrap_servers(&server.address)
        .set("delivery.timeout.ms", "3000")
        .set("request.timeout.ms", "2000")
        .set("linger.ms", "0")
        .build()
        .unwrap();
    let producer = Producer::new(config).unwrap();
    let (stop, acked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let sending = thread::spawn({
        let (stop, acked) = (Arc::clone(&stop), Arc::clone(&acked));
        move || {
            while !stop.load(Ordering::Relaxed) {
                let acked = Arc::clone(&acked);
                let record = ProducerRecord::to("t").value(&[b'x'; 200]);
                let _ = producer.send_with(record, move |result| {
                    if result.is_ok() {
                        acked.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
    });
    let begun = Instant::now();
    while acked.load(Ordering::Relaxed) < 500 {
        assert!(begun.elapsed() < PATIENCE, "nothing is acknowledged");
        thread::sleep(Duration::from_millis(2));
    }
    // It would end otherwise if something was left unanswered after its ten seconds.
    assert_eq!(server.terminate(), Some(0));
    stop.store(true, Ordering::Relaxed);
    sending.join().unwrap();
    let kept = acked.load(Ordering::Relaxed);
    let dumped = sandbox.succeed(&["log", "dump", ".streamledger/t-0"]);
    let counts = dumped.lines().filter_map(|line| line.split(" count: ").nth(1));
    let there: u64 =
        counts.map(|rest| rest.split(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert!(there >= kept, "{kept} acknowledged, {there} there");
    // What a clean stop leaves: the producers as of the end, and the active segment's indexes.
    assert!(dumped.contains("Producers as of offset"), "{dumped}");
    assert!(
        std::fs::read_dir(sandbox.path(".streamledger"))
            .unwrap()
            .any(|entry| { entry.unwrap().file_name() == "manifest" })
    );
}

#[test]
fn the_files_of_a_partition_are_dumped_as_kafkas_tool_does() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    sandbox.run_with_input(&["produce", "t", "-b", &server.address], b"one\ntwo\n");
    // Of a producer without an id, with a key and no value; then a marker.
    let config = ProducerConfig::builder().bootstrap_servers(&server.address);
    let plain = config.clone().set("enable.idempotence", "false").build().unwrap();
    let producer = Producer::new(plain).unwrap();
    producer.send(ProducerRecord::to("t").key(b"gone")).unwrap().wait().unwrap();
    let producer = Producer::new(config.transactional_id("job").build().unwrap()).unwrap();
    producer.init_transactions().unwrap();
    let mut transaction = producer.begin_transaction().unwrap();
    drop(transaction.send(ProducerRecord::to("t").value(b"whole")).unwrap());
    transaction.commit().unwrap();
    drop(transaction);
    assert_eq!(server.terminate(), Some(0));
    let text = sandbox.succeed(&["log", "dump", "--payloads", ".streamledger/t-0"]);
    for part in [
        "Log starting offset: 0",
        "baseOffset: 0 lastOffset: ",
        "isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 0",
        "magic: 2 compresscodec: none crc: ",
        "isvalid: true",
        "keySize: -1 valueSize: 3 sequence: 0 headerKeys: [] payload: one\n",
        "keySize: -1 valueSize: 3 sequence: 1 headerKeys: [] payload: two\n",
        "keySize: 4 valueSize: -1 sequence: -1 headerKeys: [] key: gone\n",
        "valueSize: 6 sequence: -1 headerKeys: [] endTxnMarker: COMMIT coordinatorEpoch: ",
        "timestamp: ",
        "producerId: ",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let unknown = sandbox.run(&["log", "dump", "no/such/thing.txt"]);
    assert_eq!(unknown.status.code(), Some(3));
    assert!(stderr(&unknown).contains("is no file of a log"), "{}", stderr(&unknown));
}

#[test]
fn a_reader_to_the_end_waits_for_the_commit_that_was_on_its_way_when_it_began() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let config = ProducerConfig::builder()
        .bootstrap_servers(&server.address)
        .set("transactional.id", "job-1")
        .build()
        .unwrap();
    let producer = Producer::new(config).unwrap();
    producer.init_transactions().unwrap();
    let send = |value: &str| {
        let record = ProducerRecord::to("t").value(value.as_bytes());
        producer.send(record).unwrap().wait().unwrap();
    };
    let mut transaction = producer.begin_transaction().unwrap();
    send("0");
    transaction.commit().unwrap();
    let consume = ["consume", "t", "--fields", "value", "-b", &server.address];
    for (turn, group) in [&[][..], &["--group", "g"]].into_iter().enumerate() {
        drop(transaction);
        transaction = producer.begin_transaction().unwrap();
        send(&(turn + 1).to_string());
        let mut reader = sandbox.spawn(&[&consume[..], group].concat());
        let mut read = BufReader::new(reader.stdout.take().unwrap());
        for expected in 0..=turn {
            let mut line = String::new();
            read.read_line(&mut line).unwrap();
            assert_eq!(line, format!("{expected}\n"));
        }
        // All that is committed was read, and it is there still.
        transaction.commit().unwrap();
        let mut rest = String::new();
        read.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, format!("{}\n", turn + 1));
        assert_eq!(tool::wait(&mut reader), Some(0));
    }
}

#[test]
fn transactions_are_listed_described_and_aborted() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let config = ProducerConfig::builder()
        .bootstrap_servers(&server.address)
        .set("transactional.id", "job-1")
        .build()
        .unwrap();
    let producer = Producer::new(config).unwrap();
    producer.init_transactions().unwrap();
    let transaction = producer.begin_transaction().unwrap();
    producer.send(ProducerRecord::to("t").value(b"open")).unwrap().wait().unwrap();
    let at = ["-b", server.address.as_str()];
    let run = |arguments: &[&str]| sandbox.succeed(&[&["transactions"], arguments, &at].concat());
    let listed = run(&["list"]);
    assert!(listed.contains("job-1") && listed.contains("Ongoing"), "{listed}");
    let listed = run(&["list", "--json"]);
    assert!(listed.contains(r#""transactional_id":"job-1""#), "{listed}");
    let described = run(&["describe", "job-1"]);
    assert!(described.contains("Ongoing") && described.contains("t-0"), "{described}");
    let unknown = sandbox.run(&["transactions", "describe", "nobody", "-b", &server.address]);
    assert_eq!(unknown.status.code(), Some(1), "{}", stderr(&unknown));
    let open = run(&["abort", "t", "--partition", "0"]);
    assert!(open.lines().count() == 3 && open.contains('0'), "{open}");
    let wrong = ["transactions", "abort", "t", "--partition", "0", "--start-offset", "7"];
    let wrong = sandbox.run(&[&wrong[..], &at].concat());
    assert_eq!(wrong.status.code(), Some(1));
    let aborted = run(&["abort", "t", "--partition", "0", "--start-offset", "0"]);
    assert!(aborted.contains("aborted in t-0, from offset 0"), "{aborted}");
    assert_eq!(run(&["abort", "t", "--partition", "0"]), "");
    drop(transaction);
}
