//! The command line: the commands, and the flags that several of them share.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use streamledger::{AdminConfig, Properties};

use crate::avro::derive;
use crate::command::name_and_value;
use crate::command::{
    audit, bench, completions, consume, generate, groups, ingest, jobs, log, partition_of, produce,
    serve, topics, transactions,
};
use crate::failure::{Failure, Outcome};
use crate::input::columns::{HeaderOption, ValueForm};
use crate::input::compression::Compression;
use crate::input::value_schema::GivenSchema;
use crate::input::{ColumnNames, FileFormat, InputOptions, ROW_BYTES_MAX_DEFAULT};
use crate::job_file::{self, Expanded};
use crate::schema::TypeOverride;

/// The directory of the embedded broker unless told otherwise.
pub const DATA_DIRECTORY: &str = ".streamledger";

/// Files become Kafka streams, in plain sight.
///
/// Streamledger sends files into Kafka topics with its own producer, reads them back, and brings a
/// durable broker of its own for where there is none.
#[derive(Debug, Parser)]
#[command(
    name = "streamledger",
    version,
    propagate_version = true,
    disable_help_subcommand = false,
    after_help = crate::help::for_all(),
    max_term_width = 100,
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send the rows of files into a topic
    Ingest(Box<ingest::IngestArguments>),
    /// Find out whether a topic holds the rows of files, each once
    Audit(audit::AuditArguments),
    /// Run the embedded broker until Ctrl-C
    Serve(serve::ServeArguments),
    /// Print the records of a topic
    Consume(consume::ConsumeArguments),
    /// Send lines of standard input into a topic
    Produce(produce::ProduceArguments),
    /// List, create, describe or delete topics
    Topics(topics::TopicsArguments),
    /// List, describe or abort transactions
    Transactions(transactions::TransactionsArguments),
    /// Look into the files of a data directory
    Log(log::LogArguments),
    /// See how far the jobs of `ingest` came, or forget it
    Jobs(jobs::JobsArguments),
    /// List and describe consumer groups, move their offsets, delete them
    Groups(groups::GroupsArguments),
    /// Say which partition a key goes to
    PartitionOf(partition_of::PartitionOfArguments),
    /// Write made-up data, the same for the same seed
    Generate(generate::GenerateArguments),
    /// Measure throughput and latency
    Bench(bench::BenchArguments),
    /// Print completions for a shell
    Completions(completions::CompletionsArguments),
}

/// Which broker to talk to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Broker")]
pub struct BrokerArguments {
    /// Brokers to connect to first, separated by commas; without it, the embedded broker runs in
    /// --data-dir, or the `serve` that holds that directory is used
    #[arg(
        long,
        short = 'b',
        visible_alias = "bootstrap-server",
        value_name = "HOST:PORT,..",
        env = "STREAMLEDGER_BOOTSTRAP_SERVERS",
        hide_env_values = true,
        value_parser = servers
    )]
    pub bootstrap_servers: Option<String>,

    /// Where the embedded broker keeps its log
    #[arg(long, value_name = "DIR", default_value = DATA_DIRECTORY, env = "STREAMLEDGER_DATA_DIR")]
    pub data_dir: PathBuf,
}

/// How the rows of files become records; the same for all commands that read files.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Input")]
pub struct InputArguments {
    /// The column (or field of NDJSON) whose text is the record's key, or several with commas,
    /// which make a JSON object; click events have user_id without being told
    #[arg(long, short = 'k', value_name = "COLUMN,..")]
    pub key: Option<String>,

    /// Records have no key
    #[arg(long, conflicts_with = "key")]
    pub no_key: bool,

    /// The column (or field) that is the record's timestamp, instead of the time of sending
    #[arg(long, value_name = "COLUMN")]
    pub timestamp: Option<String>,

    /// The column (or field) that says to which partition the record goes
    #[arg(long, value_name = "COLUMN")]
    pub partition: Option<String>,

    /// A column (or field) whose text is a header of the record, under its own name or another; may
    /// be repeated
    #[arg(long = "header", value_name = "[NAME=]COLUMN")]
    pub headers: Vec<HeaderOption>,

    /// What the record's value is, instead of what the format has: json for columns, raw for lines,
    /// avro for a record of the columns in Avro's binary encoding
    #[arg(long, value_enum)]
    pub value: Option<ValueForm>,

