//! `ingest` at a broker that has no transactions: rows are there at least once, and that is said.
//!
//! The broker is ours, behind a door that leaves some APIs out of what it says it can do: what
//! clients aren't told of they can't use.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use tool::{Sandbox, Server, stderr, stdout};

const API_VERSIONS: i16 = 18;
const INIT_PRODUCER_ID: i16 = 22;
/// AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, TxnOffsetCommit.
const OF_TRANSACTIONS: [i16; 4] = [24, 25, 26, 28];

/// A door to a broker that leaves APIs out of the answers to ApiVersions.
struct Door {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<i16>>>,
}

impl Door {
    fn open(listener: TcpListener, broker: &str, hidden: Vec<i16>) -> Door {
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (broker, seen) = (broker.to_owned(), Arc::clone(&asked));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&broker) else { return };
                let (hidden, seen) = (hidden.clone(), Arc::clone(&seen));
                let in_flight = Arc::new(Mutex::new(VecDeque::new()));
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let sent = Arc::clone(&in_flight);
                thread::spawn(move || {
                    relay(from, to, |frame| {
                        let number = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
                        let (api, version) = (number(0), number(2));
                        seen.lock().unwrap().push(api);
                        // A Produce that asks for no acknowledgement has no answer.
                        sent.lock().unwrap().push_back((api, version));
                    });
                });
                thread::spawn(move || {
                    relay(server, client, |frame| {
                        if let Some((API_VERSIONS, version)) = in_flight.lock().unwrap().pop_front()
                        {
                            hide(frame, version, &hidden);
                        }
                    });
                });
            }
        });
        Door { address, asked }
    }

    fn was_asked(&self, api: i16) -> bool {
        self.asked.lock().unwrap().contains(&api)
    }
}

/// Passes frames on until either side ends.
fn relay(mut from: TcpStream, mut to: TcpStream, mut see: impl FnMut(&mut Vec<u8>)) {
    let mut length = [0; 4];
    while from.read_exact(&mut length).is_ok() {
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        if from.read_exact(&mut frame).is_err() {
            break;
        }
        see(&mut frame);
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        if to.write_all(&length).and_then(|()| to.write_all(&frame)).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Takes APIs out of an answer to ApiVersions of version 3 or later: correlation id, error, a
/// compact array of (api, lowest, highest, no tags), and the rest.
fn hide(frame: &mut Vec<u8>, version: i16, hidden: &[i16]) {
    const ENTRY: usize = 7;
    assert!(version >= 3, "only these are read here");
    let count = usize::from(frame[6]) - 1;
    assert!(count < 127, "the count is in one byte");
    let (entries, rest) = frame[7..].split_at(count * ENTRY);
    let is_shown = |entry: &&[u8]| !hidden.contains(&i16::from_be_bytes([entry[0], entry[1]]));
    let shown: Vec<&[u8]> = entries.chunks(ENTRY).filter(is_shown).collect();
    assert_eq!(shown.len() + hidden.len(), count, "it has what is hidden");
    let head = [&frame[..6], &[u8::try_from(shown.len() + 1).unwrap()]].concat();
    *frame = [head, shown.concat(), rest.to_vec()].concat();
}

/// A broker behind a door that hides those APIs, in a directory with a file of rows.
fn behind_a_door(hidden: &[i16]) -> (Sandbox, Server, Door) {
    let sandbox = Sandbox::new();
    let rows: String =
        (0..5000).map(|row| format!("{{\"k\":{},\"row\":{row}}}\n", row % 9)).collect();
    sandbox.write("f.ndjson", rows.as_bytes());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let advertised = format!("advertised.listeners=PLAINTEXT://{}", listener.local_addr().unwrap());
    let server = Server::start(&sandbox, "127.0.0.1:0", &["--data-dir", "data", "-X", &advertised]);
    let door = Door::open(listener, &server.address, hidden.to_vec());
    (sandbox, server, door)
}

#[test]
fn rows_are_there_at_least_once_and_the_summary_says_why() {
    let none_at_all = [&OF_TRANSACTIONS[..], &[INIT_PRODUCER_ID]].concat();
    // A broker may know idempotent producers and no transactions, or neither.
    for hidden in [OF_TRANSACTIONS.to_vec(), none_at_all, vec![INIT_PRODUCER_ID]] {
        let (sandbox, server, door) = behind_a_door(&hidden);
        let through = door.address.to_string();
        let ingest = ["ingest", "f.ndjson", "--topic", "t", "--key", "k", "-b", &through];
        let output = sandbox.run(&ingest);
        let (said, noted) = (stdout(&output), stderr(&output));
        assert!(output.status.success(), "{hidden:?}: {noted}");
        assert!(said.contains("at least once: the broker has no transactions"), "{said}");
        assert!(noted.contains("at least once: the broker has no transactions"), "{noted}");
        let gives_ids = !hidden.contains(&INIT_PRODUCER_ID);
        in_force(&said, "guarantee", "at least once");
        in_force(&said, "enable.idempotence", if gives_ids { "true" } else { "false" });
        assert_eq!(door.was_asked(INIT_PRODUCER_ID), gives_ids, "it is idempotent where it can be");
        let json = sandbox.succeed(&[&ingest[..], &["--json", "-q"]].concat());
        assert!(json.contains("\"guarantee\":\"at-least-once\""), "{json}");
        // It was run twice, and nothing was kept of the first: each row is there twice.
        let audit = ["audit", "f.ndjson", "t", "--key", "k", "-b", &server.address, "--json"];
        let audited = stdout(&sandbox.run(&audit));
        assert!(audited.contains("\"topic_records\":10000"), "{audited}");
        for api in hidden {
            assert!(!door.was_asked(api), "API {api} was asked for");
        }
    }
}

#[test]
fn who_insists_on_exactly_once_is_told_that_it_cannot_be() {
    let (sandbox, server, door) = behind_a_door(&OF_TRANSACTIONS);
    let through = door.address.to_string();
    let output =
        sandbox.run(&["ingest", "f.ndjson", "--topic", "t", "-b", &through, "--exactly-once"]);
    assert!(!output.status.success());
    let noted = stderr(&output);
    assert!(noted.contains("the broker has no transactions"), "{noted}");
    assert!(noted.contains("InitProducerId and EndTxn"), "{noted}");
    assert!(noted.contains("--at-least-once"), "{noted}");
    let listed = sandbox.succeed(&["topics", "list", "-b", &server.address]);
    assert_eq!(listed, "", "nothing was begun");
}

/// That the table of settings says so: the first line that begins with a name.
fn in_force(table: &str, name: &str, value: &str) {
    let row = table.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_default();
    assert!(row.contains(value), "{name} isn't {value} in\n{table}");
}

#[test]
fn without_producer_ids_at_least_once_goes_unless_idempotence_is_insisted_on() {
    let (sandbox, _server, door) = behind_a_door(&[INIT_PRODUCER_ID]);
    let through = door.address.to_string();
    let ingest = ["ingest", "f.ndjson", "--topic", "t", "-b", &through, "--at-least-once"];
    let said = sandbox.succeed(&ingest);
    in_force(&said, "guarantee", "at least once");
    in_force(&said, "enable.idempotence", "false");
    in_force(&said, "max.in.flight.requests.per.connection", "1");
    let output = sandbox.run(&[&ingest[..], &["-X", "enable.idempotence=true"]].concat());
    assert!(!output.status.success());
    let noted = stderr(&output);
    assert!(noted.contains("UNSUPPORTED_VERSION"), "{noted}");
}
