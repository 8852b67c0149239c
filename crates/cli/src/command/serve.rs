//! `serve`: the embedded broker for any Kafka client, until Ctrl-C.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use clap::Args;
use streamledger_broker::{Broker, BrokerConfig, BrokerMetrics, PROMETHEUS_CONTENT_TYPE};

use crate::access::{config_failure, start_failure, stop_failure, tell_of_offline};
use crate::args::DATA_DIRECTORY;
use crate::command::name_and_value;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::help::with_examples;
use crate::interrupt::Interrupt;
use crate::metrics_server::MetricsServer;
use crate::ui::{self, units};

/// Flags of `serve`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES), long_about = ABOUT)]
pub struct ServeArguments {
    /// The address to listen on; port 0 is a free one
    #[arg(long, short = 'l', value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,

    /// Where the log is kept
    #[arg(long, value_name = "DIR", default_value = DATA_DIRECTORY, env = "STREAMLEDGER_DATA_DIR")]
    data_dir: PathBuf,

    /// When appended records are forced to disk: before the acknowledgement (commit), every so many
    /// milliseconds (interval:MS), or when the operating system does (os)
    #[arg(long, value_name = "WHEN", default_value = "commit")]
    flush: String,

    /// A setting of the broker by Kafka's name, for example num.partitions=6; may be repeated
    #[arg(short = 'X', value_name = "NAME=VALUE", value_parser = name_and_value)]
    settings: Vec<(String, String)>,

    /// Allow an address that other machines can reach. There is no encryption and no log-in:
    /// whoever reaches it reads and writes everything
    #[arg(long)]
    insecure_listen: bool,

    /// Serve metrics for Prometheus at http://HOST:PORT/metrics, and /health; port 0 takes a free
    /// one
    #[arg(long, value_name = "HOST:PORT")]
    metrics_listen: Option<SocketAddr>,

    /// Print nothing but errors
    #[arg(long, short = 'q')]
    quiet: bool,
}

const ABOUT: &str = "Run the embedded broker until Ctrl-C or SIGTERM.

It is one durable Kafka broker for one machine: stock clients and tools work with it. Commands \
that name the same --data-dir use it while it runs.";

const EXAMPLES: &[(&str, &str)] = &[
    ("On Kafka's usual port", "streamledger serve"),
    (
        "On a free port, with six partitions for topics that clients create",
        "streamledger serve --listen 127.0.0.1:0 -X num.partitions=6",
    ),
    (
        "Faster, and as safe as the page cache is",
        "streamledger serve --data-dir /var/lib/streamledger --flush interval:200",
    ),
];

/// `/metrics`, and `/health`: 200 and "ok", or 503 and what is wrong, a line each.
fn pages(metrics: BrokerMetrics) -> Router {
    let healthy = metrics.clone();
    let text = move || {
        let text = metrics.to_prometheus();
        std::future::ready(([(CONTENT_TYPE, PROMETHEUS_CONTENT_TYPE)], text))
    };
    let health = move || {
        let problems = healthy.problems();
        std::future::ready(match problems.is_empty() {
            true => (StatusCode::OK, "ok\n".to_owned()),
            false => (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n"),
        })
    };
    Router::new().route("/metrics", get(text)).route("/health", get(health))
}

/// Serves until a signal comes.
pub fn run(arguments: &ServeArguments) -> Outcome<Exit> {
    let interrupt = Interrupt::watch()?;
    let started = Instant::now();
    let mut builder = BrokerConfig::builder()
        .properties(arguments.settings.iter().cloned())
        .property("streamledger.flush", &arguments.flush)
        .listen(&arguments.listen)
        .data_dir(&arguments.data_dir);
    if arguments.insecure_listen {
        builder = builder.allow_insecure_listen();
    }
    let config = builder.build().map_err(|error| config_failure(&error))?;
    let broker = Broker::start(config).map_err(|error| start_failure(&error))?;
    tell_of_offline(&broker);
    if !arguments.quiet {
        ui::say(format_args!(
            "listening on {}, log in {}, ready in {}; Ctrl-C ends it",
            broker.bootstrap_servers(),
            arguments.data_dir.display(),
            units::duration(started.elapsed())
        ));
    }
    let serve_metrics = |address| {
        let pages = pages(broker.metrics());
        MetricsServer::serve(address, arguments.insecure_listen, pages, arguments.quiet)
    };
    let _metrics = arguments.metrics_listen.map(serve_metrics).transpose()?;
    interrupt.wait();
    broker.shutdown().map_err(|error| stop_failure(&error))?;
    if !arguments.quiet {
        ui::say("ended; the log is flushed and closed");
    }
    Ok(Exit::Done)
}
