//! Job files held against the command lines that they stand for.

use std::ffi::OsString;

use rstest::rstest;
use tempfile::TempDir;

use super::*;

fn definition() -> Command {
    let mut definition = Arguments::command();
    definition.build();
    definition
}

/// What a file in a directory of its own, and arguments besides, become; `DIR` is that directory.
fn expanded(text: &str, besides: &[&str]) -> Result<Vec<String>, String> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("job.toml");
    fs::write(&path, text).unwrap();
    let arguments = ["streamledger", "ingest", "--job"].map(OsString::from).into_iter();
    let arguments = arguments.chain([path.into_os_string()]);
    let arguments = arguments.chain(besides.iter().map(OsString::from)).collect();
    let shown = |text: String| text.replace(&directory.path().display().to_string(), "DIR");
    match expand(arguments, &definition()) {
        Ok(expanded) => {
            assert!(expanded.file.is_some());
            let texts = expanded.arguments.into_iter().map(|text| text.into_string().unwrap());
            let mut texts: Vec<String> = texts.map(shown).collect();
            assert_eq!(texts.drain(..2).collect::<Vec<_>>(), ["streamledger", "ingest"]);
            Ok(texts)
        }
        Err(failure) => Err(shown(failure.to_string())),
    }
}

#[test]
fn a_file_is_the_command_line_that_it_stands_for() {
    let text = "
        files = [\"a.csv\", \"/b.csv\", \"-\"]
        topic = \"orders\" # a remark
        key = [\"shop\", \"id\"]
        header = [\"source=shop\", \"id\"]
        select = \"id,sum\"
        partitions = 1_2
        rate = 5000
        exactly-once = true
        append = false
        bootstrap-server = \"h:1\"
        data-dir = \"data\"

        [rename]
        sum = \"total\"
        \"a.b\" = \"c\"

        [type]
        zip = \"string\"

        [X]
        linger.ms = 20
        compression.type = \"zstd\"
    ";
    assert_eq!(
        expanded(text, &[]).unwrap(),
        [
            "DIR/a.csv",
            "/b.csv",
            "-",
            "--topic=orders",
            "--key=shop,id",
            "--header=source=shop",
            "--header=id",
            "--select=id,sum",
            "--partitions=12",
            "--rate=5000",
            "--exactly-once",
            "--bootstrap-servers=h:1",
            "--data-dir=DIR/data",
            "--rename=sum=total",
            "--rename=a.b=c",
            "--type=zip=string",
            "-Xlinger.ms=20",
            "-Xcompression.type=zstd",
        ]
    );
}

#[test]
fn what_is_typed_wins_over_the_file_also_where_both_cannot_be() {
    let text = "files = \"a.csv\"\ntopic = \"t\"\nkey = \"id\"\nrate = 5\njob = \"nightly\"\n\
                X = [\"linger.ms=1\"]\nquiet = true";
    let typed = |besides: &[&str]| expanded(text, besides).unwrap().join(" ");
    assert_eq!(
        typed(&[]),
        "DIR/a.csv --topic=t --key=id --rate=5 --job=nightly -Xlinger.ms=1 --quiet"
    );
    assert_eq!(
        typed(&["b.csv", "-tu", "-X", "acks=1"]),
        "--key=id --rate=5 --job=nightly --quiet b.csv -tu -X acks=1"
    );
    let other = ["--no-key", "--replay", "2x", "--timestamp", "at", "--at-least-once"];
    assert_eq!(
        typed(&other),
        format!("DIR/a.csv --topic=t -Xlinger.ms=1 --quiet {}", other.join(" "))
    );
    assert_eq!(typed(&["--job", "other", "--", "-x.csv"]).matches("--job").count(), 1);
}

#[test]
fn every_option_of_ingest_can_stand_in_a_file() {
    let mut seen = 0;
    let definition = definition();
    let ingest = definition.find_subcommand(COMMAND).unwrap();
    for argument in options(ingest) {
        let name = name(argument);
        let value = if argument.get_action().takes_values() { "\"x\"" } else { "true" };
        let arguments = expanded(&format!("{name} = {value}"), &[]).unwrap();
        assert_eq!(arguments.len(), 1, "{name}");
        seen += 1;
    }
    assert!(seen >= 35, "{seen}");
}

#[rstest]
#[case(
    "topic = \"t\"\n\nkee = 1", &["job.toml:3: there is no option \"kee\"", "did you mean key?"]
)]
#[case("colour = 1", &["job.toml:1: there is no option \"colour\"", "ingest --help"])]
#[case("topic = \"t\nkey = 1", &["job.toml:1: ", "write it as TOML"])]
#[case("a = 1\na = 2", &["job.toml:2: "])]
#[case("topic = [\"a\", \"b\"]", &["job.toml:1: topic takes one value"])]
#[case("[topic]\na = 1", &["topic takes no table"])]
#[case("append = \"yes\"", &["job.toml:1: append is either true or false"])]
#[case("rate = [[1]]", &["rate takes text or a number"])]
#[case("\n[X]\nlinger.ms = [1]", &["job.toml:3: X.linger.ms takes text"])]
#[case("help = true", &["there is no option \"help\""])]
fn what_is_wrong_in_a_file_is_told_with_its_line(#[case] text: &str, #[case] parts: &[&str]) {
    let told = expanded(text, &[]).unwrap_err();
    for part in parts {
        assert!(told.contains(part), "{part} isn't in\n{told}");
    }
}

#[test]
fn only_a_file_of_ingest_is_one() {
    for arguments in [
        &["streamledger", "ingest", "a.csv", "--job", "nightly"][..],
        &["streamledger", "ingest", "--", "--job", "x.toml"],
        &["streamledger", "jobs", "show", "--job", "x.toml"],
        &["streamledger", "ingest", "--job=.toml"],
        &["streamledger"],
    ] {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let expanded = expand(arguments.clone(), &definition()).unwrap();
        assert!(expanded.file.is_none() && expanded.arguments == arguments);
    }
    let told = expanded("", &["--job=other.toml"]).unwrap_err();
    assert!(told.contains("two job files are given"), "{told}");
}

#[test]
fn what_clap_refuses_of_a_file_is_told_with_its_line() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("job.toml");
    fs::write(&path, "files = \"a.csv\"\nrate = \"fast\"\n").unwrap();
    let arguments = ["streamledger", "ingest", "--job"].map(OsString::from).into_iter();
    let arguments: Vec<OsString> = arguments.chain([path.into_os_string()]).collect();
    let expanded = expand(arguments, &definition()).unwrap();
    let error = Arguments::command().try_get_matches_from(expanded.arguments).unwrap_err();
    let told = expanded.file.unwrap().blame(&error).unwrap().to_string();
    assert!(told.contains("job.toml:2: invalid value 'fast' for '--rate <RATE>'"), "{told}");
}
