//! Values behind the id of a registered schema: written, audited, gone on with, read.

use serde_json::{Value, json};

use super::registry::Registry;
use super::tool::{Sandbox, stderr};
use super::{ORDERS, records};

const EQUAL: &str = "equal: every row is there, once";

/// The bytes of a record's value.
fn bytes(record: &Value) -> Vec<u8> {
    match (&record["value"], &record["value_base64"]) {
        (Value::String(text), _) => text.clone().into_bytes(),
        (_, other) => base64(other.as_str().unwrap()),
    }
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (vec![], 0_u32, 0);
    for sextet in text.chars().filter_map(|c| ALPHABET.find(c)) {
        (bits, count) = (bits << 6 | sextet as u32, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}

/// The values as `consume` prints them by their schemas.
fn read(sandbox: &Sandbox, registry: &Registry) -> Vec<Value> {
    let how = ["consume", "t", "--schema-registry", &registry.url, "--fields", "value"];
    let text = sandbox.succeed(&how);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn avro_is_registered_once_audited_gone_on_with_and_read() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    registry.register("other", "AVRO", "\"int\"");
    sandbox.write("orders.csv", ORDERS);
    let columns = ["--select", "id,sum,note", "--type", "id=integer", "--type", "sum=number"];
    let how = ["--value", "avro", "--schema-registry", &registry.url];
    let ingest = [&["ingest", "orders.csv", "-t", "t", "--partitions", "1"][..], &columns, &how];
    let ingest = ingest.concat();

    let dry = sandbox.succeed(&[&ingest[..], &["--dry-run", "--json"]].concat());
    let dry: Value = serde_json::from_str(&dry).unwrap();
    assert_eq!(dry["schemas"][0]["subject"], "t-value");
    assert_eq!((registry.asked().len(), registry.schemas().len()), (0, 1), "nothing is registered");

    registry.refuse(503, "electing a leader");
    sandbox.succeed(&[&ingest[..], &["--limit", "2", "-q"]].concat());
    let register = "POST /subjects/t-value/versions".to_owned();
    assert_eq!(registry.asked(), [register.clone(), register.clone()], "again, after the 503");
    assert_eq!(dry["schemas"][0]["schema"].as_str(), Some(registry.schemas()[1].1.as_str()));
    // By itself the rest of the file, and more, would have other types.
    sandbox.write("orders.csv", &[ORDERS, b"C,5,1,x,0\n"].concat());
    sandbox.succeed(&[&ingest[..], &["--append", "-q"]].concat());
    assert_eq!(registry.asked(), [register]);
    let values: Vec<Vec<u8>> = records(&sandbox).iter().map(bytes).collect();
    assert_eq!(values.len(), 4);
    assert!(values.iter().all(|value| value[..5] == [0, 0, 0, 0, 2]), "{values:?}");

    let audit = [&["audit", "orders.csv", "t"][..], &columns, &how].concat();
    let shown = sandbox.succeed(&audit);
    assert!(shown.contains(EQUAL), "{shown}");
    assert_eq!(registry.asked(), ["POST /subjects/t-value"], "looked up, not registered");
    let unprefixed = sandbox.run(&[&audit[..audit.len() - 2]].concat());
    assert_eq!(unprefixed.status.code(), Some(6), "without the id it is another record");
    assert_eq!(read(&sandbox, &registry)[0], json!({"id": 1, "sum": 2.5, "note": "x"}));
}

#[test]
fn json_has_a_schema_too() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    sandbox.write("orders.csv", ORDERS);
    let how = ["--value", "json", "--schema-registry", &registry.url, "--subject-name", "record"];
    let shape = ["--record-name", "shop.Order", "--select", "shop,sum"];
    let more = [&how[..], &shape].concat();
    sandbox.succeed(
        &[&["ingest", "orders.csv", "-t", "t", "--partitions", "1", "-q"], &more[..]].concat(),
    );
    assert_eq!(registry.asked(), ["POST /subjects/shop.Order/versions"]);
    let (language, text) = registry.schemas().remove(0);
    let schema: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((language.as_str(), &schema["title"]), ("JSON", &json!("shop.Order")));
    let properties = json!({"shop": {"type": "string"}, "sum": {"type": ["number", "null"]}});
    assert_eq!(schema["properties"], properties);
    let first = bytes(&records(&sandbox)[0]);
    assert_eq!(first, b"\0\0\0\0\x01{\"shop\":\"A\",\"sum\":2.50}");
    let shown = sandbox.succeed(&[&["audit", "orders.csv", "t"], &more[..]].concat());
    assert!(shown.contains(EQUAL), "{shown}");
    assert_eq!(read(&sandbox, &registry)[1], json!({"shop": "B", "sum": 3}));
}

#[test]
fn the_newest_schema_is_used_and_another_doesnt_take_its_place_amid_a_file() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    sandbox.write("a.csv", b"n,m\n1,x\n2,y\n");
    let schema = |m: &str| {
        format!(
            r#"{{"type":"record","name":"r","fields":[{{"name":"n","type":"int"}},
                {{"name":"m","type":{m}}}]}}"#
        )
    };
    let how = ["ingest", "a.csv", "-t", "t", "-q", "--value", "avro", "--partitions", "1"];
    let latest = [&how[..], &["--schema-registry", &registry.url, "--use-latest"]].concat();
    let none = sandbox.run(&latest);
    assert_eq!(none.status.code(), Some(1), "{}", stderr(&none));
    assert!(stderr(&none).contains("40401): Subject not found"), "{}", stderr(&none));
    registry.register("t-value", "AVRO", &schema("\"string\""));
    sandbox.succeed(&[&latest[..], &["--limit", "1"]].concat());
    registry.register("t-value", "AVRO", &schema(r#"["null","string"]"#));
    let other = sandbox.run(&latest);
    assert_eq!(other.status.code(), Some(2), "{}", stderr(&other));
    assert!(stderr(&other).contains("schema id 1"), "{}", stderr(&other));
    registry.asked();
    let by_id = [&how[..], &["--schema-registry", &registry.url, "--schema-id", "1"]].concat();
    sandbox.succeed(&by_id);
    assert_eq!(registry.asked(), ["GET /schemas/ids/1"], "nothing is registered");
    let values: Vec<Vec<u8>> = records(&sandbox).iter().map(bytes).collect();
    assert_eq!(values, [[0, 0, 0, 0, 1, 2, 2, b'x'], [0, 0, 0, 0, 1, 4, 2, b'y']]);
    let json = registry.register("t-value", "JSON", "{}").to_string();
    let wrong = [&how[..], &["--schema-registry", &registry.url, "--schema-id", &json]].concat();
    let said = stderr(&sandbox.run(&wrong));
    assert!(said.contains("it is JSON, not AVRO"), "{said}");
}

#[test]
fn a_finished_job_needs_no_registry() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    sandbox.write("orders.csv", ORDERS);
    sandbox.write("soon.properties", b"request.timeout.ms=50\n");
    let schema = r#"{"type":"record","name":"r","fields":[{"name":"id","type":"string"}]}"#;
    let id = registry.register("latest-value", "AVRO", schema).to_string();
    let by_id = ["--schema-id", &id, "--select", "id", "--type", "id=string"];
    for (job, value, more) in [
        ("avro", "avro", &[][..]),
        ("json", "json", &[]),
        ("latest", "avro", &["--use-latest", "--select", "id", "--type", "id=string"]),
        ("by-id", "avro", &by_id),
    ] {
        let how = ["-t", job, "--value", value, "--partitions", "1"];
        let ingest = [&["ingest", "orders.csv"], &how[..], more].concat();
        let at = |url: &str| {
            let soon = ["--schema-registry-config", "soon.properties", "--schema-registry", url];
            sandbox.run(&[&ingest[..], &soon].concat())
        };
        registry.asked();
        let first = at(&registry.url);
        assert!(first.status.success(), "{job}: {}", stderr(&first));
        assert!(!registry.asked().is_empty());
        let done = at("http://127.0.0.1:1");
        let told = stderr(&done);
        assert!(done.status.success(), "{job}: {told}");
        assert!(told.contains("all its 3 rows were ingested before"), "{job}: {told}");
        assert!(!told.contains("otherwise"), "{job}: {told}");
        // One file that isn't done needs it.
        sandbox.write("more.csv", ORDERS);
        let more = [&["ingest", "orders.csv", "more.csv"], &ingest[2..]].concat();
        let soon = ["--schema-registry-config", "soon.properties"];
        let nobody = ["--schema-registry", "http://127.0.0.1:1"];
        let more = sandbox.run(&[&more[..], &soon, &nobody].concat());
        assert_eq!(more.status.code(), Some(4), "{job}: {}", stderr(&more));
    }
}

