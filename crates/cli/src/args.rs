//! The command line: the commands, and the flags that several of them share.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::command::{
    bench, completions, consume, generate, ingest, jobs, log, produce, serve, topics, transactions,
};

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
    Ingest(ingest::IngestArguments),
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
        hide_env_values = true
    )]
    pub bootstrap_servers: Option<String>,

    /// Where the embedded broker keeps its log
    #[arg(long, value_name = "DIR", default_value = DATA_DIRECTORY, env = "STREAMLEDGER_DATA_DIR")]
    pub data_dir: PathBuf,
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

/// Parses a command line. On an error, and for help, clap's own text and exit code are used.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definitions_are_consistent() {
        Arguments::command().debug_assert();
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
