//! The plan of a run, over files that are there, empty, cut or strange.

use super::*;
use std::fs::File;
use std::io::{self, Write as _};
use tempfile::TempDir;

fn write(directory: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    File::create(&path).unwrap().write_all(content).unwrap();
    path
}

fn values(plan: &InputPlan) -> Vec<String> {
    let mut seen = vec![];
    for file in &plan.files {
        let mut source = plan.open(file).unwrap();
        while let Some(record) = source.next_record().unwrap() {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let key = record.rendered.key.map_or_else(|| "-".to_owned(), text);
            seen.push(format!("{}:{key}:{}", record.line, text(record.rendered.value)));
        }
        assert_eq!(Some(source.read_bytes()), file.file_bytes);
    }
    seen
}

/// A plan that may not touch standard input.
fn make(paths: &[PathBuf], options: InputOptions) -> Outcome<InputPlan> {
    InputPlan::make(paths, options, || panic!("nobody named it"))
}

fn failure(paths: &[PathBuf], options: InputOptions) -> Failure {
    *make(paths, options).unwrap_err()
}

#[test]
fn files_of_one_run_agree_on_their_columns_types() {
    let directory = TempDir::new().unwrap();
    let first = write(&directory, "a.csv", b"id,n,v\n1,1,true\n");
    let second = write(&directory, "b.csv", b"n,id,v\n2.5,2,7\n");
    let plan = make(&[first, second], InputOptions::unsaid()).unwrap();
    assert_eq!(
        plan.column_types(),
        [("id", "integer".into()), ("n", "number".into()), ("v", "string".into())]
    );
    assert_eq!(
        values(&plan),
        ["2:-:{\"id\":1,\"n\":1,\"v\":\"true\"}", "2:-:{\"n\":2.5,\"id\":2,\"v\":\"7\"}"]
    );
    assert_eq!((plan.format_name().as_str(), plan.key_name()), ("csv", None));
}

#[test]
fn the_files_of_a_directory_have_each_their_own_format() {
    let directory = TempDir::new().unwrap();
    write(&directory, "b.ndjson", b"{\"id\":2}\n");
    write(&directory, "a.csv", b"id\n1\n");
    let plan = make(&[directory.path().to_owned()], InputOptions::unsaid()).unwrap();
    assert_eq!(values(&plan), ["2:-:{\"id\":1}", "1:-:{\"id\":2}"]);
    assert_eq!(plan.format_name(), "csv, ndjson");
    write(&directory, "c.dat", b"?");
    let strange = failure(&[directory.path().to_owned()], InputOptions::unsaid());
    assert!(strange.to_string().contains("c.dat"), "{strange}");
    let remedy = strange.remedy.unwrap();
    assert!(remedy.contains("--format") && remedy.contains("*.csv"), "{remedy}");
}

#[test]
fn each_format_gives_its_records() {
    let directory = TempDir::new().unwrap();
    let ndjson = write(&directory, "a.jsonl", b"{\"id\":7}\n\n {\"id\":null}\r\n");
    let keyed = InputOptions { key: Some("id".to_owned()), ..InputOptions::unsaid() };
    let plan = make(&[ndjson], keyed).unwrap();
    assert_eq!(values(&plan), ["1:7:{\"id\":7}", "3:-: {\"id\":null}"]);
    let lines = write(&directory, "a.txt", b"one\n\ntwo");
    let plan = make(&[lines], InputOptions::unsaid()).unwrap();
    assert_eq!(values(&plan), ["1:-:one", "2:-:", "3:-:two"]);
}

#[test]
fn click_events_are_recognised_and_keyed_by_user_unless_told_otherwise() {
    let directory = TempDir::new().unwrap();
    let row = "2019-10-01 00:00:00 UTC,view,1,2,,,3,77,s\n";
    let text = format!("{}\n{row}", clicks::COLUMNS.join(","));
    let paths = [write(&directory, "c.csv", text.as_bytes())];
    let plan = make(&paths, InputOptions::unsaid()).unwrap();
    assert_eq!((plan.format_name().as_str(), plan.key_name()), ("click events", Some("user_id")));
    assert!(values(&plan)[0].starts_with("2:77:{\"eventTime\":1569888000000,"));
    let unkeyed = InputOptions { no_key: true, ..InputOptions::unsaid() };
    assert!(values(&make(&paths, unkeyed).unwrap())[0].starts_with("2:-:"));
    let other = InputOptions { key: Some("product_id".to_owned()), ..InputOptions::unsaid() };
    assert!(values(&make(&paths, other).unwrap())[0].starts_with("2:1:"));
    let types = vec!["price=string".parse().unwrap()];
    let typed = make(&paths, InputOptions { types, ..InputOptions::unsaid() }).unwrap();
    assert_eq!(typed.format_name(), "csv");
}

#[test]
fn what_cant_be_read_says_why_and_what_to_do() {
    let directory = TempDir::new().unwrap();
    let missing = failure(&[directory.path().join("no.csv")], InputOptions::unsaid());
    assert_eq!(missing.exit, Exit::BadInput);
    assert!(missing.to_string().contains("No such file"), "{missing}");
    let none = failure(&[directory.path().to_owned()], InputOptions::unsaid());
    assert!(none.to_string().contains("has no files to read"), "{none}");
    let empty = failure(&[write(&directory, "e.csv", b"")], InputOptions::unsaid());
    assert!(empty.to_string().contains("e.csv is empty"), "{empty}");
    let twice = failure(&[write(&directory, "t.csv", b"a,b,a\n")], InputOptions::unsaid());
    assert!(twice.to_string().contains("two columns named \"a\""), "{twice}");
    let returns = failure(&[write(&directory, "r.csv", b"a,b\r1,2\r")], InputOptions::unsaid());
    assert!(returns.to_string().contains("carriage returns alone"), "{returns}");
    let utf16 =
        failure(&[write(&directory, "u.csv", b"\xff\xfea\0,\0b\0\n\0")], InputOptions::unsaid());
    assert!(utf16.to_string().contains("isn't UTF-8"), "{utf16}");
    let unknown = failure(&[write(&directory, "x.dat", b"a")], InputOptions::unsaid());
    assert!(unknown.to_string().contains("--format"), "{unknown}");
}

