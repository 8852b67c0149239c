//! `serve`: the embedded broker for any Kafka client, until Ctrl-C.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use clap::Args;
use streamledger::Properties;
use streamledger_broker::{
    Broker, BrokerConfig, BrokerConfigBuilder, BrokerMetrics, PROMETHEUS_CONTENT_TYPE,
};

use crate::access::{config_failure, start_failure, stop_failure, tell_of_offline};
use crate::args::DATA_DIRECTORY;
use crate::broker_settings::{ScramUser, of_file, refuse_secrets};
use crate::command::name_and_value;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::help::with_examples;
use crate::interrupt::Interrupt;
use crate::logging;
use crate::metrics_server::MetricsServer;
use crate::ui::units;

/// Flags of `serve`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES), long_about = ABOUT)]
pub struct ServeArguments {
    /// The addresses to listen on, HOST:PORT or NAME://HOST:PORT; port 0 is a free one
    /// [default: 127.0.0.1:9092]
    #[arg(long, short = 'l', value_name = "LISTENERS")]
    listen: Option<String>,

    /// Where the log is kept [default: .streamledger]
    #[arg(long, value_name = "DIR", env = "STREAMLEDGER_DATA_DIR")]
    data_dir: Option<PathBuf>,

    /// When appended records are forced to disk: before the acknowledgement (commit), every so many
    /// milliseconds (interval:MS), or when the operating system does (os) [default: commit]
    #[arg(long, value_name = "WHEN")]
    flush: Option<String>,

    /// A properties file with the broker's settings, by Kafka's names; flags and -X go before it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// A user who may log in by SCRAM, and where the password is: USER=file:PATH, USER=env:NAME or
    /// USER=stdin; may be repeated
    #[arg(long, value_name = "USER=WHERE")]
    add_scram: Vec<ScramUser>,

    /// A setting of the broker by Kafka's name, for example num.partitions=6; may be repeated
    #[arg(short = 'X', value_name = "NAME=VALUE", value_parser = name_and_value)]
    settings: Vec<(String, String)>,

    /// Allow an address that other machines can reach, without encryption or without asking who
    /// comes: whoever reaches it may read and write everything
    #[arg(long)]
    insecure_listen: bool,

    /// Serve metrics for Prometheus at http://HOST:PORT/metrics, and /health; port 0 takes a free
    /// one
    #[arg(long, value_name = "HOST:PORT")]
    metrics_listen: Option<SocketAddr>,

    /// Print nothing but errors; the same goes for log lines unless STREAMLEDGER_LOG says more
    #[arg(long, short = 'q')]
    pub quiet: bool,
}

/// Kafka's usual port, for this machine only.
const DEFAULT_LISTENER: &str = "127.0.0.1:9092";

const ABOUT: &str = "Run the embedded broker until Ctrl-C or SIGTERM.

It is one durable Kafka broker for one machine: stock clients and tools work with it. Commands \
that name the same --data-dir use it while it runs.

What is wrong is told on stderr, a line with its time each. STREAMLEDGER_LOG=info (or debug, \
error, off, streamledger_broker=debug) tells more or less; with STREAMLEDGER_LOG_FORMAT=json each \
line, those that say where it listens and that it ended too, is one JSON object.";

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
    (
        "For other machines, by TLS and SCRAM (docs/security.md has the file)",
        "streamledger serve --config server.properties --add-scram alice=file:alice.secret",
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

/// The file, then `-X`, then the flags; the last that says something counts.
fn settings(arguments: &ServeArguments) -> Outcome<(BrokerConfigBuilder, PathBuf)> {
    let file = match &arguments.config {
        Some(path) => of_file(path)?,
        None => Properties::new(),
    };
    refuse_secrets(&arguments.settings)?;
    let in_file = |name: &str| file.get(name).map(str::to_owned);
    let by_flag = |name: &str| {
        let found = arguments.settings.iter().rev().find(|(own, _)| own == name);
        found.map(|(_, value)| value.clone())
    };
    let data_dir = arguments
        .data_dir
        .clone()
        .or_else(|| by_flag("log.dirs").or_else(|| in_file("log.dirs")).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(DATA_DIRECTORY));
    let listeners = arguments
        .listen
        .clone()
        .or_else(|| by_flag("listeners"))
        .or_else(|| in_file("listeners"))
        .unwrap_or_else(|| DEFAULT_LISTENER.to_owned());
    let mut builder = BrokerConfig::builder()
        .properties(file.iter())
        .properties(arguments.settings.iter().cloned())
        .listen(listeners)
        .data_dir(&data_dir);
    if let Some(flush) = &arguments.flush {
        builder = builder.property("streamledger.flush", flush);
    }
    Ok((builder, data_dir))
}

/// Serves until a signal comes.
pub fn run(arguments: &ServeArguments) -> Outcome<Exit> {
    let interrupt = Interrupt::watch()?;
    let started = Instant::now();
    let (mut builder, data_dir) = settings(arguments)?;
    for user in &arguments.add_scram {
        builder = builder.scram_user(user.name(), user.password()?);
    }
    if arguments.insecure_listen {
        builder = builder.allow_insecure_listen();
    }
    let config = builder.build().map_err(|error| config_failure(&error))?;
    let broker = Broker::start(config).map_err(|error| start_failure(&error))?;
    if !logging::tells_errors() {
        tell_of_offline(&broker);
    }
    let serve_metrics = |address| {
        let pages = pages(broker.metrics());
        MetricsServer::serve(address, arguments.insecure_listen, pages)
    };
    // Before it is said that all is ready.
    let metrics = arguments.metrics_listen.map(serve_metrics).transpose()?;
    if !arguments.quiet {
        logging::announce(format_args!(
            "listening on {}, log in {}, ready in {}; Ctrl-C ends it",
            broker.bootstrap_servers(),
            data_dir.display(),
            units::duration(started.elapsed())
        ));
    }
    if let (Some(metrics), false) = (&metrics, arguments.quiet) {
        logging::announce(metrics.greeting());
    }
    interrupt.wait();
    broker.shutdown().map_err(|error| stop_failure(&error))?;
    if !arguments.quiet {
        logging::announce("ended; the log is flushed and closed");
    }
    Ok(Exit::Done)
}