    /// Of --value avro, the schema that values are written by: a file with its JSON (.avsc).
    /// Without it one is made of the columns
    #[arg(long, value_name = "FILE")]
    pub avro_schema: Option<PathBuf>,

    /// Of a schema that is made of the columns, the name of the record, instead of the topic's
    #[arg(long, value_name = "NAME", value_parser = record_name, conflicts_with = "avro_schema")]
    pub record_name: Option<String>,

    /// The columns (or fields) of the value, in this order; the others are left out
    #[arg(long, value_name = "COLUMN,..", value_delimiter = ',')]
    pub select: Vec<String>,

    /// Another name for a column (or field) in the value; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = name_and_value)]
    pub rename: Vec<(String, String)>,

    /// Of a directory, read the files of its directories too
    #[arg(long)]
    pub recursive: bool,

    /// How the files are split into rows, instead of by their names
    #[arg(long, short = 'f', value_enum)]
    pub format: Option<FileFormat>,

    /// How the files are compressed, instead of what their first bytes say
    #[arg(long, value_enum, value_name = "HOW")]
    pub compression: Option<Compression>,

    /// The character between the columns of a CSV file; \t for a tab
    #[arg(long, value_name = "C", default_value = ",", value_parser = delimiter)]
    delimiter: Delimiter,

    /// CSV files have no header: their first row is one like the others, and the columns are called
    /// c1, c2, and so on
    #[arg(long)]
    pub no_header: bool,

    /// The names of the columns of CSV files that have no header, in order
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    pub columns: Vec<String>,

    /// The type of a CSV column, instead of what the first rows suggest: string, integer, number,
    /// boolean or timestamp; may be repeated
    #[arg(long = "type", value_name = "COLUMN=TYPE")]
    pub types: Vec<TypeOverride>,

    /// The longest row, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = ROW_BYTES_MAX_DEFAULT as u64,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub max_row_bytes: u64,
}

impl InputArguments {
    /// What columns are used for that only some runs have, in words: name and value of a setting.
    pub fn columns_in_words(&self) -> Vec<(&'static str, String)> {
        let header = |header: &HeaderOption| match header.name == header.column {
            true => header.name.clone(),
            false => format!("{} from {}", header.name, header.column),
        };
        let headers: Vec<String> = self.headers.iter().map(header).collect();
        let renamed: Vec<String> =
            self.rename.iter().map(|(old, new)| format!("{old} as {new}")).collect();
        let value = match self.value {
            Some(ValueForm::Raw) => "the row as it stands".to_owned(),
            Some(ValueForm::Avro) if self.select.is_empty() => "Avro".to_owned(),
            Some(ValueForm::Avro) => format!("Avro, only {}", self.select.join(", ")),
            _ if self.select.is_empty() => String::new(),
            _ => format!("only {}", self.select.join(", ")),
        };
        let header = match self.column_names() {
            ColumnNames::Header => String::new(),
            ColumnNames::Numbers => "none, columns are c1, c2, ..".to_owned(),
            ColumnNames::Given(names) => format!("none, columns are {}", names.join(", ")),
        };
        let settings = [
            ("header", header),
            ("partition", self.partition.clone().unwrap_or_default()),
            ("headers", headers.join(", ")),
            ("value", value),
            ("renamed", renamed.join(", ")),
        ];
        settings.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    fn column_names(&self) -> ColumnNames {
        match (self.columns.is_empty(), self.no_header) {
            (false, _) => ColumnNames::Given(self.columns.clone()),
            (true, true) => ColumnNames::Numbers,
            (true, false) => ColumnNames::Header,
        }
    }

    /// The same for who looks at the files, whose rows go to a topic.
    ///
    /// # Errors
    /// The file of the Avro schema can't be read, or holds none.
    pub fn options(&self, topic: &str) -> Outcome<InputOptions> {
        let given = self.avro_schema.as_deref().map(GivenSchema::of_file);
        Ok(InputOptions {
            schema: given.transpose()?,
            has_registry: false,
            schema_id: None,
            registry_is_silent: None,
            record_name: self.record_name.clone().unwrap_or_else(|| derive::record_name(topic)),
            is_recursive: self.recursive,
            format: self.format,
            compression: self.compression,
            delimiter: self.delimiter.0,
            column_names: self.column_names(),
            key: self.key.clone(),
            no_key: self.no_key,
            timestamp: self.timestamp.clone(),
            partition: self.partition.clone(),
            headers: self.headers.clone(),
            value: self.value,
            select: self.select.clone(),
            rename: self.rename.clone(),
            types: self.types.clone(),
            row_bytes_max: usize::try_from(self.max_row_bytes).unwrap_or(usize::MAX),
        })
    }
}

/// The addresses of brokers, as any client takes them.
fn servers(text: &str) -> Result<String, String> {
    let settings = Properties::new().with("bootstrap.servers", text);
    match AdminConfig::from_properties(&settings) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("it takes one or more host:port, separated by commas, here and in \
                       STREAMLEDGER_BOOTSTRAP_SERVERS"
            .to_owned()),
    }
}

