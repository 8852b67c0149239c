//! Schemas of files: made of their columns, given, kept from an earlier run; and what of them is
//! told before a row is sent.

use super::*;
use crate::avro::decode::to_json;
use crate::schema::TypeOverride;
use std::path::PathBuf;
use tempfile::TempDir;

fn write(directory: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn avro() -> InputOptions {
    InputOptions { value: Some(ValueForm::Avro), ..InputOptions::unsaid() }
}

fn given(fields: &str) -> Option<GivenSchema> {
    let text = format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#);
    Some(GivenSchema::of_text(&text, "orders.avsc".to_owned()).unwrap())
}

fn make(path: &Path, options: InputOptions) -> Outcome<InputPlan> {
    InputPlan::make(&[path.to_owned()], options, || panic!("nobody named standard input"))
}

/// The schema of the one file, and its rows, read by it; of bad rows what is wrong with them.
fn read(plan: &InputPlan) -> (String, Vec<String>) {
    let file = &plan.files[0];
    let schema = plan.value_schema(file).unwrap().unwrap();
    let mut source = plan.open(file).unwrap();
    let mut rows = vec![];
    loop {
        match source.next_record() {
            Ok(Some(record)) => rows.push(to_json(&schema, record.rendered.value).unwrap()),
            Ok(None) => return (schema.text.clone(), rows),
            Err(fault) => rows.push(fault.to_string()),
        }
    }
}

const HEAD: &str = r#"{"type":"record","name":"r","fields":["#;

#[test]
fn a_csv_files_columns_are_fields_by_their_types_and_null_where_they_may_be_empty() {
    let directory = TempDir::new().unwrap();
    let text = "id,sum of all,ok,at,note\n1,2.50,true,2019-10-01,x\n,,,,\n";
    let path = write(&directory, "a.csv", text);
    let at = TypeOverride { column: "at".to_owned(), column_type: ColumnType::Timestamp };
    let plan = make(&path, InputOptions { types: vec![at], ..avro() }).unwrap();
    let (schema, rows) = read(&plan);
    let optional = |of: &str| format!("\"type\":[\"null\",{of}],\"default\":null}}");
    let fields = [
        format!("{{\"name\":\"id\",{}", optional("\"long\"")),
        format!("{{\"name\":\"sum_of_all\",\"doc\":\"sum of all\",{}", optional("\"double\"")),
        format!("{{\"name\":\"ok\",{}", optional("\"boolean\"")),
        format!(
            "{{\"name\":\"at\",{}",
            optional("{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}")
        ),
        "{\"name\":\"note\",\"type\":\"string\"}".to_owned(),
    ];
    assert_eq!(schema, format!("{HEAD}{}]}}", fields.join(",")));
    assert_eq!(
        rows,
        [
            "{\"id\":1,\"sum_of_all\":2.5,\"ok\":true,\"at\":1569888000000,\"note\":\"x\"}",
            "{\"id\":null,\"sum_of_all\":null,\"ok\":null,\"at\":null,\"note\":\"\"}"
        ]
    );
}

#[test]
fn click_events_have_the_fields_of_their_reference_form() {
    let directory = TempDir::new().unwrap();
    let text = format!(
        "{}\n2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,\
         541312140,s\n\
         ,view,1,2,,,3,4,\n",
        crate::clicks::COLUMNS.join(",")
    );
    let path = write(&directory, "a.csv", &text);
    let plan = make(&path, avro()).unwrap();
    assert_eq!((plan.format_name().as_str(), plan.key_name()), ("click events", Some("user_id")));
    let (schema, rows) = read(&plan);
    assert!(!schema.contains("null"), "{schema}");
    assert_eq!(
        rows[0],
        "{\"eventTime\":1569888000000,\"eventType\":\"view\",\"productId\":\"44600062\",\
         \"categoryId\":\"2103807459595387724\",\"categoryCode\":\"\",\"brand\":\"shiseido\",\
         \"price\":35.79,\"userid\":\"541312140\",\"userSession\":\"s\"}"
    );
    assert!(rows[1].contains("holds \"\" in column event_time"), "{}", rows[1]);
}

#[test]
fn a_given_schema_decides_and_is_held_against_the_columns() {
    let directory = TempDir::new().unwrap();
    let path = write(&directory, "a.csv", "id,price,empty\n7,35.79,\n8,1.234,\n");
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}"#;
    let fields = format!(
        r#"{{"name":"price","type":{decimal}}},{{"name":"id","type":"string"}},
           {{"name":"empty","type":["null","int"]}},{{"name":"more","type":"int","default":3}}"#
    );
    let plan = make(&path, InputOptions { schema: given(&fields), ..avro() }).unwrap();
    let (_, rows) = read(&plan);
    assert_eq!(rows[0], "{\"price\":\"35.79\",\"id\":\"7\",\"empty\":null,\"more\":3}");
    assert!(rows[1].contains("holds \"1.234\" in column price"), "{}", rows[1]);
    let fields = r#"{"name":"id","type":"int"},{"name":"price","type":"int"}"#;
    let select = vec!["id".to_owned(), "price".to_owned()];
    let options = InputOptions { schema: given(fields), select, ..avro() };
    let failure = make(&path, options).unwrap_err().to_string();
    assert!(failure.contains("a.csv: the column \"price\" can't be the Avro field"), "{failure}");
    assert!(failure.contains("(orders.avsc)"), "{failure}");
    assert!(failure.contains("it holds numbers with fractions"), "{failure}");
    assert!(failure.contains("--type COLUMN=TYPE"), "{failure}");
}

