//! `--metrics-listen`: a real HTTP request to a command at work.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tool::{PATIENCE, Sandbox, stderr, wait};

/// Status line, headers and body of a GET.
fn get(address: &str, path: &str) -> (String, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let (status, headers) = head.split_once("\r\n").unwrap();
    (status.to_owned(), headers.to_ascii_lowercase(), body.to_owned())
}

/// The samples by name and labels, after a check of the form of every line.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut typed = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            typed = rest.split(' ').next().unwrap().to_owned();
        } else if !line.starts_with("# HELP ") {
            assert!(line.starts_with(&typed), "{line} under {typed}");
            let (name, value) = line.rsplit_once(' ').unwrap();
            let before = samples.insert(name.to_owned(), value.parse().unwrap());
            assert!(before.is_none(), "{name} twice");
        }
    }
    samples
}

#[test]
fn prometheus_scrapes_an_ingest_that_is_under_way() {
    let sandbox = Sandbox::new();
    let mut ingest = sandbox
        .command(&["ingest", "-", "--format", "lines", "--topic", "lines"])
        .args(["--metrics-listen", "127.0.0.1:0", "-X", "client.id=it's \"me\""])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(ingest.stderr.take().unwrap()).lines();
    let address = said.find_map(|line| {
        let line = line.unwrap();
        let rest = line.strip_prefix("metrics at http://")?;
        Some(rest.strip_suffix("/metrics").unwrap().to_owned())
    });
    let address = address.unwrap();
    let mut stdin = ingest.stdin.take().unwrap();
    let client = r#"client_id="it's \"me\"""#;
    let sent = format!("kafka_producer_record_send_total{{{client}}}");
    let begun = Instant::now();
    let scraped = loop {
        stdin.write_all("one\ntwo\nthree\n".repeat(20_000).as_bytes()).unwrap();
        let (status, headers, body) = get(&address, "/metrics");
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert!(headers.contains("content-type: text/plain; version=0.0.4"), "{headers}");
        let samples = samples(&body);
        if samples[&sent] > 0.0 {
            break samples;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing was sent");
        std::thread::sleep(Duration::from_millis(50));
    };
    let topic = format!(r#"kafka_producer_topic_record_send_total{{{client},topic="lines"}}"#);
    assert_eq!(scraped[&topic], scraped[&sent], "one scrape agrees with itself");
    let stage = |what: &str, le: &str| {
        let name = format!("streamledger_producer_stage_seconds_{what}");
        scraped[&format!(r#"{name}{{{client},stage="acknowledged"{le}}}"#)]
    };
    assert_eq!(stage("count", ""), scraped[&sent]);
    assert_eq!(stage("bucket", r#",le="+Inf""#), scraped[&sent]);
    assert!(stage("bucket", r#",le="0.01""#) <= stage("bucket", r#",le="1""#));
    assert!(stage("sum", "") > 0.0);
    let (status, _, body) = get(&address, "/health");
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", "ok\n"));
    assert_eq!(get(&address, "/other").0, "HTTP/1.1 404 Not Found");
    drop(stdin);
    assert_eq!(wait(&mut ingest), Some(0));
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn metrics_for_all_to_see_must_be_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.write("a.txt", b"1\n");
    let arguments = ["ingest", "a.txt", "--format", "lines", "--topic", "t"];
    let public = [&arguments[..], &["--metrics-listen", "0.0.0.0:0"]].concat();
    let output = sandbox.run(&public);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("--insecure-listen"), "{}", stderr(&output));
    sandbox.succeed(&[&public[..], &["--insecure-listen"]].concat());
}
