//! What each `--help` ends with: examples to copy, and the exit codes.

use crate::exit::Exit;

/// The end of a command's help: its examples, each a line of what it does and the command line.
pub fn with_examples(examples: &[(&str, &str)]) -> String {
    let mut text = String::from("Examples:\n");
    for (purpose, line) in examples {
        text.push_str(&format!("  {purpose}:\n    $ {}\n", line.replace('\n', " \\\n        ")));
    }
    text.push('\n');
    text.push_str(Exit::table().trim_end());
    text
}

/// The end of the help of the command as a whole.
pub fn for_all() -> String {
    with_examples(&[
        (
            "Send click events into a topic of the embedded broker",
            "streamledger ingest examples/clicks.csv --key user_id",
        ),
        ("Read them back", "streamledger consume ecommerce.events --max-messages 5"),
        (
            "The same with your Kafka",
            "streamledger ingest clicks.csv --key user_id --bootstrap-servers broker1:9092",
        ),
        (
            "Let any Kafka client use the embedded broker",
            "streamledger serve --listen 127.0.0.1:9092",
        ),
    ])
}