#[test]
fn a_wrong_column_names_the_nearest_one_and_all() {
    let directory = TempDir::new().unwrap();
    let paths = [write(&directory, "a.csv", b"user_id,price\n1,2\n")];
    let wrong =
        failure(&paths, InputOptions { key: Some("userid".to_owned()), ..InputOptions::unsaid() });
    assert_eq!(wrong.exit, Exit::Usage);
    assert_eq!(
        wrong.remedy.as_deref(),
        Some("did you mean user_id? Its columns are:\nuser_id, price")
    );
    let types = vec!["prise=string".parse().unwrap()];
    let wrong = failure(&paths, InputOptions { types, ..InputOptions::unsaid() });
    assert_eq!(wrong.remedy.as_deref(), Some("did you mean price?"));
    let lines = [write(&directory, "a.txt", b"x")];
    let wrong =
        failure(&lines, InputOptions { key: Some("id".to_owned()), ..InputOptions::unsaid() });
    assert_eq!(wrong.exit, Exit::Usage);
}

#[test]
fn a_header_alone_is_a_file_without_rows() {
    let directory = TempDir::new().unwrap();
    let plan = make(&[write(&directory, "h.csv", b"a,b\n")], InputOptions::unsaid()).unwrap();
    assert_eq!(values(&plan), Vec::<String>::new());
}

#[test]
fn standard_input_is_looked_at_and_then_read_from_its_start() {
    let dash = [PathBuf::from("-")];
    let text = b"id,n\n1,x\n2,y\n";
    let plan = InputPlan::make(&dash, InputOptions::unsaid(), || Box::new(&text[..])).unwrap();
    assert_eq!((plan.format_name().as_str(), plan.total_bytes()), ("csv", None));
    let mut source = plan.open(&plan.files[0]).unwrap();
    let mut seen = vec![];
    while let Some(record) = source.next_record().unwrap() {
        seen.push(String::from_utf8(record.rendered.value.to_vec()).unwrap());
    }
    assert_eq!(seen, ["{\"id\":1,\"n\":\"x\"}", "{\"id\":2,\"n\":\"y\"}"]);

    let lines =
        InputPlan::make(&dash, InputOptions::unsaid(), || Box::new(&b"{\"a\":1}\n"[..])).unwrap();
    assert_eq!(lines.format_name(), "ndjson");
    let empty =
        InputPlan::make(&dash, InputOptions::unsaid(), || Box::new(io::empty())).unwrap_err();
    assert_eq!((empty.what.as_str(), empty.exit), ("<stdin> is empty", Exit::BadInput));
    let both = ["-", "-"].map(PathBuf::from);
    let twice = InputPlan::make(&both, InputOptions::unsaid(), || Box::new(&text[..])).unwrap_err();
    assert_eq!((twice.what.as_str(), twice.exit), ("standard input is named twice", Exit::Usage));
}

#[test]
fn a_compressed_file_is_read_as_what_it_holds_whatever_its_name() {
    let directory = TempDir::new().unwrap();
    let gzip = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |text: &[u8]| zstd::stream::encode_all(text, 1).unwrap();
    for (name, content, expected) in [
        ("a.csv.gz", gzip(b"id,n\n1,x\n"), "2:-:{\"id\":1,\"n\":\"x\"}"),
        ("b.csv", zstd(b"id\n1\n"), "2:-:{\"id\":1}"),
        ("c.jsonl.zst", zstd(b"{\"a\":1}\n"), "1:-:{\"a\":1}"),
        ("d.log.gz", gzip(b"line"), "1:-:line"),
        ("e.txt.gz", b"not packed".to_vec(), "1:-:not packed"),
    ] {
        let plan = make(&[write(&directory, name, &content)], InputOptions::unsaid()).unwrap();
        assert_eq!(values(&plan), [expected], "{name}");
    }
    let packed = write(&directory, "f.txt", &gzip(b"x"));
    let as_it_is = InputOptions { compression: Some(Compression::None), ..InputOptions::unsaid() };
    let plan = make(&[packed], as_it_is).unwrap();
    let mut source = plan.open(&plan.files[0]).unwrap();
    let record = source.next_record().unwrap().unwrap();
    assert!(record.rendered.value.starts_with(b"\x1f\x8b"));
}

#[test]
fn what_is_compressed_otherwise_is_told_how_to_be_read() {
    let directory = TempDir::new().unwrap();
    let other = failure(&[write(&directory, "a.csv.xz", b"\xfd7zXZ")], InputOptions::unsaid());
    let remedy = other.remedy.unwrap();
    assert!(remedy.contains("xzcat") && remedy.contains("streamledger ingest -"), "{remedy}");
    let cut = failure(&[write(&directory, "a.csv.gz", b"\x1f\x8b\x08")], InputOptions::unsaid());
    assert!(cut.to_string().contains("its gzip data ends in the middle"), "{cut}");
    assert!(cut.remedy.unwrap().contains("get the whole file"));
    let wrong = InputOptions { compression: Some(Compression::Zstd), ..InputOptions::unsaid() };
    let wrong = failure(&[write(&directory, "b.csv", b"id\n1\n")], wrong);
    assert!(wrong.to_string().contains("its zstd data can't be unpacked"), "{wrong}");
}