#[test]
fn a_refusal_is_told_in_the_registrys_words_and_nothing_is_sent() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    sandbox.write("orders.csv", ORDERS);
    let how = ["ingest", "orders.csv", "-t", "t", "-q", "--value", "avro", "--schema-registry"];
    let ingest = [&how[..], &[&registry.url]].concat();
    registry.refuse(409, "incompatible with an earlier schema: sum has no default");
    let refused = sandbox.run(&ingest);
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("the schema isn't registered under t-value"), "{said}");
    assert!(
        said.contains("answers 409: incompatible with an earlier schema: sum has no"),
        "{said}"
    );
    assert!(said.contains("--use-latest"), "{said}");
    assert_eq!(records(&sandbox).len(), 0);

    registry.lock("Authorization: Basic bWU6czNjcmV0");
    let stranger = sandbox.run(&ingest);
    let said = stderr(&stranger);
    assert!(said.contains("answers 401: Unauthorized") && said.contains("USER_INFO"), "{said}");
    let mut known = sandbox.command(&[&ingest[..], &["--json"]].concat());
    let known = known.env("STREAMLEDGER_SCHEMA_REGISTRY_USER_INFO", "me:s3cret").output().unwrap();
    assert!(known.status.success(), "{}", stderr(&known));
    let said = format!("{}{}", String::from_utf8_lossy(&known.stdout), stderr(&known));
    assert!(!said.contains("s3cret"), "{said}");
    assert_eq!(records(&sandbox).len(), 3);

    sandbox.write("soon.properties", b"request.timeout.ms=50\n");
    let nobody = [&how[..], &["http://127.0.0.1:1"]].concat();
    let soon = ["--schema-registry-config", "soon.properties", "--job", "other"];
    let nobody = sandbox.run(&[&nobody[..], &soon].concat());
    assert_eq!(nobody.status.code(), Some(4), "{}", stderr(&nobody));
    assert!(stderr(&nobody).contains("can't be reached"), "{}", stderr(&nobody));
    let raw = sandbox.run(&["ingest", "orders.csv", "--schema-registry", &registry.url]);
    assert_eq!(raw.status.code(), Some(2));
    assert!(stderr(&raw).contains("say --value avro or --value json"), "{}", stderr(&raw));
}
