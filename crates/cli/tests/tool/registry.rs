//! A schema registry for tests: subjects, ids, and refusals on demand.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file uses a part of it.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// One that runs until the test's process ends.
pub struct Registry {
    pub url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Language and text of each schema; its id is its place, counted from 1.
    schemas: Vec<(String, String)>,
    /// The ids of each subject's versions.
    subjects: BTreeMap<String, Vec<usize>>,
    /// Method and path of each request.
    asked: Vec<String>,
    /// Statuses and reasons with which the next requests are refused.
    refusals: VecDeque<(u16, String)>,
    /// The header without which nobody is let in.
    authorization: Option<String>,
}

impl Registry {
    pub fn start() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &mut shared.lock().unwrap());
            }
        });
        Registry { url, state }
    }

    /// The next requests are refused.
    pub fn refuse(&self, status: u16, reason: &str) {
        self.state.lock().unwrap().refusals.push_back((status, reason.to_owned()));
    }

    /// From here on only who sends this header is let in.
    pub fn lock(&self, authorization: &str) {
        self.state.lock().unwrap().authorization = Some(authorization.to_owned());
    }

    /// Registers a schema from outside; its id.
    pub fn register(&self, subject: &str, language: &str, text: &str) -> usize {
        self.state.lock().unwrap().register(subject, language, text)
    }

    /// Language and text of each schema.
    pub fn schemas(&self) -> Vec<(String, String)> {
        self.state.lock().unwrap().schemas.clone()
    }

    /// What was asked since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

impl State {
    fn register(&mut self, subject: &str, language: &str, text: &str) -> usize {
        let schema = (language.to_owned(), text.to_owned());
        let known = self.schemas.iter().position(|known| *known == schema);
        let index = known.unwrap_or_else(|| {
            self.schemas.push(schema);
            self.schemas.len() - 1
        });
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        if !versions.contains(&(index + 1)) {
            versions.push(index + 1);
        }
        index + 1
    }

    fn answer(&mut self, asked: &str, body: &str) -> (u16, Value) {
        let path = asked.split(' ').nth(1).unwrap();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let language = body["schemaType"].as_str().unwrap_or("AVRO").to_owned();
        let text = body["schema"].as_str().unwrap_or_default().to_owned();
        let unknown = || (404, json!({"error_code": 40403, "message": "Schema not found"}));
        let with = |id: usize, (language, text): &(String, String)| match language.as_str() {
            "AVRO" => json!({"id": id, "schema": text}),
            other => json!({"id": id, "schemaType": other, "schema": text}),
        };
        match parts.as_slice() {
            ["subjects", subject, "versions"] => {
                (200, json!({"id": self.register(subject, &language, &text)}))
            }
            ["subjects", subject, "versions", "latest"] => {
                match self.subjects.get(*subject).and_then(|versions| versions.last()) {
                    Some(id) => (200, with(*id, &self.schemas[id - 1])),
                    None => (404, json!({"error_code": 40401, "message": "Subject not found"})),
                }
            }
            ["subjects", subject] => {
                let versions = self.subjects.get(*subject).cloned().unwrap_or_default();
                let is_it = |id: &&usize| self.schemas[*id - 1] == (language.clone(), text.clone());
                versions.iter().find(is_it).map_or_else(unknown, |id| (200, json!({"id": id})))
            }
            ["schemas", "ids", id] => {
                let id: usize = id.parse().unwrap();
                let found = id.checked_sub(1).and_then(|index| self.schemas.get(index));
                found.map_or_else(unknown, |schema| (200, with(id, schema)))
            }
            _ => (405, Value::Null),
        }
    }
}

fn serve(mut stream: TcpStream, state: &mut State) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    let (head, body) = loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                break (head.to_owned(), body.to_owned());
            }
        }
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    };
    let line = head.lines().next().unwrap_or_default();
    let asked = line.strip_suffix(" HTTP/1.1").unwrap_or(line);
    state.asked.push(asked.to_owned());
    let is_let_in = state.authorization.as_ref().is_none_or(|wanted| head.contains(wanted));
    let (status, answer) = match state.refusals.pop_front() {
        Some((status, reason)) => (status, json!({"error_code": status, "message": reason})),
        None if !is_let_in => (401, json!({"error_code": 401, "message": "Unauthorized"})),
        None => state.answer(asked, &body),
    };
    let answer = answer.to_string();
    let length = answer.len();
    let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{answer}");
}