fn record_name(text: &str) -> Result<String, String> {
    match derive::is_record_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a name has letters, digits and _, no digit in front; its namespace is \
                      before it, with dots"
            .to_owned()),
    }
}

/// The byte between columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delimiter(u8);

fn delimiter(text: &str) -> Result<Delimiter, String> {
    match text.as_bytes() {
        b"\\t" => Ok(Delimiter(b'\t')),
        [b'"' | b'\n' | b'\r'] => Err("a quote or a line end can't be the delimiter".to_owned()),
        [byte] if byte.is_ascii() => Ok(Delimiter(*byte)),
        _ => Err("it must be one ASCII character, or \\t".to_owned()),
    }
}

/// Settings of the producer.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Producer")]
pub struct ProducerArguments {
    /// A setting of the producer by Kafka's name, for example linger.ms=20; may be repeated and
    /// wins over --producer-config
    #[arg(short = 'X', value_name = "NAME=VALUE")]
    pub settings: Vec<String>,

    /// A properties file with settings of the producer, as the Java client takes it
    #[arg(long, value_name = "FILE")]
    pub producer_config: Option<PathBuf>,
}

/// Settings of the admin client.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Admin client")]
pub struct AdminArguments {
    /// A setting of the admin client by Kafka's name, for example security.protocol=SSL; may be
    /// repeated and wins over --command-config
    #[arg(short = 'X', value_name = "NAME=VALUE")]
    pub settings: Vec<String>,

    /// A properties file with settings of the admin client, as Kafka's tools take it
    #[arg(long, value_name = "FILE")]
    pub command_config: Option<PathBuf>,
}

/// Why a command line isn't followed.
#[derive(Debug)]
pub enum Misunderstood {
    /// It is wrong, or asks for help: clap's own text and exit code are used.
    ByClap(clap::Error),
    /// The job file that it names is wrong.
    JobFile(Box<Failure>),
}

/// Parses a command line, with the options of a job file if it names one.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, Misunderstood> {
    let mut definition = Arguments::command();
    definition.build();
    let expanded = job_file::expand(arguments.into_iter().collect(), &definition);
    let Expanded { arguments, file } = expanded.map_err(Misunderstood::JobFile)?;
    let refused = |error: clap::Error| match file.as_ref().and_then(|file| file.blame(&error)) {
        Some(failure) => Misunderstood::JobFile(failure.into()),
        None => Misunderstood::ByClap(error),
    };
    let mut matches = Arguments::command().try_get_matches_from(arguments).map_err(refused)?;
    let in_force = matches.subcommand_matches(job_file::COMMAND);
    let in_force = in_force.map(|of| job_file::in_force(&definition, of, file.as_ref()));
    let parsed = Arguments::from_arg_matches_mut(&mut matches);
    let mut parsed = parsed.map_err(|error| refused(error.format(&mut definition)))?;
    if let (Command::Ingest(ingest), Some(in_force)) = (&mut parsed.command, in_force) {
        ingest.in_force = in_force;
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_delimiter_is_one_byte_that_isnt_part_of_the_syntax() {
        assert_eq!(delimiter(";"), Ok(Delimiter(b';')));
        assert_eq!(delimiter("\\t"), Ok(Delimiter(b'\t')));
        for wrong in ["", ";;", "\"", "\n", "é"] {
            assert!(delimiter(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_commands_help_has_examples_and_the_exit_codes() {
        fn check(command: &mut clap::Command, seen: &mut usize) {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Examples:\n"), "{help}");
            assert!(help.contains("Exit codes:\n"), "{help}");
            *seen += 1;
            for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
                check(inner, seen);
            }
        }
        let mut seen = 0;
        let mut command = Arguments::command();
        command.build();
        check(&mut command, &mut seen);
        assert!(seen >= 14, "{seen}");
    }
}
