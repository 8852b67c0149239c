//! A job file from outside: what it says is done, what is typed wins, and a dry run shows both.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use serde_json::Value;
use tool::{Sandbox, stderr, stdout};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn sandbox(job: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("jobs")).unwrap();
    sandbox.write("jobs/a.csv", b"k,n\nx,1\ny,two\nz,3\n");
    sandbox.write("jobs/nightly.toml", job.as_bytes());
    sandbox
}

const JOB: &str = "
files = [\"a.csv\"]
topic = \"t\"
job = \"night\"
key = \"k\"
on-error = \"skip\"
data-dir = \"data\"
type = [\"n=integer\"]

[X]
linger.ms = 3
";

#[test]
fn a_job_runs_by_its_file_and_goes_on_by_it() {
    let sandbox = sandbox(JOB);
    let arguments = ["ingest", "--job", "jobs/nightly.toml", "--json"];
    let report = json(&sandbox.succeed(&arguments));
    assert_eq!((&report["topic"], &report["job"]), (&"t".into(), &"night".into()));
    assert_eq!((&report["rows"], &report["rejected"]), (&2.into(), &1.into()));
    assert!(sandbox.path("jobs/data").is_dir() && !sandbox.path(".streamledger").exists());
    assert_eq!(report["settings"]["linger.ms"], "3", "{}", report["settings"]);
    let again = json(&sandbox.succeed(&arguments));
    assert_eq!((&again["rows"], &again["files"][0]["was"]), (&0.into(), &"done".into()));
    let other = [&arguments[..], &["--topic", "u", "--job", "other", "--no-key"]].concat();
    let other = json(&sandbox.succeed(&other));
    assert_eq!(
        (&other["topic"], &other["job"], &other["rows"]),
        (&"u".into(), &"other".into(), &2.into())
    );
}

#[test]
fn a_dry_run_shows_what_is_in_effect_and_who_said_so() {
    let sandbox = sandbox(JOB);
    let arguments = ["ingest", "--job=jobs/nightly.toml", "-t", "u", "--dry-run"];
    let shown = json(&sandbox.succeed(&[&arguments[..], &["--json"]].concat()));
    let option = |name: &str| {
        let all = shown["options"].as_array().unwrap();
        let found = all.iter().find(|option| option["name"] == name);
        found.map(|option| format!("{} {}", option["value"], option["source"]))
    };
    assert_eq!(option("topic").unwrap(), "\"u\" \"flag\"");
    assert_eq!(option("key").unwrap(), "\"k\" \"job file\"");
    assert_eq!(option("files").unwrap(), "\"jobs/a.csv\" \"job file\"");
    assert_eq!(option("transaction-ms").unwrap(), "\"1000\" \"default\"");
    assert_eq!(option("dry-run").unwrap(), "\"true\" \"flag\"");
    assert_eq!((option("append"), option("X")), (None, None));
    assert!(option("linger.ms").unwrap().starts_with("\"3\""));
    let text = sandbox.succeed(&arguments);
    for part in ["What is in effect", "on-error", "job file", "Nothing was sent."] {
        assert!(text.contains(part), "{part} isn't in\n{text}");
    }
}

#[test]
fn a_wrong_file_is_told_with_its_line_and_nothing_is_begun() {
    for (job, parts) in [
        ("files = \"a.csv\"\ntopik = \"t\"", &["nightly.toml:2:", "\"topik\"", "mean topic?"][..]),
        ("files = \"a.csv\"\nrate = \"fast\"", &["nightly.toml:2: invalid value 'fast'"]),
        ("files = \"a.csv\"\n\nrename = \"x\"", &["nightly.toml:3: invalid value 'x'"]),
        ("files =", &["nightly.toml:1: "]),
        ("topic = \"t\"", &["<FILE>..."]),
        ("files = \"a.csv\"\n[X]\nssl.key.password = \"s\"", &["ssl.key.password is a secret"]),
    ] {
        let sandbox = sandbox(job);
        let output = sandbox.run(&["ingest", "--job", "jobs/nightly.toml"]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(output.stdout.is_empty(), "{}", stdout(&output));
        for part in parts {
            assert!(told.contains(part), "{part} isn't in\n{told}");
        }
    }
    let output = Sandbox::new().run(&["ingest", "--job", "no.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("can't read the job file no.toml"), "{}", stderr(&output));
}
