//! The client against a registry that answers by a script: well, badly, late, or not as one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::*;

/// Answers one request each with these, and gives what was asked.
fn scripted(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/base/", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            asked.push(request(&mut stream));
            stream.write_all(answer.as_bytes()).unwrap();
        }
        asked
    });
    (url, serving)
}

/// One request, whole.
fn request(stream: &mut TcpStream) -> String {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "{text}");
        request.extend_from_slice(&buffer[..read]);
    }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn properties(url: &str) -> Properties {
    let properties = Properties::new().with("schema.registry.url", url);
    properties.with("retries.wait.ms", "1").with("request.timeout.ms", "60000")
}

fn registry(url: &str) -> SchemaRegistry {
    SchemaRegistry::from_properties(&properties(url)).unwrap()
}

const AVRO: &SchemaType = &SchemaType::Avro;

#[test]
fn a_schema_is_registered_and_found_again() {
    let latest = r#"{"subject":"a/b","version":3,"id":7,"schema":"\"int\""}"#;
    let json = r#"{"schemaType":"JSON","schema":"{}"}"#;
    let (url, serving) = scripted(vec![
        answer("200 OK", r#"{"id":7}"#),
        answer("200 OK", latest),
        answer("200 OK", latest),
        answer("200 OK", json),
    ]);
    let registry = registry(&url);
    assert_eq!(registry.register("a/b", AVRO, "\"int\""), Ok(SchemaId(7)));
    assert_eq!(registry.look_up("a/b", &SchemaType::Json, "{}"), Ok(SchemaId(7)));
    let text = "\"int\"".to_owned();
    let found = RegisteredSchema { id: SchemaId(7), schema_type: SchemaType::Avro, text };
    assert_eq!(registry.latest("a/b"), Ok(found));
    assert_eq!(registry.by_id(SchemaId(9)).unwrap().schema_type, SchemaType::Json);
    let asked = serving.join().unwrap();
    assert!(asked[0].starts_with("POST /base/subjects/a%2Fb/versions HTTP/1.1\r\n"), "{asked:?}");
    assert!(asked[0].ends_with("\r\n\r\n{\"schema\":\"\\\"int\\\"\"}"), "{}", asked[0]);
    assert!(asked[0].contains("Content-Type: application/vnd.schemaregistry.v1+json\r\n"));
    assert!(asked[1].starts_with("POST /base/subjects/a%2Fb HTTP/1.1\r\n"));
    assert!(asked[1].contains(r#""schemaType":"JSON""#));
    assert!(asked[2].starts_with("GET /base/subjects/a%2Fb/versions/latest HTTP/1.1\r\n"));
    assert!(asked[3].starts_with("GET /base/schemas/ids/9 HTTP/1.1\r\n"));
}

#[test]
fn what_may_pass_is_asked_again_and_what_wont_isnt() {
    let busy = answer("503 Busy", r#"{"error_code":50303,"message":"electing"}"#);
    let broken = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_owned();
    let (url, serving) =
        scripted(vec![busy, broken, answer("429 Slow", ""), answer("200 OK", r#"{"id":1}"#)]);
    assert_eq!(registry(&url).register("s", AVRO, "\"int\""), Ok(SchemaId(1)));
    assert_eq!(serving.join().unwrap().len(), 4);

    use RegistryErrorKind as Kind;
    let incompatible =
        r#"{"error_code":409,"message":"incompatible: reader's field x has no default\n"}"#;
    for (status, body, kind, said) in [
        ("409 Conflict", incompatible, Kind::Incompatible, "reader's field x has no default"),
        ("401 No", r#"{"error_code":401,"message":"Unauthorized"}"#, Kind::Unauthorized, "401: Un"),
        ("403 No", "<html>", Kind::Unauthorized, "answers 403"),
        (
            "422 No",
            r#"{"error_code":42201,"message":"x"}"#,
            Kind::Invalid,
            "answers 422 (42201): x",
        ),
        ("404 No", r#"{"error_code":40401,"message":"x"}"#, Kind::NotFound, "(40401): x"),
        ("404 No", "<html>", Kind::NotARegistry, "answers 404"),
        ("200 OK", "<html>welcome", Kind::NotARegistry, "its answer isn't JSON"),
        ("200 OK", r#"{"id":-1}"#, Kind::NotARegistry, "its answer has no id"),
        ("200 OK", "[[[[", Kind::NotARegistry, "isn't JSON"),
        ("302 Elsewhere", "", Kind::Refused, "answers 302"),
    ] {
        let (url, serving) = scripted(vec![answer(status, body)]);
        let error = registry(&url).register("s", AVRO, "\"int\"").unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(said), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert_eq!(serving.join().unwrap().len(), 1, "asked once");
    }
}

#[test]
fn the_next_address_is_asked_and_in_the_end_it_is_told_how_often() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let (url, serving) = scripted(vec![answer("200 OK", r#"{"id":5}"#)]);
    let both = registry(&format!("{nobody}, {url}"));
    assert_eq!(both.register("s", AVRO, "\"int\""), Ok(SchemaId(5)));
    serving.join().unwrap();
    let short = properties(&nobody).with("request.timeout.ms", "50");
    let error = SchemaRegistry::from_properties(&short).unwrap().latest("s").unwrap_err();
    assert_eq!(error.kind(), RegistryErrorKind::Unreachable);
    assert!(error.to_string().contains("can't be reached"), "{error}");
}

#[test]
fn who_asks_is_told_to_the_registry_and_to_nobody_else() {
    for (name, secret, header) in [
        ("basic.auth.user.info", "me:s3cret", "Authorization: Basic bWU6czNjcmV0\r\n"),
        ("schema.registry.basic.auth.user.info", "me:s3cret", "Basic bWU6czNjcmV0\r\n"),
        ("bearer.auth.token", "s3cret", "Authorization: Bearer s3cret\r\n"),
    ] {
        let (url, serving) = scripted(vec![answer("401 No", "")]);
        let properties = properties(&url).with(name, secret);
        let registry = SchemaRegistry::from_properties(&properties).unwrap();
        let error = registry.latest("s").unwrap_err();
        assert!(serving.join().unwrap()[0].contains(header));
        assert!(!format!("{error} {error:?} {registry:?}").contains("s3cret"));
    }
}

#[test]
fn settings_that_cant_be_used_are_named() {
    for (name, value, said) in [
        ("basic.auth.user.info", "s3cret", "it is user:password"),
        ("bearer.auth.token", "s3cret\r\nX: y", "has a line end in it"),
        ("bearer.auth.credentials.source", "OAUTHBEARER", "STATIC_TOKEN is what it may be"),
        ("http.read.timeout.ms", "soon", "a number of milliseconds"),
        ("retries", "3", "unknown setting \"retries\""),
        ("schema.registry.url", "registry:8081", "schema.registry.url"),
        ("schema.registry.ssl.truststore.location", "/nowhere", "/nowhere"),
    ] {
        let properties = properties("http://localhost").with(name, value);
        let error = SchemaRegistry::from_properties(&properties).unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_values_prefix_is_its_schemas_id() {
    let value = [&SchemaId(0x0102_0304).prefix()[..], b"x"].concat();
    assert_eq!(value, [0, 1, 2, 3, 4, b'x']);
    assert_eq!(SchemaId::split(&value), Some((SchemaId(0x0102_0304), &b"x"[..])));
    assert_eq!((SchemaId::split(&value[..4]), SchemaId::split(b"{\"id\":1}")), (None, None));
}