#[test]
fn lines_of_json_have_the_fields_that_the_first_ones_have() {
    let directory = TempDir::new().unwrap();
    let text = "{\"id\":1,\"x\":{},\"s\":\"a\"}\n\nnot json\n{\"n\":1,\"id\":2}\n{\"n\":0.5}\n";
    let path = write(&directory, "a.ndjson", text);
    let failure = make(&path, avro()).unwrap_err().to_string();
    assert!(failure.contains("the field \"x\" has no one Avro type"), "{failure}");
    let select = ["n", "s", "id"].map(str::to_owned).to_vec();
    let rename = vec![("s".to_owned(), "note".to_owned())];
    let plan = make(&path, InputOptions { select, rename, ..avro() }).unwrap();
    let (schema, rows) = read(&plan);
    let names: Vec<&str> =
        schema.split("\"name\":\"").skip(2).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(names, ["id", "note", "n"]);
    assert_eq!(rows[0], "{\"id\":1,\"note\":\"a\",\"n\":null}");
    assert!(rows[1].contains("line 3 isn't JSON"), "{}", rows[1]);
    assert_eq!(
        rows[2..],
        ["{\"id\":2,\"note\":null,\"n\":1.0}", "{\"id\":null,\"note\":null,\"n\":0.5}"]
    );
}

#[test]
fn rows_that_come_later_are_written_by_the_schema_of_those_before() {
    let directory = TempDir::new().unwrap();
    for (name, before, after) in [
        ("a.ndjson", "{\"n\":1,\"s\":\"x\"}\n", "{\"n\":2,\"new\":1}\n"),
        ("b.csv", "n,s\n1,x\n", "2.5,y\n"),
    ] {
        let path = write(&directory, name, before);
        let plan = make(&path, avro()).unwrap();
        let shape = plan.shape(&plan.files[0]);
        let (schema, _) = read(&plan);
        write(&directory, name, &format!("{before}{after}"));
        let mut later = make(&path, avro()).unwrap();
        assert_ne!(later.shape(&later.files[0]), shape, "as it would be by itself");
        later.keep_types(0, &shape);
        assert_eq!(later.shape(&later.files[0]), shape);
        let (kept, rows) = read(&later);
        assert_eq!(kept, schema);
        assert!(rows[1].contains("\"new\"") || rows[1].contains("\"2.5\""), "{}", rows[1]);
    }
    let path = write(&directory, "c.csv", "n\n1\n");
    let by = |of: &str| {
        let schema = given(&format!(r#"{{"name":"n","type":"{of}"}}"#));
        let plan = make(&path, InputOptions { schema, ..avro() }).unwrap();
        plan.shape(&plan.files[0])
    };
    assert_ne!(by("int"), by("string"), "another schema is another shape");
}

#[test]
fn what_avro_isnt_for_is_refused() {
    let directory = TempDir::new().unwrap();
    let lines = write(&directory, "a.txt", "x\n");
    let failure = make(&lines, avro()).unwrap_err().to_string();
    assert!(failure.contains("lines have no columns for --value avro"), "{failure}");
    let csv = write(&directory, "a.csv", "a b,a-b\n1,2\n");
    let failure = make(&csv, avro()).unwrap_err().to_string();
    assert!(failure.contains("\"a b\" and \"a-b\" would both be \"a_b\""), "{failure}");
    let options = InputOptions { value: None, schema: given(""), ..avro() };
    assert!(make(&csv, options).unwrap_err().to_string().contains("say --value avro"));
    let empty = write(&directory, "a.ndjson", "");
    assert!(make(&empty, avro()).unwrap_err().to_string().contains("no field is known"));
}
